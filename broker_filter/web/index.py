"""An index of the objects that this service saw, in an SQLite file beside the store: bounded, and kept over restarts.

The stream only puts answers in a queue; a thread of the index's own writes them, and forgets the longest-silent objects
when there are too many. What is in the queue when the machine dies is lost: the index is for looking, the topic is the
record. A full queue drops answers and counts them.
"""

import contextlib
import math
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from broker_filter.errors import ConfigurationError
from broker_filter.logs import logger
from broker_filter.records import Classification
from broker_filter.web.index_rows import (
    COLUMNS,
    DAMAGE,
    TABLES,
    VERSION,
    ObjectSummary,
    answers_of,
    answers_to,
    enter,
    forget_surplus,
)

OBJECT_LIMIT, BYTE_LIMIT = 100_000, 200 << 20
INDEX_FILE = "objects.sqlite"  # beside the store, unless somebody names another place
QUEUE_LIMIT = 20_000  # answers; 20 MB
WRITE_AT_ONCE = 500
log = logger("index")


class ObjectIndex:
    """The index in one file; one writer, any number of readers.

    Parameters
    ----------
    path
        Of the file; its folder is made when absent. A file of another version, or a damaged one, begins anew.
    object_limit, byte_limit
        Beyond either the longest-silent objects leave.

    Raises
    ------
    ConfigurationError
        When the file cannot be made.
    """

    def __init__(self, path: Path, object_limit: int = OBJECT_LIMIT, byte_limit: int = BYTE_LIMIT) -> None:
        self._path, self._object_limit, self._byte_limit = path, object_limit, byte_limit
        self._queue: queue.Queue[Classification | None] = queue.Queue(QUEUE_LIMIT)
        self._local = threading.local()
        self.dropped_count = 0  # answers that found the queue full
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(f"the index {path} cannot be made: {error}; choose another http.index") from error
        self._thread = threading.Thread(target=self._write_all, name="index", daemon=True)
        self._thread.start()

    def enter(self, answers: Sequence[Classification]) -> None:
        """Take answers that were delivered; never waits."""
        for answer in answers:
            try:
                self._queue.put_nowait(answer)
            except queue.Full:
                self.dropped_count += 1

    def flush(self) -> None:
        """Wait until what was entered is written."""
        self._queue.join()

    def close(self) -> None:
        """Write what waits, and close; closing twice does nothing."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def find(self, object_id: str, survey: str | None = None) -> ObjectSummary | None:
        """One object; None when it was not seen or is forgotten."""
        where, parameters = "object_id = ?", [object_id]
        if survey is not None:
            where, parameters = "object_id = ? AND survey = ?", [object_id, survey]
        return next(iter(self.select(where, parameters, "seen_ms DESC", 1)), None)

    def answers(self, summary: ObjectSummary) -> list[Classification]:
        """The answers to an object's alerts, in order of time."""
        with self._reading() as connection:
            row = connection.execute(
                "SELECT id FROM objects WHERE object_id = ? AND survey = ?", (summary.object_id, summary.survey)
            ).fetchone()
            return [] if row is None else answers_of(connection, row[0])

    def answers_to(self, alert_ids: Sequence[int]) -> list[Classification]:
        """The answers to alerts, of any surveys and in order of time; alerts that are not known are left out."""
        with self._reading() as connection:
            return answers_to(connection, alert_ids)

    def newest_classes(self) -> list[tuple[str, float, str]]:
        """(object's key, MJD of its newest alert, most probable class), the object seen last at the end."""
        with self._reading() as connection:
            return connection.execute(
                "SELECT survey || '/' || object_id, last_mjd, best FROM objects WHERE best IS NOT NULL ORDER BY seen_ms"
            ).fetchall()

    def select(
        self, where: str, parameters: Sequence[object], order: str, limit: int, offset: int = 0
    ) -> list[ObjectSummary]:
        """Objects by a condition and an order in SQL; these are the program's own words, values are parameters."""
        statement = f"SELECT {', '.join(COLUMNS)} FROM objects WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?"  # noqa: S608
        with self._reading() as connection:
            return [ObjectSummary(*row) for row in connection.execute(statement, [*parameters, limit, offset])]

    def count(self, where: str = "1", parameters: Sequence[object] = ()) -> int:
        """How many objects meet a condition; as ``select``."""
        with self._reading() as connection:
            cursor = connection.execute(f"SELECT COUNT(*) FROM objects WHERE {where}", list(parameters))  # noqa: S608
            return int(cursor.fetchone()[0])

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection of this thread's own."""
        if not hasattr(self._local, "connection"):
            self._local.connection = self._connect()
        with self._local.connection as connection:
            yield connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=10.0)
        if not _has_mathematics(connection):
            for function in (math.sin, math.cos):
                connection.create_function(function.__name__, 1, _or_null(function), deterministic=True)
        return connection

    def _prepare(self) -> None:
        """Make the tables; begin anew where the file is not ours to read."""
        try:
            if self._open_tables():
                return
            log.warning("the index is of another version and begins anew: %s", self._path)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter of a damaged message of SQLite's
            log.warning("the index cannot be read and begins anew: %s: %s", self._path, error)
        for end in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + end).unlink(missing_ok=True)
        self._open_tables()

    def _open_tables(self) -> bool:
        """False where the tables are of another version."""
        with contextlib.closing(sqlite3.connect(self._path)) as connection, connection:
            connection.execute("PRAGMA journal_mode=WAL")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, VERSION):
                return False
            if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise sqlite3.DatabaseError("its pages are damaged")
            connection.executescript(TABLES)
            connection.execute(f"PRAGMA user_version={VERSION}")
        self._path.chmod(0o600)
        return True

    def _write_all(self) -> None:
        """The writer's thread."""
        connection = self._connect()
        connection.execute("PRAGMA synchronous=OFF")  # a crash of the machine may cost the index, never the stream
        ended = False
        with contextlib.closing(connection):
            while not ended:
                batch = [self._queue.get()]
                while len(batch) < WRITE_AT_ONCE and not self._queue.empty():
                    batch.append(self._queue.get())
                ended = None in batch
                self._write(connection, [answer for answer in batch if answer is not None])
                for _ in batch:
                    self._queue.task_done()

    def _write(self, connection: sqlite3.Connection, answers: Sequence[Classification]) -> None:
        try:
            with connection:
                enter(connection, answers)
                forget_surplus(connection, self._object_limit, self._byte_limit)
        except (sqlite3.Error, *DAMAGE) as error:  # a full or damaged disk: the stream goes on
            self.dropped_count += len(answers)
            log.warning("the index takes no answers: %s", error)


