"""Schemas and data that would take for ever, or all memory, are refused in a moment."""

import json
from pathlib import Path
from typing import Any

import packets
import pytest

from broker_filter.alerts.alert import read_alerts
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.archive.inspect import main as inspect
from broker_filter.avro.container import write_block, write_header
from broker_filter.avro.parse import parse_schema
from broker_filter.avro.primitives import MOST_STEPS
from broker_filter.errors import RejectedAlertError, Rejection
from broker_filter.records import Message, Origin

SYNC = bytes(16)
LEVELS = 27  # of records that hold the next one twice: 134 million leaves in one kilobyte of schema


def doubled(leaf: Any, levels: int = LEVELS) -> Any:
    """A record of two records of two records ..."""
    node, name = leaf, leaf
    for level in range(levels):
        fields = [{"name": "a", "type": node}, {"name": "b", "type": name}]
        node, name = {"type": "record", "name": f"R{level}", "fields": fields}, f"R{level}"
    return node


def reasons_of(schema: dict[str, Any], datum: bytes) -> set[str]:
    content = write_header(json.dumps(schema).encode(), SYNC) + write_block(1, datum, SYNC)
    message = Message(content, Origin("here"))
    return {str(one.reason) for one in read_alerts(message, Schemas()) if isinstance(one, RejectedAlertError)}


@pytest.mark.parametrize("field", ["objectId", "candid", "candidate", "prv_candidates", "schemavsn"])
@pytest.mark.parametrize("leaf", ["string", "null", {"type": "fixed", "name": "none", "size": 0}])
def test_records_that_double_at_each_level(field: str, leaf: Any) -> None:
    """A field that we read, or do not, may stand for millions of values: it costs what its bytes cost."""
    schema = packets.ztf_schema()
    for one in schema["fields"]:
        if one["name"] == field:
            one["type"] = doubled(leaf)
    schema["fields"] = [one for one in schema["fields"] if not one["name"].startswith("cutout")]
    assert reasons_of(schema, bytes(300)) <= {"corrupt", "too_large"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("items", "content"),
    [
        ("null", b"\2" * (MOST_STEPS + 1) + b"\0"),  # blocks of one item without bytes
        ({"type": "array", "items": "string"}, b"\x80\x80\x80\x02" + bytes(1 << 22)),
        ({"type": "map", "values": "null"}, b"\x80\x80\x80\x02" + bytes(1 << 22)),
    ],
)
def test_lists_of_millions_of_items(items: Any, content: bytes) -> None:
    """More items than any packet has are too many, however few bytes they take."""
    schema = packets.ztf_schema()
    schema["fields"].insert(0, {"name": "many", "type": {"type": "array", "items": items}})
    assert reasons_of(schema, content + bytes(100)) == {Rejection.TOO_LARGE}


@pytest.mark.slow
def test_items_of_one_message_are_counted_together() -> None:
    """Records with half as many items as are allowed do not add up to an endless message."""
    half = b"\2" * (MOST_STEPS // 2 + 1) + b"\0"
    many = {"name": "many", "type": {"type": "array", "items": "null"}}
    schema = json.dumps({"type": "record", "name": "all", "fields": [many]})
    content = write_header(schema.encode(), SYNC) + 3 * write_block(1, half, SYNC)
    results = [str(one.reason) for one in read_alerts(Message(content, Origin("here")), Schemas())]
    assert results[0] == Rejection.FOREIGN_SURVEY
    assert set(results[1:]) == {Rejection.TOO_LARGE}


@pytest.mark.parametrize("half", ["\\ud800", "\\uDFFF"])
@pytest.mark.parametrize("place", ['"name": "alert"', '"version": "4.02"', '"name": "objectId"', '"type": "string"'])
def test_half_characters_in_names(half: str, place: str, tmp_path: Path) -> None:
    """What JSON can write and no output can hold is no schema; pairs of halves are characters like others."""
    text = json.dumps(packets.ztf_schema())
    broken = text.replace(place, f'{place.partition(":")[0]}: "{half}"', 1)
    with pytest.raises(RejectedAlertError) as caught:
        parse_schema(broken.encode())
    assert caught.value.reason == Rejection.BAD_SCHEMA
    path = tmp_path / "broken.avro"
    path.write_bytes(write_header(broken.encode(), SYNC) + write_block(1, bytes(100), SYNC))
    assert inspect(["--json", str(path)]) == 1
    parse_schema(text.replace(place, f'{place}, "doc": "\\ud83d\\ude00"', 1))
