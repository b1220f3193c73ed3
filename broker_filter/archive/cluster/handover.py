"""Series of a partition on their way from the machine that classified it to the store that was asked for.

A task of stage 2 writes what its own store has kept into one Arrow file; when all are done, the driver hands their
series to the store, some at a time. A work folder remembers which store it was: a run that died half-way goes on, and
a store that holds anything else is refused.

row  as ``series.store.WholeSeries``; see SCHEMA
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any, BinaryIO

import orjson
import pyarrow as pa

from broker_filter.archive.cluster.shared_folder import SharedFolder
from broker_filter.errors import ConfigurationError
from broker_filter.series.store import SeriesStore, WholeSeries

BYTES_AT_ONCE = 16 << 20
FILLED = "store.json"  # the name of the store that is being filled
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("dropped", pa.int64()),
        ("horizon_mjd", pa.float64()),  # these two null where nothing has left
        ("horizon_id", pa.int64()),
        ("newest_mjd", pa.float64()),
        ("rows", pa.large_list(pa.large_binary())),
        ("ranks", pa.list_(pa.int64())),
        ("embeddings", pa.large_list(pa.large_binary())),
    ]
)


def write_series(out: BinaryIO, series: Iterator[WholeSeries]) -> None:
    """Write series into an Arrow file."""
    with ExitStack() as stack:
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        writer = stack.enter_context(pa.ipc.new_file(out, SCHEMA, options=options))
        for some in _at_once(series):
            columns = zip(*map(_cells, some), strict=True)
            arrays = [pa.array(list(column), f.type) for column, f in zip(columns, SCHEMA, strict=True)]
            writer.write_batch(pa.record_batch(arrays, SCHEMA))


def read_series(folder: SharedFolder, name: str) -> Iterator[list[WholeSeries]]:
    """What ``write_series`` wrote, some at a time."""
    with folder.reading(name) as file, pa.ipc.open_file(file) as reader:
        for index in range(reader.num_record_batches):
            yield [_series(row) for row in reader.get_batch(index).to_pylist()]


def claim(store: SeriesStore, work: SharedFolder) -> None:
    """Make sure that what the store holds is this replay's own, from an earlier try, or nothing.

    Raises
    ------
    ConfigurationError
        When something else is in it.
    """
    held = store.stats().objects
    filled = orjson.loads(work.read_text(FILLED))["incarnation"] if work.exists(FILLED) else None
    if held and filled != store.incarnation:
        raise ConfigurationError(
            f"--store holds {held} objects already: a replay on a cluster fills an empty store; name another one, or "
            "replay in one process, which goes on from what is there"
        )
    if not held:
        store.put_whole(())  # names a shared store that is empty
        work.write_text(FILLED, orjson.dumps({"incarnation": store.incarnation}).decode())


def hand_over(work: SharedFolder, names: Sequence[str], store: SeriesStore) -> None:
    """Put the series of these files into the store; doing it again changes nothing."""
    for name in names:
        for some in read_series(work, name):
            store.put_whole(some)


def _at_once(series: Iterator[WholeSeries]) -> Iterator[list[WholeSeries]]:
    some: list[WholeSeries] = []
    size = 0
    for one in series:
        some.append(one)
        size += sum(map(len, one.rows)) + sum(map(len, one.embeddings.values()))
        if size >= BYTES_AT_ONCE:
            yield some
            some, size = [], 0
    if some:
        yield some


def _cells(one: WholeSeries) -> tuple[object, ...]:
    horizon = (None, None) if one.horizon is None else one.horizon
    return one.key, one.dropped, *horizon, one.newest_mjd, one.rows, [*one.embeddings], [*one.embeddings.values()]


def _series(row: dict[str, Any]) -> WholeSeries:
    horizon = None if row["horizon_mjd"] is None else (row["horizon_mjd"], row["horizon_id"])
    embeddings = dict(zip(row["ranks"], row["embeddings"], strict=True))
    return WholeSeries(row["key"], row["dropped"], horizon, row["newest_mjd"], tuple(row["rows"]), embeddings)
