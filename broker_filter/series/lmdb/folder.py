"""The folder of an embedded store: one owner, rights for nobody else, and no damaged file opened in silence."""

import contextlib
import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path

import lmdb

from broker_filter.errors import ConfigurationError, FatalError
from broker_filter.logs import facts, logger
from broker_filter.series.lmdb.walk import walk
from model.json_text import parse_json

DATA, READERS, OWNER_LOCK, CLOSED = "data.mdb", "lock.mdb", "owner.lock", "closed.json"
FILE_MODE, FOLDER_MODE = 0o600, 0o700
GONE = f"{DATA} is gone, and {CLOSED} tells of it"
LARGEST_NOTE_BYTES = 4096  # of CLOSED
WALKED_UP_TO_BYTES = 4 << 30  # larger files are not read through at a start; rows are checked when they are read
REBUILD = (
    "no alert is lost: move the folder away and fill a new one from the archive with ictc-replay --store "
    '(deploy/README.md, "Rebuild a lost store")'
)
log = logger("store")


def damaged(folder: Path, what: str) -> FatalError:
    """The error of a store that cannot be read: what is damaged, what is not lost, what to do."""
    return FatalError(f"the series store {folder} is damaged ({what}); {REBUILD}")


@dataclass(frozen=True, slots=True)
class _State:
    """The file as an orderly close leaves it."""

    bytes: int
    modified_ns: int

    @staticmethod
    def of(path: Path) -> "_State":
        status = path.stat()
        return _State(status.st_size, status.st_mtime_ns)


def wrong_with(folder: Path) -> str | None:
    """What is wrong with the file in a folder that nobody owns; None when it was closed in order, or is sound."""
    for name in (DATA, READERS):
        if os.path.lexists(folder / name) and not (folder / name).is_file():
            return f"{name} is no file, and no link to one"
    data = folder / DATA
    if not data.exists():
        return GONE if (folder / CLOSED).exists() else None
    state = _State.of(data)
    if state.bytes == 0:
        return f"{DATA} is empty: it was cut off, or its first start was interrupted"
    if _closed_as(folder) == state:
        return None
    if state.bytes > WALKED_UP_TO_BYTES:
        log.warning(
            "the series store was not closed in order, and is too large to be read through at a start",
            extra=facts(folder=str(folder), bytes=state.bytes),
        )
        return None
    wrong = walk(folder)
    return None if wrong is None else f"{DATA} of {state.bytes} bytes: {wrong}"


def require_store(folder: Path) -> None:
    """Refuse a folder without the file of a store.

    Raises
    ------
    ConfigurationError
        There is no store in it.
    FatalError
        There was one, and its file is gone.
    """
    if os.path.lexists(folder / DATA):
        return
    if (folder / CLOSED).exists():
        raise damaged(folder, GONE)
    raise ConfigurationError(f"{folder} holds no embedded store: --path names the folder of store.path")


def _closed_as(folder: Path) -> _State | None:
    """What the note of an orderly close tells; None where there is none, or a damaged one."""
    try:
        with (folder / CLOSED).open("rb") as file:
            fields = parse_json(file.read(LARGEST_NOTE_BYTES))
        return _State(int(fields["bytes"]), int(fields["modified_ns"]))
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None


class Folder:
    """An owned folder. Opening it makes it when absent, and looks at a file that nobody closed in order.

    Raises
    ------
    ConfigurationError
        When the folder cannot be made or written, or another process owns it.
    FatalError
        When its file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._data = path, path / DATA
        try:
            _make(path)
            self._lock = os.open(path / OWNER_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        except OSError as error:
            raise ConfigurationError(
                f"the series store {path} (store.path) cannot be opened: {error.strerror}; choose a writable folder"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise ConfigurationError(
                f"the series store {path} is owned by another process: give each process its own folder, "
                "or share a Redis-protocol store"
            ) from error
        try:
            self._look()
        except BaseException:
            self.release()
            raise

    def _look(self) -> None:
        if (wrong := wrong_with(self.path)) is not None:
            raise damaged(self.path, wrong)

    def protect(self) -> None:
        """Take the rights of others away from the files that are ours, also those that an earlier version made."""
        for file in self.path.iterdir():
            if file.is_file() and file.stat().st_uid == os.geteuid():
                file.chmod(FILE_MODE)

    def complete(self, env: lmdb.Environment) -> None:
        """Give a file its full length: LMDB leaves out free pages at its end, and reading beyond an end is a signal.

        Where pages were lost instead, they are zeros now, which no check takes for rows.
        """
        whole = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
        if self._data.stat().st_size < whole:
            with contextlib.suppress(OSError):  # a full disk: the next write will say so
                os.truncate(self._data, whole)

    def closed(self) -> None:
        """Remember the file as it is now, after it was closed."""
        fresh = self.path / f"{CLOSED}.new"
        with contextlib.suppress(OSError):  # then the next start reads the file through
            state = _State.of(self._data)
            fresh.write_text(json.dumps({"bytes": state.bytes, "modified_ns": state.modified_ns}), "utf-8")
            fresh.chmod(FILE_MODE)
            fresh.replace(self.path / CLOSED)

    def release(self) -> None:
        """Let another process have it."""
        os.close(self._lock)


def _make(path: Path) -> None:
    for folder in (*reversed(path.parents), path):
        if not folder.exists():
            folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
