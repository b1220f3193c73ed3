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
from broker_filter.archive.left_out import LeftOut, LeftOutCounts
from broker_filter.archive.names import as_text, looks_like_alerts
from broker_filter.errors import ConfigurationError
from broker_filter.records import Message, Rejected

READ_AHEAD_BYTES = 16 << 20  # of a remote file


class Folder:
    """A folder by its path or URL; it can be pickled.

    Raises
    ------
    ConfigurationError
        When the URL's protocol is unknown or its library is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ConfigurationError(f"{url} cannot be used: {error}") from error

    def __str__(self) -> str:
        return self.url

    def __reduce__(self) -> tuple[Any, ...]:
        return Folder, (self.url,)

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
    def reading(self, name: str) -> Iterator[BinaryIO]:
        with self._fs.open(self.path(name), "rb") as file:
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
    folder = Folder(path)
    fs, root = folder.filesystem, folder.path("").rstrip("/")
    if not fs.exists(root):
        raise ConfigurationError(f"{as_text(path)} does not exist")
    if isinstance(fs, LocalFileSystem):
        for found in read.files_at(Path(root), left_out):
            yield found if isinstance(found, Rejected) else (str(found), found.stat().st_size)
        return
    if not fs.isdir(root):
        yield path, int(fs.size(root))
        return
    for name, about in sorted(fs.find(root, detail=True).items()):
        url = fs.unstrip_protocol(name)
        if looks_like_alerts(posixpath.basename(name)):
            yield url, int(about["size"])
        else:
            left_out.add(LeftOut.OTHER_NAME, as_text(url))


def read_url(path: str, left_out: LeftOutCounts) -> Iterator[Message | Rejected]:
    """The messages of a file by its path or URL; raises nothing that :func:`broker_filter.archive.read` does not."""
    fs, root = fsspec.core.url_to_fs(path)
    if isinstance(fs, LocalFileSystem):
        yield from read.read_messages([Path(root)], left_out)
    else:
        yield from read.read_file(partial(_buffered, fs, root), path, left_out)


@contextmanager
def _buffered(fs: Any, path: str) -> Iterator[io.BufferedReader]:
    with fs.open(path, "rb", block_size=READ_AHEAD_BYTES) as file:
        yield io.BufferedReader(file, READ_AHEAD_BYTES)
