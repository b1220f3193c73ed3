"""Names, numbers and lists as they stand in a server's keys; what is none there is told, or counts for nothing."""

from typing import Any

from broker_filter.records import LONGEST_KEY_BYTES
from broker_filter.series.redis.server import damaged
from broker_filter.series.rows import key_of, parse_id
from broker_filter.series.store import CorruptStoreError, Unsettled

ID_BYTES = 8


def key_of_member(member: bytes) -> str:
    """The object's key that stands in the list of all; raises CorruptStoreError where it is none."""
    if not 0 < len(member) <= LONGEST_KEY_BYTES:
        raise CorruptStoreError(f"object key {member[:20]!r} of {len(member)} bytes")
    return key_of(bytes([len(member)]) + member)


def incarnation_of(value: Any) -> str:
    """The name of a store's contents; raises CorruptStoreError where it is no text."""
    try:
        return value.decode() if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError as error:
        raise damaged(f"its incarnation is {value[:40]!r}") from error


def integer_of(value: Any, what: str) -> int:
    """A count; raises CorruptStoreError where it is none."""
    try:
        return int(value)
    except ValueError as error:
        raise damaged(f"{what} are {value[:40]!r}") from error


def unsettled_of(member: bytes, offset: float) -> Unsettled | None:
    """An entry of those that wait; None where it is none."""
    try:
        key, end, name = member[: -ID_BYTES - 1].decode(), member[-ID_BYTES - 1 : -ID_BYTES], member[-ID_BYTES:]
        return Unsettled(int(offset), key, parse_id(name)) if key and end == b"\0" else None
    except (UnicodeDecodeError, OverflowError, ValueError):
        return None
