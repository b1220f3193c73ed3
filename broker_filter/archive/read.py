"""Messages of files, folders and tar archives, one by one as if they came from a topic; knows no survey.

All is streamed: nothing is unpacked to disk, and memory does not grow with the archive. A container of many records is
cut into one message per record. Whatever is left out is counted by reason.
"""

import io
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

from broker_filter.archive.compressed import UNREADABLE, Inflation, uncompressed
from broker_filter.archive.containers import HEAD_BYTES, Feed, read_container, too_large
from broker_filter.archive.file_names import (
    ALERT_SUFFIXES,
    COMPRESSED_SUFFIXES,
    TAR_SUFFIXES,
    as_text,
    is_tar,
    looks_like_alerts,
)
from broker_filter.archive.left_out import LeftOut, LeftOutCounts
from broker_filter.archive.tars import broken_off, read_tar
from broker_filter.avro.envelope import CONTAINER_MAGIC, MAX_MESSAGE_BYTES
from broker_filter.errors import ConfigurationError, Rejection
from broker_filter.records import Message, Origin, Rejected

ALERTS_AT_ONCE = 256
DECODE_BYTES_AT_ONCE = 32 << 20
_TAR_BLOCK_BYTES = 512
_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257
_REFUSED_MAGICS = {b"PK\x03\x04": "zip", b"PK\x05\x06": "zip", b"7z\xbc\xaf": "7z", b"Rar!": "rar"}


