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
from model.training.data.splits import SplitsError, divide, with_fewer_labels
from model.training.evaluation.calibrated_card import calibrated, validated
from model.training.learning.checkpoint import CheckpointError
from model.training.learning.distributed import DistributedError, launched
from model.training.learning.progress import Progress
from model.training.learning.recipe import RecipeError, load_recipe
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


def start_from(network: GroupedNetwork, path: str) -> str:
    """Take over the tensors of trained weights that a network has too, of the same shape; the others stay as drawn.

    Returns
    -------
    The version of those weights.

    Raises
    ------
    WeightsError
        When they cannot be read, or share nothing with the network.
    """
    trained, card = weights.load(path)
    own = network.state_dict()
    fitting = {n: v for n, v in trained.state_dict().items() if n in own and own[n].shape == v.shape}
    if not fitting:
        raise WeightsError(f"{path} holds {card.name}, which shares no tensor with {network.name}: start from others")
    network.load_state_dict(fitting, strict=False)
    return card.version


def run(options: argparse.Namespace) -> ModelCard | None:
    """Train as asked and write the weights; None on all but the first of several processes."""
    engine = engine_of(options)
    check_out(options.out, options.resume)
    recipe = load_recipe(options.recipe)
    dataset = open_checked(options.data)
    splits = with_fewer_labels(
        divide(dataset, options.fold, options.seed), dataset.labels, options.labels, options.seed
    )
    counts_K = np.bincount(dataset.labels[splits.train], minlength=len(dataset.classes))
    if absent := [name for name, count in zip(dataset.classes, counts_K, strict=True) if count == 0]:
        raise SplitsError(f"{options.data} has no training objects of class {', '.join(absent)}: each class needs some")
    facts = measure(dataset, np.concatenate([splits.pretrain, splits.train]), recipe.form)
    origin = {"data set": identity_of(dataset), "fold": options.fold}
    if options.labels < 1:
        origin["labels"] = options.labels
    with launched(engine.device) as (processes, device):
        engine = dataclasses.replace(engine, device=device)
        network = make_network(recipe, facts, options.seed)
        begun_at = None if options.start_from is None else start_from(network, options.start_from)
        network.to(device)
        loaders = make_loaders(dataset, splits, recipe, network, device)
        first = processes.rank == 0
        options.out.mkdir(parents=True, exist_ok=True)
        quiet = options.quiet or not first
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
