"""The embedded series store: one row per observation in LMDB, one transaction per delivered batch.

``add`` only reads, and remembers what arrived; ``settle`` writes it, so that whatever kills the process, the file holds
whole delivered batches and nothing else. One process owns the folder: a lock on it refuses a second one. Weakness: the
bytes counted are pages, estimated from the rows' sizes; LMDB's own trees come on top (within a tenth).
"""

import contextlib
import fcntl
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import lmdb
import numpy as np
from numpy.typing import NDArray

from broker_filter.errors import ConfigurationError, FatalError
from broker_filter.records import Observation
from broker_filter.series.rows import (
    ObjectRow,
    decode_embedding,
    decode_fronts,
    decode_heads,
    decode_pixels,
    encode_embedding,
    encode_front,
    encode_observation,
    front_bytes,
    object_prefix,
    rank_key,
    rank_of,
    sortable_order,
    sortable_time,
)
from broker_filter.series.store import (
    HEAD,
    Change,
    CorruptStoreError,
    Embedding,
    FrameKey,
    HeldSeries,
    Pixels,
    StoreStats,
    surplus,
)

PAGE_BYTES = 4096
LARGEST_INLINE_BYTES = 2000  # a larger row moves to pages of its own
ROW_OVERHEAD_BYTES = 60  # node header, key and the share of a half-full page
MAP_SLACK = 1.5  # file over counted bytes: trees, free pages of the last transactions, growth within one batch
SMALLEST_MAP_BYTES = 64 << 20
GROWTH_STEP, GROWTH_LIMIT = 1.25, 2.0  # of a file that is full although its counted bytes are within the limit


