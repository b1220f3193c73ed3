"""Rows between the stages: written by one task of stage 1, read by partition in stage 2.

A task writes one Arrow file of many record batches, each of rows of one partition, compressed; its report lists which
batch is of which partition, so that a reader fetches only its own. Rows keep the order in which they were read.

row  time_mjd float64, alert_id int64, arrival binary (``archive.time_order.pack_arrival``), embedding float32[D] or
     null
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from broker_filter.archive.cluster.files import Folder

BUFFER_BYTES = 32 << 20  # of rows that wait for their batch to be written
SCHEMA = pa.schema(
    [
        ("time_mjd", pa.float64()),
        ("alert_id", pa.int64()),
        ("arrival", pa.large_binary()),
        ("embedding", pa.large_binary()),
    ]
)


class Row(NamedTuple):
    """An alert on its way to the other alerts of its object."""

    time_mjd: float
    alert_id: int
    arrival: bytes
    embedding: bytes | None  # float32, little-endian; None where stage 2 embeds, or nothing is embedded


@dataclass(frozen=True, slots=True)
class Batches:
    """Which record batches of a shuffle file are of which partition."""

    partition_of_batch: tuple[int, ...]
    rows: int


class ShuffleFile:
    """The rows of one task, by partition, in bounded memory."""

    def __init__(self, out: BinaryIO, stack: ExitStack) -> None:
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        self._writer = stack.enter_context(pa.ipc.new_file(out, SCHEMA, options=options))
        self._waiting: dict[int, list[Row]] = {}
        self._waiting_bytes = 0
        self._partition_of_batch: list[int] = []
        self._rows = 0

    def put(self, partition: int, row: Row) -> None:
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
        return Batches(tuple(self._partition_of_batch), self._rows)


def read_rows(folder: Folder, name: str, batches: Sequence[int]) -> Iterator[Row]:
    """The rows of some record batches of a shuffle file, in the order in which they were written."""
    with folder.reading(name) as file, pa.ipc.open_file(file) as reader:
        for index in batches:
            columns = [column.to_pylist() for column in reader.get_batch(index).columns]
            yield from map(Row._make, zip(*columns, strict=True))


def embedding_bytes(values: NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(values, "<f4").tobytes()


def embedding_of(content: bytes) -> NDArray[np.float32]:
    return np.frombuffer(content, "<f4").copy()
