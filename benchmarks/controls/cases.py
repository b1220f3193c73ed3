"""Objects that can be drawn again under other circumstances, from a data set's truth or anew.

It knows the simulator and no network. Legend: ``T`` all visits of an object, ``N`` those that it is shown at.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.data.dataset import Dataset
from model.past_photometry import HISTORY_DAYS, History
from model.series import BANDS, Series, compact
from model.serving.card import ModelCard
from model.simulation.datasets import draw as datasets
from model.simulation.datasets.draw import NO_SOURCE, PIXEL_STREAM, DatasetSettings
from model.simulation.datasets.plan import Order
from model.simulation.images import photometry
from model.simulation.images import render as products
from model.simulation.sky import population
from model.simulation.sky_records import RedrawKey, SimulatedObject
from model.simulation.survey import selection
from model.simulation.surveys import survey_named

FRESH_SEED = 2_026  # of objects that no data set of ours holds
LEVEL = 4
CHECKED = 4  # rows that are made again to see whether today's simulator made the data set


@dataclass(frozen=True, slots=True)
class Case:
    """One labelled object of the test, as the survey recorded it, and what it was drawn from."""

    label: int
    mode: str
    obj: SimulatedObject
    visits_N: NDArray[np.int64]
    series: Series
    history: History | None
    truth: Mapping[str, Any]


def recorded(dataset: Dataset, per_class: int) -> list[Case]:
    """The first test objects of each class, made again; none when today's simulator makes other ones of their seeds."""
    settings, truth = settings_of_dataset(dataset), dataset.truth()
    rows = dataset.splits.get("test", np.empty(0, np.int64))
    rows = np.concatenate([rows[dataset.labels[rows] == k][:per_class] for k in range(len(dataset.classes))])
    cases = []
    for place, row in enumerate(rows.tolist()):
        known = {name: truth[name][row].as_py() for name in truth.column_names}
        label = dataset.classes[dataset.labels[row]]
        obj, visits_N = remade(known, label, settings), np.array(known["visit_T"], np.int64)
        history = dataset.history(row) if dataset.has_history else None
        case = Case(int(dataset.labels[row]), known["label_mode"], obj, visits_N, dataset.series(row), history, known)
        if place < CHECKED and not same_pixels(case, settings):
            return []
        cases.append(case)
    return cases


def same_pixels(case: Case, settings: DatasetSettings) -> bool:
    """Whether the simulator of today draws the very bytes that the data set holds."""
    if case.visits_N.max() >= len(case.obj.schedule.time_T):
        return False
    series = photographed(case.obj, case.visits_N, settings)
    return np.array_equal(series.pixels_TCHW, case.series.pixels_TCHW, equal_nan=True)


def drawn(settings: DatasetSettings, classes: tuple[str, ...], mode: str, per_class: int) -> Iterator[Case]:
    """New objects of each class in a label mode."""
    for number in range(per_class * len(classes)):
        label = number % len(classes)
        order = Order(number, classes[label], classes[label], "test", None, mode, photometric=False)
        drawn = datasets.draw(order, settings)
        obj = remade(drawn.truth, classes[label], settings)
        visits_N = np.asarray(drawn.truth["visit_T"], np.int64)
        yield Case(label, mode, obj, visits_N, drawn.series, drawn.history, drawn.truth)


def settings_of_dataset(dataset: Dataset) -> DatasetSettings:
    recipe = dataset.manifest["recipe"]
    if "joined" in recipe:
        raise SystemExit(f"{dataset.folder} is joined of several: the controls draw its parts again, one by one")
    return DatasetSettings(
        survey=survey_named(dataset.survey),
        channels=dataset.channels,
        size_px=dataset.size_px,
        bands=recipe.get("bands", {}).get(dataset.survey, BANDS),
        frames_at_most=recipe["frames_at_most"],
        level=recipe["level"],
        seed=dataset.manifest["seed"],
    )


def settings_of_card(card: ModelCard) -> DatasetSettings:
    """What weights expect, for objects of a seed that they were not trained on."""
    return DatasetSettings(
        survey=survey_named(card.survey),
        seed=FRESH_SEED,
        level=LEVEL,
        channels=card.channels,
        size_px=card.size_px,
        bands=card.bands,
        frames_at_most=card.frame_limit,
    )


def remade(truth: Mapping[str, Any], label: str, settings: DatasetSettings) -> SimulatedObject:
    """The object that a row of truth tells of."""
    return population.draw_again(RedrawKey.of(truth), label, settings)


def photographed(
    obj: SimulatedObject, visits_N: NDArray[np.int64], settings: DatasetSettings, stream: int = PIXEL_STREAM
) -> Series:
    """The frames of some visits and their photometry, as data sets have them; another stream is other noise."""
    rng = np.random.default_rng([settings.seed, settings.survey.place, obj.object_id, stream])
    frames = products.render_frames(obj, settings.size_px, settings.channels, visits_N, settings.level, rng)
    flux_N, flux_error_N = photometry.of_frames(frames, settings.channels, settings.survey)
    compacted = [compact(pixels_CHW) for pixels_CHW in frames.pixels_NCHW]
    return Series(
        pixels_TCHW=np.stack([pixels for pixels, _ in compacted]),
        scale_TC=np.stack([scale for _, scale in compacted]),
        band_T=obj.schedule.band_T[visits_N].astype(np.int8),
        time_T=obj.schedule.time_T[visits_N],
        flux_T=flux_N.astype(np.float32),
        flux_error_T=flux_error_N.astype(np.float32),
    )


Seen = tuple[Series, History | None]


def seen_at(
    obj: SimulatedObject, visits_N: NDArray[np.int64], settings: DatasetSettings, stream: int = PIXEL_STREAM
) -> Seen:
    """An object at given visits, whether it would have been noticed there or not."""
    history = datasets.epochs_beside(obj, visits_N, settings) if settings.survey.name in HISTORY_DAYS else None
    return photographed(obj, visits_N, settings, stream), history


def noticed(obj: SimulatedObject, settings: DatasetSettings, stream: int = PIXEL_STREAM) -> Seen | None:
    """An object as its survey would record it: an alert stream only where its pixels give an alert; None: nowhere."""
    visits_N = datasets.frames_of(obj, settings)
    if not len(visits_N):
        return None
    series = photographed(obj, visits_N, settings, stream)
    if settings.survey.sends_alerts and obj.truth["kind"] not in NO_SOURCE:
        detected = np.flatnonzero(np.abs(series.flux_T) >= selection.DETECTION_SIGMA * series.flux_error_T)
        if not len(detected):
            return None
        visits_N, series = visits_N[detected], series[detected]
    visits_N, series = visits_N[: settings.frames_at_most], series[slice(settings.frames_at_most)]
    history = datasets.epochs_beside(obj, visits_N, settings) if settings.survey.name in HISTORY_DAYS else None
    return series, history
