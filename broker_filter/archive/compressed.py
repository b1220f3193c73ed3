"""Compressed files as the content that they hold, recognised by their first bytes, and bounded in what they inflate to.

bzip2 makes a terabyte of zeros out of 0.7 MB, gzip never more than 1 GB out of 1 MB.
"""

import bz2
import io
import lzma
import struct
import sys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, cast

from isal import igzip_lib, isal_zlib

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MOST_XZ_MEMORY_BYTES = 256 * 1024 * 1024  # xz -9 needs 65 MiB; a header may ask for 4 GiB
_BYTES_AT_ONCE = 16 * 1024  # that are read of a compressed file

# A member of a gzip file: these bytes, flags, six more bytes, what the flags announce, the content, its trailer.
_GZIP_START = b"\x1f\x8b\x08"
_GZIP_FIXED_BYTES = 10
_GZIP_HEADER_CHECKSUM, _GZIP_EXTRA, _GZIP_NAME, _GZIP_COMMENT = 2, 4, 8, 16
_GZIP_TRAILER = struct.Struct("<II")  # CRC-32 and length of the content
_LONGEST_GZIP_HEADER_BYTES = 1 << 18


class _Streams(io.RawIOBase):
    """Compressed streams, one behind the other, zeros between them; anything else there is an error, not the end.

    What a stream holds is given before its end is looked at: a wrong checksum there costs nothing that stood before.
    """

    def __init__(self, file: BinaryIO, begin: Callable[[], Any]) -> None:
        self._file, self._begin = file, begin
        self._inflater, self._ahead = begin(), b""

    def readinto(self, buffer: Any) -> int:
        data = b""
        while not data and (not self._inflater.eof or self._has_next_stream()):
            data = self._inflater.decompress(self._input(), len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _input(self) -> bytes:
        if not self._inflater.needs_input:
            return b""
        some, self._ahead = self._ahead or self._file.read(_BYTES_AT_ONCE), b""
        if not some:
            raise EOFError("compressed data breaks off before its end")
        return some

    def _has_next_stream(self) -> bool:
        some = self._inflater.unused_data
        while not (some := some.lstrip(b"\0")):
            if not (some := self._file.read(_BYTES_AT_ONCE)):
                return False
        self._inflater, self._ahead = self._begin(), some
        return True


class _GzipMember:
    """A member of a gzip file (RFC 1952), inflated as ``bz2.BZ2Decompressor`` does.

    The library's own reader looks at the checksum in the call that inflates the last bytes, and loses these where it
    is wrong.
    """

    def __init__(self) -> None:
        self.eof, self.unused_data = False, b""
        self._in_header, self._waiting = True, b""  # bytes of header or trailer, until it is whole
        self._content, self._size = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP_NO_HDR), 0

    @property
    def needs_input(self) -> bool:
        if self._content.eof:
            return len(self._waiting) < _GZIP_TRAILER.size
        return self._in_header or self._content.needs_input

    def decompress(self, data: bytes, most_bytes: int) -> bytes:
        """Content of the next compressed bytes.

        Raises
        ------
        OSError
            When this is no header of a member, or the content has another checksum or length than the trailer says.
        """
        if self._in_header or self._content.eof:
            data, self._waiting = self._waiting + data, b""
        if self._in_header:
            end = _end_of_gzip_header(data)
            if end is None:
                self._waiting = data
                return b""
            data, self._in_header = data[end:], False
        if self._content.eof:
            self._check_trailer(data)
            return b""
        content: bytes = self._content.decompress(data, most_bytes)
        self._size += len(content)
        if self._content.eof:
            self._waiting = self._content.unused_data
        return content

    def _check_trailer(self, data: bytes) -> None:
        if len(data) < _GZIP_TRAILER.size:
            self._waiting = data
            return
        checksum, size = _GZIP_TRAILER.unpack_from(data)
        if (checksum, size) != (self._content.crc, self._size % (1 << 32)):
            raise OSError("the content of a gzip member has another checksum or length than it says: it is damaged")
        self.eof, self.unused_data = True, data[_GZIP_TRAILER.size :]


