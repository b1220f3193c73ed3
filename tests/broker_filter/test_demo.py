"""The demo, smaller than ``make demo`` but whole."""

import os

import pytest

from broker_filter import demo
from broker_filter.errors import ConfigurationError
from broker_filter.kafka.local_broker import BROKERS_VARIABLE, find_binary


def test_the_demo_shows_the_whole_path(capsys):
    """Broker, night, service and accounts: it ends by itself, and what went in came out."""
    if BROKERS_VARIABLE not in os.environ:
        try:
            find_binary()
        except ConfigurationError as error:
            pytest.skip(str(error))
    assert demo.main(objects=4, nights=6) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "In = out." in shown
    assert "/metrics" in shown
    assert "3 of them broken" in shown
    assert "simulated:" in shown
