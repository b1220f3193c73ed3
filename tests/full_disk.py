"""A disk without room, for tests: files of this process may not grow, or output goes to a device that is full."""

import os
import resource
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def little_room(size_bytes: int) -> Iterator[None]:
    """Inside, no file can be written beyond this size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def ended_without_output(
    command: Sequence[str], environment: Mapping[str, str] | None = None
) -> list[subprocess.CompletedProcess[str]]:
    """A command with its output on a full disk, then with a reader that has left; standard error is kept."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    with Path("/dev/full").open("wb") as full, os.fdopen(write_end, "wb") as broken:
        return [
            subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, check=False, env=environment)
            for out in (full, broken)
        ]
