"""Light curves of difference fluxes: frames with a stamp, and the epochs without one of which packets tell."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from model.past_photometry import LIMIT_SIGMA, History
from model.pictures.colours import BAND_COLOURS
from model.pictures.theme import LIGHT, Theme
from model.series import BANDS, Series

DETECTION_SIGMA = 5.0
NJY_PER_UJY = 1e3
AB_MAG_OF_1_UJY = 23.9


def draw_frames(axes: Axes, series: Series, static_ujy: Sequence[float] = (0.0,) * len(BANDS)) -> None:
    """Points with errors, filled where they are detections of 5 σ; ``static_ujy`` of each band is taken off."""
    for b, band in enumerate(BANDS):
        of_band = series.band_T == b
        if not of_band.any():
            continue
        time, flux = series.time_T[of_band], series.flux_T[of_band] / NJY_PER_UJY - static_ujy[b]
        error = series.flux_error_T[of_band] / NJY_PER_UJY
        seen = np.abs(flux) >= DETECTION_SIGMA * error
        for chosen, fill in ((seen, BAND_COLOURS[band]), (~seen, axes.get_facecolor())):
            axes.errorbar(
                time[chosen], flux[chosen], error[chosen], fmt="o", markersize=4.6, markerfacecolor=fill, zorder=3,
                markeredgecolor=BAND_COLOURS[band], ecolor=BAND_COLOURS[band], elinewidth=0.8, markeredgewidth=1.0,
            )  # fmt: skip


def draw_epochs(axes: Axes, history: History) -> None:
    """Epochs without stamp: limits as triangles, measured fluxes as crosses."""
    for b, band in enumerate(BANDS):
        for limits in (True, False):
            chosen = (history.band_P == b) & ((history.flux_P == 0) == limits)
            flux_P = LIMIT_SIGMA * history.flux_error_P if limits else history.flux_P
            axes.plot(
                history.time_P[chosen],
                flux_P[chosen] / NJY_PER_UJY,
                "v" if limits else "x",
                color=BAND_COLOURS[band],
                markersize=3.5,
                markerfacecolor=axes.get_facecolor(),
                alpha=0.6,
                zorder=1,
            )


def limit_fluxes(axes: Axes, series: Series, history: History) -> None:
    """Let the measured fluxes fill the axis; limits far above them, which tell nothing, fall outside."""
    flux = np.concatenate([series.flux_T, history.flux_P]).astype(np.float64) / NJY_PER_UJY
    error = (
        np.concatenate([series.flux_error_T, np.where(history.flux_P == 0, 0.0, history.flux_error_P)]) / NJY_PER_UJY
    )
    ends = np.concatenate([flux - np.nan_to_num(error), flux + np.nan_to_num(error), [0.0]])
    low, high = np.nanmin(ends), np.nanmax(ends)
    if high > low:
        axes.set_ylim(low - 0.07 * (high - low), high + 0.1 * (high - low))


def finish(axes: Axes, bands: Sequence[str], theme: Theme = LIGHT, words: Sequence[tuple[str, str]] = ()) -> None:
    """Zero line, plain spines and a legend of bands, and of further (marker, words)."""
    for band in bands:
        axes.plot([], [], "o", color=BAND_COLOURS[band], markersize=5, label=band)
    for marker, label in words:
        axes.plot([], [], marker, color=theme.faint, markersize=4.5, markerfacecolor="none", label=label)
    axes.axhline(0, color=theme.faint, linewidth=0.7, zorder=0)
    axes.tick_params(colors=theme.ink, labelsize=8, length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(theme.ink)
    axes.margins(x=0.02)
    if not axes.get_legend_handles_labels()[0]:
        return
    axes.legend(
        frameon=False,
        fontsize=8,
        ncols=9,
        loc="lower right",
        handletextpad=0.1,
        columnspacing=1.0,
        bbox_to_anchor=(1.0, 0.98),
        borderaxespad=0,
        labelcolor=theme.ink,
    )
