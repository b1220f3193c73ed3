"""Accounts per partition, and the metrics that follow them."""

import threading
from dataclasses import replace

from prometheus_client import generate_latest

from broker_filter.classify.outcome import BatchResult
from broker_filter.errors import NotClassified, Rejection
from broker_filter.monitoring.ledger import Ledger, TopicNight
from broker_filter.monitoring.metrics import Metrics
from broker_filter.records import Classification, Message, Origin, Outcome, Partition, Rejected, account


def message(partition: int, offset: int) -> Message:
    return Message(b"", Origin("alerts", partition, offset))


def classified(object_id: str = "a", count: int = 5, **probabilities: float) -> Classification:
    return Classification(
        survey="ztf",
        object_id=object_id,
        alert_id=1,
        time_mjd=60_000.0,
        band="g",
        observation_count=count,
        probabilities=probabilities or {"AGN": 0.6, "SNIa": 0.4},
        classifier="fake",
        classifier_version="1",
        taxonomy_version="t",
        alert_time_ms=1_000_000,
        publication_time_ms=1_004_000,
    )


def result_of(*outcomes: Outcome) -> BatchResult:
    return BatchResult(outcomes, account(outcomes), {"decode": 0.25}, ())


def test_counters_begin_at_zero():
    """Every reason of a partition and every class of a network is exposed before its first alert, and only once."""
    metrics = Metrics()
    ledger = Ledger(metrics)
    ledger.expect_classes(["AGN", "SNIa"])
    for _ in range(2):
        ledger.expect_partitions([Partition("alerts", 0), Partition("alerts", 3)])
    exposed = generate_latest(metrics.registry).decode()
    for name, reasons in (("not_classified", NotClassified), ("rejected", Rejection)):
        for reason in reasons:
            for number in ("0", "3"):
                assert f'ictc_alerts_{name}_total{{partition="{number}",reason="{reason}"}} 0.0' in exposed
    assert 'ictc_alerts_read_total{partition="3"} 0.0' in exposed
    assert 'ictc_early_classifications_total{class="AGN"} 0.0' in exposed
    ledger.enter(result_of(Outcome(message(3, 1), classified())))
    ledger.expect_partitions([Partition("alerts", 3)])
    assert metrics.value("ictc_alerts_read_total", partition="3") == 1


def test_a_scrape_never_sees_half_a_batch():
    """While a batch is entered, whoever scrapes waits: in = out in every scrape."""
    metrics = Metrics()
    scraped = []
    with metrics.together():
        metrics.count("ictc_alerts_read", 1, partition="0")
        scrape = threading.Thread(target=lambda: scraped.append(generate_latest(metrics.registry).decode()))
        scrape.start()
        scrape.join(0.1)
        assert scraped == []
        metrics.count("ictc_alerts_classified", 1, partition="0")
    scrape.join(5)
    assert 'ictc_alerts_classified_total{partition="0"} 1.0' in scraped[0]


def test_an_alert_from_the_future_has_no_negative_age():
    """Clocks that disagree make an age of zero, in the first bucket."""
    metrics = Metrics()
    ahead = replace(classified(), alert_time_ms=1_004_000 + 3_600_000)
    Ledger(metrics).enter(result_of(Outcome(message(0, 1), ahead)))
    assert metrics.value("ictc_alert_age_seconds_bucket", le="1.0") == 1
    assert metrics.value("ictc_alert_age_seconds_sum") == 0


