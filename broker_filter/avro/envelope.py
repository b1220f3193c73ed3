"""Envelopes of messages: Confluent's prefix, an Avro object container, or a bare datum. Knows no schema and no survey.

Three forms are in use: the Confluent frame (byte 0, schema id as a big-endian 32-bit integer, datum), the Avro object
container (``Obj`` and byte 1), and the bare datum, which only somebody who knows its schema can read.
"""

from dataclasses import dataclass

from broker_filter.errors import RejectedAlertError, Rejection

# Largest message that is looked at. The largest real packet seen (LSST, 1,172 previous sources) has 0.5 MB; Kafka's own
# default limit is 1 MB. Above this a message is dead-lettered unread.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024

CONTAINER_MAGIC = b"Obj\x01"
CONFLUENT_MAGIC = 0
CONFLUENT_PREFIX_BYTES = 5


@dataclass(frozen=True, slots=True)
class ConfluentFrame:
    """A datum whose schema has a number in a registry."""

    schema_id: int
    datum: bytes


@dataclass(frozen=True, slots=True)
class Container:
    """An Avro object container: it carries its schema."""

    value: bytes


@dataclass(frozen=True, slots=True)
class Bare:
    """A datum without any word about its schema."""

    datum: bytes


def split(value: bytes) -> ConfluentFrame | Container | Bare:
    """Recognise the envelope.

    Raises
    ------
    RejectedAlertError
        ``TOO_LARGE`` over ``MAX_MESSAGE_BYTES``; ``NOT_AVRO`` when empty or cut inside the prefix.
    """
    if len(value) > MAX_MESSAGE_BYTES:
        raise RejectedAlertError(Rejection.TOO_LARGE, f"message of {len(value)} bytes, limit {MAX_MESSAGE_BYTES}")
    if not value:
        raise RejectedAlertError(Rejection.NOT_AVRO, "empty message")
    if value.startswith(CONTAINER_MAGIC):
        return Container(value)
    if value[0] == CONFLUENT_MAGIC:
        if len(value) <= CONFLUENT_PREFIX_BYTES:
            raise RejectedAlertError(Rejection.NOT_AVRO, f"Confluent frame of {len(value)} bytes has no datum")
        return ConfluentFrame(int.from_bytes(value[1:CONFLUENT_PREFIX_BYTES], "big"), value[CONFLUENT_PREFIX_BYTES:])
    return Bare(value)
