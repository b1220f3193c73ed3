"""Benchmarks are run rarely: each can at least be imported."""

import importlib
import pkgutil

import pytest

import benchmarks.ict
from benchmarks.__main__ import NOT_BENCHMARKS

NAMES = sorted({module.name for module in pkgutil.iter_modules(benchmarks.__path__)} - NOT_BENCHMARKS)
NAMES += [f"ict.{module.name}" for module in pkgutil.iter_modules(benchmarks.ict.__path__)]


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_can_be_imported(name: str):
    """It needs nothing of the program that is no longer there, and says what it is."""
    assert importlib.import_module(f"benchmarks.{name}").__doc__
