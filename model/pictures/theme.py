"""Colours of pictures of series: ground, lines, words and differences, light and dark."""

from dataclasses import dataclass

from matplotlib.colors import LinearSegmentedColormap

from model.pictures.colours import DIVERGING, DIVERGING_ON_DARK


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
