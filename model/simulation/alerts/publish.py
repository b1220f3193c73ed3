"""Packets as Kafka messages at the pace of a survey: bursts, one for each exposure. Knows no packet format."""

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from model.clock import unix_ms
from model.simulation.alerts.alert_files import Packets

if TYPE_CHECKING:
    from confluent_kafka import Producer

EXPOSURE_SPACING_S = (37.0, 39.0)  # between the bursts of LSST
QUEUE_FULL_WAIT_S = 0.1  # while the producer's queue empties
FIRST_ANSWER_S = 15.0  # of any broker
DELIVERY_TIMEOUT_S = 60.0  # of one message; then the command gives up


class PublishError(Exception):
    """Kafka did not take what it was given."""


@dataclass(frozen=True, slots=True)
class SurveyPace:
    """How fast to send. With neither, as fast as Kafka takes it."""

    rate_hz: float | None = None  # alerts a second, evenly
    burst: int | None = None  # alerts at once, then wait for the next exposure

    def __post_init__(self) -> None:
        if self.rate_hz is not None and self.burst is not None:
            raise ValueError("either a rate or bursts, not both")


def publish(
    packets: Packets,
    topic: str,
    brokers: str,
    pace: SurveyPace,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Send every packet without a key, as surveys do.

    Returns
    -------
    int
        Number of delivered messages.

    Raises
    ------
    PublishError
        When no broker answers, or a message was not delivered.
    """
    from confluent_kafka import KafkaError, KafkaException, Message  # noqa: PLC0415 - files need no Kafka

    failures: list[str] = []
    delivered, sent = 0, 0

    def report(error: KafkaError | None, message: Message) -> None:
        nonlocal delivered
        delivered += error is None
        if error is not None:
            failures.append(error.str())

    where = f"topic {topic} at {brokers}"
    producer = _producer(brokers, where)
    for packet, truth in paced(packets, pace, clock, sleep):
        while not failures:
            try:
                producer.produce(topic, packet, timestamp=unix_ms(float(truth["time_mjd"])), on_delivery=report)
                sent += 1
                break
            except BufferError:
                producer.poll(QUEUE_FULL_WAIT_S)
            except KafkaException as exc:
                raise PublishError(f"{where}: {exc}") from exc
        producer.poll(0)
        if failures:
            break
    producer.flush(DELIVERY_TIMEOUT_S)  # what it returns counts the library's own events too
    if delivered < sent:
        what = failures[0] if failures else f"no answer in {DELIVERY_TIMEOUT_S:.0f} s"
        raise PublishError(f"{where}: {sent - delivered} of {sent} alerts were not delivered: {what}")
    return delivered


def _producer(brokers: str, where: str) -> "Producer":
    """A producer whose brokers answer."""
    from confluent_kafka import KafkaException, Producer  # noqa: PLC0415 - as above

    settings = {
        "bootstrap.servers": brokers,
        "compression.type": "lz4",
        "linger.ms": 20,
        "message.max.bytes": 10_000_000,
        "message.timeout.ms": round(1000 * DELIVERY_TIMEOUT_S),
    }
    try:
        producer = Producer(settings, logger=_silent())  # what matters comes back as an error of ours
        producer.list_topics(timeout=FIRST_ANSWER_S)
    except KafkaException as exc:
        raise PublishError(
            f"{where}: no broker answers ({exc.args[0].str()}): start Kafka, or name its brokers with --brokers"
        ) from exc
    return producer


def paced(
    packets: Packets, pace: SurveyPace, clock: Callable[[], float], sleep: Callable[[float], None]
) -> Iterator[tuple[bytes, Mapping[str, Any]]]:
    """Hold packets back until their time has come. A burst is made whole before its first packet goes out."""
    start = clock()
    if pace.rate_hz is not None:
        for n, item in enumerate(packets):
            _wait_until(start + n / pace.rate_hz, clock, sleep)
            yield item
        return
    if pace.burst is None:
        yield from packets
        return
    spacing = random.Random(0)
    due = start
    for burst in _groups(packets, pace.burst):
        _wait_until(due, clock, sleep)
        due = max(due, clock() - EXPOSURE_SPACING_S[1]) + spacing.uniform(*EXPOSURE_SPACING_S)
        yield from burst


def _groups(packets: Packets, size: int) -> Iterator[list[tuple[bytes, Mapping[str, Any]]]]:
    group: list[tuple[bytes, Mapping[str, Any]]] = []
    for item in packets:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _wait_until(due: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
    if (wait := due - clock()) > 0:
        sleep(wait)


def _silent() -> logging.Logger:
    logger = logging.getLogger("model.simulation.alerts.publish.librdkafka")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger
