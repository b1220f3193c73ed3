"""Short hash of everything that decides what the simulator draws: equal hashes, equal pixels and truth.

Docstrings, comments and commands are not part of it: better words leave data sets valid.
"""

import ast
import hashlib
import io
import tokenize
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import resources
from itertools import pairwise
from pathlib import Path

DRAWERS = ("simulation/datasets/draw.py", "simulation/alerts/night.py", "simulation/alerts/alert_files.py")
NOT_OF_THE_SKY = ("recipes", "validation")  # folders: a recipe is told by itself, a check changes nothing
TABLES = (".json", ".npz")
SHORT = 12  # characters


@cache
def simulator_hash() -> str:
    """Hash of every table of the simulator and of every source that an object is drawn with."""
    package = resources.files("model")
    with resources.as_file(package) as folder:
        tables = (
            path
            for path in (folder / "simulation").rglob("*")
            if path.suffix in TABLES and not set(NOT_OF_THE_SKY) & set(path.relative_to(folder).parts)
        )
        return hash_of_files([*tables, *imported_sources(folder, DRAWERS)], folder)


def imported_sources(package: Path, names: Iterable[str]) -> set[Path]:
    """Files of a package that some of its files import, directly or through others; those files themselves too.

    Raises
    ------
    OSError
        When a file cannot be read.
    """
    reached: set[Path] = set()
    waiting = [package / name for name in names]
    while waiting:
        path = waiting.pop()
        if path in reached:
            continue
        reached.add(path)
        waiting += _imports(path, package)
    return reached


def _imports(path: Path, package: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for module in modules:
            first, *rest = module.split(".")
            place = package.joinpath(*rest)
            if first == package.name and rest:
                yield from (file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file())


def hash_of_files(paths: Iterable[Path], folder: Path) -> str:
    """Short hash of names, relative to ``folder``, and contents; of Python files what runs counts.

    Raises
    ------
    OSError
        When a file cannot be read.
    """
    hashed = hashlib.sha256()
    for name, path in sorted((path.relative_to(folder).as_posix(), path) for path in paths):
        content = path.read_bytes()
        if path.suffix == ".py":
            content = without_words(content.decode()).encode()
        hashed.update(f"{name}\0{len(content)}\0".encode())
        hashed.update(content)
    return hashed.hexdigest()[:SHORT]


def without_words(source: str) -> str:
    """Python source without comments, docstrings and blank lines; the same text under every version of Python."""
    lines = source.split("\n")
    spans = []
    begins_statement = True
    for token, after in pairwise(tokenize.generate_tokens(io.StringIO(source).readline)):
        is_comment = token.type == tokenize.COMMENT
        ends_statement = after.type in (tokenize.NEWLINE, tokenize.COMMENT)
        if is_comment or (token.type == tokenize.STRING and begins_statement and ends_statement):
            spans.append((token.start, token.end))
        if token.type not in (tokenize.COMMENT, tokenize.NL):
            begins_statement = token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    for (first, left), (last, right) in reversed(spans):
        lines[first - 1 : last] = [lines[first - 1][:left] + lines[last - 1][right:]]
    return "\n".join(line.rstrip() for line in lines if line.strip())
