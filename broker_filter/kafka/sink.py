"""Delivery of outcomes as acknowledged Kafka messages. Knows nothing of what is in them, nor of offsets.

``deliver`` returns when the broker has acknowledged everything, and raises otherwise: nothing is committed that was not
delivered. A batch that is delivered again after a failure is delivered whole and in its order, so that the newest
classification of an object stays its last one.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from broker_filter.errors import FatalError, Rejection, RetryableError
from broker_filter.kafka.clients import LIBRARY_LOG, Configuration
from broker_filter.kafka.refusals import HOPELESS, configuring, explained
from broker_filter.logs import Repeats, logger
from broker_filter.output.formats import key
from broker_filter.records import Classification, Outcome, Rejected, rejections_by_message

Headers = tuple[tuple[str, bytes], ...]
POLL_S = 0.1  # how long librdkafka's delivery reports are waited for at a time
GRACE_S = 5.0  # reports arrive at the delivery timeout; later is a hang
HEADER_PREFIX = "ictc."
LARGEST_KEPT_KEY_BYTES = 1024  # of a dead letter that was too large in every other way
_HOPELESS = HOPELESS - {KafkaError._FATAL} | {KafkaError.MSG_SIZE_TOO_LARGE}
log = logger("sink")


@dataclass(frozen=True, slots=True)
class Record:
    """One Kafka message to produce."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Headers = ()
    shorter: "Record | None" = None  # to send instead where the broker finds this one too large


@dataclass(slots=True)
class _Reports:
    """What became of the records of one delivery."""

    open: int = 0
    errors: list[tuple[Record, KafkaError]] = field(default_factory=list)

    def of(self, record: Record) -> Callable[[KafkaError | None, Any], None]:
        self.open += 1

        def report(error: KafkaError | None, _: Any) -> None:
            self.open -= 1
            if error is not None:
                self.errors.append((record, error))

        return report


