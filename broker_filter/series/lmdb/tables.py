"""The tables of an embedded store, and one object's rows within a write transaction.

objects     prefix -> ObjectRow
rows        prefix, order -> observation
embeddings  prefix, rank -> embedding
silence     newest time, prefix -> nothing: the longest-silent object first
unsettled   topic and partition (12 bytes), offset, prefix, order -> topic: what a crash left between commit and settle
totals      totals, version, incarnation; while version 2 is migrated, how far that is
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import lmdb

from broker_filter.records import Observation
from broker_filter.series.lmdb.entries import unsettled_name
from broker_filter.series.rows import (
    CorruptStoreError,
    ObjectRow,
    decode_embedding,
    decode_pixels,
    decode_totals,
    encode_embedding,
    encode_observation,
    encode_totals,
    front_bytes,
    front_is_sound,
    is_settled,
    key_of,
    object_prefix,
    order_of,
    rank_key,
    rank_of,
    settled_copy,
    sortable_order,
    sortable_time,
)
from broker_filter.series.store import Change, Embedding, WholeSeries, surplus

STORE_VERSION = 3
VERSION, INCARNATION, TOTALS, MIGRATED = b"version", b"incarnation", b"totals", b"migrated"
MOST_TABLES = 8
TIME_BYTES = 8
PAGE_BYTES = 4096
LARGEST_INLINE_BYTES = 2000  # a larger row moves to pages of its own
ROW_OVERHEAD_BYTES = 60  # node header, key and the share of a half-full page
Row = bytes | memoryview


def occupied(row_bytes: int) -> int:
    """Bytes of file that a row takes."""
    if row_bytes <= LARGEST_INLINE_BYTES:
        return row_bytes + ROW_OVERHEAD_BYTES
    return -(-(row_bytes + 16) // PAGE_BYTES) * PAGE_BYTES + ROW_OVERHEAD_BYTES


@dataclass(frozen=True, slots=True)
class Tables:
    """Handles of the tables."""

    objects: lmdb._Database
    rows: lmdb._Database
    embeddings: lmdb._Database
    silence: lmdb._Database
    unsettled: lmdb._Database
    totals: lmdb._Database

    @staticmethod
    def of(env: lmdb.Environment) -> "Tables":
        """Open them, made when absent."""
        names = (b"objects", b"rows", b"embeddings", b"silence", b"unsettled", b"totals")
        return Tables(*(env.open_db(name) for name in names))


def begin_anew(txn: lmdb.Transaction, tables: Tables) -> None:
    """Write down that an empty store is of this version, and name it."""
    txn.put(VERSION, str(STORE_VERSION).encode(), db=tables.totals)
    txn.put(INCARNATION, uuid.uuid4().hex.encode(), db=tables.totals)


def under(txn: lmdb.Transaction, prefix: bytes, db: lmdb._Database) -> Iterator[tuple[Row, Row]]:
    """Rows whose names begin with ``prefix``, in order."""
    with txn.cursor(db=db) as cursor:
        if not cursor.set_range(prefix):
            return
        for name, row in cursor:
            if name[: len(prefix)] != prefix:
                return
            yield name, row


def read_totals(txn: lmdb.Transaction, tables: Tables) -> list[int]:
    """Objects, observations, bytes; counted again where their row is damaged."""
    packed = txn.get(TOTALS, db=tables.totals)
    if packed is None:
        return [0, 0, 0]
    try:
        return decode_totals(packed)
    except CorruptStoreError:
        return count_again(txn, tables)


def count_again(txn: lmdb.Transaction, tables: Tables) -> list[int]:
    """Objects, observations, bytes, as the objects' rows have them."""
    totals = [0, 0, 0]
    with txn.cursor(db=tables.objects) as cursor:
        for prefix, packed in cursor:
            try:
                known = ObjectRow.decode(packed, key_of(bytes(prefix)))
            except CorruptStoreError:
                known = ObjectRow()  # counted when it is repaired
            totals = [totals[0] + 1, totals[1] + known.held, totals[2] + known.occupied_bytes]
    return totals


def add_totals(txn: lmdb.Transaction, tables: Tables, objects: int, observations: int, size: int) -> None:
    """Enter a difference."""
    before = read_totals(txn, tables)
    after = [old + more for old, more in zip(before, (objects, observations, size), strict=True)]
    txn.put(TOTALS, encode_totals(after), db=tables.totals)


