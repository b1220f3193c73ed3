"""One object for those who look: its answers from the index, its light curve and stamps from the store."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from broker_filter.look.links import Link, links_of
from broker_filter.output.formats import as_json
from broker_filter.records import Classification, object_key
from broker_filter.series.store import HeldSeries, Pixels, SeriesStore
from broker_filter.web.index import ObjectIndex
from broker_filter.web.index_rows import ObjectSummary
from model.past_photometry import LIMIT_SIGMA, History, lacking
from model.pictures import png
from model.series import BANDS
from model.taxonomy import Taxonomy

MOST_EPOCHS = 5_000
STAMPS_KEPT = 500  # pictures, some 2 kB each


@dataclass(frozen=True, slots=True)
class ObjectView:
    """Everything that is known of one object."""

    summary: ObjectSummary
    answers: tuple[Classification, ...]  # in order of time
    held: HeldSeries | None  # None: the store has let the object go
    links: tuple[Link, ...]


class Objects:
    """The objects of a service.

    Parameters
    ----------
    channels
        By survey: kinds of stamps that the store holds.
    """

    def __init__(
        self,
        index: ObjectIndex,
        store: SeriesStore,
        channels: Mapping[str, Sequence[str]],
        classes: Sequence[str],
        taxonomy: Taxonomy,
    ) -> None:
        self.index, self._store, self._channels = index, store, {name: tuple(all_) for name, all_ in channels.items()}
        self.classes, self.taxonomy = tuple(classes), taxonomy
        self._pictures: OrderedDict[tuple[str, int, str], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, object_id: str) -> ObjectView | None:
        """An object; None when this service has not seen it, or has forgotten it."""
        summary = self.index.find(object_id)
        if summary is None:
            return None
        position = None if summary.ra_deg is None or summary.dec_deg is None else (summary.ra_deg, summary.dec_deg)
        return ObjectView(
            summary,
            tuple(self.index.answers(summary)),
            self._store.read([_key(summary)]).get(_key(summary)),
            links_of(summary.survey, summary.object_id, position),
        )

    def channels(self, survey: str) -> tuple[str, ...]:
        """Kinds of stamps of a survey's objects."""
        return self._channels.get(survey, ())

    def stamps(self, view: ObjectView, alert_id: int) -> dict[str, Any] | None:
        """The pixels of an alert's stamps, nJy, null where masked; None when the store does not hold them."""
        pixels = self._pixels(view, alert_id)
        if pixels is None:
            return None
        njy_CHW = pixels.pixels.astype(np.float32) * pixels.scale_njy[:, None, None]
        kinds = self.channels(view.summary.survey)
        stamps = {kind: _rows(njy_CHW[c]) for c, kind in enumerate(kinds)}
        return {"objectId": view.summary.object_id, "alertId": alert_id, "unit": "nJy", "stamps": stamps}

    def picture(self, view: ObjectView, alert_id: int, kind: str) -> bytes | None:
        """A stamp as a PNG of its pixels, the first row at the bottom; None when there is none."""
        kinds = self.channels(view.summary.survey)
        name = (_key(view.summary), alert_id, kind)
        with self._lock:
            if name in self._pictures:
                self._pictures.move_to_end(name)
                return self._pictures[name]
        if kind not in kinds or (pixels := self._pixels(view, alert_id)) is None:
            return None
        drawn = png.draw(pixels.pixels[kinds.index(kind)].astype(np.float32), diverging=kind == "difference")
        with self._lock:
            self._pictures[name] = drawn
            if len(self._pictures) > STAMPS_KEPT:
                self._pictures.popitem(last=False)
        return drawn

    def _pixels(self, view: ObjectView, alert_id: int) -> Pixels | None:
        if view.held is None:
            return None
        at = np.flatnonzero(view.held.alert_ids == alert_id)
        if not len(at):
            return None
        frames = view.held.frame_keys(slice(at[0], at[0] + 1))
        return self._store.pixels(frames).get(frames[0])

    def as_json(self, view: ObjectView) -> dict[str, Any]:
        """An object with its answers, light curve and stamps' alerts."""
        held = view.held
        return {
            **summary_json(view.summary),
            "classifications": [as_json(answer) for answer in view.answers],
            "lightCurve": [] if held is None else _light_curve(held),
            "stamps": [] if held is None else held.alert_ids.tolist(),
            "stampKinds": list(self.channels(view.summary.survey)),
            "links": [link._asdict() for link in view.links],
        }


class NotThereYetError(RuntimeError):
    """The service has not opened its store yet."""


class Lobby:
    """Where pages find the objects, once the service has opened what holds them."""

    def __init__(self) -> None:
        self._objects: Objects | None = None

    @property
    def objects(self) -> Objects:
        """The objects.

        Raises
        ------
        NotThereYetError
            While the service starts.
        """
        if self._objects is None:
            raise NotThereYetError("the service starts: its objects are not there yet")
        return self._objects

    def introduce(self, objects: Objects) -> None:
        """From now on there are objects."""
        self._objects = objects


def summary_json(summary: ObjectSummary) -> dict[str, Any]:
    """An object in a list."""
    return {
        "objectId": summary.object_id,
        "survey": summary.survey,
        "ra": summary.ra_deg,
        "dec": summary.dec_deg,
        "firstMjd": summary.first_mjd,
        "lastMjd": summary.last_mjd,
        "nAlerts": summary.alert_count,
        "class": summary.best,
        "probability": summary.probability,
        "unknownScore": summary.unknown_score,
        "changes": summary.changes,
        "ageDays": summary.age_days,
        "band": summary.band,
        "magnitude": summary.magnitude,
        "seenTimestamp": summary.seen_ms,
    }


def _key(summary: ObjectSummary) -> str:
    return object_key(summary.survey, summary.object_id)


def _rows(njy_HW: np.ndarray) -> list[list[float | None]]:
    return [[float(f"{value:.5g}") if np.isfinite(value) else None for value in row] for row in njy_HW]


def _light_curve(held: HeldSeries) -> list[dict[str, Any]]:
    """Every epoch in order of time: detections with a stamp, measurements without one, and limits."""
    curve = held.photometry()
    epochs = zip(curve.time_T, curve.band_T, curve.flux_T, curve.flux_error_T, held.alert_ids.tolist(), strict=True)
    points = [_point(mjd, band, flux, error, "stamp", alert_id) for mjd, band, flux, error, alert_id in epochs]
    past: History = lacking([held.epochs], curve, MOST_EPOCHS)
    for time_mjd, band, flux, error in zip(past.time_P, past.band_P, past.flux_P, past.flux_error_P, strict=True):
        if flux == 0:
            points.append(_point(time_mjd, band, LIMIT_SIGMA * error, np.nan, "limit"))
        else:
            points.append(_point(time_mjd, band, flux, error, "measured"))
    return sorted(points, key=lambda point: (point["mjd"], point["band"]))


def _point(
    time_mjd: float, band: int, flux: float, error: float, kind: str, alert_id: int | None = None
) -> dict[str, Any]:
    return {
        "mjd": float(time_mjd),
        "band": BANDS[int(band)],
        "flux": float(flux) if np.isfinite(flux) else None,
        "fluxError": float(error) if np.isfinite(error) else None,
        "kind": kind,
        "alertId": alert_id,
    }
