"""Compressed files as the content that they hold, recognised by their first bytes."""

import bz2
import io
import lzma
import sys
import zlib
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, cast

from isal import igzip, isal_zlib

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_OPENERS: Mapping[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": igzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
    b"\x28\xb5\x2f\xfd": zstd.open,
}
_LONGEST_MAGIC_BYTES = max(map(len, _OPENERS))

# What reading raises when a file or what it is compressed with breaks off.
UNREADABLE: tuple[type[Exception], ...] = (
    *(EOFError, OSError, zlib.error, lzma.LZMAError, zstd.ZstdError),
    OverflowError,  # of isal, for a gzip header as long as its buffer
    cast(type[Exception], isal_zlib.error),  # its stub does not say that it is an exception
)


def uncompressed(file: io.BufferedReader) -> io.BufferedReader:
    """What a file holds: the content of a compressed one, any other itself."""
    start = file.peek(_LONGEST_MAGIC_BYTES)
    for magic, opener in _OPENERS.items():
        if start.startswith(magic):
            return io.BufferedReader(cast(io.RawIOBase, opener(cast(BinaryIO, file))))
    return file
