"""The embedded series store: one row per observation in LMDB, one transaction per delivered batch.

``add`` only reads, and remembers what arrived; ``settle`` writes it, so that whatever kills the process, the file holds
whole delivered batches and nothing else. Where offsets are committed before ``settle``, ``prepare`` writes the arrivals
first, unsettled. One process owns the folder: a lock on it refuses a second one. A row that is not as it was written is
left out of its series at once and deleted with the object's next change. Weakness: the bytes counted are pages,
estimated from the rows' sizes; LMDB's own trees come on top (within a tenth).
"""

import contextlib
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lmdb

from broker_filter.errors import FatalError, RetryableError
from broker_filter.logs import facts, logger
from broker_filter.records import Observation
from broker_filter.series.inspection import Inspector
from broker_filter.series.lmdb.entries import entry_of, unsettled_of
from broker_filter.series.lmdb.folder import FILE_MODE, Folder, damaged
from broker_filter.series.lmdb.tables import (
    INCARNATION,
    MOST_TABLES,
    PAGE_BYTES,
    StoredObject,
    Tables,
    evict,
    put_whole,
    read_totals,
    under,
    whole_series,
)
from broker_filter.series.lmdb.version import make_current
from broker_filter.series.rows import (
    ObjectRow,
    decode_embedding,
    decode_pixels,
    encode_front,
    front_bytes,
    front_is_sound,
    is_settled,
    join_fronts,
    object_prefix,
    order_of,
    place_name,
    rank_of,
    sortable_order,
)
from broker_filter.series.store import (
    Change,
    CorruptStoreError,
    Embedding,
    FrameKey,
    HeldSeries,
    Inspection,
    Pixels,
    StoreStats,
    Unsettled,
    WholeSeries,
)

