"""A folder that every machine of the cluster reaches: a path, or a URL of an object store (s3, gs, abfs ...).

Files appear whole or not at all: they are written under another name and renamed, so that a name that is there is a
piece of work that is done.
"""

import io
import posixpath
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
from fsspec.implementations.local import LocalFileSystem

from broker_filter.archive import read
from broker_filter.archive.file_names import as_text, looks_like_alerts
from broker_filter.archive.left_out import LeftOut, LeftOutCounts
from broker_filter.errors import ConfigurationError, RetryableError
from broker_filter.records import Message, Rejected

READ_AHEAD_BYTES = 16 << 20  # of a remote file
UNKNOWN_BYTES = 64 << 20  # taken for a file whose server does not say


class SharedFolder:
    """A folder by its path or URL; it can be pickled.

    Raises
    ------
    ConfigurationError
        When the URL's protocol is unknown or its library is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise ConfigurationError(f"{as_text(url)} cannot be used: {error}") from error

    def __str__(self) -> str:
        return self.url

    def __reduce__(self) -> tuple[Any, ...]:
        return SharedFolder, (self.url,)

    @property
    def filesystem(self) -> Any:
        """For libraries that take a path and a file system of fsspec."""
        return self._fs

    def path(self, name: str) -> str:
        """The path of a file within its file system."""
        return posixpath.join(self._root, name)

    def exists(self, name: str) -> bool:
        """Whether the file is there, and so whole."""
        return bool(self._fs.exists(self.path(name)))

    def size_bytes(self, name: str) -> int:
        return int(self._fs.size(self.path(name)))

    def read_text(self, name: str) -> str:
        with self.reading(name) as file:
            return file.read().decode()

    def write_text(self, name: str, text: str) -> None:
        with self.writing(name) as file:
            file.write(text.encode())

    @contextmanager
    def reading(self, name: str, ahead_bytes: int = READ_AHEAD_BYTES) -> Iterator[BinaryIO]:
        """A file to be read; an object store is asked for ``ahead_bytes`` more than is wanted."""
        with self._fs.open(self.path(name), "rb", block_size=ahead_bytes) as file:
            yield file

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        """A file that gets its name when all of it is written; two writers of one name do not meet."""
        path = self.path(name)
        partial = f"{path}.{uuid.uuid4().hex}.partial"
        self._fs.makedirs(posixpath.dirname(path), exist_ok=True)
        try:
            with self._fs.open(partial, "wb") as file:
                yield file
            self._fs.mv(partial, path)
        finally:
            if self._fs.exists(partial):
                self._fs.rm(partial)

    def remove(self) -> None:
        """Delete the folder and all in it."""
        if self._fs.exists(self._root):
            self._fs.rm(self._root, recursive=True)


def files_at(path: str, left_out: LeftOutCounts) -> Iterator[tuple[str, int] | Rejected]:
    """(path or URL, bytes) of a file, or of the files of alerts below a folder in the order of names.

    Raises
    ------
    ConfigurationError
        When nothing is there, or its protocol cannot be used.
    """
    folder = SharedFolder(path)
    fs, root = folder.filesystem, folder.path("").rstrip("/")
    if not fs.exists(root):
        raise ConfigurationError(f"{as_text(path)} does not exist")
    if isinstance(fs, LocalFileSystem):
        for entry in read.files_at(Path(root), left_out):
            yield entry if isinstance(entry, Rejected) else (str(entry), entry.stat().st_size)
        return
    if _is_file(fs, root):
        yield path, fs.size(root) or UNKNOWN_BYTES
        return
    sizes = {name: about["size"] for name, about in sorted(fs.find(root, detail=True).items())}
    alerts = [name for name in sizes if looks_like_alerts(posixpath.basename(name))]
    if bare := [name for name in alerts if sizes[name] is None]:  # listings of web servers do not say
        sizes.update(zip(bare, fs.sizes(bare), strict=True))
    for name, size_bytes in sizes.items():
        url = fs.unstrip_protocol(name)
        if looks_like_alerts(posixpath.basename(name)):
            yield url, size_bytes or UNKNOWN_BYTES
        else:
            left_out.add(LeftOut.OTHER_NAME, as_text(url))


def _is_file(fs: Any, path: str) -> bool:
    """Whether there is one file; a web server is not asked for all of a tar to see that it is no folder."""
    if looks_like_alerts(posixpath.basename(path)) and fs.info(path)["type"] == "file":
        return True
    return not fs.isdir(path)


def read_url(path: str, left_out: LeftOutCounts) -> Iterator[Message | Rejected]:
    """The messages of a file by its path or URL; raises nothing that :func:`broker_filter.archive.read` does not.

    Raises
    ------
    RetryableError
        When a remote file stops in the middle: its rest is not lost, but to be read again.
    """
    folder = SharedFolder(path)
    fs, root = folder.filesystem, folder.path("").rstrip("/")
    if isinstance(fs, LocalFileSystem):
        yield from read.read_messages([Path(root)], left_out)
    else:
        yield from read.read_file(partial(_buffered, fs, root, path), path, left_out)


@contextmanager
def _buffered(fs: Any, path: str, url: str) -> Iterator[io.BufferedReader]:
    with _retryable(url):
        opened = fs.open(path, "rb", block_size=READ_AHEAD_BYTES)
    with opened as file:
        yield io.BufferedReader(_RemoteFile(file, url), READ_AHEAD_BYTES)


class _RemoteFile(io.RawIOBase):
    """A remote file whose failures are no end of it."""

    def __init__(self, file: BinaryIO, url: str) -> None:
        self._file, self._url = file, url

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _retryable(self._url):
            content = self._file.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)


@contextmanager
def _retryable(url: str) -> Iterator[None]:
    """What goes wrong on the way to a file is to be tried again, unless the answer is that it cannot be had."""
    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:
        raise RetryableError(f"{as_text(url)} cannot be read: {type(error).__name__}: {error}") from error