def read_index(path: Path, object_ids: Sequence[str], most: int) -> dict[str, list[Classification]]:
    """Answers that an index holds, by object's key; the file is not changed, also while a service writes it.

    Parameters
    ----------
    object_ids
        That are wanted; empty: those with most alerts, ``most`` of them.

    Raises
    ------
    ConfigurationError
        When the file is no index, or one of another version.
    """
    where = f"object_id IN ({', '.join('?' * len(object_ids))})" if object_ids else "1"
    order = f"SELECT id, survey || '/' || object_id FROM objects WHERE {where} ORDER BY alert_count DESC LIMIT ?"  # noqa: S608
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version != VERSION:
                raise ConfigurationError(f"the index {path} is of version {version}, this program's is {VERSION}")
            objects = connection.execute(order, [*object_ids, len(object_ids) or most]).fetchall()
            return {key: answers_of(connection, number) for number, key in objects}
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the index {path} cannot be read: {error}") from error


def _has_mathematics(connection: sqlite3.Connection) -> bool:
    """Whether this SQLite computes sines itself; it was built so or not."""
    return connection.execute("SELECT sqlite_compileoption_used('ENABLE_MATH_FUNCTIONS')").fetchone() == (1,)


def _or_null(function: Callable[[float], float]) -> Callable[[float | None], float | None]:
    """What it is of a number; null of null, as SQLite's own."""
    return lambda number: None if number is None else function(number)
