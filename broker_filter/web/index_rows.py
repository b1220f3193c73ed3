"""The rows of the index of objects: its tables, how an answer changes them, and what leaves when there are too many."""

import itertools
import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, fields, replace
from typing import Any

import orjson

from broker_filter.alerts.units import magnitude_of_flux
from broker_filter.output.formats import as_json
from broker_filter.output.read_back import from_json
from broker_filter.records import Classification

VERSION = 1
DAMAGE = (ValueError, TypeError, KeyError, AttributeError, OverflowError)  # what a row that the disk changed raises
ANSWERS_OF_OBJECT, SPARE_ANSWERS = 200, 20  # the oldest leave, some at a time
EVICT_SHARE = 0.02  # of the objects that leave beyond what must, when the file is full

TABLES = """
CREATE TABLE IF NOT EXISTS objects (
    id INTEGER PRIMARY KEY, survey TEXT NOT NULL, object_id TEXT NOT NULL, ra_deg REAL, dec_deg REAL,
    first_mjd REAL NOT NULL, last_mjd REAL NOT NULL, alert_count INTEGER NOT NULL, best TEXT, probability REAL,
    unknown_score REAL, changes INTEGER NOT NULL, age_days REAL, magnitude REAL, band TEXT NOT NULL,
    seen_ms INTEGER NOT NULL, UNIQUE (object_id, survey));
CREATE INDEX IF NOT EXISTS by_seen ON objects (seen_ms);
CREATE INDEX IF NOT EXISTS by_dec ON objects (dec_deg);
CREATE TABLE IF NOT EXISTS answers (
    object INTEGER NOT NULL, mjd REAL NOT NULL, alert_id INTEGER NOT NULL, known INTEGER NOT NULL, fields BLOB NOT NULL,
    PRIMARY KEY (object, mjd, alert_id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_alert ON answers (alert_id);
"""


@dataclass(frozen=True, slots=True)
class ObjectSummary:
    """One object of the index, by its newest answer."""

    survey: str
    object_id: str
    ra_deg: float | None
    dec_deg: float | None
    first_mjd: float
    last_mjd: float
    alert_count: int
    best: str | None  # most probable class; None when nothing was classified
    probability: float | None
    unknown_score: float | None
    changes: int  # how often the most probable class changed
    age_days: float | None  # of the light curve: since its first detection
    magnitude: float | None
    band: str
    seen_ms: int  # when the newest answer was published

    def after(self, answer: Classification) -> "ObjectSummary":
        """The summary after the answer to a later alert."""
        detection, best = answer.detection, answer.best
        place = detection is not None and detection.ra_deg is not None and detection.dec_deg is not None
        flux = None if detection is None else detection.flux_njy
        changed: dict[str, Any] = {
            "last_mjd": answer.time_mjd,
            "alert_count": self.alert_count + 1,
            "magnitude": magnitude_of_flux(flux, None)[0],
            "band": answer.band,
            "seen_ms": max(self.seen_ms, answer.publication_time_ms),
        }
        if place and detection is not None:
            changed |= {"ra_deg": detection.ra_deg, "dec_deg": detection.dec_deg}
        if best is not None:
            changed |= {
                "best": best,
                "probability": answer.probabilities[best],
                "unknown_score": answer.unknown_score,
                "changes": self.changes + (self.best is not None and best != self.best),
                "age_days": answer.days_since_first,
            }
        return replace(self, **changed)


COLUMNS = tuple(field.name for field in fields(ObjectSummary))
_UPDATE = f"UPDATE objects SET {', '.join(f'{name} = ?' for name in COLUMNS)} WHERE id = ?"  # noqa: S608 - our own names
_INSERT = f"INSERT INTO objects ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608
_FIND_NUMBER = "SELECT id FROM objects WHERE object_id = ? AND survey = ?"
_FIND = f"SELECT id, {', '.join(COLUMNS)} FROM objects WHERE object_id = ? AND survey = ?"  # noqa: S608


def summary_of(answers: Sequence[Classification]) -> ObjectSummary:
    """The summary of an object's answers, which are in order of time."""
    first = answers[0]
    unknown = (None, None, first.time_mjd, first.time_mjd, 0, None, None, None, 0, None, None, first.band, 0)
    summary = ObjectSummary(first.survey, first.object_id, *unknown)
    for answer in answers:
        summary = summary.after(answer)
    return summary


def pack(answer: Classification) -> bytes:
    """An answer in half the bytes of its JSON line: without what is null."""
    return orjson.dumps({name: value for name, value in as_json(answer).items() if value is not None})


