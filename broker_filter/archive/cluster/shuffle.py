"""Rows between the stages: written by one task of stage 1, read by partition in stage 2.

A task writes one Arrow file of many record batches, each of rows of one partition, compressed; its report lists which
batch is of which partition, so that a reader fetches only its own. Rows keep the order in which they were read.

row  time_mjd float64, alert_id int64, arrival binary (``archive.time_order.pack_arrival``), embedding float32[D] or
     null
"""

from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from broker_filter.archive.cluster.shared_folder import SharedFolder

BUFFER_BYTES = 32 << 20  # of rows that wait for their batch to be written
READ_BYTES = 256 << 10  # asked of an object store at a time: a batch is small, and its neighbours are others' business
SCHEMA = pa.schema(
    [
        ("time_mjd", pa.float64()),
        ("alert_id", pa.int64()),
        ("arrival", pa.large_binary()),
        ("embedding", pa.large_binary()),
    ]
)


class ShuffledAlert(NamedTuple):
    """An alert on its way to the other alerts of its object."""

    time_mjd: float
    alert_id: int
    arrival: bytes
    embedding: bytes | None  # float32, little-endian; None where stage 2 embeds, or nothing is embedded


@dataclass(frozen=True, slots=True)
class Batches:
    """Which record batches of a shuffle file are of which partition."""

    partition_of_batch: array  # of "H": two bytes each
    rows: int


class BatchIndex:
    """Where the rows of each partition are, for all tasks of stage 1, in ten bytes a record batch.

    Parameters
    ----------
    partition_of_batch
        Of each task, in order, the partition of each of its record batches.
    """

    def __init__(self, partition_of_batch: Sequence[Sequence[int]]) -> None:
        self._starts = np.cumsum([0, *map(len, partition_of_batch)])
        partition_B = np.concatenate([np.zeros(0, np.uint16), *(np.asarray(b, np.uint16) for b in partition_of_batch)])
        self._order = np.argsort(partition_B, kind="stable")
        partitions, firsts = np.unique(partition_B[self._order], return_index=True)
        ends = [*firsts.tolist(), len(partition_B)]
        self._span = {partition: slice(*ends[n : n + 2]) for n, partition in enumerate(partitions.tolist())}

    @property
    def partitions(self) -> list[int]:
        """Those that have rows, in order."""
        return [*self._span]

    def of(self, partition: int) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """(task, its record batches of the partition), in order."""
        batches = self._order[self._span[partition]]
        tasks = np.searchsorted(self._starts, batches, side="right") - 1
        by_task: dict[int, list[int]] = {}
        for task, index in zip(tasks.tolist(), (batches - self._starts[tasks]).tolist(), strict=True):
            by_task.setdefault(task, []).append(index)
        return tuple((task, tuple(indices)) for task, indices in by_task.items())


class ShuffleFile:
    """The rows of one task, by partition, in bounded memory."""

    def __init__(self, out: BinaryIO, stack: ExitStack) -> None:
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        self._writer = stack.enter_context(pa.ipc.new_file(out, SCHEMA, options=options))
        self._waiting: dict[int, list[ShuffledAlert]] = {}
        self._waiting_bytes = 0
        self._partition_of_batch = array("H")
        self._rows = 0

    def put(self, partition: int, row: ShuffledAlert) -> None:
        """Take a row."""
        self._waiting.setdefault(partition, []).append(row)
        self._waiting_bytes += len(row.arrival) + len(row.embedding or b"")
        if self._waiting_bytes >= BUFFER_BYTES:
            self._flush()

    def _flush(self) -> None:
        for partition in sorted(self._waiting):
            rows = self._waiting[partition]
            columns = [
                pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), SCHEMA, strict=True)
            ]
            self._writer.write_batch(pa.record_batch(columns, SCHEMA))
            self._partition_of_batch.append(partition)
            self._rows += len(rows)
        self._waiting.clear()
        self._waiting_bytes = 0

    def finish(self) -> Batches:
        """Write what waits; call once, last."""
        self._flush()
        self._writer.close()
        return Batches(self._partition_of_batch, self._rows)


def read_rows(folder: SharedFolder, name: str, batches: Sequence[int]) -> Iterator[ShuffledAlert]:
    """The rows of some record batches of a shuffle file, in the order in which they were written."""
    with folder.reading(name, READ_BYTES) as file, pa.ipc.open_file(file) as reader:
        for index in batches:
            columns = [column.to_pylist() for column in reader.get_batch(index).columns]
            yield from map(ShuffledAlert._make, zip(*columns, strict=True))


def embedding_bytes(values: NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(values, "<f4").tobytes()


def embedding_of(content: bytes) -> NDArray[np.float32]:
    return np.frombuffer(content, "<f4").copy()
