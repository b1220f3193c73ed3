"""Decoding of messages: alerts with their frame, alerts without one and why, rejections. Knows no store, no network.

Alerts are decoded on a few threads: inflating stamps releases the interpreter's lock.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain

from broker_filter.alerts import alert, stamp
from broker_filter.alerts.door import attempt
from broker_filter.alerts.packet_epochs import REFUSED_PAST
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.avro.container import DEFAULT_LIMITS, MessageLimits
from broker_filter.errors import (
    AwaitedError,
    NotClassified,
    NotClassifiedError,
    RejectedAlertError,
    Rejection,
    RetryableError,
)
from broker_filter.records import (
    LONGEST_KEY_BYTES,
    Alert,
    Detection,
    Message,
    Observation,
    Rejected,
    SolarSystemMatch,
    Withdrawal,
    object_key,
)
from model.clock import unix_ms
from model.serving.card import ModelCard

MOST_DIGITS_OF_MS = 15  # of a time in Unix milliseconds: enough for 30,000 years
LATEST_MS = 253_402_300_799_999  # end of the year 9999: readers of our Avro have no later time

ReadAlerts = Callable[[Message], Iterable[Alert | RejectedAlertError]]
Observe = Callable[[Alert], Observation]  # raises NotClassifiedError or RejectedAlertError


@dataclass(frozen=True, slots=True)
class Arrival:
    """An alert that was read: with an observation, or with the reason for which it gets no classification."""

    survey: str
    object_id: str
    alert_id: int
    time_mjd: float  # TAI
    band: str
    published_ms: int  # when the survey published or, where it does not say so, exposed; Unix milliseconds
    message: Message
    observation: Observation | None = None
    reason: NotClassified | None = None
    detail: str = ""
    detection: Detection | None = None
    withdrawn: tuple[Withdrawal, ...] = ()  # sources of the object that its survey took back
    past_refused: bool = False  # what its packet tells of the past has impossible times, and was not read
    match: SolarSystemMatch | None = None  # the known Solar-system object near it, where the packet names one

    @property
    def key(self) -> str:
        """The object in the series store."""
        return object_key(self.survey, self.object_id)


class Decoder:
    """The first half of the pipeline.

    Parameters
    ----------
    read_alerts
        The alert room's door, with its schemas bound.
    observers
        By survey: the stamp room's door, with the network's channels, size and bands bound.
    threads
        How many messages are decoded at a time.
    """

    def __init__(self, read_alerts: ReadAlerts, observers: Mapping[str, Observe], threads: int = 2) -> None:
        self._read_alerts, self._observers = read_alerts, observers
        self._pool = ThreadPoolExecutor(threads, "decode") if threads > 1 else None

    def decode(self, messages: Sequence[Message | Rejected]) -> list[Arrival | Rejected]:
        """Everything that the messages hold, in order, at least one result for each; rejections are passed on.

        Raises
        ------
        AwaitedError
            Some cannot be decoded yet.
        """
        each = self._pool.map(self._decode_whole, messages) if self._pool else map(self._decode_whole, messages)
        decoded: list[Arrival | Rejected] = []
        waiting: dict[int, RetryableError] = {}
        for place, results in enumerate(each):
            if isinstance(results, RetryableError):
                waiting[place] = results
            else:
                decoded += results
        if waiting:
            first = next(iter(waiting.values()))
            raise AwaitedError(first, waiting) from first
        return decoded

    def _decode_whole(self, message: Message | Rejected) -> list[Arrival | Rejected] | RetryableError:
        if isinstance(message, Rejected):
            return [message]
        try:
            return list(self._decode(message))
        except RetryableError as error:
            return error

    def _decode(self, message: Message) -> Iterator[Arrival | Rejected]:
        if message.tombstone:
            yield Rejected(message, Rejection.TOMBSTONE, "a null value: the topic says that this key is gone")
            return
        results = self._results(message)
        first = next(results, None)
        if first is None:
            yield Rejected(message, Rejection.EMPTY, "a sound container without records")
            return
        for result in chain((first,), results):
            yield self._reject(message, result) if isinstance(result, RejectedAlertError) else result

    def _results(self, message: Message) -> Iterator[Arrival | RejectedAlertError]:
        alerts = iter(self._read_alerts(message))
        while (read := attempt(lambda: next(alerts, None))) is not None:
            yield read if isinstance(read, RejectedAlertError) else attempt(partial(self._see, message, read))

    def _see(self, message: Message, alert: Alert) -> Arrival:
        published_ms = publication_time_ms(message, alert.time_mjd)
        name = (alert.survey, alert.object_id, alert.alert_id, alert.time_mjd, alert.band, published_ms, message)
        observe = self._observers.get(alert.survey)
        try:
            if observe is None:
                raise RejectedAlertError(
                    Rejection.FOREIGN_SURVEY,
                    f"no classifier for survey {alert.survey!r}, only for {sorted(self._observers)}: give its weights",
                )
            if len(alert.object_id.encode()) + len(alert.survey) + 1 > LONGEST_KEY_BYTES:
                raise RejectedAlertError(
                    Rejection.BAD_VALUE, f"object id of {len(alert.object_id)} characters, at most {LONGEST_KEY_BYTES}"
                )
            if any(source.alert_id == alert.alert_id for source in alert.withdrawn):
                raise NotClassifiedError(NotClassified.WITHDRAWN, f"the survey took source {alert.alert_id} back")
            refused = alert.history is REFUSED_PAST
            return Arrival(
                *name,
                observe(alert),
                detection=Detection.of(alert),
                withdrawn=alert.withdrawn,
                past_refused=refused,
                match=alert.match,
            )
        except NotClassifiedError as error:
            detection, withdrawn = Detection.of(alert), alert.withdrawn
            return Arrival(*name, None, error.reason, error.detail, detection, withdrawn, match=alert.match)

    @staticmethod
    def _reject(message: Message, error: RejectedAlertError) -> Rejected:
        return Rejected(message, error.reason, error.detail, error.exception)

    def close(self) -> None:
        """Let the threads go."""
        if self._pool:
            self._pool.shutdown()


def publication_time_ms(message: Message, time_mjd: float) -> int:
    """When the survey published (LSST says so in a header) or exposed; Unix milliseconds, at most ``LATEST_MS``."""
    for name, value in message.headers:
        if name == "producer_timestamp" and value.isdigit() and len(value) <= MOST_DIGITS_OF_MS:
            return min(int(value), LATEST_MS)
    return min(unix_ms(time_mjd), LATEST_MS)


def connect(
    schemas: Schemas, cards: Mapping[str, ModelCard], threads: int = 2, limits: MessageLimits = DEFAULT_LIMITS
) -> Decoder:
    """The decoder of real packets, set to what the network of each survey's card reads."""
    observers = {
        survey: partial(stamp.observe, channels=card.channels, size=card.size_px, bands=tuple(card.bands))
        for survey, card in cards.items()
    }
    histories = {survey: card.bands if card.history_limit else "" for survey, card in cards.items()}
    return Decoder(partial(alert.read_alerts, schemas=schemas, histories=histories, limits=limits), observers, threads)
