"""A disk without room, for tests: the kernel refuses to let files of this process grow."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def little_room(size_bytes: int) -> Iterator[None]:
    """Inside, no file can be written beyond this size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
