"""Rejected messages of a task, kept until the run writes them into one archive of rejects.

Each message is kept once, however many of its records were rejected, as the archive keeps it.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import BinaryIO

import pyarrow as pa

from broker_filter.archive.cluster.shared_folder import SharedFolder
from broker_filter.errors import Rejection
from broker_filter.records import Message, Origin, Rejected

SCHEMA = pa.schema(
    [
        ("value", pa.large_binary()),
        ("source", pa.string()),
        ("partition", pa.int64()),
        ("offset", pa.int64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)


class RejectRows:
    """An Arrow file of rejected messages."""

    def __init__(self, out: BinaryIO, stack: ExitStack) -> None:
        self._writer = stack.enter_context(pa.ipc.new_file(out, SCHEMA))
        self._last: Message | None = None

    def write(self, rejected: Sequence[Rejected]) -> None:
        """Add messages, in order."""
        rows = []
        for one in rejected:
            if one.message is not self._last:
                origin = one.message.origin
                detail = one.detail.encode("utf-8", "backslashreplace").decode()  # words of broken packets are in it
                rows.append((one.message.value, origin.source, origin.partition, origin.offset, one.reason, detail))
            self._last = one.message
        if rows:
            columns = [pa.array(column, f.type) for column, f in zip(zip(*rows, strict=True), SCHEMA, strict=True)]
            self._writer.write_batch(pa.record_batch(columns, SCHEMA))


def read_rejects(folder: SharedFolder, name: str) -> Iterator[Rejected]:
    """What a task wrote."""
    with folder.reading(name) as file, pa.ipc.open_file(file) as reader:
        for index in range(reader.num_record_batches):
            for row in reader.get_batch(index).to_pylist():
                origin = Origin(row["source"], row["partition"], row["offset"])
                yield Rejected(Message(row["value"], origin), Rejection(row["reason"]), row["detail"])
