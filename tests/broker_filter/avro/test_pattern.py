"""Expressions that step over records, against what fastavro writes."""

import io
import json
import re

import fastavro
import pytest

from broker_filter.avro.parse import parse_schema
from broker_filter.avro.pattern import LONGEST_STRING_BYTES, pattern_of

RECORD = {
    "type": "record",
    "name": "source",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "flux", "type": ["null", "double"]},
        {"name": "flag", "type": "boolean"},
        {"name": "band", "type": ["null", "string"]},
        {"name": "tag", "type": {"type": "fixed", "name": "tag", "size": 3}},
        {"name": "kind", "type": {"type": "enum", "name": "kind", "symbols": ["a", "b"]}},
    ],
}
VALUE = {"id": -(1 << 40), "flux": 1.5, "flag": True, "band": "r\n", "tag": b"\n\x00\xff", "kind": "b"}


def written(value: dict) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, RECORD, value)
    return out.getvalue()


def pattern(node: dict) -> re.Pattern[bytes] | None:
    schema = parse_schema(json.dumps(node))
    source = pattern_of(schema.root, schema.resolve)
    return None if source is None else re.compile(source, re.DOTALL)


@pytest.mark.parametrize(
    "change", [{}, {"flux": None}, {"band": None}, {"id": 0}, {"band": "x" * LONGEST_STRING_BYTES}]
)
def test_it_matches_exactly_one_value(change):
    """An expression ends where the value ends, whatever follows and whatever bytes the value holds."""
    encoded = written(VALUE | change)
    expression = pattern(RECORD)
    assert expression is not None
    match = expression.match(encoded + b"\x02\xff\n")
    assert match is not None
    assert match.end() == len(encoded)


@pytest.mark.parametrize(
    "corrupt",
    [written(VALUE)[:-1], b"", b"\xff" * 50, written(VALUE | {"band": "x" * (LONGEST_STRING_BYTES + 1)})],
    ids=["cut", "empty", "endless integer", "long string"],
)
def test_what_it_does_not_know_it_does_not_match(corrupt):
    """A value that breaks off, and a string that is longer than foreseen, are left to others."""
    expression = pattern(RECORD)
    assert expression is not None
    assert expression.match(corrupt) is None


def test_types_without_an_expression():
    """Arrays and maps have none, nor has a record that holds one."""
    for inner in ({"type": "array", "items": "int"}, {"type": "map", "values": "int"}):
        assert pattern({"type": "record", "name": "outer", "fields": [{"name": "inner", "type": inner}]}) is None


def test_records_of_records_of_records_cost_what_they_say():
    """A schema that names a record a hundred times in a record, and so on, is refused an expression at once."""
    types: dict = {}
    inner: object = "long"
    for level in range(7):
        fields = [{"name": f"f{n}", "type": "null" if level == 0 else inner} for n in range(100)]
        types[f"r{level}"] = inner = {
            "type": "record",
            "by_name": {field["name"]: field["type"] for field in fields},
        }
    calls = []

    def resolve(node):
        calls.append(node)
        return types.get(node, node) if isinstance(node, str) else node

    assert pattern_of(inner, resolve) == b""
    assert len(calls) < 1_000
    types["r0"]["by_name"]["f0"] = "double"
    types["r1"]["by_name"]["f0"] = "string"
    assert pattern_of(inner, resolve) is None


def test_giants_have_no_expression():
    """Expressions stay short enough to be compiled within a message's time."""
    assert (
        pattern({"type": "record", "name": "r", "fields": [{"name": f"f{n}", "type": "string"} for n in range(500)]})
        is None
    )
