"""The poll loop: consumer to batches to worker, and finished batches back. Knows nothing of what alerts hold.

The loop decides (when a batch is closed, when to pause) and keeps account of positions; it never blocks, because a
consumer that does not poll is put out of its group. Nothing is committed that is not delivered and settled.
"""

import logging
import math
import time
from collections.abc import Mapping, Sequence

from broker_filter.config import Settings
from broker_filter.kafka.batches import Batcher
from broker_filter.kafka.clients import consumer_configuration
from broker_filter.kafka.consumer import AlertConsumer
from broker_filter.kafka.group import GroupWatch, Member, client_id, strangers
from broker_filter.logs import Repeats, facts, logger
from broker_filter.monitoring.health import Health
from broker_filter.monitoring.ledger import Ledger, as_facts
from broker_filter.monitoring.metrics import Metrics
from broker_filter.records import Partition, partition_of
from broker_filter.series.store import Change, SeriesStore
from broker_filter.service.stop import Stop
from broker_filter.service.worker import Batch, BatchWorker, PutBack

POLL_S = 0.05  # longest wait for alerts, and so the longest wait of a finished batch for its commit
HURRIED_POLL_S = 0.01  # the same, while alerts wait for their batch and the worker may be done any moment
DRAIN_POLL_S = 0.1
MEASURE_EVERY_S = 1.0
HOLD_ALL = 2**31 - 1  # observations: nothing leaves for want of room
log = logger("loop")


def tell_store_lost(what: str, metrics: Metrics, health: Health) -> None:
    """Say in the log, the metrics and beside readiness that series begin anew, and how to have the old ones back."""
    metrics.count("ictc_store_lost")
    health.warn("store", f"{what}: series have begun anew")
    remedy = (
        "restore a copy (ictc-store), or fill a new store: from Kafka as far as it goes back with ictc-broker "
        "--from TIME --exit-on-end, from an archive with ictc-replay --store"
    )
    log.error("%s: series begin anew", what, extra=facts(remedy=remedy))


