"""The alerts of a tar archive, streamed member by member; links within the archive are read, none out of it.

Nothing is unpacked to disk, and nothing is opened but the archive itself: a link is a name to look for among the
members. Where there are links to alerts the archive is read a second time for what they point to, because a stream
does not go back.
"""

import posixpath
import tarfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, BinaryIO, cast

from broker_filter.archive.compressed import UNREADABLE
from broker_filter.archive.file_names import as_text, is_alert, is_refused, is_tar
from broker_filter.archive.left_out import LeftOut, LeftOutCounts
from broker_filter.errors import Rejection
from broker_filter.records import Message, Origin, Rejected

MAX_TAR_HEADER_BYTES = 1024 * 1024  # a name or an extended header within a tar; tarfile itself reads any size
MAX_GLOBAL_HEADERS_BYTES = 16 * MAX_TAR_HEADER_BYTES  # all those that hold for the rest of the archive, which are kept
MOST_ZERO_BYTES = 64 * 1024 * 1024  # behind the last member; tar pads with some kilobytes
MOST_READS_BEHIND_END = 8  # tarfile looks there a few times for a further member
MOST_LINKS = 100_000  # that are followed in one archive, and messages that are read through them
MOST_HOPS = 40  # of a link to a link
_LONG_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
# What tarfile raises over broken headers; whatever it is, the archive ends there.
_BROKEN: tuple[type[Exception], ...] = (
    *UNREADABLE,
    *(tarfile.TarError, ValueError, LookupError, ArithmeticError, TypeError, AttributeError, RecursionError),
)

Reopen = Callable[[], AbstractContextManager[BinaryIO]]
ReadContent = Callable[[BinaryIO, str], Iterator[Message | Rejected]]


class _Member(tarfile.TarInfo):
    """A header that is refused where tarfile would read on whatever it says; tarfile foresees these overrides."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> "_Member":
        assert isinstance(tar, _Tar)
        try:
            member = super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined] # a block of zeros; not in the stubs
            tar.zero_bytes += tarfile.BLOCKSIZE
            if tar.zero_bytes > MOST_ZERO_BYTES:
                raise tarfile.ReadError(f"more than {MOST_ZERO_BYTES} zeros behind the last member") from None
            raise
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
            raise tarfile.ReadError(str(error)) from error
        tar.zero_bytes = 0
        return cast(_Member, member)

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        assert isinstance(tar, _Tar)
        if self.type in _LONG_HEADERS and not 0 <= self.size <= MAX_TAR_HEADER_BYTES:
            raise tarfile.ReadError(f"a tar header of {self.size} bytes, limit {MAX_TAR_HEADER_BYTES}")
        if self.type == tarfile.XGLTYPE:
            tar.global_bytes += self.size
            if tar.global_bytes > MAX_GLOBAL_HEADERS_BYTES:
                raise tarfile.ReadError(f"global tar headers of more than {MAX_GLOBAL_HEADERS_BYTES} bytes")
        return super()._proc_member(tar)  # type: ignore[misc,no-any-return] # not in the stubs

    def _proc_sparse(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        with _bounded_map(tar):
            return super()._proc_sparse(tar)  # type: ignore[misc,no-any-return]

    def _proc_gnusparse_10(self, member: tarfile.TarInfo, headers: dict[str, str], tar: tarfile.TarFile) -> None:
        with _bounded_map(tar):
            super()._proc_gnusparse_10(member, headers, tar)  # type: ignore[misc]


class _MapContent:
    """Content of which no more is read than the map of a sparse member may have."""

    def __init__(self, content: Any) -> None:
        self._content = content
        self._left = MAX_TAR_HEADER_BYTES

    def read(self, size: int) -> bytes:
        self._left -= size
        if self._left < 0:
            raise tarfile.ReadError(f"the map of a sparse member has more than {MAX_TAR_HEADER_BYTES} bytes")
        return self._content.read(size)  # type: ignore[no-any-return]

    def tell(self) -> int:
        return self._content.tell()  # type: ignore[no-any-return]


@contextmanager
def _bounded_map(tar: tarfile.TarFile) -> Iterator[None]:
    content = tar.fileobj
    tar.fileobj = _MapContent(content)  # type: ignore[assignment]
    try:
        yield
    finally:
        tar.fileobj = content


class _Tar(tarfile.TarFile):
    """A tar archive as a stream, of which only the member in hand is remembered."""

    tarinfo = _Member
    zero_bytes = 0  # of end marks and padding since the last member
    global_bytes = 0

    def members_in_order(self) -> Iterator[tarfile.TarInfo]:
        """The members until the archive ends, those behind an end mark too (of archives that were put together)."""
        while (member := self.next()) is not None:
            self.members.clear()  # type: ignore[attr-defined] # not in the stubs; it would remember a whole night
            yield member


class _EndedContent:
    """Content that refuses to be read on and on behind its end, where tarfile would skip what a member promises."""

    def __init__(self, content: BinaryIO) -> None:
        self._content = content
        self._reads_behind_end = 0

    def read(self, size: int) -> bytes:
        data = self._content.read(size)
        if not data:
            self._reads_behind_end += 1
            if self._reads_behind_end > MOST_READS_BEHIND_END:
                raise tarfile.ReadError("a member promises more bytes than there are")
        return data


def read_tar(
    reopen: Reopen | None,
    content: BinaryIO,
    source: str,
    read_content: ReadContent,
    left_out: LeftOutCounts,
) -> Iterator[Message | Rejected]:
    """The messages of an archive's members in their order, then those that links within it point to.

    Parameters
    ----------
    reopen
        Opens the same archive from its start; None where it can be read but once, so that no link is followed.
    content
        The archive, not compressed.
    read_content
        Reads one member.
    """
    links: dict[str, str] = {}
    members = 0
    try:
        with _open(content) as tar:
            for member in tar.members_in_order():
                members += 1
                if member.isreg() and is_alert(member.name):
                    yield from _read_member(tar, member, source, read_content)
                else:
                    _note(member, source, links, left_out)
            if members and not tar.zero_bytes:
                yield broken_off(source, f"archive breaks off after {members} members: it has no end mark")
            if not members:
                left_out.add(LeftOut.EMPTY_ARCHIVE, source)
    except _BROKEN as error:
        yield broken_off(source, f"archive breaks off after {members} members: {error}")
    if links:
        yield from _read_links(reopen, source, links, read_content, left_out)


def broken_off(source: str, detail: str) -> Rejected:
    """The rejection of the rest of a file."""
    return Rejected(Message(b"", Origin(source)), Rejection.CORRUPT, detail)


def _open(content: BinaryIO) -> _Tar:
    # Zeros are passed over, so that what lies behind an end mark is read and not lost; invalid headers are not.
    stream = cast(BinaryIO, _EndedContent(content))
    return cast(_Tar, _Tar.open(fileobj=stream, mode="r|", ignore_zeros=True))


def _read_member(
    tar: tarfile.TarFile, member: tarfile.TarInfo, source: str, read_content: ReadContent
) -> Iterator[Message | Rejected]:
    file = tar.extractfile(member)
    if file is not None:
        yield from read_content(cast(BinaryIO, file), f"{source}::{as_text(member.name)}")


def _note(member: tarfile.TarInfo, source: str, links: dict[str, str], left_out: LeftOutCounts) -> None:
    """Remember a link to follow, or count what is not read; folders are nothing to read."""
    if member.isdir():
        return
    where = f"{source}::{as_text(member.name)}"
    if is_tar(member.name) or is_refused(member.name):
        left_out.add(LeftOut.NESTED_ARCHIVE, where)
    elif not is_alert(member.name):
        left_out.add(LeftOut.OTHER_NAME, where)
    elif not (member.islnk() or member.issym()):
        left_out.add(LeftOut.SPECIAL_FILE, where)
    elif len(links) >= MOST_LINKS:
        left_out.add(LeftOut.LINK_BROKEN, where)
    else:
        links[_place(member.name)] = _target(member)


def _place(name: str) -> str:
    """A member's name without what does not matter: ``./a//b`` is ``a/b``, and so is ``/a/b``."""
    return posixpath.normpath(name).lstrip("/")


