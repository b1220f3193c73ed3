"""The colours of pictures: by band, by class, and of what surrounds them on light and dark ground."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.colors import LinearSegmentedColormap

from model.series import BANDS

BAND_COLOURS = dict(zip(BANDS, ("#7b4fb5", "#1a936f", "#d1495b", "#e08e1b", "#8c5a3c", "#4a4e69"), strict=True))
# Told apart also by those who see few colours, on light and dark ground (after Okabe and Ito 2008).
CLASS_COLOURS = ("#0f85c9", "#e08a00", "#12a178", "#c2579b", "#c4543a", "#8a7fd1", "#7c8a2d", "#7d8794")
# Blue for fainter, red for brighter than the template, through the ground: the ends are of equal lightness.
DIVERGING = ((33, 74, 145), (110, 160, 210), (247, 247, 247), (220, 130, 100), (150, 25, 45))
DIVERGING_ON_DARK = ((150, 200, 255), (50, 100, 165), (24, 29, 37), (165, 65, 50), (255, 170, 140))


@dataclass(frozen=True, slots=True)
class Theme:
    """Ground, lines and words of a picture."""

    ground: str
    ink: str
    faint: str
    line: str  # of grids
    empty: str  # a stamp that does not exist
    not_observed: str  # pixels without a value
    diverging: tuple[tuple[int, int, int], ...]

    def difference_map(self) -> LinearSegmentedColormap:
        """The colour map of differences, zero in its middle."""
        return LinearSegmentedColormap.from_list(
            "difference", [[level / 255 for level in one] for one in self.diverging]
        )


LIGHT = Theme("#ffffff", "#22252b", "#6f7681", "#e6e9ee", "#f3f4f6", "#c9d6e8", DIVERGING)
DARK = Theme("#12161c", "#e8ebf0", "#98a1ae", "#2a313b", "#1b2129", "#33445c", DIVERGING_ON_DARK)


def colours_of_classes(names: Sequence[str]) -> dict[str, str]:
    """A colour for each class, by its place among all."""
    return {name: CLASS_COLOURS[n % len(CLASS_COLOURS)] for n, name in enumerate(dict.fromkeys(names))}