def _end_of_gzip_header(data: bytes) -> int | None:
    """Where the header of a member ends; None when it goes on."""
    if not _GZIP_START.startswith(data[: len(_GZIP_START)]):
        raise OSError(f"bytes {data[:8].hex()} begin no member of a gzip file: it is damaged, or something was added")
    if len(data) < _GZIP_FIXED_BYTES:
        return None
    flags, end = data[len(_GZIP_START)], _GZIP_FIXED_BYTES
    if flags & _GZIP_EXTRA:
        end += 2 + int.from_bytes(data[end : end + 2], "little")
    for text in (_GZIP_NAME, _GZIP_COMMENT):
        if flags & text:
            end = data.find(b"\0", end) + 1 or sys.maxsize
    if flags & _GZIP_HEADER_CHECKSUM:
        end += 2
    if end > len(data) > _LONGEST_GZIP_HEADER_BYTES:
        raise OSError(f"the header of a gzip member is longer than {_LONGEST_GZIP_HEADER_BYTES} bytes")
    return end if end <= len(data) else None


def _open_gzip(file: BinaryIO) -> _Streams:
    return _Streams(file, _GzipMember)


def _open_bzip2(file: BinaryIO) -> _Streams:
    return _Streams(file, bz2.BZ2Decompressor)


def _open_xz(file: BinaryIO) -> _Streams:
    return _Streams(file, partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, MOST_XZ_MEMORY_BYTES))


def _open_zstd(file: BinaryIO) -> _Streams:
    return _Streams(file, zstd.ZstdDecompressor)


_OPENERS: Mapping[bytes, Callable[[BinaryIO], _Streams]] = {
    b"\x1f\x8b": _open_gzip,
    b"BZh": _open_bzip2,
    b"\xfd7zXZ": _open_xz,
    b"\x28\xb5\x2f\xfd": _open_zstd,
    # Frames to pass over, with one of which pzstd begins.
    **{bytes([number]) + b"\x2a\x4d\x18": _open_zstd for number in range(0x50, 0x60)},
}
_LONGEST_MAGIC_BYTES = max(map(len, _OPENERS))
MOST_INFLATED_BYTES = 64 * 1024 * 1024  # of a file, and beyond that
MOST_INFLATED_RATIO = 1_100  # times the bytes that were read of it: more than gzip can, and any archive of alerts does

# What reading raises when a file or what it is compressed with breaks off.
UNREADABLE: tuple[type[Exception], ...] = (
    *(EOFError, OSError, zlib.error, lzma.LZMAError, zstd.ZstdError),
    cast(type[Exception], isal_zlib.error),  # its stub does not say that it is an exception
)


@dataclass(slots=True)
class Inflation:
    """What was read of a compressed file, and what that inflated to, in layers within layers together."""

    read_bytes: int = 0
    inflated_bytes: int = 0

    def charge(self, size: int) -> None:
        """Count inflated bytes.

        Raises
        ------
        OSError
            When they are more than any archive of alerts inflates to.
        """
        self.inflated_bytes += size
        if self.inflated_bytes > MOST_INFLATED_BYTES + MOST_INFLATED_RATIO * self.read_bytes:
            raise OSError(
                f"{self.read_bytes} bytes inflate to more than {self.inflated_bytes}, limit {MOST_INFLATED_RATIO} "
                f"times as many and {MOST_INFLATED_BYTES}; if that is right, inflate the file first"
            )


class _Read(io.RawIOBase):
    """A compressed file whose bytes are counted when they are read."""

    def __init__(self, file: io.BufferedReader, inflation: Inflation) -> None:
        self._file, self._inflation = file, inflation

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = self._file.readinto(buffer)
        self._inflation.read_bytes += size
        return size


class _Inflated(io.RawIOBase):
    """Inflated content that is charged when it is read."""

    def __init__(self, content: Any, inflation: Inflation) -> None:
        self._content, self._inflation = content, inflation

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size: int = self._content.readinto(buffer)
        self._inflation.charge(size)
        return size


def uncompressed(file: io.BufferedReader, inflation: Inflation, is_within: bool = False) -> io.BufferedReader:
    """What a file holds: the content of a compressed one, any other itself.

    Parameters
    ----------
    is_within
        That this file lies within one that is compressed itself, whose bytes count already.
    """
    start = file.peek(_LONGEST_MAGIC_BYTES)
    for magic, opener in _OPENERS.items():
        if start.startswith(magic):
            counted = cast(BinaryIO, file if is_within else _Read(file, inflation))
            return io.BufferedReader(_Inflated(opener(counted), inflation))
    return file
