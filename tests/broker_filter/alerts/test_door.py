"""The door around one alert: a bug is one rejection, an outage is none."""

import logging

import pytest
from fake_stream import message, observe, read_alerts

from broker_filter.alerts.decode import Arrival, Decoder
from broker_filter.alerts.door import attempt
from broker_filter.errors import (
    ConfigurationError,
    FatalError,
    NotClassified,
    NotClassifiedError,
    RejectedAlertError,
    Rejection,
    RetryableError,
)
from broker_filter.records import Rejected


def failing(error: BaseException, where: str):
    """A decoder whose middle alert of three fails while it is read, or while its stamps are."""

    def read(incoming):
        for alert in read_alerts(incoming):
            if where == "read" and alert.object_id == "odd":
                raise error
            yield alert

    def see(alert):
        if where == "observe" and alert.object_id == "odd":
            raise error
        return observe(alert)

    return Decoder(read, {"ztf": see}, threads=1)


MESSAGES = [message(name, number, 60_000.0, number) for number, name in enumerate(("a", "odd", "b"))]


@pytest.mark.parametrize("where", ["read", "observe"])
@pytest.mark.parametrize("error", [ValueError("--32"), KeyError("x"), ZeroDivisionError(), RecursionError("deep")])
def test_whatever_decoding_raises_is_one_rejection(where: str, error: Exception, caplog) -> None:
    """The alert is rejected as internal with the exception's type, and its neighbours are classified."""
    with caplog.at_level(logging.CRITICAL):
        first, odd, last = failing(error, where).decode(MESSAGES)
    assert isinstance(first, Arrival) and isinstance(last, Arrival)
    assert isinstance(odd, Rejected)
    assert (odd.reason, odd.exception) == (Rejection.INTERNAL, type(error).__name__)
    assert "please report it" in odd.detail


@pytest.mark.parametrize("where", ["read", "observe"])
@pytest.mark.parametrize(
    "error",
    [
        RetryableError("registry away"),
        FatalError("stop"),
        ConfigurationError("wrong"),
        MemoryError(),
        KeyboardInterrupt(),
    ],
)
def test_what_means_again_or_stop_passes(where: str, error: BaseException) -> None:
    """An outage, a wrong setting, full memory and ctrl-C never become a rejection."""
    with pytest.raises(type(error)):
        failing(error, where).decode(MESSAGES)


def test_foreseen_answers_stay_what_they_are() -> None:
    """A rejection keeps its reason, and an alert that gets no class is none."""
    rejected = attempt(lambda: (_ for _ in ()).throw(RejectedAlertError(Rejection.CORRUPT, "cut")))
    assert isinstance(rejected, RejectedAlertError) and rejected.reason == Rejection.CORRUPT
    with pytest.raises(NotClassifiedError):
        attempt(lambda: (_ for _ in ()).throw(NotClassifiedError(NotClassified.NO_STAMPS, "none")))


def test_a_traceback_is_logged_once_for_each_kind() -> None:
    """Ten alerts that fail alike give one traceback, another failure gives another."""
    lines: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = lines.append  # type: ignore[method-assign]
    log = logging.getLogger("ictc.alerts")
    log.addHandler(handler)
    propagate, log.propagate = log.propagate, False

    def first() -> None:
        raise OverflowError("one")

    def second() -> None:
        raise OverflowError("another line")

    try:
        for step in (first, first, second, first, second):
            result = attempt(step)
            assert isinstance(result, RejectedAlertError) and result.reason == Rejection.INTERNAL
    finally:
        log.removeHandler(handler)
        log.propagate = propagate
    assert len(lines) == 2
    assert all(line.exc_info is not None for line in lines)