class Sink:
    """A producer with delivery reports.

    Parameters
    ----------
    configuration
        Of librdkafka's producer.
    topic
        For classifications.
    encode
        A classification's bytes.
    dead_letter_topic
        For rejected messages; None: they are not published.
    delivery_timeout_s
        As the producer's own.
    further_topics
        Where a classification goes beside ``topic``.
    """

    def __init__(
        self,
        configuration: Configuration,
        topic: str,
        encode: Callable[[Classification], bytes],
        dead_letter_topic: str | None,
        delivery_timeout_s: float,
        further_topics: Callable[[Classification], Sequence[str]] = lambda _: (),
    ) -> None:
        self._further_topics = further_topics
        self._configuration, self._topic, self._encode = configuration, topic, encode
        self._dead_letter_topic, self._delivery_timeout_s = dead_letter_topic, delivery_timeout_s
        self._given_up = threading.Event()
        self._repeats = Repeats(log)
        self._producer = self._new_producer()

    def _new_producer(self) -> Producer:
        with configuring("producer"):
            return Producer(self._configuration | {"error_cb": self._log_error}, logger=LIBRARY_LOG)

    def deliver(self, outcomes: Sequence[Outcome]) -> None:
        """Publish everything, and wait until it is acknowledged.

        Raises
        ------
        RetryableError
            Something was not acknowledged: deliver all of it again.
        FatalError
            Only the operator can help.
        """
        self._deliver_records([*self._classifications(outcomes), *self._dead_letters(outcomes)])

    def _classifications(self, outcomes: Sequence[Outcome]) -> Iterator[Record]:
        for outcome in outcomes:
            if isinstance(result := outcome.result, Classification):
                value, headers = self._encode(result), identity_headers(result)
                for topic in (self._topic, *self._further_topics(result)):
                    yield Record(topic, key(result), value, headers)

    def _dead_letters(self, outcomes: Sequence[Outcome]) -> Iterator[Record]:
        """One for each message, however many of its records were rejected; none for a null value."""
        if self._dead_letter_topic is not None:
            for rejected, count in rejections_by_message(outcomes):
                if rejected.reason is Rejection.TOMBSTONE:
                    continue
                yield dead_letter(self._dead_letter_topic, rejected, count)

    def _deliver_records(self, records: Sequence[Record]) -> None:
        """Send; what is too large goes once more and shorter."""
        too_large = self._send(records)
        if too_large:
            self._deliver_records([record.shorter for record in too_large if record.shorter is not None])
        self._repeats.over("Kafka takes our records again")

    def _send(self, records: Sequence[Record]) -> list[Record]:
        """Send and wait for what becomes of them; returns those that are too large and can be sent shorter.

        Raises
        ------
        RetryableError, FatalError
            As ``deliver``.
        """
        reports = _Reports()
        deadline_s = time.monotonic() + self._delivery_timeout_s + GRACE_S
        for record in records:
            self._produce(record, reports, deadline_s)
        while reports.open > 0 and time.monotonic() < deadline_s and not self._given_up.is_set():
            self._producer.poll(POLL_S)
        if reports.open > 0:
            self._replace_producer()
            raise RetryableError(f"{reports.open} of {len(records)} records without a delivery report")
        return self._judge(reports.errors)

    def _produce(self, record: Record, reports: _Reports, deadline_s: float) -> None:
        report = reports.of(record)
        while True:
            try:
                self._producer.produce(
                    record.topic, record.value, record.key, headers=list(record.headers), on_delivery=report
                )
            except BufferError as error:
                if time.monotonic() > deadline_s or self._given_up.is_set():
                    self._replace_producer()
                    raise RetryableError("the broker does not take our records: librdkafka's queue is full") from error
                self._producer.poll(POLL_S)
            except KafkaException as error:
                report(error.args[0], None)
                return
            else:
                self._producer.poll(0)
                return

    def _judge(self, errors: Sequence[tuple[Record, KafkaError]]) -> list[Record]:
        """Those that are too large, if nothing else is amiss; else say what is."""
        rest = [
            (record, error)
            for record, error in errors
            if record.shorter is None or error.code() != KafkaError.MSG_SIZE_TOO_LARGE
        ]
        if not rest:
            return [record for record, _ in errors]
        # An idempotent producer that lost its place, by a fatal error or because the broker forgot it, never produces
        # again; a new one costs little.
        self._replace_producer()
        for record, error in rest:
            if error.code() in _HOPELESS and not error.fatal():
                raise FatalError(f"cannot publish to {record.topic}: {explained(error)}")
        record, error = rest[0]
        raise RetryableError(f"{len(errors)} records for {record.topic} not delivered: {error.str()} ({error.name()})")

    def _replace_producer(self) -> None:
        self._producer.purge()
        self._producer.flush(POLL_S)
        self._producer = self._new_producer()

    def _log_error(self, error: KafkaError) -> None:
        self._repeats.warn(f"producer: {error.name()}", detail=error.str())

    def give_up(self) -> None:
        """From any thread: let a delivery that waits fail now."""
        self._given_up.set()

    def close(self) -> None:
        """Let the producer go; what is not acknowledged by now is not committed either."""
        self._producer.purge()
        self._producer.flush(POLL_S)


def identity_headers(result: Classification) -> Headers:
    """By which a duplicate is recognised without decoding it."""
    return (
        (f"{HEADER_PREFIX}survey", result.survey.encode()),
        (f"{HEADER_PREFIX}alert_id", str(result.alert_id).encode()),
        (f"{HEADER_PREFIX}classifier", result.classifier.encode()),
        (f"{HEADER_PREFIX}version", result.classifier_version.encode()),
        (f"{HEADER_PREFIX}revision", b"1" if result.revision else b"0"),
    )


def dead_letter(topic: str, rejected: Rejected, records: int = 1) -> Record:
    """The original bytes, key and headers, with what was wrong and where it came from.

    Where the broker finds it too large it loses its bytes, and says so; if that does not help, its own headers, too.
    """
    message = rejected.message
    about = {
        "error": rejected.detail,
        "reason": rejected.reason,
        "topic": message.origin.source,
        "partition": message.origin.partition,
        "offset": message.origin.offset,
        "timestamp": "" if message.timestamp_ms is None else message.timestamp_ms,
    }
    if records > 1:
        about["records"] = records
    ours = tuple((HEADER_PREFIX + name, str(value).encode("utf-8", "replace")) for name, value in about.items())
    size = f"{len(message.value)} bytes are over the broker's limit".encode()
    omitted = (*ours, (f"{HEADER_PREFIX}value_omitted", size))
    key = message.key
    short_key = key if key is None or len(key) <= LARGEST_KEPT_KEY_BYTES else None
    least = Record(topic, short_key, b"", (*omitted, (f"{HEADER_PREFIX}headers_omitted", size)))
    less = Record(topic, key, b"", message.headers + omitted, least)
    return Record(topic, key, message.value, message.headers + ours, less)
