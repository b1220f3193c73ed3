"""Parts of a training from a recipe and a data set: network, loaders, engine, model card. Trains nothing."""

import argparse
import hashlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model.data.dataset import Dataset
from model.networks import registry
from model.networks.grouped import GroupedNetwork
from model.serving.card import ModelCard
from model.serving.predictor import resolve_device
from model.taxonomy import load_taxonomy
from model.training.data.dataset_facts import DatasetFacts
from model.training.data.dataset_identity import identity_of
from model.training.data.loader import Loader, loader_for
from model.training.data.splits import Splits, SplitsError
from model.training.learning.execution import ExecutionSettings
from model.training.learning.recipe import Recipe, RecipeError
from model.training.source_commit import commit


def engine_of(options: argparse.Namespace) -> ExecutionSettings:
    """The engine that these options ask for.

    Raises
    ------
    DeviceUnavailableError
        When this machine lacks the device.
    """
    return ExecutionSettings.of(resolve_device(options.device), options.precision, options.compile)


def make_network(recipe: Recipe, facts: DatasetFacts, seed: int) -> GroupedNetwork:
    """Build the recipe's network for this data; what the recipe says goes before what the data say.

    Raises
    ------
    RecipeError
        When the data have other classes than the recipe tells or lists weights of, or stamps that the network cannot
        read, or views are to have frames of their own where none are chosen, or nothing differs between two views that
        are to be pulled together without labels.
    NetworkError
        When there is no such network, or not with these settings.
    """
    for i, stage in enumerate(recipe.stages):
        if stage.listed_weights is not None and len(stage.listed_weights) != facts.class_count:
            raise RecipeError(
                f"stages[{i}].listed_weights has {len(stage.listed_weights)} entries: the data set has "
                f"{facts.class_count} classes, and each needs one"
            )
    settings = dict(recipe.network)
    name = settings.pop("network", "")
    if (told := settings.get("class_count", facts.class_count)) != facts.class_count:
        raise RecipeError(
            f"network.class_count is {told!r}: the data set has {facts.class_count} classes; leave the setting out"
        )
    torch.manual_seed(seed)
    network = registry.build({"network": name} | registry.accepted(name, facts.settings()) | settings)
    try:
        network.check_stamps(facts.channels, facts.size)
    except ValueError as error:
        raise RecipeError(f"recipe {recipe.name} is not for this data set: {error}") from error
    if recipe.ict.pull != "none" and recipe.ict.own_frames and not recipe.augmentation.changes_epochs:
        raise RecipeError(
            f"recipe {recipe.name} has ict.own_frames true, and nothing chooses or changes frames: set "
            "augmentation.draw_runs or drop_frames, or ict.own_frames to false"
        )
    if any(stage.without_labels for stage in recipe.stages) and not _views_differ(recipe, network):
        raise RecipeError(
            f"recipe {recipe.name} has two views pulled together without labels, and {name} would read the same in "
            "both: turn the stamps that it reads (augmentation.dihedral, rotation_deg), or draw frames for each view "
            "(ict.own_frames with augmentation.draw_runs or drop_frames)"
        )
    return network


def _views_differ(recipe: Recipe, network: GroupedNetwork) -> bool:
    """Whether two views of an object are anything but one."""
    how = recipe.augmentation
    return (network.reads_stamps and how.turns_stamps) or (recipe.ict.own_frames and how.changes_epochs)


def rows_of(recipe: Recipe, splits: Splits) -> dict[str, NDArray[np.int64]]:
    """By part, the rows that a stage of the recipe learns from.

    Raises
    ------
    SplitsError
        When a stage wants a part that the data set lacks.
    """
    rows = {stage.part: getattr(splits, stage.part) for stage in recipe.stages}
    for part, of_part in rows.items():
        if len(of_part) == 0:
            raise SplitsError(f"recipe {recipe.name} has a stage on part {part!r}, which this data set lacks")
    return rows


def learned_objects(recipe: Recipe, splits: Splits) -> int:
    """How many objects the recipe learns from."""
    return len(np.unique(np.concatenate(list(rows_of(recipe, splits).values()))))


def make_loaders(
    dataset: Dataset, splits: Splits, recipe: Recipe, network: GroupedNetwork, device: torch.device
) -> dict[str, Loader]:
    """Loaders for what the recipe trains on, and for validation.

    Raises
    ------
    SplitsError
        When a stage wants a part that the data set lacks.
    DatasetError
        When the recipe has physics learnt of which the data set does not tell.
    """
    physics = recipe.physics_weight > 0
    learned = {
        part: loader_for(network, dataset, rows, device, recipe.form, physics)
        for part, rows in rows_of(recipe, splits).items()
    }
    return {"validation": loader_for(network, dataset, splits.validation, device, recipe.form), **learned}


def make_card(
    dataset: Dataset, facts: DatasetFacts, network: GroupedNetwork, provenance: dict[str, Any], form: str = "series"
) -> ModelCard:
    """A card for weights that were trained just now, not yet calibrated."""
    codes, groups = _codes_and_groups(dataset)
    return ModelCard(
        name=network.name,
        version="",
        survey=dataset.survey,
        classes=dataset.classes,
        taxonomy_version=taxonomy_version_of(dataset),
        channels=dataset.channels,
        size_px=dataset.size_px,
        bands=facts.bands,
        frame_limit=network.frame_limit,
        group_size=network.group_size,
        trained=True,
        network=registry.describe(network),
        form=form,
        provenance=provenance,
        codes=codes,
        groups=groups,
    )


def _codes_and_groups(dataset: Dataset) -> tuple[dict[str, int], dict[str, tuple[str, ...]]]:
    """Of the taxonomy that the data set was drawn with; empty where it was drawn with the package's."""
    recipe = dataset.manifest.get("recipe")
    taxonomy = (recipe.get("taxonomy") or {}) if isinstance(recipe, dict) else {}
    codes = {str(name): int(code) for name, code in taxonomy.get("codes", {}).items()}
    if not set(dataset.classes) <= set(codes):
        return {}, {}
    return codes, {str(name): tuple(members) for name, members in taxonomy.get("groups", {}).items()}


def taxonomy_version_of(dataset: Dataset) -> str:
    """Of the taxonomy that the data set was drawn with, of the package's where its classes are those, or their own."""
    recipe, shipped = dataset.manifest.get("recipe"), load_taxonomy()
    if isinstance(recipe, dict) and "version" in (taxonomy := recipe.get("taxonomy") or {}):
        return str(taxonomy["version"])
    if set(dataset.classes) <= set(shipped.classes):
        return shipped.version
    return "own-" + hashlib.sha256("\n".join(dataset.classes).encode()).hexdigest()[:8]


def provenance_of(
    recipe: Recipe, dataset: Dataset, splits: Splits, fold: int | None, seed: int, epochs: int
) -> dict[str, Any]:
    """What a card says of how its weights came to be."""
    return {
        "recipe": recipe.as_json(),
        "seed": seed,
        "fold": fold,
        "commit": commit(),
        "torch": torch.__version__,
        "data": {**identity_of(dataset), "recipe": dataset.manifest.get("recipe")},
        "epochs": epochs,
        "trained_on": learned_objects(recipe, splits),
        "validated_on": len(splits.validation),
    }
