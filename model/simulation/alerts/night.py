"""Alert packets of a simulated survey over some nights, in order of time, the truth beside each.

Knows neither the fields of a packet nor how an object is made.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.clock import SECONDS_PER_DAY
from model.series import BANDS
from model.simulation.alerts import lsst as packets_lsst
from model.simulation.alerts.alert_files import EARLIEST_MJD, LATEST_MJD
from model.simulation.alerts.lsst import LsstObject
from model.simulation.alerts.observe import Observed, observe
from model.simulation.alerts.ztf import ZtfObject
from model.simulation.datasets.plan import KNOWN
from model.simulation.parallel import in_order
from model.simulation.sky import labels, population
from model.simulation.sky_records import Sampling, SimulatedObject, SkySettings
from model.simulation.sources.templates import load_templates
from model.simulation.survey import selection
from model.simulation.surveys import SURVEYS, survey_named
from model.taxonomy import Taxonomy, TaxonomyError

STREAMS = tuple(name for name, survey in SURVEYS.items() if survey.sends_alerts)
MIX: Mapping[str, float] = MappingProxyType(
    {"Variable": 0.38, "AGN": 0.20, "SNIa": 0.16, "SNOther": 0.10, "Asteroid": 0.09, "Bogus": 0.07}
)  # of objects; richer in supernovae than the sky, so that a short stream shows some of everything
START_MJD: Mapping[str, float] = MappingProxyType({"ztf": 60_500.0, "lsst": 61_100.0})
EXPOSURE_CADENCE_S: Mapping[str, float] = MappingProxyType({"ztf": 40.0, "lsst": 38.0})
SHARE_OF_OTHERS = 0.1  # of the objects, for each class of a taxonomy that MIX does not name
ALERT_STREAM = 23  # sets the random numbers of a stream apart from those of data sets

Truth = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings(SkySettings):
    """What all objects of one stream share.

    Raises
    ------
    ValueError
        When the survey sends no alerts, there is nothing to draw, or the first night lies too far off.
    """

    objects: int  # how many alert at least once, asteroids and artefacts included
    nights: int = 1
    start_mjd: float | None = None  # first night (TAI); None: one on which the survey observed
    mode: str = "physical"  # label mode
    mix: Mapping[str, float] = field(default_factory=lambda: dict(MIX))  # class -> share of the objects

    def __post_init__(self) -> None:
        if not self.survey.sends_alerts:
            raise ValueError(f"{self.survey.name!r} sends no alerts: choose one of {', '.join(STREAMS)}")
        if self.objects < 1 or self.nights < 1:
            raise ValueError(f"{self.objects} objects in {self.nights} nights: both must be at least 1")
        if self.start_mjd is not None and not EARLIEST_MJD <= self.start_mjd <= LATEST_MJD:
            raise ValueError(f"the first night is MJD {self.start_mjd}: choose one of {EARLIEST_MJD} to {LATEST_MJD}")

    @property
    def begin_mjd(self) -> float:
        """Midnight before the first night."""
        return START_MJD[self.survey.name] if self.start_mjd is None else float(np.floor(self.start_mjd))


@dataclass(frozen=True, slots=True)
class SimulatedAlert:
    """One packet, where it stands in time, and what is true of it."""

    time_mjd: float
    alert_id: int
    packet: bytes
    truth: Truth


def write_night(
    survey: str,
    objects: int,
    nights: int = 1,
    seed: int = 0,
    *,
    mix: Mapping[str, float] = MIX,
    workers: int = 1,
) -> Iterator[tuple[bytes, Truth]]:
    """Make the alerts that a survey would send: ``alerts_of_stream`` with the settings that most want.

    Parameters
    ----------
    survey
        "ztf" or "lsst".
    objects
        How many things alert at least once, asteroids and artefacts included.
    nights
        Length of the stream.
    mix
        Class -> share of the objects.

    Yields
    ------
    packet : bytes as the survey sends them (ZTF: Avro object container; LSST: Confluent frame).
    truth : alert_id, object_id (as in the packet), label, subtype, time, true flux and more.

    Raises
    ------
    ValueError
        When the survey sends no alerts, or a number is not positive.
    """
    stream = StreamSettings(survey=survey_named(survey), seed=seed, objects=objects, nights=nights, mix=dict(mix))
    return alerts_of_stream(stream, workers)


def alerts_of_stream(
    stream: StreamSettings,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[tuple[bytes, Truth]]:
    """Make the alerts of a stream in order of time, as ``write_night`` yields them.

    Each object is in the middle of its life when the stream begins: its history reaches back before the first night.

    Raises
    ------
    TemplatesError
        When the folder of templates lacks a part.
    """
    if stream.templates is not None:
        load_templates(stream.templates)  # once, before workers start
    index: list[tuple[float, int, int, int, Truth]] = []
    with tempfile.TemporaryFile() as spool:
        made = in_order(partial(alerts_of_object, stream), range(stream.objects), workers)
        for done, alerts in enumerate(made, start=1):
            for alert in alerts:
                index.append((alert.time_mjd, alert.alert_id, spool.tell(), len(alert.packet), alert.truth))
                spool.write(alert.packet)
            progress(done, stream.objects)
        for _, _, offset, length, truth in sorted(index, key=lambda entry: entry[:2]):
            spool.seek(offset)
            yield spool.read(length), truth


def mix_of(taxonomy: Taxonomy) -> dict[str, float]:
    """Shares of a taxonomy's classes, beside asteroids and artefacts, which every stream holds.

    Raises
    ------
    TaxonomyError
        When a class is none that can be drawn.
    """
    if unknown := [name for name in taxonomy.classes if name not in KNOWN]:
        raise TaxonomyError(f"taxonomy {taxonomy.version}: {', '.join(unknown)} is none of {', '.join(KNOWN)}")
    return {name: MIX.get(name, SHARE_OF_OTHERS) for name in (*taxonomy.classes, "Asteroid", "Bogus")}


def alerts_of_object(sky: StreamSettings, number: int) -> list[SimulatedAlert]:
    """Every alert that object ``number`` raises during the nights of the stream."""
    rng = np.random.default_rng([sky.seed, number, ALERT_STREAM])
    names = list(sky.mix)
    label = str(rng.choice(names, p=np.array([sky.mix[name] for name in names]) / sum(sky.mix.values())))
    sampling = Sampling("photo", labelled_as=label)  # a stream holds what nobody will take a spectrum of, too
    for obj in population.noticed_objects(sky, label, number, sky.mode, sampling):
        if not selection.detections(obj).any():
            continue
        observed = _observe_in_window(obj, label, sky, rng)
        if len(observed.visits_N):
            return _packets(observed, label, sky.taxonomy)
    return []


def _observe_in_window(obj: SimulatedObject, label: str, sky: StreamSettings, rng: np.random.Generator) -> Observed:
    obj = _move_in_time(obj, sky, rng)
    time_T = obj.schedule.time_T
    in_window_T = (time_T >= sky.begin_mjd) & (time_T < sky.begin_mjd + sky.nights)
    visits_N = np.flatnonzero(in_window_T & selection.detections(obj))
    size_px = packets_lsst.stamp_size(rng) if sky.survey.name == "lsst" else sky.survey.stamp_pixels
    kind = {"Asteroid": "asteroid", "Bogus": "bogus"}.get(label, "object")
    seed = (sky.seed, sky.survey.place, obj.object_id, ALERT_STREAM)
    ra_deg, dec_deg = float(obj.truth["ra_deg"]), float(obj.truth["dec_deg"])
    return observe(obj, visits_N, ra_deg, dec_deg, size_px, seed, kind)


def _move_in_time(obj: SimulatedObject, sky: StreamSettings, rng: np.random.Generator) -> SimulatedObject:
    """Shift an object by whole days so that one of its detections, drawn at random, falls into the window."""
    schedule = obj.schedule
    anchor = rng.choice(np.flatnonzero(selection.detections(obj)))
    days = sky.begin_mjd + int(rng.integers(sky.nights)) - float(np.floor(schedule.time_T[anchor]))
    cadence = EXPOSURE_CADENCE_S[sky.survey.name] / SECONDS_PER_DAY
    # Exposures follow one another: alerts of one exposure share its time.
    time_T: NDArray[np.float64] = np.round((schedule.time_T + days) / cadence) * cadence
    moved = {"origin_mjd": float(obj.truth["origin_mjd"]) + days}
    return replace(
        obj,
        schedule=replace(schedule, time_T=time_T, night_T=np.floor(time_T)),
        truth={**obj.truth, **moved},
    )


def _packets(observed: Observed, label: str, taxonomy: Taxonomy | None) -> list[SimulatedAlert]:
    obj, schedule = observed.obj, observed.obj.schedule
    writer = ZtfObject(observed) if obj.survey.name == "ztf" else LsstObject(observed)
    ids = writer.candid_T if isinstance(writer, ZtfObject) else writer.source_id_T
    plain = {name: value for name, value in obj.truth.items() if not name.startswith("artefact_day")}
    if taxonomy is not None:
        plain["elasticc_code"] = labels.code_in(taxonomy, str(plain["subtype"]), str(plain["drawn_class"]))
    alerts = []
    for n, t in enumerate(observed.visits_N):
        truth = {
            "alert_id": int(ids[t]),
            "object_id": str(writer.object_id),
            "label": label,
            "time_mjd": float(schedule.time_T[t]),
            "band": BANDS[int(schedule.band_T[t])],
            "true_flux_njy": float(obj.difference_flux_T[t]),
            "flux_njy": float(observed.flux_T[t]),
            "flux_error_njy": float(observed.flux_error_T[t]),
            "alerts_before": n,
            "simulated_id": obj.object_id,
            **plain,
        }
        alerts.append(SimulatedAlert(float(schedule.time_T[t]), int(ids[t]), writer.packet(n), truth))
    return alerts
