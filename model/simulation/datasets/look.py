"""A data set and the number of an object in, a contact sheet out: stamps by epoch, light curve, truth. Changes nothing.

Legend: ``T`` frames, ``C`` channels, ``H W`` pixels.
"""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from numpy.typing import NDArray

from model.data.dataset import Dataset
from model.data.writer import disk_errors
from model.past_photometry import LIMIT_SIGMA, History
from model.series import BANDS, MAD_TO_SIGMA, Series
from model.simulation.survey.surveys import survey_named

BAND_COLOURS = dict(zip(BANDS, ("#7b4fb5", "#1a936f", "#d1495b", "#e08e1b", "#8c5a3c", "#4a4e69"), strict=True))
INK, FAINT = "#22252b", "#8a8f98"
WIDTH_IN, LEFT, RIGHT = 13.2, 0.068, 0.985
TITLE_IN, CURVE_IN, GAP_IN = 0.72, 2.3, 0.85
FEWEST_COLUMNS, MOST_COLUMNS = 9, 14
DETECTION_SIGMA = 5.0
NIGHT_DAYS = 0.5  # frames closer than this stand in one column
STRETCH_SIGMA = 3.0  # where the asinh stretch turns from linear to logarithmic
TRUTH_ROWS = ("subtype", "redshift", "label_mode", "largest_change_mag", "host_r_mag", "ebv_mag")
TRUTH_WORDS = {
    "label_mode": "labels",
    "largest_change_mag": "largest change",
    "host_r_mag": "host r",
    "ebv_mag": "E(B−V)",
}


class NoSuchObjectError(LookupError):
    """The data set holds no object of this number."""


def draw_object(dataset: Dataset, index: int) -> Figure:
    """Draw object ``index`` of a data set.

    Raises
    ------
    NoSuchObjectError
        When there are fewer objects.
    """
    if len(dataset) == 0:
        raise NoSuchObjectError(f"{dataset.folder} holds no objects: there is nothing to look at")
    if not 0 <= index < len(dataset):
        raise NoSuchObjectError(f"{dataset.folder} holds {len(dataset)} objects: --object 0 to {len(dataset) - 1}")
    series, truth = dataset.series(index), dataset.truth().slice(index, 1).to_pylist()[0]
    rows, columns = _layout(dataset, series)
    across = max(len(columns), FEWEST_COLUMNS)
    stamps_in = (RIGHT - LEFT) * WIDTH_IN / across * len(rows)
    height = TITLE_IN + CURVE_IN + GAP_IN + stamps_in + 0.12
    figure = Figure(figsize=(WIDTH_IN, height), facecolor="white", dpi=110)
    FigureCanvasAgg(figure)
    curve_top = 1 - TITLE_IN / height
    axes = figure.add_axes((LEFT, curve_top - CURVE_IN / height, RIGHT - LEFT, CURVE_IN / height))
    _draw_curve(axes, dataset, series, truth)
    _draw_history(axes, dataset.history(index))
    grid = figure.add_gridspec(
        len(rows), across, left=LEFT, right=RIGHT, bottom=0.12 / height, wspace=0.05, hspace=0.05
    )
    grid.update(top=(0.12 + stamps_in) / height)
    _draw_stamps(figure, grid, series, rows, columns)
    _write_title(figure, dataset, index, series, truth)
    return figure


def save_object(dataset: Dataset, index: int, path: Path) -> None:
    """Draw object ``index`` into an image file.

    Raises
    ------
    NoSuchObjectError
        When there are fewer objects.
    DatasetError
        When the picture cannot be written.
    """
    figure = draw_object(dataset, index)
    with disk_errors(path):
        figure.savefig(path)


