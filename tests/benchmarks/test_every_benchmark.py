"""Benchmarks are run rarely: each can at least be imported."""

import importlib
import pkgutil

import pytest

import benchmarks.ict
from benchmarks.__main__ import known, main

NAMES = known() + [f"ict.{module.name}" for module in pkgutil.iter_modules(benchmarks.ict.__path__)]


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_can_be_imported(name: str):
    """It needs nothing of the program that is no longer there, and says what it is."""
    assert importlib.import_module(f"benchmarks.{name}").__doc__


def test_a_benchmark_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str]):
    """A wrong name runs nothing, and the right ones are told, also those of folders."""
    assert main(["soak"]) == 2
    told = capsys.readouterr().err
    assert "no benchmark soak; there are: " in told
    assert {"decode", "archive", "service.soak"} <= set(told.strip().partition("there are: ")[2].split(", "))
