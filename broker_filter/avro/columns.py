"""Reader of some numbers of an Avro array of records, as columns. Knows no survey.

A packet carries hundreds of previous sources of which four numbers each are wanted. One match of a regular expression
finds the numbers of many items; their bytes are put one behind the other and become an array at once, so that no value
is ever an object of Python. Layouts of items are learnt as they come (``layout``); an item of another layout is matched
by an expression for all, and what that does not match (``pattern`` says when) is read by closures. Of an
array without end only the first ``MOST_ITEMS`` are read, so that a few megabytes are the most that it costs.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_filter.avro.layout import layout_of
from broker_filter.avro.pattern import MOST_BRANCHES, VARINTS, bytes_of, code_of, joined, pattern_of

MOST_ITEMS = 1 << 16  # that are read of an array; no survey visits a place so often in a year
UNKNOWN = 255  # code of a value that the table does not have
ITEMS_AT_ONCE = 8  # of an array, in one match: more are hardly faster, but long to compile
MOST_LAYOUTS = 8  # of the items of an array that have an expression of their own; LSST's sources have 7
_NUMBERS = {"float": Struct("<f"), "double": Struct("<d")}


@dataclass(frozen=True, slots=True)
class Columns:
    """What is wanted of an array of records; a field that the schema does not have is unknown in every item."""

    numbers: tuple[str, ...]  # read as float64, NaN for null
    codes: Mapping[str, Mapping[Any, int]] = field(default_factory=dict)  # field -> text, integer, boolean -> 0 to 254


class _Number:
    """A column of numbers."""

    def __init__(self, name: str, node: Any) -> None:
        kinds = [kind for _, kind in _branches(node) if kind != "null"]
        kind = kinds[0] if len(kinds) == 1 and isinstance(kinds[0], str) and kinds[0] in _NUMBERS else None
        self.name, self._node = name, node
        self._pack = _NUMBERS[kind or "double"].pack
        self._null = self._pack(np.nan)
        self._dtype = np.dtype(_NUMBERS[kind or "double"].format)
        value = b"(" + bytes_of(len(self._null)) + b")"
        if kind is None:
            self.pattern = None
        elif isinstance(node, list):
            each = [re.escape(prefix) + (b"" if branch == "null" else value) for prefix, branch in _branches(node)]
            self.pattern = b"(?>" + b"|".join(each) + b")"
        else:
            self.pattern = value

    def layout(self, datum: bytes, at: int) -> tuple[bytes, int]:
        """An expression for values in the same branch as the one at ``at``, and the position behind it."""
        prefix, branch = _branch_at(self._node, datum, at)
        size = 0 if branch == "null" else len(self._null)
        return re.escape(prefix) + b"(" + bytes_of(size) + b")", at + len(prefix) + size

    def of_matches(self, matches: Sequence[bytes | None]) -> bytes:
        if None not in matches and len(whole := b"".join(matches)) == len(matches) * len(self._null):  # type: ignore[arg-type]
            return whole
        return b"".join([value or self._null for value in matches])

    def of_value(self, value: Any) -> bytes:
        return self._pack(value) if type(value) in (int, float) else self._null

    def column(self, content: bytearray) -> NDArray[np.float64]:
        return np.frombuffer(content, self._dtype).astype(np.float64)


class _Code:
    """A column of texts, integers or booleans, each turned into its code."""

    def __init__(self, name: str, node: Any, resolve: Callable[[Any], Any], codes: Mapping[Any, int]) -> None:
        self.name, self._node, self._resolve = name, node, resolve
        self._codes = codes
        whole = pattern_of(node, resolve)
        branches = _branches(node)
        plain = all(isinstance(branch, str) for _, branch in branches)  # an enum's text is not in the datum
        self.pattern = None
        if plain and whole is not None:
            each = [re.escape(prefix) + _exact(kind, resolve) for prefix, kind in branches]
            self.pattern = b"((?>" + b"|".join(each) + b"))"
        self._code_of_bytes: dict[bytes | None, int] = {
            prefix + written: code
            for prefix, kind in _branches(node)
            for value, code in codes.items()
            if (written := _written(value, kind)) is not None
        }

    def layout(self, datum: bytes, at: int) -> tuple[bytes, int]:
        """An expression for values in the same branch as the one at ``at``, and the position behind it."""
        prefix, branch = _branch_at(self._node, datum, at)
        like, end = layout_of(branch, self._resolve, datum, at + len(prefix))
        value = like if branch == "string" else _exact(branch, self._resolve)
        return b"(" + re.escape(prefix) + value + b")", end

    def of_matches(self, matches: Sequence[bytes | None]) -> bytes:
        return bytes(map(self._code_of_bytes.get, matches, repeat(UNKNOWN)))

    def of_value(self, value: Any) -> bytes:
        return bytes([self._codes.get(value, UNKNOWN) if type(value) in (int, str, bool) else UNKNOWN])

    def column(self, content: bytearray) -> NDArray[np.uint8]:
        return np.frombuffer(content, np.uint8)


class _Skipped:
    """A field of which nothing is wanted."""

    def __init__(self, node: Any, resolve: Callable[[Any], Any]) -> None:
        self._node, self._resolve = node, resolve
        self.pattern = pattern_of(node, resolve)

    def layout(self, datum: bytes, at: int) -> tuple[bytes, int]:
        """An expression for values laid out as the one at ``at``, and the position behind it."""
        return layout_of(self._node, self._resolve, datum, at)


class ColumnReader:
    """Reads blocks of one type of item; made once, used by any number of threads.

    Parameters
    ----------
    record
        Type of the items.
    resolve
        Turns the name of a type into the type.
    read_item
        From a datum and a position to a dictionary of the wanted fields, and the position behind the item.
    matched
        Whether items are matched by an expression; else each is read by ``read_item``.
    """

    def __init__(
        self,
        record: Mapping[str, Any],
        wanted: Columns,
        resolve: Callable[[Any], Any],
        read_item: Callable[[bytes, int], tuple[dict[str, Any], int]],
        matched: bool = True,
    ) -> None:
        self._wanted, self._read_item = wanted, read_item
        self._fields: list[_Number | _Code | _Skipped] = []
        for name, written in record["by_name"].items():
            node = _resolved(written, resolve)
            if name in wanted.numbers:
                self._fields.append(_Number(name, node))
            elif name in wanted.codes:
                self._fields.append(_Code(name, node, resolve, wanted.codes[name]))
            else:
                self._fields.append(_Skipped(node, resolve))
        self._columns = [one for one in self._fields if not isinstance(one, _Skipped)]
        item = joined(one.pattern for one in self._fields) if matched else None
        self._match_one = _no_match if item is None else re.compile(item, re.DOTALL).match
        self._match_any = _no_match if item is None else _many(item)
        self._of_layouts: tuple[_Match, ...] = ()  # those that were learnt, at most ``MOST_LAYOUTS``
        self._odd_matches = 0  # that none of them made

    def new(self) -> list[bytearray]:
        """Nothing read yet; ``read`` adds to it."""
        return [bytearray() for _ in self._columns]

    def read(self, datum: bytes, at: int, count: int, into: list[bytearray]) -> int:
        """Read ``count`` items; return the position behind them."""
        raw: list[bytes | None] = []  # values of items in a row that were matched, item by item
        while count > 0:
            if count >= ITEMS_AT_ONCE and (match := self._match_many(datum, at)) is not None:
                raw.extend(match.groups())
                at = match.end()
            else:
                for _ in range(min(count, ITEMS_AT_ONCE)):
                    at = self._read_one(datum, at, raw, into)
            count -= ITEMS_AT_ONCE
        self._take(raw, into)
        return at

    def _match_many(self, datum: bytes, at: int) -> "re.Match[bytes] | None":
        for match_layout in self._of_layouts:
            if (match := match_layout(datum, at)) is not None:
                return match
        if (match := self._match_any(datum, at)) is not None:
            self._learn(datum, at)
        return match

    def _read_one(self, datum: bytes, at: int, raw: list[bytes | None], into: list[bytearray]) -> int:
        if (match := self._match_one(datum, at)) is not None:
            raw.extend(match.groups())
            return match.end()
        self._take(raw, into)
        item, at = self._read_item(datum, at)
        for column, content in zip(self._columns, into, strict=True):
            content.extend(column.of_value(item[column.name]))
        return at

    def _learn(self, datum: bytes, at: int) -> None:
        """Keep the layout of these items if they share one: looked for at the 1st, 2nd, 4th, 8th ... odd match."""
        self._odd_matches += 1
        if self._odd_matches & (self._odd_matches - 1) or len(self._of_layouts) >= MOST_LAYOUTS:
            return
        item, end = b"", at
        for one in self._fields:
            layout, end = one.layout(datum, end)
            item += layout
        match_one = re.compile(item, re.DOTALL).match
        for _ in range(ITEMS_AT_ONCE):
            if (match := match_one(datum, at)) is None:
                return
            at = match.end()
        self._of_layouts = (*self._of_layouts, _many(item))

    def _take(self, raw: list[bytes | None], into: list[bytearray]) -> None:
        for n, (column, content) in enumerate(zip(self._columns, into, strict=True)):
            content.extend(column.of_matches(raw[n :: len(self._columns)]))
        raw.clear()

    def arrays(self, contents: list[bytearray], count: int) -> dict[str, NDArray]:
        """All columns that are wanted, of ``count`` items."""
        with np.errstate(invalid="ignore"):  # a signalling NaN is one as any other
            read: dict[str, NDArray] = {
                column.name: column.column(content) for column, content in zip(self._columns, contents, strict=True)
            }
        for name in self._wanted.numbers:
            if name not in read:
                read[name] = np.full(count, np.nan)
        for name in self._wanted.codes:
            if name not in read:
                read[name] = np.full(count, UNKNOWN, np.uint8)
        return read


_Match = Callable[[bytes, int], "re.Match[bytes] | None"]


def _many(item: bytes) -> _Match:
    """How to match ``ITEMS_AT_ONCE`` items."""
    return re.compile(item * ITEMS_AT_ONCE, re.DOTALL).match


def _no_match(_: bytes, __: int) -> None:
    return None


def _resolved(node: Any, resolve: Callable[[Any], Any]) -> Any:
    """A type whose own name, and whose branches' names, are resolved."""
    node = resolve(node)
    return [resolve(branch) for branch in node] if isinstance(node, list) else node


