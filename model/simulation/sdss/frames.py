"""Corrected SDSS frames that cover a position, on disk. Knows no pixel.

Polite (one request at a time, a pause between requests), resumable (partial downloads go on where they stopped),
checked (every file must decompress whole; its SHA-256 is kept and compared when it is used again).
"""

import bz2
import csv
import json
import math
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from model.files import replacing, sha256_of
from model.json_text import parse_json

BANDS = "ugriz"
BASE_URL = "https://data.sdss.org/sas"
FRAME_PATH = "dr17/eboss/photoObj/frames/{rerun}/{run}/{camcol}/{name}"
DATA_RELEASE = 17
FRAME_BYTES = 3_000_000  # a compressed frame, for estimates
CHUNK_BYTES = 1 << 18
TIMEOUT_S = 60
ATTEMPTS = 4
FIRST_WAIT_S = 2.0  # before the second attempt; doubles with each
USER_AGENT = "ictc-fetch-sdss (research; one request at a time)"
GONE = (403, 404, 410)  # answers that another attempt will not change
HTTP_PARTIAL, HTTP_RANGE_NOT_SATISFIABLE = 206, 416
# Frames whose rectangle holds the position, with the seeing of each band in arcsec. Nothing but numbers goes in.
COVERING_SQL = """
SELECT run, rerun, camcol, field, mjd_r AS mjd,
       psfWidth_u, psfWidth_g, psfWidth_r, psfWidth_i, psfWidth_z
FROM Field
WHERE {ra:.6f} BETWEEN raMin AND raMax AND {dec:.6f} BETWEEN decMin AND decMax
  AND mjd_r BETWEEN {first:.1f} AND {last:.1f}
"""


class FrameUnavailableError(Exception):
    """A frame that could not be fetched; the message says why."""


class CoverageError(Exception):
    """Nobody could say which frames cover a position."""


@dataclass(frozen=True, slots=True)
class Field:
    """Five frames of one part of one scan."""

    run: int
    rerun: int
    camcol: int
    field: int
    mjd: float
    seeing_arcsec: tuple[float, ...]  # of ugriz, NaN unknown

    def frame_name(self, band: str) -> str:
        return f"frame-{band}-{self.run:06d}-{self.camcol}-{self.field:04d}.fits.bz2"

    def frame_path(self, band: str) -> str:
        return FRAME_PATH.format(rerun=self.rerun, run=self.run, camcol=self.camcol, name=self.frame_name(band))


class Coverage(Protocol):
    """Whoever knows which fields cover a position."""

    def fields(self, ra_deg: float, dec_deg: float, first_mjd: float, last_mjd: float) -> list[Field]:
        """Fields in time order; raises CoverageError."""
        ...


class CatalogueServer:
    """Asks the survey's own data base through astroquery, a pause between questions."""

    def __init__(self, pause_s: float = 1.0, sleep: Callable[[float], None] = time.sleep) -> None:
        self._pause_s, self._sleep = pause_s, sleep

    def fields(self, ra_deg: float, dec_deg: float, first_mjd: float, last_mjd: float) -> list[Field]:
        try:
            from astroquery.sdss import SDSS  # noqa: PLC0415 - an optional extra
        except ImportError as exc:
            raise CoverageError("astroquery is not installed: pip install '.[fetch]', or give --fields") from exc
        self._sleep(self._pause_s)
        sql = COVERING_SQL.format(ra=ra_deg, dec=dec_deg, first=first_mjd, last=last_mjd)
        try:
            table = SDSS.query_sql(sql, data_release=DATA_RELEASE, timeout=TIMEOUT_S)
        except (OSError, ValueError) as exc:  # no network, or an answer that is no table
            raise CoverageError(f"the SDSS data base did not answer: {exc}") from exc
        rows = [] if table is None else [{name: row[name] for name in table.colnames} for row in table]
        return _in_time_order(_field_of(row) for row in rows)


class FieldTable:
    """Looks in a CSV of fields: run, rerun, camcol, field, mjd, raMin, raMax, decMin, decMax, psfWidth_u to _z."""

    NEEDED = ("run", "rerun", "camcol", "field", "mjd", "raMin", "raMax", "decMin", "decMax")

    def __init__(self, path: Path) -> None:
        try:
            with path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                if missing := set(self.NEEDED) - set(reader.fieldnames or ()):
                    raise CoverageError(f"{path} has no column {', '.join(sorted(missing))}")
                self._rows = [_checked(row, self.NEEDED, f"{path}:{number}") for number, row in enumerate(reader, 2)]
        except (OSError, UnicodeDecodeError, csv.Error) as exc:
            raise CoverageError(f"cannot read {path}: {exc}") from exc

    def fields(self, ra_deg: float, dec_deg: float, first_mjd: float, last_mjd: float) -> list[Field]:
        return _in_time_order(
            _field_of(row)
            for row in self._rows
            if float(row["raMin"]) <= ra_deg <= float(row["raMax"])
            and float(row["decMin"]) <= dec_deg <= float(row["decMax"])
            and first_mjd <= float(row["mjd"]) <= last_mjd
        )


