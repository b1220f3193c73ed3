"""Work for several processes in, results in the order of the work out; knows not what is worked on.

Bounded: only a few chunks are under way or waiting, however long the list and however slow the reader. Each item is
worked on by one thread: workers share the cores among themselves, and a matrix product shared by two threads differs in
its last bits from that of one, so that results would depend on the number of workers.
"""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from functools import cache
from itertools import islice
from typing import TypeVar

from threadpoolctl import ThreadpoolController

CHUNK = 8  # items per task: starting one costs less than drawing one object
CHUNKS_AHEAD = 4  # per worker, waiting to be read

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(work: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Apply ``work`` to each item in ``workers`` processes; in this one when a single worker is asked for.

    ``work`` and the items must pickle.
    """
    if workers <= 1 or len(items) <= CHUNK:
        for item in items:
            yield _work_alone(work, item)
        return
    chunks = (items[i : i + CHUNK] for i in range(0, len(items), CHUNK))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        waiting: deque[Future[list[Result]]] = deque(
            pool.submit(_work_chunk, work, chunk) for chunk in islice(chunks, workers * CHUNKS_AHEAD)
        )
        try:
            while waiting:
                yield from waiting.popleft().result()
                if (chunk := next(chunks, None)) is not None:
                    waiting.append(pool.submit(_work_chunk, work, chunk))
        finally:
            for future in waiting:
                future.cancel()


def _work_chunk(work: Callable[[Item], Result], chunk: Sequence[Item]) -> list[Result]:
    return [_work_alone(work, item) for item in chunk]


def _work_alone(work: Callable[[Item], Result], item: Item) -> Result:
    with _thread_pools().limit(limits=1):
        return work(item)


@cache
def _thread_pools() -> ThreadpoolController:
    """The numerical libraries of this process; looking for them takes milliseconds, so it is done once."""
    return ThreadpoolController()
