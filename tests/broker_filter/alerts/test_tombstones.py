"""Null values of compacted topics."""

from broker_filter.alerts.alert import read_alerts
from broker_filter.alerts.decode import Decoder
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.errors import Rejection
from broker_filter.records import Message, Origin, Rejected


def test_tombstones_are_rejected_as_such() -> None:
    """A null value is counted as a tombstone and is no Avro error; an empty value is one."""
    gone, empty = Message(b"", Origin("t", 0, 0), tombstone=True), Message(b"", Origin("t", 0, 1))
    decoded = Decoder(lambda message: read_alerts(message, Schemas()), {}, 1).decode([gone, empty])
    reasons = [one.reason for one in decoded if isinstance(one, Rejected)]
    assert reasons == [Rejection.TOMBSTONE, Rejection.NOT_AVRO]
