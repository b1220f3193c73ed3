"""Alive and ready, judged by progress."""

import pytest

from broker_filter.monitoring.health import Health


class Clock:
    """Time that moves when told."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    """A clock of the test's own."""
    return Clock()


def test_a_hanging_poll_loop_is_not_alive(clock):
    """No poll for too long is a hang, whatever else happens."""
    health = Health(60, clock)
    clock.now_s += 61
    assert not health.alive().good
    health.polled()
    assert health.alive().good


def test_waiting_alerts_without_progress_are_not_alive(clock):
    """Up but broken: the poll loop turns, alerts wait, none is finished."""
    health = Health(60, clock)
    health.waiting(5)
    health.in_trouble("store away")
    clock.now_s += 61
    health.polled()
    verdict = health.alive()
    assert not verdict.good
    assert "5 alerts wait" in verdict.text
    assert "store away" in verdict.text
    health.progressed()
    assert health.alive().text == "ok"


def test_an_idle_night_is_alive(clock):
    """Nothing to do is no fault, and the first alert after a long silence has its time."""
    health = Health(60, clock)
    clock.now_s += 10_000
    health.polled()
    assert health.alive().good
    health.waiting(1)
    assert health.alive().good


def test_ready_when_everything_is_there(clock):
    """Readiness names what is missing."""
    health = Health(60, clock)
    assert not health.able().good
    health.ready("starting")
    health.unready("assignment", "no partition assigned")
    assert health.able().text == "no partition assigned"
    health.ready("assignment")
    assert health.able().good
