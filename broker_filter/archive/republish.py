"""Alerts of an archive on a Kafka topic, byte for byte, at a chosen pace. Knows no network and no stamps.

Surveys send in bursts: all alerts of one visit within seconds, then nothing until the next. ``recorded`` keeps the
archive's own times (alerts of one exposure have one time); a rate in alerts per second sends ``burst`` at a time.
Weakness: unkeyed, as the surveys send; the broker spreads one object's alerts over all partitions.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as KafkaMessage

from broker_filter.alerts.alert import read_alerts
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.archive.time_order import TimeOrder
from broker_filter.errors import FatalError
from broker_filter.kafka.clients import LIBRARY_LOG
from broker_filter.kafka.refusals import configuring, explained
from broker_filter.records import Alert, Message
from model.clock import SECONDS_PER_DAY

Rate = float | Literal["recorded", "max"]

FLUSH_TIMEOUT_S = 60.0  # longest wait for the broker's last acknowledgements
QUEUE_WAIT_S = 0.1  # between attempts while the producer's queue is full


@dataclass(frozen=True, slots=True)
class Pace:
    """When each message is due."""

    rate: Rate = "max"  # alerts per second
    burst: int = 1  # alerts that are due together, when the rate is a number
    speed: float = 1.0  # recorded seconds per second

    def due_s(self, index: int, since_first_s: float) -> float:
        """Seconds after the first message at which a message is due."""
        if self.rate == "max":
            return 0.0
        if self.rate == "recorded":
            return since_first_s / self.speed
        return index // self.burst * self.burst / self.rate


def in_order_of_time(messages: Iterable[Message], schemas: Schemas, order: TimeOrder) -> Iterator[tuple[float, bytes]]:
    """(MJD, bytes) of messages by the time of their first alert; one that cannot be read stays beside its neighbour."""
    time_mjd = 0.0
    for message in messages:
        first = next((a for a in read_alerts(message, schemas) if isinstance(a, Alert)), None)
        time_mjd, number = (first.time_mjd, first.alert_id) if first is not None else (time_mjd, 0)
        order.put(time_mjd, number, message.value)
    return order.items()


def as_given(messages: Iterable[Message], schemas: Schemas) -> Iterator[tuple[float, bytes]]:
    """(MJD, bytes) of messages as they come; without an alert, the time of the one before."""
    time_mjd = 0.0
    for message in messages:
        first = next((a for a in read_alerts(message, schemas) if isinstance(a, Alert)), None)
        time_mjd = first.time_mjd if first is not None else time_mjd
        yield time_mjd, message.value


class AlertPublisher:
    """A producer that counts what the broker acknowledges.

    Parameters
    ----------
    settings
        Keys of librdkafka, for instance for SASL.

    Raises
    ------
    ConfigurationError
        When librdkafka refuses a setting.
    """

    def __init__(self, topic: str, brokers: str, settings: Mapping[str, str]) -> None:
        self._topic = topic
        keys = {"bootstrap.servers": brokers, "enable.idempotence": True, "linger.ms": 5, **settings}
        with configuring("producer"):
            self._producer = Producer(keys, logger=LIBRARY_LOG)
        self._error: KafkaError | None = None
        self._sent, self.acknowledged = 0, 0

    def publish(
        self,
        timed: Iterable[tuple[float, bytes]],
        pace: Pace,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Iterator[int]:
        """Send messages when they are due; yields how many were sent so far.

        Raises
        ------
        FatalError
            When the broker refuses a message, or does not acknowledge in time.
        """
        start_s, first_mjd = clock(), None
        for index, (time_mjd, value) in enumerate(timed):
            first_mjd = time_mjd if first_mjd is None else first_mjd
            wait_s = start_s + pace.due_s(index, (time_mjd - first_mjd) * SECONDS_PER_DAY) - clock()
            if wait_s > 0:
                self._producer.poll(0)
                sleep(wait_s)
            self._send(value)
            yield index + 1
        self._producer.flush(FLUSH_TIMEOUT_S)  # what it returns counts the library's own events too
        self._check()
        if waiting := self._sent - self.acknowledged:
            raise FatalError(f"{waiting} messages were not acknowledged in {FLUSH_TIMEOUT_S:g} s: is {self._topic} up?")

    def _send(self, value: bytes) -> None:
        headers: dict[str, str | bytes | None] = {"producer_timestamp": str(int(1000 * time.time()))}
        while True:
            try:
                self._producer.produce(self._topic, value, headers=headers, on_delivery=self._delivered)
                self._sent += 1
                break
            except BufferError:  # the queue is full: let the broker catch up
                self._producer.poll(QUEUE_WAIT_S)
                self._check()
            except KafkaException as error:
                what = f"message of {len(value)} bytes for {self._topic}"
                raise FatalError(f"{what}: {explained(error.args[0])}") from error
        self._producer.poll(0)
        self._check()

    def _delivered(self, error: KafkaError | None, _message: KafkaMessage) -> None:
        if error is not None:
            self._error = self._error or error
        else:
            self.acknowledged += 1

    def _check(self) -> None:
        if self._error is not None:
            raise FatalError(f"{self._topic} refuses messages: {explained(self._error)}")
