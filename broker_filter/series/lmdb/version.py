"""The version of an embedded store: new ones are named, those of version 2 become version 3 with every series.

The migration goes object by object, some hundred in a transaction, and writes down how far it is: a process that is
killed goes on there at its next start.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import lmdb

from broker_filter.errors import ConfigurationError
from broker_filter.logs import facts, logger
from broker_filter.series import version2
from broker_filter.series.lmdb.folder import damaged
from broker_filter.series.lmdb.tables import (
    MIGRATED,
    STORE_VERSION,
    TOTALS,
    VERSION,
    Tables,
    begin_anew,
    count_again,
    occupied,
    under,
)
from broker_filter.series.rows import CorruptStoreError, ObjectRow, encode_totals, key_of, order_of, sortable_time

OBJECTS_AT_ONCE = 256
Write = Callable[[lmdb.Transaction], None]
log = logger("store")


def make_current(env: lmdb.Environment, tables: Tables, folder: Path, writing: Callable[[Write], None]) -> None:
    """Bring a store to this version.

    Parameters
    ----------
    writing
        Runs a function in a write transaction, more than once when the file must grow.

    Raises
    ------
    ConfigurationError
        A newer program wrote it.
    CorruptStoreError
        It is older than version 2, or no store of ours.
    """
    with env.begin() as txn, txn.cursor(db=tables.objects) as cursor:
        version = txn.get(VERSION, db=tables.totals)
        begun = txn.get(MIGRATED, db=tables.totals) is not None
        oldest = bytes(cursor.value())[:1] if cursor.first() else None
    if version == str(STORE_VERSION).encode():
        return
    if version is not None:
        if not version.isdigit():
            raise damaged(folder, f"its version is {bytes(version[:8])!r}, not a number")
        raise ConfigurationError(
            f"the series store {folder} is of version {version[:8]!r}, this program writes {STORE_VERSION}: "
            "use the program that wrote it, or give store.path another folder"
        )
    if oldest is None and not begun:
        writing(partial(begin_anew, tables=tables))
    elif begun or oldest == bytes([version2.VERSION]):
        _migrate(folder, tables, writing)
    else:
        raise CorruptStoreError(
            f"the series store {folder} is of version {oldest[0] if oldest else None}, which cannot be migrated: "
            "rebuild it from an archive with ictc-replay --store"
        )


def _migrate(folder: Path, tables: Tables, writing: Callable[[Write], None]) -> None:
    log.info("the series store is migrated from version 2 to 3", extra=facts(folder=str(folder)))
    objects = dropped = 0
    while True:
        step = _Step(tables)
        writing(step)
        objects, dropped = objects + step.objects, dropped + step.dropped
        if step.objects == 0:
            break
    log.info("the series store is of version 3", extra=facts(folder=str(folder), objects=objects, dropped_rows=dropped))


class _Step:
    """One transaction of a migration."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self.objects = self.dropped = 0

    def __call__(self, txn: lmdb.Transaction) -> None:
        self.objects = self.dropped = 0
        prefixes = self._next_objects(txn)
        for prefix in prefixes:
            self._migrate_object(txn, prefix)
        self.objects = len(prefixes)
        if prefixes:
            txn.put(MIGRATED, prefixes[-1], db=self._tables.totals)
            return
        txn.put(TOTALS, encode_totals(count_again(txn, self._tables)), db=self._tables.totals)
        txn.delete(MIGRATED, db=self._tables.totals)
        begin_anew(txn, self._tables)

    def _next_objects(self, txn: lmdb.Transaction) -> list[bytes]:
        last = bytes(txn.get(MIGRATED, b"", db=self._tables.totals))
        prefixes: list[bytes] = []
        with txn.cursor(db=self._tables.objects) as cursor:
            if not (cursor.set_range(last) if last else cursor.first()):
                return prefixes
            for name in cursor.iternext(keys=True, values=False):
                if (prefix := bytes(name)) != last:
                    prefixes.append(prefix)
                if len(prefixes) == OBJECTS_AT_ONCE:
                    break
        return prefixes

    def _migrate_object(self, txn: lmdb.Transaction, prefix: bytes) -> None:
        tables, key = self._tables, key_of(prefix)
        held, newest, size = 0, -float("inf"), 0
        for name, row in [(bytes(n), bytes(r)) for n, r in under(txn, prefix, tables.rows)]:
            if (fresh := self._converted(version2.observation_of, row, key)) is None:
                txn.delete(name, db=tables.rows)
                continue
            txn.put(name, fresh, db=tables.rows)
            held, newest, size = held + 1, max(newest, order_of(fresh)[0]), size + occupied(len(fresh))
        for name, row in [(bytes(n), bytes(r)) for n, r in under(txn, prefix, tables.embeddings)]:
            if (fresh := self._converted(version2.embedding_of, row, key)) is None:
                txn.delete(name, db=tables.embeddings)
                continue
            txn.put(name, fresh, db=tables.embeddings)
            size += occupied(len(fresh))
        before = self._object_row(txn, prefix, key)
        txn.delete(sortable_time(before.newest_mjd) + prefix, db=tables.silence)
        if held == 0:
            txn.delete(prefix, db=tables.objects)
            return
        after = ObjectRow(before.dropped, held, size, newest, before.horizon)
        txn.put(prefix, after.encode(key), db=tables.objects)
        txn.put(sortable_time(newest) + prefix, b"", db=tables.silence)

    def _converted(self, convert: Callable[[bytes, str], bytes], row: bytes, key: str) -> bytes | None:
        try:
            return convert(row, key)
        except CorruptStoreError as error:
            self.dropped += 1
            log.error("a damaged row is not migrated", extra=facts(object=key, what=str(error)))
            return None

    def _object_row(self, txn: lmdb.Transaction, prefix: bytes, key: str) -> ObjectRow:
        try:
            return version2.object_of(bytes(txn.get(prefix, b"", db=self._tables.objects)), key)
        except CorruptStoreError as error:
            self.dropped += 1
            log.error("a damaged row is not migrated", extra=facts(object=key, what=str(error)))
            return ObjectRow()
