"""Avro schemas as checked trees, from their JSON. Knows nothing of surveys or data.

It is more tolerant than the libraries where real packets need it: a default that does not fit its type, and a type or
field that is defined twice, do not matter to a reader of the writer's own data. It refuses what could hurt: recursive
types, sizes below zero, schemas beyond ``MAX_SCHEMA_BYTES`` or ``MAX_SCHEMA_DEPTH``.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from broker_filter.avro.projection import Node, Schema
from broker_filter.errors import RejectedAlertError, Rejection

MAX_SCHEMA_BYTES = 1024 * 1024  # ZTF's has 26 kB, LSST's 60 kB
MAX_SCHEMA_DEPTH = 32  # levels of types within types; LSST's has 5. A reader recurses as deep as its schema
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")  # as JSON's escapes write it, alone or beside its other half
_PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "string", "bytes")


class _BadSchemaError(ValueError):
    """The schema is not one."""


def parse_schema(text: bytes | str, named: Sequence[str] = ()) -> Schema:
    """Parse and check a schema.

    Parameters
    ----------
    named
        Schemas whose types it names, the innermost first.

    Raises
    ------
    RejectedAlertError
        ``BAD_SCHEMA`` when it is no schema, or one that is not read; ``TOO_LARGE`` over ``MAX_SCHEMA_BYTES``.
    """
    size = len(text) + sum(map(len, named))
    if size > MAX_SCHEMA_BYTES:
        raise RejectedAlertError(Rejection.TOO_LARGE, f"schema of {size} bytes, limit {MAX_SCHEMA_BYTES}")
    try:
        return parse_tree(_loaded(text), [_loaded(other) for other in named])
    except (ValueError, RecursionError) as error:
        raise RejectedAlertError(Rejection.BAD_SCHEMA, f"schema does not parse: {error}") from error


def _loaded(text: bytes | str) -> Any:
    tree = json.loads(text)
    if _HALF_CHARACTER.search(text if isinstance(text, str) else text.decode("latin-1")):
        json.dumps(tree, ensure_ascii=False).encode()  # raises for a half: no output could hold such a name
    return tree


def parse_tree(tree: Any, named: Sequence[Any] = ()) -> Schema:
    """Check a schema that is already a tree of dictionaries and lists; raises ``ValueError``."""
    parser = _Parser()
    for other in named:
        parser.parse(other, "", ())
    root, _ = parser.parse(tree, "", ())
    return Schema(root, parser.types)


class _Parser:
    """Parses one schema. Every method returns a node and how deep it nests, references followed."""

    def __init__(self) -> None:
        self.types: dict[str, dict[str, Any]] = {}
        self._heights: dict[str, int] = {}

    def parse(self, node: Any, namespace: str, within: tuple[str, ...], depth: int = 0) -> tuple[Node, int]:
        """Parse a type within records of these names."""
        if depth > MAX_SCHEMA_DEPTH:
            raise _BadSchemaError(f"types nest deeper than {MAX_SCHEMA_DEPTH}")
        parsed, height = self._parse_kind(node, namespace, within, depth + 1)
        if height > MAX_SCHEMA_DEPTH:
            raise _BadSchemaError(f"types nest deeper than {MAX_SCHEMA_DEPTH}")
        return parsed, height

    def _parse_kind(self, node: Any, namespace: str, within: tuple[str, ...], depth: int) -> tuple[Node, int]:
        if isinstance(node, str):
            return self._reference(node, namespace, within)
        if isinstance(node, list):
            if not node:
                raise _BadSchemaError("a union without branches")
            branches = [self.parse(branch, namespace, within, depth) for branch in node]
            return [branch for branch, _ in branches], 1 + max(height for _, height in branches)
        if not isinstance(node, dict) or "type" not in node:
            raise _BadSchemaError(f"a type is a name, a list or an object with a type, not {str(node)[:80]}")
        kind = node["type"]
        if kind in ("record", "error"):
            return self._record(node, namespace, within, depth)
        if kind in ("enum", "fixed"):
            return self._leaf(node, namespace)
        if kind in ("array", "map"):
            return self._collection(node, namespace, within, depth)
        return self.parse(kind, namespace, within, depth)  # {"type": "long", "logicalType": ...} and nested objects

    def _reference(self, name: str, namespace: str, within: tuple[str, ...]) -> tuple[Node, int]:
        if name in _PRIMITIVES:
            return name, 0
        for full_name in (f"{namespace}.{name}", name) if namespace and "." not in name else (name,):
            if full_name in within:
                raise _BadSchemaError(f"recursive type {full_name[:80]}")
            if full_name in self.types:
                return full_name, self._heights[full_name]
        raise _BadSchemaError(f"unknown type {name[:80]}")

    def _collection(
        self, node: dict[str, Any], namespace: str, within: tuple[str, ...], depth: int
    ) -> tuple[Node, int]:
        if node["type"] == "array":
            items, height = self.parse(node.get("items"), namespace, within, depth)
            return {"type": "array", "items": items}, height + 1
        value, height = self.parse(node.get("values"), namespace, within, depth)
        return {"type": "map", "entry": {"type": "record", "by_name": {"key": "string", "value": value}}}, height + 2

    def _leaf(self, node: dict[str, Any], namespace: str) -> tuple[Node, int]:
        symbols, size = node.get("symbols"), node.get("size")
        if node["type"] == "enum":
            if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
                raise _BadSchemaError("an enum without symbols")
            parsed: dict[str, Any] = {"type": "enum", "symbols": symbols}
        else:
            if type(size) is not int or size < 0:
                raise _BadSchemaError(f"a fixed of size {str(size)[:80]}")
            parsed = {"type": "fixed", "size": size}
        full_name, _ = _full_name(node, namespace)
        self.types[full_name], self._heights[full_name] = parsed, 0
        return parsed, 0

    def _record(self, node: dict[str, Any], namespace: str, within: tuple[str, ...], depth: int) -> tuple[Node, int]:
        full_name, inner = _full_name(node, namespace)
        fields = node.get("fields")
        if not isinstance(fields, list):
            raise _BadSchemaError(f"record {full_name[:80]} without fields")
        by_name: dict[str, Node] = {}
        highest = 0
        for field in fields:
            if not isinstance(field, dict) or not isinstance(field.get("name"), str) or "type" not in field:
                raise _BadSchemaError(f"record {full_name[:80]} with a field without name or type")
            name = field["name"]
            while name in by_name:  # WINTER writes one field twice: both are in the data, the first keeps the name
                name += f" #{len(by_name)}"
            by_name[name], height = self.parse(field["type"], inner, (*within, full_name), depth)
            highest = max(highest, height)
        parsed = {"type": "record", "by_name": by_name, "name": full_name, "version": str(node.get("version", ""))}
        self.types[full_name], self._heights[full_name] = parsed, highest + 1
        return parsed, highest + 1


def _full_name(node: dict[str, Any], namespace: str) -> tuple[str, str]:
    """Return the full name of a named type and the namespace inside it."""
    name = node.get("name")
    if not isinstance(name, str) or not name:
        raise _BadSchemaError("a named type without a name")
    if "." in name:
        return name, name.rpartition(".")[0]
    inner = node.get("namespace", namespace)
    if not isinstance(inner, str):
        raise _BadSchemaError("a namespace that is no text")
    return (f"{inner}.{name}" if inner else name), inner
