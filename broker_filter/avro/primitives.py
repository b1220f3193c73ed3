"""Numbers, texts and heads of lists in Avro's binary form, and how much work one message may ask for.

References
----------
Apache Avro 1.12 specification, "Data Serialization and Deserialization".
"""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from struct import Struct
from typing import Any

from broker_filter.errors import RejectedAlertError, Rejection

Read = Callable[[bytes, int], tuple[Any, int]]

_VARINT_BITS, _NINE_BYTES_BITS = 64, 56
_DOUBLE, _FLOAT = Struct("<d"), Struct("<f")


class CorruptDatumError(ValueError):
    """The datum breaks off, or a length in it lies."""


MOST_STEPS = 1 << 21  # items and blocks of lists, fields of records, taken one by one in one message: a second's work


class _Work(threading.local):
    """What a thread may still do for the message that it reads."""

    steps: float = math.inf


_WORK = _Work()


@contextmanager
def bounded_work() -> Iterator[None]:
    """While a message is read, items of its lists are counted together, for an item may be one byte, or none.

    Beyond ``MOST_STEPS`` reading raises ``RejectedAlertError`` (``TOO_LARGE``).
    """
    _WORK.steps = MOST_STEPS
    try:
        yield
    finally:
        _WORK.steps = math.inf


def spend(steps: int) -> None:
    _WORK.steps -= steps
    if _WORK.steps < 0:
        raise RejectedAlertError(
            Rejection.TOO_LARGE, f"more than {MOST_STEPS} values of lists and records in one message"
        )


def read_long(datum: bytes, at: int) -> tuple[int, int]:
    """Read a zigzag varint; return it and the position behind it."""
    byte = datum[at]
    at += 1
    if byte < 128:
        return (byte >> 1) ^ -(byte & 1), at
    value, shift = byte & 127, 7
    while byte > 127:
        byte = datum[at]
        at += 1
        bits = byte & 127
        if shift > _NINE_BYTES_BITS and bits >> max(_VARINT_BITS - shift, 0):  # zeros may follow
            raise CorruptDatumError("an integer of more than 64 bits")
        value |= bits << shift
        shift += 7
    return (value >> 1) ^ -(value & 1), at


def read_bytes(datum: bytes, at: int) -> tuple[bytes, int]:
    """Read a length and as many bytes, never more than there are."""
    size, at = read_long(datum, at)
    end = at + size
    if size < 0 or end > len(datum):
        raise CorruptDatumError(f"a length of {size} bytes where {len(datum) - at} are left")
    return datum[at:end], end


def skip_varint(datum: bytes, at: int) -> int:
    while datum[at] > 127:
        at += 1
    return at + 1


def skip_bytes(datum: bytes, at: int) -> int:
    size, at = read_long(datum, at)
    if size < 0 or size > len(datum) - at:
        raise CorruptDatumError(f"a length of {size} bytes where {len(datum) - at} are left")
    return at + size


def _read_string(datum: bytes, at: int) -> tuple[str, int]:
    raw, at = read_bytes(datum, at)
    return raw.decode(), at


def _read_double(datum: bytes, at: int) -> tuple[float, int]:
    return _DOUBLE.unpack_from(datum, at)[0], at + 8


def _read_float(datum: bytes, at: int) -> tuple[float, int]:
    return _FLOAT.unpack_from(datum, at)[0], at + 4


def _read_boolean(datum: bytes, at: int) -> tuple[bool, int]:
    return datum[at] != 0, at + 1


def _read_null(_: bytes, at: int) -> tuple[None, int]:
    return None, at


READERS: dict[str, Read] = {
    "null": _read_null,
    "boolean": _read_boolean,
    "int": read_long,
    "long": read_long,
    "float": _read_float,
    "double": _read_double,
    "string": _read_string,
    "bytes": read_bytes,
}


def block_count(datum: bytes, at: int) -> tuple[int, int, int]:
    """Read the head of an array block: items, position behind it, and its end where the writer says it (else -1)."""
    count, at = read_long(datum, at)
    end = -1
    if count < 0:
        size, at = read_long(datum, at)
        if size < 0 or size > len(datum) - at:
            raise CorruptDatumError(f"a block of {size} bytes where {len(datum) - at} are left")
        count, end = -count, at + size
    if count > len(datum) - at:
        raise CorruptDatumError(f"a block of {count} items where {len(datum) - at} bytes are left")
    return count, at, end