class StoredObject:
    """One object's rows within a write transaction; ``save`` comes last.

    Parameters
    ----------
    suspect
        Something of this object failed its check: read all of it, and drop what is damaged.
    """

    def __init__(self, txn: lmdb.Transaction, tables: Tables, key: str, suspect: bool = False) -> None:
        self._txn, self._tables, self.key, self._prefix = txn, tables, key, object_prefix(key)
        self.damaged_rows = 0
        packed = txn.get(self._prefix, db=tables.objects)
        self._known = packed is not None
        try:
            self._before = ObjectRow.decode(packed, key) if packed is not None else ObjectRow()
        except CorruptStoreError:
            suspect, self._before = True, self._counted()
            self.damaged_rows += 1
        self.held, self._size, self._newest = self._before.held, self._before.occupied_bytes, self._before.newest_mjd
        self._dropped, self.horizon = self._before.dropped, self._before.horizon
        if suspect:
            self._repair()

    def _counted(self) -> ObjectRow:
        """An object row as its rows would have it, all of them."""
        held, size, newest = 0, 0, -float("inf")
        for _, row in under(self._txn, self._prefix, self._tables.rows):
            held, size = held + 1, size + occupied(len(row))
            front = bytes(row[: front_bytes(row)])
            if front_is_sound(front, self.key):
                newest = max(newest, order_of(front)[0])
        size += sum(occupied(len(row)) for _, row in under(self._txn, self._prefix, self._tables.embeddings))
        return ObjectRow(0, held, size, newest)

    def _repair(self) -> None:
        """Drop every row that is not as it was written; what stays is counted afresh."""
        for db, is_sound in ((self._tables.rows, self._row_is_sound), (self._tables.embeddings, self._embedding_is)):
            gone = [bytes(n) for n, row in under(self._txn, self._prefix, db) if not is_sound(bytes(n), row)]
            for name in gone:
                self._txn.delete(name, db=db)
            self.damaged_rows += len(gone)
        counted = self._counted()
        self.held, self._size, self._newest = counted.held, counted.occupied_bytes, counted.newest_mjd

    def _row_is_sound(self, name: bytes, row: Row) -> bool:
        try:
            decode_pixels(row, self.key)
        except CorruptStoreError:
            return False
        return name == self._prefix + sortable_order(*order_of(row))

    def _embedding_is(self, name: bytes, row: Row) -> bool:
        try:
            decode_embedding(row, self.key)
        except CorruptStoreError:
            return False
        return len(name) == len(self._prefix) + len(rank_key(0))

    def insert(self, observation: Observation, settled: bool) -> None:
        """Write an observation that is not there yet."""
        if self.horizon is not None and observation.order <= self.horizon:
            return
        row = encode_observation(observation, settled, self.key)
        name = self._prefix + sortable_order(*observation.order)
        if not self._txn.put(name, row, overwrite=False, db=self._tables.rows):
            return
        if observation.origin is not None and (entry := unsettled_name(row, self._prefix)) is not None:
            self._txn.put(entry, observation.origin.source.encode(), db=self._tables.unsettled)
        self.held, self._size = self.held + 1, self._size + occupied(len(row))
        self._newest = max(self._newest, observation.time_mjd)

    def settle(self, order: tuple[float, int]) -> bool:
        """Settle an observation that is written; False when there is none, or it was settled."""
        name = self._prefix + sortable_order(*order)
        row = self._txn.get(name, db=self._tables.rows)
        if row is None or is_settled(row):
            return False
        settled, entry = settled_copy(row), unsettled_name(row, self._prefix)
        self._txn.put(name, settled, db=self._tables.rows)
        if entry is not None:
            self._txn.delete(entry, db=self._tables.unsettled)
        return True

    def _delete(self, name: bytes, row: Row) -> None:
        entry = unsettled_name(row, self._prefix)
        self.held, self._size = self.held - 1, self._size - occupied(len(row))
        self._txn.delete(name, db=self._tables.rows)
        if entry is not None:
            self._txn.delete(entry, db=self._tables.unsettled)

    def withdraw(self, alert_ids: tuple[int, ...]) -> None:
        """Delete observations that the survey took back."""
        rows = [(bytes(name), bytes(row)) for name, row in under(self._txn, self._prefix, self._tables.rows)]
        for name, row in rows:
            if order_of(row)[1] in alert_ids:
                self._delete(name, row)

    def put_embeddings(self, change: Change) -> None:
        """Write the embeddings of a change."""
        for rank, embedding in change.embeddings.items():
            self._put_embedding(self._prefix + rank_key(rank), embedding)

    def _put_embedding(self, name: bytes, embedding: Embedding) -> None:
        old = self._txn.get(name, db=self._tables.embeddings)
        self._size -= occupied(len(old)) if old is not None else 0
        row = encode_embedding(embedding, self.key)
        self._txn.put(name, row, db=self._tables.embeddings)
        self._size += occupied(len(row))

    def shorten(self, hold_limit: int, group_size: int) -> None:
        """Let the oldest groups of a full series go."""
        for _ in range(surplus(self.held, hold_limit, group_size)):
            name, oldest = next(under(self._txn, self._prefix, self._tables.rows))
            self.horizon = order_of(oldest)
            self._delete(bytes(name), bytes(oldest))
            self._dropped += 1
        if self._dropped > self._before.dropped:
            self._drop_embeddings()

    def _drop_embeddings(self) -> None:
        rows = under(self._txn, self._prefix, self._tables.embeddings)
        gone = [(bytes(name), len(row)) for name, row in rows if rank_of(name) < self._dropped]
        for name, size in gone:
            self._txn.delete(name, db=self._tables.embeddings)
            self._size -= occupied(size)

    def save(self) -> None:
        """Write what changed; an object without observations leaves."""
        txn, tables, before = self._txn, self._tables, self._before
        if self._known:
            txn.delete(sortable_time(before.newest_mjd) + self._prefix, db=tables.silence)
        keep = self.held > 0
        if keep:
            row = ObjectRow(self._dropped, self.held, self._size, self._newest, self.horizon)
            txn.put(self._prefix, row.encode(self.key), db=tables.objects)
            txn.put(sortable_time(self._newest) + self._prefix, b"", db=tables.silence)
        elif self._known:
            self._delete_all()
        size = self._size if keep else 0
        add_totals(txn, tables, keep - self._known, self.held - before.held, size - before.occupied_bytes)

    def remove(self) -> None:
        """Delete the object, with all of its rows."""
        for name, row in [(bytes(n), bytes(r)) for n, r in under(self._txn, self._prefix, self._tables.rows)]:
            self._delete(name, row)
        self.held = 0
        self.save()

    def _delete_all(self) -> None:
        for db in (self._tables.rows, self._tables.embeddings):
            for name in [bytes(n) for n, _ in under(self._txn, self._prefix, db)]:
                self._txn.delete(name, db=db)
        self._txn.delete(self._prefix, db=self._tables.objects)


