"""Many internal rejections in a row end the service, and nothing of them is committed."""

import time
from collections.abc import Iterator

import pytest

from broker_filter.classify.outcome import BatchResult
from broker_filter.config import LifeSettings
from broker_filter.errors import FatalError, Rejection
from broker_filter.kafka.offsets import Offsets, Ticket
from broker_filter.monitoring.health import Health
from broker_filter.monitoring.ledger import Ledger
from broker_filter.monitoring.metrics import Metrics
from broker_filter.records import Classification, Message, Origin, Outcome, Partition, Rejected, account
from broker_filter.service.internal_watch import HELD_S, WINDOW_ALERTS, InternalWatch
from broker_filter.service.worker import Batch, BatchWorker

BATCH = 100


def outcomes_of(kinds: str) -> list[Outcome]:
    """Of each letter one: i internal, c classified, x rejected as corrupt."""
    made = []
    for number, kind in enumerate(kinds):
        message = Message(b"", Origin("alerts", 0, number))
        if kind == "c":
            made.append(Outcome(message, Classification("ztf", "a", number, 6e4, "g", 1, {"AGN": 1.0}, "f", "1", "t")))
        else:
            reason = Rejection.INTERNAL if kind == "i" else Rejection.CORRUPT
            made.append(Outcome(message, Rejected(message, reason, "", "ValueError" if kind == "i" else "")))
    return made


def ticket(number: int) -> Ticket:
    return Ticket(((Partition("alerts", 0), number, 1, 1),))


class Clock:
    """Seconds that pass when told."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def committed(kinds: str, watch: InternalWatch) -> list[int]:
    """Positions that were let go, batch by batch, until the end or the failure."""
    positions: list[int] = []
    for start in range(0, len(kinds), BATCH):
        watch.see(outcomes_of(kinds[start : start + BATCH]))
        positions += [t.held[0][1] for t in watch.finish(ticket(start + BATCH))]
    return positions


def test_sound_alerts_are_committed_at_once() -> None:
    """Without an internal rejection no batch waits, whatever else is rejected."""
    watch = InternalWatch()
    assert committed("cx" * BATCH, watch) == [BATCH, 2 * BATCH]
    assert not watch.holds


@pytest.mark.parametrize("kinds", ["i" * 2_000, "ci" * 500 + "i" * 3, "c" * 499 + "i" * 501, "iic" * 500])
def test_more_than_half_of_a_thousand_end_it(kinds: str) -> None:
    """The service stops, and of the failing run nothing was committed, also where it began among sound alerts."""
    watch = InternalWatch(Clock())
    positions: list[int] = []
    with pytest.raises(FatalError, match="more than half: none of them is committed"):
        for start in range(0, len(kinds), BATCH):
            watch.see(outcomes_of(kinds[start : start + BATCH]))
            positions += [t.held[0][1] for t in watch.finish(ticket(start + BATCH))]
    first_internal_batch = kinds.index("i") // BATCH * BATCH
    assert max(positions, default=0) <= first_internal_batch


def test_half_is_not_more_than_half() -> None:
    """500 of 1,000 go on, and what waited is committed in its order once the run is over."""
    watch = InternalWatch(Clock())
    positions = committed("ic" * 1_000 + "c" * 1_100, watch)
    assert positions == list(range(BATCH, 3_100 + BATCH, BATCH))


def test_one_odd_alert_delays_the_commit_and_nothing_else() -> None:
    """A single internal rejection holds commits until a thousand alerts were seen after it."""
    watch = InternalWatch(Clock())
    assert committed("i" + "c" * (WINDOW_ALERTS - BATCH - 1), watch) == []
    assert committed("c" * 2 * BATCH, watch)[0] == BATCH


def test_a_slow_stream_is_committed_after_a_while() -> None:
    """Where a thousand alerts take hours, a batch waits for seconds."""
    clock = Clock()
    watch = InternalWatch(clock)
    assert committed("ic", watch) == []
    clock.now_s = HELD_S - 1
    assert watch.due() == []
    clock.now_s = HELD_S
    assert [t.held[0][1] for t in watch.due()] == [BATCH]


class Rooms:
    """A pipeline that cannot decode what is odd."""

    def __init__(self) -> None:
        self.delivered = 0

    def process(self, messages: tuple[Message, ...]) -> BatchResult:
        outcomes = tuple(outcomes_of("".join(m.value.decode() for m in messages)))
        return BatchResult(outcomes, account(outcomes), {}, ())

    def deliver(self, outcomes: object) -> None:
        self.delivered += 1

    def refuse_without_room(self, result: BatchResult) -> None: ...
    def settle(self, result: BatchResult) -> None: ...
    def give_up(self) -> None: ...


@pytest.fixture
def worker() -> Iterator[tuple[BatchWorker, Offsets, Metrics]]:
    """A worker over such a pipeline, with its offsets and metrics."""
    metrics, offsets = Metrics(), Offsets()
    offsets.assign([Partition("alerts", 0)])
    made = BatchWorker(Rooms(), Rooms(), Ledger(metrics), metrics, Health(60, lambda: 0.0), LifeSettings(), 100)  # type: ignore[arg-type]
    yield made, offsets, metrics
    made.stop(0.0)


def submit(worker: BatchWorker, offsets: Offsets, kinds: str, start: int) -> None:
    messages = tuple(Message(kind.encode(), Origin("alerts", 0, start + n)) for n, kind in enumerate(kinds))
    worker.submit(Batch(messages, offsets.take(messages), 0.0))


def test_a_worker_that_fails_has_finished_none_of_the_run(worker: tuple[BatchWorker, Offsets, Metrics]) -> None:
    """The batches before the run are finished, those of the run never, and the types of exceptions are counted."""
    made, offsets, metrics = worker
    for number, kinds in enumerate(["c" * BATCH, *["i" * BATCH] * 12]):
        submit(made, offsets, kinds, number * BATCH)
    made.start()
    made._thread.join(10.0)
    with pytest.raises(FatalError, match="more than half"):
        made.raise_failure()
    positions = [offsets.finish(finished) for finished in made.finished()]
    assert positions == [{Partition("alerts", 0): BATCH}]
    assert metrics.value("ictc_internal_errors_total", exception="ValueError") > 0


def test_an_orderly_end_commits_what_waited(worker: tuple[BatchWorker, Offsets, Metrics]) -> None:
    """Few odd alerts at the end of a stream are no reason to read them again for ever."""
    made, offsets, _ = worker
    submit(made, offsets, "ci", 0)
    made.start()
    assert made.stop(10.0)
    assert [offsets.finish(finished) for finished in made.finished()] == [{Partition("alerts", 0): 2}]


def test_partitions_that_leave_do_not_wait(worker: tuple[BatchWorker, Offsets, Metrics]) -> None:
    """What waits for its commit alone is let go when asked for."""
    made, offsets, metrics = worker
    submit(made, offsets, "ci", 0)
    made.start()
    deadline_s = time.monotonic() + 10
    while not metrics.value("ictc_batch_alerts_count") and time.monotonic() < deadline_s:
        assert made.finished(0.05) == []
    made.release_held()
    assert len(made.finished(10.0)) == 1
