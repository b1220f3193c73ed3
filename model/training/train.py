"""``ictc-train``: weights with their card, by the name of a recipe and a data set's folder."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from model.commands import command, interrupts_noted
from model.data.checked import open_checked
from model.data.dataset import DatasetError
from model.networks.grouped import GroupedNetwork
from model.networks.layers.fused import CompilerMissingError
from model.networks.registry import NetworkError
from model.serving import weights
from model.serving.card import ModelCard, WeightsError
from model.serving.predictor import DeviceUnavailableError
from model.training.data.dataset_facts import measure
from model.training.data.dataset_identity import identity_of
from model.training.data.splits import LABELLED, SplitsError, divide, refuse_absent_classes, with_fewer_labels
from model.training.evaluation.calibrated_card import calibrated, validated
from model.training.learning.checkpoint import CheckpointError
from model.training.learning.distributed import DistributedError, launched
from model.training.learning.parameters import head_parameters
from model.training.learning.progress import Progress
from model.training.learning.recipe import Recipe, RecipeError, load_recipe
from model.training.learning.trainer import CHECKPOINT, Training
from model.training.setup import engine_of, make_card, make_loaders, make_network, provenance_of
from model.training.training_options import train_parser

WEIGHTS = "weights"


class OutError(ValueError):
    """The folder for results cannot take this training."""


def check_out(folder: Path, resume: bool) -> None:
    """Refuse to train over another training.

    Raises
    ------
    OutError
        When the folder is a file, or holds a checkpoint or weights that are not asked to go on.
    """
    if folder.exists() and not folder.is_dir():
        raise OutError(f"{folder} is a file: --out must be a folder, or not be there yet")
    held = [name for name in (CHECKPOINT, f"{WEIGHTS}.safetensors", f"{WEIGHTS}.json") if (folder / name).exists()]
    if held and not resume:
        raise OutError(f"{folder} holds a training already ({', '.join(held)}): go on with it by --resume, "
                       "or choose another --out")  # fmt: skip
    if resume and held and CHECKPOINT not in held:
        raise OutError(f"{folder} holds {', '.join(held)} but no checkpoint to resume: choose another --out")


def start_from(network: GroupedNetwork, path: str, recipe: Recipe, classes: Sequence[str], quiet: bool) -> str:
    """Take over the tensors of trained weights that a network has too, of the same shape; the others stay as drawn.

    A last layer that was told other classes, or these in another order, stays as drawn too.

    Returns
    -------
    The version of those weights.

    Raises
    ------
    WeightsError
        When they cannot be read, are of another network, share nothing with this one, or lack a part of the backbone
        that the recipe freezes at once.
    """
    trained, card = weights.load(path)
    if card.name != network.name:
        raise WeightsError(f"{path} holds {card.name}, the recipe trains {network.name}: start from weights of that")
    own = network.state_dict()
    kept = names_of_head(network) if card.trained and card.classes != tuple(classes) else set()
    fitting = {
        name: tensor
        for name, tensor in trained.state_dict().items()
        if name in own and own[name].shape == tensor.shape and name not in kept
    }
    if not fitting:
        raise WeightsError(f"{path} shares no tensor with the {network.name} of the recipe: start from others")
    first = recipe.stages[0]
    if first.freeze_backbone and (drawn := own.keys() - fitting.keys() - names_of_head(network, first.head)):
        raise WeightsError(
            f"{path} lacks {len(drawn)} tensors of the backbone in their shapes, {min(drawn)} among them, and recipe "
            f"{recipe.name} freezes it as drawn: start from weights of the same settings, or train the backbone first"
        )
    network.load_state_dict(fitting, strict=False)
    if not quiet:
        print(f"begun at {card.name} {card.version}: {len(fitting)} of {len(own)} tensors are taken over")
    return card.version


def names_of_head(network: GroupedNetwork, head: str = "last") -> set[str]:
    """The names of what :func:`head_parameters` finds."""
    of_head = {id(parameter) for parameter in head_parameters(network, head)}
    return {name for name, parameter in network.named_parameters() if id(parameter) in of_head}


def run(options: argparse.Namespace) -> ModelCard | None:
    """Train as asked and write the weights; None on all but the first of several processes."""
    engine = engine_of(options)
    check_out(options.out, options.resume)
    recipe = load_recipe(options.recipe)
    dataset = open_checked(options.data)
    splits = with_fewer_labels(
        divide(dataset, options.fold, options.seed), dataset.labels, options.labels, options.seed
    )
    refuse_absent_classes(dataset, splits, ("train",) if recipe.stages[-1].without_labels else LABELLED)
    facts = measure(dataset, np.concatenate([splits.pretrain, splits.train]), recipe.form)
    with launched(engine.device) as (processes, device):
        engine = dataclasses.replace(engine, device=device)
        network = make_network(recipe, facts, options.seed)
        first = processes.rank == 0
        quiet = options.quiet or not first
        begun_at = None
        if options.start_from is not None:
            begun_at = start_from(network, options.start_from, recipe, dataset.classes, quiet)
        origin = {
            "data set": identity_of(dataset),
            "fold": options.fold,
            "labels": options.labels,
            "started_from": begun_at,
        }
        network.to(device)
        loaders = make_loaders(dataset, splits, recipe, network, device)
        options.out.mkdir(parents=True, exist_ok=True)
        with interrupts_noted() as interrupted, Progress(options.out if first else None, quiet=quiet) as progress:
            training = Training(
                recipe, network, loaders, len(dataset.classes), options.seed, engine, progress, options.out, processes,
                origin=origin, interrupted=interrupted,
            )  # fmt: skip
            history = training.run(resume=options.resume)
    if not first:
        return None
    provenance = {
        **provenance_of(recipe, dataset, splits, options.fold, options.seed, len(history)),
        "started_from": begun_at,
        "share_of_labels": options.labels,
    }
    card = make_card(dataset, facts, network, provenance, recipe.form)
    if recipe.stages[-1].without_labels:  # nobody told it a class: it is there to start from
        return weights.save(
            options.out / WEIGHTS, network.cpu(), dataclasses.replace(card, trained=False), half=options.half
        )
    card = calibrated(card, network.cpu(), dataset, splits, recipe.prefix == "all", options.unknown_score)
    return weights.save(options.out / WEIGHTS, network, card, half=options.half)


@command(
    "ictc-train",
    OutError,
    RecipeError,
    SplitsError,
    DatasetError,
    CheckpointError,
    CompilerMissingError,
    DistributedError,
    DeviceUnavailableError,
    NetworkError,
    WeightsError,
    interrupted="interrupted: go on with --resume",
)
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = train_parser().parse_args(argv)
    card = run(options)
    if card is not None and not card.trained:
        print(f"{card.name} {card.version}: pre-trained without labels, to --start-from {options.out / WEIGHTS}")
    elif card is not None:
        print(validated(card, options.out / WEIGHTS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
