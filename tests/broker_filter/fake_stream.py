"""A small sky and a small network of our own for the tests of the stream; both fail loudly when misused."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import orjson

from broker_filter.alerts.decode import Decoder
from broker_filter.classify.classifier import StreamClassifier
from broker_filter.errors import NotClassified, NotClassifiedError, RejectedAlertError, Rejection
from broker_filter.records import (
    NO_STAMPS,
    Alert,
    Classification,
    Message,
    MovingObject,
    Observation,
    Origin,
    SolarSystemMatch,
)
from model.past_photometry import NO_HISTORY, History
from model.series import BANDS, Series, compact
from model.serving.card import PredictionSets
from model.serving.predictor import Prediction
from model.taxonomy import Taxonomy, load_taxonomy

SIZE_PX = 4
MATCH = SolarSystemMatch(MovingObject("2026 AB1", 0.5, 19.25), 0.96875)


@dataclass(frozen=True)
class FakeCard:
    """A model card of the fake network."""

    name: str = "fake"
    version: str = "1"
    classes: tuple[str, ...] = ("AGN", "SNIa", "Variable")
    taxonomy_version: str = "test-1"
    survey: str = "ztf"
    channels: tuple[str, ...] = ("science",)
    size_px: int = SIZE_PX
    bands: str = BANDS
    frame_limit: int = 6
    group_size: int = 3
    history_limit: int = 8
    trained: bool = True
    sets: PredictionSets | None = None
    provenance: Mapping[str, object] = field(default_factory=dict)

    @property
    def taxonomy(self) -> Taxonomy:
        """The package's, of these classes."""
        return replace(load_taxonomy(), version=self.taxonomy_version, classes=self.classes)