MAP_SLACK = 1.5  # file over counted bytes: trees, free pages of the last transactions, growth within one batch
SMALLEST_MAP_BYTES = 64 << 20
ROOM_BYTES, ROOM_FACTOR = 16 << 20, 3  # on the disk: for the trees, and copies of pages that a batch changes
GROWTH_STEP, GROWTH_LIMIT = 1.25, 2.0  # of a file that is full although its counted bytes are within the limit
# What LMDB says of a file, not of the disk or of its size.
DAMAGE = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.PanicError,
    lmdb.InvalidError,
    lmdb.VersionMismatchError,
    lmdb.CursorFullError,
    lmdb.PageFullError,
    lmdb.IncompatibleError,
    lmdb.BadValsizeError,
    lmdb.BadTxnError,
)
ROOM = "raise store.byte_limit, or free the disk"
REMEDIES: dict[type[lmdb.Error], str] = {  # of what is neither damage nor a want of room
    lmdb.MemoryError: "lower store.byte_limit, half as much again is mapped",
    lmdb.ReadonlyError: "let this user read and write its files",
}
log = logger("store")


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
        When it holds no store of ours, or a damaged one.
    """

    def __init__(
        self,
        folder: Path,
        max_objects: int = 10_000_000,
        max_bytes: int = 64 << 30,
        sync: bool = True,
        file_bytes: int | None = None,
    ) -> None:
        self._path, self._max_objects, self._max_bytes = folder, max_objects, max_bytes
        self._planned_bytes = self._map_bytes = file_bytes or max(int(MAP_SLACK * max_bytes), SMALLEST_MAP_BYTES)
        self._in_flight: dict[str, dict[int, Observation]] = {}  # arrived, not written yet
        self._unsettled: dict[str, dict[int, tuple[float, int]]] = {}  # written, not known to be delivered: orders
        self._damaged: dict[str, set[int]] = {}  # objects to be read through, alerts whose rows are not to be read
        self._guard = threading.Lock()
        self._evicted = self._damaged_rows = 0
        self._left, self._repaired = 0, dict[str, int]()  # of the transaction under way
        self._closed = False
        self._folder = Folder(folder)
        try:
            with self._translated():
                self._env = lmdb.open(
                    str(folder),
                    map_size=self._map_bytes,
                    max_dbs=MOST_TABLES,
                    sync=sync,
                    metasync=sync,
                    mode=FILE_MODE,
                )
                self._folder.complete(self._env)
                self._folder.protect()
                self._tables = Tables.of(self._env)
                make_current(self._env, self._tables, folder, self._writing)
                self._incarnation = self._read_incarnation()
        except BaseException:
            if hasattr(self, "_env"):
                self._env.close()
            self._folder.release()
            raise

    def _read_incarnation(self) -> str:
        with self._env.begin() as txn:
            name = bytes(txn.get(INCARNATION, b"", db=self._tables.totals))
        if not re.fullmatch(rb"[0-9a-f]{32}", name):
            raise damaged(self._path, f"its name is {name[:40]!r}, not 32 hexadecimal digits")
        return name.decode()

    @property
    def incarnation(self) -> str:
        """Name of this store's contents. See store.SeriesStore."""
        return self._incarnation

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """LMDB's errors become ours at this one door."""
        try:
            yield
        except DAMAGE as error:
            raise damaged(self._path, f"{type(error).__name__}: {error}") from error
        except lmdb.Error as error:
            remedy = REMEDIES.get(type(error), ROOM)
            raise FatalError(self._says(f"cannot be written: {error}", remedy)) from error

    @contextlib.contextmanager
    def _reading(self) -> Iterator[lmdb.Transaction]:
        with self._guard, self._translated(), self._env.begin(buffers=True) as txn:
            yield txn

    def add(self, arrivals: Sequence[tuple[str, Observation]]) -> dict[str, HeldSeries]:
        """Merge what arrived with what is held; writes nothing. See store.SeriesStore."""
        by_key: dict[str, list[Observation]] = {}
        for key, observation in arrivals:
            by_key.setdefault(key, []).append(observation)
        with self._reading() as txn:
            return {key: self._merge(txn, key, observations) for key, observations in by_key.items()}

    def read(self, keys: Sequence[str]) -> dict[str, HeldSeries]:
        """Series as they are held, of those objects that are. See store.SeriesStore."""
        with self._reading() as txn:
            held = {key: self._merge(txn, key, ()) for key in dict.fromkeys(keys)}
        return {key: series for key, series in held.items() if len(series.heads)}

    def _merge(self, txn: lmdb.Transaction, key: str, observations: Sequence[Observation]) -> HeldSeries:
        prefix = object_prefix(key)
        known = self._object_row(txn, prefix, key)
        fronts = self._sound_fronts(txn, prefix, key, known.held)
        orders = {order_of(front)[1]: front for front in fronts}
        waiting = {i: order_of(front) for i, front in orders.items() if not is_settled(front)}
        if waiting:
            self._unsettled[key] = waiting
        in_flight = self._in_flight.setdefault(key, {})
        for observation in observations:
            fresh = observation.alert_id not in orders and observation.alert_id not in in_flight
            if fresh and (known.horizon is None or observation.order > known.horizon):
                in_flight[observation.alert_id] = observation
        if in_flight:
            fronts += [encode_front(one, False, key, b"") for one in in_flight.values()]  # their pixels are here
        else:
            del self._in_flight[key]
        return HeldSeries(
            key, known.dropped, known.horizon, *join_fronts(fronts), self._sound_embeddings(txn, prefix, key)
        )

    def _object_row(self, txn: lmdb.Transaction, prefix: bytes, key: str) -> ObjectRow:
        packed = txn.get(prefix, db=self._tables.objects)
        try:
            return ObjectRow.decode(packed, key) if packed is not None else ObjectRow()
        except CorruptStoreError as error:
            self._suspect(key, str(error))
            return ObjectRow()

    def _sound_fronts(self, txn: lmdb.Transaction, prefix: bytes, key: str, expected: int) -> list[bytes]:
        fronts, count, passed_over = [], 0, self._damaged.get(key, ())
        for _, row in under(txn, prefix, self._tables.rows):
            front = bytes(row[: front_bytes(row)])
            count += 1
            if not front_is_sound(front, key):
                self._suspect(key, "an observation")
            elif not passed_over or order_of(front)[1] not in passed_over:
                fronts.append(front)
        if count != expected:
            self._suspect(key, f"{count} observations, {expected} expected")
        return fronts

    def _sound_embeddings(self, txn: lmdb.Transaction, prefix: bytes, key: str) -> dict[int, Embedding]:
        embeddings = {}
        for name, row in under(txn, prefix, self._tables.embeddings):
            try:
                embeddings[rank_of(name)] = decode_embedding(row, key)
            except CorruptStoreError:
                self._suspect(key, "an embedding")
        return embeddings

    def _suspect(self, key: str, what: str, alert_id: int | None = None) -> None:
        """Remember that an object is to be read through at its next change."""
        if key not in self._damaged:
            log.error(
                "damaged rows are left out of a series and will be deleted",
                extra=facts(store=str(self._path), object=key, what=what),
            )
        self._damaged.setdefault(key, set())
        if alert_id is not None:
            self._damaged[key].add(alert_id)

    def pixels(self, frames: Sequence[FrameKey]) -> dict[FrameKey, Pixels]:
        """Read pixels, of arrivals from memory. See store.SeriesStore."""
        pixels: dict[FrameKey, Pixels] = {}
        with self._reading() as txn:
            for frame in frames:
                waiting = self._in_flight.get(frame.key, {}).get(frame.alert_id)
                if waiting is not None:
                    pixels[frame] = Pixels(waiting.pixels, waiting.scale_njy)
                    continue
                prefix = object_prefix(frame.key)
                row = txn.get(prefix + sortable_order(frame.time_mjd, frame.alert_id), db=self._tables.rows)
                try:
                    if row is not None:
                        pixels[frame] = decode_pixels(row, frame.key, frame.alert_id)
                except CorruptStoreError as error:
                    self._suspect(frame.key, str(error), frame.alert_id)
        return pixels

    def refuse_without_room(self, changes: Sequence[Change]) -> None:
        """Look at the disk: what is published and cannot be settled is published again at each start."""
        arrivals = (one for change in changes for one in self._in_flight.get(change.key, {}).values())
        needed = ROOM_BYTES + ROOM_FACTOR * sum(one.pixels.nbytes + PAGE_BYTES for one in arrivals)
        free = shutil.disk_usage(self._path).free
        if free < needed:
            raise RetryableError(
                f"the disk of the series store {self._path} has {free} bytes left, and {needed} may be needed to keep "
                "a batch that is published: free the disk"
            )

    def prepare(self, changes: Sequence[Change]) -> None:
        """Write the arrivals of a batch, unsettled. See store.SeriesStore."""
        with self._guard:
            self._writing(partial(self._write_unsettled, changes))
            for change in changes:
                waiting = self._in_flight.pop(change.key, {})
                written = self._unsettled.setdefault(change.key, {})
                for alert_id in change.settled:
                    if (observation := waiting.pop(alert_id, None)) is not None:
                        written[alert_id] = observation.order
                if waiting:
                    self._in_flight[change.key] = waiting

    def _write_unsettled(self, changes: Sequence[Change], txn: lmdb.Transaction) -> None:
        for change in changes:
            waiting = self._in_flight.get(change.key, {})
            arrived = [waiting[alert_id] for alert_id in change.settled if alert_id in waiting]
            if arrived:
                stored = self._open_object(txn, change.key)
                for observation in arrived:
                    stored.insert(observation, settled=False)
                stored.save()

    def settle(self, changes: Sequence[Change]) -> None:
        """Write a delivered batch in one transaction, evicting when full. See store.SeriesStore."""
        with self._guard:
            protected = {object_prefix(key) for key in (*self._in_flight, *(change.key for change in changes))}
            self._writing(partial(self._write, changes, protected))
            for change in changes:
                for memory in (self._in_flight, self._unsettled):
                    _forget(memory, change.key, (*change.settled, *change.withdrawn))

    def _writing(self, write: Callable[[lmdb.Transaction], None]) -> None:
        """Run ``write`` in a transaction; let the file grow beyond its plan where it is full.

        LMDB needs free pages even to delete, so evicting alone cannot help.
        """
        with self._translated():
            while True:
                self._left, self._repaired = 0, {}
                try:
                    with self._env.begin(write=True, buffers=True) as txn:
                        write(txn)
                except lmdb.MapFullError:
                    if self._map_bytes >= GROWTH_LIMIT * self._planned_bytes:
                        raise FatalError(self._says(f"is full at {self._map_bytes} bytes of file")) from None
                    self._map_bytes = int(GROWTH_STEP * self._map_bytes)
                    self._env.set_mapsize(self._map_bytes)
                else:
                    break
        self._evicted += self._left
        self._damaged_rows += sum(self._repaired.values())
        for key in self._repaired:
            self._damaged.pop(key, None)

    def _says(self, what: str, remedy: str = ROOM) -> str:
        limit = f"limit {self._max_bytes} bytes, {self._max_objects} objects"
        return f"series store {self._path} {what} ({limit}): {remedy}"

    def _open_object(self, txn: lmdb.Transaction, key: str) -> StoredObject:
        stored = StoredObject(txn, self._tables, key, suspect=key in self._damaged)
        if key in self._damaged or stored.damaged_rows:
            self._repaired[key] = self._repaired.get(key, 0) + stored.damaged_rows
        return stored

    def _write(self, changes: Sequence[Change], protected: set[bytes], txn: lmdb.Transaction) -> None:
        for change in changes:
            self._write_object(txn, change)
        self._evict_surplus(txn, protected)

    def _evict_surplus(self, txn: lmdb.Transaction, protected: set[bytes]) -> None:
        totals = read_totals(txn, self._tables)
        while totals[0] > self._max_objects or totals[2] > self._max_bytes:
            left = evict(txn, self._tables, max(totals[0] - self._max_objects, 1), protected)
            if not left and protected:
                protected = set()  # the batch alone is over the limit: its own objects must go
            elif not left:
                break
            self._left += left
            totals = read_totals(txn, self._tables)

    def _write_object(self, txn: lmdb.Transaction, change: Change) -> None:
        stored = self._open_object(txn, change.key)
        waiting, written = self._in_flight.get(change.key, {}), self._unsettled.get(change.key, {})
        for alert_id in change.settled:
            if alert_id in waiting:
                stored.insert(waiting[alert_id], settled=True)
            elif alert_id in written:
                stored.settle(written[alert_id])
        if change.withdrawn:
            stored.withdraw(change.withdrawn)
        if stored.held:
            stored.put_embeddings(change)
            stored.shorten(change.hold_limit, change.group_size)
        stored.save()

    def unsettled(self, topic: str, partition: int) -> list[Unsettled]:
        """Unsettled observations that a partition brought. See store.SeriesStore."""
        place = place_name(topic, partition)
        with self._reading() as txn:
            return [unsettled_of(bytes(name)) for name, _ in under(txn, place, self._tables.unsettled)]

    def settle_below(self, topic: str, partition: int, offset: int) -> int:
        """Settle what a partition brought before ``offset``. See store.SeriesStore."""
        entries = [entry for entry in self.unsettled(topic, partition) if entry.offset < offset]
        if not entries:
            return 0
        with self._guard:
            counts: list[int] = []
            self._writing(lambda txn: counts.append(self._settle_entries(txn, place_name(topic, partition), offset)))
            for entry in entries:
                _forget(self._unsettled, entry.key, (entry.alert_id,))
        return counts[-1]

    def _settle_entries(self, txn: lmdb.Transaction, place: bytes, offset: int) -> int:
        count = 0
        for name in [bytes(name) for name, _ in under(txn, place, self._tables.unsettled)]:
            key, order, position = entry_of(name)
            if position < offset:
                stored = self._open_object(txn, key)
                count += stored.settle(order)
                stored.save()
                txn.delete(name, db=self._tables.unsettled)
        return count

    def whole(self) -> Iterator[WholeSeries]:
        """All that is kept, object by object, in order of keys; what was written before this began."""
        with self._translated(), self._env.begin(buffers=True) as txn:
            yield from whole_series(txn, self._tables)

    def put_whole(self, series: Sequence[WholeSeries]) -> None:
        """Keep whole series of another store, in one transaction. See store.SeriesStore."""

        def write(txn: lmdb.Transaction) -> None:
            for one in series:
                put_whole(txn, self._tables, one)
            self._evict_surplus(txn, set())

        with self._guard:
            self._writing(write)

    def stats(self) -> StoreStats:
        """Count what is on disk."""
        with self._reading() as txn:
            objects, observations, size = read_totals(txn, self._tables)
        return StoreStats(objects, observations, size, self._evicted, self._damaged_rows)

    def inspect(self) -> Inspection:
        """Read and check every row. See store.SeriesStore."""
        inspector = Inspector()
        tables = self._tables
        with self._translated(), self._env.begin(buffers=True) as txn, txn.cursor(db=tables.objects) as cursor:
            for prefix, packed in cursor:
                name = bytes(prefix)
                rows = [row for _, row in under(txn, name, tables.rows)]
                embeddings = [row for _, row in under(txn, name, tables.embeddings)]
                inspector.look(name, packed, rows, embeddings)
            inspector.compare(read_totals(txn, tables), txn.stat(tables.rows)["entries"])
        return inspector.result()

    def close(self) -> None:
        """Close the file and release the folder; closing twice does nothing."""
        if self._closed:
            return
        self._closed = True
        self._env.close()
        self._folder.closed()
        self._folder.release()


def _forget(memory: dict[str, dict[int, Any]], key: str, alert_ids: Sequence[int]) -> None:
    of_object = memory.get(key, {})
    for alert_id in alert_ids:
        of_object.pop(alert_id, None)
    if not of_object:
        memory.pop(key, None)
