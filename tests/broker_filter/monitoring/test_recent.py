"""What is remembered of the stream for those who look on."""

from dataclasses import replace

import pytest

from broker_filter.classify.outcome import BatchResult
from broker_filter.monitoring.recent import PACKET_LIMIT_BYTES, POINTS_OF_OBJECT, RATE_SECONDS, Recent
from broker_filter.records import Classification, Message, Origin, Outcome, account


class Clock:
    """Seconds that stand still until they are moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def classification(object_id: str, alert_id: int, **more) -> Classification:
    plain = Classification(
        "ztf", object_id, alert_id, 60_000.0 + alert_id, "g", 1, {"AGN": 0.7, "SNIa": 0.3}, "net", "1", "test-1"
    )
    return replace(plain, **more)


def batch(*results: Classification, value: bytes = b"packet") -> BatchResult:
    outcomes = tuple(Outcome(Message(value, Origin("t", 0, i)), result) for i, result in enumerate(results))
    return BatchResult(outcomes, account(outcomes), {}, ())


def test_newest_objects_come_first_and_once():
    """An object stands where its newest classification puts it."""
    recent = Recent(objects=3)
    recent.enter(batch(*(classification(name, n) for n, name in enumerate("abcda"))))
    assert [(one.newest.object_id, one.newest.alert_id) for one in recent.shown()] == [("a", 4), ("d", 3), ("c", 2)]
    assert [one.alert_id for one in recent.shown()[0].history] == [0, 4]


def test_revision_changes_history_but_not_the_stamps():
    """A revision comes with the message of another alert, so it is not shown with that one's stamps."""
    recent = Recent()
    recent.enter(batch(classification("a", 5)))
    recent.enter(batch(classification("a", 2), value=b"late"))
    recent.enter(batch(classification("a", 5, probabilities={"AGN": 0.1, "SNIa": 0.9}, revision=True), value=b"late"))
    (one,) = recent.shown()
    assert (one.newest.alert_id, one.packet.value) == (2, b"late")
    assert [(c.alert_id, c.probabilities["AGN"]) for c in one.history] == [(2, 0.7), (5, 0.1)]


def test_what_is_not_classified_is_not_shown():
    """Alerts without probabilities count in the rate alone."""
    clock = Clock()
    recent = Recent(clock=clock)
    recent.enter(batch(classification("a", 1, probabilities={})))
    clock.now_s += 1
    assert recent.shown() == []
    assert recent.per_second()[-1] == 1


def test_memory_is_bounded():
    """However long the stream, so many classifications and no more are held, and no large packet."""
    recent = Recent(objects=2, remembered=100)
    for alert in range(500):
        recent.enter(batch(classification(f"object {alert % 50}", alert), classification("busy", 10_000 + alert)))
    assert recent._points == sum(map(len, recent._histories.values())) <= 100
    busy = next(one for one in recent.shown() if one.newest.object_id == "busy")
    assert [c.alert_id for c in busy.history] == [10_000 + n for n in range(500 - POINTS_OF_OBJECT, 500)]
    recent.enter(batch(classification("large", 1), value=bytes(PACKET_LIMIT_BYTES + 1)))
    assert recent.shown()[0].packet is None


@pytest.mark.parametrize("gap_s", [0.0, 0.4, 3.0, 2 * RATE_SECONDS])
def test_rate_counts_whole_seconds(gap_s):
    """Every finished alert is counted in the second in which it was finished, for ten minutes."""
    clock = Clock()
    recent = Recent(clock=clock)
    recent.enter(batch(classification("a", 1), classification("a", 2)))
    clock.now_s += gap_s
    recent.enter(batch(classification("b", 3)))
    clock.now_s += 1
    assert sum(recent.per_second()) == (1 if gap_s > RATE_SECONDS else 3)
    assert len(recent.per_second()) == RATE_SECONDS