def _checked(row: dict[str, Any], needed: tuple[str, ...], where: str) -> dict[str, Any]:
    try:
        numbers = [float(str(row[name])) for name in needed]
        _field_of(row)
    except ValueError as exc:
        raise CoverageError(f"{where}: {exc}") from exc
    if not all(map(math.isfinite, numbers)):
        raise CoverageError(f"{where}: {', '.join(needed)} must be finite numbers")
    return row


def _field_of(row: dict[str, object]) -> Field:
    seeing = tuple(float(str(row.get(f"psfWidth_{band}") or "nan")) for band in BANDS)
    run, rerun, camcol, number = (int(str(row[name])) for name in ("run", "rerun", "camcol", "field"))
    return Field(run, rerun, camcol, number, float(str(row["mjd"])), seeing)


def _in_time_order(fields: Iterable[Field]) -> list[Field]:
    """One field per scan: frames of a scan overlap, and a position near the edge lies on two."""
    by_scan: dict[tuple[int, int], Field] = {}
    for field in sorted(fields, key=lambda f: (f.mjd, f.run, f.camcol, f.field)):
        by_scan.setdefault((field.run, field.camcol), field)
    return list(by_scan.values())


class FrameStore:
    """Frames on disk, fetched when first asked for; the oldest go when the folder is full."""

    LEDGER = "frames.json"

    def __init__(
        self,
        folder: Path,
        base_url: str = BASE_URL,
        pause_s: float = 1.0,
        limit_bytes: int = 20_000_000_000,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.folder, self._base_url = folder, base_url.rstrip("/")
        self._pause_s, self._limit_bytes, self._sleep = pause_s, limit_bytes, sleep
        folder.mkdir(parents=True, exist_ok=True)
        ledger = folder / self.LEDGER
        try:
            self._sha256: dict[str, str] = parse_json(ledger.read_bytes()) if ledger.exists() else {}
        except ValueError as exc:
            raise CoverageError(f"{ledger} is damaged: remove it, and frames are fetched again: {exc}") from exc
        self.downloads = 0

    def frame(self, field: Field, band: str) -> Path:
        """The path of a frame, downloaded if it is not here whole.

        Raises
        ------
        FrameUnavailableError
            When the server does not have it, or does not answer.
        """
        path = self.folder / field.frame_name(band)
        if path.exists():
            if self._sha256.get(path.name) == sha256_of(path):
                return path
            path.unlink()  # changed since it was fetched
        partial = path.with_name(path.name + ".part")
        url = f"{self._base_url}/{field.frame_path(band)}"
        for attempt in range(ATTEMPTS):
            self._sleep(self._pause_s if attempt == 0 else FIRST_WAIT_S * 2 ** (attempt - 1))
            try:
                self._download(url, partial)
                _check_whole(partial)
                break
            except FrameUnavailableError:
                raise
            except EOFError as exc:  # broken off: the next attempt goes on
                problem: Exception = exc
            except ValueError as exc:
                partial.unlink(missing_ok=True)  # no compressed file at all
                problem = exc
            except OSError as exc:  # URLError, HTTPError, timeouts, and broken bzip2 data
                if not isinstance(exc, urllib.error.URLError | TimeoutError | ConnectionError):
                    partial.unlink(missing_ok=True)
                problem = exc
        else:
            raise FrameUnavailableError(f"{url}: {problem} ({ATTEMPTS} attempts)")
        self._make_room()
        partial.rename(path)
        self._sha256[path.name] = sha256_of(path)
        with replacing(self.folder / self.LEDGER) as ledger:
            ledger.write_text(json.dumps(self._sha256, indent=0), "utf-8")
        return path

    def _download(self, url: str, partial: Path) -> None:
        if not url.startswith(("https://", "http://")):
            raise FrameUnavailableError(f"{url} is no web address")
        have = partial.stat().st_size if partial.exists() else 0
        headers = {"User-Agent": USER_AGENT} | ({"Range": f"bytes={have}-"} if have else {})
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the scheme is checked above
        self.downloads += 1
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - as above
                goes_on = answer.status == HTTP_PARTIAL
                with partial.open("ab" if goes_on else "wb") as file:
                    shutil.copyfileobj(answer, file, CHUNK_BYTES)
        except urllib.error.HTTPError as exc:
            exc.close()  # the answer's body keeps its socket open
            if exc.code in GONE:
                raise FrameUnavailableError(f"{url}: the server says {exc.code} {exc.reason}") from exc
            if exc.code != HTTP_RANGE_NOT_SATISFIABLE:  # else it is all here already
                raise

    def _make_room(self) -> None:
        frames = sorted(self.folder.glob("*.fits.bz2"), key=lambda path: path.stat().st_mtime)
        held = sum(path.stat().st_size for path in frames)
        while frames and held + FRAME_BYTES > self._limit_bytes:
            held -= frames[0].stat().st_size
            frames.pop(0).unlink()


def _check_whole(path: Path) -> None:
    """Read a compressed file to its end; its checksums are checked on the way.

    Raises
    ------
    EOFError
        When it breaks off.
    """
    with bz2.open(path) as file:
        while file.read(CHUNK_BYTES * 4):
            pass
