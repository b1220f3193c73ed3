"""Paths enter, messages leave one by one as if they came from a topic; knows no survey.

Files, folders and tar archives are streamed: nothing is unpacked to disk, and memory does not grow with the archive. A
container of many records is cut into one message per record, each a container by itself, so that what is rejected later
can be read again alone. A container that holds one record is passed on byte for byte.
"""

import bz2
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, cast

from isal import igzip, isal_zlib

from broker_filter.avro.container import (
    BLOCK_HEAD_BYTES,
    MAX_BLOCK_BYTES,
    SYNC_BYTES,
    Header,
    decompress,
    read_block_head,
    read_header,
    write_block,
    write_header,
)
from broker_filter.avro.envelope import CONTAINER_MAGIC, MAX_MESSAGE_BYTES
from broker_filter.avro.parse import MAX_SCHEMA_BYTES, parse_schema
from broker_filter.avro.projection import compile_skipper
from broker_filter.errors import ConfigurationError, RejectedAlertError, Rejection
from broker_filter.records import Message, Origin, Rejected

ALERT_SUFFIXES = (".avro", ".ocf")  # of files within folders and archives; a file that is named itself may have any
ARCHIVE_SUFFIXES = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".avro.gz")
MAX_TAR_HEADER_BYTES = 1024 * 1024  # a name or an extended header within a tar; tarfile itself reads any size
_HEAD_BYTES = MAX_SCHEMA_BYTES + 64 * 1024  # of a container: its schema and what little else may stand there
_TAR_BLOCK_BYTES = 512
_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257
_TAR_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
_OPENERS: Mapping[bytes, Callable[[BinaryIO], Any]] = {b"\x1f\x8b": igzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}
_UNREADABLE: tuple[type[Exception], ...] = (
    *(tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError),
    cast(type[Exception], isal_zlib.error),  # its stub does not say that it is an exception
)


def read_messages(paths: Sequence[Path]) -> Iterator[Message | Rejected]:
    """Read everything at these paths, folders in the order of their names.

    Returns
    -------
    messages : with the path and the index of the record as origin. An archive that breaks off, or content that is too
        large to be one message, gives a ``Rejected`` with the reason in its place; its bytes stay where they are.

    Raises
    ------
    ConfigurationError
        At once when a path does not exist.
    """
    for path in paths:
        if not path.exists():
            raise ConfigurationError(f"{path} does not exist")
    return (message for path in paths for file in _files(path) for message in _read_file(file))


def nothing_below(paths: Sequence[Path], topic: str | None = None) -> str:
    """Words for paths, and a topic, that gave not one message."""
    places = [f"below {', '.join(map(str, paths))}"] if paths else []
    places += [f"in topic {topic}"] if topic is not None else []
    kinds = ", ".join(ALERT_SUFFIXES + ARCHIVE_SUFFIXES)
    return f"nothing that looks like alerts {' or '.join(places)}: in folders only files that end in {kinds} are read"


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for inner in sorted(path.rglob("*")):
        if inner.name.endswith(ALERT_SUFFIXES + ARCHIVE_SUFFIXES) and inner.is_file():
            yield inner


def _read_file(path: Path) -> Iterator[Message | Rejected]:
    try:
        with path.open("rb") as file:
            opener = _OPENERS.get(file.peek(2)[:2])
            content = file if opener is None else io.BufferedReader(cast(io.RawIOBase, opener(file)))
            start = content.peek(_TAR_BLOCK_BYTES)
            if start[_TAR_MAGIC_AT:].startswith(_TAR_MAGIC) or ".tar" in path.suffixes:
                yield from _read_tar(cast(BinaryIO, content), str(path))
            else:
                yield from _read_content(cast(BinaryIO, content), str(path))
    except _UNREADABLE as error:
        yield _unreadable(str(path), f"file cannot be read to its end: {error}")


class _BoundedTarInfo(tarfile.TarInfo):
    """Refuses headers that would be read into memory whatever their size; tarfile foresees this override."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _TAR_HEADERS and self.size > MAX_TAR_HEADER_BYTES:
            raise tarfile.ReadError(f"a tar header of {self.size} bytes, limit {MAX_TAR_HEADER_BYTES}")
        return super()._proc_member(tar)  # type: ignore[misc,no-any-return] # not in the stubs


class _Tail:
    """Passes reads on and remembers how the content ended, because tarfile takes a cut for an end."""

    def __init__(self, content: BinaryIO) -> None:
        self._content = content
        self.last = b""

    def read(self, size: int) -> bytes:
        data = self._content.read(size)
        if data:
            self.last = data[-_TAR_BLOCK_BYTES:]
        return data


def _read_tar(content: BinaryIO, source: str) -> Iterator[Message | Rejected]:
    tail = _Tail(content)
    members = 0
    try:
        with tarfile.open(fileobj=cast(BinaryIO, tail), mode="r|", tarinfo=_BoundedTarInfo) as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined] # not in the stubs; tarfile would remember every member of a night
                if not member.isreg() or not member.name.endswith(ALERT_SUFFIXES):
                    continue
                file = tar.extractfile(member)
                if file is not None:
                    yield from _read_content(cast(BinaryIO, file), f"{source}::{member.name}")
                members += 1
    except _UNREADABLE as error:
        yield _unreadable(source, f"archive breaks off after {members} members: {error}")
        return
    if tail.last.strip(b"\0"):
        yield _unreadable(source, f"archive breaks off after {members} members: it has no end mark")


def _read_content(content: BinaryIO, source: str) -> Iterator[Message | Rejected]:
    """Read a file or a member: one message, or one per record of a container."""
    head = content.read(_HEAD_BYTES)
    if head.startswith(CONTAINER_MAGIC):
        yield from _read_container(_Feed(content, head), source)
        return
    value = head + content.read(MAX_MESSAGE_BYTES + 1 - len(head))
    if len(value) > MAX_MESSAGE_BYTES:
        yield _too_large(source, 0)
    else:
        yield Message(value, Origin(source))


class _Feed:
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


def _read_container(feed: _Feed, source: str) -> Iterator[Message | Rejected]:
    """Cut a container into messages; what is broken is passed on as it is, for the alert room to say why."""
    head = feed.peek(_HEAD_BYTES)
    try:
        header = read_header(head)
    except RejectedAlertError:
        yield Message(feed.take(MAX_MESSAGE_BYTES + 1), Origin(source))
        return
    prefix = feed.take(header.end)
    index = 0
    while feed.peek(1):
        try:
            count, size, start = read_block_head(feed.peek(BLOCK_HEAD_BYTES))
        except RejectedAlertError:
            count, size, start = -1, 0, 0
        if size > MAX_BLOCK_BYTES:
            yield _too_large(source, index)
            return
        block = feed.take(start + size + SYNC_BYTES)
        if count < 0 or block[start + size :] != header.sync:
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


def _cut(header: Header, prefix: bytes, block: bytes, data: bytes, count: int) -> Iterator[tuple[int, bytes]]:
    """Cut a block of many records into containers of one, and one of the rest where a record cannot be passed."""
    try:
        skip = _skipper(header.schema_text)
        data = decompress(data, header.codec)
    except RejectedAlertError:
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


def _too_large(source: str, index: int) -> Rejected:
    detail = f"{source}: more than {MAX_MESSAGE_BYTES} bytes for one message, or {MAX_BLOCK_BYTES} for one block"
    return Rejected(Message(b"", Origin(source, 0, index)), Rejection.TOO_LARGE, detail)


def _unreadable(source: str, detail: str) -> Rejected:
    return Rejected(Message(b"", Origin(source)), Rejection.CORRUPT, detail)
