"""The look at an LMDB file that nobody closed in order, in a process of its own.

LMDB follows whatever page numbers a file holds. In a file that was cut off or overwritten that ends in a signal, not in
an error, so that whoever wants to live looks from outside: ``walk`` starts this file as a program and reads how it
ended. It imports nothing of ours.
"""

import mmap
import signal
import struct
import subprocess
import sys
from pathlib import Path

import lmdb

WALK_LIMIT_S = 300.0
DAMAGED = 3
_MOST_TABLES = 16
_PAGE_HEAD = struct.Struct("<QHHHH")  # number, -, flags, end of the list of nodes, -
_NODE = struct.Struct("<HHHH")  # size of the value or number of a page in 16 bits each, flags, size of the key
_META = struct.Struct("<IIQQ40xQ40xQQQ")  # -, -, -, -, roots of free pages and of tables, last page, transaction
_NUMBER, _TABLE_ROOT = struct.Struct("<Q"), struct.Struct("<40xQ")
_NO_PAGE = 2**64 - 1
_BRANCH, _OVERFLOW_VALUE, _TABLE = 1, 1, 2  # flags of pages; of nodes


def walk(folder: Path) -> str | None:
    """What is wrong with the trees of the file in ``folder``; None when every table can be read and written."""
    command = [sys.executable, "-P", str(Path(__file__)), str(folder)]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=WALK_LIMIT_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return f"its tables cannot be read through in {WALK_LIMIT_S:.0f} s"
    if ended.returncode == 0:
        return None
    if ended.returncode < 0:
        return f"reading it ends in {signal.Signals(-ended.returncode).name}: pages are missing or overwritten"
    return ended.stdout.strip() or ended.stderr.strip()[-200:]


def _read_through(folder: str) -> None:
    with lmdb.open(folder, readonly=True, lock=False, max_dbs=_MOST_TABLES, create=False) as env:
        names = []
        with env.begin(buffers=False) as txn, txn.cursor() as cursor:
            names = [bytes(name) for name in cursor.iternext(keys=True, values=False)]
        for name in names:
            table = env.open_db(name, create=False)
            with env.begin(buffers=True) as reading, reading.cursor(db=table) as cursor:
                expected, count, before = reading.stat(table)["entries"], 0, b""
                for name_of_row, row in cursor:
                    count, key = count + 1, bytes(name_of_row)
                    bytes(row[-1:])  # a length that was overwritten may lead beyond the file
                    if key <= before or count > expected:
                        raise lmdb.CorruptedError(f"table {name!r}: key {count} of {expected} is out of order")
                    before = key
                if count != expected:
                    raise lmdb.CorruptedError(f"table {name!r}: {count} rows, {expected} expected")


class _Pages:
    """The pages of a file as LMDB lays them out (its ``mdb.c``): where every page of a tree says its own number."""

    def __init__(self, file: mmap.mmap, size: int) -> None:
        self._file, self._size = file, size

    def check(self) -> None:
        """Follow the newest meta page's trees; raises lmdb.CorruptedError."""
        metas = [_META.unpack_from(self._file, page * self._size + _PAGE_HEAD.size) for page in (0, 1)]
        *_, free_root, main_root, _, _ = max(metas, key=lambda meta: int(meta[-1]))
        roots = [free_root, main_root]
        while roots:
            root = roots.pop()
            if root != _NO_PAGE:
                roots += self._tree(root)

    def _tree(self, root: int) -> list[int]:
        """Check all pages of a tree; the roots of the trees within it."""
        inner, waiting = list[int](), [root]
        while waiting:
            start, number = self._start(waiting[-1]), waiting.pop()
            _, _, flags, lower, _ = _PAGE_HEAD.unpack_from(self._file, start)
            for at in struct.unpack_from(
                f"<{max(lower - _PAGE_HEAD.size, 0) // 2}H", self._file, start + _PAGE_HEAD.size
            ):
                low, high, node_flags, key_bytes = _NODE.unpack_from(self._file, start + at)
                value = start + at + _NODE.size + key_bytes
                if flags & _BRANCH:
                    waiting.append(low | high << 16 | node_flags << 32)
                elif node_flags & _OVERFLOW_VALUE:
                    self._start(*_NUMBER.unpack_from(self._file, value))
                elif node_flags & _TABLE:
                    inner.append(_TABLE_ROOT.unpack_from(self._file, value)[0])
                if len(waiting) > len(self._file) // self._size:
                    raise lmdb.CorruptedError(f"page {number} leads in a circle")
        return inner

    def _start(self, number: int) -> int:
        """Where a page begins."""
        start = number * self._size
        if start + self._size > len(self._file):
            raise lmdb.CorruptedError(f"page {number} lies beyond the file's end")
        if _PAGE_HEAD.unpack_from(self._file, start)[0] != number:
            raise lmdb.CorruptedError(f"page {number} has another number")
        return start


def _check_pages(folder: str) -> None:
    """LMDB believes the numbers of pages when it writes, and ends the process where they are wrong."""
    with lmdb.open(folder, readonly=True, lock=False, max_dbs=_MOST_TABLES, create=False) as env:
        size = env.stat()["psize"]
    with (Path(folder) / "data.mdb").open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as content:
        try:
            _Pages(content, size).check()
        except struct.error as error:
            raise lmdb.CorruptedError(f"a page leads beyond the file's end: {error}") from error


def _try_to_write(folder: str) -> None:
    """Touch the list of free pages too, and leave everything as it was."""
    with lmdb.open(folder, lock=False, max_dbs=_MOST_TABLES, create=False, map_size=1 << 40) as env:
        txn = env.begin(write=True)
        try:
            txn.put(b"trial", bytes(9000))
        finally:
            txn.abort()


def main(folder: str) -> int:
    """Print what is wrong; the exit status is 0 for nothing."""
    try:
        _check_pages(folder)
        _read_through(folder)
        _try_to_write(folder)
    except lmdb.Error as error:
        print(f"{type(error).__name__}: {error}")
        return DAMAGED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
