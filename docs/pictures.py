"""Drawings of the documentation: ``python docs/pictures.py`` writes docs/images/{flow,networks,ict}.svg."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

FOLDER = Path(__file__).resolve().parent / "images"
INK, PALE, BLUE, GREEN, AMBER, RED = "#1f2933", "#eef2f6", "#d6e6f7", "#dcefdc", "#fbeccb", "#f7d9d4"
SMALL = 8.5


def sheet(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty sheet whose units are tenths of an inch, origin at the lower left."""
    figure = Figure((width / 10, height / 10))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    return figure, axes


def box(axes: Axes, x: float, y: float, w: float, h: float, text: str, colour: str = PALE, note: str = "") -> None:
    """A rounded box with a name, and a note in smaller letters below it."""
    style = "round,pad=0,rounding_size=0.8"
    axes.add_patch(FancyBboxPatch((x, y), w, h, boxstyle=style, facecolor=colour, edgecolor=INK, linewidth=0.8))
    rise = 0.6 + 0.65 * note.count("\n") if note else 0.0
    axes.text(x + w / 2, y + h / 2 + rise, text, ha="center", va="center", fontsize=10, color=INK, fontweight="bold")
    if note:
        below = y + h / 2 - 1.0
        axes.text(x + w / 2, below, note, ha="center", va="center", fontsize=SMALL, color=INK, linespacing=1.15)


def arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], *, dashed: bool = False, bend: float = 0
) -> None:
    """An arrow; dashed where nothing is learned along it."""
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=9,
            linewidth=1.0,
            color=INK,
            linestyle=(0, (4, 2)) if dashed else "-",
            connectionstyle=f"arc3,rad={bend}",
            shrinkA=0,
            shrinkB=0,
        )
    )


def flow() -> Figure:
    """What becomes of an alert, room by room."""
    figure, axes = sheet(112, 30)
    rooms = (
        ("avro", "bytes →\nfields asked for", BLUE),
        ("alerts", "calibrated stamps,\npast photometry", BLUE),
        ("series", "each object's frames\nand embeddings", GREEN),
        ("classify", "one new embedding,\nattention over all", AMBER),
        ("output", "JSON, Avro,\nParquet, DESC", BLUE),
    )
    width, gap, left = 15.0, 3.2, 11.5
    for place, (name, note, colour) in enumerate(rooms):
        x = left + place * (width + gap)
        box(axes, x, 12, width, 9, name, colour, note)
        if place:
            arrow(axes, (x - gap, 16.5), (x - 0.2, 16.5))
    right = left + 5 * width + 4 * gap
    box(axes, 0.5, 12, 8, 9, "Kafka", RED, "or an\narchive")
    box(axes, right + 3, 12, 8, 9, "Kafka", RED, "or a file")
    arrow(axes, (8.5, 16.5), (left - 0.2, 16.5))
    arrow(axes, (right, 16.5), (right + 2.8, 16.5))
    box(axes, left + 2.5 * width + 2.5 * gap - 12, 24, 24, 4.6, "model", AMBER, "networks, weights, cards")
    arrow(axes, (left + 3 * (width + gap) + width / 2 - 4, 24), (left + 3 * (width + gap) + width / 2, 21.2))
    box(
        axes,
        left,
        2,
        5 * width + 4 * gap,
        5,
        "service · archive",
        PALE,
        "put the rooms together; monitoring gets records",
    )
    arrow(axes, (right + 7, 11.8), (right + 0.2, 4.5), dashed=True, bend=-0.3)
    axes.text(right + 11.4, 0.9, "delivered, settled, committed", ha="right", va="center", fontsize=SMALL, color=INK)
    return figure


