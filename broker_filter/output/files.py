"""Classifications in, a file or standard output out, as JSON lines, Avro, Parquet or DESC's Avro. Knows no stream.

Everything is written as it comes; Parquet keeps at most ``ROWS_PER_GROUP`` rows in memory.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from fastavro.write import Writer

from broker_filter.errors import ConfigurationError
from broker_filter.output.formats import (
    DESC_SCHEMA,
    LEAN_SCHEMA,
    as_desc,
    as_json,
    desc_codes,
    json_line,
    parsed_schema,
    sync_marker,
)
from broker_filter.records import Classification

ROWS_PER_GROUP = 10_000


class ResultFile(Protocol):
    """Where a replay writes."""

    def write(self, classification: Classification) -> None: ...
    def close(self) -> None: ...


class JsonLines:
    """One JSON object per line."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def write(self, classification: Classification) -> None:
        self._out.write(json_line(classification))

    def close(self) -> None:
        self._out.flush()


class AvroContainer:
    """One object container of many records."""

    def __init__(self, out: BinaryIO, schema: str, as_record: Callable[[Classification], dict[str, Any]]) -> None:
        self._writer = Writer(out, parsed_schema(schema), sync_marker=sync_marker(schema))
        self._as_record = as_record

    def write(self, classification: Classification) -> None:
        self._writer.write(self._as_record(classification))

    def close(self) -> None:
        self._writer.flush()


class Parquet:
    """The fields of a JSON line as columns, with a column ``p_CLASS`` for each class of any classifier in use."""

    def __init__(self, out: BinaryIO, classes: Iterable[str]) -> None:
        self._classes = tuple(dict.fromkeys(classes))
        milliseconds = pa.timestamp("ms", tz="UTC")
        columns: Mapping[str, pa.DataType] = {
            "objectId": pa.string(),
            "alertId": pa.int64(),
            "survey": pa.string(),
            "mjd": pa.float64(),
            "band": pa.string(),
            "nObservations": pa.int32(),
            "nKnown": pa.int32(),
            "nHistory": pa.int32(),
            "status": pa.string(),
            "reason": pa.string(),
            **{f"p_{name}": pa.float64() for name in self._classes},
            "unknownScore": pa.float64(),
            "classifier": pa.string(),
            "classifierVersion": pa.string(),
            "taxonomyVersion": pa.string(),
            "revision": pa.bool_(),
            "alertTimestamp": milliseconds,
            "ingestTimestamp": milliseconds,
            "publicationTimestamp": milliseconds,
        }
        self._schema = pa.schema(columns)
        self._writer = pq.ParquetWriter(out, self._schema)
        self._rows: list[dict[str, Any]] = []

    def write(self, classification: Classification) -> None:
        row = as_json(classification)
        probabilities = row.pop("probabilities")
        self._rows.append(row | {f"p_{name}": probabilities.get(name) for name in self._classes})
        if len(self._rows) >= ROWS_PER_GROUP:
            self._write_group()

    def _write_group(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._rows, self._schema))
        self._rows.clear()

    def close(self) -> None:
        self._write_group()
        self._writer.close()


FORMATS = ("jsonl", "avro", "parquet", "desc")


def open_results(path: str, form: str, classes: Sequence[str], broker_name: str, stack: ExitStack) -> ResultFile:
    """Open a file, or standard output for ``-``; the stack closes it.

    Raises
    ------
    ConfigurationError
        When the file cannot be written.
    """
    out = open_output(path, stack)
    if form == "jsonl":
        results: ResultFile = JsonLines(out)
    elif form == "parquet":
        results = Parquet(out, classes)
    elif form == "avro":
        results = AvroContainer(out, LEAN_SCHEMA, as_json)
    else:
        codes = desc_codes()
        results = AvroContainer(out, DESC_SCHEMA, lambda c: as_desc(c, broker_name, codes))
    stack.callback(results.close)
    return results


def open_output(path: str, stack: ExitStack) -> BinaryIO:
    """A file for writing, or standard output for ``-``; raises ConfigurationError when it cannot be written."""
    if path == "-":
        return sys.stdout.buffer
    try:
        return stack.enter_context(Path(path).open("wb"))
    except OSError as error:
        raise ConfigurationError(f"output {path} cannot be written: {error.strerror}") from error
