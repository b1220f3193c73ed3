"""Kafka in, messages out; finished tickets in, commits out. Knows nothing of what a message holds.

Everything here is called from the poll loop, which never blocks for long, except while partitions leave: then it waits
until their alerts in flight are delivered, and commits them.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from broker_filter.errors import FatalError
from broker_filter.kafka.clients import LIBRARY_LOG, Configuration, as_message
from broker_filter.kafka.offsets import Offsets, Ticket
from broker_filter.kafka.refusals import HOPELESS, explained, refused_configuration
from broker_filter.logs import facts, logger
from broker_filter.records import Message, Partition

READ_AT_ONCE = 500
EXPIRED = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.UNKNOWN_TOPIC_ID,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
    }
)
log = logger("consumer")

# What may be asked of whoever works on the batches when partitions leave: wait until nothing of these is in flight,
# calling ``finish`` for each batch that ends; False when it took too long.
Drain = Callable[[Sequence[Partition]], bool]


class AlertConsumer:
    """The member of the consumer group.

    Parameters
    ----------
    configuration
        Of librdkafka's consumer.
    topics
        Names, and regular expressions that start with ``^``.
    drain
        Called when partitions leave.
    """

    def __init__(self, configuration: Configuration, topics: Sequence[str], drain: Drain) -> None:
        self._drain = drain
        self._offsets = Offsets()
        self._paused = self._flow_is_stale = self._ever_assigned = False
        self._fatal: FatalError | None = None
        self._told: set[str] = set()
        self._next: dict[Partition, int] = {}  # after the last finished message, or the end where nothing came
        self._ends: dict[Partition, int] = {}  # as the broker reported reaching it
        try:
            self._consumer = Consumer(
                configuration | {"error_cb": self._on_error, "on_commit": self._on_commit}, logger=LIBRARY_LOG
            )
        except (KafkaException, TypeError, ValueError) as error:
            raise refused_configuration(error, "consumer") from error
        self._consumer.subscribe(
            list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    @property
    def assigned(self) -> frozenset[Partition]:
        """The partitions that are ours."""
        return self._offsets.assigned

    @property
    def in_flight(self) -> int:
        """Messages taken and not finished."""
        return self._offsets.in_flight()

    def in_flight_of(self, partitions: Iterable[Partition]) -> int:
        """Messages of these taken and not finished."""
        return self._offsets.in_flight(partitions)

    def read(self, timeout_s: float) -> list[Message]:
        """What has arrived, waiting for at most ``timeout_s``; nothing while paused.

        Raises
        ------
        FatalError
            Only the operator can help.
        """
        if self._flow_is_stale:
            self._set_flow(self._offsets.assigned)
            self._flow_is_stale = False
        messages = [self._accept(raw) for raw in self._consumer.consume(READ_AT_ONCE, timeout_s)]
        if self._fatal is not None:
            raise self._fatal
        return [m for m in messages if m is not None and self._offsets.owns(m)]

    def owns(self, message: Message) -> bool:
        """False for a message whose partition has left meanwhile."""
        return self._offsets.owns(message)

    def take(self, messages: Sequence[Message]) -> Ticket:
        """These leave for work."""
        return self._offsets.take(messages)

    def finish(self, ticket: Ticket) -> None:
        """These are delivered and settled: store their offsets and let them be committed."""
        committable = self._offsets.finish(ticket)
        if not committable:
            return
        self._next.update(committable)
        offsets = [TopicPartition(p.topic, p.number, n) for p, n in committable.items()]
        try:
            self._consumer.store_offsets(offsets=offsets)
            self._consumer.commit(asynchronous=True)
        except KafkaException as error:  # a partition that left in this very moment is read again by its new owner
            log.warning("offsets of finished alerts are not stored", extra=facts(error=str(error)))

    def pause(self) -> None:
        """Fetch no more for now, but go on polling, so that the group keeps us."""
        self._paused = True
        self._set_flow(self._offsets.assigned)

    def resume(self) -> None:
        """Fetch again."""
        self._paused = False
        self._set_flow(self._offsets.assigned)

    def lag(self) -> dict[Partition, int]:
        """Messages of each partition that are not finished, as far as the broker has told."""
        lag = {}
        for partition in self._offsets.assigned:
            _, high = self._consumer.get_watermark_offsets(TopicPartition(*partition), cached=True)
            position = self._next.get(partition)
            if position is None:
                position = self._ends.get(partition) if self._offsets.in_flight([partition]) == 0 else None
            if position is None or high < 0:
                continue
            if (
                self._offsets.in_flight([partition]) == 0
            ):  # control records may stand between the last message and the end
                position = max(position, self._ends.get(partition, 0))
            lag[partition] = max(high - position, 0)
        return lag

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit what is finished and leave the group."""
        self._commit_now()
        self._consumer.close()

    def _accept(self, raw: KafkaMessage) -> Message | None:
        error = raw.error()
        if error is None:
            return as_message(raw)
        partition = Partition(raw.topic() or "", raw.partition() or 0)
        if error.code() == KafkaError._PARTITION_EOF:
            self._ends[partition] = raw.offset() or 0
        elif error.fatal() or error.code() in HOPELESS:
            what = f"cannot read {partition.topic}" if partition.topic else "the broker refuses us"
            self._fatal = self._fatal or FatalError(f"{what}: {explained(error)}")
        elif error.code() in EXPIRED:
            self._tell_once(f"topic {partition.topic} is not there (any more); the others go on")
        else:
            self._tell_once(f"reading {partition.topic}: {error.str()} ({error.name()})")
        return None

    def _set_flow(self, partitions: Iterable[Partition]) -> None:
        chosen = [TopicPartition(*partition) for partition in partitions]
        if not chosen:
            return
        try:
            (self._consumer.pause if self._paused else self._consumer.resume)(chosen)
        except KafkaException as error:  # a partition that left in this very moment has no flow
            log.debug("flow: %s", error)

    def _on_assign(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        ours = [Partition(p.topic, p.partition) for p in partitions]
        self._forget(ours)
        self._offsets.assign(ours)
        self._ever_assigned = True
        log.info("partitions assigned", extra=facts(partitions=_counted(ours)))
        self._flow_is_stale = True  # librdkafka may keep the flow that a partition had when it left

    def _on_revoke(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        leaving = [Partition(p.topic, p.partition) for p in partitions]
        begun_s = time.monotonic()
        drained = self._drain(leaving)
        self._commit_now()
        log.info(
            "partitions leave",
            extra=facts(partitions=_counted(leaving), drained=drained, waited_s=time.monotonic() - begun_s),
        )
        self._forget(leaving)
        self._offsets.release(leaving)

    def _on_lost(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        lost = [Partition(p.topic, p.partition) for p in partitions]
        log.warning("partitions lost: others may read them already", extra=facts(partitions=_counted(lost)))
        self._forget(lost)
        self._offsets.release(lost)

    def _forget(self, partitions: Iterable[Partition]) -> None:
        for partition in partitions:
            self._next.pop(partition, None)
            self._ends.pop(partition, None)

    def _commit_now(self) -> None:
        try:
            self._consumer.commit(asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._NO_OFFSET:
                log.warning("commit failed; these alerts will be read again", extra=facts(error=str(error)))

    def _on_commit(self, error: KafkaError | None, partitions: Sequence[TopicPartition]) -> None:
        if error is not None and error.code() != KafkaError._NO_OFFSET:
            log.warning("commit failed; it is tried with the next batch", extra=facts(error=error.str()))

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal() or (error.code() in HOPELESS and not self._ever_assigned):
            self._fatal = FatalError(f"the broker refuses us: {explained(error)}")
        else:
            log.warning("consumer: %s", error.str(), extra=facts(code=error.name()))

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            log.warning(text)


def _counted(partitions: Sequence[Partition]) -> dict[str, int]:
    return dict(Counter(partition.topic for partition in partitions))
