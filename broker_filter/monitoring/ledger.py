"""Accounts of finished batches: by partition, as metrics, and by topic and night to compare with a survey's count.

Knows nothing of Kafka's client nor of the network.
"""

import datetime as dt
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from broker_filter.errors import NotClassified, Rejection
from broker_filter.monitoring.metrics import EARLY_OBSERVATIONS, EARLY_PROBABILITY, Metrics
from broker_filter.records import (
    Accounts,
    BatchReport,
    Classification,
    Outcome,
    Partition,
    account,
    object_key,
    partition_of,
)

NIGHTS_KEPT = 60  # topics and nights of which something came last
NIGHTS_MEASURED = 7  # of those, in metrics: Prometheus keeps each for ever
MJD_EPOCH = dt.date(1858, 11, 17)
OBJECTS_REMEMBERED = 200_000  # last class of each, to see who changes its mind; forgotten with the process


@dataclass(frozen=True, slots=True)
class TopicNight:
    """One night's alerts on one topic."""

    topic: str
    night: int | None  # MJD (UTC) of local midnight; None: of messages that are no alerts

    @property
    def date(self) -> str:
        """YYYYMMDD, as in the names of ZTF's topics; empty where there is no night."""
        return "" if self.night is None else f"{MJD_EPOCH + dt.timedelta(days=self.night):%Y%m%d}"