def unpack(packed: bytes) -> Classification:
    """The inverse of :func:`pack`."""
    fields: Mapping[str, Any] = orjson.loads(packed)
    return from_json({"reason": None, "unknownScore": None, "alertTimestamp": None} | dict(fields))


def answers_of(connection: sqlite3.Connection, number: int) -> list[Classification]:
    """The answers to the alerts of the object with this row number, in order of time."""
    return _sound(connection.execute("SELECT fields FROM answers WHERE object = ? ORDER BY mjd, alert_id", (number,)))


def answers_to(connection: sqlite3.Connection, alert_ids: Sequence[int]) -> list[Classification]:
    """The answers to alerts, of any surveys and in order of time, where there are some."""
    marks = ", ".join("?" * len(alert_ids))
    rows = connection.execute(
        f"SELECT fields FROM answers WHERE alert_id IN ({marks}) ORDER BY mjd, alert_id",  # noqa: S608 - question marks
        list(alert_ids),
    )
    return _sound(rows)


def _sound(rows: Iterable[tuple[bytes]]) -> list[Classification]:
    """The answers that can be read; the disk changed others."""
    answers = []
    for (packed,) in rows:
        with suppress(*DAMAGE):
            answers.append(unpack(packed))
    return answers


def enter(connection: sqlite3.Connection, answers: Sequence[Classification]) -> None:
    """Write answers of any objects; one whose rows are damaged begins anew."""
    ordered = sorted(answers, key=lambda one: (one.survey, one.object_id, one.time_mjd, one.alert_id))
    for (survey, object_id), some in itertools.groupby(ordered, key=lambda one: (one.survey, one.object_id)):
        answers_of_object = list(some)
        try:
            _enter_object(connection, survey, object_id, answers_of_object)
        except DAMAGE:
            numbers = connection.execute(_FIND_NUMBER, (object_id, survey)).fetchall()
            connection.executemany("DELETE FROM answers WHERE object = ?", numbers)
            connection.executemany("DELETE FROM objects WHERE id = ?", numbers)
            _enter_object(connection, survey, object_id, answers_of_object)


def _enter_object(
    connection: sqlite3.Connection, survey: str, object_id: str, answers: Sequence[Classification]
) -> None:
    row = connection.execute(_FIND, (object_id, survey)).fetchone()
    if row is None:
        summary = summary_of(answers)
        number = int(connection.execute(_INSERT, astuple(summary)).lastrowid or 0)
    else:
        number, summary = row[0], ObjectSummary(*row[1:])
    late = row is None and len({(one.time_mjd, one.alert_id) for one in answers}) < len(answers)
    for answer in answers:
        connection.execute(
            "INSERT INTO answers VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET known = excluded.known, "
            "fields = excluded.fields WHERE excluded.known >= known",
            (number, answer.time_mjd, answer.alert_id, answer.known_count, pack(answer)),
        )
        if row is not None:
            late = late or answer.time_mjd <= summary.last_mjd
            summary = summary.after(answer)
    if late or summary.alert_count > ANSWERS_OF_OBJECT + SPARE_ANSWERS:
        _drop_oldest(connection, number)
        summary = summary_of(answers_of(connection, number) or answers)
    connection.execute(_UPDATE, (*astuple(summary), number))


def _drop_oldest(connection: sqlite3.Connection, number: int) -> None:
    connection.execute(
        "DELETE FROM answers WHERE object = ? AND (mjd, alert_id) NOT IN "
        "(SELECT mjd, alert_id FROM answers WHERE object = ? ORDER BY mjd DESC, alert_id DESC LIMIT ?)",
        (number, number, ANSWERS_OF_OBJECT),
    )


def forget_surplus(connection: sqlite3.Connection, object_limit: int, byte_limit: int) -> None:
    """Let the longest-silent objects go while there are too many, or they take too much room."""
    objects = connection.execute("SELECT COUNT(*) FROM objects").fetchone()[0]
    over = max(objects - object_limit, 0)
    if (used := used_bytes(connection)) > byte_limit:
        over = max(over, math.ceil((1 - byte_limit / used + EVICT_SHARE) * objects))
    if over:
        gone = connection.execute("SELECT id FROM objects ORDER BY seen_ms LIMIT ?", (over,)).fetchall()
        connection.executemany("DELETE FROM answers WHERE object = ?", gone)
        connection.executemany("DELETE FROM objects WHERE id = ?", gone)


def used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes of the file that hold something."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
