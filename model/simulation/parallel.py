"""Results of work in several processes, in the order of the work. Knows not what is worked on.

Bounded: only a few chunks are under way or waiting, however long the list and however slow the reader. Each item is
worked on by one thread: workers share the cores among themselves, and a matrix product shared by two threads differs in
its last bits from that of one, so that results would depend on the number of workers.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache
from itertools import islice
from multiprocessing.synchronize import Event
from typing import TypeVar

from threadpoolctl import ThreadpoolController

CHUNK = 8  # items per task: starting one costs less than drawing one object
CHUNKS_AHEAD = 4  # per worker, waiting to be read

Item = TypeVar("Item")
Result = TypeVar("Result")

_stop: Event | None = None  # of a worker: set when nobody wants its results any more


def in_order(work: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Apply ``work`` to each item in ``workers`` processes; in this one when a single worker is asked for.

    ``work`` and the items must pickle. Workers do not hear of ctrl-C: this process does, and they end after the item
    that each has in hand.
    """
    if workers <= 1 or len(items) <= CHUNK:
        for item in items:
            yield _work_alone(work, item)
        return
    chunks = (items[i : i + CHUNK] for i in range(0, len(items), CHUNK))
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(stop,))
    waiting: deque[Future[list[Result]]] = deque()
    try:
        for chunk in islice(chunks, workers * CHUNKS_AHEAD):
            with _no_interrupt():
                waiting.append(pool.submit(_work_chunk, work, chunk))
        while waiting:
            yield from waiting.popleft().result()
            for chunk in islice(chunks, 1):
                with _no_interrupt():
                    waiting.append(pool.submit(_work_chunk, work, chunk))
    finally:
        with _no_interrupt():
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Hold ctrl-C back until the end of the block; processes that start within never hear it.

    An interrupt between the locks of a pool would leave it waiting for itself.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(stop: Event) -> None:
    global _stop  # noqa: PLW0603 - a worker has no other place of its own
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Leave no worker behind when the process that reads its results is killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work_chunk(work: Callable[[Item], Result], chunk: Sequence[Item]) -> list[Result]:
    results = []
    for item in chunk:
        if _stop is not None and _stop.is_set():
            break  # nobody reads this any more
        results.append(_work_alone(work, item))
    return results


def _work_alone(work: Callable[[Item], Result], item: Item) -> Result:
    with _thread_pools().limit(limits=1):
        return work(item)


@cache
def _thread_pools() -> ThreadpoolController:
    """The numerical libraries of this process; looking for them takes milliseconds, so it is done once."""
    return ThreadpoolController()
