"""Reader of a few fields of an Avro record, made from its schema and their names. Knows no survey.

A packet of ZTF holds some 3,000 values and one of LSST up to 100,000, of which we use twenty. The schema is therefore
compiled once into closures that decode the wanted fields and step over the rest. Stepping is arithmetic where sizes are
fixed: a run of ``["null", "float"]`` fields is a run of table look-ups. A malicious datum can neither make it allocate
nor loop: every length and count is compared with the bytes that are left, and recursion is refused. Every value but
those of fixed size takes at least one byte, so that the work is bounded by the size of the datum; items that are taken
one by one are counted besides (``bounded_work``).

References
----------
Apache Avro 1.12 specification, "Data Serialization and Deserialization".
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from struct import error as StructError  # noqa: N812 - the module calls it error, which says too little here
from typing import Any

from broker_filter.avro.columns import MOST_ITEMS, ColumnReader, Columns
from broker_filter.avro.pattern import FIXED_SIZES, VARINTS, pattern_of
from broker_filter.avro.primitives import (
    READERS,
    CorruptDatumError,
    Read,
    block_count,
    read_long,
    skip_bytes,
    skip_varint,
    spend,
)
from broker_filter.avro.steps import Skip, Step, as_function, matched_items, one_by_one, optional, sequence
from broker_filter.errors import RejectedAlertError, Rejection

# field -> what is wanted inside it; None: all of it; Columns: of an array of records, as columns
Wanted = Mapping[str, "Wanted | Columns | None"]
Node = str | list["Node"] | dict[str, Any]

_FAR = 1 << 60  # added to a position by a union index that no branch has: the next look beyond the end refuses it
_TABLE = 256
_MAX_TABLED_BRANCHES = 64  # union indices that fit in one byte
_PATTERN_BYTES = 1 << 18  # of all expressions of a schema, which its sender makes us compile; surveys' have 20 kB


@dataclass(frozen=True, slots=True)
class Schema:
    """A parsed schema: its tree, in which named types are resolved by ``types``."""

    root: Node
    types: Mapping[str, dict[str, Any]]

    def resolve(self, node: Node) -> Node:
        """Follow a reference to a named type."""
        return self.types.get(node, node) if isinstance(node, str) else node

    def record(self, node: Node) -> dict[str, Any] | None:
        """Return the record that a node is, or may be (the last record of a union), or None."""
        node = self.resolve(node)
        if isinstance(node, list):
            records = [r for branch in node if (r := self.record(branch)) is not None]
            return records[-1] if records else None
        return node if isinstance(node, dict) and node["type"] == "record" else None

    def field(self, *path: str) -> Node | None:
        """Return the type of the field at a path of records from the root, or None."""
        node: Node = self.root
        for name in path:
            record = self.record(node)
            if record is None or name not in record["by_name"]:
                return None
            node = record["by_name"][name]
        return self.resolve(node)


def compile_reader(schema: Schema, wanted: Wanted) -> Callable[[bytes], Any]:
    """Compile a reader of the wanted fields.

    Parameters
    ----------
    wanted
        Field names, nested. A field that the schema does not have is absent from what is read.

    Returns
    -------
    read : from a datum to a dictionary of the wanted fields, bytes as bytes, arrays as lists. Where columns are wanted:
        a dictionary of arrays of the first ``MOST_ITEMS`` items, or None for no items or another type.
        It raises ``RejectedAlertError`` (``CORRUPT``) for a datum that breaks off, lies about a length, or goes on
        behind its end.
    """
    read = _Compiler(schema).reader(schema.root, wanted)

    @cache
    def patient() -> Read:
        return _Compiler(schema, patient=True).reader(schema.root, wanted)

    def read_datum(datum: bytes) -> Any:
        try:
            return _whole(read, datum)
        except RejectedAlertError as error:
            if error.reason == Rejection.TOO_LARGE:
                raise
            return _whole(patient(), datum)

    return read_datum


def _whole(read: Read, datum: bytes) -> Any:
    value, end = _guarded(read, datum, 0)
    if end != len(datum):
        raise RejectedAlertError(Rejection.CORRUPT, f"datum ends at byte {end} of {len(datum)}")
    return value


def compile_skipper(schema: Schema) -> Callable[[bytes, int], int]:
    """Compile a function from a datum's position to the position behind it; raises as ``compile_reader`` says."""
    skip = as_function(_Compiler(schema).skipper(schema.root))

    @cache
    def patient() -> Skip:
        return as_function(_Compiler(schema, patient=True).skipper(schema.root))

    def skip_datum(block: bytes, at: int) -> int:
        try:
            return _guarded(lambda b, a: (None, skip(b, a)), block, at)[1]
        except RejectedAlertError as error:
            if error.reason == Rejection.TOO_LARGE:
                raise
            return _guarded(lambda b, a: (None, patient()(b, a)), block, at)[1]

    return skip_datum


