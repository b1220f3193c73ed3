"""Sheets of the objects of a data set: stamps by epoch, light curve, truth."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from model.data.dataset import Dataset
from model.data.writer import disk_errors
from model.pictures import light_curve
from model.pictures.colours import BAND_COLOURS
from model.pictures.light_curve import NJY_PER_UJY
from model.pictures.stamps import draw_stamps, layout_of
from model.pictures.theme import LIGHT
from model.series import BANDS, Series
from model.simulation.surveys import survey_named

WIDTH_IN, LEFT, RIGHT = 13.2, 0.068, 0.985
TITLE_IN, CURVE_IN, GAP_IN = 0.72, 2.3, 0.85
FEWEST_COLUMNS = 9
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
    layout = layout_of(series, dataset.channels)
    across, rows = max(len(layout.columns), FEWEST_COLUMNS), len(layout.names)
    stamps_in = (RIGHT - LEFT) * WIDTH_IN / across * rows
    height = TITLE_IN + CURVE_IN + GAP_IN + stamps_in + 0.12
    figure = Figure(figsize=(WIDTH_IN, height), facecolor="white", dpi=110)
    FigureCanvasAgg(figure)
    curve_top = 1 - TITLE_IN / height
    axes = figure.add_axes((LEFT, curve_top - CURVE_IN / height, RIGHT - LEFT, CURVE_IN / height))
    _draw_curve(axes, dataset, series, truth)
    light_curve.draw_epochs(axes, dataset.history(index))
    grid = figure.add_gridspec(rows, across, left=LEFT, right=RIGHT, bottom=0.12 / height, wspace=0.05, hspace=0.05)
    grid.update(top=(0.12 + stamps_in) / height)
    draw_stamps(figure, grid, series, layout)
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


def _draw_curve(axes: Axes, dataset: Dataset, series: Series, truth: dict[str, Any]) -> None:
    true_T = np.asarray(truth["true_flux_T"], np.float64) if truth.get("true_flux_T") is not None else None
    difference = "difference" in dataset.channels
    static_ujy = np.zeros(len(BANDS))
    for b, band in enumerate(BANDS):
        of_band = series.band_T == b
        if true_T is None or not of_band.any():
            continue
        true = true_T[of_band] / NJY_PER_UJY
        if not difference:
            static_ujy[b] = np.nanmedian(series.flux_T[of_band] / NJY_PER_UJY - true)
        line = "none" if truth.get("kind") == "Star" else "solid"  # a line between cycles would show none of them
        colour = BAND_COLOURS[band]
        axes.plot(series.time_T[of_band], true, "_", color=colour, linestyle=line, linewidth=1.3, alpha=0.55, zorder=1)
    light_curve.draw_frames(axes, series, static_ujy.tolist())
    flux_name = "difference flux" if difference else "forced flux − static light"
    axes.set_ylabel(f"{flux_name}  [µJy]", color=LIGHT.ink, fontsize=9)
    axes.set_xlabel("days since the first frame", color=LIGHT.ink, fontsize=9)
    light_curve.finish(axes, [band for b, band in enumerate(BANDS) if b in series.band_T])


def _write_title(figure: Figure, dataset: Dataset, index: int, series: Series, truth: dict[str, Any]) -> None:
    survey = survey_named(dataset.survey)
    arcsec = dataset.size_px * survey.pixel_arcsec
    label = dataset.classes[int(dataset.labels[index])]
    true_class = truth.get("true_class", label)
    headline = label if true_class == label else f"labelled {label}, truly {true_class}"
    top = 1 - 0.3 / figure.get_figheight()
    figure.text(LEFT, top, headline, fontsize=15, fontweight="bold", color=LIGHT.ink, va="center")
    about = [f"{dataset.survey.upper()} object {int(dataset.object_ids[index])}", f"{len(series)} frames"]
    about.append(f"stamps {arcsec:.0f}″")
    about += [_fact(name, truth[name]) for name in TRUTH_ROWS if _known(truth.get(name))]
    figure.text(RIGHT, top, "   ·   ".join(about), fontsize=8.5, color=LIGHT.faint, ha="right", va="center")


def _known(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and not np.isfinite(value)) and value != ""


def _fact(name: str, value: Any) -> str:
    word = TRUTH_WORDS.get(name, name)
    return f"{word} {value:.2f}" if isinstance(value, float) else f"{word} {value}"
