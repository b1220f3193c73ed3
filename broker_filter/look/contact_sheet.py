"""Several objects on one page, each in a tile: the newest stamps, the light curve, and the probabilities."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from broker_filter.look.sheet import verdict_of
from broker_filter.look.story import ObjectStory
from model.pictures import light_curve
from model.pictures.colours import colours_of_classes
from model.pictures.figure import Picture
from model.pictures.stamps import stretched
from model.pictures.theme import LIGHT, Theme
from model.printable import short

TILE_WIDTH_IN, TILE_HEIGHT_IN, GAP_IN, MARGIN_IN = 3.1, 3.05, 0.3, 0.22
TILES_ACROSS = 4
MOST_TILES = 60  # of one page: 15 rows


def draw_contact_sheet(stories: Sequence[ObjectStory], theme: Theme = LIGHT) -> Figure:
    """Draw objects in tiles, four in a row.

    Raises
    ------
    ValueError
        For no object, or more than ``MOST_TILES``.
    """
    if not 0 < len(stories) <= MOST_TILES:
        raise ValueError(f"a contact sheet of {len(stories)} objects: 1 to {MOST_TILES} fit; choose some")
    across = min(len(stories), TILES_ACROSS)
    down = -(-len(stories) // across)
    width = 2 * MARGIN_IN + across * TILE_WIDTH_IN + (across - 1) * GAP_IN
    height = 2 * MARGIN_IN + down * TILE_HEIGHT_IN + (down - 1) * GAP_IN
    figure = Picture(width, height, theme.ground)
    for n, story in enumerate(stories):
        row, column = divmod(n, across)
        left = MARGIN_IN + column * (TILE_WIDTH_IN + GAP_IN)
        top = height - MARGIN_IN - row * (TILE_HEIGHT_IN + GAP_IN)
        _Tile(figure, left, top, theme).draw(story)
    return figure


class _Tile:
    """A place on a page; positions in inches from its upper left corner."""

    def __init__(self, figure: Figure, left_in: float, top_in: float, theme: Theme) -> None:
        self._figure, self._left_in, self._top_in, self._theme = figure, left_in, top_in, theme

    def draw(self, story: ObjectStory) -> None:
        theme, colours = self._theme, colours_of_classes(story.classes)
        name = self._write(0.0, 0.08, short(story.object_id), theme.ink, fontsize=10, fontweight="bold")
        if story.classified:
            verdict = verdict_of(story.classified[-1])
            words = "  ".join(f"{name} {probability:.2f}" for name, probability in verdict)
            colour = colours[verdict[-1][0]]
            written = self._write(TILE_WIDTH_IN, 0.08, words, colour, fontsize=9, fontweight="bold", ha="right")
        else:
            written = self._write(TILE_WIDTH_IN, 0.08, str(story.newest.reason), theme.faint, fontsize=9, ha="right")
        self._make_room(name, written)
        side = (TILE_WIDTH_IN - 0.08 * (len(story.channels) - 1)) / len(story.channels)
        side = min(side, 1.0)
        for n, channel in enumerate(story.channels):
            self._stamp(self._axes(n * (side + 0.05), 0.22, side, side), story, channel, n)
        self._curve(self._axes(0.0, 0.22 + side + 0.1, TILE_WIDTH_IN, 0.85), story)
        self._probabilities(self._axes(0.0, 0.22 + side + 1.02, TILE_WIDTH_IN, 0.55), story)
        days = f"{len(story.answers)} alerts in {story.days:.1f} d" if len(story.answers) > 1 else "one alert"
        self._write(0.0, TILE_HEIGHT_IN - 0.06, days, theme.faint, fontsize=7.5)
        score = story.classified[-1].unknown_score if story.classified else None
        if score is not None:
            self._write(
                TILE_WIDTH_IN, TILE_HEIGHT_IN - 0.06, f"unknown {score:+.1f}", theme.faint, fontsize=7.5, ha="right"
            )

    def _axes(self, left_in: float, top_in: float, width_in: float, height_in: float) -> Axes:
        width, height = self._figure.get_size_inches()
        box = (
            (self._left_in + left_in) / width,
            (self._top_in - top_in - height_in) / height,
            width_in / width,
            height_in / height,
        )
        axes = self._figure.add_axes(box, facecolor=self._theme.ground)
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(color=self._theme.line, linewidth=0.8)
        return axes

    def _write(self, left_in: float, top_in: float, words: str, colour: str, **style: object) -> Text:
        width, height = self._figure.get_size_inches()
        x, y = (self._left_in + left_in) / width, (self._top_in - top_in) / height
        return self._figure.text(x, y, words, color=colour, va="center", parse_math=False, **style)  # type: ignore[arg-type]

    def _make_room(self, *texts: Text) -> None:
        """Make texts of one line smaller where together they are wider than the tile: LSST's ids have 18 digits."""
        wide_in = sum(text.get_window_extent().width for text in texts) / self._figure.dpi
        if (share := (TILE_WIDTH_IN - GAP_IN / 2) / wide_in) < 1:
            for text in texts:
                text.set_fontsize(share * float(text.get_fontsize()))

    def _stamp(self, axes: Axes, story: ObjectStory, channel: str, index: int) -> None:
        if not len(story.frames):
            axes.set_facecolor(self._theme.empty)
            return
        image_HW = stretched(story.frames, len(story.frames) - 1, index)
        axes.set_facecolor(self._theme.not_observed)
        real = image_HW[np.isfinite(image_HW)]
        reach = max(float(np.percentile(np.abs(real), 99.7)) if real.size else 0.0, 1.7)
        is_difference = channel == "difference"
        axes.imshow(
            image_HW,
            cmap=self._theme.difference_map() if is_difference else "gray",
            vmin=-reach if is_difference else -0.76,
            vmax=reach,
            origin="lower",
            interpolation="nearest",
        )

    def _curve(self, axes: Axes, story: ObjectStory) -> None:
        light_curve.draw_epochs(axes, story.epochs)
        light_curve.draw_frames(axes, story.frames)
        light_curve.limit_fluxes(axes, story.frames, story.epochs)
        axes.axhline(0, color=self._theme.faint, linewidth=0.6, zorder=0)
        self._time_limits(axes, story)

    def _probabilities(self, axes: Axes, story: ObjectStory) -> None:
        days = [answer.time_mjd for answer in story.classified]
        for name, colour in colours_of_classes(story.classes).items():
            probabilities = [answer.probabilities.get(name, 0.0) for answer in story.classified]
            axes.plot(days, probabilities, "o-", color=colour, markersize=2.6, linewidth=1.2)
        axes.set_ylim(-0.06, 1.06)
        self._time_limits(axes, story)

    @staticmethod
    def _time_limits(axes: Axes, story: ObjectStory) -> None:
        start = min([story.answers[0].time_mjd, *story.epochs.time_P.tolist()])
        end = story.answers[-1].time_mjd
        margin = max(0.03 * (end - start), 0.5)
        axes.set_xlim(start - margin, end + margin)
