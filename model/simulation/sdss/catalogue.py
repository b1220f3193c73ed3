"""Positions and classes of objects: of any CSV, or of ids in the SDSS-II supernova survey's catalogue.

Fetches nothing.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

from model.data.limits import LARGEST_ID
from model.simulation.datasets.plan import CLASSES

CLASS_WORDS = {
    "agn": "AGN",
    "agns": "AGN",
    "qso": "AGN",
    "snia": "SNIa",
    "sn ia": "SNIa",
    "ia": "SNIa",
    "variable": "Variable",
    "variables": "Variable",
    "snother": "SNOther",
    "sn other": "SNOther",
    "sn_other": "SNOther",
    "spectosnia": "SNIa",
    "snii": "SNOther",
    "spectosnii": "SNOther",
} | {name.lower(): name for name in CLASSES}
COLUMN_WORDS = {
    "id": ("id", "object_id", "objectid", "sdss_sn_cid", "snid", "name"),
    "ra": ("ra", "ra_deg", "raj2000"),
    "dec": ("dec", "decl", "dec_deg", "dej2000"),
    "class": ("class", "label", "type"),
    "split": ("split",),
}


class PositionsError(ValueError):
    """A list of objects that cannot be read; the message names the file, the row and what is allowed."""


@dataclass(frozen=True, slots=True)
class CataloguedObject:
    """One object to fetch."""

    object_id: int
    ra_deg: float
    dec_deg: float
    label: str
    split: str


def read_positions(path: Path, catalogue: Path | None = None) -> list[CataloguedObject]:
    """Read what to fetch, sorted by right ascension so that neighbours share frames.

    Parameters
    ----------
    path
        CSV with columns id, class and, unless a catalogue has them, ra and dec in degrees; optionally split.
    catalogue
        FITS table with the columns SNID, RA and DECL.

    Raises
    ------
    PositionsError
        Naming the row that is wrong.
    """
    known = {} if catalogue is None else _catalogue_positions(catalogue)
    if not path.is_file():
        raise PositionsError(f"there is no file {path}")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            columns = _columns(reader.fieldnames or [], path, with_positions=not known)
            rows = enumerate(reader, start=2)
            positions = [_position(row, columns, known, f"{path}:{number}") for number, row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise PositionsError(f"{path} cannot be read as CSV in UTF-8: {exc}") from exc
    if not positions:
        raise PositionsError(f"{path} lists no object")
    seen: set[int] = set()
    for position in positions:
        if position.object_id in seen:
            raise PositionsError(f"{path} lists object {position.object_id} twice")
        seen.add(position.object_id)
    return sorted(positions, key=lambda position: ((position.ra_deg + 180) % 360, position.object_id))


def _columns(names: object, path: Path, with_positions: bool) -> dict[str, str]:
    names_of = {}
    for wanted, words in COLUMN_WORDS.items():
        for name in names if isinstance(names, list) else []:
            if name.strip().lower() in words:
                names_of[wanted] = name
    needed = {"id", "class"} | ({"ra", "dec"} if with_positions else set())
    if missing := needed - names_of.keys():
        hint = "; positions of SDSS supernova-survey ids come with --catalogue" if "ra" in missing else ""
        raise PositionsError(f"{path} has no column {', '.join(sorted(missing))}{hint}")
    return names_of


def _position(
    row: dict[str, str], columns: dict[str, str], known: dict[int, tuple[float, float]], where: str
) -> CataloguedObject:
    if any(row[column] is None for column in columns.values()):
        raise PositionsError(f"{where}: the row is shorter than the header")
    label = CLASS_WORDS.get(row[columns["class"]].strip().lower())
    if label is None:
        raise PositionsError(f"{where}: class {row[columns['class']]!r} is none of {', '.join(CLASSES)}")
    try:
        object_id = int(row[columns["id"]])
        if known and "ra" not in columns:
            ra, dec = known[object_id]
        else:
            ra, dec = float(row[columns["ra"]]), float(row[columns["dec"]])
    except (ValueError, TypeError) as exc:
        raise PositionsError(f"{where}: {exc}") from exc
    except KeyError as exc:
        raise PositionsError(f"{where}: the catalogue does not hold object {exc}") from exc
    if abs(object_id) > LARGEST_ID:
        raise PositionsError(f"{where}: id {object_id} is beyond 64 bits")
    if not (-360 <= ra <= 360 and -90 <= dec <= 90):
        raise PositionsError(f"{where}: ra {ra}, dec {dec} is no position in degrees")
    spectroscopic = row[columns["class"]].strip().lower().startswith("specto")
    told = row[columns["split"]].strip() if "split" in columns else ""
    split = told or ("spectroscopic" if spectroscopic else "all")
    return CataloguedObject(object_id, ra % 360, dec, label, split)


def _catalogue_positions(path: Path) -> dict[int, tuple[float, float]]:
    from astropy.io import fits  # noqa: PLC0415 - only catalogues need it

    if not path.is_file():
        raise PositionsError(f"there is no catalogue {path}")
    try:
        with fits.open(path) as units:
            table = units[1].data if len(units) > 1 else None
            missing = {"SNID", "RA", "DECL"} - set(getattr(table, "names", ()))
            if table is None or missing:
                raise PositionsError(f"{path} has no column {', '.join(sorted(missing))}")
            rows = zip(table["SNID"], table["RA"], table["DECL"], strict=True)
            return {int(name): (float(ra), float(dec)) for name, ra, dec in rows if str(name).strip().isdecimal()}
    except OSError as exc:
        raise PositionsError(f"{path} cannot be read as a FITS table: {exc}") from exc
