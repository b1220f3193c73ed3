"""The door around one alert: whatever its decoding raises is that alert's rejection.

This is the one place with a broad ``except``. What means "try again" or "stop" passes through it, so that an outage of
the registry never becomes dead letters.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

from broker_filter.errors import FatalError, NotClassifiedError, RejectedAlertError, Rejection, RetryableError
from broker_filter.logs import facts, logger

T = TypeVar("T")

LONGEST_DETAIL = 500  # characters of an exception's own words
KINDS_REMEMBERED = (
    1_000  # of failures whose traceback was logged; a kind is the exception's type and where it was raised
)
_PASSING = (RetryableError, FatalError, NotClassifiedError, MemoryError)

log = logger("alerts")


def attempt(step: Callable[[], T]) -> T | RejectedAlertError:
    """The result of one alert's step, or why the alert is rejected: ``INTERNAL`` for what nobody foresaw.

    Raises
    ------
    RetryableError, FatalError, NotClassifiedError, MemoryError
        As the step raises them.
    """
    try:
        return step()
    except RejectedAlertError as error:
        return error
    except _PASSING:
        raise
    except Exception as error:
        _LOGGED.log_once(error)
        what = f"{type(error).__name__}: {error}"[:LONGEST_DETAIL]
        detail = f"an unforeseen failure, please report it with the alert: {what}"
        return RejectedAlertError(Rejection.INTERNAL, detail, type(error).__name__)


class _Logged:
    """Kinds of failures whose traceback stands in the log already."""

    def __init__(self) -> None:
        self._kinds: set[tuple[str, str, int]] = set()
        self._guard = threading.Lock()

    def log_once(self, error: Exception) -> None:
        kind = _kind_of(error)
        with self._guard:
            if kind in self._kinds or len(self._kinds) >= KINDS_REMEMBERED:
                return
            self._kinds.add(kind)
        name, file, line = kind
        log.error(
            "an alert could not be decoded; its kind of failure is logged once",
            exc_info=error,
            extra=facts(exception=name, raised_at=f"{file}:{line}"),
        )


def _kind_of(error: Exception) -> tuple[str, str, int]:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return type(error).__name__, "", 0
    return type(error).__name__, trace.tb_frame.f_code.co_filename, trace.tb_lineno


_LOGGED = _Logged()
