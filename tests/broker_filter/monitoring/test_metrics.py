"""The table of metrics, and the registry that is made of it."""

import re

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from broker_filter.monitoring.metrics import METRICS, Metrics


def test_names_follow_the_conventions():
    """Base units, one prefix, no ``_total`` in the table, labels from closed sets."""
    for row in METRICS:
        assert re.fullmatch(r"ictc_[a-z_]+", row.name)
        assert not row.name.endswith(("_total", "_ms", "_count", "_sum", "_bucket"))
        assert set(row.labels) <= {
            "partition", "reason", "exception", "class", "stage", "device", "survey", "classifier", "version",
            "taxonomy", "trained", "route", "decision", "topic", "night", "outcome", "worker",
        }  # fmt: skip
    assert len({row.name for row in METRICS}) == len(METRICS)


def test_counters_are_exposed_with_total():
    """What is counted appears in the exposition under its full name, and parses."""
    metrics = Metrics()
    metrics.count("ictc_alerts_rejected", 2, reason="corrupt", partition="7")
    metrics.observe("ictc_alert_age_seconds", 12.5)
    metrics.set("ictc_paused", 1)
    text = generate_latest(metrics.registry).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert {row.name for row in METRICS} <= set(families)
    assert metrics.value("ictc_alerts_rejected_total", reason="corrupt", partition="7") == 2
    assert metrics.value("ictc_alert_age_seconds_sum") == 12.5
    assert "process_cpu_seconds" in families


def test_a_label_outside_the_table_is_an_error():
    """Nobody adds an object id to a label by accident."""
    with pytest.raises(ValueError, match="label"):
        Metrics().count("ictc_alerts_read", object_id="ZTF18abc")


def test_registries_are_apart():
    """Two services in one process do not share counts."""
    first, second = Metrics(), Metrics()
    first.count("ictc_revisions")
    assert second.value("ictc_revisions_total") == 0


def test_a_partition_that_left_has_no_lag():
    """Values of what is gone are dropped, not frozen."""
    metrics = Metrics()
    metrics.set("ictc_consumer_lag_alerts", 5, partition="3")
    metrics.forget("ictc_consumer_lag_alerts", partition="3")
    assert b'partition="3"' not in generate_latest(metrics.registry)


def test_no_series_says_when_a_counter_began():
    """A scrape holds counts, sums and buckets, and no creation times."""
    assert b"_created" not in generate_latest(Metrics().registry)
