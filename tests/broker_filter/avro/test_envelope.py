"""The envelope of a message."""

import pytest

from broker_filter.avro.envelope import MAX_MESSAGE_BYTES, Bare, ConfluentFrame, Container, split
from broker_filter.errors import RejectedAlertError, Rejection


def test_confluent_frame():
    """Byte 0 announces a big-endian schema id, and the rest is the datum."""
    assert split(b"\x00\x00\x00\x03\x84datum") == ConfluentFrame(900, b"datum")


def test_container():
    """``Obj`` and byte 1 announce an object container, which is passed on whole."""
    assert split(b"Obj\x01rest") == Container(b"Obj\x01rest")


def test_bare_datum():
    """Whatever has neither prefix is a bare datum."""
    assert split(b"version https://git-lfs") == Bare(b"version https://git-lfs")


@pytest.mark.parametrize("value", [b"", b"\x00", b"\x00\x00\x00\x03\x84"])
def test_empty_message(value):
    """A message without a datum is no Avro."""
    with pytest.raises(RejectedAlertError) as caught:
        split(value)
    assert caught.value.reason == Rejection.NOT_AVRO


def test_too_large():
    """A message over the limit is refused unread, with its size and the limit."""
    with pytest.raises(RejectedAlertError, match=f"{MAX_MESSAGE_BYTES + 1} bytes, limit {MAX_MESSAGE_BYTES}") as caught:
        split(bytes(MAX_MESSAGE_BYTES + 1))
    assert caught.value.reason == Rejection.TOO_LARGE