def _layout(dataset: Dataset, series: Series) -> tuple[list[tuple[str, Any]], list[NDArray[np.int64]]]:
    """Rows of stamps, and which frames stand in each column."""
    nights = np.cumsum(np.r_[0, np.diff(series.time_T) > NIGHT_DAYS])
    if len(dataset.channels) == 1:
        rows = [(band, BANDS.index(band)) for band in BANDS if BANDS.index(band) in series.band_T]
        columns = [np.flatnonzero(nights == night) for night in range(int(nights[-1]) + 1)]
    else:
        rows = [(channel, c) for c, channel in enumerate(dataset.channels)]
        columns = [np.array([t]) for t in range(len(series))]
    if len(columns) > MOST_COLUMNS:
        columns = [columns[i] for i in np.round(np.linspace(0, len(columns) - 1, MOST_COLUMNS)).astype(int)]
    return rows, columns


def _draw_stamps(
    figure: Figure,
    grid: GridSpec,
    series: Series,
    rows: list[tuple[str, Any]],
    columns: list[NDArray[np.int64]],
) -> None:
    by_band = rows[0][0] in BANDS
    limits = {row[0]: _limits(series, row, by_band) for row in rows}
    for j, frames in enumerate(columns):
        for i, row in enumerate(rows):
            axes = figure.add_subplot(grid[i, j])
            axes.set(xticks=[], yticks=[])
            chosen = [t for t in frames if not by_band or series.band_T[t] == row[1]]
            colour = BAND_COLOURS[BANDS[int(series.band_T[frames[0]])]] if not by_band else BAND_COLOURS[row[0]]
            for spine in axes.spines.values():
                spine.set(color=colour, linewidth=0.9)
            if j == 0:
                name = f"{row[0]} band" if by_band else row[0]
                axes.set_ylabel(name, color=colour if by_band else INK, fontsize=9)
            if i == 0:
                when = f"{series.time_T[frames[0]]:.0f} d" if by_band else f"{series.time_T[frames[0]]:.1f} d"
                band = "" if by_band else f"{BANDS[int(series.band_T[frames[0]])]}  "
                axes.set_title(band + when, color=INK if by_band else colour, fontsize=8, pad=3)
            if not chosen:
                axes.set_facecolor("#f3f4f6")
                continue
            image_HW = _pixels(series, chosen[0], 0 if by_band else row[1])
            low, high = limits[row[0]]
            axes.set_facecolor("#c9d6e8")  # what was not observed
            axes.imshow(_stretched(image_HW), cmap="gray", origin="lower", vmin=low, vmax=high, interpolation="nearest")


def _pixels(series: Series, t: int, channel: int) -> NDArray[np.float32]:
    """Pixels in units of their own noise, the background at zero."""
    image_HW = series.pixels_TCHW[t, channel].astype(np.float32)
    if not np.isfinite(image_HW).any():
        return image_HW
    middle = np.nanmedian(image_HW)
    sigma = MAD_TO_SIGMA * np.nanmedian(np.abs(image_HW - middle))
    return (image_HW - middle) / max(sigma, 1e-12)


