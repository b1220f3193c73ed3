"""Bytes of an Avro object container enter, its schema's text and its blocks of records leave; knows no survey.

References
----------
Apache Avro 1.12 specification, "Object Container Files".
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from struct import error as StructError  # noqa: N812 - the module calls it error, which says too little here

from isal import isal_zlib

from broker_filter.avro.envelope import CONTAINER_MAGIC
from broker_filter.avro.parse import MAX_SCHEMA_BYTES
from broker_filter.avro.projection import CorruptDatumError, read_bytes, read_long
from broker_filter.errors import RejectedAlertError, Rejection

SYNC_BYTES = 16
MAX_METADATA_ENTRIES = 64  # writers put two or three there
MAX_BLOCK_BYTES = 64 * 1024 * 1024  # of a block, before and after inflation; writers close theirs at 16 kB to 16 MB
BLOCK_HEAD_BYTES = 20  # the two numbers before a block's data are never longer


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


def read_blocks(value: bytes, header: Header) -> Iterator[tuple[int, bytes]]:
    """Yield the number of records and the data of each block, in order.

    Raises
    ------
    RejectedAlertError
        ``CORRUPT`` when a block breaks off, lies about its size or lacks its sync marker; ``TOO_LARGE`` when it
        inflates beyond ``MAX_BLOCK_BYTES``; ``BAD_SCHEMA`` for a codec that is not read.
    """
    at = header.end
    while at < len(value):
        count, size, length = read_block_head(value[at : at + BLOCK_HEAD_BYTES])
        at += length
        data = value[at : at + size]
        at += size
        if value[at : at + SYNC_BYTES] != header.sync:
            raise RejectedAlertError(Rejection.CORRUPT, "container block without its sync marker")
        at += SYNC_BYTES
        data = decompress(data, header.codec)
        if count > len(data):
            raise RejectedAlertError(Rejection.CORRUPT, f"container block of {count} records in {len(data)} bytes")
        yield count, data


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


def decompress(data: bytes, codec: str) -> bytes:
    """Undo the codec of a block within ``MAX_BLOCK_BYTES``; raises as ``read_blocks`` says."""
    if codec == "null":
        return data
    if codec != "deflate":
        raise RejectedAlertError(
            Rejection.BAD_SCHEMA, f"container codec {codec[:40]} is not read; null and deflate are"
        )
    inflater = isal_zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(data, MAX_BLOCK_BYTES)
    except isal_zlib.error as error:  # type: ignore[misc] # its stub does not say that it is an exception
        raise RejectedAlertError(Rejection.CORRUPT, f"container block does not inflate: {error}") from error
    if not inflater.eof:
        if len(inflated) >= MAX_BLOCK_BYTES:
            raise RejectedAlertError(Rejection.TOO_LARGE, f"container block inflates beyond {MAX_BLOCK_BYTES} bytes")
        raise RejectedAlertError(Rejection.CORRUPT, "container block breaks off while it is inflated")
    return inflated
