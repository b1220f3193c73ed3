"""Retry policy of the service: how long to wait before the next attempt, and when to give up."""

from broker_filter.config import LifeSettings
from broker_filter.errors import FatalError

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
