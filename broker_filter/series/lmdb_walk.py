"""The look at an LMDB file that nobody closed in order, in a process of its own.

LMDB follows whatever page numbers a file holds. In a file that was cut off or overwritten that ends in a signal, not in
an error, so that whoever wants to live looks from outside: ``walk`` starts this file as a program and reads how it
ended. It imports nothing of ours.
"""

import signal
import subprocess
import sys
from pathlib import Path

import lmdb

WALK_LIMIT_S = 300.0
DAMAGED = 3
_MOST_TABLES = 16


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
            with env.begin(buffers=False) as txn, txn.cursor(db=table) as cursor:
                expected, count, before = txn.stat(table)["entries"], 0, b""
                for key in cursor.iternext(keys=True, values=False):
                    count += 1
                    if key <= before or count > expected:
                        raise lmdb.CorruptedError(f"table {name!r}: key {count} of {expected} is out of order")
                    before = key
                if count != expected:
                    raise lmdb.CorruptedError(f"table {name!r}: {count} rows, {expected} expected")


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
        _read_through(folder)
        _try_to_write(folder)
    except lmdb.Error as error:
        print(f"{type(error).__name__}: {error}")
        return DAMAGED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
