"""Avro containers of many records as messages of one record each.

What is rejected later can be read again alone. A container of one record is passed on byte for byte.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import BinaryIO

from broker_filter.avro.codecs import decompress
from broker_filter.avro.container import (
    BLOCK_HEAD_BYTES,
    DEFAULT_LIMITS,
    MAX_BLOCK_BYTES,
    SYNC_BYTES,
    Header,
    read_block_head,
    read_header,
    write_block,
    write_header,
)
from broker_filter.avro.envelope import MAX_MESSAGE_BYTES
from broker_filter.avro.parse import MAX_SCHEMA_BYTES, parse_schema
from broker_filter.avro.projection import compile_skipper
from broker_filter.errors import RejectedAlertError, Rejection
from broker_filter.records import Message, Origin, Rejected

HEAD_BYTES = MAX_SCHEMA_BYTES + 64 * 1024  # of a container: its schema and what little else may stand there
MOST_TINY_BYTES = 64 * 1024 * 1024  # of messages that records too small to be alerts become, each with the schema
LEAST_ALERT_BYTES = 64  # the fields that every packet must have, ids, time, position and flux, take more


class Feed:
    """Content with what was already read of it; reads only forward, and only what is asked for."""

    def __init__(self, content: BinaryIO, head: bytes) -> None:
        self._content, self._ahead = content, head

    def peek(self, size: int) -> bytes:
        """Return the next bytes without passing them, fewer at the end."""
        if len(self._ahead) < size:
            self._ahead += self._content.read(size - len(self._ahead))
        return self._ahead[:size]

    def take(self, size: int) -> bytes:
        """Return the next bytes, fewer at the end."""
        data = self.peek(size)
        self._ahead = self._ahead[size:]
        return data


def read_container(feed: Feed, source: str) -> Iterator[Message | Rejected]:
    """The messages of a container; what is broken is passed on as it is, for the alert room to say why."""
    head = feed.peek(HEAD_BYTES)
    try:
        header = read_header(head)
    except RejectedAlertError:
        yield Message(feed.take(MAX_MESSAGE_BYTES + 1), Origin(source))
        return
    prefix = feed.take(header.end)
    index = tiny = crumbs = 0
    while feed.peek(1):
        try:
            count, size, start = read_block_head(feed.peek(BLOCK_HEAD_BYTES))
        except RejectedAlertError:
            count, size, start = -1, 0, 0
        if size > MAX_BLOCK_BYTES:
            yield too_large(source, index)
            return
        block = feed.take(start + size + SYNC_BYTES)
        if count == 0 or size < count * LEAST_ALERT_BYTES:
            tiny += max(count, 1)
            crumbs += max(count, 1) if _are_crumbs(header, block[start : start + size], count) else 0
        is_bomb = crumbs > DEFAULT_LIMITS.records or tiny * len(prefix) > MOST_TINY_BYTES  # the rest is one rejection
        if count < 0 or block[start + size :] != header.sync or is_bomb:
            yield Message(prefix + block + feed.take(MAX_MESSAGE_BYTES), Origin(source, 0, index))
            return
        if count == 1:
            yield Message(prefix + block, Origin(source, 0, index))
        elif count > 1:
            for offset, value in _cut(header, prefix, block, block[start : start + size], count):
                yield Message(value, Origin(source, 0, index + offset))
        index += count
    if index == 0:
        yield Message(prefix, Origin(source))  # holds nothing, and is accounted for as that


def _are_crumbs(header: Header, data: bytes, count: int) -> bool:
    """Whether records are too small to be alerts; compressed, many that resemble each other may take few bytes."""
    try:
        return count == 0 or len(decompress(data, header.codec, MAX_BLOCK_BYTES)) < count * LEAST_ALERT_BYTES
    except RejectedAlertError:
        return True


def _cut(header: Header, prefix: bytes, block: bytes, data: bytes, count: int) -> Iterator[tuple[int, bytes]]:
    """Containers of one record each, and one of the rest where a record cannot be passed.

    A block of more records than a message may hold, each too small to be an alert, is passed on as a whole: cutting it
    would make thousands of messages, each with the schema, out of a few bytes.
    """
    try:
        skip = _skipper(header.schema_text)
        data = decompress(data, header.codec, MAX_BLOCK_BYTES)
    except RejectedAlertError:
        yield 0, prefix + block
        return
    if count > DEFAULT_LIMITS.records and len(data) < count * LEAST_ALERT_BYTES:
        yield 0, prefix + block
        return
    plain = write_header(header.schema_text, header.sync)
    at = 0
    for index in range(count):
        try:
            end = skip(data, at)
        except RejectedAlertError:
            yield index, plain + write_block(count - index, data[at:], header.sync)
            return
        yield index, plain + write_block(1, data[at:end], header.sync)
        at = end
    if at != len(data):
        yield count, plain + write_block(1, data[at:], header.sync)


@lru_cache(16)
def _skipper(schema_text: bytes) -> Callable[[bytes, int], int]:
    return compile_skipper(parse_schema(schema_text))


def too_large(source: str, index: int) -> Rejected:
    """The rejection of content that is no single message."""
    detail = f"{source}: more than {MAX_MESSAGE_BYTES} bytes for one message, or {MAX_BLOCK_BYTES} for one block"
    return Rejected(Message(b"", Origin(source, 0, index)), Rejection.TOO_LARGE, detail)
