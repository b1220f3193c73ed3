"""Benchmarks are run rarely: each can at least be imported."""

import importlib

import pytest

from benchmarks.__main__ import known, main


@pytest.mark.parametrize("name", known())
def test_a_benchmark_can_be_imported(name: str):
    """It needs nothing of the program that is no longer there, and says what it is."""
    assert importlib.import_module(f"benchmarks.{name}").__doc__


def test_a_benchmark_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str]):
    """A wrong name runs nothing, and the right ones are told, also those of folders."""
    assert main(["soak"]) == 2
    told = capsys.readouterr().err
    assert "no benchmark soak; there are: " in told
    assert {"decode", "archive", "service.soak"} <= set(told.strip().partition("there are: ")[2].split(", "))


def test_without_a_name_they_are_listed(capsys: pytest.CaptureFixture[str]):
    """Nothing runs, and each stands there with what it answers."""
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(known())
    assert {"ict.imbalance", "real_ztf", "real_ztf.trees"} <= set(known()) and "experiment" not in known()
    assert all(len(line.split()) > 3 for line in lines)