def _stretched(image_HW: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.arcsinh(image_HW / STRETCH_SIGMA)


def _limits(series: Series, row: tuple[str, Any], by_band: bool) -> tuple[float, float]:
    """One grey scale for a row, so that brightness can be compared along it."""
    frames = np.flatnonzero(series.band_T == row[1]) if by_band else np.arange(len(series))
    images = [_stretched(_pixels(series, int(t), 0 if by_band else row[1])) for t in frames]
    measured = np.concatenate([image[np.isfinite(image)] for image in images])
    brightest = np.percentile(measured, 99.7) if measured.size else 0.0
    darkest, least = np.arcsinh(np.array([-2.5, 8.0]) / STRETCH_SIGMA)
    return float(darkest), max(float(brightest), float(least))


def _draw_curve(axes: Axes, dataset: Dataset, series: Series, truth: dict[str, Any]) -> None:
    true_T = np.asarray(truth["true_flux_T"], np.float64) if truth.get("true_flux_T") is not None else None
    difference = "difference" in dataset.channels
    for b, band in enumerate(BANDS):
        of_band = series.band_T == b
        if not of_band.any():
            continue
        time, flux, error = series.time_T[of_band], series.flux_T[of_band] / 1e3, series.flux_error_T[of_band] / 1e3
        static = 0.0
        if true_T is not None:
            true = true_T[of_band] / 1e3
            static = 0.0 if difference else float(np.nanmedian(flux - true))
            line = "none" if truth.get("kind") == "Star" else "solid"  # a line between cycles would show none of them
            axes.plot(time, true, "_", color=BAND_COLOURS[band], linestyle=line, linewidth=1.3, alpha=0.55, zorder=1)
        flux = flux - static
        seen = np.abs(flux) >= DETECTION_SIGMA * error
        for chosen, fill in ((seen, BAND_COLOURS[band]), (~seen, "white")):
            axes.errorbar(
                time[chosen], flux[chosen], error[chosen], fmt="o", markersize=4.6, markerfacecolor=fill, zorder=2,
                markeredgecolor=BAND_COLOURS[band], ecolor=BAND_COLOURS[band], elinewidth=0.8, markeredgewidth=1.0,
            )  # fmt: skip
        axes.plot([], [], "o", color=BAND_COLOURS[band], markersize=5, label=band)
    axes.axhline(0, color=FAINT, linewidth=0.7, zorder=0)
    flux_name = "difference flux" if difference else "forced flux − static light"
    axes.set_ylabel(f"{flux_name}  [µJy]", color=INK, fontsize=9)
    axes.set_xlabel("days since the first frame", color=INK, fontsize=9)
    axes.tick_params(colors=INK, labelsize=8, length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.02)
    entries = axes.get_legend_handles_labels()
    axes.legend(
        *entries,
        frameon=False,
        fontsize=8,
        ncols=6,
        loc="lower right",
        handletextpad=0.1,
        columnspacing=1.0,
        bbox_to_anchor=(1.0, 0.98),
        borderaxespad=0,
    )


def _draw_history(axes: Axes, history: History) -> None:
    """Epochs without stamp: limits as triangles, forced photometry as crosses."""
    for b, band in enumerate(BANDS):
        for limits in (True, False):
            chosen = (history.band_P == b) & ((history.flux_P == 0) == limits)
            flux_P = LIMIT_SIGMA * history.flux_error_P if limits else history.flux_P
            axes.plot(
                history.time_P[chosen],
                flux_P[chosen] / 1e3,
                "v" if limits else "x",
                color=BAND_COLOURS[band],
                markersize=3.5,
                markerfacecolor="white",
                alpha=0.6,
                zorder=1,
            )


def _write_title(figure: Figure, dataset: Dataset, index: int, series: Series, truth: dict[str, Any]) -> None:
    survey = survey_named(dataset.survey)
    arcsec = dataset.size_px * survey.pixel_arcsec
    label = dataset.classes[int(dataset.labels[index])]
    true_class = truth.get("true_class", label)
    headline = label if true_class == label else f"labelled {label}, truly {true_class}"
    top = 1 - 0.3 / figure.get_figheight()
    figure.text(LEFT, top, headline, fontsize=15, fontweight="bold", color=INK, va="center")
    about = [f"{dataset.survey.upper()} object {int(dataset.object_ids[index])}", f"{len(series)} frames"]
    about.append(f"stamps {arcsec:.0f}″")
    about += [_fact(name, truth[name]) for name in TRUTH_ROWS if _known(truth.get(name))]
    figure.text(RIGHT, top, "   ·   ".join(about), fontsize=8.5, color=FAINT, ha="right", va="center")


def _known(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and not np.isfinite(value)) and value != ""


def _fact(name: str, value: Any) -> str:
    word = TRUTH_WORDS.get(name, name)
    return f"{word} {value:.2f}" if isinstance(value, float) else f"{word} {value}"
