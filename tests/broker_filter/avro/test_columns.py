"""Arrays of records read as columns, against what fastavro reads."""

import io
import math
import struct
import tracemalloc

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packets import varint

from broker_filter.avro.columns import MOST_ITEMS, UNKNOWN, Columns
from broker_filter.avro.parse import parse_tree
from broker_filter.avro.projection import compile_reader
from broker_filter.errors import RejectedAlertError, Rejection

BANDS = {"g": 1, "r": 2, 3: 7}
WANTED = {"past": Columns(("time", "flux", "absent"), {"band": BANDS, "none": BANDS})}
TIMES = {
    "double": st.floats(),
    "float": st.floats(width=32),
    "long": st.integers(-(2**53), 2**53),
}
FLUXES = {
    ("null", "float"): st.none() | st.floats(width=32),
    ("double", "null"): st.none() | st.floats(),
    ("null", "int", "double"): st.none() | st.floats(),
}
BAND_TYPES = {
    "string": st.sampled_from("grz") | st.text(max_size=200),
    ("null", "string"): st.none() | st.sampled_from("gr"),
    ("string", "null"): st.none() | st.sampled_from("gr"),
    "int": st.integers(0, 5),
    ("null", "long", "boolean"): st.none() | st.integers(0, 5) | st.booleans(),
}
NAMES = {"string": st.text(max_size=300), ("null", "string"): st.none() | st.text(max_size=80)}


def branches(kind):
    return list(kind) if isinstance(kind, tuple) else kind


def schema_of(time, flux, band, name):
    fields = [("name", name), ("band", band), ("time", time), ("more", "long"), ("flux", flux)]
    record = {
        "type": "record",
        "name": "epoch",
        "fields": [{"name": field, "type": branches(kind)} for field, kind in fields],
    }
    return alert_of(["null", {"type": "array", "items": record}])


def alert_of(past):
    return {"type": "record", "name": "alert", "fields": [{"name": "past", "type": past}]}


def written(schema, value) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, value)
    return out.getvalue()


def read(schema, datum: bytes):
    return compile_reader(parse_tree(schema), WANTED)(datum)["past"]


def expected(items, schema):
    """Columns of what fastavro read."""
    number = lambda value: math.nan if value is None else float(value)  # noqa: E731
    code = lambda value: UNKNOWN if type(value) is bool else BANDS.get(value, UNKNOWN)  # noqa: E731
    items = fastavro.schemaless_reader(io.BytesIO(written(schema, {"past": items})), schema)["past"]
    return {
        "time": [number(item["time"]) for item in items],
        "flux": [number(item["flux"]) for item in items],
        "absent": [math.nan] * len(items),
        "band": [code(item["band"]) for item in items],
        "none": [UNKNOWN] * len(items),
    }


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_columns_hold_what_fastavro_reads(data):
    """Whatever the types, lengths and nulls, the columns are those of the items that fastavro reads."""
    kinds = [data.draw(st.sampled_from(list(choice))) for choice in (TIMES, FLUXES, BAND_TYPES, NAMES)]
    schema = schema_of(*kinds)
    values = {
        field: choice[kind]
        for field, choice, kind in zip(
            ("time", "flux", "band", "name"), (TIMES, FLUXES, BAND_TYPES, NAMES), kinds, strict=True
        )
    }
    items = data.draw(st.lists(st.fixed_dictionaries(values | {"more": st.integers(-(2**63), 2**63 - 1)}), max_size=40))
    columns = read(schema, written(schema, {"past": items}))
    if not items:
        assert columns is None
        return
    for name, values in expected(items, schema).items():
        np.testing.assert_array_equal(columns[name], values, name)


PLAIN = schema_of("double", ("null", "float"), "string", "string")


def epochs(count: int) -> list[dict]:
    return [{"name": "x", "band": "gr"[n % 2], "time": float(n), "more": n, "flux": n / 2} for n in range(count)]


def test_no_list_and_other_types_are_none():
    """Null, an empty list, and whatever else a sender calls by the name of the list, hold no columns."""
    assert read(PLAIN, written(PLAIN, {"past": None})) is None
    assert read(PLAIN, written(PLAIN, {"past": []})) is None
    others = [
        ("string", "abc"),
        ({"type": "array", "items": "double"}, [1.0]),
        ({"type": "map", "values": "long"}, {"a": 1}),
    ]
    for kind, value in others:
        schema = alert_of(kind)
        assert read(schema, written(schema, {"past": value})) is None