def _occupied(row_bytes: int) -> int:
    """Bytes of file that a row takes."""
    if row_bytes <= LARGEST_INLINE_BYTES:
        return row_bytes + ROW_OVERHEAD_BYTES
    return -(-(row_bytes + 16) // PAGE_BYTES) * PAGE_BYTES + ROW_OVERHEAD_BYTES


class LmdbSeriesStore:
    """Series of a single process, in a folder.

    Parameters
    ----------
    folder
        Made when absent.
    max_objects, max_bytes
        Beyond either the longest-silent objects (oldest newest observation) leave.
    sync
        Wait for the disk at each ``settle``. Without it a crash of the machine (not of the process) can lose batches.
    file_bytes
        Planned size of the file, by default half as much again as ``max_bytes`` for LMDB's trees and free pages. It
        grows to twice that before the store says that it is full.

    Raises
    ------
    ConfigurationError
        When the folder cannot be made or written, or another process owns it.
    FatalError
        When it holds no store of ours.
    """

    def __init__(
        self,
        folder: Path,
        max_objects: int = 10_000_000,
        max_bytes: int = 64 << 30,
        sync: bool = True,
        file_bytes: int | None = None,
    ) -> None:
        self._folder, self._max_objects, self._max_bytes = folder, max_objects, max_bytes
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock_file = (folder / "owner.lock").open("w")
        except OSError as error:
            raise ConfigurationError(
                f"the series store {folder} (store.path) cannot be opened: {error.strerror}; choose a writable folder"
            ) from error
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock_file.close()
            raise ConfigurationError(
                f"the series store {folder} is owned by another process: give each process its own folder, "
                "or share a Redis-protocol store"
            ) from error
        self._planned_bytes = self._map_bytes = file_bytes or max(int(MAP_SLACK * max_bytes), SMALLEST_MAP_BYTES)
        try:
            self._env = lmdb.open(str(folder), map_size=self._map_bytes, max_dbs=5, sync=sync, metasync=sync)
            self._objects, self._rows, self._embeddings, self._silence, self._totals = (
                self._env.open_db(name) for name in (b"objects", b"rows", b"embeddings", b"silence", b"totals")
            )
        except lmdb.Error as error:
            self._lock_file.close()
            raise FatalError(f"cannot open the series store {folder}: {error}") from error
        self._in_flight: dict[str, dict[int, Observation]] = {}  # arrived, outputs not delivered yet
        self._guard = threading.Lock()
        self._evicted = 0
        self._closed = False

    def add(self, arrivals: Sequence[tuple[str, Observation]]) -> dict[str, HeldSeries]:
        """Merge what arrived with what is held; writes nothing. See buffer.SeriesStore."""
        with self._guard, self._env.begin(buffers=True) as txn:
            by_key: dict[str, list[Observation]] = {}
            for key, observation in arrivals:
                by_key.setdefault(key, []).append(observation)
            return {key: self._merge(txn, key, observations) for key, observations in by_key.items()}

    def _merge(self, txn: lmdb.Transaction, key: str, observations: list[Observation]) -> HeldSeries:
        prefix = object_prefix(key)
        packed = txn.get(prefix, db=self._objects)
        known = ObjectRow.decode(packed) if packed is not None else ObjectRow()
        rows = self._under(txn, prefix, self._rows) if known.held else ()
        fronts = [bytes(row[: front_bytes(row)]) for _, row in rows]
        if len(fronts) != known.held:
            raise CorruptStoreError(f"{key} has {len(fronts)} observations, {known.held} expected: rebuild the store")
        stored_ids = set(decode_heads(front[: HEAD.itemsize] for front in fronts)["alert_id"].tolist())
        in_flight = self._in_flight.setdefault(key, {})
        for observation in observations:
            fresh = observation.alert_id not in stored_ids and observation.alert_id not in in_flight
            if fresh and (known.horizon is None or observation.order > known.horizon):
                in_flight[observation.alert_id] = observation
        if in_flight:
            fronts += [encode_front(observation, settled=False) for observation in in_flight.values()]
        else:
            del self._in_flight[key]
        heads, epochs = decode_fronts(fronts)
        embeddings = {rank_of(name): decode_embedding(row) for name, row in self._under(txn, prefix, self._embeddings)}
        return HeldSeries(key, known.dropped, known.horizon, heads, epochs, embeddings)

    def pixels(self, frames: Sequence[FrameKey]) -> dict[FrameKey, Pixels]:
        """Read pixels, of arrivals from memory. See buffer.SeriesStore."""
        found: dict[FrameKey, Pixels] = {}
        with self._guard, self._env.begin(buffers=True) as txn:
            for frame in frames:
                waiting = self._in_flight.get(frame.key, {}).get(frame.alert_id)
                if waiting is not None:
                    found[frame] = Pixels(waiting.pixels, waiting.scale_njy)
                    continue
                name = object_prefix(frame.key) + sortable_order(frame.time_mjd, frame.alert_id)
                row = txn.get(name, db=self._rows)
                if row is not None:
                    found[frame] = decode_pixels(row)
        return found

    def settle(self, changes: Sequence[Change]) -> None:
        """Write a delivered batch in one transaction, evicting when full. See buffer.SeriesStore."""
        with self._guard:
            protected = {object_prefix(key) for key in (*self._in_flight, *(change.key for change in changes))}
            try:
                try:
                    self._write(changes, protected)
                except lmdb.MapFullError:
                    self._write_into_full_file(changes, protected)
            except lmdb.Error as error:
                raise FatalError(self._says(f"cannot be written: {error}")) from error
            for change in changes:
                self._forget_in_flight(change)

    def _write_into_full_file(self, changes: Sequence[Change], protected: set[bytes]) -> None:
        """Let the file grow beyond its plan: LMDB needs free pages even to delete, so evicting alone cannot help."""
        while self._map_bytes < GROWTH_LIMIT * self._planned_bytes:
            self._map_bytes = int(GROWTH_STEP * self._map_bytes)
            self._env.set_mapsize(self._map_bytes)
            with contextlib.suppress(lmdb.MapFullError):
                return self._write(changes, protected)
        raise FatalError(self._says(f"is full at {self._map_bytes} bytes of file"))

    def _says(self, what: str) -> str:
        limit = f"limit {self._max_bytes} bytes, {self._max_objects} objects"
        return f"series store {self._folder} {what} ({limit}): raise store.byte_limit, or free the disk"

    def _write(self, changes: Sequence[Change], protected: set[bytes]) -> None:
        evicted = 0
        with self._env.begin(write=True, buffers=True) as txn:
            for change in changes:
                self._write_object(txn, change)
            totals = self._read_totals(txn)
            while totals[0] > self._max_objects or totals[2] > self._max_bytes:
                left = self._evict(txn, max(totals[0] - self._max_objects, 1), protected)
                if not left and protected:
                    protected = set()  # the batch alone is over the limit: its own objects must go
                elif not left:
                    break
                evicted += left
                totals = self._read_totals(txn)
        self._evicted += evicted

    def _write_object(self, txn: lmdb.Transaction, change: Change) -> None:
        prefix = object_prefix(change.key)
        packed = txn.get(prefix, db=self._objects)
        before = ObjectRow.decode(packed) if packed is not None else ObjectRow()
        held, size, newest = before.held, before.occupied_bytes, before.newest_mjd
        waiting = self._in_flight.get(change.key, {})
        for alert_id in change.settled:
            observation = waiting.get(alert_id)
            if observation is None or (before.horizon is not None and observation.order <= before.horizon):
                continue
            row = encode_observation(observation, settled=True)
            if txn.put(prefix + sortable_order(*observation.order), row, overwrite=False, db=self._rows):
                held, size, newest = held + 1, size + _occupied(len(row)), max(newest, observation.time_mjd)
        if held == 0:
            return  # all that arrived had meanwhile become too late
        for rank, embedding in change.embeddings.items():
            size += self._put_embedding(txn, prefix + rank_key(rank), embedding)
        dropped, horizon = before.dropped, before.horizon
        for _ in range(surplus(held, change.hold_limit, change.group_size)):
            name, oldest = next(self._under(txn, prefix, self._rows))
            head = decode_heads([bytes(oldest[: HEAD.itemsize])])[0]
            horizon = (float(head["time_mjd"]), int(head["alert_id"]))
            size -= _occupied(len(oldest))
            txn.delete(bytes(name), db=self._rows)
            dropped, held = dropped + 1, held - 1
        if dropped > before.dropped:
            size -= self._drop_embeddings(txn, prefix, dropped)
        if packed is not None:
            txn.delete(sortable_time(before.newest_mjd) + prefix, db=self._silence)
        txn.put(prefix, ObjectRow(dropped, held, size, newest, horizon).encode(), db=self._objects)
        txn.put(sortable_time(newest) + prefix, b"", db=self._silence)
        self._add_totals(txn, 1 if packed is None else 0, held - before.held, size - before.occupied_bytes)

    def _put_embedding(self, txn: lmdb.Transaction, name: bytes, embedding: Embedding) -> int:
        old = txn.get(name, db=self._embeddings)
        grown = -_occupied(len(old)) if old is not None else 0
        row = encode_embedding(embedding)
        txn.put(name, row, db=self._embeddings)
        return grown + _occupied(len(row))

    def _drop_embeddings(self, txn: lmdb.Transaction, prefix: bytes, below_rank: int) -> int:
        gone = [
            (bytes(n), len(row)) for n, row in self._under(txn, prefix, self._embeddings) if rank_of(n) < below_rank
        ]
        for name, _ in gone:
            txn.delete(name, db=self._embeddings)
        return sum(_occupied(size) for _, size in gone)

    def _evict(self, txn: lmdb.Transaction, count: int, protected: set[bytes]) -> int:
        """Remove up to ``count`` of the longest-silent objects that are not protected."""
        silent = []
        with txn.cursor(db=self._silence) as cursor:
            for name in cursor.iternext(keys=True, values=False):
                if (prefix := bytes(name)[8:]) not in protected:
                    silent.append(bytes(name))
                    if len(silent) == count:
                        break
        for name in silent:
            prefix = name[8:]
            packed = txn.get(prefix, db=self._objects)
            if packed is None:
                raise CorruptStoreError(f"{self._folder} lists an object that it does not hold: rebuild the store")
            gone = ObjectRow.decode(packed)
            for db in (self._rows, self._embeddings):
                for row_name in [bytes(n) for n, _ in self._under(txn, prefix, db)]:
                    txn.delete(row_name, db=db)
            txn.delete(prefix, db=self._objects)
            txn.delete(name, db=self._silence)
            self._add_totals(txn, -1, -gone.held, -gone.occupied_bytes)
        return len(silent)

    @staticmethod
    def _under(
        txn: lmdb.Transaction, prefix: bytes, db: lmdb._Database
    ) -> Iterator[tuple[bytes | memoryview, bytes | memoryview]]:
        """Rows whose names begin with ``prefix``, in order."""
        with txn.cursor(db=db) as cursor:
            if not cursor.set_range(prefix):
                return
            for name, row in cursor:
                if name[: len(prefix)] != prefix:
                    return
                yield name, row

    def _read_totals(self, txn: lmdb.Transaction) -> NDArray[np.int64]:
        """Objects, observations, bytes."""
        packed = txn.get(b"totals", db=self._totals)
        return np.zeros(3, np.int64) if packed is None else np.frombuffer(packed, "<i8").copy()

    def _add_totals(self, txn: lmdb.Transaction, objects: int, observations: int, size: int) -> None:
        totals = self._read_totals(txn) + np.array([objects, observations, size])
        txn.put(b"totals", totals.astype("<i8").tobytes(), db=self._totals)

    def _forget_in_flight(self, change: Change) -> None:
        waiting = self._in_flight.get(change.key, {})
        for alert_id in change.settled:
            waiting.pop(alert_id, None)
        if not waiting:
            self._in_flight.pop(change.key, None)

    def stats(self) -> StoreStats:
        """Count what is on disk."""
        with self._guard, self._env.begin() as txn:
            objects, observations, size = self._read_totals(txn).tolist()
        return StoreStats(objects, observations, size, self._evicted)

    def close(self) -> None:
        """Close the file and release the folder."""
        if self._closed:
            return
        self._closed = True
        with contextlib.closing(self._lock_file):
            self._env.close()
