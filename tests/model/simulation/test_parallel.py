"""Work in several processes: in order, and never far ahead of the reader."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import pytest

from model.simulation.parallel import CHUNK, CHUNKS_AHEAD, in_order


class Watched(Sequence[int]):
    """A list of numbers that remembers how far it was read."""

    def __init__(self, count: int) -> None:
        self.length, self.read = count, 0

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[int]: ...
    def __getitem__(self, index: int | slice) -> int | Sequence[int]:
        chosen = range(self.length)[index]
        self.read = max(self.read, chosen[-1] + 1 if isinstance(chosen, range) else chosen + 1)
        return list(chosen) if isinstance(chosen, range) else chosen


def test_results_come_in_the_order_of_the_work_and_not_too_early() -> None:
    """Two processes give what one gives, and only a few chunks are taken on before the first result is read."""
    numbers = Watched(500)
    results = in_order(float, numbers, workers=2)
    first = next(results)
    assert numbers.read <= 2 * CHUNKS_AHEAD * CHUNK
    assert [first, *results] == [float(n) for n in range(500)]


def test_an_error_of_the_work_reaches_the_reader() -> None:
    """What fails in a worker fails here, with its own error."""
    words: list[str] = ["1"] * CHUNK + ["one"]
    with pytest.raises(ValueError, match="invalid literal"):
        list(in_order(int, words, workers=2))
    with pytest.raises(ValueError, match="invalid literal"):
        list(in_order(int, ["one"], workers=1))


SLEEPERS = """
import sys, time
from model.simulation.parallel import in_order
try:
    for _ in in_order(time.sleep, [0.05] * 1000, workers=2):
        print("x", flush=True)
except KeyboardInterrupt:
    print("interrupted", file=sys.stderr)
"""


def test_a_killed_reader_leaves_no_worker() -> None:
    """When the first process is killed, which nothing can foresee, its workers end too."""
    command = [sys.executable, "-c", SLEEPERS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as running:
        assert running.stdout is not None
        running.stdout.readline()
        running.kill()
    assert_gone(running.pid)


@pytest.mark.parametrize("at", ["start", "work"])
def test_an_interrupt_ends_every_process_silently(at: str) -> None:
    """Ctrl-C, which a terminal sends to all processes, is heard by the first alone; the others end with it."""
    command = [sys.executable, "-c", SLEEPERS]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        assert running.stdout is not None
        if at == "work":
            running.stdout.readline()
        else:
            wait_for_children(running.pid)
        os.killpg(running.pid, signal.SIGINT)
        _, output = running.communicate(timeout=30)
    assert output == "interrupted\n" and running.returncode == 0
    assert_gone(running.pid)


def assert_gone(group: int) -> None:
    """No process of the group lives much longer."""
    for _ in range(200):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("some process lives on")


def wait_for_children(pid: int) -> None:
    """Until the two workers and the tracker of their semaphores exist."""
    for _ in range(1000):
        if len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()) >= 3:
            return
        time.sleep(0.01)
    raise AssertionError("no worker was started")
