"""The member of the consumer group: messages from Kafka, and commits of those that are delivered and settled.

Everything here is called from the poll loop, which never blocks for long, except while partitions leave: then it waits
until their alerts in flight are delivered, and commits them. Where reading begins is decided here and not by
librdkafka, because a position that fell out of the log is a loss that must be counted.
"""

import math
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from confluent_kafka import OFFSET_BEGINNING, OFFSET_STORED, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from broker_filter.errors import FatalError, RetryableError
from broker_filter.kafka.bounds import refused_value
from broker_filter.kafka.clients import LIBRARY_LOG, Configuration, as_message, rebalances_in_steps
from broker_filter.kafka.offsets import Offsets, Ticket
from broker_filter.kafka.refusals import configuring, explained, is_hopeless
from broker_filter.logs import Repeats, facts, logger
from broker_filter.records import Message, Partition, partition_of

READ_AT_ONCE = 500
ANSWER_S = 5.0  # longest wait for one answer of the broker
ASK_AGAIN_S = 2.0
OUT_OF_REACH_S = 15.0  # after a failed connection; the next attempt is made within 10
BEGINNING_S = 10.0  # in which a partition that was assigned is expected to answer
COMMIT_AGAIN_S = 5.0
CLOSE_LIMIT_S = 2.0  # longest wait for the last commit, and for leaving the group
CLOSE_POLL_S = 0.05
EXPIRED = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.UNKNOWN_TOPIC_ID,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
    }
)
log = logger("consumer")


class Owner(Protocol):
    """Whoever works on the messages, as the consumer sees it."""

    def drain(self, leaving: Sequence[Partition]) -> bool:
        """Wait until nothing of these is in flight, calling ``finish`` for each batch that ends; False: too long."""
        ...

    def drop(self, gone: Sequence[Partition]) -> None:
        """Forget what was read of these and is not yet in flight."""
        ...

    def count_lost(self, partition: Partition, alerts: int) -> None:
        """So many alerts left the log before we read them."""
        ...

    def settle_below(self, partition: Partition, offset: int) -> None:
        """Everything before this offset is committed, whoever did it; may raise RetryableError."""
        ...


