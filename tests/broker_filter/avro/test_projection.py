"""Reading the wanted fields of a datum."""

import io
import struct
import time
from itertools import count

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packets import lsst_datum, lsst_schema, varint, ztf_record, ztf_schema

from broker_filter.avro.parse import parse_tree
from broker_filter.avro.projection import compile_reader, compile_skipper
from broker_filter.errors import RejectedAlertError, Rejection

PRIMITIVES = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "string": st.text(max_size=9),
    "bytes": st.binary(max_size=90),
}


NUMBERS = count()  # of named types, which must differ within a schema


@st.composite
def schemas_with_values(draw, depth=3):  # noqa: PLR0911 - one for each kind of type
    """Draw a type and a strategy of its values."""
    kinds = [*PRIMITIVES, "enum", "fixed", *(["record", "array", "map", "optional"] if depth else [])]
    kind = draw(st.sampled_from(kinds))
    name = f"T{next(NUMBERS)}"
    if kind in PRIMITIVES:
        return kind, PRIMITIVES[kind]
    if kind == "enum":
        return {"type": "enum", "name": name, "symbols": ["A", "B", "C"]}, st.sampled_from("ABC")
    if kind == "fixed":
        return {"type": "fixed", "name": name, "size": 5}, st.binary(min_size=5, max_size=5)
    if kind == "record":
        inner = draw(st.lists(schemas_with_values(depth - 1), max_size=6))
        fields = [{"name": f"f{i}", "type": schema} for i, (schema, _) in enumerate(inner)]
        values = {f"f{i}": strategy for i, (_, strategy) in enumerate(inner)}
        return {"type": "record", "name": name, "fields": fields}, st.fixed_dictionaries(values)
    schema, values = draw(schemas_with_values(depth - 1))
    if kind == "optional" and schema != "null" and not isinstance(schema, list):  # no unions within unions
        return ["null", schema], st.none() | values
    if kind == "optional":
        return schema, values
    if kind == "map":
        return {"type": "map", "values": schema}, st.dictionaries(st.text(max_size=5), values, max_size=4)
    empty = schema == "null" or (isinstance(schema, dict) and _is_empty(schema))
    return {"type": "array", "items": schema}, st.lists(values, max_size=0 if empty else 5)


def _is_empty(schema):
    return schema["type"] == "record" and all(
        f["type"] == "null" or (isinstance(f["type"], dict) and _is_empty(f["type"])) for f in schema["fields"]
    )


def write(schema, value):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, value)
    return out.getvalue()


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_reads_and_skips_what_fastavro_writes(data):
    """A datum that fastavro wrote is read as fastavro reads it, and stepped over to its last byte."""
    schema, values = data.draw(schemas_with_values())
    value = data.draw(values)
    parsed = parse_tree(schema)
    datum = write(schema, value)
    expected = fastavro.schemaless_reader(io.BytesIO(datum), schema)
    assert compile_reader(parsed, None)(datum) == expected
    assert compile_skipper(parsed)(datum, 0) == len(datum)


def test_reads_only_what_is_wanted():
    """The wanted fields of nested records, unions and arrays are read, the rest is stepped over."""
    read = compile_reader(
        parse_tree(ztf_schema()), {"candid": None, "candidate": {"ra": None}, "prv_candidates": {"jd": None}}
    )
    record = ztf_record(candid=5, previous=2, jd=2_459_000.5)
    assert read(write(ztf_schema(), record)) == {
        "candid": 5,
        "candidate": {"ra": 10.5},
        "prv_candidates": [{"jd": 2_458_999.5}, {"jd": 2_458_998.5}],
    }


def test_unknown_wanted_fields_are_absent():
    """A field that the schema does not have is not made up."""
    assert compile_reader(parse_tree(ztf_schema("1.8")), {"candid": None, "fp_hists": None})(
        write(ztf_schema("1.8"), ztf_record(candid=5))
    ) == {"candid": 5}


