"""Regular expressions for values that are laid out as one that was seen. Knows no survey.

Items of an array come from one program, so that nearly all of them have the same branches of their unions. An
expression for one layout is a straight line without alternatives, which the engine follows five times as fast as one
that allows every layout.
"""

import re
from collections.abc import Callable
from typing import Any

from broker_filter.avro.pattern import FIXED_SIZES, VARINT, VARINTS, bytes_of, code_of
from broker_filter.avro.primitives import read_long, skip_varint


def layout_of(node: Any, resolve: Callable[[Any], Any], datum: bytes, at: int) -> tuple[bytes, int]:
    """The source of an expression (with DOTALL) for values laid out as the one at ``at``, and the position behind it.

    ``pattern_of`` must match that value; what the expression matches, that one matches too.
    """
    node = resolve(node)
    if isinstance(node, list):
        layout, end = layout_of(node[datum[at] >> 1], resolve, datum, at + 1)
        return re.escape(datum[at : at + 1]) + layout, end
    if isinstance(node, str):
        return _of_primitive(node, datum, at)
    if node["type"] == "record":
        whole = b""
        for inner in node["by_name"].values():
            layout, at = layout_of(inner, resolve, datum, at)
            whole += layout
        return whole, at
    if node["type"] == "fixed":
        return bytes_of(node.get("size", 0)), at + node.get("size", 0)
    return VARINT, skip_varint(datum, at)  # an enum


def _of_primitive(name: str, datum: bytes, at: int) -> tuple[bytes, int]:
    if name in FIXED_SIZES:
        return bytes_of(FIXED_SIZES[name]), at + FIXED_SIZES[name]
    if name in VARINTS:
        return VARINT, skip_varint(datum, at)
    size, at = read_long(datum, at)
    return re.escape(code_of(size)) + bytes_of(size), at + size
