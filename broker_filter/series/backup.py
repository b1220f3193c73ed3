"""Copies of a series store that a machine's loss does not take along, and their way back."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

import lmdb
import redis

from broker_filter.errors import ConfigurationError, FatalError
from broker_filter.series.lmdb.folder import DATA, FILE_MODE, require_store
from broker_filter.series.redis.server import TIMEOUT_S, asking, connect
from broker_filter.series.redis.store import NAMESPACE

MAGIC = b"ICTC-REDIS-BACKUP-1\n"
KEYS_AT_ONCE = 200
LARGEST_BYTES = 2**31


def copy_folder(folder: Path, target: Path) -> int:
    """Copy an embedded store, also beside a running service; the copy is a store itself. Returns its bytes.

    Raises
    ------
    ConfigurationError
        There is no store in the folder, or something at the target.
    FatalError
        It cannot be copied, or its file is gone.
    """
    require_store(folder)
    try:
        target.mkdir(mode=0o700, parents=True)
    except FileExistsError as error:
        raise ConfigurationError(f"{target} is there already: name a folder that is not") from error
    try:
        with lmdb.open(str(folder), readonly=True, create=False) as environment:
            environment.copy(str(target), compact=True)  # one read transaction: what was settled when it began
    except lmdb.Error as error:
        raise FatalError(f"{folder} cannot be copied to {target}: {error}") from error
    (target / DATA).chmod(FILE_MODE)
    return (target / DATA).stat().st_size


def dump_server(url: str, target: Path) -> int:
    """Write every key of a shared store to a file; returns their number. Stop the services first.

    Raises
    ------
    ConfigurationError
        The file is there already, or the server refuses us.
    RetryableError
        The server does not answer.
    """
    count = 0
    with _server(url) as server, _new_file(target) as file:
        file.write(MAGIC)
        for keys in _keys(server):
            for key, value in zip(keys, asking(lambda: _dumped(server, keys)), strict=True):  # noqa: B023
                if value is not None:
                    file.write(len(key).to_bytes(4, "big") + key + len(value).to_bytes(8, "big") + value)
                    count += 1
    return count


def restore_server(url: str, source: Path) -> int:
    """Fill an empty shared store from a file of ``dump_server``; returns the number of keys.

    Raises
    ------
    ConfigurationError
        The file is none of ours or breaks off, or the server holds a store already.
    """
    count = 0
    with _server(url) as server, source.open("rb") as file:
        if asking(lambda: server.exists(f"{NAMESPACE}:totals")):
            raise ConfigurationError("the server holds a series store already: restore to an empty one")
        if file.read(len(MAGIC)) != MAGIC:
            raise ConfigurationError(f"{source} is no backup of a shared store")
        entries = list(_entries(file, source))  # all of it is looked at before anything is restored
        for key, start, size in entries:
            file.seek(start)
            try:
                asking(partial(server.restore, key, 0, file.read(size)))
            except FatalError as error:
                raise ConfigurationError(
                    f"{source} is damaged after {count} keys ({error}): empty the server before another backup is "
                    "restored to it"
                ) from error
            count += 1
    return count


def _entries(file: BinaryIO, source: Path) -> Iterator[tuple[bytes, int, int]]:
    """Keys of a backup with the place and size of their values, no larger than the file is.

    Raises
    ------
    ConfigurationError
        The file breaks off, or is damaged.
    """
    count, left = 0, os.fstat(file.fileno()).st_size - len(MAGIC)
    while left > 0:
        length = int.from_bytes(file.read(4), "big")
        key = file.read(min(length, left))
        size = int.from_bytes(file.read(8), "big")
        left -= 4 + length + 8 + size
        if not key.startswith(f"{NAMESPACE}:".encode()) or left < 0 or size > LARGEST_BYTES:
            raise ConfigurationError(f"{source} breaks off, or is damaged, after {count} keys; nothing is restored")
        yield key, file.tell(), size
        file.seek(size, os.SEEK_CUR)
        count += 1


def _server(url: str) -> redis.Redis:
    return connect(url, TIMEOUT_S)


def _new_file(target: Path) -> BinaryIO:
    """A file for its owner alone."""
    try:
        return os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")
    except FileExistsError as error:
        raise ConfigurationError(f"{target} is there already: name a file that is not") from error


def _keys(server: redis.Redis) -> Iterator[list[bytes]]:
    cursor, seen = 0, set[bytes]()  # a scan may show a key twice
    while True:
        cursor, keys = asking(lambda: server.scan(cursor, match=f"{NAMESPACE}:*", count=KEYS_AT_ONCE))  # noqa: B023
        fresh = [key for key in keys if isinstance(key, bytes) and key not in seen]
        seen.update(fresh)
        yield fresh
        if cursor == 0:
            return


def _dumped(server: redis.Redis, keys: list[bytes]) -> list[bytes | None]:
    pipe = server.pipeline(transaction=False)
    for key in keys:
        pipe.dump(key)
    return pipe.execute()
