"""How the service begins, waits and ends; what it does in between is tested with a broker."""

import os
import signal
import time

import pytest

from broker_filter.config import LifeSettings, Settings
from broker_filter.errors import ConfigurationError, RetryableError
from broker_filter.monitoring.health import Health
from broker_filter.service.main import _patiently, main
from broker_filter.service.stop import Stop


def test_the_first_signal_asks():
    """One signal asks for an orderly end, and the handlers are put back afterwards."""
    before = signal.getsignal(signal.SIGTERM)
    with Stop().on_signals() as stop:
        assert not stop.requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("arguments", [[], ["--kafka.topics", "a/b"], ["--config", "/nowhere.yaml"]])
def test_wrong_settings_end_with_two(capsys, arguments):
    """One line on standard error says what is wrong."""
    assert main(arguments) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("ictc-broker: ")


def test_what_is_not_there_yet_is_waited_for():
    """A registry or broker that comes up later is no reason to end; readiness says what is missing."""
    health = Health(60, time.monotonic)
    settings = Settings(life=LifeSettings(retry_first_s=0.01, retry_longest_s=0.02))
    answers = [RetryableError("away"), RetryableError("away"), None]

    def step() -> str:
        answer = answers.pop(0)
        if answer is not None:
            raise answer
        return "there"

    assert _patiently(step, settings, Stop(), health) == "there"
    assert health.able().text == "away"


def test_waiting_ends_when_asked():
    """Who asks for the end while the service waits gets it."""
    stop = Stop()
    stop.requested = True
    assert _patiently(lambda: "there", Settings(), stop, Health(60, time.monotonic)) is None


def test_what_will_not_come_is_not_waited_for():
    """A wrong setting ends the wait at once."""

    def step() -> None:
        raise ConfigurationError("wrong")

    with pytest.raises(ConfigurationError):
        _patiently(step, Settings(), Stop(), Health(60, time.monotonic))
