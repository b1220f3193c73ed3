"""When a micro-batch is closed."""

import packets
import pytest

from broker_filter.avro.container import records_of
from broker_filter.kafka.batches import Batcher
from broker_filter.records import Message, Origin


def messages(count: int, size: int = 10, start: int = 0) -> list[Message]:
    return [Message(b"x" * size, Origin("t", 0, start + i)) for i in range(count)]


def offsets(batch: tuple[Message, ...]) -> list[int]:
    return [message.origin.offset for message in batch]


def test_closed_by_number():
    """A batch is due as soon as it is full, and what is over waits for the next."""
    batcher = Batcher(3, 1000, 5.0)
    batcher.add(messages(2), 0.0)
    assert not batcher.due(0.0)
    batcher.add(messages(2, start=2), 1.0)
    assert batcher.due(1.0)
    opened_s, batch = batcher.take()
    assert (opened_s, offsets(batch)) == (0.0, [0, 1, 2])
    assert len(batcher) == 1
    assert not batcher.due(1.0)


def test_closed_by_age_of_the_oldest():
    """One alert does not wait longer than it should, counted from its own arrival."""
    batcher = Batcher(3, 1000, 5.0)
    batcher.add(messages(1), 10.0)
    assert not batcher.due(14.9)
    assert batcher.due(15.0)
    assert batcher.take()[0] == 10.0


def test_closed_sooner_while_nothing_is_in_work():
    """Where the worker is idle a quarter of the wait is enough; what is left of it is told."""
    batcher = Batcher(3, 1000, 4.0)
    assert batcher.due_in_s(10.0) == float("inf")
    batcher.add(messages(1), 10.0)
    assert (batcher.due_in_s(10.5), batcher.due_in_s(10.5, idle=True)) == (3.5, 0.5)
    assert batcher.due(11.0, idle=True)
    assert not batcher.due(11.0)
    batcher.add(messages(2), 10.0)
    assert batcher.due_in_s(10.0) == 0


def test_closed_by_bytes():
    """Large packets make small batches; a packet over the limit is a batch of its own."""
    batcher = Batcher(100, 25, 5.0)
    batcher.add(messages(3), 0.0)
    batcher.add(messages(1, size=70, start=3), 0.0)
    batcher.add(messages(1, start=4), 0.0)
    assert [offsets(batcher.take()[1]) for _ in range(4)] == [[0, 1], [2], [3], [4]]


def test_nothing_is_not_due():
    """Without alerts there is no batch, however late."""
    batcher = Batcher(1, 1, 0.0)
    assert not batcher.due(1e9)
    with pytest.raises(IndexError):
        batcher.take()


def test_unwanted_messages_go():
    """What left with its partition is in no batch, and no longer counts."""
    batcher = Batcher(2, 1000, 5.0)
    batcher.add(messages(4), 0.0)
    batcher.keep(lambda message: message.origin.offset == 2)
    assert not batcher.due(0.0)
    assert offsets(batcher.take()[1]) == [2]


def test_a_container_counts_with_its_alerts() -> None:
    """Messages of many records close a batch sooner; one alone may hold more than the limit, whatever is broken one."""
    schema = {"type": "record", "name": "a", "fields": [{"name": "x", "type": "long"}]}
    records = [{"x": number} for number in range(40)]
    many = [packets.container(schema, records, codec=codec, sync_interval=100) for codec in ("null", "deflate", "xz")]
    assert [records_of(value, 1_000) for value in many] == [40, 40, 40]
    assert records_of(many[0], 30) == 30
    assert [records_of(value, 1_000) for value in (b"", b"Obj\x01", b"Obj\x01 and no more", bytes(9))] == [1] * 4
    batcher = Batcher(100, 1 << 30, 5.0)
    batcher.add([Message(value, Origin("t")) for value in (*many, *many)], now_s=0.0)
    assert batcher.due(0.0)
    assert [len(batcher.take()[1]) for _ in range(2)] == [2, 2]
    assert not batcher.due(0.0)
    batcher.keep(lambda _: False)
    alone = Batcher(10, 1 << 30, 5.0)
    alone.add([Message(value, Origin("t")) for value in many], now_s=0.0)
    assert [len(alone.take()[1]) for _ in range(3)] == [1, 1, 1]