def test_items_in_many_blocks_are_one_column():
    """Blocks, with and without their size, follow one another."""
    items = written(PLAIN, {"past": epochs(9)})[2:-1]  # between the count and the end
    datum = varint(1) + varint(9) + items + varint(-9) + varint(len(items)) + items + varint(0)
    assert read(PLAIN, datum)["time"].tolist() == [float(n) for n in range(9)] * 2


def test_every_truncation_is_refused():
    """A list cut anywhere is corrupt."""
    datum = written(PLAIN, {"past": epochs(20)})
    for end in range(len(datum)):
        with pytest.raises(RejectedAlertError) as caught:
            read(PLAIN, datum[:end])
        assert caught.value.reason == Rejection.CORRUPT


@pytest.mark.parametrize("count", [2**31, 2**62, -3])
def test_lying_counts_cost_nothing(count: int):
    """A count that the bytes do not bear out is refused at once."""
    with pytest.raises(RejectedAlertError):
        read(PLAIN, varint(1) + varint(count) + varint(2**40) + struct.pack("<d", 1.0))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ({"type": "record", "name": "inner", "fields": [{"name": "x", "type": "long"}]}, {"x": 1}),
        ({"type": "array", "items": "double"}, [1.0]),
        ({"type": "map", "values": "double"}, {"a": 1.0}),
        (["null", {"type": "fixed", "name": "four", "size": 4}], b"abcd"),
        ("bytes", b"g"),
        ("boolean", True),
        ("null", None),
    ],
)
def test_values_of_another_type_are_unknown(kind, value):
    """What a sender writes where a number or a code belongs is unknown, and its neighbours are read."""
    schema = schema_of(kind, ("null", "float"), "string", "string")
    columns = read(schema, written(schema, {"past": [one | {"time": value} for one in epochs(10)]}))
    assert np.isnan(columns["time"]).all()
    assert columns["flux"].tolist() == [n / 2 for n in range(10)]
    schema = schema_of("double", ("null", "float"), kind, "string")
    columns = read(schema, written(schema, {"past": [one | {"band": value} for one in epochs(10)]}))
    assert set(columns["band"].tolist()) == {UNKNOWN}
    assert columns["time"].tolist() == [float(n) for n in range(10)]


def test_unions_of_thousands_of_types_are_read():
    """However many branches a sender gives a union, it is read item by item."""
    many = [*({"type": "fixed", "name": f"F{n}", "size": 0} for n in range(9_000)), "string", "double"]
    fields = [{"name": "time", "type": many}, {"name": "band", "type": "F0"}]
    record = {"type": "record", "name": "epoch", "fields": fields}
    parsed = parse_tree(
        {"type": "record", "name": "a", "fields": [{"name": "past", "type": {"type": "array", "items": record}}]}
    )
    datum = varint(20) + 20 * (varint(9_001) + struct.pack("<d", 1.5)) + varint(0)
    columns = compile_reader(parsed, WANTED)(datum)["past"]
    assert columns["time"].tolist() == [1.5] * 20
    assert set(columns["band"].tolist()) == {UNKNOWN}


def test_a_list_without_end_costs_a_few_megabytes():
    """Of a list of a million items the first are read, the rest is stepped over."""
    record = {"type": "record", "name": "e", "fields": [{"name": "flux", "type": ["null", "float"]}]}
    schema = alert_of({"type": "array", "items": record})
    datum = varint(1_000_000) + bytes(1_000_000) + varint(0)
    reader = compile_reader(parse_tree(schema), WANTED)
    tracemalloc.start()
    columns = reader(datum)["past"]
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(columns["flux"]) == MOST_ITEMS
    assert np.isnan(columns["flux"]).all()
    assert peak_bytes < 8 << 20


def test_a_signalling_nan_is_a_nan():
    """Four bytes that numpy would warn of are read as a number that is not known."""
    schema = schema_of("float", "float", "string", "string")
    items = [{"name": "a", "band": "g", "time": 1.0, "more": 1, "flux": 7.0}]
    datum = written(schema, {"past": items})
    broken = datum.replace(struct.pack("<f", 7.0), b"\x01\x00\x80\x7f")
    assert broken != datum
    columns = read(schema, broken)
    assert math.isnan(columns["flux"][0]) and columns["time"][0] == 1.0