def networks() -> Figure:
    """Vigil and ConvEntion, from stamps to probabilities."""
    figure, axes = sheet(112, 60)
    axes.text(
        1,
        57.5,
        "Vigil (ours): 2.6 M multiply-adds for one more alert on a series of 20",
        fontsize=11,
        fontweight="bold",
    )
    box(axes, 1, 44, 14, 8, "frame", BLUE, "3 stamps in units\nof their noise")
    box(axes, 19, 44, 16, 8, "3 convolutions", AMBER, "sky taken off,\nasinh, stride 2")
    box(axes, 39, 44, 14, 8, "embedding", GREEN, "64 numbers, kept\nin the store")
    box(axes, 57, 44, 17, 8, "causal attention", AMBER, "2 layers, 4 heads,\nbias by time lag")
    box(axes, 78, 44, 13, 8, "last frame", AMBER, "asks all\nbefore it")
    box(axes, 96, 44, 15, 8, "classes", BLUE, "probabilities,\nunknown score")
    for left, right in ((15, 19), (35, 39), (53, 57), (74, 78), (91, 96)):
        arrow(axes, (left, 48), (right - 0.2, 48))
    box(axes, 39, 33.5, 35, 6, "flux, error, band, time", BLUE, "of frames, and of epochs without stamps")
    arrow(axes, (62, 39.5), (65, 43.8))
    box(axes, 78, 33.5, 25, 6, "light-curve statistics", AMBER, "after each frame, causally")
    arrow(axes, (74, 36.5), (77.8, 36.5))
    arrow(axes, (93, 39.5), (101, 43.8))
    axes.axhline(30, color=INK, linewidth=0.5)
    axes.text(
        1, 26.5, "ConvEntion as published: 1,253,108 parameters, 630 M multiply-adds", fontsize=11, fontweight="bold"
    )
    box(axes, 1, 12, 14, 9, "group", BLUE, "3 science stamps\nand maps of bands")
    box(axes, 19, 12, 16, 9, "3-D convolutions", AMBER, "64, 128, 64, 8\nchannels")
    box(axes, 39, 12, 14, 9, "embedding", GREEN, "8 maps, kept\nin the store")
    box(axes, 57, 12, 17, 9, "attention", AMBER, "over groups, by convo-\nlutions, 2 blocks, 4 heads")
    box(axes, 78, 12, 13, 9, "maximum", AMBER, "over groups,\n256 features")
    box(axes, 96, 12, 15, 9, "classes", BLUE, "probabilities,\nunknown score")
    for left, right in ((15, 19), (35, 39), (53, 57), (74, 78), (91, 96)):
        arrow(axes, (left, 16.5), (right - 0.2, 16.5))
    axes.text(
        1,
        6.5,
        "Green is what the store keeps: a new alert costs its own embedding and what stands to the right of it.",
        fontsize=9,
    )
    axes.text(1, 3, "Blue enters and leaves, amber is learned.", fontsize=9)
    return figure


def ict() -> Figure:
    """A training step of ICT-ConvEntion."""
    figure, axes = sheet(112, 52)
    box(axes, 1, 22, 14, 8, "an object", BLUE, "its series\nand its class")
    box(axes, 21, 36, 14, 8, "view 1", BLUE, "turned and\nflipped")
    box(axes, 21, 8, 14, 8, "view 2", BLUE, "drawn anew")
    arrow(axes, (13, 30.2), (20.8, 39))
    arrow(axes, (13, 21.8), (20.8, 13))
    box(axes, 42, 36, 18, 8, "online network", AMBER, "ConvEntion,\nlearns")
    box(axes, 42, 8, 18, 8, "target network", GREEN, "a moving average\nof the online one")
    arrow(axes, (35, 40), (41.8, 40))
    arrow(axes, (35, 12), (41.8, 12))
    arrow(axes, (51, 35.8), (51, 16.2), dashed=True)
    axes.text(52, 26, "after each step:\nξ ← m ξ + (1 − m) θ", fontsize=SMALL, va="center", color=INK)
    box(axes, 66, 36, 12, 8, "projector", AMBER, "linear")
    box(axes, 82, 36, 12, 8, "predictor", AMBER, "2 layers")
    box(axes, 66, 8, 12, 8, "projector", GREEN, "moving average")
    arrow(axes, (60, 40), (65.8, 40))
    arrow(axes, (78, 40), (81.8, 40))
    arrow(axes, (60, 12), (65.8, 12), dashed=True)
    box(axes, 82, 20, 26, 9, "pull", RED, "2 − 2 cosine of prediction and\ntarget; then the views exchanged")
    arrow(axes, (90, 35.8), (93, 29.2))
    arrow(axes, (78, 12), (90, 19.8), dashed=True)
    box(axes, 99, 36, 12, 8, "class loss", RED, "of both views")
    arrow(axes, (57, 44.2), (103, 44.2), bend=-0.12)
    axes.text(80, 48.3, "head: logits of each view", ha="center", fontsize=SMALL, color=INK)
    axes.text(
        1,
        2,
        "Loss = class loss + weight × pull. Dashed: no gradient. Only the online network is kept as weights.",
        fontsize=9,
    )
    return figure


def main() -> int:
    """Draw them all."""
    mpl.rcParams["svg.hashsalt"] = "ictc"  # the same bytes each time
    mpl.rcParams["svg.fonttype"] = "none"
    mpl.rcParams["font.family"] = "sans-serif"
    for draw in (flow, networks, ict):
        draw().savefig(FOLDER / f"{draw.__name__}.svg", metadata={"Date": None, "Creator": None})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
