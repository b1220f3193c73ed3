"""Stamps of a series as a grid: one column an epoch, one row an image channel, or a band where there is one channel.

Legend: ``T`` frames, ``C`` channels, ``H W`` pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from numpy.typing import NDArray

from model.pictures.colours import BAND_COLOURS
from model.pictures.theme import LIGHT, Theme
from model.series import BANDS, MAD_TO_SIGMA, Series

NIGHT_DAYS = 0.5  # frames closer than this stand in one column
STRETCH_SIGMA = 3.0  # where the asinh stretch turns from linear to logarithmic
MOST_COLUMNS = 14


@dataclass(frozen=True, slots=True)
class Layout:
    """Which frame stands where."""

    names: tuple[str, ...]  # of the rows: channels, or bands
    by_band: bool
    columns: tuple[NDArray[np.int64], ...]  # frames of each

    def frame(self, series: Series, row: int, column: int) -> int | None:
        """The frame at a place; None where there is none."""
        frames = self.columns[column]
        if not self.by_band:
            return int(frames[0])
        of_band = frames[series.band_T[frames] == BANDS.index(self.names[row])]
        return int(of_band[0]) if len(of_band) else None


def layout_of(series: Series, channels: Sequence[str], most_columns: int = MOST_COLUMNS) -> Layout:
    """A column for each frame or, of series with one channel, each night; evenly chosen where they are too many."""
    if len(channels) == 1:
        nights = np.cumsum(np.r_[0, np.diff(series.time_T) > NIGHT_DAYS])
        names = tuple(band for b, band in enumerate(BANDS) if b in series.band_T)
        columns = [np.flatnonzero(nights == night) for night in range(int(nights[-1]) + 1)]
    else:
        names = tuple(channels)
        columns = [np.array([t]) for t in range(len(series))]
    if len(columns) > most_columns:
        columns = [columns[i] for i in np.round(np.linspace(0, len(columns) - 1, most_columns)).astype(int)]
    return Layout(names, len(channels) == 1, tuple(columns))


def draw_stamps(figure: Figure, grid: GridSpec, series: Series, layout: Layout, theme: Theme = LIGHT) -> None:
    """Draw the stamps of a series, one grey scale a row; differences from blue through white to red."""
    for row, name in enumerate(layout.names):
        limits = _limits(series, layout, row)
        for column in range(len(layout.columns)):
            axes = figure.add_subplot(grid[row, column])
            _frame_axes(axes, series, layout, row, column, theme)
            frame = layout.frame(series, row, column)
            if frame is None:
                axes.set_facecolor(theme.empty)
                continue
            axes.set_facecolor(theme.not_observed)
            axes.imshow(
                stretched(series, frame, 0 if layout.by_band else row),
                cmap=theme.difference_map() if name == "difference" else "gray",
                origin="lower",
                vmin=limits[0],
                vmax=limits[1],
                interpolation="nearest",
            )


def _frame_axes(axes: Axes, series: Series, layout: Layout, row: int, column: int, theme: Theme) -> None:
    """Border, name of the row at the left and time of the column at the top."""
    first = int(layout.columns[column][0])
    name, band = layout.names[row], BANDS[int(series.band_T[first])]
    colour = BAND_COLOURS[name if layout.by_band else band]
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=0.9)
    if column == 0:
        words = f"{name} band" if layout.by_band else name
        axes.set_ylabel(words, color=colour if layout.by_band else theme.ink, fontsize=9)
    if row == 0:
        days = series.time_T[first] - series.time_T[0]
        when = f"{days:.0f} d" if layout.by_band else f"{band}  {days:.1f} d"
        axes.set_title(when, color=theme.ink if layout.by_band else colour, fontsize=8, pad=3)


def stretched(series: Series, frame: int, channel: int) -> NDArray[np.float32]:
    """A stamp in units of its own noise, the background at zero, asinh-stretched; NaN stays."""
    image_HW = series.pixels_TCHW[frame, channel].astype(np.float32)
    if not np.isfinite(image_HW).any():
        return image_HW
    middle = np.nanmedian(image_HW)
    sigma = MAD_TO_SIGMA * np.nanmedian(np.abs(image_HW - middle))
    return np.arcsinh((image_HW - middle) / max(sigma, 1e-12) / STRETCH_SIGMA)


def _limits(series: Series, layout: Layout, row: int) -> tuple[float, float]:
    """One scale for a row, so that brightness can be compared along it."""
    if layout.by_band:
        frames = np.flatnonzero(series.band_T == BANDS.index(layout.names[row]))
    else:
        frames = np.arange(len(series))
    images = [stretched(series, int(t), 0 if layout.by_band else row) for t in frames]
    measured = np.concatenate([image[np.isfinite(image)] for image in images])
    darkest, least = np.arcsinh(np.array([-2.5, 8.0]) / STRETCH_SIGMA)
    if layout.names[row] == "difference":
        reach = max(float(np.percentile(np.abs(measured), 99.7)) if measured.size else 0.0, float(least))
        return -reach, reach
    brightest = np.percentile(measured, 99.7) if measured.size else 0.0
    return float(darkest), max(float(brightest), float(least))
