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
    """What a data set is, in a few words that JSON can hold; ``sha256`` stands for the checksums of all its files.

    The version of the program that made it is no part of it: two versions that write the same bytes make the same set.
    """
    files = dataset.manifest["files"]
    listing = "".join(f"{name} {files[name]['sha256']}\n" for name in sorted(files))
    return {
        "survey": dataset.survey,
        "recipe": name_of(dataset),
        "seed": dataset.manifest.get("seed"),
        "objects": len(dataset),
        "sha256": hashlib.sha256(listing.encode()).hexdigest()[:16],
    }


def differences(before: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Facts in which what was made before is not as wanted, "seed 5, not 6"; empty where it is the same."""
    words = []
    for key, value in wanted.items():
        value_before = before.get(key)
        if value_before == value:
            continue
        if isinstance(value_before, Mapping) and isinstance(value, Mapping):
            words.append(f"{key} ({', '.join(differences(value_before, value)) or 'has more'})")
        else:
            shown = f"{key} {value_before!r}, not {value!r}"
            words.append(key if len(shown) > 2 * LONGEST_SHOWN else shown)
    return words
