"""Process, deliver, settle: in this order, again when it may pass, not at all when it will not."""

import time
from collections.abc import Callable, Sequence

import pytest

from broker_filter.classify.outcome import BatchResult
from broker_filter.config import LifeSettings
from broker_filter.errors import AwaitedError, ContendedError, FatalError, RetryableError
from broker_filter.kafka.offsets import Offsets
from broker_filter.monitoring.health import Health
from broker_filter.monitoring.ledger import Ledger
from broker_filter.monitoring.metrics import Metrics
from broker_filter.records import Classification, Message, Origin, Outcome, Partition, account
from broker_filter.series.store import StoreStats
from broker_filter.service.worker import Batch, BatchWorker

WAIT_S = 5.0


class Rooms:
    """A pipeline and a sink that write down what is asked of them, and fail as told."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.failures: dict[str, list[Exception]] = {}

    def _step(self, name: str) -> None:
        if self.failures.get(name):
            raise self.failures[name].pop(0)
        self.done.append(name)

    def process(self, messages: Sequence[Message]) -> BatchResult:
        self._step("process")
        outcomes = tuple(Outcome(m, classification_of(m)) for m in messages)
        return BatchResult(outcomes, account(outcomes), {}, ())

    def refuse_without_room(self, result: BatchResult) -> None:
        self._step("find room")

    def deliver(self, outcomes: Sequence[Outcome]) -> None:
        self._step("deliver")

    def settle(self, result: BatchResult) -> None:
        self._step("settle")

    def give_up(self) -> None:
        self.done.append("give up")


def classification_of(message: Message) -> Classification:
    return Classification("ztf", "a", message.origin.offset, 6e4, "g", 1, {"AGN": 1.0}, "fake", "1", "t")


class Setting:
    """A worker with everything around it."""

    def __init__(self, **life) -> None:
        self.rooms, self.metrics, self.offsets = Rooms(), Metrics(), Offsets()
        self.offsets.assign([Partition("alerts", 0)])
        self.health = Health(60, time.monotonic)
        settings = LifeSettings(**{"retry_first_s": 0.01, "retry_longest_s": 0.02, **life})
        ledger = Ledger(self.metrics)
        self.worker = BatchWorker(self.rooms, self.rooms, ledger, self.metrics, self.health, settings, 2)
        self.count = 0

    def submit(self) -> None:
        messages = (Message(b"", Origin("alerts", 0, self.count)),)
        self.count += 1
        self.worker.submit(Batch(messages, self.offsets.take(messages), time.monotonic()))

    def wait_for_the_end(self) -> None:
        """Until the worker says what ended it."""
        deadline_s = time.monotonic() + WAIT_S
        while time.monotonic() < deadline_s:
            self.worker.finished(0.01)
            self.worker.raise_failure()

    def committed(self) -> int:
        committable: dict[Partition, int] = {}
        for ticket in self.worker.finished(WAIT_S):
            committable |= self.offsets.finish(ticket)
        return committable.get(Partition("alerts", 0), 0)


@pytest.fixture
def setting():
    """A worker that is stopped at the end."""
    made: list[Setting] = []

    def make(**life) -> Setting:
        made.append(Setting(**life))
        return made[-1]

    yield make
    for each in made:
        each.worker.stop(0.0)


def test_delivered_then_settled_then_finished(setting: Callable[..., Setting]):
    """A ticket is finished only after its outcomes were delivered and its series settled."""
    s = setting()
    s.submit()
    s.worker.start()
    assert s.committed() == 1
    assert s.rooms.done == ["process", "find room", "deliver", "settle"]


@pytest.mark.parametrize("step", ["process", "find room", "deliver", "settle"])
def test_what_may_pass_is_tried_again(setting: Callable[..., Setting], step: str):
    """Only the step that failed is repeated, and the trouble is told until there is progress."""
    s = setting()
    s.rooms.failures[step] = [RetryableError("away"), RetryableError("away")]
    s.submit()
    s.worker.start()
    assert s.committed() == 1
    assert s.rooms.done == ["process", "find room", "deliver", "settle"]
    assert s.metrics.value("ictc_batch_retries_total") == 2
    assert s.health.alive().text == "ok"


def test_a_partition_whose_schema_is_awaited_is_put_back(setting: Callable[..., Setting]):
    """The other partitions of its batch are finished; what waits of it is passed over, until it comes again."""
    s = setting()
    waiting, going = Partition("alerts", 0), Partition("alerts", 1)
    s.offsets.assign([going])
    s.rooms.failures["process"] = [AwaitedError(RetryableError("registry away"), [1])]
    first = tuple(Message(b"", Origin(*partition, n)) for n, partition in ((7, going), (3, waiting), (8, going)))
    later = (Message(b"", Origin(*waiting, 4)), Message(b"", Origin(*going, 9)))
    for messages in (first, later):
        s.worker.submit(Batch(messages, s.offsets.take(messages), time.monotonic()))
    s.worker.start()
    committable: dict[Partition, int] = {}
    deadline_s = time.monotonic() + WAIT_S
    while committable.get(going) != 10 and time.monotonic() < deadline_s:
        for ticket in s.worker.finished(0.1):
            committable |= s.offsets.finish(ticket)
    assert committable == {going: 10}
    (back,) = s.worker.put_back()
    assert (back.partition, back.offset) == (waiting, 3)
    assert s.offsets.is_turn(waiting, back.turn)
    s.offsets.assign([waiting])  # it is read again
    again = (Message(b"", Origin(*waiting, 3)), Message(b"", Origin(*waiting, 4)))
    s.worker.submit(Batch(again, s.offsets.take(again), time.monotonic()))
    assert [s.offsets.finish(ticket) for ticket in s.worker.finished(WAIT_S)] == [{waiting: 5}]


def test_a_batch_that_another_process_contends_is_read_again(setting: Callable[..., Setting]):
    """Nothing of it is delivered, nor of the batches behind it; they come again in a new epoch."""
    s = setting()
    s.rooms.failures["process"] = [ContendedError("another batch works on alerts of ztf/a")]
    s.submit()
    s.submit()
    s.worker.start()
    deadline_s = time.monotonic() + WAIT_S
    while s.worker.epoch == 0 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert s.worker.finished(0.1) == []
    assert s.rooms.done == []
    assert s.worker.epoch == 1


@pytest.mark.parametrize("error", [FatalError("disk full"), KeyError("a bug")])
def test_what_will_not_pass_ends_the_worker(setting: Callable[..., Setting], error: Exception):
    """Batches that were finished before are still committed; the failed one, and those after it, never."""
    s = setting()
    s.submit()
    s.worker.start()
    assert s.committed() == 1
    s.rooms.failures["deliver"] = [error]
    s.submit()
    s.submit()
    with pytest.raises(FatalError, match=r"disk full|a bug"):
        s.wait_for_the_end()
    assert s.rooms.done.count("settle") == 1


def test_patience_can_end(setting: Callable[..., Setting]):
    """With a limit of attempts the service gives up with the last reason."""
    s = setting(retry_limit=2)
    s.rooms.failures["deliver"] = [RetryableError("away")] * 5
    s.submit()
    s.worker.start()
    with pytest.raises(FatalError, match=r"gave up after 3 attempts to deliver a batch .life\.retry_limit.: away"):
        s.wait_for_the_end()


def test_full_is_told_not_enforced(setting: Callable[..., Setting]):
    """The poll loop hears that it must pause; what it has taken is never refused."""
    s = setting()
    assert not s.worker.full
    for _ in range(3):
        s.submit()
    assert s.worker.full
    s.worker.start()
    assert s.worker.stop(WAIT_S)
    assert not s.worker.full
    assert s.committed() == 3


def test_a_drain_has_an_end(setting: Callable[..., Setting]):
    """A batch that cannot be delivered in time is abandoned, and not finished."""
    s = setting(retry_first_s=30.0, retry_longest_s=30.0)
    s.rooms.failures["deliver"] = [RetryableError("away")] * 5
    s.submit()
    s.worker.start()
    begun_s = time.monotonic()
    assert not s.worker.stop(0.2)
    assert time.monotonic() - begun_s < 20.0  # the wait between attempts is 30
    assert "give up" in s.rooms.done
    assert s.worker.finished() == []


def test_a_drain_in_which_a_batch_fails_for_good_is_no_success(setting: Callable[..., Setting]):
    """What was finished is committed; the failure is told even though the worker has ended in time."""
    s = setting()
    for _ in range(3):
        s.submit()
    s.rooms.failures["settle"] = [RetryableError("busy"), FatalError("disk full")]
    s.worker.start()
    assert not s.worker.stop(WAIT_S)
    assert s.committed() == 0
    with pytest.raises(FatalError, match="disk full"):
        s.worker.raise_failure()


def test_a_store_that_does_not_answer_how_full_it_is(setting: Callable[..., Setting]):
    """What is delivered and settled stays so: a question to the store is no reason to end."""
    s = setting()
    calls = []

    def stats() -> StoreStats:
        calls.append(1)
        raise RetryableError("away")

    s.worker._stats = stats
    s.submit()
    s.worker.start()
    assert s.committed() == 1
    assert s.worker.stop(WAIT_S)
    assert calls
    s.worker.finished()
