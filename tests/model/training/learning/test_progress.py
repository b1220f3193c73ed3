"""What a training tells while it runs, on a terminal, in a pipe and on disk."""

import json
import os
import sys
from pathlib import Path

import pytest

from model.training.learning.progress import Progress

ENTRY = {"stage": 0, "epoch": 4, "loss": 1.25, "learning_rate": 0.001, "validation_macro_f1": 0.5, "seconds": 123.0}


def shown_on_a_terminal(monkeypatch: pytest.MonkeyPatch, quiet: bool) -> str:
    """What two steps and the end of an epoch write to a terminal."""
    ours, theirs = os.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with Progress(None, quiet=quiet) as progress:
            for done in (1, 2):
                progress.step(done, 17)
            progress.epoch(ENTRY, 1)
        print("end", file=terminal, flush=True)
        output = b""
        while not output.endswith(b"end\r\n"):
            output += os.read(ours, 100_000)
    os.close(ours)
    return output.decode()


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch):
    """On a terminal a bar counts the steps of an epoch, and a line tells of each that is over; quiet, nothing does."""
    shown = shown_on_a_terminal(monkeypatch, quiet=False)
    assert "step 2 of 17" in shown
    assert "loss 1.25" in shown
    assert shown_on_a_terminal(monkeypatch, quiet=True).split() == ["end"]


def test_a_pipe_gets_lines_only(capsys: pytest.CaptureFixture[str]):
    """Where nobody watches there is one line an epoch."""
    with Progress(None) as progress:
        progress.step(1, 17)
        progress.epoch(ENTRY, 1)
    line = "stage 0  epoch 4  loss 1.25  learning_rate 0.001  validation_macro_f1 0.5  seconds 123\n"
    assert capsys.readouterr().err == line


def test_a_folder_gets_the_history_and_its_curves(tmp_path: Path):
    """Epochs are lines of JSON, those of before an interruption too, and TensorBoard gets every number."""
    with Progress(tmp_path, quiet=True) as progress:
        progress.start([{**ENTRY, "epoch": 3}])
        progress.epoch(ENTRY, 2)
    epochs = [json.loads(line)["epoch"] for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert epochs == [3, 4]
    (events,) = (tmp_path / "events").iterdir()
    assert all(name in events.read_bytes() for name in (b"loss", b"learning_rate"))
