"""Regular expressions that match one value of an Avro type. Knows no survey.

Stepping over the hundreds of previous sources of an LSST packet, each of a hundred fields, is most of the work of
reading one. The expression engine does it in C, several times as fast as closures. Nothing can run away: every
alternative is told apart by its first byte and no match is ever reconsidered (atomic groups, possessive repeats), so
the time is proportional to the bytes. What the expression does not match (a long string, or a datum that is corrupt) is
left to the closures, which know what is wrong with it.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

FIXED_SIZES = {"null": 0, "boolean": 1, "float": 4, "double": 8}  # of primitive types, bytes
VARINTS = ("int", "long")
LONGEST_STRING_BYTES = 127  # bands, names, file names; each length is an alternative, told by its first byte
LONGEST_PATTERN_BYTES = 16_384  # LSST's sources, the longest that are known, have 3,700
MOST_BRANCHES = 64  # of a union, so that its index is one byte
DEEPEST = 8  # types within types
VARINT = rb"[\x80-\xff]*+[\x00-\x7f]"


def pattern_of(
    node: Any, resolve: Callable[[Any], Any], known: dict[int, bytes | None] | None = None, depth: int = 0
) -> bytes | None:
    """The source of an expression (with DOTALL) for one value, or None for a type that has none (arrays, maps, giants).

    ``resolve`` turns the name of a type into the type; ``known`` keeps what was found for the records of a schema, so
    that records of records of records cost no more than what is written in the schema.
    """
    node = resolve(node)
    known = {} if known is None else known
    if depth > DEEPEST:
        return None
    if isinstance(node, str):
        return _primitive(node)
    if isinstance(node, list):
        return _any_of([pattern_of(branch, resolve, known, depth + 1) for branch in node[: MOST_BRANCHES + 1]])
    if node["type"] == "record":
        if id(node) not in known:
            known[id(node)] = joined(pattern_of(inner, resolve, known, depth + 1) for inner in node["by_name"].values())
        return known[id(node)]
    return {"fixed": bytes_of(node.get("size", 0)), "enum": VARINT}.get(node["type"])


def joined(parts: Iterable[bytes | None]) -> bytes | None:
    """One expression after the other, or None where one is missing or all are too long together."""
    whole = b""
    for part in parts:
        if part is None or len(whole) + len(part) > LONGEST_PATTERN_BYTES:
            return None
        whole += part
    return whole


def _primitive(name: str) -> bytes:
    if name in FIXED_SIZES:
        return bytes_of(FIXED_SIZES[name])
    if name in VARINTS:
        return VARINT
    return _one_of([re.escape(code_of(size)) + bytes_of(size) for size in range(LONGEST_STRING_BYTES + 1)])


def _any_of(branches: list[bytes | None]) -> bytes | None:
    if len(branches) > MOST_BRANCHES or joined(branches) is None:
        return None
    return _one_of([re.escape(code_of(index)) + branch for index, branch in enumerate(branches) if branch is not None])


def _one_of(alternatives: list[bytes]) -> bytes:
    return b"(?>" + b"|".join(alternatives) + b")"


def code_of(value: int) -> bytes:
    """A number from 0 to 8191 as Avro writes it."""
    return bytes([2 * value]) if value < 64 else bytes([2 * value & 127 | 128, 2 * value >> 7])


def bytes_of(size: int) -> bytes:
    """An expression for so many bytes: possessive, for what may be reconsidered costs several times as much."""
    return b".{%d}+" % size if size > 1 else b"." * size
