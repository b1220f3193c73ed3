"""Compressed blocks of Avro containers, inflated within a limit: deflate, snappy, zstandard, bzip2 and xz.

The libraries are those that fastavro uses. What a block says of itself allocates nothing: output ends at the limit, and
dictionaries and windows have limits of their own.

References
----------
Apache Avro 1.12 specification, "Required Codecs" and "Optional Codecs".
"""

import bz2
import lzma
import sys
import zlib
from collections.abc import Callable, Mapping
from typing import Any, cast

from cramjam import DecompressionError, snappy
from isal import isal_zlib

from broker_filter.errors import RejectedAlertError, Rejection

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_SNAPPY_CHECKSUM_BYTES = 4
_MOST_STREAMS = 64  # of one block; writers write one
_LONGEST_VARINT_BYTES = 5
_LZMA_MEMORY_BYTES = 80 << 20  # xz -9 needs 65 MiB for its dictionary
_ZSTD_LARGEST_WINDOW_LOG = 26  # 64 MiB, as much as a message may inflate to


class _BreaksOffError(Exception):
    """Compressed data without its end."""


class _TooLargeError(Exception):
    """Data that would inflate beyond the limit."""


def decompress(data: bytes, codec: str, limit_bytes: int) -> bytes:
    """The data of a block without its codec.

    Raises
    ------
    RejectedAlertError
        ``CORRUPT`` when it does not inflate, ``TOO_LARGE`` when it would to more than ``limit_bytes``, ``BAD_SCHEMA``
        for a codec that is not read.
    """
    if codec == "null":
        return data
    inflate = _CODECS.get(codec)
    if inflate is None:
        known = ", ".join(("null", *_CODECS))
        raise RejectedAlertError(Rejection.BAD_SCHEMA, f"container codec {codec[:40]} is not read; {known} are")
    try:
        return inflate(data, limit_bytes)
    except _TooLargeError:
        raise RejectedAlertError(
            Rejection.TOO_LARGE, f"container block inflates beyond the {limit_bytes} bytes that are left to its message"
        ) from None
    except _BreaksOffError:
        raise RejectedAlertError(Rejection.CORRUPT, "container block breaks off while it is inflated") from None
    except _ERRORS as error:
        raise RejectedAlertError(Rejection.CORRUPT, f"container block does not inflate: {error}") from error


def _whole(inflated: bytes, ended: bool, limit_bytes: int) -> bytes:
    if len(inflated) > limit_bytes:
        raise _TooLargeError
    if not ended:
        raise _BreaksOffError
    return inflated


def _deflate(data: bytes, limit_bytes: int) -> bytes:
    inflater = isal_zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(data, limit_bytes + 1)
    return _whole(inflated, inflater.eof, limit_bytes)


def _bzip2(data: bytes, limit_bytes: int) -> bytes:
    return _streams(bz2.BZ2Decompressor, data, limit_bytes)


def _xz(data: bytes, limit_bytes: int) -> bytes:
    return _streams(lambda: lzma.LZMADecompressor(memlimit=_LZMA_MEMORY_BYTES), data, limit_bytes)


def _zstandard(data: bytes, limit_bytes: int) -> bytes:
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _ZSTD_LARGEST_WINDOW_LOG}
    return _streams(lambda: zstd.ZstdDecompressor(options=options), data, limit_bytes)


def _streams(begin: Callable[[], Any], data: bytes, limit_bytes: int) -> bytes:
    """One stream behind the other, as fastavro reads them; a bounded number, for each may be empty."""
    inflated = b""
    for number in range(_MOST_STREAMS):
        inflater = begin()
        try:
            inflated += inflater.decompress(data, limit_bytes + 1 - len(inflated))
        except (OSError, lzma.LZMAError):  # of bzip2 and xz, whose functions pass over what follows a whole stream
            if number == 0:
                raise
            return inflated
        data = inflater.unused_data
        if len(inflated) > limit_bytes or not inflater.eof or not data:
            return _whole(inflated, inflater.eof, limit_bytes)
    raise ValueError(f"more than {_MOST_STREAMS} streams in one block")


def _snappy(data: bytes, limit_bytes: int) -> bytes:
    """Raw snappy says its inflated size first; Avro puts the CRC-32 of the inflated data behind it."""
    if len(data) <= _SNAPPY_CHECKSUM_BYTES:
        raise _BreaksOffError
    if _snappy_size(data) > limit_bytes:
        raise _TooLargeError
    body, checksum = data[:-_SNAPPY_CHECKSUM_BYTES], data[-_SNAPPY_CHECKSUM_BYTES:]
    inflated = bytes(snappy.decompress_raw(body))
    if zlib.crc32(inflated) != int.from_bytes(checksum, "big"):
        raise ValueError("its checksum does not fit")
    return inflated


def _snappy_size(data: bytes) -> int:
    size = 0
    for n, byte in enumerate(data[:_LONGEST_VARINT_BYTES]):
        size |= (byte & 127) << 7 * n
        if byte < 128:
            return size
    raise ValueError("its size is none")


_CODECS: Mapping[str, Callable[[bytes, int], bytes]] = {
    "deflate": _deflate,
    "snappy": _snappy,
    "zstandard": _zstandard,
    "bzip2": _bzip2,
    "xz": _xz,
}
_ERRORS: tuple[type[Exception], ...] = (
    *(zlib.error, lzma.LZMAError, zstd.ZstdError, DecompressionError, OSError, EOFError, ValueError),
    cast(type[Exception], isal_zlib.error),  # its stub does not say that it is an exception
)