class Ledger:
    """The accounts of this process since it started. Written by the worker, read by anybody."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()
        self._of: dict[Partition, Accounts] = {}
        self._of_nights: OrderedDict[TopicNight, Accounts] = OrderedDict()  # the one that had something last at the end
        self._measured: set[TopicNight] = set()
        self._last_class: OrderedDict[str, str] = OrderedDict()
        self._expected: set[Partition] = set()

    def expect_classes(self, classes: Iterable[str]) -> None:
        """Counters of these begin at zero now: Prometheus cannot see the rise of one that appears with its first."""
        for name in classes:
            self._metrics.count("ictc_classifications", 0, **{"class": name})
            self._metrics.count("ictc_early_classifications", 0, **{"class": name})

    def expect_partitions(self, partitions: Iterable[Partition]) -> None:
        """Counters of these begin at zero now, for every reason there is."""
        for partition in set(partitions) - self._expected:
            self._expected.add(partition)
            number = str(partition.number)
            self._metrics.count("ictc_alerts_read", 0, partition=number)
            self._metrics.count("ictc_alerts_classified", 0, partition=number)
            self._metrics.count("ictc_alerts_lost", 0, partition=number)
            for name, reasons in (("not_classified", NotClassified), ("rejected", Rejection)):
                for reason in reasons:
                    self._metrics.count(f"ictc_alerts_{name}", 0, reason=str(reason), partition=number)

    def enter(self, report: BatchReport) -> None:
        """A batch was delivered and settled."""
        by_partition: dict[Partition, list[Outcome]] = {}
        for outcome in report.outcomes:
            by_partition.setdefault(partition_of(outcome.message), []).append(outcome)
        by_night: dict[TopicNight, list[Outcome]] = {}
        for outcome in report.outcomes:
            night = outcome.result.night if isinstance(outcome.result, Classification) else None
            by_night.setdefault(TopicNight(outcome.message.origin.source, night), []).append(outcome)
        with self._metrics.together():
            for partition, outcomes in by_partition.items():
                self._add(partition, account(outcomes))
            self._add_nights({night: account(outcomes) for night, outcomes in by_night.items()})
            for outcome in report.outcomes:
                if isinstance(outcome.result, Classification):
                    self._measure(outcome.result)
                elif outcome.result.exception:
                    self._metrics.count("ictc_internal_errors", exception=outcome.result.exception)
        for stage, seconds in report.durations_s.items():
            self._metrics.observe("ictc_stage_duration_seconds", seconds, stage=stage)

    def enter_lost(self, partition: Partition, alerts: int) -> None:
        """Alerts of a partition left Kafka's log before we read them."""
        with self._lock:
            self._of.setdefault(partition, Accounts()).lost += alerts
        self._metrics.count("ictc_alerts_lost", alerts, partition=str(partition.number))

    def of_partitions(self) -> dict[Partition, Accounts]:
        """A copy of the accounts."""
        with self._lock:
            return {partition: _sum([accounts]) for partition, accounts in self._of.items()}

    def of_nights(self) -> dict[TopicNight, Accounts]:
        """A copy of the accounts of the newest topics and nights, in order of both."""
        with self._lock:
            copies = {night: _sum([accounts]) for night, accounts in self._of_nights.items()}
        return dict(sorted(copies.items(), key=lambda item: (item[0].topic, item[0].night or 0)))

    def as_json(self) -> dict[str, object]:
        """Everything since the start, for programs."""
        return {
            "total": as_facts(self.total()),
            "nights": [{"topic": n.topic, "night": n.date or None} | as_facts(a) for n, a in self.of_nights().items()],
            "partitions": [
                {"topic": partition.topic, "partition": partition.number} | as_facts(accounts)
                for partition, accounts in sorted(self.of_partitions().items())
            ],
        }

    def total(self) -> Accounts:
        """All partitions together."""
        with self._lock:
            return _sum(self._of.values())

    def _add(self, partition: Partition, new: Accounts) -> None:
        with self._lock:
            self._of.setdefault(partition, Accounts()).add(new)
        number = str(partition.number)
        self._metrics.count("ictc_alerts_read", new.read, partition=number)
        self._metrics.count("ictc_alerts_classified", new.classified, partition=number)
        for reason, count in new.not_classified.items():
            self._metrics.count("ictc_alerts_not_classified", count, reason=str(reason), partition=number)
        for reason, count in new.rejected.items():
            self._metrics.count("ictc_alerts_rejected", count, reason=str(reason), partition=number)
        self._metrics.count("ictc_revisions", new.revisions)
        self._metrics.count("ictc_pasts_refused", new.pasts_refused)

    def _add_nights(self, new: dict[TopicNight, Accounts]) -> None:
        with self._lock:
            for night, accounts in new.items():
                self._of_nights.setdefault(night, Accounts()).add(accounts)
                self._of_nights.move_to_end(night)
            while len(self._of_nights) > NIGHTS_KEPT:
                self._of_nights.popitem(last=False)
            counts = {night: _counts(self._of_nights[night]) for night in list(self._of_nights)[-NIGHTS_MEASURED:]}
        for night in self._measured - counts.keys():
            for outcome in _counts(Accounts()):
                self._metrics.forget("ictc_night_alerts", topic=night.topic, night=night.date, outcome=outcome)
        self._measured = set(counts)
        for night in new.keys() & counts.keys():
            for outcome, count in counts[night].items():
                self._metrics.set("ictc_night_alerts", count, topic=night.topic, night=night.date, outcome=outcome)

    def _measure(self, result: Classification) -> None:
        if result.alert_time_ms is not None and not result.revision:
            age_s = max(result.publication_time_ms - result.alert_time_ms, 0) / 1000
            self._metrics.observe("ictc_alert_age_seconds", age_s)
        if not result.probabilities:
            return
        best, probability = max(result.probabilities.items(), key=lambda item: item[1])
        self._metrics.count("ictc_classifications", 1, **{"class": best})
        self._metrics.observe("ictc_confidence", probability)
        if result.unknown_score is not None:
            self._metrics.observe("ictc_unknown_score", result.unknown_score)
        if result.observation_count <= EARLY_OBSERVATIONS and probability >= EARLY_PROBABILITY:
            self._metrics.count("ictc_early_classifications", 1, **{"class": best})
        key = object_key(result.survey, result.object_id)
        if self._last_class.get(key, best) != best:
            self._metrics.count("ictc_changed_mind")
        self._last_class[key] = best
        self._last_class.move_to_end(key)
        if len(self._last_class) > OBJECTS_REMEMBERED:
            self._last_class.popitem(last=False)


def as_facts(accounts: Accounts) -> dict[str, object]:
    """Accounts for a log line."""
    return {
        "read": accounts.read,
        "classified": accounts.classified,
        "not_classified": {str(reason): count for reason, count in accounts.not_classified.items()},
        "rejected": {str(reason): count for reason, count in accounts.rejected.items()},
        "revisions": accounts.revisions,
        "pasts_refused": accounts.pasts_refused,
        "lost": accounts.lost,
    }


def _counts(accounts: Accounts) -> dict[str, int]:
    """What became of the alerts of a night."""
    return {
        "classified": accounts.classified,
        "not_classified": sum(accounts.not_classified.values()),
        "rejected": sum(accounts.rejected.values()),
    }


def _sum(parts: Iterable[Accounts]) -> Accounts:
    total = Accounts()
    for part in parts:
        total.add(part)
    return total
