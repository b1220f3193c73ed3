"""JSON text that others wrote as plain values, or one error: of its words, its depth, or a key that stands twice."""

import json
from typing import Any

DEEPEST = 100  # tables and lists inside each other: readers follow them by calls, and Python ends at 1,000


def parse_json(text: str | bytes) -> Any:
    """What a JSON text says.

    Raises
    ------
    ValueError
        When it is no JSON or no UTF-8, a table has a key twice, or tables and lists are nested too deeply.
    """
    try:
        value = json.loads(text, object_pairs_hook=_table)
    except RecursionError:
        raise ValueError(_too_deep()) from None
    inside = [value]
    for _ in range(DEEPEST + 1):
        inside = [one for outer in inside for one in _members(outer)]
    if inside:
        raise ValueError(_too_deep())
    return value


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key, value in pairs:
        if key in table:
            raise ValueError(f"the key {key!r} stands there twice")
        table[key] = value
    return table


def _members(value: Any) -> list[Any]:
    """What a table or a list holds; nothing of any other value."""
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _too_deep() -> str:
    return f"its tables and lists are nested more than {DEEPEST} deep"