def test_in_equals_out_for_each_partition():
    """Read = classified + not classified + rejected, per partition, in the accounts and in the metrics."""
    metrics = Metrics()
    ledger = Ledger(metrics)
    moving = replace(classified(), probabilities={}, reason=NotClassified.SOLAR_SYSTEM)
    rejected = Rejected(message(1, 2), Rejection.CORRUPT, "")
    late = replace(classified(), revision=True)
    ledger.enter(
        result_of(
            Outcome(message(0, 1), classified()),
            Outcome(message(0, 1), late),
            Outcome(message(1, 1), moving, past_refused=True),
            Outcome(rejected.message, rejected),
        )
    )
    ledger.enter(result_of(Outcome(message(0, 2), classified())))
    accounts = ledger.of_partitions()
    assert all(a.balanced for a in accounts.values())
    zero, one = accounts[Partition("alerts", 0)], accounts[Partition("alerts", 1)]
    assert (zero.read, zero.classified, zero.revisions) == (2, 2, 1)
    assert (one.read, one.not_classified, one.rejected) == (2, {"solar_system": 1}, {"corrupt": 1})
    assert ledger.total().read == 4
    assert metrics.value("ictc_alerts_read_total", partition="0") == 2
    assert metrics.value("ictc_alerts_rejected_total", reason="corrupt", partition="1") == 1
    assert metrics.value("ictc_alerts_not_classified_total", reason="solar_system", partition="1") == 1
    assert metrics.value("ictc_revisions_total") == 1
    assert metrics.value("ictc_pasts_refused_total") == one.pasts_refused == 1
    assert metrics.value("ictc_stage_duration_seconds_count", stage="decode") == 2


def test_accounts_by_topic_and_night():
    """The newest nights of each topic stand in the accounts, in JSON and in metrics; what is no alert has no night."""
    metrics = Metrics()
    ledger = Ledger(metrics)
    rejected = Rejected(message(1, 2), Rejection.CORRUPT, "")
    nights = [replace(classified(), night=60_000 + n) for n in range(70)]
    ledger.enter(result_of(Outcome(rejected.message, rejected), *(Outcome(message(0, 1), one) for one in nights)))
    ledger.enter(
        result_of(Outcome(message(0, 1), nights[69]), Outcome(message(0, 1), replace(nights[5], revision=True)))
    )
    of_nights = ledger.of_nights()
    assert len(of_nights) <= 60
    assert (of_nights[TopicNight("alerts", 60_069)].classified, of_nights[TopicNight("alerts", 60_069)].read) == (
        2,
        2,
    )
    assert (of_nights[TopicNight("alerts", 60_005)].read, of_nights[TopicNight("alerts", 60_005)].revisions) == (
        0,
        1,
    )
    newest = ledger.as_json()["nights"][-1]
    assert (newest["topic"], newest["night"], newest["classified"]) == ("alerts", "20230505", 2)
    assert metrics.value("ictc_night_alerts", topic="alerts", night="20230505", outcome="classified") == 2
    assert len(metrics.samples("ictc_night_alerts")) == 3 * 7


def test_age_is_from_the_survey_to_the_publication():
    """Four seconds from the survey's own time, and a revision is not an alert."""
    metrics = Metrics()
    ledger = Ledger(metrics)
    ledger.enter(
        result_of(Outcome(message(0, 1), classified()), Outcome(message(0, 1), replace(classified(), revision=True)))
    )
    assert metrics.value("ictc_alert_age_seconds_count") == 1
    assert metrics.value("ictc_alert_age_seconds_sum") == 4.0


def test_who_changes_its_mind_is_counted():
    """An object whose most probable class differs from its last one; the first one is no change."""
    metrics = Metrics()
    ledger = Ledger(metrics)
    for probabilities in ({"AGN": 1.0}, {"AGN": 0.9, "SNIa": 0.1}, {"AGN": 0.1, "SNIa": 0.9}):
        ledger.enter(result_of(Outcome(message(0, 1), classified("a", **probabilities))))
    ledger.enter(result_of(Outcome(message(0, 1), classified("b", SNIa=1.0))))
    assert metrics.value("ictc_changed_mind_total") == 1
    assert metrics.value("ictc_classifications_total", **{"class": "SNIa"}) == 2


def test_early_and_sure_is_counted():
    """At most three observations, and at least 0.8."""
    metrics = Metrics()
    ledger = Ledger(metrics)
    for count, probability in ((3, 0.8), (4, 0.9), (2, 0.7)):
        sure = classified("a", count, SNIa=probability, AGN=1 - probability)
        ledger.enter(result_of(Outcome(message(0, 1), sure)))
    assert metrics.value("ictc_early_classifications_total", **{"class": "SNIa"}) == 1
