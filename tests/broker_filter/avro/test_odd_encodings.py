"""Encodings that no writer makes and the format allows: read as fastavro reads them."""

import io
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packets import varint

from broker_filter.avro.columns import UNKNOWN, Columns
from broker_filter.avro.parse import parse_tree
from broker_filter.avro.projection import compile_reader, compile_skipper
from broker_filter.errors import RejectedAlertError

FIELDS = [
    {"name": "id", "type": "long"},
    {"name": "maybe", "type": ["null", "long"]},
    {"name": "number", "type": ["null", "double"]},
    {"name": "other", "type": ["null", "float"]},
    {"name": "flag", "type": "boolean"},
    {"name": "flagged", "type": ["null", "boolean"]},
    {"name": "text", "type": "string"},
    {"name": "list", "type": {"type": "array", "items": ["null", "int"]}},
    {"name": "end", "type": "int"},
]
RECORD = {"type": "record", "name": "r", "fields": FIELDS}
SCHEMA = parse_tree(RECORD)
FASTAVRO = fastavro.parse_schema(RECORD)
ALL = {field["name"]: None for field in FIELDS}


def padded(value: int, zeros: int) -> bytes:
    """A number with bytes that add nothing to it."""
    plain = varint(value)
    return plain if not zeros else plain[:-1] + bytes([plain[-1] | 128]) + b"\x80" * (zeros - 1) + b"\0"


ZEROS = st.integers(0, 12)


@st.composite
def datums(draw: st.DrawFn) -> bytes:
    """A datum of the schema whose numbers are padded here and there."""

    def number(value: int) -> bytes:
        return padded(value, draw(ZEROS) if draw(st.booleans()) else 0)

    def maybe(content: bytes | None) -> bytes:
        return number(0) if content is None else number(1) + content

    boolean = st.integers(0, 255).map(lambda code: bytes([code]))
    double = st.none() | st.floats(allow_nan=False).map(lambda value: np.array(value, "<f8").tobytes())
    text = draw(st.text(max_size=5)).encode()
    items = draw(st.lists(st.none() | st.integers(-5, 5), max_size=4))
    parts = [
        number(draw(st.integers(-(2**63), 2**63 - 1))),
        maybe(draw(st.none() | st.integers(-3, 300).map(varint))),
        maybe(draw(double)),
        maybe(draw(st.none() | st.just(b"\0\0\x80\x3f"))),
        draw(boolean),
        maybe(draw(st.none() | boolean)),
        number(len(text)) + text,
        (number(len(items)) if items else b"") + b"".join(maybe(None if i is None else varint(i)) for i in items),
        number(0),
        number(draw(st.integers(-9, 9))),
    ]
    return b"".join(parts)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(datums())
def test_padded_numbers_and_odd_booleans(datum: bytes) -> None:
    """Numbers, lengths, counts and branches in more bytes than they need, and any boolean, are fastavro's values."""
    expected: dict[str, Any] = fastavro.schemaless_reader(io.BytesIO(datum), FASTAVRO)  # type: ignore[assignment]
    assert compile_reader(SCHEMA, ALL)(datum) == expected
    assert compile_reader(SCHEMA, {"end": None})(datum) == {"end": expected["end"]}
    assert compile_skipper(SCHEMA)(datum + b"more", 0) == len(datum)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.lists(datums(), min_size=1, max_size=20))
def test_padded_numbers_in_columns(items: list[bytes]) -> None:
    """What is read as columns has fastavro's values too, flags among them."""
    array = {"type": "array", "items": RECORD}
    datum = varint(len(items)) + b"".join(items) + varint(0)
    wanted = Columns(("number",), {"flagged": {False: 0, True: 1}, "maybe": {n: n for n in range(250)}})
    columns = compile_reader(parse_tree(array), wanted)(datum)  # type: ignore[arg-type]
    expected = [fastavro.schemaless_reader(io.BytesIO(item), FASTAVRO) for item in items]
    numbers = [np.nan if item["number"] is None else item["number"] for item in expected]  # type: ignore[index,call-overload]
    np.testing.assert_array_equal(columns["number"], numbers)
    flags = {None: UNKNOWN, False: 0, True: 1}
    assert columns["flagged"].tolist() == [flags[item["flagged"]] for item in expected]  # type: ignore[index,call-overload]
    codes = [item["maybe"] for item in expected]  # type: ignore[index,call-overload]
    assert columns["maybe"].tolist() == [c if c is not None and 0 <= c < 250 else UNKNOWN for c in codes]


@pytest.mark.parametrize("written", [b"\xff" * 9 + b"\x02", b"\xff" * 10 + b"\x01", b"\x80" * 100 + b"\x01"])
def test_numbers_of_more_than_64_bits_are_refused(written: bytes) -> None:
    """What no number of 64 bits is, of which fastavro drops bits, is corrupt."""
    with pytest.raises(RejectedAlertError, match="more than 64 bits"):
        compile_reader(parse_tree("long"), {})(written)


def test_a_megabyte_of_padding_is_read_at_once() -> None:
    """The time of a number is proportional to its bytes, whatever they are."""
    assert compile_reader(parse_tree("long"), {})(b"\x82" + b"\x80" * 1_000_000 + b"\0") == 1
    with pytest.raises(RejectedAlertError):
        compile_reader(parse_tree("long"), {})(b"\xff" * 1_000_000 + b"\0")
