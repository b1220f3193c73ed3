"""The worker's thread: each batch is processed, delivered, settled. Knows no consumer.

A failure that may pass is met by trying the same step again, with growing waits; any other ends the service.
"""

import queue
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from broker_filter.classify.outcome import BatchResult
from broker_filter.config import LifeSettings
from broker_filter.errors import AwaitedError, ContendedError, FatalError, RetryableError
from broker_filter.kafka.offsets import Ticket
from broker_filter.kafka.transactions import AbortedError, TransactionalSink
from broker_filter.logs import facts, logger
from broker_filter.monitoring.health import Health
from broker_filter.monitoring.ledger import Ledger
from broker_filter.monitoring.metrics import Metrics
from broker_filter.records import FinishedBatch, Message, Outcome, Partition, partition_of, rejections_by_message
from broker_filter.series.store import StoreStats
from broker_filter.service.internal_watch import InternalWatch
from broker_filter.service.retries import check_attempt, wait_s

STATS_EVERY_S = 5.0
RELEASE_POLL_S = 0.1  # how often a worker without work looks whether held commits are due
STEP_LIMIT_S = 5.0  # how long a step under way may take to end before the store is closed under it
log = logger("worker")
T = TypeVar("T")


class Works(Protocol):
    """What is asked of the pipeline."""

    def process(self, messages: Sequence[Message]) -> BatchResult: ...
    def refuse_without_room(self, result: BatchResult) -> None: ...
    def prepare(self, result: BatchResult) -> None: ...
    def settle(self, result: BatchResult) -> None: ...


