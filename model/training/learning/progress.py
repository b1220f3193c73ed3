"""Progress of a training: a line an epoch, TensorBoard scalars, a bar on a terminal. It decides nothing."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import Progress as Bar


class Progress:
    """Where a training writes what it reached; silent on all but the first of several processes.

    Parameters
    ----------
    folder
        For ``events`` of TensorBoard and ``history.jsonl``; None: write nothing.
    """

    def __init__(self, folder: Path | None, quiet: bool = False) -> None:
        self._console = Console(file=sys.stderr, quiet=quiet)
        hidden = quiet or not self._console.is_terminal
        self._bar = Bar(console=self._console, transient=True, refresh_per_second=2, disable=hidden)
        self._steps = self._bar.add_task("begins", total=None)
        self._history = None if folder is None else folder / "history.jsonl"
        self._board: Any = None
        if folder is not None:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  an optional, slow import

            self._board = SummaryWriter(str(folder / "events"))

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()
        if self._board is not None:
            self._board.close()

    def start(self, history: list[dict[str, Any]]) -> None:
        """Write the epochs that are done already, so that the file tells the same after an interruption."""
        if self._history is not None:
            self._history.write_text("".join(json.dumps(entry) + "\n" for entry in history), "utf-8")

    def step(self, done: int, steps: int) -> None:
        """Move the bar: so many steps of an epoch are done."""
        self._bar.update(self._steps, completed=done, total=steps, description=f"step {done} of {steps}")

    def epoch(self, entry: Mapping[str, Any], step: int) -> None:
        """Tell of one epoch that is over."""
        if self._history is not None:
            with self._history.open("a", encoding="utf-8") as file:
                file.write(json.dumps(dict(entry)) + "\n")
        if self._board is not None:
            for name, value in entry.items():
                if isinstance(value, float):
                    self._board.add_scalar(name, value, step)
        shown = "  ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                          for name, value in entry.items())  # fmt: skip
        self._console.print(shown, highlight=False, soft_wrap=True)