class AlertConsumer:
    """The member of the consumer group.

    Parameters
    ----------
    configuration
        Of librdkafka's consumer.
    topics
        Names, and regular expressions that start with ``^``.
    owner
        Told when partitions leave or are lost, and of alerts that nobody can read any more.
    commits
        False where offsets are committed with the records, in a transaction: then each turn of a partition begins by
        asking what is committed.
    ends
        Offsets at which reading ends, and nothing is read of any other partition; None: it never ends.
    """

    def __init__(
        self,
        configuration: Configuration,
        topics: Sequence[str],
        owner: Owner,
        commits: bool = True,
        ends: Mapping[Partition, int] | None = None,
    ) -> None:
        self._commits, self._limits = commits, ends
        self._beyond: set[Partition] = set()  # whose end was reached
        self._resting: dict[Partition, float] = {}  # until when nothing of it is fetched, monotonic
        self._owner, self._configuration = owner, configuration
        self._offsets = Offsets()
        self._incremental = rebalances_in_steps(configuration)
        self._paused = self._flow_is_stale = self._ever_assigned = self._joined = self._closing = False
        self._fatal: FatalError | None = None
        self._repeats = Repeats(log)
        self._unreached_s = -math.inf  # when a broker was last out of reach, monotonic
        self._position: dict[Partition, int] = {}  # of the next message to read
        self._finished: dict[Partition, int] = {}  # after the last finished message
        self._ends: dict[Partition, int] = {}  # as the broker reported reaching it
        self._uncommitted: dict[Partition, int] = {}  # finished, and not known to be committed
        self._committed_s = self._asked_s = self._assigned_s = 0.0
        self._heard: set[Partition] = set()  # that have sent a message, or told their end
        self._astray: dict[Partition, int | None] = {}  # without a position, or with this one outside the log
        self._halted: set[Partition] = set()  # of which librdkafka may fetch no more, though their position is right
        self._unresolved: set[Partition] = set()  # nothing of these is read before it is known what is committed
        with configuring("consumer"):
            self._consumer = Consumer(
                configuration | {"error_cb": self._on_error, "on_commit": self._on_commit}, logger=LIBRARY_LOG
            )
        self._consumer.subscribe(
            list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    @property
    def assigned(self) -> frozenset[Partition]:
        """The partitions that are ours."""
        return self._offsets.assigned

    @property
    def joined(self) -> bool:
        """True once the group has answered, even if it had no partition for us."""
        return self._joined

    @property
    def is_beginning(self) -> bool:
        """True while partitions were assigned just now and not each of them was read, or has told its end."""
        return not self._offsets.assigned <= self._heard and time.monotonic() - self._assigned_s < BEGINNING_S

    @property
    def at_ends(self) -> bool:
        """True once everything was read that is to be; what was read may still be in work."""
        return (
            self._limits is not None
            and self._joined
            and not self._unresolved
            and (all(partition in self._beyond for partition in self._offsets.assigned))
        )

    @property
    def in_contact(self) -> bool:
        """False while Kafka is out of reach, and for a while after: librdkafka tells of each attempt to connect."""
        return time.monotonic() - self._unreached_s > OUT_OF_REACH_S

    @property
    def member_id(self) -> str:
        """By which the group knows us; empty before it does."""
        return self._consumer.memberid() or ""

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
        if self._resting:
            self._end_rests()
        if self._flow_is_stale:
            self._set_flow(self._offsets.assigned)
            self._flow_is_stale = False
        early = set(self._unresolved)
        received = self._consumer.consume(1, timeout_s)  # asked for more, it waits for all of them
        if received:
            received += self._consumer.consume(READ_AT_ONCE - 1, 0.0)
        early |= self._unresolved
        messages = [message for raw in received if (message := self._accept(raw)) is not None]
        if self._fatal is not None:
            raise self._fatal
        if received:
            self._repeats.over("Kafka answers again")
        if self._unresolved:
            self._resolve()
        messages = [m for m in messages if self._offsets.owns(m) and partition_of(m) not in early and self._is_new(m)]
        if self._limits is not None:
            messages = self._within(messages, self._limits)
        for message in messages:
            partition = partition_of(message)
            self._position[partition] = message.origin.offset + 1
            self._heard.add(partition)
        if self._halted:
            self._go_on()
        if self._astray:
            self._find_positions()
        if self._uncommitted and time.monotonic() - self._committed_s >= COMMIT_AGAIN_S:
            self._commit()
        return messages

    def _is_new(self, message: Message) -> bool:
        """False for what was read already: a late answer to where a log begins sends librdkafka back there at times."""
        return message.origin.offset >= self._position.get(partition_of(message), 0)

    def _within(self, messages: Sequence[Message], limits: Mapping[Partition, int]) -> list[Message]:
        """Those before the ends; of partitions that have reached theirs nothing more is fetched."""
        within = []
        reached = {partition: self._ends.get(partition, 0) for partition in self._offsets.assigned}
        for message in messages:
            partition, offset = partition_of(message), message.origin.offset
            if offset < limits.get(partition, 0):
                within.append(message)
            reached[partition] = max(reached[partition], offset + 1)
        for partition, offset in reached.items():
            if offset >= limits.get(partition, 0) and partition not in self._beyond | self._unresolved:
                self._beyond.add(partition)
                self._consumer.pause([TopicPartition(*partition)])
        return within

    def owns(self, message: Message) -> bool:
        """False for a message whose partition has left meanwhile."""
        return self._offsets.owns(message)

    def take(self, messages: Sequence[Message]) -> Ticket:
        """These leave for work."""
        return self._offsets.take(messages)

    def finish(self, ticket: Ticket) -> None:
        """These are delivered and settled: let their offsets be committed."""
        committable = self._offsets.finish(ticket)
        self._finished.update(committable)
        if committable and self._commits:
            self._uncommitted.update(committable)
            self._commit()

    def member(self) -> Any:
        """Who we are in the group now, for a transaction to commit offsets as."""
        return self._consumer.consumer_group_metadata()

    def rewind(self) -> None:
        """Read again from the committed offsets; nothing that was taken counts any more."""
        ours = list(self._offsets.assigned)
        self._owner.drop(ours)
        self._forget(ours)
        self._offsets.assign(ours)
        self._unresolved.update(ours)

    def read_again(self, partition: Partition, turn: int, offset: int, rest_s: float) -> None:
        """Read one partition again from here, after a rest; nothing happens where it has left since that turn."""
        if not self._offsets.is_turn(partition, turn):
            return
        self._owner.drop([partition])
        self._offsets.assign([partition])
        self._beyond.discard(partition)
        self._resting[partition] = time.monotonic() + rest_s
        self._finished[partition] = offset
        self._place({partition: offset})

    def forgo(self, turns: Mapping[Partition, int]) -> None:
        """Nobody works on what was taken of these since those turns: it will not be finished."""
        self._offsets.assign([partition for partition, turn in turns.items() if self._offsets.is_turn(partition, turn)])

    @property
    def rests(self) -> bool:
        """True while a partition rests before it is read again."""
        return bool(self._resting)

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
            position, idle = self._finished.get(partition), self._offsets.in_flight([partition]) == 0
            if position is None:
                position = self._ends.get(partition) if idle else None
            if position is None or high < 0:
                continue
            if idle:  # control records may stand between the last message and the end
                position = max(position, self._ends.get(partition, 0))
            lag[partition] = max(high - position, 0)
        return lag

    def close(self, timeout_s: float) -> bool:
        """Commit what is finished, then leave the group, each in ``timeout_s``; False when that was too short."""
        deadline_s = time.monotonic() + timeout_s
        self._closing = True
        self._commit()
        while self._uncommitted and time.monotonic() < deadline_s:
            self._consumer.consume(1, CLOSE_POLL_S)  # for the answer; what it reads is read again by the next owner
        if self._uncommitted:
            log.warning("Kafka does not take our last commit: these alerts will be read again")
        closing = threading.Thread(target=self._consumer.close, daemon=True)  # it may wait for a broker that hangs
        closing.start()
        closing.join(timeout_s)
        return not self._uncommitted and not closing.is_alive()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(CLOSE_LIMIT_S)

    def _accept(self, raw: KafkaMessage) -> Message | None:
        error = raw.error()
        if error is None:
            return as_message(raw)
        partition = Partition(raw.topic() or "", raw.partition() or 0)
        if error.code() == KafkaError._PARTITION_EOF:
            self._ends[partition] = raw.offset() or 0
            self._heard.add(partition)
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            if self._is_astray(partition, at := raw.offset()):
                self._astray[partition] = at
            else:
                self._halted.add(partition)
        elif is_hopeless(error):
            what = f"cannot read {partition.topic}" if partition.topic else "the broker refuses us"
            self._fatal = self._fatal or self._refusal(what, error)
        elif error.code() in EXPIRED:
            self._repeats.warn(f"topic {partition.topic} is not there (any more); the others go on")
        else:
            self._repeats.warn(f"reading {partition.topic}: {error.name()}", detail=error.str())
        return None

    def _is_astray(self, partition: Partition, at: int | None) -> bool:
        """False for word of a position that we have left meanwhile: librdkafka's own first one comes late at times, and
        to believe it would be to read everything again. But it stops fetching where it says so."""
        if (position := self._position.get(partition)) is None:
            return True
        return at is not None and at >= 0 and at >= position

    def _go_on(self) -> None:
        """Have these fetched from where we are: what librdkafka holds of them comes again, nothing is read again."""
        ours = (self._halted & self._offsets.assigned) - self._astray.keys()
        self._halted.clear()
        if halted := {p: at for p in ours if (at := self._position.get(p, -1)) >= 0}:
            log.info("fetching halted at a position that was left; it goes on", extra=facts(partitions=len(halted)))
            self._place(halted)

    def _resolve(self) -> None:
        """Begin a turn at what is committed, and let the rows before it be settled; later where nobody answers."""
        self._unresolved &= self._offsets.assigned
        if not self._unresolved or time.monotonic() - self._asked_s < ASK_AGAIN_S:
            return
        unresolved = [TopicPartition(*partition) for partition in self._unresolved]
        try:
            answers = {
                Partition(a.topic, a.partition): a.offset for a in self._consumer.committed(unresolved, ANSWER_S)
            }
            for partition, offset in answers.items():
                self._owner.settle_below(partition, max(offset, 0))
        except (KafkaException, RetryableError) as error:
            self._asked_s = time.monotonic()
            self._repeats.warn("not known yet what is committed", error=str(error))
            return
        self._unresolved.clear()
        self._place({p: offset if offset >= 0 else OFFSET_BEGINNING for p, offset in answers.items()})

    def _refusal(self, what: str, error: KafkaError) -> FatalError:
        value = refused_value(error, self._configuration)
        return FatalError(f"{what}: {explained(error)}{f' ({value})' if value else ''}")

    def _find_positions(self) -> None:
        """Begin at the log's start where the group has no position, or one that has fallen out of the log."""
        if time.monotonic() - self._asked_s < ASK_AGAIN_S:
            return
        astray = {p: at for p, at in self._astray.items() if p in self._offsets.assigned}
        try:
            answers = self._consumer.offsets_for_times(
                [TopicPartition(*partition, OFFSET_BEGINNING) for partition in astray], ANSWER_S
            )
        except KafkaException as error:
            self._asked_s = time.monotonic()
            self._repeats.warn("the broker does not say where a log begins", error=str(error))
            return
        starts = {Partition(a.topic, a.partition): a.offset for a in answers if a.error is None and a.offset >= 0}
        self._astray = {p: at for p, at in astray.items() if p not in starts}
        if self._astray:
            self._asked_s = time.monotonic()
        for partition, start in starts.items():
            if (position := astray[partition]) is not None and position >= 0:
                self._tell_out_of_range(partition, position, start)
        if starts:
            self._place(starts)

    def _tell_out_of_range(self, partition: Partition, position: int, start: int) -> None:
        where = facts(topic=partition.topic, partition=partition.number, position=position, log_start=start)
        if position < start:
            log.error("alerts lost: %d to %d left the log before they were read", position, start - 1, extra=where)
            self._owner.count_lost(partition, start - position)
        else:
            log.warning(
                "the log ends before our position: its topic was made again, or cut; read from its start", extra=where
            )

    def _place(self, positions: Mapping[Partition, int]) -> None:
        """Fetch these partitions from here, whatever was read of them; the others go on where they are."""
        self._position.update(positions)
        for partition in positions:
            self._ends.pop(partition, None)  # told of another position
            self._astray.pop(partition, None)
        if self._incremental:
            self._consumer.incremental_unassign([TopicPartition(*partition) for partition in positions])
            self._consumer.incremental_assign([TopicPartition(*p, offset) for p, offset in positions.items()])
        else:
            self._consumer.assign(
                [TopicPartition(*p, self._position.get(p, OFFSET_STORED)) for p in self._offsets.assigned]
            )
        self._flow_is_stale = True  # librdkafka does not keep the flow of what is assigned anew

    def _set_flow(self, partitions: Iterable[Partition]) -> None:
        held = self._beyond | self._resting.keys()
        still = [TopicPartition(*partition) for partition in partitions if self._paused or partition in held]
        flowing = [TopicPartition(*partition) for partition in partitions if not (self._paused or partition in held)]
        for change, chosen in ((self._consumer.pause, still), (self._consumer.resume, flowing)):
            try:
                if chosen:
                    change(chosen)
            except KafkaException as error:  # a partition that left in this very moment has no flow
                log.debug("flow: %s", error)

    def _end_rests(self) -> None:
        rested = [partition for partition, until_s in self._resting.items() if time.monotonic() >= until_s]
        for partition in rested:
            del self._resting[partition]
            self._flow_is_stale = True

    def _on_assign(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        ours = [Partition(p.topic, p.partition) for p in partitions]
        self._owner.drop(ours)
        self._forget(ours)
        self._offsets.assign(ours)
        self._assigned_s = time.monotonic()
        if not self._commits:
            self._unresolved.update(ours)
            self._asked_s = 0.0
        self._joined = True
        self._ever_assigned = self._ever_assigned or bool(ours)
        log.info("partitions assigned", extra=facts(partitions=_counted(ours)))
        self._flow_is_stale = True  # librdkafka may keep the flow that a partition had when it left

    def _on_revoke(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        if self._closing:  # drained and committed already, as far as that was possible
            return
        leaving = [Partition(p.topic, p.partition) for p in partitions]
        begun_s = time.monotonic()
        self._owner.drop(leaving)
        drained = self._owner.drain(leaving)
        self._commit()  # librdkafka lets the partitions go when the answer is there
        log.info(
            "partitions leave",
            extra=facts(partitions=_counted(leaving), drained=drained, waited_s=time.monotonic() - begun_s),
        )
        self._forget(leaving)
        self._offsets.release(leaving)

    def _on_lost(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        lost = [Partition(p.topic, p.partition) for p in partitions]
        log.warning("partitions lost: others may read them already", extra=facts(partitions=_counted(lost)))
        self._owner.drop(lost)
        self._forget(lost)
        self._offsets.release(lost)

    def _forget(self, partitions: Iterable[Partition]) -> None:
        for partition in partitions:
            for table in (
                *(self._position, self._finished, self._ends, self._uncommitted),
                *(self._astray, self._resting),
            ):
                table.pop(partition, None)
            for names in (self._unresolved, self._heard, self._beyond, self._halted):
                names.discard(partition)

    def _commit(self) -> None:
        if not self._uncommitted:
            return
        self._committed_s = time.monotonic()
        offsets = [TopicPartition(*partition, offset) for partition, offset in self._uncommitted.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            self._repeats.warn("commit failed; these alerts will be read again", error=str(error))

    def _on_commit(self, error: KafkaError | None, partitions: Sequence[TopicPartition]) -> None:
        if error is not None and error.code() != KafkaError._NO_OFFSET:
            self._repeats.warn("commit failed; it is tried again", error=error.str())
            return
        for answer in partitions:
            partition = Partition(answer.topic, answer.partition)
            if answer.error is None and self._uncommitted.get(partition) == answer.offset:
                del self._uncommitted[partition]

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal() or (is_hopeless(error) and not self._ever_assigned):
            self._fatal = self._refusal("the broker refuses us", error)
        else:
            self._unreached_s = time.monotonic()
            self._repeats.warn(f"consumer: {error.name()}", detail=error.str())


def _counted(partitions: Sequence[Partition]) -> dict[str, int]:
    return dict(Counter(partition.topic for partition in partitions))