def _guarded(read: Read, datum: bytes, at: int) -> tuple[Any, int]:
    try:
        value, end = read(datum, at)
    except (CorruptDatumError, UnicodeDecodeError) as error:
        raise RejectedAlertError(Rejection.CORRUPT, str(error)) from error
    except (IndexError, StructError, OverflowError) as error:
        raise RejectedAlertError(Rejection.CORRUPT, f"datum breaks off within its {len(datum)} bytes") from error
    if end > len(datum):
        raise RejectedAlertError(Rejection.CORRUPT, f"datum breaks off within its {len(datum)} bytes")
    return value, end


class _Compiler:
    """Compiles nodes of one schema; named types are compiled once.

    The fast way expects numbers in as few bytes as they need, as every writer writes them. What it refuses is read once
    more patiently: the format allows a number, the index of a union's branch for instance, to be padded.
    """

    def __init__(self, schema: Schema, patient: bool = False) -> None:
        self._schema, self._patient = schema, patient
        self._named: dict[str, Step] = {}
        self._patterns: dict[int, bytes | None] = {}
        self._whole_records: dict[int, Read] = {}
        self._pattern_bytes_left = _PATTERN_BYTES

    def skipper(self, node: Node) -> Step:  # noqa: PLR0911 - one for each kind of type
        """Return how to step over a node."""
        if isinstance(node, str):
            if node in self._schema.types:
                if node not in self._named:
                    self._named[node] = self.skipper(self._schema.types[node])
                return self._named[node]
            if node in FIXED_SIZES:
                return FIXED_SIZES[node]
            return skip_varint if node in VARINTS else skip_bytes
        if isinstance(node, list):
            return self._union_skipper(node)
        kind = node["type"]
        if kind == "record":
            return sequence([self.skipper(field_type) for field_type in node["by_name"].values()])
        if kind == "array":
            return self._array_skipper(node["items"])
        if kind == "map":
            return self._array_skipper(node["entry"])
        return node["size"] if kind == "fixed" else skip_varint  # the other named type is the enum

    def _union_skipper(self, branches: list[Node]) -> Step:
        steps = [self.skipper(branch) for branch in branches]
        tabled = all(isinstance(step, int) for step in steps) and len(steps) <= _MAX_TABLED_BRANCHES
        if tabled and not self._patient:
            table = [_FAR] * _TABLE
            for index, step in enumerate(steps):
                table[2 * index] = 1 + step  # type: ignore[operator] # all of them are integers here
            return tuple(table)
        if len(branches) == 2 and 0 in steps and not self._patient:
            return optional(steps.index(0), steps[1 - steps.index(0)])
        skips = [as_function(step) for step in steps]

        def skip(datum: bytes, at: int) -> int:
            branch, at = read_long(datum, at)
            if branch < 0:
                raise CorruptDatumError(f"union index {branch}")
            return skips[branch](datum, at)

        return skip

    def _array_skipper(self, items: Node) -> Skip:
        step = self.skipper(items)
        # Items that may have no bytes are never counted one by one: a count costs nothing to write.
        size = step if isinstance(step, int) else None
        matched = size is None and not self._patient
        pattern = pattern_of(items, self._schema.resolve, self._patterns) if matched else None
        if pattern is not None and len(pattern) > self._pattern_bytes_left:
            pattern = None
        counted = size is None and pattern is None
        if size is not None:
            skip_items: Callable[[bytes, int, int], int] = lambda _, at, count: at + count * size  # noqa: E731
        elif pattern is not None:
            self._pattern_bytes_left -= len(pattern)
            skip_items = matched_items(pattern, as_function(step))
        else:
            skip_items = one_by_one(as_function(step))

        def skip(datum: bytes, at: int) -> int:
            while True:
                count, at, end = block_count(datum, at)
                if count == 0:
                    return at
                spend(count if counted and end < 0 else 1)
                at = end if end >= 0 else skip_items(datum, at, count)

        return skip

    def reader(self, node: Node, wanted: "Wanted | Columns | None") -> Read:  # noqa: PLR0911 - one for each kind
        """Return how to read what is wanted of a node."""
        node = self._schema.resolve(node)
        if isinstance(wanted, Columns):
            return self._columns_reader(node, wanted)
        if isinstance(node, str):
            return READERS[node]
        if isinstance(node, list):
            return self._union_reader(node, wanted)
        kind = node["type"]
        if kind == "record":
            return self._record_reader(node, wanted) if wanted is not None else self._whole_record_reader(node)
        if kind == "array":
            if self.skipper(node["items"]) == 0:
                return lambda datum, at: ([], self._array_skipper(node["items"])(datum, at))
            return _array_reader(self.reader(node["items"], wanted), list)
        if kind == "map":
            return _array_reader(self.reader(node["entry"], None), lambda items: {i["key"]: i["value"] for i in items})
        if kind == "fixed":
            return _fixed_reader(node["size"])
        return _enum_reader(node["symbols"])

    def _columns_reader(self, node: Node, wanted: Columns) -> Read:
        if isinstance(node, list):
            return self._union_reader(node, wanted)
        items = self._schema.resolve(node["items"]) if isinstance(node, dict) and node["type"] == "array" else None
        if not isinstance(items, dict) or items["type"] != "record" or self.skipper(items) == 0:
            skip = as_function(self.skipper(node))
            return lambda datum, at: (None, skip(datum, at))
        names: Wanted = dict.fromkeys((*wanted.numbers, *wanted.codes))
        read_item = self._record_reader(items, names)
        columns = ColumnReader(items, wanted, self._schema.resolve, read_item, matched=not self._patient)
        skip_items = one_by_one(as_function(self.skipper(items)))

        def read(datum: bytes, at: int) -> tuple[Any, int]:
            contents, total = columns.new(), 0
            while True:
                count, at, _ = block_count(datum, at)
                if count == 0:
                    return columns.arrays(contents, total) if total else None, at
                spend(count)
                few = min(count, MOST_ITEMS - total)
                at = skip_items(datum, columns.read(datum, at, few, contents), count - few)
                total += few

        return read

    def _union_reader(self, branches: list[Node], wanted: "Wanted | Columns | None") -> Read:
        reads = [self.reader(branch, wanted) for branch in branches]

        def read(datum: bytes, at: int) -> tuple[Any, int]:
            branch, at = read_long(datum, at)
            if branch < 0:
                raise CorruptDatumError(f"union index {branch}")
            return reads[branch](datum, at)

        return read

    def _whole_record_reader(self, node: dict[str, Any]) -> Read:
        """Compiled once for all places where it stands: records of records of records may stand in very many."""
        if id(node) not in self._whole_records:
            read, fields = self._record_reader(node, None), len(node["by_name"])

            def read_counted(datum: bytes, at: int) -> tuple[dict[str, Any], int]:
                spend(fields)  # which may have no bytes
                return read(datum, at)

            self._whole_records[id(node)] = read_counted
        return self._whole_records[id(node)]

    def _record_reader(self, node: dict[str, Any], wanted: "Wanted | None") -> Read:
        """Alternate stepping over what is not wanted with reading what is."""
        plan: list[tuple[Skip | None, str, Read]] = []
        pending: list[Step] = []
        for name, field_type in node["by_name"].items():
            if wanted is None or name in wanted:
                skip = as_function(sequence(pending)) if pending else None
                plan.append((skip, name, self.reader(field_type, None if wanted is None else wanted[name])))
                pending = []
            else:
                pending.append(self.skipper(field_type))
        rest = as_function(sequence(pending)) if pending else None

        def read(datum: bytes, at: int) -> tuple[dict[str, Any], int]:
            record = {}
            for skip, name, read_field in plan:
                if skip is not None:
                    at = skip(datum, at)
                record[name], at = read_field(datum, at)
            return record, at if rest is None else rest(datum, at)

        return read


def _array_reader(read_item: Read, collect: Callable[[list[Any]], Any]) -> Read:
    def read(datum: bytes, at: int) -> tuple[Any, int]:
        items: list[Any] = []
        while True:
            count, at, _ = block_count(datum, at)
            if count == 0:
                return collect(items), at
            spend(count)
            if len(items) + count > len(datum):
                raise CorruptDatumError(f"an array of {len(items) + count} items in {len(datum)} bytes")
            for _ in range(count):
                item, at = read_item(datum, at)
                items.append(item)

    return read


def _fixed_reader(size: int) -> Read:
    def read(datum: bytes, at: int) -> tuple[bytes, int]:
        if size > len(datum) - at:
            raise CorruptDatumError(f"a fixed of {size} bytes where {len(datum) - at} are left")
        return datum[at : at + size], at + size

    return read


def _enum_reader(symbols: list[str]) -> Read:
    def read(datum: bytes, at: int) -> tuple[str, int]:
        index, at = read_long(datum, at)
        if index < 0:
            raise CorruptDatumError(f"enum index {index}")
        return symbols[index], at

    return read
