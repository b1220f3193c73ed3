"""How the service begins, waits and ends; what it does in between is tested with a broker."""

import dataclasses
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from broker_filter.config import LifeSettings, load
from broker_filter.errors import ConfigurationError, RetryableError
from broker_filter.monitoring.health import Health
from broker_filter.monitoring.metrics import Metrics
from broker_filter.service import check
from broker_filter.service.main import main
from broker_filter.service.retries import patiently
from broker_filter.service.serve import introduce_model
from broker_filter.service.stop import Stop
from model.serving.card import load_card


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
    life = LifeSettings(retry_first_s=0.01, retry_longest_s=0.02)
    answers = [RetryableError("away"), RetryableError("away"), None]

    def step() -> str:
        answer = answers.pop(0)
        if answer is not None:
            raise answer
        return "there"

    assert patiently(step, life, Stop(), health) == "there"
    assert health.able().text == "away"


def test_waiting_ends_when_asked():
    """Who asks for the end while the service waits gets it."""
    stop = Stop()
    stop.requested = True
    assert patiently(lambda: "there", LifeSettings(), stop, Health(60, time.monotonic)) is None


def test_what_will_not_come_is_not_waited_for():
    """A wrong setting ends the wait at once."""

    def step() -> None:
        raise ConfigurationError("wrong")

    with pytest.raises(ConfigurationError):
        patiently(step, LifeSettings(), Stop(), Health(60, time.monotonic))


@pytest.mark.parametrize("name", ["file", "x" * 300])
def test_a_store_that_cannot_be_a_folder(tmp_path: Path, name: str) -> None:
    """A check says what the start would: a file, or a name too long for one, is no store."""
    (tmp_path / "file").write_text("a file of somebody's", "utf-8")
    settings = load(["--store.path", str(tmp_path / name)]).settings
    with pytest.raises(ConfigurationError, match=r"store\.path"):
        check._store(settings)


@pytest.mark.parametrize("scores", [None, "x", [], {"accuracy": "x"}, {"accuracy": [1]}, {"accuracy": 0.5}])
def test_a_card_may_tell_anything_of_its_training(scores: Any) -> None:
    """What nothing vouches for stops no start: an accuracy is shown where it is a number."""
    card = dataclasses.replace(load_card("ztf"), provenance={"validation_scores": scores})
    metrics = Metrics()
    introduce_model(card, metrics)
    shown = metrics.value("ictc_model_validation_accuracy_ratio", survey="ztf")
    assert shown == (0.5 if scores == {"accuracy": 0.5} else 0.0)
