"""Files of classifications, or standard output, in every published form. Knows no stream.

Everything is written as it comes, but for the forms that astropy writes whole.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Protocol

from fastavro.write import Writer

from broker_filter.errors import ConfigurationError
from broker_filter.output.format_names import TABLE_FORMATS
from broker_filter.output.formats import (
    DESC_SCHEMA,
    LEAN_SCHEMA,
    as_desc,
    as_json,
    json_line,
    parsed_schema,
    refuse_without_code,
    sync_marker,
)
from broker_filter.records import Classification
from model.printable import printable_json
from model.taxonomy import Taxonomy, load_taxonomy


class ResultFile(Protocol):
    """Where a replay writes."""

    def write(self, classification: Classification) -> None: ...
    def close(self) -> None: ...


class JsonLines:
    """One JSON object per line."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def write(self, classification: Classification) -> None:
        line = json_line(classification)
        self._out.write(line if line.isascii() else printable_json(line.decode()).encode())

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


def open_results(
    path: str,
    form: str,
    classes: Sequence[str],
    broker_name: str,
    stack: ExitStack,
    taxonomies: Mapping[str, Taxonomy] = MappingProxyType({}),
) -> ResultFile:
    """Open a file, or standard output for ``-``; the stack closes it.

    Parameters
    ----------
    taxonomies
        By survey: of the networks' cards. Other surveys' are the package's.

    Raises
    ------
    ConfigurationError
        When the file cannot be written, or the form needs codes that a network's classes do not have.
    """
    out = open_output(path, stack)
    if form == "jsonl":
        results: ResultFile = JsonLines(out)
    elif form in TABLE_FORMATS:
        from broker_filter.output.tables import open_table  # noqa: PLC0415 # astropy takes half a second

        results = open_table(out, form, classes, taxonomies.values())
    elif form == "avro":
        results = AvroContainer(out, LEAN_SCHEMA, as_json)
    else:
        refuse_without_code(taxonomies.values())
        shipped = load_taxonomy()
        results = AvroContainer(out, DESC_SCHEMA, lambda c: as_desc(c, broker_name, taxonomies.get(c.survey, shipped)))
    stack.callback(results.close)
    return results


def standard_output() -> BinaryIO:
    """Standard output as bytes; raises ConfigurationError where whoever started the process has closed it."""
    if sys.stdout is None:
        raise ConfigurationError("standard output is closed: send it to a file, or to /dev/null")
    return sys.stdout.buffer


def open_output(path: str, stack: ExitStack) -> BinaryIO:
    """A file for writing, or standard output for ``-``; raises ConfigurationError when it cannot be written."""
    if path == "-":
        return standard_output()
    try:
        return stack.enter_context(Path(path).open("wb"))
    except OSError as error:
        raise ConfigurationError(f"output {path} cannot be written: {error.strerror}") from error
