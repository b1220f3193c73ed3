"""Identity of a data set: what tells it from every other one, and in which of such facts two things differ."""

import hashlib
from collections.abc import Mapping
from typing import Any

from model.data.dataset import Dataset

LONGEST_SHOWN = 40  # characters of a value in a message


def name_of(dataset: Dataset) -> Any:
    """The name of the recipe that made a data set."""
    recipe = dataset.manifest.get("recipe")
    return recipe.get("name") if isinstance(recipe, dict) else recipe


def is_simulated(dataset: Dataset) -> bool:
    """Whether the simulator's own recipe made a data set."""
    recipe = dataset.manifest.get("recipe")
    return isinstance(recipe, dict) and "level" in recipe


def identity_of(dataset: Dataset) -> dict[str, Any]:
    """What a data set is, in a few words that JSON can hold; ``sha256`` stands for the checksums of all its files."""
    files = dataset.manifest["files"]
    listing = "".join(f"{name} {files[name]['sha256']}\n" for name in sorted(files))
    return {
        "survey": dataset.survey,
        "recipe": name_of(dataset),
        "seed": dataset.manifest.get("seed"),
        "version": dataset.manifest.get("version"),
        "objects": len(dataset),
        "sha256": hashlib.sha256(listing.encode()).hexdigest()[:16],
    }


def differences(kept: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """In which facts of ``asked`` something kept is not that: "seed 5, not 6"; empty where it is the same."""
    told = []
    for key, value in asked.items():
        found = kept.get(key)
        if found == value:
            continue
        if isinstance(found, Mapping) and isinstance(value, Mapping):
            told.append(f"{key} ({', '.join(differences(found, value)) or 'has more'})")
        else:
            shown = f"{key} {found!r}, not {value!r}"
            told.append(key if len(shown) > 2 * LONGEST_SHOWN else shown)
    return told
