"""Stores as version 2 of them was written, for the tests of its migration."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import lmdb
import numpy as np
import redis

from broker_filter.records import Observation
from broker_filter.series.rows import EPOCH, object_prefix, rank_key, sortable_id, sortable_order, sortable_time
from broker_filter.series.store import Embedding

Series = Mapping[str, Sequence[Observation]]
HORIZON = (59_000.0, 7)
DROPPED = 3
EMBEDDING = Embedding(b"0123456789abcdef", np.arange(6, dtype=np.float32).reshape(2, 3))


def observation_row(one: Observation, settled: bool = True) -> tuple[bytes, bytes]:
    """Front and body."""
    epochs = np.empty(len(one.history), EPOCH)
    epochs["time_mjd"], epochs["band"] = one.history.time_P, one.history.band_P
    epochs["flux_njy"], epochs["flux_error_njy"] = one.history.flux_P, one.history.flux_error_P
    head = struct.pack(
        "<BBbBHHqdffH",
        2,
        settled,
        one.band,
        *one.pixels.shape,
        one.alert_id,
        one.time_mjd,
        one.flux_njy,
        one.flux_error_njy,
        len(one.history),
    )
    return head + epochs.tobytes(), one.scale_njy.astype("<f4").tobytes() + one.pixels.astype("<f2").tobytes()


def embedding_row(one: Embedding) -> bytes:
    """One row."""
    head = struct.pack("<BB16s", 2, one.values.ndim, one.tag)
    return head + struct.pack(f"<{one.values.ndim}I", *one.values.shape) + one.values.astype("<f4").tobytes()


def write_folder(folder: Path, series: Series) -> None:
    """An embedded store in which each object has lost three observations and has one embedding."""
    folder.mkdir()
    with lmdb.open(str(folder), map_size=256 << 20, max_dbs=5, sync=False) as env:
        objects, rows, embeddings, silence, totals = (
            env.open_db(name) for name in (b"objects", b"rows", b"embeddings", b"silence", b"totals")
        )
        with env.begin(write=True) as txn:
            for key, observations in series.items():
                prefix = object_prefix(key)
                for one in observations:
                    txn.put(prefix + sortable_order(*one.order), b"".join(observation_row(one)), db=rows)
                txn.put(prefix + rank_key(3), embedding_row(EMBEDDING), db=embeddings)
                newest = max(one.time_mjd for one in observations)
                known = struct.pack("<BBIIQddq", 2, True, DROPPED, len(observations), 1000, newest, *HORIZON)
                txn.put(prefix, known, db=objects)
                txn.put(sortable_time(newest) + prefix, b"", db=silence)
            count = sum(map(len, series.values()))
            txn.put(b"totals", np.array([len(series), count, 1000 * len(series)], "<i8").tobytes(), db=totals)


def write_server(client: redis.Redis, namespace: str, series: Series) -> None:
    """The same on a server."""
    for key, observations in series.items():
        base = f"{namespace}:{key}"
        for one in observations:
            front, body = observation_row(one)
            client.hset(f"{base}:h", sortable_id(one.alert_id), sortable_order(*one.order) + front)
            client.hset(f"{base}:p", sortable_id(one.alert_id), body)
        client.hset(f"{base}:e", rank_key(3), embedding_row(EMBEDDING))
        client.hset(f"{base}:m", mapping={"dropped": DROPPED, "bytes": 1000})
        client.hset(f"{base}:m", b"horizon", sortable_order(*HORIZON))
        client.zadd(f"{namespace}:silence", {key: max(one.time_mjd for one in observations)})
    client.hset(f"{namespace}:totals", mapping={"objects": len(series), "observations": 1, "bytes": 1000})
