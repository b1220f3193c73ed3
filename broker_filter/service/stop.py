"""The signals that end the service, and whether one came."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Whether to go on: the first signal asks for an orderly end, the second one ends the process."""

    def __init__(self) -> None:
        self.requested = False

    def __call__(self, number: int, _: FrameType | None) -> None:
        if self.requested:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.requested = True

    @contextmanager
    def on_signals(self) -> Iterator["Stop"]:
        """Listen to SIGTERM and SIGINT, and leave them as they were."""
        before = {number: signal.signal(number, self) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
