"""Avro object containers: the schema's text and the blocks of records. Knows no survey.

References
----------
Apache Avro 1.12 specification, "Object Container Files".
"""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import error as StructError  # noqa: N812 - the module calls it error, which says too little here

from broker_filter.avro.codecs import decompress
from broker_filter.avro.envelope import CONTAINER_MAGIC
from broker_filter.avro.parse import MAX_SCHEMA_BYTES
from broker_filter.avro.primitives import CorruptDatumError, read_bytes, read_long
from broker_filter.errors import RejectedAlertError, Rejection

SYNC_BYTES = 16
MAX_METADATA_ENTRIES = 64  # writers put two or three there
MAX_BLOCK_BYTES = 64 * 1024 * 1024  # of a block, before and after inflation; writers close theirs at 16 kB to 16 MB
BLOCK_HEAD_BYTES = 20  # the two numbers before a block's data are never longer


@dataclass(frozen=True, slots=True)
class MessageLimits:
    """How much one message may hold; beyond it the whole message is one rejection."""

    records: int = 1_000
    inflated_bytes: int = 64 * 1024 * 1024  # of all its blocks together


DEFAULT_LIMITS = MessageLimits()


@dataclass(frozen=True, slots=True)
class Header:
    """What a container says before its first block."""

    schema_text: bytes
    codec: str
    sync: bytes
    end: int  # position of the first block


def read_header(value: bytes) -> Header:
    """Read the head of a container.

    Raises
    ------
    RejectedAlertError
        ``CORRUPT`` when it breaks off, ``BAD_SCHEMA`` when it has no schema, ``TOO_LARGE`` when that is too large.
    """
    metadata: dict[bytes, bytes] = {}
    try:
        at = len(CONTAINER_MAGIC)
        while True:
            count, at = read_long(value, at)
            if count < 0:
                count = -count
                _, at = read_long(value, at)
            if count == 0:
                break
            if len(metadata) + count > MAX_METADATA_ENTRIES:
                raise CorruptDatumError(f"more than {MAX_METADATA_ENTRIES} entries of metadata")
            for _ in range(count):
                key, at = read_bytes(value, at)
                metadata[key], at = read_bytes(value, at)
    except (CorruptDatumError, IndexError, StructError) as error:
        raise RejectedAlertError(Rejection.CORRUPT, f"container header breaks off: {error}") from error
    end = at + SYNC_BYTES
    if end > len(value):
        raise RejectedAlertError(Rejection.CORRUPT, "container header breaks off before its sync marker")
    schema_text = metadata.get(b"avro.schema")
    if schema_text is None:
        raise RejectedAlertError(Rejection.BAD_SCHEMA, "container without avro.schema")
    if len(schema_text) > MAX_SCHEMA_BYTES:
        raise RejectedAlertError(Rejection.TOO_LARGE, f"schema of {len(schema_text)} bytes, limit {MAX_SCHEMA_BYTES}")
    codec = metadata.get(b"avro.codec", b"null").decode("ascii", "replace")
    return Header(schema_text, codec, value[at:end], end)


def read_blocks(value: bytes, header: Header, limits: MessageLimits = DEFAULT_LIMITS) -> Iterator[tuple[int, bytes]]:
    """Yield the number of records and the inflated data of each block, in order.

    Nothing is yielded of a container beyond a limit, so that it is one rejection as a whole.

    Raises
    ------
    RejectedAlertError
        ``TOO_LARGE`` when it has more records or inflates to more bytes than the limits allow; ``CORRUPT`` when a block
        breaks off, lies about its size or lacks its sync marker; ``BAD_SCHEMA`` for a codec that is not read.
    """
    blocks: list[tuple[int, bytes]] = []
    records = inflated_bytes = 0
    failure: RejectedAlertError | None = None
    try:
        for count, stored in _stored_blocks(value, header):
            if header.codec == "null":
                _check_count(count, stored)
            records += count
            if records > limits.records or len(blocks) >= limits.records:
                raise RejectedAlertError(
                    Rejection.TOO_LARGE,
                    f"{records} records or more in {len(blocks) + 1} blocks of one message, limit {limits.records}",
                )
            data = decompress(stored, header.codec, limits.inflated_bytes - inflated_bytes)
            inflated_bytes += len(data)
            _check_count(count, data)
            blocks.append((count, data))
    except RejectedAlertError as error:
        if error.reason == Rejection.TOO_LARGE:
            raise
        failure = error
    yield from blocks
    if failure is not None:
        raise failure


def records_of(value: bytes, most: int) -> int:
    """How many records a message says that it holds, at least 1, at most ``most``; nothing is inflated.

    1 for what is no container, or a broken one.
    """
    if not value.startswith(CONTAINER_MAGIC):
        return 1
    records = 0
    try:
        for count, _ in _stored_blocks(value, read_header(value)):
            records += count
            if records >= most:
                return most
    except RejectedAlertError:
        return max(records, 1)
    return max(records, 1)


def _check_count(count: int, data: bytes) -> None:
    if count > len(data):
        raise RejectedAlertError(Rejection.CORRUPT, f"container block of {count} records in {len(data)} bytes")


def _stored_blocks(value: bytes, header: Header) -> Iterator[tuple[int, bytes]]:
    """Yield the number of records and the bytes of each block as they are stored; raises ``CORRUPT``."""
    at = header.end
    while at < len(value):
        count, size, length = read_block_head(value[at : at + BLOCK_HEAD_BYTES])
        at += length
        stored = value[at : at + size]
        at += size
        if value[at : at + SYNC_BYTES] != header.sync:
            raise RejectedAlertError(Rejection.CORRUPT, "container block without its sync marker")
        at += SYNC_BYTES
        yield count, stored


def read_block_head(head: bytes) -> tuple[int, int, int]:
    """Return a block's number of records, its bytes, and the length of these two numbers; raises ``CORRUPT``."""
    try:
        count, at = read_long(head, 0)
        size, at = read_long(head, at)
    except (CorruptDatumError, IndexError) as error:
        raise RejectedAlertError(Rejection.CORRUPT, f"container block breaks off: {error}") from error
    if count < 0 or size < 0:
        raise RejectedAlertError(Rejection.CORRUPT, f"container block of {count} records in {size} bytes")
    return count, size, at


def write_header(schema_text: bytes, sync: bytes) -> bytes:
    """Begin a container without compression."""
    entries = ((b"avro.schema", schema_text), (b"avro.codec", b"null"))
    body = b"".join(write_long(len(part)) + part for entry in entries for part in entry)
    return CONTAINER_MAGIC + write_long(len(entries)) + body + write_long(0) + sync


def write_block(count: int, data: bytes, sync: bytes) -> bytes:
    """Return a block of records."""
    return write_long(count) + write_long(len(data)) + data + sync


def write_long(value: int) -> bytes:
    """Return a number of at least 0 as a zigzag varint."""
    value <<= 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