class PollLoop:
    """Over a worker that has begun; ``run`` returns when everything taken is finished or given up.

    Parameters
    ----------
    ends
        Offsets at which reading ends; None: it never does.
    """

    def __init__(
        self,
        settings: Settings,
        worker: BatchWorker,
        ledger: Ledger,
        metrics: Metrics,
        health: Health,
        store: SeriesStore,
        ends: Mapping[Partition, int] | None = None,
    ) -> None:
        self._settings, self._worker, self._ledger = settings, worker, ledger
        self._metrics, self._health = metrics, health
        batch = settings.batch
        self._batcher = Batcher(batch.alert_limit, batch.byte_limit, batch.wait_s)
        self._store, self._incarnation = store, store.incarnation
        self._exactly_once, self._epoch = settings.output.delivery == "exactly_once", 0
        self._client_id = client_id(settings.store.kind, self._incarnation)
        self._consumer = AlertConsumer(
            {**consumer_configuration(settings.kafka), "client.id": self._client_id},
            settings.kafka.topics,
            self,
            commits=not self._exactly_once,
            ends=ends,
        )
        self._warnings = Repeats(log)
        self._put_back: list[PutBack] = []  # by the worker, while partitions left
        self._group = GroupWatch(settings.kafka)
        self._paused = False
        self._measured_s = self._told_s = self._busy_s = self._arrived_s = time.monotonic()
        self._lag_partitions: set[str] = set()
        metrics.set("ictc_last_progress_timestamp_seconds", time.time())

    def run(self, stop: Stop) -> None:
        """Read until told to stop, then drain: finish what was taken, commit it, and leave the group.

        Raises
        ------
        FatalError
            What only the operator can help; nothing undelivered is committed.
        """
        with self._consumer:
            try:
                while not stop.requested and not self._idle_too_long() and not self._at_end():
                    self._turn()
            except BaseException:
                self._worker.stop(0.0)
                raise
            self._drain_all()

    def _turn(self) -> None:
        """Once round: read, close batches, commit what is finished, measure."""
        now_s = time.monotonic()
        self._health.polled()
        self._commit_finished(0.0)
        self._worker.raise_failure()
        self._read_again()
        if self._worker.epoch > self._epoch:
            self._epoch = self._worker.epoch
            self._consumer.rewind()
        self._set_flow()
        arrived = self._consumer.read(self._poll_s(now_s))
        if arrived:
            self._arrived_s = time.monotonic()
            self._batcher.add(arrived, time.monotonic())
        self._submit_due(time.monotonic())
        if now_s - self._measured_s >= MEASURE_EVERY_S:
            self._measured_s = now_s
            self._measure()
        if now_s - self._told_s >= self._settings.log.accounts_every_s:
            self._told_s = now_s
            log.info("accounts", extra=facts(**as_facts(self._ledger.total())))

    def _poll_s(self, now_s: float) -> float:
        until_due_s = self._batcher.due_in_s(now_s, self._worker.idle)
        return POLL_S if self._worker.full or math.isinf(until_due_s) else min(until_due_s, HURRIED_POLL_S)

    def _read_again(self) -> None:
        """Send partitions back to where the worker wants them."""
        self._put_back += self._worker.put_back()
        for back in self._put_back:
            self._consumer.read_again(back.partition, back.turn, back.offset, back.rest_s)
        self._put_back.clear()

    def _submit_due(self, now_s: float) -> None:
        while self._batcher.due(now_s, self._worker.idle) and not self._worker.full:
            self._submit_one()

    def _submit_one(self) -> None:
        opened_s, messages = self._batcher.take()
        member = self._consumer.member() if self._exactly_once else None
        self._worker.submit(Batch(messages, self._consumer.take(messages), opened_s, member, self._epoch))

    def _set_flow(self) -> None:
        """Pause while the worker is behind, instead of waiting: the poll loop keeps us in the group."""
        if self._worker.full and not self._paused:
            self._paused = True
            self._consumer.pause()
        elif self._paused and not self._worker.full:
            self._paused = False
            self._consumer.resume()
        self._metrics.set("ictc_paused", int(self._paused))

    def _commit_finished(self, timeout_s: float) -> None:
        for ticket in self._worker.finished(timeout_s):
            self._consumer.finish(ticket)

    def drop(self, gone: Sequence[Partition]) -> None:
        """Forget what was read of these partitions and not begun: others may read it, or we again."""
        self._batcher.keep(lambda message: partition_of(message) not in gone)

    def drain(self, leaving: Sequence[Partition]) -> bool:
        """Wait for what was begun of these partitions, and let it be committed."""
        deadline_s = time.monotonic() + self._settings.life.drain_s
        # Of a worker that has failed the loop hears next; what is not finished is not committed.
        while self._consumer.in_flight_of(leaving) > 0 and time.monotonic() < deadline_s and not self._worker.failed:
            if self._worker.epoch > self._epoch:
                return False  # the transaction under way was aborted: whoever gets the partitions reads them again
            self._health.polled()
            self._worker.release_held()
            self._commit_finished(DRAIN_POLL_S)
            self._put_back += self._worker.put_back()
            self._consumer.forgo({back.partition: back.turn for back in self._put_back if back.partition in leaving})
        return self._consumer.in_flight_of(leaving) == 0

    def settle_below(self, partition: Partition, offset: int) -> None:
        """Settle rows whose outputs were committed by a process that ended before it could do so; remove later ones.

        What a transaction that never was had prepared comes again: until then it is not known, or it would be counted
        in answers to alerts that are read before it.
        """
        settled = self._store.settle_below(partition.topic, partition.number, offset)
        unknown: dict[str, list[int]] = {}
        for row in self._store.unsettled(partition.topic, partition.number):
            unknown.setdefault(row.key, []).append(row.alert_id)
        if unknown:
            self._store.settle([Change(key, (), HOLD_ALL, 1, withdrawn=tuple(ids)) for key, ids in unknown.items()])
        if settled or unknown:
            removed = sum(map(len, unknown.values()))
            log.info(
                "settled what an earlier process had delivered, and removed what it had not",
                extra=facts(
                    topic=partition.topic, partition=partition.number, below=offset, settled=settled, removed=removed
                ),
            )

    def count_lost(self, partition: Partition, alerts: int) -> None:
        """Enter alerts that left the log before we read them."""
        self._ledger.enter_lost(partition, alerts)

    def _drain_all(self) -> None:
        begun_s = time.monotonic()
        log.info("drain", extra=facts(in_flight=self._consumer.in_flight, held=len(self._batcher)))
        while len(self._batcher) > 0:
            self._submit_one()
        drained = self._worker.stop(self._settings.life.drain_s)
        self._commit_finished(0.0)
        accounts = self._ledger.total()
        log.info(
            "accounts",
            extra=facts(**as_facts(accounts), balanced=accounts.balanced, drained=drained),
        )
        if not drained:
            log.warning(
                "stopped before all alerts in flight were delivered; they will be read again",
                extra=facts(in_flight=self._consumer.in_flight, waited_s=time.monotonic() - begun_s),
            )
        self._worker.raise_failure()

    def _at_end(self) -> bool:
        """True when everything up to the ends is done, if there are any."""
        if not self._consumer.at_ends or len(self._batcher) > 0:
            return False
        self._worker.release_held()
        return self._consumer.in_flight == 0

    def _idle_too_long(self) -> bool:
        limit_s = self._settings.life.idle_exit_s
        now_s = time.monotonic()
        if limit_s is not None and now_s - self._arrived_s >= limit_s:
            self._worker.release_held()
        idle = self._consumer.assigned and not self._consumer.is_beginning
        if not idle or self._consumer.in_flight > 0 or len(self._batcher) > 0 or self._consumer.rests:
            self._busy_s = now_s
        return limit_s is not None and now_s - self._busy_s >= limit_s

    def _measure(self) -> None:
        self._ledger.expect_partitions(self._consumer.assigned)
        lag: dict[str, int] = {}
        for partition, alerts in self._consumer.lag().items():
            lag[str(partition.number)] = lag.get(str(partition.number), 0) + alerts
        for number, alerts in lag.items():
            self._metrics.set("ictc_consumer_lag_alerts", alerts, partition=number)
        for number in self._lag_partitions - lag.keys():
            self._metrics.forget("ictc_consumer_lag_alerts", partition=number)
        self._lag_partitions = set(lag)
        self._health.waiting(max(sum(lag.values()), self._consumer.in_flight + len(self._batcher)))
        members = self._group.members(self._consumer.in_contact)
        # A member without partitions stands by; where the broker rules over the group, it alone says that we are in.
        if self._consumer.joined or self._consumer.member_id in {member.member_id for member in members}:
            self._health.ready("group")
        self._look_at_memories(members)

    def _look_at_memories(self, members: Sequence[Member]) -> None:
        """An object's alerts must meet in one memory that lasts: say so where they do not."""
        foreign = strangers(members, self._client_id)
        self._metrics.set("ictc_foreign_members", len(foreign))
        if foreign:
            text = "others of kafka.group keep their series in another store: an object's alerts are split between them"
            others = [f"{member.client_id} on {member.host}" for member in foreign]
            remedy = "one process alone with store.kind lmdb, or one store.kind redis for all"
            self._warnings.warn(text, level=logging.ERROR, members=others, remedy=remedy)
            self._health.warn("memories", f"{len(foreign)} others of the group keep their series in another store")
        else:
            self._health.warn("memories", None)
        if self._store.incarnation != self._incarnation:
            earlier, self._incarnation = self._incarnation, self._store.incarnation
            if not earlier:
                return  # a shared store gets its name with its first row
            tell_store_lost("the series store came back empty while we ran", self._metrics, self._health)
