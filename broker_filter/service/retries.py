"""Retry policy of the service: how long to wait before the next attempt, and when to give up."""

import time
from collections.abc import Callable
from typing import TypeVar

from broker_filter.config import LifeSettings
from broker_filter.errors import FatalError, RetryableError
from broker_filter.logs import facts, logger
from broker_filter.monitoring.health import Health
from broker_filter.service.stop import Stop

STOP_POLL_S = 0.1
T = TypeVar("T")
log = logger("service")
DOUBLINGS = 32  # beyond which no wait is the shorter one; 2.0 ** attempt alone would overflow one day


def wait_s(life: LifeSettings, attempt: int) -> float:
    """Wait after a failed attempt, counted from 1: twice as long each time, up to ``life.retry_longest_s``."""
    return min(life.retry_first_s * 2.0 ** min(attempt - 1, DOUBLINGS), life.retry_longest_s)


def check_attempt(life: LifeSettings, attempt: int, doing: str, error: Exception) -> None:
    """Refuse to go on after too many failures.

    Raises
    ------
    FatalError
        When this attempt, counted from 1, is beyond ``life.retry_limit``.
    """
    if life.retry_limit is not None and attempt > life.retry_limit:
        raise FatalError(f"gave up after {attempt} attempts to {doing} (life.retry_limit): {error}") from error


def patiently(step: Callable[[], T], life: LifeSettings, stop: Stop, health: Health) -> T | None:
    """Try until it works, while the outside world is not there yet; None when told to stop."""
    attempt = 0
    while not stop.requested:
        health.polled()
        try:
            return step()
        except RetryableError as error:
            attempt += 1
            check_attempt(life, attempt, "start", error)
            pause_s = wait_s(life, attempt)
            log.warning("not there yet, next attempt in %.1f s", pause_s, extra=facts(error=str(error)))
            health.unready("starting", str(error))
        until_s = time.monotonic() + pause_s
        while time.monotonic() < until_s and not stop.requested:
            health.polled()
            time.sleep(STOP_POLL_S)
    return None