class FakePredictor:
    """Arithmetic that depends on every frame, its place in the series and nothing else."""

    def __init__(self, card: FakeCard | None = None) -> None:
        self.card = card or FakeCard()
        self.groups_embedded = 0

    def embed(self, groups: Sequence[Series]) -> np.ndarray:
        rows = []
        for group in groups:
            assert 1 <= len(group) <= self.card.group_size
            assert group.pixels_TCHW.shape[1:] == (len(self.card.channels), self.card.size_px, self.card.size_px)
            pixels = np.nan_to_num(group.pixels_TCHW.astype(np.float64) * group.scale_TC[..., None, None])
            brightness = np.zeros(self.card.group_size)
            brightness[: len(group)] = np.log1p(np.abs(pixels.sum((1, 2, 3)))) + group.band_T
            rows.append([*brightness, len(group)])
        self.groups_embedded += len(groups)
        return np.array(rows, np.float32).reshape(len(groups), self.card.group_size + 1)

    def classify(
        self,
        embeddings: Sequence[np.ndarray],
        curves: Sequence[Series],
        histories: Sequence[History] | None = None,
    ) -> Prediction:
        assert (histories is not None) == (self.card.history_limit > 0)
        pasts = [NO_HISTORY] * len(curves) if histories is None else histories
        rows = []
        for embedding_GD, curve, history in zip(embeddings, curves, pasts, strict=True):
            assert len(history) <= self.card.history_limit
            assert 1 <= len(curve) <= self.card.frame_limit
            assert len(embedding_GD) == -(-len(curve) // self.card.group_size)
            assert embedding_GD[:, -1].sum() == len(curve)
            place = np.arange(1, len(embedding_GD) + 1)
            days = curve.time_T - curve.time_T[0]
            nth = np.arange(1, len(history) + 1)
            past = ((history.time_P - curve.time_T[-1]) * history.flux_P / history.flux_error_P * nth).sum()
            rows.append([(embedding_GD.sum(1) * place).sum(), np.nansum(curve.flux_T) + past, (days**2).sum()])
        logits = np.sin(np.array(rows, np.float64))
        weights = np.exp(logits)
        return Prediction(weights / weights.sum(1, keepdims=True), logits[:, 0])

    def warm_up(self) -> None:
        pass


def history(time_mjd: float, bands: Sequence[int] = (1, 2), epochs: int = 5) -> History:
    """What a packet of this time tells of the nights before, of which other packets tell too; it errs now and then."""
    night_P = np.arange(math.ceil(time_mjd) - epochs, math.ceil(time_mjd), dtype=np.float64)
    band_P = np.array([bands[int(night) % len(bands)] for night in night_P], np.int8)
    flux_P = (night_P % 7 + (night_P + time_mjd) % 3 / 10).astype(np.float32)
    return History(night_P, band_P, flux_P, np.full(epochs, 2.0, np.float32))


def observation(
    alert_id: int,
    time_mjd: float = 60_000.0,
    flux_njy: float = 5.0,
    size_px: int = SIZE_PX,
    history: History = NO_HISTORY,
) -> Observation:
    """A frame that follows from its arguments alone."""
    rng = np.random.default_rng([alert_id, int(time_mjd * 100)])
    pixels, scale = compact(rng.normal(0, 3, (1, size_px, size_px)).astype(np.float32))
    return Observation(alert_id, time_mjd, alert_id % 6, flux_njy, 1.0, pixels, scale, history)


def message(object_id: str, alert_id: int, time_mjd: float, offset: int = 0, **more: object) -> Message:
    """What the fake decoder reads."""
    fields = {"object": object_id, "alert": alert_id, "mjd": time_mjd, **more}
    return Message(orjson.dumps(fields), Origin("fake", 0, offset))


def read_alerts(incoming: Message) -> Iterator[Alert | RejectedAlertError]:
    """The fake alert room: a JSON object, or a list of them for a container."""
    try:
        records = orjson.loads(incoming.value)
    except orjson.JSONDecodeError as error:
        raise RejectedAlertError(Rejection.NOT_AVRO, str(error)) from error
    for record in records if isinstance(records, list) else [records]:
        if record.get("bad"):
            yield RejectedAlertError(Rejection.BAD_VALUE, "bad")
            continue
        yield Alert(
            survey=record.get("survey", "ztf"),
            schema="1",
            object_id=record["object"],
            alert_id=record["alert"],
            time_mjd=record["mjd"],
            band=BANDS[record["alert"] % 6],
            ra_deg=0.0,
            dec_deg=0.0,
            flux_njy=5.0,
            flux_error_njy=1.0,
            real_bogus=record.get("real_bogus"),
            zero_point_mag=None,
            stamps=NO_STAMPS,
            history=history(record["mjd"]),
            match=MATCH if record.get("moving") else None,
        )


def observe(alert: Alert) -> Observation:
    """The fake stamp room."""
    if alert.solar_system:
        raise NotClassifiedError(NotClassified.SOLAR_SYSTEM, "moves")
    if alert.object_id.startswith("blank"):
        raise NotClassifiedError(NotClassified.BLANK_STAMP, "blank")
    return observation(alert.alert_id, alert.time_mjd, alert.flux_njy, history=alert.history)


def decoder(threads: int = 1) -> Decoder:
    """The fake first half of the pipeline."""
    return Decoder(read_alerts, {"ztf": observe}, threads)


def classifiers(predictor: FakePredictor | None = None) -> dict[str, StreamClassifier]:
    """The fake second half."""
    return {"ztf": StreamClassifier(predictor or FakePredictor())}


def timeless(classification: Classification) -> Classification:
    """Without what may differ between runs."""
    return replace(classification, ingest_time_ms=0, publication_time_ms=0, revision=False, previous_class=None)


def final_state(results: Sequence[object]) -> dict[tuple[str, int], Classification]:
    """What a reader keeps: of each alert, the classification that knew of most observations."""
    final: dict[tuple[str, int], Classification] = {}
    for result in results:
        if isinstance(result, Classification):
            identity = (result.object_id, result.alert_id)
            if identity not in final or final[identity].known_count < result.known_count:
                final[identity] = timeless(result)
    return final
