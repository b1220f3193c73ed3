"""One data set out of several of the same form, object by object; each part keeps its splits and its labels.

So a set grows without being drawn again: more objects of the same laws under another seed, joined to what is there.
"""

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from model.data.checked import SIMULATOR, open_checked
from model.data.dataset import Dataset, DatasetContents, DatasetError, DatasetWriter
from model.data.format import TRUTH

FORM = ("survey", "channels", "size_px", "classes")  # of the manifest: in these parts must be alike
OF_SERIES = ("object_id", "label", "split")  # what a truth repeats
LAWS = ("level", "frames_at_most")  # of the recipe: what is taken over where all parts say the same


def join(folders: Sequence[Path], out: Path, *, any_simulator: bool = False) -> Dataset:
    """Write the objects of some data sets, part after part, numbered anew; truth says of which seed each was drawn.

    Parameters
    ----------
    folders
        Two or more; every byte of them is checked first.
    any_simulator
        Take parts of different simulators, too: for those whose laws are known to be the same.

    Raises
    ------
    DatasetError
        When a part is damaged, of another form or simulator than the first, or shares an object with another; when
        ``out`` cannot be written.
    """
    parts = [open_checked(folder) for folder in folders]
    _check_alike(parts, FORM if any_simulator else (*FORM, SIMULATOR))
    _check_apart(parts)
    first = parts[0].manifest
    contents = DatasetContents(
        first["survey"],
        first["channels"],
        first["size_px"],
        first["classes"],
        _recipe_of(parts),
        first.get("seed", 0),
        version("ictc"),
        with_history=parts[0].has_history,
        simulator=first.get(SIMULATOR) if len({part.manifest.get(SIMULATOR) for part in parts}) == 1 else None,
    )
    with DatasetWriter(out, contents) as writer:
        held, number = len(writer), 0
        for part in parts:
            truths, split_of_row = part.truth().to_pylist(), _splits_by_row(part)
            for row, (truth, split) in enumerate(zip(truths, split_of_row, strict=True)):
                if number >= held:
                    _append(writer, part, row, number, split, truth)
                number += 1
    return Dataset.open(out)


def _splits_by_row(part: Dataset) -> list[str]:
    return [split for _, split in sorted((row, split) for split, rows in part.splits.items() for row in rows)]


def _append(writer: DatasetWriter, part: Dataset, row: int, number: int, split: str, truth: dict[str, Any]) -> None:
    label = part.classes[part.labels[row]]
    facts = {name: value for name, value in truth.items() if name not in OF_SERIES and value is not None}
    fold = None if part.folds is None or part.folds[row] < 0 else int(part.folds[row])
    history = part.history(row) if part.has_history else None
    seed = part.manifest.get("seed")
    writer.append(number, label, split, fold, part.series(row), facts | {"drawn_seed": seed}, history)


def _check_alike(parts: Sequence[Dataset], keys: Sequence[str]) -> None:
    if len(parts) < 2:
        raise DatasetError("one data set alone cannot be joined: give two or more")
    first, seen = parts[0], set()
    for part in parts:
        for key in keys:
            if part.manifest.get(key) != first.manifest.get(key):
                raise DatasetError(
                    f"{part.folder} has {key} {part.manifest.get(key)!r}, {first.folder} has "
                    f"{first.manifest.get(key)!r}: only those of one form and simulator are joined (--any-simulator)"
                )
        if part.has_history != first.has_history:
            raise DatasetError(f"of {first.folder} and {part.folder} one alone tells what packets hold beside frames")
        if TRUTH not in part.manifest["files"]:
            raise DatasetError(f"{part.folder} has no {TRUTH}: only data sets that tell of their objects are joined")
        objects = part.manifest["files"][TRUTH]["sha256"]
        if objects in seen:
            raise DatasetError(f"{part.folder} holds objects that are there already: draw it with another --seed")
        seen.add(objects)


def _check_apart(parts: Sequence[Dataset]) -> None:
    """Refuse an object that two parts hold, by whatever number and in whatever split."""
    where: dict[bytes, tuple[Dataset, int]] = {}
    for part in parts:
        of_part = {_digest(part, row): (part, row) for row in range(len(part))}
        if shared := [one for one in of_part if one in where]:
            (other, there), (_, here) = where[shared[0]], of_part[shared[0]]
            raise DatasetError(
                f"{part.folder} holds as object {part.object_ids[here]} what {other.folder} holds as object "
                f"{other.object_ids[there]}, {len(shared)} objects in all: draw it with another --seed"
            )
        where |= of_part


def _digest(part: Dataset, row: int) -> bytes:
    """A hash of an object's pixels and times."""
    series = part.series(row)
    digest = hashlib.blake2b(series.pixels_TCHW.data, digest_size=16)
    digest.update(series.time_T.data)
    return digest.digest()


def _recipe_of(parts: Sequence[Dataset]) -> dict[str, Any]:
    """What the parts' recipes say alike, and of which parts it is."""
    recipes = [part.manifest["recipe"] if isinstance(part.manifest.get("recipe"), dict) else {} for part in parts]
    names = [str(recipe.get("name")) for recipe in recipes]
    alike = {key: recipes[0][key] for key in LAWS if all(r.get(key) == recipes[0].get(key) for r in recipes)
             and key in recipes[0]}  # fmt: skip
    joined = [
        {"recipe": name, "objects": len(part), **{key: part.manifest.get(key) for key in ("seed", SIMULATOR)}}
        for name, part in zip(names, parts, strict=True)
    ]
    return {"name": " and ".join(names), **alike, "joined": joined}
