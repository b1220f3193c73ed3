"""Classifications as tables: one row each, one column per field and class, for Parquet, CSV, ECSV and VOTable.

What other programs read without help decides the form: maps become a column per key, text is empty where a field is
null (astropy reads no null text), numbers stay null. Names, units and descriptions are those of the lean schema.
"""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from astropy.table import MaskedColumn, Table
from astropy.table.meta import get_yaml_from_table

from broker_filter.output.formats import LEAN_SCHEMA, as_json, parsed_schema
from broker_filter.records import Classification
from model.printable import printable
from model.taxonomy import Taxonomy, load_taxonomy

ROWS_PER_GROUP = 10_000
MAPS = {"probabilities": "p_", "broadProbabilities": "broad_"}  # field -> before the class in a column's name
LISTS = ("predictionSet",)  # text of names with a space between them
UNITS = {
    "mjd": "d",
    "ra": "deg",
    "dec": "deg",
    "flux": "nJy",
    "fluxError": "nJy",
    "magnitude": "mag",
    "magnitudeError": "mag",
    "night": "d",
    "daysSinceFirst": "d",
    "daysSinceBrightest": "d",
    "ssDistance": "arcsec",
    "ssMagnitude": "mag",
}
_ARROW_TYPES: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "enum": pa.string(),
    "array": pa.string(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "double": pa.float64(),
    "timestamp-millis": pa.timestamp("ms", tz="UTC"),
}
# Formats that astropy writes, by our names, with what it calls them.
ASTROPY_FORMATS = {"csv": "ascii.csv", "ecsv": "ascii.ecsv", "votable": "votable"}


def first_level_of(classes: Iterable[str], taxonomies: Iterable[Taxonomy] = ()) -> tuple[str, ...]:
    """Names of the first level to which classes belong, by these taxonomies; by the package's where there are none."""
    known = tuple(taxonomies) or (load_taxonomy(),)
    return tuple(dict.fromkeys(name for taxonomy in known for name in taxonomy.broad(dict.fromkeys(classes, 0.0))))


@cache
def columns_of(classes: tuple[str, ...], first_level: tuple[str, ...] = ()) -> pa.Schema:
    """Arrow's schema of a table in which these classes have columns, with units and descriptions as metadata.

    Parameters
    ----------
    first_level
        Names of the first level; none: those of the package's taxonomy.
    """
    columns = []
    for field in parsed_schema(LEAN_SCHEMA)["fields"]:
        name, kind, doc = field["name"], _kind(field["type"]), field.get("doc", "")
        if name in MAPS:
            names = classes if name == "probabilities" else first_level or first_level_of(classes)
            columns += [_column(MAPS[name] + key, "double", f"{name}: {key}") for key in names]
        else:
            columns.append(_column(name, kind, doc, UNITS.get(name)))
    return pa.schema(columns)


def _kind(kind: Any) -> str:
    """Name of an Avro type, whether it may be null or not."""
    if isinstance(kind, list):
        (kind,) = (one for one in kind if one != "null")
    return kind if isinstance(kind, str) else str(kind.get("logicalType", kind["type"]))


def _column(name: str, kind: str, description: str, unit: str | None = None) -> pa.Field:
    about = {"description": description} | ({} if unit is None else {"unit": unit})
    return pa.field(name, _ARROW_TYPES[kind], metadata=about)


def row_of(classification: Classification) -> dict[str, Any]:
    """The cells of a classification, by the names of ``columns_of``."""
    row = as_json(classification)
    for field, prefix in MAPS.items():
        row |= {prefix + name: value for name, value in (row.pop(field) or {}).items()}
    return row | {name: " ".join(row[name] or ()) for name in LISTS}


