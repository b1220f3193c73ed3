"""The simulator's own files in, one short hash out: two runs with equal hashes draw the same sky. Draws nothing."""

import hashlib
from collections.abc import Iterable
from functools import cache
from importlib import resources
from pathlib import Path

OUTSIDE = (
    "clock.py",
    "series.py",
    "past_photometry.py",
    "data/format.py",
)  # of the package above: what decides the bytes too
NOT_OF_THE_SKY = ("recipes", "validation")  # folders: a recipe is told by itself, a check changes nothing
SUFFIXES = (".py", ".json", ".npz")
SHORT = 12  # characters


@cache
def simulator_hash() -> str:
    """Hash of every source and table that an object is drawn with."""
    package = resources.files("model")
    with resources.as_file(package) as folder:
        inside = (
            path
            for path in (folder / "simulation").rglob("*")
            if path.suffix in SUFFIXES and not set(NOT_OF_THE_SKY) & set(path.relative_to(folder).parts)
        )
        return hash_of_files([*inside, *(folder / name for name in OUTSIDE)], folder)


def hash_of_files(paths: Iterable[Path], folder: Path) -> str:
    """Short hash of names, relative to ``folder``, and contents.

    Raises
    ------
    OSError
        When a file cannot be read.
    """
    hashed = hashlib.sha256()
    for name, path in sorted((path.relative_to(folder).as_posix(), path) for path in paths):
        content = path.read_bytes()
        hashed.update(f"{name}\0{len(content)}\0".encode())
        hashed.update(content)
    return hashed.hexdigest()[:SHORT]
