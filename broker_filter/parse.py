"""The JSON of an Avro schema enters, a checked tree leaves; this room knows nothing of surveys or data.

It is more tolerant than the libraries where real packets need it: a default that does not fit its type, and a type or
field that is defined twice, do not matter to a reader of the writer's own data. It refuses what could hurt: recursive
types, sizes below zero, schemas beyond ``MAX_SCHEMA_BYTES``.
"""

import json
from typing import Any

from broker_filter.errors import RejectedAlertError, Rejection
from broker_filter.projection import Node, Schema

MAX_SCHEMA_BYTES = 1024 * 1024  # ZTF's has 26 kB, LSST's 60 kB
_PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "string", "bytes")


class _BadSchemaError(ValueError):
    """The schema is not one."""


def parse_schema(text: bytes | str) -> Schema:
    """Parse and check a schema.

    Raises
    ------
    RejectedAlertError
        ``BAD_SCHEMA`` when it is no schema, or one that is not read; ``TOO_LARGE`` over ``MAX_SCHEMA_BYTES``.
    """
    if len(text) > MAX_SCHEMA_BYTES:
        raise RejectedAlertError(Rejection.TOO_LARGE, f"schema of {len(text)} bytes, limit {MAX_SCHEMA_BYTES}")
    try:
        tree = json.loads(text)
        return parse_tree(tree)
    except (ValueError, RecursionError) as error:
        raise RejectedAlertError(Rejection.BAD_SCHEMA, f"schema does not parse: {error}") from error


def parse_tree(tree: Any) -> Schema:
    """Check a schema that is already a tree of dictionaries and lists; raises ``ValueError``."""
    types: dict[str, dict[str, Any]] = {}
    root = _parse(tree, "", types, ())
    return Schema(root, types)


def _parse(node: Any, namespace: str, types: dict[str, dict[str, Any]], within: tuple[str, ...]) -> Node:  # noqa: PLR0911 - one for each kind of type
    if isinstance(node, str):
        return _reference(node, namespace, types, within)
    if isinstance(node, list):
        if not node:
            raise _BadSchemaError("a union without branches")
        return [_parse(branch, namespace, types, within) for branch in node]
    if not isinstance(node, dict) or "type" not in node:
        raise _BadSchemaError(f"a type is a name, a list or an object with a type, not {str(node)[:80]}")
    kind = node["type"]
    if kind in ("record", "error"):
        return _parse_record(node, namespace, types, within)
    if kind == "enum":
        symbols = node.get("symbols")
        if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
            raise _BadSchemaError("an enum without symbols")
        return _name(node, namespace, types, {"type": "enum", "symbols": symbols})
    if kind == "fixed":
        size = node.get("size")
        if not isinstance(size, int) or size < 0:
            raise _BadSchemaError(f"a fixed of size {str(size)[:80]}")
        return _name(node, namespace, types, {"type": "fixed", "size": size})
    if kind == "array":
        return {"type": "array", "items": _parse(node.get("items"), namespace, types, within)}
    if kind == "map":
        value = _parse(node.get("values"), namespace, types, within)
        return {"type": "map", "entry": {"type": "record", "by_name": {"key": "string", "value": value}}}
    return _parse(kind, namespace, types, within)  # {"type": "long", "logicalType": ...} and nested objects


def _reference(name: str, namespace: str, types: dict[str, dict[str, Any]], within: tuple[str, ...]) -> Node:
    if name in _PRIMITIVES:
        return name
    for full_name in (f"{namespace}.{name}", name) if namespace and "." not in name else (name,):
        if full_name in within:
            raise _BadSchemaError(f"recursive type {full_name[:80]}")
        if full_name in types:
            return full_name
    raise _BadSchemaError(f"unknown type {name[:80]}")


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


def _name(
    node: dict[str, Any], namespace: str, types: dict[str, dict[str, Any]], parsed: dict[str, Any]
) -> dict[str, Any]:
    full_name, _ = _full_name(node, namespace)
    types[full_name] = parsed
    return parsed


def _parse_record(
    node: dict[str, Any], namespace: str, types: dict[str, dict[str, Any]], within: tuple[str, ...]
) -> Node:
    full_name, inner = _full_name(node, namespace)
    fields = node.get("fields")
    if not isinstance(fields, list):
        raise _BadSchemaError(f"record {full_name[:80]} without fields")
    by_name: dict[str, Node] = {}
    for field in fields:
        if not isinstance(field, dict) or not isinstance(field.get("name"), str) or "type" not in field:
            raise _BadSchemaError(f"record {full_name[:80]} with a field without name or type")
        name = field["name"]
        while name in by_name:  # WINTER writes one field twice: both are in the data, the first keeps the name
            name += " again"
        by_name[name] = _parse(field["type"], inner, types, (*within, full_name))
    parsed = {"type": "record", "by_name": by_name, "name": full_name, "version": str(node.get("version", ""))}
    types[full_name] = parsed
    return parsed
