"""Simulated data sets on disk: the objects of a plan, drawn in parallel, written in order.

Knows neither how an object is made nor how a data set is stored. The result does not depend on the number of workers.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.data.dataset import DatasetContents, DatasetWriter
from model.past_photometry import HISTORY_DAYS, LIMIT_SIGMA, History
from model.series import BANDS, Series, compact
from model.simulation.datasets.plan import DatasetRecipeError, DatasetRequest, Order, UnseenError, plan
from model.simulation.datasets.recipe_schema import LARGEST_PX, SMALLEST_PX
from model.simulation.identity import simulator_hash
from model.simulation.images import photometry
from model.simulation.images import render as products
from model.simulation.parallel import in_order
from model.simulation.sky import labels, population
from model.simulation.sky_records import Sampling, SimulatedObject, SkySettings
from model.simulation.sources.templates import hash_of_templates
from model.simulation.survey import selection
from model.simulation.surveys import flux_njy

NO_SOURCE = ("Bogus", "Residual", "Asteroid")  # whose frames are those that the selection found, whatever they hold
LEAST_SIGMA = 3.0  # of the true change: less does not make an alert, or hardly ever
SPARE_FRAMES = 3  # halves of the wanted number that are drawn, so that enough alert
PIXEL_STREAM = 7  # sets the random numbers of pixels apart from those of the object


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSettings(SkySettings):
    """What all objects of one data set share."""

    channels: tuple[str, ...]
    size_px: int
    bands: str
    frames_at_most: int


@dataclass(frozen=True, slots=True)
class DrawnObject:
    """One object, ready to be written."""

    order: Order
    series: Series
    history: History | None  # of an alert stream: what packets tell of visits without a stamp
    truth: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Alerting:
    """An object and the frames that its survey publishes of it; ``N`` of them."""

    obj: SimulatedObject
    visits_N: NDArray[np.int64]
    pixels_NCHW: NDArray[np.float32]
    flux_N: NDArray[np.float32]
    flux_error_N: NDArray[np.float32]


def settings_of(request: DatasetRequest) -> DatasetSettings:
    """Settle what a recipe leaves to the survey.

    Raises
    ------
    DatasetRecipeError
        When the size is none that can be drawn.
    """
    recipe, name, size_px, level = request.recipe, request.survey.name, request.size_px, request.level
    if size_px is not None and not SMALLEST_PX <= size_px <= LARGEST_PX:
        raise DatasetRecipeError(f"stamps of {size_px} pixels: ask for {SMALLEST_PX} to {LARGEST_PX}")
    return DatasetSettings(
        survey=request.survey,
        channels=recipe.channels[name],
        size_px=recipe.size_px[name] if size_px is None else size_px,
        bands=recipe.bands.get(name, BANDS),
        frames_at_most=recipe.frames_at_most,
        level=recipe.level if level is None else level,
        seed=request.seed,
        templates=request.templates,
        taxonomy=request.taxonomy,
    )


def draw(order: Order, settings: DatasetSettings) -> DrawnObject:
    """Draw one object: its physics, the frames that the survey would give, their photometry.

    Raises
    ------
    UnseenError
        When no attempt has a frame.
    """
    sampling = Sampling("photo", order.label) if order.photometric else Sampling()
    for obj in population.noticed_objects(settings, order.true_class, order.object_id, order.mode, sampling):
        if (shown := _alerting(obj, settings)) is not None:
            history = epochs_beside(obj, shown.visits_N, settings) if settings.survey.name in HISTORY_DAYS else None
            return DrawnObject(order, _series_of(shown), history, _truth_of(shown, order, settings))
    raise UnseenError(
        f"{settings.survey.name} did not see object {order.object_id} ({order.true_class}, {order.mode}) in the bands "
        f"{settings.bands} in {population.SUBSTITUTES} attempts: ask for more bands, or another class"
    )


def _alerting(obj: SimulatedObject, settings: DatasetSettings) -> _Alerting | None:
    """The frames of an object, first those whose pixels show what an alert must; None where there is none."""
    visits_N = frames_of(obj, settings)
    if len(visits_N) == 0:
        return None
    rng = np.random.default_rng([settings.seed, settings.survey.place, obj.object_id, PIXEL_STREAM])
    frames = products.render_frames(obj, settings.size_px, settings.channels, visits_N, settings.level, rng)
    flux_N, flux_error_N = photometry.of_frames(frames, settings.channels, settings.survey)
    shown = np.arange(len(visits_N))
    if settings.survey.sends_alerts and obj.truth["kind"] not in NO_SOURCE:  # an alert is what its pixels show
        shown = np.flatnonzero(np.abs(flux_N) >= selection.DETECTION_SIGMA * flux_error_N)
    shown = shown[: settings.frames_at_most]
    if len(shown) == 0:
        return None
    return _Alerting(obj, visits_N[shown], frames.pixels_NCHW[shown], flux_N[shown], flux_error_N[shown])


def _series_of(shown: _Alerting) -> Series:
    compacted = [compact(pixels_CHW) for pixels_CHW in shown.pixels_NCHW]
    schedule = shown.obj.schedule
    return Series(
        pixels_TCHW=np.stack([pixels for pixels, _ in compacted]),
        scale_TC=np.stack([scale for _, scale in compacted]),
        band_T=schedule.band_T[shown.visits_N].astype(np.int8),
        time_T=schedule.time_T[shown.visits_N],
        flux_T=shown.flux_N.astype(np.float32),
        flux_error_T=shown.flux_error_N.astype(np.float32),
    )


def _truth_of(shown: _Alerting, order: Order, settings: DatasetSettings) -> dict[str, Any]:
    obj, visits_N = shown.obj, shown.visits_N
    flux_T = obj.difference_flux_T if settings.survey.sends_alerts else obj.flux_T
    truth = {
        **{name: value for name, value in obj.truth.items() if name not in ("object_id", "label", "split")},
        "drawn_id": obj.object_id,
        "true_class": order.true_class,
        "label_mode": order.mode,
        "first_mjd": float(obj.schedule.time_T[visits_N[0]]),
        "true_flux_T": flux_T[visits_N],
        "visit_T": visits_N,
    }
    if settings.taxonomy is not None:
        truth["elasticc_code"] = labels.code_in(settings.taxonomy, str(truth["subtype"]), order.true_class)
    return truth


def epochs_beside(obj: SimulatedObject, visits: NDArray[np.int64], settings: DatasetSettings) -> History:
    """Epochs that the packets of some alerts tell of visits without one: limits (ZTF), forced photometry (LSST)."""
    schedule = obj.schedule
    beside_T = np.isin(schedule.band_T, [BANDS.index(band) for band in settings.bands])
    beside_T[visits] = False
    next_alert_T = np.searchsorted(schedule.time_T[visits], schedule.time_T)
    beside_T &= next_alert_T < len(visits)
    until_alert_T = schedule.time_T[visits][next_alert_T.clip(max=len(visits) - 1)] - schedule.time_T
    beside = np.flatnonzero(beside_T & (until_alert_T <= HISTORY_DAYS[settings.survey.name]))
    if settings.survey.name == "ztf":
        flux_T, error_T = np.zeros(len(beside_T)), flux_njy(schedule.depth_T) / LIMIT_SIGMA
    else:
        flux_T, error_T = selection.measured_flux(obj)
    return History(
        schedule.time_T[beside],
        schedule.band_T[beside].astype(np.int8),
        flux_T[beside].astype(np.float32),
        error_T[beside].astype(np.float32),
    )


def frames_of(obj: SimulatedObject, settings: DatasetSettings) -> NDArray[np.int64]:
    """Which visits may become frames: SDSS gives all of them, an alert stream those where there is something to see."""
    schedule = obj.schedule
    wanted_T = np.isin(schedule.band_T, [BANDS.index(band) for band in settings.bands])
    if not settings.survey.sends_alerts:
        return np.flatnonzero(wanted_T)[: settings.frames_at_most]
    if obj.truth["kind"] in NO_SOURCE:
        return np.flatnonzero(wanted_T & selection.detections(obj))[: settings.frames_at_most]
    _, error_T = selection.measured_flux(obj)
    seen_T = np.abs(obj.difference_flux_T) >= LEAST_SIGMA * error_T
    return np.flatnonzero(wanted_T & seen_T)[: settings.frames_at_most * SPARE_FRAMES // 2]


def digest(item: tuple[Order, DatasetSettings]) -> str:
    """SHA-256 of everything that a network could see of one object."""
    drawn = draw(*item)
    hashed = hashlib.sha256()
    for part in (drawn.series, drawn.history):
        for name in () if part is None else part.__slots__:
            hashed.update(getattr(part, name).tobytes())
    return hashed.hexdigest()


def write_dataset(
    request: DatasetRequest,
    folder: Path,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Make a data set, or go on with an interrupted one.

    Raises
    ------
    DatasetError
        When the folder holds something else or cannot be written.
    DatasetRecipeError
        When the recipe does not know the survey, or has fewer objects than ``only``.
    TemplatesError
        When the folder of templates lacks a part.
    UnseenError
        When the survey never sees an object that was asked for.
    """
    orders, settings = plan(request), settings_of(request)
    if request.only is not None:
        if request.only >= len(orders):
            raise DatasetRecipeError(
                f"recipe {request.recipe.name} has {len(orders)} objects: ask for one of 0 to {len(orders) - 1}"
            )
        orders = [orders[request.only]]
    contents = DatasetContents(
        survey=request.survey.name,
        channels=settings.channels,
        size_px=settings.size_px,
        classes=request.recipe.classes,
        recipe=_asked_for(request, settings),
        seed=request.seed,
        version=version("ictc"),
        with_history=request.survey.name in HISTORY_DAYS,
        simulator=simulator_hash(),
    )
    with DatasetWriter(folder, contents) as writer:
        progress(len(writer), len(orders))
        for drawn in in_order(partial(draw, settings=settings), orders[len(writer) :], workers):
            order = drawn.order
            writer.append(
                order.object_id, order.label, order.split, order.fold, drawn.series, drawn.truth, drawn.history
            )
            progress(len(writer), len(orders))


def _asked_for(request: DatasetRequest, settings: DatasetSettings) -> dict[str, Any]:
    """What the manifest keeps of a request: by it, and the seed, the same data set can be made again."""
    source = request.recipe.source
    kept = {**source, "stamps": source["stamps"][request.survey.name], "size_px": settings.size_px}
    kept |= {"level": settings.level, "mode": request.mode}
    if request.templates is not None:
        kept["templates"] = hash_of_templates(request.templates)
    if (taxonomy := request.taxonomy) is not None:
        kept["taxonomy"] = {"version": taxonomy.version, "codes": taxonomy.codes, "groups": taxonomy.groups}
    if request.only is not None:
        kept["only"] = request.only
    return kept
