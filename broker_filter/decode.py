"""Messages in; alerts with their frame, alerts with the reason why not, and rejections out. Knows no store, no network.

Alerts are decoded on a few threads: inflating stamps releases the interpreter's lock.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from broker_filter.buffer import LONGEST_KEY_BYTES
from broker_filter.errors import NotClassified, NotClassifiedError, RejectedAlertError, Rejection
from broker_filter.records import NO_STAMPS, Alert, Message, Observation, Rejected

ReadAlerts = Callable[[Message], Iterable[Alert | RejectedAlertError]]
Observe = Callable[[Alert], Observation]  # raises NotClassifiedError or RejectedAlertError


@dataclass(frozen=True, slots=True)
class Arrival:
    """An alert that was read: with an observation, or with the reason for which it gets no classification."""

    alert: Alert  # its stamps let go
    message: Message
    observation: Observation | None = None
    reason: NotClassified | None = None
    detail: str = ""

    @property
    def key(self) -> str:
        """The object in the series store; surveys number their objects independently."""
        return f"{self.alert.survey}/{self.alert.object_id}"


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

    def decode(self, messages: Sequence[Message]) -> list[Arrival | Rejected]:
        """Everything that the messages hold, in order; at least one result for each message."""
        each = self._pool.map(self._decode_whole, messages) if self._pool else map(self._decode_whole, messages)
        return [result for results in each for result in results]

    def _decode_whole(self, message: Message) -> list[Arrival | Rejected]:
        return list(self.decode_one(message))

    def decode_one(self, message: Message) -> Iterator[Arrival | Rejected]:
        """The alerts of one message one by one, however many a container holds."""
        empty = True
        try:
            for read in self._read_alerts(message):
                empty = False
                yield self._reject(message, read) if isinstance(read, RejectedAlertError) else self._see(message, read)
        except RejectedAlertError as error:
            empty = False
            yield self._reject(message, error)
        if empty:
            yield Rejected(message, Rejection.CORRUPT, "the container holds no alert")

    def _see(self, message: Message, alert: Alert) -> Arrival | Rejected:
        bare = replace(alert, stamps=NO_STAMPS)
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
            if alert.solar_system:
                raise NotClassifiedError(NotClassified.SOLAR_SYSTEM, "a moving object has no series at one place")
            return Arrival(bare, message, observe(alert))
        except NotClassifiedError as error:
            return Arrival(bare, message, None, error.reason, error.detail)
        except RejectedAlertError as error:
            return self._reject(message, error)

    @staticmethod
    def _reject(message: Message, error: RejectedAlertError) -> Rejected:
        return Rejected(message, error.reason, error.detail)

    def close(self) -> None:
        """Let the threads go."""
        if self._pool:
            self._pool.shutdown()
