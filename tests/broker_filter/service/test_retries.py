"""The one retry policy of the service."""

import pytest

from broker_filter.config import LifeSettings
from broker_filter.errors import FatalError
from broker_filter.service.retries import check_attempt, wait_s


def test_waits_double_up_to_the_longest():
    """However many attempts failed, for days if need be, the wait is never more than the longest."""
    life = LifeSettings(retry_first_s=0.5, retry_longest_s=30.0)
    assert [wait_s(life, attempt) for attempt in (1, 2, 3, 7, 8, 5_000)] == [0.5, 1.0, 2.0, 30.0, 30.0, 30.0]


def test_a_limit_ends_the_attempts():
    """As many failures as the limit says are borne, one more is fatal; without a limit none is."""
    error = OSError("away")
    check_attempt(LifeSettings(), 1_000_000, "start", error)
    check_attempt(LifeSettings(retry_limit=3), 3, "start", error)
    with pytest.raises(FatalError, match=r"gave up after 4 attempts to start .life\.retry_limit.: away"):
        check_attempt(LifeSettings(retry_limit=3), 4, "start", error)
