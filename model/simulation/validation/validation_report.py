"""Validation as an HTML page with plots of the simulated sky; one file that needs nothing else."""

import base64
import io
import tempfile
from collections.abc import Iterator
from html import escape
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from model.data.dataset import Dataset
from model.pictures.colours import BAND_COLOURS
from model.pictures.theme import LIGHT
from model.series import BANDS
from model.simulation.datasets import draw as datasets
from model.simulation.datasets.object_sheet import draw_object
from model.simulation.datasets.plan import CLASSES, DatasetRequest, load_recipe, parse_recipe
from model.simulation.sky import population
from model.simulation.sky_records import SkySettings
from model.simulation.survey.schedule import SDSS_GAP_PROBABILITY, draw_schedule
from model.simulation.surveys import SDSS, SURVEYS, ab_mag
from model.simulation.validation import Check
from model.simulation.validation.physics.supernovae import PEAK_R_MAG

DEPTH_PERCENT = (1, 5, 16, 50, 84, 95)
DEPTH_MAG = {  # of real nights, per band: the specification's table of scene-model errors
    "u": (20.06, 20.50, 20.95, 21.42, 21.69, 21.78),
    "g": (20.81, 21.39, 21.86, 22.53, 22.84, 22.95),
    "r": (20.90, 21.29, 21.69, 22.14, 22.40, 22.50),
    "i": (20.65, 21.08, 21.40, 21.73, 21.95, 22.03),
    "z": (19.51, 19.91, 20.19, 20.50, 20.72, 20.82),
}
SCHEDULES, SUPERNOVAE = 300, 150  # drawn for the plots
PAGE_DPI = 84  # keeps the page at a few megabytes
VERDICTS = {True: "pass", False: "fail", None: "skip"}
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#22252b;max-width:1180px;margin:2.5rem auto;padding:0 1.2rem}
h1{font-size:1.7rem;margin-bottom:.2rem} h2{font-size:1.15rem;margin-top:2.2rem} p{color:#5c626c}
table{border-collapse:collapse;width:100%;font-size:.9rem}
td,th{padding:.35rem .7rem;text-align:left;vertical-align:top}
tr{border-bottom:1px solid #e6e8eb} th{color:#8a8f98;font-weight:500} td:first-child{color:#8a8f98}
.pass{color:#1a7f5a}.fail{color:#c22f44;font-weight:600}.skip{color:#8a8f98} img{width:100%;margin:.6rem 0}
"""


def write_report(checks: list[Check], summary: str, seed: int, path: Path) -> None:
    """Write the page."""
    rows = "".join(_row(check) for check in checks)
    plots = "".join(
        f"<h2>{escape(title)}</h2><p>{escape(words)}</p>"
        f'<img alt="{escape(title)}" src="data:image/png;base64,{_png(figure)}">'
        for title, words, figure in _figures(seed)
    )
    path.write_text(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>The simulated sky, checked</title>'
        f"<style>{STYLE}</style></head><body><h1>The simulated sky, checked</h1><p>{escape(summary)}</p>"
        f"<table><tr><th>#</th><th>statistic</th><th>target</th><th>value</th><th></th></tr>{rows}</table>"
        f"{plots}</body></html>\n",
        "utf-8",
    )


def _row(check: Check) -> str:
    verdict = VERDICTS[check.passed]
    cells = (str(check.number), check.statistic, check.target, check.value)
    return "<tr>" + "".join(f"<td>{escape(c)}</td>" for c in cells) + f'<td class="{verdict}">{verdict}</td></tr>'


def _png(figure: Figure) -> str:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=PAGE_DPI)
    return base64.b64encode(out.getvalue()).decode("ascii")


def _figures(seed: int) -> Iterator[tuple[str, str, Figure]]:
    yield _conditions(seed)
    yield _supernovae(seed)
    yield from _sheets(seed)


def _new_figure(panels: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(13.2, 3.6), facecolor="white", dpi=110)
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(1, panels, i + 1) for i in range(panels)]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.tick_params(colors=LIGHT.ink, labelsize=8)
    figure.subplots_adjust(left=0.055, right=0.985, bottom=0.15, top=0.95, wspace=0.2)
    return figure, axes


def _conditions(seed: int) -> tuple[str, str, Figure]:
    schedules = [draw_schedule(SDSS, np.random.default_rng([seed, i]), 53_614.0) for i in range(SCHEDULES)]
    figure, (gaps_axes, depth_axes) = _new_figure(2)
    gaps = np.concatenate([np.diff(np.unique(schedule.night_T)) for schedule in schedules])
    days = np.arange(1, len(SDSS_GAP_PROBABILITY) + 1)
    drawn = np.array([(gaps == day).mean() for day in days])
    gaps_axes.bar(days, drawn, color="#9db4d0", label="simulated")
    gaps_axes.plot(days, SDSS_GAP_PROBABILITY / SDSS_GAP_PROBABILITY.sum(), "o", color=LIGHT.ink, ms=4, label="real")
    gaps_axes.set(xlabel="days between nights", ylabel="fraction")
    for band, real in DEPTH_MAG.items():
        depth = np.concatenate([s.depth_T[s.band_T == BANDS.index(band)] for s in schedules])
        fraction = np.linspace(0, 1, len(depth))
        depth_axes.plot(np.sort(depth), fraction, color=BAND_COLOURS[band], linewidth=1.4, label=band)
        depth_axes.plot(real, np.array(DEPTH_PERCENT) / 100, "o", color=BAND_COLOURS[band], ms=4)
    depth_axes.set(xlabel="5σ depth of a night  [mag]", ylabel="fraction shallower")
    for axes in (gaps_axes, depth_axes):
        axes.legend(frameon=False, fontsize=8)
    words = "Gaps between nights and depths of the SDSS supernova survey: simulated (bars, lines) and real (points)."
    return "Cadence and depth", words, figure


def _supernovae(seed: int) -> tuple[str, str, Figure]:
    figure, (peak_axes, frames_axes) = _new_figure(2)
    redshifts, peaks = [], []
    visits: dict[str, list[int]] = {label: [] for label in CLASSES}
    sky = SkySettings(survey=SDSS, seed=seed)
    for number in range(SUPERNOVAE):
        for k, label in enumerate(CLASSES):  # each its own number: the schedule follows from it
            obj = population.draw_object(sky, label, number * len(CLASSES) + k, "sdss_label")
            if obj is None:
                continue
            visits[label].append(len(obj.schedule.time_T))
            if label == "SNIa":
                red = obj.schedule.band_T == BANDS.index("r")
                redshifts.append(float(obj.truth["redshift"]))
                peaks.append(float(ab_mag(obj.difference_flux_T[red].max())))
    peak_axes.plot(redshifts, peaks, "o", color=BAND_COLOURS["r"], ms=3.5, alpha=0.5, label="simulated")
    peak_axes.plot(list(PEAK_R_MAG), list(PEAK_R_MAG.values()), "D", color=LIGHT.ink, ms=6, label="real, mean")
    peak_axes.set(xlabel="redshift", ylabel="brightest r of SNe Ia  [mag]")
    peak_axes.invert_yaxis()
    edges = [float(edge) for edge in range(40, 220, 10)]
    colours = ("#4a4e69", "#d1495b", "#1a936f", "#e08e1b")
    for (label, counts), colour in zip(visits.items(), colours, strict=True):
        frames_axes.hist(counts, edges, histtype="step", density=True, label=label, color=colour, linewidth=1.4)
    frames_axes.set(xlabel="frames of an object", ylabel="density")
    for axes in (peak_axes, frames_axes):
        axes.legend(frameon=False, fontsize=8)
    words = "Peaks of the spectroscopic SNe Ia by redshift; the number of frames, which must not tell the class."
    return "Supernovae, and what must not leak", words, figure


def _sheets(seed: int) -> Iterator[tuple[str, str, Figure]]:
    """One object of each class under each survey."""
    source = dict(load_recipe("mini").source)
    counts = dict.fromkeys(CLASSES, 1)
    source |= {"groups": [{"split": "all", "labels": "spectroscopic", "counts": counts}], "bands": {}}
    recipe = parse_recipe(source, "report")
    with tempfile.TemporaryDirectory() as folder:
        for survey in SURVEYS.values():
            where = Path(folder) / survey.name
            size_px = min(64, survey.stamp_pixels)
            datasets.write_dataset(DatasetRequest(recipe, survey, seed, size_px=size_px), where)
            dataset = Dataset.open(where)
            for index in np.argsort(dataset.labels):
                label = dataset.classes[int(dataset.labels[index])]
                words = "Lines are the truth, filled points 5σ detections; blue pixels were not measured."
                yield f"{label} as {survey.name.upper()} would see it", words, draw_object(dataset, int(index))
