"""``ictc-compare``: every system trained and scored on one data set, and their table.

Each (system, fold, seed) is a file of its own, written when it is done: what exists is not done again, an interrupted
training goes on from its checkpoint, and several of these commands may share one folder.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from model.commands import command
from model.data.checked import open_checked
from model.data.dataset import Dataset, DatasetError
from model.json_text import parse_json
from model.networks.layers.fused import CompilerMissingError
from model.networks.registry import NetworkError
from model.serving.predictor import DeviceUnavailableError
from model.training.comparison.baselines import BASELINES
from model.training.comparison.run import SystemRun, carry_out
from model.training.comparison.system_table import NoRunsError, RunError, write_tables
from model.training.data.dataset_identity import differences, identity_of
from model.training.data.splits import SplitsError, divide, refuse_absent_classes
from model.training.learning.checkpoint import CheckpointError
from model.training.learning.distributed import DistributedError
from model.training.learning.recipe import Recipe, RecipeError, load_recipe, recipe_of
from model.training.setup import engine_of, rows_of
from model.training.training_options import compare_parser, recipe_names

SYSTEMS = (
    *BASELINES,
    "host-only-mini",
    "mean-stack-mini",
    "lstm",
    "supernnova",
    "supernnova-bayesian-mini",
    "scone",
    "sits-bert",
    "cnn-lstm-mini",
    "cnn-gru-mini",
    "convention-mini",
    "ict-convention-mini",
    "vigil-mini",
)


def systems_of(names: Sequence[str]) -> dict[str, Recipe | None]:
    """Systems by the name that their runs get: baselines without a recipe, recipes by name, or by their files' names.

    Raises
    ------
    RecipeError
        When there is no such recipe, or one that tells its network no class, or two systems would share a name.
    """
    systems: dict[str, Recipe | None] = {}
    taken = {**dict.fromkeys((*BASELINES, *recipe_names()), "one that the package has")}
    for name in dict.fromkeys(names):
        recipe = None if name in BASELINES else load_recipe(name)
        if recipe is not None and recipe.stages[-1].without_labels:
            raise RecipeError(
                f"recipe {name} ends with loss 'none', which tells its network no class, and its answers would be "
                "guesses: compare one that goes on with labels"
            )
        shared = name if recipe is None else recipe.name
        if shared != name and shared in taken:
            raise RecipeError(f"{name} would share its runs' name {shared!r} with {taken[shared]}: rename the file")
        taken[shared] = name
        systems[shared] = recipe
    return systems


def check_runs(out: Path, identity: Mapping[str, Any], systems: Mapping[str, Recipe | None]) -> None:
    """Refuse a folder that holds runs on another data set, or of two recipes of the same name.

    What old runs do not tell of their data set and of their recipe is not compared.

    Raises
    ------
    RunError
        Naming the run, and what differs.
    """
    recipes = {name: recipe for name, recipe in systems.items() if recipe is not None}
    for path in sorted((out / "runs").glob("*.json")):
        try:
            entry = parse_json(path.read_bytes())
        except ValueError as error:
            raise RunError(f"{path} is not JSON: {error}; remove it to do that run again") from error
        if not isinstance(entry, dict) or not isinstance(entry.get("data"), dict):
            raise RunError(f"{path} says nothing of its data set: remove it to do that run again")
        known = {fact: value for fact, value in identity.items() if fact in entry["data"]}
        if differing := differences(entry["data"], known):
            raise RunError(
                f"{path} is of another data set, with {', '.join(differing)}: choose another --out for this one"
            )
        if "recipe" not in entry:
            continue
        followed = recipe_of(entry["recipe"], f"the recipe in {path}")
        wanted = recipes.setdefault(entry.get("system", ""), followed)
        if differing := differences(followed.as_json(), replace(wanted, note=followed.note).as_json()):
            raise RunError(
                f"{path} is of another recipe of that name, with {', '.join(differing)}: rename the one that is "
                "new, choose another --out, or remove the run to do it again"
            )


def check_splits(dataset: Dataset, fold: int | None, seed: int, systems: Mapping[str, Recipe | None]) -> None:
    """Refuse before the first training what the last one would need and the data set lacks.

    Raises
    ------
    SplitsError
        When there is no such fold, or no rows of a part that a recipe trains on, or some class has none to train or
        to validate on.
    """
    splits = divide(dataset, fold, seed)
    refuse_absent_classes(dataset, splits)
    for recipe in systems.values():
        if recipe is not None:
            rows_of(recipe, splits)


@command(
    "ictc-compare",
    RunError,
    RecipeError,
    SplitsError,
    DatasetError,
    CheckpointError,
    CompilerMissingError,
    DistributedError,
    DeviceUnavailableError,
    NetworkError,
    NoRunsError,
    interrupted="interrupted: the same command goes on from here",
)
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = compare_parser().parse_args(argv)
    engine = engine_of(options)
    dataset = open_checked(options.data)
    identity = identity_of(dataset)
    folds = options.folds or [None]
    systems = systems_of(options.systems.split(",") if options.systems else SYSTEMS)
    check_runs(options.out, identity, systems)
    if not options.tables_only:
        for number in options.seeds:
            for fold in folds:
                check_splits(dataset, fold, number, systems)
        for number in options.seeds:
            for fold in folds:
                for system, recipe in systems.items():
                    carry_out(SystemRun(system, fold, number), recipe, dataset, engine, options.out)
        check_runs(options.out, identity, systems)  # others may share the folder
    write_tables(options.out, dataset.classes)
    print((options.out / "table.md").read_text("utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
