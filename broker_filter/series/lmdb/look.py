"""A look at an embedded store from outside: it changes nothing, and may be taken while a service owns the folder."""

import fcntl
from dataclasses import dataclass
from pathlib import Path

import lmdb

from broker_filter.errors import ConfigurationError
from broker_filter.series.lmdb.folder import DATA, OWNER_LOCK, damaged, wrong_with
from broker_filter.series.lmdb.tables import MOST_TABLES, TOTALS, VERSION
from broker_filter.series.rows import CorruptStoreError, decode_totals
from broker_filter.series.version2 import totals_of


@dataclass(frozen=True, slots=True)
class Look:
    """What a store says of itself."""

    objects: int
    observations: int
    version: int
    is_owned: bool  # by a process that runs

    @property
    def owner(self) -> str:
        """Words about who has it."""
        return ", in use by a running process" if self.is_owned else ""


def look_at(folder: Path) -> Look | None:
    """Look into a folder; None when there is no store in it yet.

    Raises
    ------
    ConfigurationError
        When we may not read it.
    FatalError
        When it is damaged.
    """
    is_owned = _is_owned(folder)
    if not is_owned and (wrong := wrong_with(folder)) is not None:
        raise damaged(folder, wrong)
    if not (folder / DATA).exists():
        return None
    try:
        with lmdb.open(str(folder), readonly=True, create=False, lock=is_owned, max_dbs=MOST_TABLES) as env:
            totals = env.open_db(b"totals", create=False)
            with env.begin() as txn:
                version, packed = txn.get(VERSION, db=totals), bytes(txn.get(TOTALS, b"", db=totals))
        if version is None:
            objects, observations, *_ = totals_of(packed)
            return Look(objects, observations, 2, is_owned)
        objects, observations, _ = decode_totals(packed) if packed else (0, 0, 0)
        return Look(objects, observations, int(version), is_owned)
    except lmdb.NotFoundError:
        return None
    except (lmdb.Error, CorruptStoreError, ValueError) as error:
        raise damaged(folder, f"{type(error).__name__}: {error}") from error


def _is_owned(folder: Path) -> bool:
    try:
        with (folder / OWNER_LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ConfigurationError(f"the series store {folder} (store.path) cannot be read: {error.strerror}") from error
    return False
