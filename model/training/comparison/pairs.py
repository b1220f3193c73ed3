"""Pairs of systems that are worth a test, and those that the published table names. It sees no score."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from model.training.comparison.baselines import BASELINES
from model.training.learning.recipe import Ict, Recipe, like_of, load_recipe, recipe_of
from model.training.training_options import recipe_names

PLANNED = (  # at every size, in every number of stages
    ("ict-convention", "convention"),
    ("ict-convention", "convention-sampled"),  # its authors' last version
    ("vigil", "ict-convention"),
    ("vigil", "convention"),
    ("vigil", "photometry-trees"),
    ("vigil", "prefix-trees"),
)
PUBLISHED = {  # macro-F1 in the published table
    "ict-convention": 0.7533,
    "convention": 0.7062,
    "cnn-gru": 0.6322,
    "cnn-lstm": 0.6065,
    "supernnova-bayesian": 0.5540,
    "sits-bert": 0.5160,
    "scone": 0.5043,
    "supernnova": 0.4260,
    "lstm": 0.4033,
}
LAST_VERSION = {"convention-sampled": "convention"}  # stands for its name before others do
# At its divergence's full weight it learns nothing; what its ``-mini`` learns stands for the published system.
LEARNS_NOTHING = ("supernnova-bayesian-two-stage",)
ENDING = re.compile(r"(-two-stage)?(-mini|-reduced)?$")
PRETRAINED = re.compile(r"-pretrained.*")


def stem(system: str) -> str:
    """The name of a system without its number of stages and its size."""
    return ENDING.sub("", system)


def ending(system: str) -> str:
    """The number of stages and the size in a system's name: what is reduced has two stages at its own width."""
    return system[len(stem(system)) :].replace("-reduced", "-two-stage")


def published(systems: Iterable[str]) -> dict[str, str]:
    """Name in the published table -> the system that stands for it.

    Of several that learn anything the one as its authors last trained it, then the one with the plainest name.
    """
    system_of: dict[str, str] = {}
    for system in sorted(systems, key=lambda system: (stem(system) not in LAST_VERSION, len(system))):
        name = PRETRAINED.sub("", stem(system))
        name = LAST_VERSION.get(name, name)
        if name in PUBLISHED and system not in LEARNS_NOTHING:
            system_of.setdefault(name, system)
    return system_of


def recipe_of_run(entry: Mapping[str, Any]) -> Recipe | None:
    """The recipe that a run tells, else the package's of that name; None for what has none, and where it is unknown.

    Raises
    ------
    RecipeError
        When the run tells one that this version does not know.
    """
    if "recipe" in entry:
        return recipe_of(entry["recipe"], f"the recipe of {entry['system']}")
    return load_recipe(entry["system"]) if entry["system"] in recipe_names() else None


def pairs_of(recipes: Mapping[str, Recipe | None]) -> list[tuple[str, str]]:
    """What to compare: the pairs that were planned, and every recipe with the one that it changes in one thing.

    These are a recipe of a second branch with the same without it, and a recipe with the one that its file says it is
    like, where both show the same network the same form of the data. The second of a pair is the control.
    """
    planned = [
        (first, second)
        for one, other in PLANNED
        for first in recipes
        for second in recipes
        if stem(first) == one
        and (second == other if other in BASELINES else (stem(second), ending(second)) == (other, ending(first)))
    ]
    branches = [
        (first, second)
        for first, changed in recipes.items()
        for second, control in recipes.items()
        if changed is not None and control is not None and adds_branch(changed, control)
    ]
    changes = [
        (name, like)
        for name, changed in recipes.items()
        if name in recipe_names() and changed is not None and (like := like_of(name)) is not None
        if (control := recipes.get(like)) is not None and alike(changed, control)
    ]
    return list(dict.fromkeys(planned + branches + changes))


def adds_branch(changed: Recipe, control: Recipe) -> bool:
    """Whether two recipes differ in the second branch, which the control lacks, and in nothing else."""
    bare, same = (replace(recipe, name="", note="", ict=Ict()) for recipe in (changed, control))
    return changed.ict.pull != "none" and control.ict.pull == "none" and bare == same


def alike(one: Recipe, other: Recipe) -> bool:
    """Whether both show the same kind of network the same form of the data."""
    return one.network["network"] == other.network["network"] and one.form == other.form