def read_messages(paths: Sequence[Path], left_out: LeftOutCounts | None = None) -> Iterator[Message | Rejected]:
    """Read everything at these paths, folders in the order of their names.

    Parameters
    ----------
    left_out
        Takes what is not read.

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
            raise ConfigurationError(f"{as_text(str(path))} does not exist")
    counts = LeftOutCounts() if left_out is None else left_out
    return (message for path in paths for message in _read_path(path, counts))


def in_chunks(incoming: Iterable[Message | Rejected]) -> Iterator[list[Message | Rejected]]:
    """Groups of messages, bounded in number and bytes."""
    chunk: list[Message | Rejected] = []
    size = 0
    for item in incoming:
        chunk.append(item)
        size += len(item.value) if isinstance(item, Message) else 0
        if len(chunk) >= ALERTS_AT_ONCE or size >= DECODE_BYTES_AT_ONCE:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def nothing_below(paths: Sequence[Path | str], topic: str | None = None) -> str:
    """Words for paths, and a topic, that gave not one message."""
    places = [f"below {', '.join(as_text(str(path)) for path in paths)}"] if paths else []
    places += [f"in topic {topic}"] if topic is not None else []
    kinds = ", ".join(ALERT_SUFFIXES + TAR_SUFFIXES)
    return (
        f"nothing that looks like alerts {' or '.join(places)}: in folders and archives only files that end in {kinds} "
        f"are read, each also with {', '.join(COMPRESSED_SUFFIXES)}"
    )


def _read_path(path: Path, left_out: LeftOutCounts) -> Iterator[Message | Rejected]:
    for file in files_at(path, left_out):
        if isinstance(file, Rejected):
            yield file
        else:
            reopenable = file.is_file()  # a pipe is not
            yield from read_file(partial(file.open, "rb"), str(file), left_out, reopenable)


def files_at(path: Path, left_out: LeftOutCounts) -> Iterator[Path | Rejected]:
    """The file itself, or the files of alerts in a folder in the order of names; a folder that cannot be read."""
    return _files_below(path, left_out) if path.is_dir() else iter((path,))


def _files_below(top: Path, left_out: LeftOutCounts) -> Iterator[Path | Rejected]:
    """Files of a folder and of those below it, links to folders too, each folder once and however deep."""
    seen: set[tuple[int, int]] = set()
    waiting = [top]
    while waiting:
        path = waiting.pop()
        kind = _kind_of(path)
        if kind == stat.S_IFDIR:
            try:
                state = path.stat()
                if (state.st_dev, state.st_ino) in seen:
                    left_out.add(LeftOut.FOLDER_TWICE, as_text(str(path)))
                    continue
                seen.add((state.st_dev, state.st_ino))
                waiting += sorted(path.iterdir(), reverse=True)
            except OSError as error:
                yield broken_off(as_text(str(path)), f"folder cannot be read: {error.strerror}")
        elif not looks_like_alerts(path.name):
            left_out.add(LeftOut.OTHER_NAME, as_text(str(path)))
        elif kind is None:
            left_out.add(LeftOut.LINK_BROKEN, as_text(str(path)))
        elif kind != stat.S_IFREG:
            left_out.add(LeftOut.SPECIAL_FILE, as_text(str(path)))
        else:
            yield path


def _kind_of(path: Path) -> int | None:
    """What a path is, links followed; None where they lead nowhere."""
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except OSError:
        return None


def read_file(
    opened: Callable[[], AbstractContextManager[Any]], name: str, left_out: LeftOutCounts, reopenable: bool = True
) -> Iterator[Message | Rejected]:
    """The messages of one file.

    Parameters
    ----------
    opened
        Opens it, buffered, as often as it is called.
    name
        Its path or URL.
    reopenable
        Whether opening it again gives the same bytes; links in a tar are followed only then.
    """
    source = as_text(name)
    try:
        with opened() as file:
            refused = _REFUSED_MAGICS.get(file.peek(4)[:4])
            if refused is not None:
                yield _refused(source, refused)
                return
            inflation = Inflation()
            content = uncompressed(file, inflation)
            start = content.peek(_TAR_BLOCK_BYTES)
            if _looks_like_tar(name, start):
                reopen = partial(_reopened, opened, inflation) if reopenable else None
                read_member = partial(_read_member, inflation=inflation, is_within=content is not file)
                yield from read_tar(reopen, cast(BinaryIO, content), source, read_member, left_out)
            else:
                yield from _read_content(cast(BinaryIO, content), source)
    except UNREADABLE as error:
        yield broken_off(source, f"file cannot be read to its end: {error}")


def _looks_like_tar(name: str, start: bytes) -> bool:
    if start[_TAR_MAGIC_AT:].startswith(_TAR_MAGIC):
        return True
    return is_tar(name) and not start.startswith(CONTAINER_MAGIC)


@contextmanager
def _reopened(opened: Callable[[], AbstractContextManager[Any]], inflation: Inflation) -> Iterator[BinaryIO]:
    with opened() as file:
        yield cast(BinaryIO, uncompressed(file, inflation))


def _read_member(file: BinaryIO, source: str, inflation: Inflation, is_within: bool) -> Iterator[Message | Rejected]:
    """Read a member of an archive, compressed or not; one that does not inflate is rejected alone."""
    content = cast(BinaryIO, uncompressed(cast(io.BufferedReader, file), inflation, is_within))
    if content is file:
        yield from _read_content(content, source)
        return
    try:
        yield from _read_content(content, source)
    except UNREADABLE as error:
        yield broken_off(source, f"member cannot be read to its end: {error}")


def _read_content(content: BinaryIO, source: str) -> Iterator[Message | Rejected]:
    """Read a file or a member: one message, or one per record of a container."""
    head = content.read(HEAD_BYTES)
    if head.startswith(CONTAINER_MAGIC):
        yield from read_container(Feed(content, head), source)
        return
    value = head + content.read(MAX_MESSAGE_BYTES + 1 - len(head))
    if len(value) > MAX_MESSAGE_BYTES:
        yield too_large(source, 0)
    else:
        yield Message(value, Origin(source))


def _refused(source: str, kind: str) -> Rejected:
    detail = f"{source}: {kind} archives are not read; unpack it, or pack it again as a tar"
    return Rejected(Message(b"", Origin(source)), Rejection.NOT_AVRO, detail)
