"""Servers of the tests' own, where their programs are installed."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

import pytest

from benchmarks.neighbours.servers import AbsentError

S = TypeVar("S")


@contextmanager
def or_skipped(server: AbstractContextManager[S], absent: type[Exception] = AbsentError) -> Iterator[S]:
    """The server; the test is skipped where none is installed, which ``absent`` says, with the reason."""
    try:
        with server as running:
            yield running
    except absent as error:
        pytest.skip(str(error))
