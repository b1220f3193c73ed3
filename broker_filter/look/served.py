"""Stories of objects from a running service, by its query interface ``/api``."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from types import TracebackType
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote

import httpx2 as httpx
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from broker_filter.alerts.survey import SURVEYS
from broker_filter.errors import ConfigurationError, RetryableError
from broker_filter.http_answers import UNENCODED, UnacceptableAnswerError, certificates, content_of, wait_of
from broker_filter.look.story import ObjectStory, story_of
from broker_filter.output.read_back import from_json
from broker_filter.records import HIGHEST_ALERT_ID, LOWEST_ALERT_ID, Classification, Observation
from model.past_photometry import LIMIT_SIGMA, History
from model.series import BANDS, compact

TIMEOUT_S, LONGEST_WAIT_S, TRIES = 30.0, 30.0, 5
ANSWER_LIMIT_BYTES = 64 << 20
LARGEST_SIDE_PX = 256
ALERTS_AT_ONCE = 100  # of one request; the interface takes no more
_ADDRESS = re.compile(r"https?://[^@\s]+")


class UnknownObjectError(LookupError):
    """The service has not seen the object, or has forgotten it."""


class _Point(BaseModel):
    model_config = ConfigDict(strict=True)
    mjd: float
    band: Literal["u", "g", "r", "i", "z", "y"]
    flux: float | None
    fluxError: float | None
    kind: Literal["stamp", "measured", "limit"]
    alertId: int | None

    @property
    def flux_njy(self) -> float:
        """NaN where unknown."""
        return np.nan if self.flux is None else self.flux

    @property
    def flux_error_njy(self) -> float:
        """NaN where unknown."""
        return np.nan if self.fluxError is None else self.fluxError


class _Object(BaseModel):
    survey: str
    lightCurve: list[_Point]
    classifications: Annotated[list[dict[str, Any]], Field(min_length=1)]
    stampKinds: list[str]


_Row = Annotated[list[float | None], Field(min_length=1, max_length=LARGEST_SIDE_PX)]


class _Stamps(BaseModel):
    stamps: dict[str, Annotated[list[_Row], Field(min_length=1, max_length=LARGEST_SIDE_PX)]]


class ServedObjects:
    """The objects of a service; use it in a ``with`` statement.

    Parameters
    ----------
    address
        Of the service's pages, for instance ``http://127.0.0.1:8080``.
    sleep
        Waits for seconds, where the service limits how often it may be asked.

    Raises
    ------
    ConfigurationError
        When this is no address.
    """

    def __init__(
        self, address: str, sleep: Callable[[float], None] = time.sleep, client: httpx.Client | None = None
    ) -> None:
        if not _ADDRESS.fullmatch(address):
            raise ConfigurationError(f"{address!r} is no address of a service: give http(s)://HOST:PORT without a user")
        self._address, self._sleep = address.rstrip("/"), sleep
        self._client = client or httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, verify=certificates())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self._client.close()

    def story(self, object_id: str) -> ObjectStory:
        """The story of an object: what the service has published of it, and the stamps that its store holds.

        Raises
        ------
        UnknownObjectError
            When the service does not know it.
        ConfigurationError
            When this is no service, or its query interface is off.
        RetryableError
            When the service does not answer.
        """
        served, answers = self._object(object_id)
        with self._as_a_service():
            return self._tell(served, answers, _path_of(object_id))

    def answers(self, object_id: str) -> list[Classification]:
        """What the service has published of an object, in order of time; raises as ``story``."""
        return self._object(object_id)[1]

    def answers_to(self, alert_ids: Sequence[int]) -> list[Classification]:
        """What the service has published of alerts, in order of time; those it does not know are left out.

        Raises
        ------
        ConfigurationError
            When this is no service, or its query interface is off.
        RetryableError
            When the service does not answer.
        """
        published: list[Classification] = []
        # Other numbers are no alert's.
        valid_ids = [one for one in alert_ids if LOWEST_ALERT_ID <= one <= HIGHEST_ALERT_ID]
        for start in range(0, len(valid_ids), ALERTS_AT_ONCE):
            ids = ",".join(map(str, valid_ids[start : start + ALERTS_AT_ONCE]))
            content = self._json(f"/api/alerts?ids={ids}")
            with self._as_a_service():
                published += [from_json(fields) for fields in (content or {})["classifications"]]
        return sorted(published, key=lambda one: (one.time_mjd, one.alert_id))

    def _object(self, object_id: str) -> tuple[_Object, list[Classification]]:
        content = self._json(_path_of(object_id))
        if content is None:
            raise UnknownObjectError(f"the service at {self._address} has not seen {object_id}, or has forgotten it")
        with self._as_a_service():
            served = _Object.model_validate(content)
            return served, [from_json(fields) for fields in served.classifications]

    @contextmanager
    def _as_a_service(self) -> Iterator[None]:
        """Inside, an answer of another form than a service's is one clear error."""
        try:
            yield
        except (ValidationError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise ConfigurationError(
                f"{self._address} does not answer as a service of this version: {type(error).__name__}: {error}"
            ) from error

    def newest(self, limit: int) -> list[str]:
        """Ids of the objects with most alerts, at most so many; raises as ``story``."""
        content = self._json(f"/api/objects?order=alerts&limit={limit}")
        with self._as_a_service():
            return [str(one["objectId"]) for one in (content or {})["objects"]]

    def _tell(self, served: _Object, answers: Sequence[Classification], path: str) -> ObjectStory:
        by_alert = {point.alertId: point for point in served.lightCurve if point.kind == "stamp"}
        observations = []
        for alert_id, point in by_alert.items():
            content = self._json(f"{path}/stamps/{alert_id}")
            if content is not None and alert_id is not None:  # None: it has left the store meanwhile
                observations.append(_observation(alert_id, point, _Stamps.model_validate(content), served.stampKinds))
        if observations:
            observations[-1] = replace(observations[-1], history=_past_of(served.lightCurve))
        return story_of(observations, answers, served.stampKinds, SURVEYS[served.survey].arcsec_per_pixel)

    def _json(self, path: str) -> Any:
        """What stands at a path; None where the service says that there is no such thing."""
        for _ in range(TRIES):
            status, headers, content = self._send(path)
            if status not in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
                break
            pause_s = wait_of(headers, LONGEST_WAIT_S)
            self._sleep(1.0 if pause_s is None else pause_s)
        else:
            raise RetryableError(f"the service at {self._address} is busy ({status}): try again later")
        is_json = headers.get("content-type", "").startswith("application/json")
        if status == HTTPStatus.OK and is_json:
            with self._as_a_service():
                return httpx.Response(HTTPStatus.OK, content=content).json()
        if status == HTTPStatus.NOT_FOUND and is_json:
            return None
        if status == HTTPStatus.NOT_FOUND:
            raise ConfigurationError(
                f"the service at {self._address} has no query interface: start it with http.api: true, or there is "
                "no service at that address"
            )
        raise ConfigurationError(f"{self._address}{path} answers {status}, not as a service does")

    def _send(self, path: str) -> tuple[int, httpx.Headers, bytes]:
        try:
            with self._client.stream("GET", self._address + path, headers=UNENCODED) as answer:
                return answer.status_code, answer.headers, content_of(answer, ANSWER_LIMIT_BYTES)
        except UnacceptableAnswerError as error:
            raise ConfigurationError(f"{self._address}{path}: {error}") from error
        except httpx.InvalidURL as error:
            raise ConfigurationError(f"{self._address}: {error}") from error
        except (httpx.HTTPError, OSError) as error:
            raise RetryableError(
                f"no service answers at {self._address} ({type(error).__name__}): is it running, and is that its http "
                "host and port?"
            ) from error


def _path_of(object_id: str) -> str:
    return f"/api/objects/{quote(object_id, safe='', errors='surrogatepass')}"


def _observation(alert_id: int, point: _Point, stamps: _Stamps, kinds: Sequence[str]) -> Observation:
    njy_CHW = np.array([stamps.stamps[kind] for kind in kinds], np.float32)
    pixels_CHW, scale_C = compact(njy_CHW)
    return Observation(
        alert_id, point.mjd, BANDS.index(point.band), point.flux_njy, point.flux_error_njy, pixels_CHW, scale_C
    )


def _past_of(points: Sequence[_Point]) -> History:
    """The epochs that have no stamp."""
    rows = [(point.mjd, BANDS.index(point.band), *_flux_and_error(point)) for point in points if point.kind != "stamp"]
    time_P, band_P, flux_P, error_P = zip(*rows, strict=True) if rows else ((), (), (), ())
    return History(
        np.array(time_P, np.float64),
        np.array(band_P, np.int8),
        np.array(flux_P, np.float32),
        np.array(error_P, np.float32),
    )


def _flux_and_error(point: _Point) -> tuple[float, float]:
    """As ``History`` has them: of a limit, no flux."""
    return (0.0, point.flux_njy / LIMIT_SIGMA) if point.kind == "limit" else (point.flux_njy, point.flux_error_njy)