def _target(link: tarfile.TarInfo) -> str:
    """Where a link points, as a path from the archive's root; it begins with ``..`` or ``/`` when that is outside."""
    if link.islnk():
        return _place(link.linkname)
    return posixpath.normpath(posixpath.join(posixpath.dirname(_place(link.name)), link.linkname))


def _read_links(
    reopen: Reopen | None,
    source: str,
    links: dict[str, str],
    read_content: ReadContent,
    left_out: LeftOutCounts,
) -> Iterator[Message | Rejected]:
    """Read once more what links point to, under the links' names."""
    names_of: dict[str, list[str]] = {}
    for name in links:
        target = _end_of_chain(name, links)
        if target is not None:
            names_of.setdefault(target, []).append(name)
        else:
            left_out.add(LeftOut.LINK_BROKEN, f"{source}::{as_text(name)}")
    if reopen is not None and names_of:
        yield from _read_targets(reopen, source, names_of, read_content)
    for target, names in names_of.items():
        outside = target.startswith(("../", "/")) or target == ".."
        for name in names:
            left_out.add(LeftOut.LINK_OUTSIDE if outside else LeftOut.LINK_BROKEN, f"{source}::{as_text(name)}")


def _end_of_chain(name: str, links: dict[str, str]) -> str | None:
    """What a link points to in the end; None for a circle, or a chain that is too long."""
    for _ in range(MOST_HOPS):
        name = links[name]
        if name not in links:
            return name
    return None


def _read_targets(
    reopen: Reopen, source: str, names_of: dict[str, list[str]], read_content: ReadContent
) -> Iterator[Message | Rejected]:
    """Yield each target's messages under every link's name, and take what was found out of ``names_of``.

    They are ``MOST_LINKS`` at most, for many links to one file of many alerts are no larger than many links.
    """
    left = MOST_LINKS
    try:
        with reopen() as content, _open(content) as tar:
            for member in tar.members_in_order():
                place = _place(member.name)
                names = names_of.get(place, []) if member.isreg() else []
                for item in _read_member(tar, member, source, read_content) if names else ():
                    left -= len(names)
                    if left < 0:
                        return
                    yield from (_under(f"{source}::{as_text(name)}", item) for name in names)
                if names:
                    del names_of[place]
                if not names_of:
                    return
    except _BROKEN:
        return  # the first pass has told where the archive breaks off; links to what lies behind are left out


def _under(name: str, item: Message | Rejected) -> Message | Rejected:
    """The same message under another name."""
    message = item if isinstance(item, Message) else item.message
    renamed = Message(message.value, Origin(name, message.origin.partition, message.origin.offset))
    return renamed if isinstance(item, Message) else Rejected(renamed, item.reason, item.detail)
