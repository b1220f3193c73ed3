"""Entries of the table of unsettled rows: topic and partition, offset, object and order, all in their names."""

from broker_filter.series.rows import (
    ORDER_BYTES,
    is_settled,
    key_of,
    offset_key,
    offset_of,
    order_of,
    parse_id,
    parse_order,
    place_of,
    sortable_order,
)
from broker_filter.series.store import HEAD, Unsettled

PLACE_BYTES, OFFSET_BYTES = 12, 8


def unsettled_name(front: bytes | memoryview, prefix: bytes) -> bytes | None:
    """The name of a row in the table of unsettled ones; None for a settled one, or where its position is unknown."""
    if len(front) < HEAD.itemsize or is_settled(front) or (place := place_of(front)) is None:
        return None
    return place + offset_key(offset_of(front)) + prefix + sortable_order(*order_of(front))


def entry_of(name: bytes) -> tuple[str, tuple[float, int], int]:
    """Object, order and offset of an entry."""
    rest = name[PLACE_BYTES:]
    key = key_of(rest[OFFSET_BYTES:-ORDER_BYTES])
    return key, parse_order(rest[-ORDER_BYTES:]), parse_id(rest[:OFFSET_BYTES])


def unsettled_of(name: bytes) -> Unsettled:
    """The unsettled observation that an entry names."""
    key, (_, alert_id), offset = entry_of(name)
    return Unsettled(offset, key, alert_id)
