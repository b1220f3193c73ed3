"""Work in several processes: in order, and never far ahead of the reader."""

from collections.abc import Sequence
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
