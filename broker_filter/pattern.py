"""A type of an Avro schema enters, a regular expression that matches one value of it leaves; knows no survey.

Stepping over the hundreds of previous sources of an LSST packet, each of a hundred fields, is most of the work of
reading one. The expression engine does it in C, several times as fast as closures. Nothing can run away: every
alternative is told apart by its first byte and no match is ever reconsidered (atomic groups, possessive repeats), so
the time is proportional to the bytes. What the expression does not match (a long string, or a datum that is corrupt) is
left to the closures, which know what is wrong with it.
"""

import re
from collections.abc import Callable
from typing import Any

FIXED_SIZES = {"null": 0, "boolean": 1, "float": 4, "double": 8}  # of primitive types, bytes
VARINTS = ("int", "long")
LONGEST_STRING_BYTES = 23  # bands, names and designations; each length is an alternative, tried in turn
DEEPEST = 8  # types within types
_VARINT = rb"[\x80-\xff]*+[\x00-\x7f]"


def pattern_of(node: Any, resolve: Callable[[Any], Any], depth: int = 0) -> bytes | None:
    """The source of an expression (with DOTALL) for one value, or None for a type that has none (arrays, maps).

    ``resolve`` turns the name of a type into the type.
    """
    node = resolve(node)
    if depth > DEEPEST:
        return None
    if isinstance(node, str):
        return _primitive(node)
    if isinstance(node, list):
        return _any_of([pattern_of(branch, resolve, depth + 1) for branch in node])
    if node["type"] == "record":
        parts = [pattern_of(inner, resolve, depth + 1) for inner in node["by_name"].values()]
        return None if None in parts else b"".join(part for part in parts if part is not None)
    return {"fixed": _bytes(node.get("size", 0)), "enum": _VARINT}.get(node["type"])


def _primitive(name: str) -> bytes:
    if name in FIXED_SIZES:
        return _bytes(FIXED_SIZES[name])
    if name in VARINTS:
        return _VARINT
    return _one_of([_code(size) + _bytes(size) for size in range(LONGEST_STRING_BYTES + 1)])


def _any_of(branches: list[bytes | None]) -> bytes | None:
    if None in branches or len(branches) > 64:  # more indices than one byte holds
        return None
    return _one_of([_code(index) + branch for index, branch in enumerate(branches) if branch is not None])


def _one_of(alternatives: list[bytes]) -> bytes:
    return b"(?>" + b"|".join(alternatives) + b")"


def _code(value: int) -> bytes:
    """A small integer as Avro writes it."""
    return re.escape(bytes([2 * value]))


def _bytes(size: int) -> bytes:
    return b".{%d}" % size if size else b""
