"""Positions that may be committed, from those assigned, taken and finished. Knows nothing of Kafka's client.

Pure accounting: a position may be committed when everything before it on its partition is delivered and settled.
Batches finish in the order in which they were taken, so that is one past the highest offset of a finished batch.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from broker_filter.records import Message, Partition, partition_of


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a batch holds: of each partition the next offset, the number of messages and the turn of its assignment."""

    held: tuple[tuple[Partition, int, int, int], ...]  # partition, next offset, messages, turn

    @property
    def next_offsets(self) -> dict[Partition, int]:
        """Where each partition goes on after this batch."""
        return {partition: offset for partition, offset, *_ in self.held}

    @property
    def turns(self) -> dict[Partition, int]:
        """The turn of each partition's assignment."""
        return {partition: turn for partition, _, _, turn in self.held}

    def without(self, partitions: Collection[Partition]) -> "Ticket":
        """The same for the other partitions."""
        return Ticket(tuple(entry for entry in self.held if entry[0] not in partitions))

    def touches(self, partitions: Iterable[Partition]) -> bool:
        """True when the batch holds a message of one of these."""
        return not {partition for partition, *_ in self.held}.isdisjoint(partitions)


class Offsets:
    """Keeps account of the partitions that this process owns. Used from the poll loop alone."""

    def __init__(self) -> None:
        self._turn_of: dict[Partition, int] = {}
        self._turns = 0
        self._in_flight: Counter[Partition] = Counter()

    @property
    def assigned(self) -> frozenset[Partition]:
        """The partitions that are ours now."""
        return frozenset(self._turn_of)

    def assign(self, partitions: Iterable[Partition]) -> None:
        """These are ours from now on; what was in flight from an earlier turn no longer counts."""
        for partition in partitions:
            self._turns += 1
            self._turn_of[partition] = self._turns
            self._in_flight[partition] = 0

    def release(self, partitions: Iterable[Partition]) -> None:
        """These are no longer ours: nothing of them may be committed."""
        for partition in partitions:
            self._turn_of.pop(partition, None)
            self._in_flight.pop(partition, None)

    def owns(self, message: Message) -> bool:
        """False for a message of a partition that has left meanwhile."""
        return partition_of(message) in self._turn_of

    def is_turn(self, partition: Partition, turn: int) -> bool:
        """True while the partition is ours since that turn."""
        return self._turn_of.get(partition) == turn

    def take(self, messages: Sequence[Message]) -> Ticket:
        """A batch leaves for work; all its messages are of partitions that are ours."""
        next_offset: dict[Partition, int] = {}
        count: Counter[Partition] = Counter()
        for message in messages:
            partition = partition_of(message)
            next_offset[partition] = max(next_offset.get(partition, 0), message.origin.offset + 1)
            count[partition] += 1
        for partition, number in count.items():
            self._in_flight[partition] += number
        return Ticket(
            tuple(
                (partition, offset, count[partition], self._turn_of[partition])
                for partition, offset in next_offset.items()
            )
        )

    def finish(self, ticket: Ticket) -> dict[Partition, int]:
        """A batch was delivered and settled; the offsets to commit, of partitions that were ours all the while."""
        committable = {}
        for partition, next_offset, number, turn in ticket.held:
            if self._turn_of.get(partition) == turn:
                self._in_flight[partition] -= number
                committable[partition] = next_offset
        return committable

    def in_flight(self, partitions: Iterable[Partition] | None = None) -> int:
        """Messages taken and not finished."""
        chosen = self._turn_of if partitions is None else partitions
        return sum(self._in_flight[partition] for partition in chosen if partition in self._in_flight)