def _branches(node: Any) -> list[tuple[bytes, Any]]:
    """The types that a field may have, and what is written before a value of each; none of a union of too many."""
    if not isinstance(node, list):
        return [(b"", node)]
    return [(code_of(index), branch) for index, branch in enumerate(node)] if len(node) <= MOST_BRANCHES else []


def _branch_at(node: Any, datum: bytes, at: int) -> tuple[bytes, Any]:
    """The type that a value has, and what is written before it."""
    return (datum[at : at + 1], node[datum[at] >> 1]) if isinstance(node, list) else (b"", node)


def _exact(kind: str, resolve: Callable[[Any], Any]) -> bytes:
    """An expression for values as writers write them; a padded number or an odd boolean is read item by item."""
    if kind == "boolean":
        return rb"[\x00\x01]"
    return rb"(?>[\x80-\xff]++[\x01-\x7f]|[\x00-\x7f])" if kind in VARINTS else pattern_of(kind, resolve) or b""


def _written(value: Any, kind: Any) -> bytes | None:
    """A value as Avro writes it, None when it is of another type."""
    if isinstance(value, bool):  # some who pass packets on write flags as integers
        return bytes([value]) if kind == "boolean" else _written(int(value), kind)
    if isinstance(value, str) and kind == "string":
        return code_of(len(value.encode())) + value.encode()
    return code_of(value) if isinstance(value, int) and kind in VARINTS else None
