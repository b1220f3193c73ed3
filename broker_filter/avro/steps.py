"""Stepping over Avro values: fixed sizes are added up, optional ones looked up in tables, the rest is functions."""

import re
from collections.abc import Callable

from broker_filter.avro.primitives import CorruptDatumError, skip_varint

Skip = Callable[[bytes, int], int]
Step = int | tuple[int, ...] | Skip  # a fixed size, a table from union index to size, or a function

_ITEMS_AT_ONCE = 16  # of an array, in one match


def sequence(steps: list[Step]) -> Step:
    """Merge steps that follow one another: sizes add up, tables form runs."""
    merged: list[Step] = []
    for step in steps:
        if isinstance(step, int) and merged and isinstance(merged[-1], int):
            merged[-1] += step
        elif isinstance(step, int) and merged and isinstance(merged[-1], tuple):
            merged[-1] = tuple(size + step for size in merged[-1])
        elif step != 0:
            merged.append(step)
    if not merged:
        return 0
    if len(merged) == 1:
        return merged[0]
    functions: list[Skip] = []
    run: list[tuple[int, ...]] = []
    for step in merged:
        if isinstance(step, tuple):
            run.append(step)
            continue
        if run:
            functions.append(_run_of_tables(run))
            run = []
        functions.append(as_function(step))
    if run:
        functions.append(_run_of_tables(run))
    if len(functions) == 1:
        return functions[0]

    def skip(datum: bytes, at: int) -> int:
        for function in functions:
            at = function(datum, at)
        return at

    return skip


def _run_of_tables(tables: list[tuple[int, ...]]) -> Skip:
    fixed_tables = tuple(tables)

    def skip(datum: bytes, at: int) -> int:
        for table in fixed_tables:
            at += table[datum[at]]
        return at

    return skip


def as_function(step: Step) -> Skip:
    if isinstance(step, int):
        size = step
        return lambda _, at: at + size
    if isinstance(step, tuple):
        table = step
        return lambda datum, at: at + table[datum[at]]
    return step


def one_by_one(skip_item: Skip) -> Callable[[bytes, int, int], int]:
    def skip(datum: bytes, at: int, count: int) -> int:
        for _ in range(count):
            at = skip_item(datum, at)
        return at

    return skip


def matched_items(pattern: bytes, skip_item: Skip) -> Callable[[bytes, int, int], int]:
    """Step over items by matching them, many at once while that works; the function takes what does not match."""
    match_some = re.compile(b"(?>%s){%d}+" % (pattern, _ITEMS_AT_ONCE), re.DOTALL).match
    match_one = re.compile(pattern, re.DOTALL).match

    def skip(datum: bytes, at: int, count: int) -> int:
        while count >= _ITEMS_AT_ONCE and (some := match_some(datum, at)) is not None:
            at = some.end()
            count -= _ITEMS_AT_ONCE
        for _ in range(count):
            one = match_one(datum, at)
            at = skip_item(datum, at) if one is None else one.end()
        return at

    return skip


def optional(null_branch: int, step: Step) -> Skip:
    """Step over a union of null and one thing without a fixed size, the most common kind in alerts."""
    null_code = 2 * null_branch
    other_code = 2 - null_code
    if step is skip_varint:

        def skip_number(datum: bytes, at: int) -> int:
            code = datum[at]
            at += 1
            if code == null_code:
                return at
            if code != other_code:
                raise CorruptDatumError(f"union code {code}")
            while datum[at] > 127:
                at += 1
            return at + 1

        return skip_number
    skip_other = as_function(step)

    def skip(datum: bytes, at: int) -> int:
        code = datum[at]
        if code == null_code:
            return at + 1
        if code != other_code:
            raise CorruptDatumError(f"union code {code}")
        return skip_other(datum, at + 1)

    return skip