@pytest.mark.parametrize("schema_and_datum", [(ztf_schema(), None), (lsst_schema(), lsst_datum(history=2))])
def test_every_truncation_is_refused(schema_and_datum):
    """A datum cut anywhere, or with a byte too many, is corrupt."""
    schema, datum = schema_and_datum
    datum = datum or write(schema, ztf_record())
    read = compile_reader(parse_tree(schema), {"candid": None, "diaSource": {"band": None}})
    read(datum)
    for end in {*range(0, len(datum), max(1, len(datum) // 500)), len(datum) - 1}:
        with pytest.raises(RejectedAlertError) as caught:
            read(datum[:end])
        assert caught.value.reason == Rejection.CORRUPT
    with pytest.raises(RejectedAlertError, match="ends at byte"):
        read(datum + b"\0")


TWO_GB = varint(2**31)


@pytest.mark.parametrize("wanted", [None, {}])
@pytest.mark.parametrize(
    ("kind", "datum"),
    [
        ("bytes", TWO_GB + b"abc"),
        ("string", TWO_GB + b"abc"),
        ("bytes", varint(-5) + b"abcdefgh"),
        ({"type": "array", "items": "bytes"}, TWO_GB + b"abc"),
        ({"type": "array", "items": "null"}, TWO_GB + b"\0"),
        ({"type": "array", "items": {"type": "array", "items": "null"}}, varint(2**62) * 1000),
        ({"type": "array", "items": "double"}, varint(-3) + TWO_GB + b"\0"),
        ({"type": "array", "items": "double"}, varint(-3) + varint(-3) + b"\0"),
        ({"type": "map", "values": "long"}, TWO_GB + b"abc"),
        ({"type": "fixed", "name": "F", "size": 2**40}, b"abc"),
        (["null", "double"], b"\x04" + bytes(8)),
        (["null", "string"], b"\x04\x02a"),
        (["null", "long", "string"], varint(-1) + b"\x02a"),
        ("long", b"\xff" * 9),
    ],
)
def test_lying_lengths(kind, datum, wanted):
    """A length or count that the bytes do not bear out is refused at once, read or stepped over."""
    schema = parse_tree({"type": "record", "name": "R", "fields": [{"name": "f", "type": kind}]})
    with pytest.raises(RejectedAlertError) as caught:
        compile_reader(schema, wanted)(datum)
    assert caught.value.reason == Rejection.CORRUPT


@pytest.mark.parametrize(
    ("kind", "datum"),
    [
        ({"type": "enum", "name": "E", "symbols": ["A"]}, varint(-1)),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, varint(1)),
        ("long", b"\xff" * 11 + b"\0"),
        ("string", varint(2) + b"\xff\xff"),
    ],
)
def test_impossible_values(kind, datum):
    """A value that its type cannot have is refused where it is read."""
    with pytest.raises(RejectedAlertError) as caught:
        compile_reader(parse_tree(kind), None)(datum)
    assert caught.value.reason == Rejection.CORRUPT


def test_blocks_with_sizes():
    """Array blocks that say their size are stepped over by it, and read item by item."""
    schema = parse_tree({"type": "array", "items": "double"})
    body = struct.pack("<2d", 1.5, 2.5)
    datum = varint(-2) + varint(16) + body + varint(1) + body[:8] + varint(0)
    assert compile_reader(schema, None)(datum) == [1.5, 2.5, 1.5]
    assert compile_skipper(schema)(datum, 0) == len(datum)


def test_a_schema_of_many_lists_is_compiled_at_once():
    """A sender cannot make us compile expressions without end: a schema of ten thousand lists takes no longer."""
    record = {"type": "record", "name": "R", "fields": [{"name": f"f{n}", "type": "string"} for n in range(9)]}
    lists = [{"name": f"a{n}", "type": {"type": "array", "items": "R" if n else record}} for n in range(10_000)]
    schema = parse_tree({"type": "record", "name": "alert", "fields": lists})
    start = time.process_time()
    compile_skipper(schema)
    assert time.process_time() - start < 2
