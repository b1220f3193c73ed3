"""Layouts of items that a reader has learnt: they change how fast it reads, and nothing that it reads."""

import io

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packets import varint
from test_columns import PLAIN, alert_of, epochs, expected, schema_of, written

from broker_filter.avro import columns as columns_module
from broker_filter.avro.columns import UNKNOWN, Columns
from broker_filter.avro.parse import parse_tree
from broker_filter.avro.projection import compile_reader
from broker_filter.errors import RejectedAlertError, Rejection

BANDS = {"g": 1, "r": 2, 3: 7}
SCHEMA = schema_of("double", ("null", "float"), ("null", "string"), ("null", "string"))
ITEMS = st.tuples(st.sampled_from([None, 1.5]), st.sampled_from([None, "g", "zz"]), st.sampled_from([None, "", "abc"]))


def reader_of(schema):
    wanted = {"past": Columns(("time", "flux", "absent"), {"band": BANDS, "none": BANDS})}
    reader = compile_reader(parse_tree(schema), wanted)
    return lambda datum: reader(datum)["past"]


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.tuples(ITEMS, st.integers(1, 20)), max_size=6), min_size=1, max_size=4))
def test_one_reader_reads_what_fastavro_reads(lists):
    """Runs of items of one layout and of others, datum after datum, are read by one reader as by fastavro."""
    read = reader_of(SCHEMA)
    for runs in lists:
        kinds = [kind for kind, length in runs for _ in range(length)]
        items = [
            {"name": name, "band": band, "time": float(n), "more": 10**n % 2**62, "flux": flux}
            for n, (flux, band, name) in enumerate(kinds)
        ]
        found = read(written(SCHEMA, {"past": items}))
        if not items:
            assert found is None
            continue
        for name, values in expected(items, SCHEMA).items():
            np.testing.assert_array_equal(found[name], values, name)


def test_more_layouts_than_are_kept(monkeypatch: pytest.MonkeyPatch):
    """Hundreds of layouts, in runs or by turns, are read as well, and few are learnt."""
    made = []
    many = columns_module._many
    monkeypatch.setattr(columns_module, "_many", lambda item: made.append(item) or many(item))
    fields = [{"name": f"f{n}", "type": ["null", "float"]} for n in range(10)]
    record = {"type": "record", "name": "epoch", "fields": [{"name": "time", "type": "double"}, *fields]}
    schema = alert_of({"type": "array", "items": record})
    read = reader_of(schema)
    for run in (1, 16):
        items = [
            {"time": float(n), **{f"f{k}": 1.0 if n // run >> k & 1 else None for k in range(10)}} for n in range(2048)
        ]
        for _ in range(3):
            assert read(written(schema, {"past": items}))["time"].tolist() == [float(n) for n in range(2048)]
    assert 2 <= len(made) <= 1 + columns_module.MOST_LAYOUTS


def test_every_truncation_is_refused_by_a_reader_that_has_learnt():
    """A list cut anywhere is corrupt, whatever was read before."""
    read = reader_of(PLAIN)
    datum = written(PLAIN, {"past": epochs(200)})
    assert len(read(datum)["time"]) == 200
    for end in range(0, len(datum), 7):
        with pytest.raises(RejectedAlertError) as caught:
            read(datum[:end])
        assert caught.value.reason == Rejection.CORRUPT


def test_values_that_writers_do_not_write_are_read_as_before():
    """A flag other than 0 and 1 and a padded number are what they were, among items whose layout is known."""
    fields = [{"name": "time", "type": "double"}, {"name": "band", "type": ["null", "long", "boolean"]}]
    record = {"type": "record", "name": "epoch", "fields": fields}
    time = np.float64(1.0).tobytes()
    usual, padded, odd = (time + after for after in (b"\x02\x06", b"\x02\x86\x00", b"\x04\x02"))
    read = reader_of(alert_of({"type": "array", "items": record}))
    for items in ([usual] * 40, [usual] * 9 + [padded] + [usual] * 9, [usual] * 9 + [odd] + [usual] * 9):
        datum = varint(len(items)) + b"".join(items) + varint(0)
        assert read(datum)["band"].tolist() == [UNKNOWN if item == odd else 7 for item in items]


def test_a_null_and_a_signalling_nan_stay_apart_from_numbers():
    """Nulls between numbers of a known layout are NaN in their places."""
    read = reader_of(SCHEMA)
    flux = [1.0] * 20 + [None] * 20 + [2.0, None] * 10
    items = [{"name": None, "band": "g", "time": 0.0, "more": 1, "flux": value} for value in flux]
    found = read(written(SCHEMA, {"past": items}))
    np.testing.assert_array_equal(found["flux"], [np.nan if value is None else value for value in flux])
    assert set(found["band"]) == {1}
    assert set(found["none"]) == {UNKNOWN}
    again = fastavro.schemaless_reader(io.BytesIO(written(SCHEMA, {"past": items})), SCHEMA)["past"]
    assert [item["flux"] for item in again] == flux
