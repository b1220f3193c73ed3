"""HTML report of an evaluation: one self-contained page, its pictures inside it. It measures nothing."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from model.data.dataset import Dataset
from model.past_photometry import LIMIT_SIGMA, History
from model.series import BANDS, Series
from model.serving.card import ModelCard
from model.training.evaluation.card_limits import limits
from model.training.evaluation.early import PrefixPredictions
from model.training.evaluation.scorecard import Scorecard

EXAMPLES_PER_CLASS = 2
SHOWN_STAMPS = 6
BAND_COLOURS = ("tab:purple", "tab:green", "tab:red", "tab:orange", "tab:brown", "black")
SCORE_NAMES = {
    "macro_f1": "macro-F1",
    "balanced_accuracy": "balanced accuracy",
    "auc": "AUC",
    "log_loss": "log loss",
    "ece": "calibration error (ECE)",
    "auroc": "AUROC of the unknown score",
}
CLASS_COLOURS = ("tab:blue", "tab:red", "tab:gray", "tab:orange")


def picture(draw: Callable[[Any], None], width: float = 5.0, height: float = 4.0) -> str:
    """A drawing as a PNG in a data address."""
    figure = Figure(figsize=(width, height), layout="constrained")
    draw(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def draw_confusion(axes: Axes, table_KK: NDArray, classes: tuple[str, ...]) -> None:
    """Counts, coloured by the share of the true class."""
    share_KK = table_KK / np.maximum(table_KK.sum(1, keepdims=True), 1)
    axes.imshow(share_KK, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.ndindex(*table_KK.shape):
        colour = "white" if share_KK[i, j] > 0.5 else "black"
        axes.text(j, i, f"{table_KK[i, j]}\n{share_KK[i, j]:.0%}", ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(len(classes)), classes)
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("classified as")
    axes.set_ylabel("is")


def draw_reliability(axes: Axes, table_Q3: NDArray, ece: float) -> None:
    """Share correct against confidence; the diagonal is honest."""
    axes.plot([0, 1], [0, 1], color="lightgray")
    axes.plot(table_Q3[:, 0], table_Q3[:, 1], "o-", color="tab:blue")
    axes.set_xlabel("confidence")
    axes.set_ylabel("share correct")
    axes.set_title(f"expected calibration error {ece:.3f}", fontsize=10)


def draw_curves(axes: Axes, by: Mapping[int, Mapping[str, float]], names: Sequence[str], unit: str) -> None:
    """Numbers against nights or days since the first detection, with a tick wherever they were measured."""
    for name in names:
        axes.plot([*by], [entry[name] for entry in by.values()], "o-", label=SCORE_NAMES[name])
    axes.set_xscale("symlog")
    axes.set_xticks([*by], [str(at) for at in by], fontsize=8)
    axes.minorticks_off()
    axes.set_xlabel(f"{unit} since first detection")
    axes.grid(color="#eee")
    axes.legend(fontsize=8)


def draw_early(figure: Any, by: Mapping[int, Mapping[str, float]], unit: str) -> None:
    """Which share is right, beside how honest the probabilities are."""
    left, right = figure.subplots(1, 2)
    draw_curves(left, by, ("macro_f1", "balanced_accuracy", "auc"), unit)
    left.set_ylim(0, 1)
    draw_curves(right, by, ("log_loss", "ece"), unit)
    right.set_ylim(bottom=0)


def draw_unknown(axes: Axes, by_night: Mapping[int, float]) -> None:
    """How well the unknown score tells strangers, against nights; half is chance."""
    draw_curves(axes, {night: {"auroc": value} for night, value in by_night.items()}, ("auroc",), "nights")
    axes.axhline(0.5, color="lightgray")
    axes.set_ylim(0, 1)


def draw_history(
    axes: Axes, time_T: NDArray, probability_TK: NDArray, classes: tuple[str, ...], xlabel: str = "days"
) -> None:
    """The probability of each class after every frame."""
    for k, name in enumerate(classes):
        axes.plot(time_T, probability_TK[:, k], ".-", color=CLASS_COLOURS[k % len(CLASS_COLOURS)], label=name)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel(xlabel)
    axes.set_ylabel("probability")
    axes.legend(fontsize=7)


def draw_light_curve(axes: Axes, series: Series, history: History) -> None:
    """Fluxes of frames, filled; epochs without stamp, open; visits that saw nothing, triangles at their limit.

    The range is that of the fluxes and of the deeper half of the limits.
    """
    day_T, day_P = series.time_T - series.time_T[0], history.time_P - series.time_T[0]
    unseen_P, limit_P = history.flux_P == 0, LIMIT_SIGMA * history.flux_error_P / 1e3
    for band in np.unique(np.concatenate([series.band_T, history.band_P])):
        colour, at = BAND_COLOURS[band], series.band_T == band
        seen = (history.band_P == band) & ~unseen_P
        flux_T, error_T = series.flux_T[at] / 1e3, series.flux_error_T[at] / 1e3
        flux_P, error_P = history.flux_P[seen] / 1e3, history.flux_error_P[seen] / 1e3
        axes.errorbar(day_P[seen], flux_P, error_P, fmt="o", color=colour, markersize=4, mfc="none", alpha=0.7)
        axes.errorbar(day_T[at], flux_T, error_T, fmt="o", color=colour, markersize=4, label=BANDS[band])
    low, high = axes.get_ylim()
    for band in np.unique(history.band_P[unseen_P]):
        at = unseen_P & (history.band_P == band)
        axes.plot(day_P[at], limit_P[at], "v", color=BAND_COLOURS[band], markersize=4, mfc="none", alpha=0.5)
    axes.set_ylim(low, max([high, 1.1 * float(np.median(limit_P[unseen_P]))] if unseen_P.any() else [high]))
    axes.set_xlabel("days since the first frame")
    axes.set_ylabel("flux (µJy)")
    axes.legend(fontsize=7, ncols=len(BANDS), loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)


def draw_example(
    figure: Any, dataset: Dataset, row: int, history: PrefixPredictions, n: int, classes: tuple[str, ...]
) -> None:
    """Stamps of one object, its photometry, what its packets tell beside it, and what the network said after frames."""
    series, past = dataset.series(row), dataset.history(row)
    parts = figure.subfigures(2, 1, height_ratios=[1, 2.2])
    shown = np.unique(np.linspace(0, len(series) - 1, SHOWN_STAMPS).astype(int))
    for axes, t in zip(parts[0].subplots(1, SHOWN_STAMPS), shown, strict=False):
        image = series.pixels_TCHW[t, -1].astype(np.float32)
        axes.imshow(np.arcsinh(image), cmap="gray", origin="lower")
        axes.set_title(f"{BANDS[series.band_T[t]]}, day {series.time_T[t] - series.time_T[0]:.0f}", fontsize=8)
    for axes in parts[0].axes:
        axes.axis("off")
    left, right = parts[1].subplots(1, 2)
    draw_light_curve(left, series, past)
    last = history.last_frame[n]
    draw_history(right, history.time_NT[n, : last + 1], history.probability_NTK[n, : last + 1], classes)


def examples(label_N: NDArray, classes: int) -> list[int]:
    """The first few objects of each class, so that nobody chose them."""
    return [int(n) for k in range(classes) for n in np.flatnonzero(label_N == k)[:EXAMPLES_PER_CLASS]]


def write_report(
    card: ModelCard,
    scorecard: Scorecard,
    predictions: PrefixPredictions,
    dataset: Dataset,
    rows: NDArray[np.int64],
    path: Path,
) -> None:
    """Write the page."""
    scores, curves, unknown = scorecard.scores, scorecard.early, scorecard.unknown
    nights, days = ({at: asdict(of) for at, of in by.items()} for by in (curves.by_night, curves.by_day))
    pictures = [
        ("Confusion", picture(lambda f: draw_confusion(f.subplots(), np.array(scores.confusion), card.classes))),
        (
            "Reliability",
            picture(lambda f: draw_reliability(f.subplots(), np.array(scorecard.reliability), scores.ece)),
        ),
        ("By nights", picture(lambda f: draw_early(f, nights, "nights"), 10.0)),
        ("By days", picture(lambda f: draw_early(f, days, "days"), 10.0)),
    ]
    strangers = None
    if unknown is not None and unknown.by_night:
        by_night = {night: of.auroc for night, of in unknown.by_night.items()}
        strangers = picture(lambda f: draw_unknown(f.subplots(), by_night))
    shown = []
    for n in examples(predictions.label_N, len(card.classes)):
        title = f"Object {dataset.object_ids[rows[n]]}: {card.classes[predictions.label_N[n]]}"
        draw = partial(draw_example, dataset=dataset, row=int(rows[n]), history=predictions, n=n, classes=card.classes)
        shown.append((title, picture(draw, 8, 4.5)))
    template = resources.files("model.training.evaluation").joinpath("report.html").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.from_string(template).render(
        card=card,
        table=scorecard,
        pictures=pictures,
        unknown=unknown,
        strangers=strangers,
        has_history=dataset.has_history,
        limits=limits(card, scorecard),
        examples=shown,
    )
    path.write_text(page, "utf-8")