def arrow_table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as a table of Arrow, text never null."""
    table = pa.Table.from_pylist(rows, schema)
    for position, field in enumerate(schema):
        if field.type == pa.string():
            table = table.set_column(position, field, pc.fill_null(table.column(position), ""))
    return table


def table_of(classifications: Sequence[Classification]) -> Table:
    """Classifications as a table of astropy, with a column for every class that they name."""
    classes = tuple(dict.fromkeys(name for one in classifications for name in one.probabilities))
    broad = tuple(dict.fromkeys(name for one in classifications for name in one.broad_probabilities or ()))
    return astropy_table(arrow_table([row_of(one) for one in classifications], columns_of(classes, broad)))


class Parquet:
    """A Parquet file that is written as rows come; memory holds at most ``ROWS_PER_GROUP`` of them.

    The file's metadata are astropy's: how long its text is, units and descriptions. For them to be seen, Arrow's own
    copy of the schema is left out.
    """

    def __init__(self, out: BinaryIO, schema: pa.Schema) -> None:
        self._schema = schema
        self._longest = {field.name: 1 for field in self._schema if field.type == pa.string()}
        self._writer = pq.ParquetWriter(out, self._schema, store_schema=False)
        self._rows: list[dict[str, Any]] = []

    def write(self, classification: Classification) -> None:
        self._rows.append(row_of(classification))
        if len(self._rows) >= ROWS_PER_GROUP:
            self._write_group()

    def _write_group(self) -> None:
        table = arrow_table(self._rows, self._schema)
        for name, longest in self._longest.items():
            self._longest[name] = max(longest, pc.max(pc.utf8_length(table[name])).as_py() or 1)
        self._writer.write_table(table)
        self._rows.clear()

    def close(self) -> None:
        self._write_group()
        about = {f"table::len::{name}": str(characters) for name, characters in self._longest.items()}
        about["table_meta_yaml"] = "\n".join(get_yaml_from_table(astropy_table(self._schema.empty_table())))
        self._writer.add_key_value_metadata(about)
        self._writer.close()


class AstropyFile:
    """A file that astropy writes at the end; until then memory holds Arrow's columns, 0.4 kB a row.

    Lines and XML have no place for control characters, which would end a row or the file: text is written as
    ``printable`` shows it.
    """

    def __init__(self, out: BinaryIO, schema: pa.Schema, form: str) -> None:
        self._out, self._form, self._schema = out, form, schema
        self._rows: list[dict[str, Any]] = []
        self._tables: list[pa.Table] = []

    def write(self, classification: Classification) -> None:
        row = row_of(classification)
        self._rows.append({name: printable(cell) if type(cell) is str else cell for name, cell in row.items()})
        if len(self._rows) >= ROWS_PER_GROUP:
            self._gather()

    def _gather(self) -> None:
        self._tables.append(arrow_table(self._rows, self._schema))
        self._rows.clear()

    def close(self) -> None:
        self._gather()
        write_table(astropy_table(pa.concat_tables(self._tables)), self._out, self._form)


def open_table(
    out: BinaryIO, form: str, classes: Iterable[str], taxonomies: Iterable[Taxonomy] = ()
) -> Parquet | AstropyFile:
    """A file of one of the formats of tables, with columns for these classes and what they are at the first level."""
    names = tuple(dict.fromkeys(classes))
    schema = columns_of(names, first_level_of(names, taxonomies))
    return Parquet(out, schema) if form == "parquet" else AstropyFile(out, schema, form)


def write_table(table: Table, out: BinaryIO, form: str) -> None:
    """Write a table in one of ``ASTROPY_FORMATS``, times as text of ISO 8601."""
    readable = table.copy(copy_data=False)
    for name in readable.colnames:
        if readable[name].dtype.kind == "M":
            readable.replace_column(name, _iso(readable[name]))
    if form == "votable":
        readable.write(out, format=ASTROPY_FORMATS[form])
        return
    text = io.StringIO()
    readable.write(text, format=ASTROPY_FORMATS[form])
    out.write(text.getvalue().encode())


def _iso(column: MaskedColumn) -> MaskedColumn:
    text = np.where(np.isnat(column), "", np.datetime_as_string(column, unit="ms", timezone="UTC"))
    return MaskedColumn(text, name=column.name, description=column.description)


def astropy_table(table: pa.Table) -> Table:
    """A table of astropy with units and descriptions; numbers that are null are masked."""
    columns = {}
    for field in table.schema:
        about = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        columns[field.name] = _masked(table[field.name], **about)
    return Table(columns)


def _masked(values: pa.ChunkedArray, description: str = "", unit: str | None = None) -> MaskedColumn:
    null = values.is_null().to_numpy()
    if values.type == pa.string():
        return MaskedColumn(np.array(values.to_pylist(), dtype=np.str_), description=description)
    filled = _FILLED.get(str(values.type), lambda column: column)(values)
    return MaskedColumn(filled.to_numpy(), mask=null, unit=unit, description=description)


_FILLED: Mapping[str, Callable[[pa.ChunkedArray], pa.ChunkedArray]] = {
    "int32": lambda column: pc.fill_null(column, 0),
    "int64": lambda column: pc.fill_null(column, 0),
    "bool": lambda column: pc.fill_null(column, False),
    "double": lambda column: pc.fill_null(column, float("nan")),
}
