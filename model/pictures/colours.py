"""The colours of pictures and pages: of bands, of classes and of differences. Knows no drawing library."""

from collections.abc import Sequence

from model.series import BANDS

BAND_COLOURS = dict(zip(BANDS, ("#7b4fb5", "#1a936f", "#d1495b", "#e08e1b", "#8c5a3c", "#4a4e69"), strict=True))
# Told apart also by those who see few colours, on light and dark ground (after Okabe and Ito 2008).
CLASS_COLOURS = ("#0f85c9", "#e08a00", "#12a178", "#c2579b", "#c4543a", "#8a7fd1", "#7c8a2d")
UNNAMED_COLOUR = "#7d8794"  # of a class that today's networks do not have
OWN_COLOURS = {"Asteroid": "#9a7b4f", "Bogus": UNNAMED_COLOUR}  # of what no network need know, whatever its classes are
# Blue for fainter, red for brighter than the template, through the ground: the ends are of equal lightness.
DIVERGING = ((33, 74, 145), (110, 160, 210), (247, 247, 247), (220, 130, 100), (150, 25, 45))
DIVERGING_ON_DARK = ((150, 200, 255), (50, 100, 165), (24, 29, 37), (165, 65, 50), (255, 170, 140))


def colours_of_classes(names: Sequence[str]) -> dict[str, str]:
    """A colour for each class: its own, or that of its place among the others."""
    by_place = dict.fromkeys(name for name in names if name not in OWN_COLOURS)
    colours = {name: CLASS_COLOURS[n % len(CLASS_COLOURS)] for n, name in enumerate(by_place)}
    return {name: OWN_COLOURS.get(name) or colours[name] for name in dict.fromkeys(names)}
