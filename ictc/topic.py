"""Classifications of an output topic, in batches, each at least once.

Messages enter through a consumer group; its offsets are committed when the next batch is asked for, so that a program
that dies in the midst of a batch gets it again. Knows nothing of what is done with them.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, KafkaError, KafkaException

from broker_filter.errors import ConfigurationError, FatalError
from broker_filter.output.read_back import UnreadableClassificationError, read_message
from broker_filter.records import Classification

LOG = logging.getLogger(__name__)
POLL_S = 0.5


class TopicReader:
    """A consumer of one or more output topics.

    Parameters
    ----------
    brokers
        ``host:port``, several separated by commas.
    topics
        Names, or regular expressions that begin with ``^``.
    group
        Consumer group; where it has no committed offsets, the topic is read from its beginning.
    settings
        Keys of librdkafka, for instance of SASL and TLS.

    Raises
    ------
    ConfigurationError
        When librdkafka refuses a setting.
    """

    def __init__(
        self, brokers: str, topics: Iterable[str], group: str, settings: Mapping[str, str | int | bool] | None = None
    ) -> None:
        keys = {"bootstrap.servers": brokers, "group.id": group, "auto.offset.reset": "earliest", **(settings or {})}
        try:
            self._consumer = Consumer(keys | {"enable.auto.commit": False}, logger=LOG)
            self._consumer.subscribe(list(topics))
        except KafkaException as error:
            raise ConfigurationError(f"a consumer of {brokers} cannot be made: {error.args[0]}") from error
        self.unreadable_count = 0  # messages that are no classification of ours; each is told in the log

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Leave the group; what was not committed is read again by the next member."""
        self._consumer.close()

    def batches(
        self, size: int = 500, wait_s: float = 5.0, idle_limit_s: float | None = None, commits: bool = True
    ) -> Iterator[list[Classification]]:
        """Batches of 1 to ``size`` classifications; what a batch came from is committed when the next is asked for.

        Parameters
        ----------
        wait_s
            A batch that is not full is given after this time.
        idle_limit_s
            End after so long without a message; None: never.
        commits
            False: nothing is committed but by ``commit``.

        Raises
        ------
        FatalError
            When Kafka gives an error that does not pass.
        """
        heard_s = time.monotonic()
        while True:
            messages = self._consume(size, wait_s)
            if messages:
                heard_s = time.monotonic()
            if batch := [one for one in map(self._read, messages) if one is not None]:
                yield batch
            if messages and commits:
                self.commit()
            elif not messages and idle_limit_s is not None and time.monotonic() - heard_s > idle_limit_s:
                return

    def _consume(self, size: int, wait_s: float) -> list[bytes]:
        values: list[bytes] = []
        until_s = time.monotonic() + wait_s
        while len(values) < size and time.monotonic() < until_s:
            for message in self._consumer.consume(size - len(values), POLL_S):
                error = message.error()
                if error is None:
                    values.append(message.value() or b"")
                elif not (error.retriable() or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART):
                    raise FatalError(f"{message.topic()}: {error.str()}")
        return values

    def _read(self, value: bytes) -> Classification | None:
        try:
            return read_message(value)
        except UnreadableClassificationError as error:
            self.unreadable_count += 1
            LOG.warning("left out: %s", error)
            return None

    def commit(self) -> None:
        """Commit what was given so far.

        Raises
        ------
        FatalError
            When Kafka refuses.
        """
        try:
            self._consumer.commit(asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._NO_OFFSET:
                raise FatalError(f"offsets cannot be committed: {error.args[0].str()}") from error


def newest_of_each_object(classifications: Iterable[Classification]) -> list[Classification]:
    """The last word on each object: of its latest alert, and of that the one that knows most observations."""
    newest: dict[tuple[str, str], Classification] = {}
    for one in classifications:
        key = (one.survey, one.object_id)
        before = newest.get(key)
        if before is None or _order(one) >= _order(before):
            newest[key] = one
    return list(newest.values())


def _order(classification: Classification) -> tuple[float, int, int]:
    return classification.time_mjd, classification.alert_id, classification.known_count
