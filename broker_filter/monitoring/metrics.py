"""Names and meanings of everything that is measured, and one registry that holds it. Knows nothing of who counts.

``METRICS`` is the one table that dashboards, alerts and documentation are written from. Labels come from closed sets
(reasons, classes, stages, partitions), never from alerts; of topics and nights there are a few at a time.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client import Metric as Family
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

# An alert is fresh for seconds, late for minutes, replayed after years: one histogram must show all three.
AGE_BUCKETS_S = (0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 90, 120, 300, 600, 1800, 3600, 21_600, 86_400, 604_800)
DURATION_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
SHARE_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
UNKNOWN_BUCKETS = (-5, -3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 4, 5, 7, 10, 20, 50, 100)

EARLY_OBSERVATIONS = 3  # a classification is early while the series has at most so many observations ...
EARLY_PROBABILITY = 0.8  # ... and is sure from here on


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table: the exposed name without the ``_total`` of counters."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = DURATION_BUCKETS_S


METRICS = (
    Metric("ictc_alerts_read", "counter", "Messages taken from Kafka and accounted for.", ("partition",)),
    Metric("ictc_alerts_classified", "counter", "Alerts with a published classification.", ("partition",)),
    Metric("ictc_alerts_not_classified", "counter", "Good alerts that get no classification.", ("reason", "partition")),
    Metric("ictc_alerts_rejected", "counter", "Messages that never became an alert.", ("reason", "partition")),
    Metric("ictc_internal_errors", "counter", "Alerts rejected for a bug of ours, by what was raised.", ("exception",)),
    Metric("ictc_alerts_lost", "counter", "Alerts that left Kafka's log before we read them.", ("partition",)),
    Metric("ictc_night_alerts", "gauge", "Alerts by topic and night, the newest 7.", ("topic", "night", "outcome")),
    Metric("ictc_revisions", "counter", "Classifications published again because an earlier observation came late."),
    Metric("ictc_pasts_refused", "counter", "Alerts whose packets give the past one impossible time; it is not read."),
    Metric("ictc_classifications", "counter", "Published classifications by their most probable class.", ("class",)),
    Metric("ictc_early_classifications", "counter", "Sure of a class from at most 3 observations.", ("class",)),
    Metric("ictc_routes", "counter", "Published classifications by what a route said of them.", ("route", "decision")),
    Metric("ictc_changed_mind", "counter", "Classifications whose class differs from the object's last one."),
    Metric("ictc_confidence", "histogram", "Largest probability of a classification.", (), SHARE_BUCKETS),
    Metric("ictc_unknown_score", "histogram", "Strangeness; median 0, sigma 1 in training.", (), UNKNOWN_BUCKETS),
    Metric("ictc_alert_age_seconds", "histogram", "From the survey's own time to our publication.", (), AGE_BUCKETS_S),
    Metric("ictc_stage_duration_seconds", "histogram", "Time of one batch in one room.", ("stage",)),
    Metric("ictc_batch_alerts", "histogram", "Alerts in a batch.", (), BATCH_BUCKETS),
    Metric("ictc_batch_wait_seconds", "histogram", "Age of the first alert of a batch when work on it begins."),
    Metric("ictc_batch_retries", "counter", "New attempts at a batch after a failure that may pass."),
    Metric("ictc_transactions_aborted", "counter", "Transactions that were aborted; their alerts were read again."),
    Metric("ictc_foreign_members", "gauge", "Members of our group that keep their series in another store."),
    Metric("ictc_store_lost", "counter", "Times that the series store came back with other contents."),
    Metric("ictc_consumer_lag_alerts", "gauge", "Messages of a partition that are not yet committed.", ("partition",)),
    Metric("ictc_paused", "gauge", "1 while partitions are paused because the worker is behind."),
    Metric("ictc_series_held", "gauge", "Objects in the store."),
    Metric("ictc_series_bytes", "gauge", "Bytes in the store."),
    Metric("ictc_registry_failures", "counter", "Answers of the registry that are no schema.", ("reason",)),
    Metric("ictc_series_damaged", "counter", "Rows of the store that failed their check and were dropped."),
    Metric("ictc_series_evicted", "counter", "Objects dropped from a full store, the longest silent first."),
    Metric("ictc_last_progress_timestamp_seconds", "gauge", "Unix time of the last finished batch, or of the start."),
    Metric("ictc_worker_up", "gauge", "1 while a process of --workers runs and is well.", ("worker",)),
    Metric("ictc_device_info", "gauge", "Device in use, always 1.", ("device",)),
    Metric(
        "ictc_model_info",
        "gauge",
        "Classifier in use, always 1.",
        ("survey", "classifier", "version", "taxonomy", "trained"),
    ),
    Metric(
        "ictc_model_validation_accuracy_ratio",
        "gauge",
        "Accuracy on held-out objects in training: the mean confidence that an honest classifier has on such objects.",
        ("survey",),
    ),
)
_KINDS = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}


disable_created_metrics()  # nobody asks when a counter began, and it would double their number


class _WholeRegistry(CollectorRegistry):
    """A scrape sees what belongs together before or after its change, never half of it."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.RLock()

    def collect(self) -> Iterator[Family]:
        with self.lock:
            families = list(super().collect())
        yield from families


class Metrics:
    """The registry, with one collector for each row of the table. Safe to use from any thread."""

    def __init__(self) -> None:
        self.registry = _WholeRegistry()
        self._of_name: dict[str, Counter | Gauge | Histogram] = {}
        for row in METRICS:
            options = {"buckets": row.buckets} if row.kind == "histogram" else {}
            self._of_name[row.name] = _KINDS[row.kind](
                row.name, row.help, row.labels, registry=self.registry, **options
            )
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Changes that a scrape must see all of or none: accounts that add up."""
        with self.registry.lock:
            yield

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Raise a counter."""
        self._one(name, labels).inc(amount)

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._one(name, labels).set(value)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add to a histogram."""
        self._one(name, labels).observe(value)

    def forget(self, name: str, **labels: str) -> None:
        """Drop a labelled value, such as the lag of a partition that left."""
        self._of_name[name].remove_by_labels(labels)

    def value(self, name: str, **labels: str) -> float:
        """The value as it is exposed under the full name (with ``_total``, ``_sum`` ...); 0 where not yet seen."""
        return self.registry.get_sample_value(name, labels) or 0.0

    def samples(self, name: str) -> list[tuple[str, dict[str, str], float]]:
        """Full names, labels and values of one row of the table, without looking at the others."""
        return [(s.name, s.labels, s.value) for family in self._of_name[name].collect() for s in family.samples]

    def _one(self, name: str, labels: Mapping[str, str]):  # type: ignore[no-untyped-def]
        collector = self._of_name[name]
        return collector.labels(**labels) if labels else collector
