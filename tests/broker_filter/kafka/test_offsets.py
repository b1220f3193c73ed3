"""Which positions may be committed, and when."""

from hypothesis import given
from hypothesis import strategies as st

from broker_filter.kafka.offsets import Offsets
from broker_filter.records import Message, Origin, Partition

A0, A1 = Partition("a", 0), Partition("a", 1)


def message(partition: Partition, offset: int) -> Message:
    return Message(b"", Origin(partition.topic, partition.number, offset))


def test_one_past_the_highest_of_each_partition():
    """What is committed is where the next reader begins."""
    offsets = Offsets()
    offsets.assign([A0, A1])
    ticket = offsets.take([message(A0, 5), message(A1, 9), message(A0, 6)])
    assert offsets.in_flight() == 3
    assert offsets.finish(ticket) == {A0: 7, A1: 10}
    assert offsets.in_flight() == 0


def test_nothing_of_a_partition_that_left():
    """A batch that ends after its partition went commits only for those that stayed."""
    offsets = Offsets()
    offsets.assign([A0, A1])
    ticket = offsets.take([message(A0, 5), message(A1, 9)])
    offsets.release([A0])
    assert not offsets.owns(message(A0, 6))
    assert offsets.finish(ticket) == {A1: 10}


def test_nothing_of_an_earlier_turn():
    """A partition that left and came back is read anew from its committed position; the old batch counts no more."""
    offsets = Offsets()
    offsets.assign([A0])
    old = offsets.take([message(A0, 5)])
    offsets.release([A0])
    offsets.assign([A0])
    new = offsets.take([message(A0, 3)])
    assert offsets.finish(old) == {}
    assert offsets.in_flight([A0]) == 1
    assert offsets.finish(new) == {A0: 4}


def test_in_flight_by_partition():
    """A rebalance waits only for what it takes away."""
    offsets = Offsets()
    offsets.assign([A0, A1])
    ticket = offsets.take([message(A0, 1)])
    assert (offsets.in_flight([A0]), offsets.in_flight([A1])) == (1, 0)
    assert ticket.touches([A0])
    assert not ticket.touches([A1])


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("take"), st.integers(1, 4)),
            st.tuples(st.just("finish"), st.just(0)),
            st.tuples(st.just("move"), st.just(0)),
        ),
        max_size=40,
    )
)
def test_commits_never_pass_what_is_finished(steps):
    """Whatever batches and rebalances come, everything before a committed offset was finished."""
    offsets = Offsets()
    offsets.assign([A0])
    position, committed, flying, finished = 0, 0, [], set()
    for act, number in steps:
        if act == "take":
            taken = [message(A0, position + i) for i in range(number)]
            position += number
            flying.append((offsets.take(taken), taken))
        elif act == "finish" and flying:
            ticket, taken = flying.pop(0)
            finished |= {m.origin.offset for m in taken}
            committed = max(committed, offsets.finish(ticket).get(A0, 0))
        elif act == "move":
            offsets.release([A0])
            offsets.assign([A0])
            position = committed
    assert set(range(committed)) <= finished