def whole_series(txn: lmdb.Transaction, tables: Tables) -> Iterator[WholeSeries]:
    """All that is kept, object by object, in order of keys."""
    with txn.cursor(db=tables.objects) as cursor:
        for name, packed in cursor:
            prefix = bytes(name)
            key = key_of(prefix)
            known = ObjectRow.decode(packed, key)
            rows = tuple(settled_copy(row) for _, row in under(txn, prefix, tables.rows))
            embeddings = {rank_of(rank): bytes(row) for rank, row in under(txn, prefix, tables.embeddings)}
            yield WholeSeries(key, known.dropped, known.horizon, known.newest_mjd, rows, embeddings)


def put_whole(txn: lmdb.Transaction, tables: Tables, series: WholeSeries) -> None:
    """Keep an object as another store kept it, in the place of what is held of it."""
    prefix = object_prefix(series.key)
    if txn.get(prefix, db=tables.objects) is not None:
        StoredObject(txn, tables, series.key).remove()
    for row in series.rows:
        txn.put(prefix + sortable_order(*order_of(row)), row, db=tables.rows)
    for rank, row in series.embeddings.items():
        txn.put(prefix + rank_key(rank), row, db=tables.embeddings)
    size = sum(occupied(len(row)) for row in (*series.rows, *series.embeddings.values()))
    known = ObjectRow(series.dropped, len(series.rows), size, series.newest_mjd, series.horizon)
    txn.put(prefix, known.encode(series.key), db=tables.objects)
    txn.put(sortable_time(series.newest_mjd) + prefix, b"", db=tables.silence)
    add_totals(txn, tables, 1, len(series.rows), size)


def evict(txn: lmdb.Transaction, tables: Tables, count: int, protected: set[bytes]) -> int:
    """Remove up to ``count`` of the longest-silent objects that are not protected; returns how many."""
    silent: list[bytes] = []
    stale: list[bytes] = []
    with txn.cursor(db=tables.silence) as cursor:
        for name in cursor.iternext(keys=True, values=False):
            entry = bytes(name)
            if entry[TIME_BYTES:] in protected:
                continue
            (silent if _is_newest(txn, tables, entry) else stale).append(entry)
            if len(silent) == count:
                break
    for entry in stale:
        txn.delete(entry, db=tables.silence)
    for entry in silent:
        StoredObject(txn, tables, key_of(entry[TIME_BYTES:])).remove()
        txn.delete(entry, db=tables.silence)
    return len(silent)


def _is_newest(txn: lmdb.Transaction, tables: Tables, entry: bytes) -> bool:
    """False for an entry that damage has left behind: of no object, or of another time than its object's."""
    prefix = entry[TIME_BYTES:]
    packed = txn.get(prefix, db=tables.objects)
    if packed is None:
        return False
    try:
        return sortable_time(ObjectRow.decode(packed, key_of(prefix)).newest_mjd) == entry[:TIME_BYTES]
    except CorruptStoreError:
        return True  # it is as good as any to leave