class Delivers(Protocol):
    """What is asked of the sink."""

    def deliver(self, outcomes: Sequence[Outcome]) -> None: ...
    def give_up(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages that are worked on together."""

    messages: tuple[Message, ...]
    ticket: Ticket
    opened_s: float  # monotonic time at which its first message came
    member: Any = None  # of the group when the batch was taken, where offsets are committed with the records
    epoch: int = 0  # of the readings: after a rewind the batches of earlier ones are not worked on

    def without(self, partitions: Collection[Partition]) -> "Batch":
        """The messages of the other partitions."""
        if not partitions:
            return self
        messages = tuple(message for message in self.messages if partition_of(message) not in partitions)
        return replace(self, messages=messages, ticket=self.ticket.without(partitions))


@dataclass(frozen=True, slots=True)
class PutBack:
    """A partition whose messages are to be read again from an offset, after a rest."""

    partition: Partition
    turn: int  # of its assignment
    offset: int
    rest_s: float


class _AbandonedError(Exception):
    """The service ends, and does not wait for another attempt."""


class BatchWorker:
    """One thread that works on batches in their order.

    Parameters
    ----------
    queue_limit
        Batches that may wait.
    stats
        How full the store is.
    witnesses
        Called with each finished batch, after its accounts are entered; they are quick and do not fail.
    transactions
        The sink, where it commits offsets with the records; ``epoch`` rises each time that one is aborted, and whoever
        submits then reads again from the committed offsets.
    """

    def __init__(
        self,
        pipeline: Works,
        sink: Delivers,
        ledger: Ledger,
        metrics: Metrics,
        health: Health,
        life: LifeSettings,
        queue_limit: int,
        stats: Callable[[], StoreStats] | None = None,
        witnesses: Sequence[Callable[[FinishedBatch], None]] = (),
        transactions: TransactionalSink | None = None,
    ) -> None:
        self._transactions = transactions
        self._aborts = 0  # one after the other
        self.epoch = 0
        self._pipeline, self._sink, self._ledger, self._metrics, self._health = pipeline, sink, ledger, metrics, health
        self._life, self._stats, self._witnesses = life, stats, tuple(witnesses)
        self._waiting: queue.Queue[Batch | None] = queue.Queue()
        self._at_work = False
        self._queue_limit = queue_limit
        self._finished: queue.SimpleQueue[Ticket] = queue.SimpleQueue()
        self._back: queue.SimpleQueue[PutBack] = queue.SimpleQueue()
        self._gone: dict[Partition, int] = {}  # the turn in which a partition was put back
        self._awaited: dict[Partition, int] = {}  # how often, one time after the other
        self._abandon, self._release = threading.Event(), threading.Event()
        self._watch = InternalWatch()
        self._error: FatalError | None = None
        self._stats_due_s, self._evicted, self._damaged_rows = 0.0, 0, 0
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    @property
    def full(self) -> bool:
        """True while as many batches wait as may."""
        return self._waiting.qsize() >= self._queue_limit

    @property
    def idle(self) -> bool:
        """True while there is nothing to work on."""
        return self._waiting.empty() and not self._at_work

    def submit(self, batch: Batch) -> None:
        """Put a batch in the queue; it is never refused."""
        self._waiting.put(batch)

    def finished(self, timeout_s: float = 0.0) -> list[Ticket]:
        """Tickets of batches that are delivered and settled, waiting for the first at most ``timeout_s``."""
        tickets: list[Ticket] = []
        try:
            tickets.append(self._finished.get(timeout=timeout_s) if timeout_s > 0 else self._finished.get_nowait())
            while True:
                tickets.append(self._finished.get_nowait())
        except queue.Empty:
            pass
        return tickets

    def put_back(self) -> list[PutBack]:
        """Partitions to read again."""
        back = []
        while not self._back.empty():
            back.append(self._back.get())
        return back

    def release_held(self) -> None:
        """Finish what was delivered and settled and waits for its commit alone: partitions leave, or nothing comes."""
        self._release.set()

    @property
    def failed(self) -> bool:
        """True when something ended the worker that no waiting mends."""
        return self._error is not None

    def raise_failure(self) -> None:
        """Raise what ended the worker, if anything did.

        Raises
        ------
        FatalError
        """
        if self._error is not None:
            raise self._error

    def stop(self, timeout_s: float) -> bool:
        """Finish what waits, but for at most ``timeout_s``, then give up; True when all was finished."""
        self._waiting.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        ended = not self._thread.is_alive()
        self._abandon.set()
        if not ended:
            self._sink.give_up()
            self._thread.join(STEP_LIMIT_S)
        return ended and not self.failed

    def _run(self) -> None:
        try:
            while not self._abandon.is_set() and (batch := self._next_batch()) is not None:
                self._release.clear()
                self._at_work = True
                self._work(batch)
                self._at_work = False
            self._finish(self._watch.release())
        except _AbandonedError:
            return
        except FatalError as error:
            self._error = error
        except Exception as error:  # the service's own loop: whatever it is, nothing more is committed
            log.error("unforeseen failure", exc_info=error)
            self._error = FatalError(f"unforeseen failure, please report it: {type(error).__name__}: {error}")

    def _next_batch(self) -> Batch | None:
        """Wait for the next batch; meanwhile let go what was held back."""
        while self._watch.holds:
            try:
                return self._waiting.get(timeout=RELEASE_POLL_S)
            except queue.Empty:
                self._finish(self._watch.release() if self._release.is_set() else self._watch.due())
        return self._waiting.get()

    def _finish(self, tickets: Sequence[Ticket]) -> None:
        for ticket in tickets:
            self._finished.put(ticket)

    def _work(self, batch: Batch) -> None:
        if batch.epoch < self.epoch:
            return  # its messages come again
        batch = batch.without([p for p, turn in batch.ticket.turns.items() if self._gone.get(p) == turn])
        if not batch.messages:
            return
        waited_s = time.monotonic() - batch.opened_s
        try:
            result = self._until_it_works(lambda: self._pipeline.process(batch.messages), "process")
        except ContendedError as error:
            self._read_again(batch, error)
            return
        except AwaitedError as error:
            self._put_aside(batch, error)
            return
        self._watch.see(result.outcomes)
        begun_s = time.monotonic()
        if not self._deliver(batch, result):
            return
        delivered_s = time.monotonic()
        self._until_it_works(lambda: self._pipeline.settle(result), "settle")
        settled_s = time.monotonic()
        self._health.progressed()
        for partition in batch.ticket.turns:
            self._awaited.pop(partition, None)
        self._ledger.enter(result)
        metrics, after_s = self._metrics, {"deliver": delivered_s - begun_s, "settle": settled_s - delivered_s}
        for stage, seconds in after_s.items():
            metrics.observe("ictc_stage_duration_seconds", seconds, stage=stage)
        metrics.observe("ictc_batch_alerts", len(batch.messages))
        metrics.observe("ictc_batch_wait_seconds", waited_s)
        metrics.set("ictc_last_progress_timestamp_seconds", time.time())
        done = FinishedBatch(
            result,
            len(batch.messages),
            len(batch.ticket.held),
            {**result.durations_s, **after_s},
            waited_s,
            settled_s - batch.opened_s,
        )
        self._tell(done)
        for witness in self._witnesses:
            witness(done)
        self._finish(self._watch.finish(batch.ticket))  # last: what may be committed is accounted for, and told
        if self._stats is not None and settled_s >= self._stats_due_s:
            self._stats_due_s = settled_s + STATS_EVERY_S
            self._measure_store(self._stats)

    def _put_aside(self, batch: Batch, error: AwaitedError) -> None:
        """Have the partitions read again, later, whose messages cannot be decoded yet; work on the others now."""
        aside = {partition_of(batch.messages[place]) for place in error.places}
        for partition in aside:
            attempt = self._awaited[partition] = self._awaited.get(partition, 0) + 1
            check_attempt(self._life, attempt, "process a batch", error)
            rest_s = wait_s(self._life, attempt)
            turn = self._gone[partition] = batch.ticket.turns[partition]
            first = next(m.origin.offset for m in batch.messages if partition_of(m) == partition)
            self._back.put(PutBack(partition, turn, first, rest_s))
            log.warning(
                "alerts wait for their schema; other partitions go on",
                extra=facts(
                    topic=partition.topic, partition=partition.number, error=str(error), attempt=attempt, rest_s=rest_s
                ),
            )
        self._metrics.count("ictc_batch_retries")
        self._work(batch.without(aside))
        self._health.in_trouble(str(error))

    def _deliver(self, batch: Batch, result: BatchResult) -> bool:
        """Publish; False when the transaction was aborted and the messages must be read again."""
        sink = self._transactions
        self._until_it_works(lambda: self._pipeline.refuse_without_room(result), "find room for")
        if sink is None:
            self._until_it_works(lambda: self._sink.deliver(result.outcomes), "deliver")
            return True
        self._until_it_works(lambda: self._pipeline.prepare(result), "prepare")
        try:
            sink.deliver_with_offsets(result.outcomes, batch.ticket.next_offsets, batch.member)
        except AbortedError as error:
            self._metrics.count("ictc_transactions_aborted")
            self._read_again(batch, error)
            return False
        self._aborts = 0
        return True

    def _read_again(self, batch: Batch, error: AbortedError | ContendedError) -> None:
        """Have the batch's messages, and all that came after them, read again from the committed offsets."""
        self._aborts += 1
        check_attempt(self._life, self._aborts, "commit a batch", error)
        self._health.in_trouble(str(error))
        log.warning(
            "batch aborted: nothing of it is visible, its alerts are read again",
            extra=facts(error=str(error), alerts=len(batch.messages), attempt=self._aborts),
        )
        if self._aborts > 1 and self._abandon.wait(wait_s(self._life, self._aborts - 1)):
            raise _AbandonedError from error
        if self._transactions is not None:
            self._until_it_works(self._transactions.begin, "begin transactions")
        self.epoch = batch.epoch + 1

    def _until_it_works(self, step: Callable[[], T], name: str) -> T:
        attempt = 0
        while True:
            try:
                return step()
            except (ContendedError, AwaitedError):
                raise
            except RetryableError as error:
                attempt += 1
                check_attempt(self._life, attempt, f"{name} a batch", error)
                pause_s = wait_s(self._life, attempt)
                self._health.in_trouble(str(error))
                self._metrics.count("ictc_batch_retries")
                log.warning(
                    "%s failed, next attempt in %.1f s", name, pause_s, extra=facts(error=str(error), attempt=attempt)
                )
                if self._abandon.wait(pause_s):
                    raise _AbandonedError from error

    def _tell(self, done: FinishedBatch) -> None:
        accounts = done.report.accounts
        log.info(
            "batch",
            extra=facts(
                alerts=done.messages,
                classified=accounts.classified,
                not_classified=sum(accounts.not_classified.values()),
                rejected=sum(accounts.rejected.values()),
                revisions=accounts.revisions,
                waited_s=round(done.waited_s, 4),
                total_s=round(done.total_s, 4),
            ),
        )
        for rejected, count in rejections_by_message(done.report.outcomes):
            origin = rejected.message.origin
            log.warning(
                "rejected",
                extra=facts(
                    reason=str(rejected.reason),
                    detail=rejected.detail,
                    records=count,
                    topic=origin.source,
                    partition=origin.partition,
                    offset=origin.offset,
                ),
            )

    def _measure_store(self, ask: Callable[[], StoreStats]) -> None:
        try:
            stats = ask()
        except RetryableError as error:  # the batch is settled: what a store holds can be asked next time
            log.warning("the store does not say how full it is", extra=facts(error=str(error)))
            return
        self._metrics.set("ictc_series_held", stats.objects)
        self._metrics.set("ictc_series_bytes", stats.bytes)
        self._metrics.count("ictc_series_evicted", max(stats.evicted_objects - self._evicted, 0))
        self._evicted = max(stats.evicted_objects, self._evicted)
        self._metrics.count("ictc_series_damaged", max(stats.damaged_rows - self._damaged_rows, 0))
        self._damaged_rows = max(stats.damaged_rows, self._damaged_rows)
