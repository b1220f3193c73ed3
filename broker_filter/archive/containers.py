"""Avro containers of many records as messages of one record each.

What is rejected later can be read again alone. A container of one record is passed on byte for byte.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class _Block:
    """A block of a container, as it is written there."""

    index: int  # of its first record
    count: int
    start: int  # of the records within the content
    content: bytes  # with its head and the sync marker behind it

    @property
    def records(self) -> bytes:
        """What the records take, compressed where the container is."""
        return self.content[self.start : -SYNC_BYTES]

    def messages(self, header: Header, prefix: bytes, source: str) -> Iterator[Message]:
        """A message for each record."""
        if self.count == 1:
            yield Message(prefix + self.content, Origin(source, 0, self.index))
        elif self.count > 1:
            for offset, value in _cut(header, prefix, self):
                yield Message(value, Origin(source, 0, self.index + offset))


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
    held: list[_Block] = []  # of crumbs, until it is known that they are no bomb
    while feed.peek(1):
        try:
            count, size, start = read_block_head(feed.peek(BLOCK_HEAD_BYTES))
        except RejectedAlertError:
            count, size, start = -1, 0, 0
        if size > MAX_BLOCK_BYTES:
            yield from _messages(held, header, prefix, source)
            yield too_large(source, index)
            return
        block = _Block(index, count, start, feed.take(start + size + SYNC_BYTES))
        is_whole = count >= 0 and block.content[start + size :] == header.sync
        is_tiny = count == 0 or size < count * LEAST_ALERT_BYTES
        is_crumbs = is_whole and (is_tiny or count > DEFAULT_LIMITS.records) and _are_crumbs(header, block)
        tiny += max(count, 1) if is_tiny else 0
        crumbs += max(count, 1) if is_crumbs else 0
        if crumbs > DEFAULT_LIMITS.records or tiny * len(prefix) > MOST_TINY_BYTES:  # one rejection, with the rest
            before = b"".join(one.content for one in held)
            first = held[0].index if held else index
            yield Message(prefix + before + block.content + feed.take(MAX_MESSAGE_BYTES), Origin(source, 0, first))
            return
        if is_crumbs:
            held += [block] if count else []
        else:
            yield from _messages(held, header, prefix, source)
            held = []
            if not is_whole:
                yield Message(prefix + block.content + feed.take(MAX_MESSAGE_BYTES), Origin(source, 0, index))
                return
            yield from block.messages(header, prefix, source)
        index += count
    yield from _messages(held, header, prefix, source)
    if index == 0:
        yield Message(prefix, Origin(source))  # holds nothing, and is accounted for as that


def _messages(blocks: Sequence[_Block], header: Header, prefix: bytes, source: str) -> Iterator[Message]:
    for block in blocks:
        yield from block.messages(header, prefix, source)


def _are_crumbs(header: Header, block: _Block) -> bool:
    """Whether records are too small to be alerts; compressed, many that resemble each other may take few bytes."""
    least_bytes = block.count * LEAST_ALERT_BYTES
    try:
        return block.count == 0 or len(decompress(block.records, header.codec, MAX_BLOCK_BYTES)) < least_bytes
    except RejectedAlertError:
        return True


def _cut(header: Header, prefix: bytes, block: _Block) -> Iterator[tuple[int, bytes]]:
    """Containers of one record each, and one of the rest where a record cannot be passed."""
    try:
        skip = _skipper(header.schema_text)
        data = decompress(block.records, header.codec, MAX_BLOCK_BYTES)
    except RejectedAlertError:
        yield 0, prefix + block.content
        return
    plain = write_header(header.schema_text, header.sync)
    at = 0
    for index in range(block.count):
        try:
            end = skip(data, at)
        except RejectedAlertError:
            yield index, plain + write_block(block.count - index, data[at:], header.sync)
            return
        yield index, plain + write_block(1, data[at:end], header.sync)
        at = end
    if at != len(data):
        yield block.count, plain + write_block(1, data[at:], header.sync)


@lru_cache(16)
def _skipper(schema_text: bytes) -> Callable[[bytes, int], int]:
    return compile_skipper(parse_schema(schema_text))


def too_large(source: str, index: int) -> Rejected:
    """The rejection of content that is no single message."""
    detail = f"{source}: more than {MAX_MESSAGE_BYTES} bytes for one message, or {MAX_BLOCK_BYTES} for one block"
    return Rejected(Message(b"", Origin(source, 0, index)), Rejection.TOO_LARGE, detail)
