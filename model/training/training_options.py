"""Command lines of ``ictc-train``, ``ictc-calibrate``, ``ictc-evaluate`` and ``ictc-compare``.

Nothing that computes is imported here, so that help, completion and misuse are answered before torch is there.
"""

import argparse
from importlib import resources
from pathlib import Path

from model.commands import add_common_options

PRECISIONS = ("float32", "bfloat16")
UNKNOWN_SCORES = ("energy_and_distance", "energy")  # as model.serving.card, which loads numpy
_WEIGHTS_HELP = "path of weights, or the name of shipped ones, such as ztf"
_DATA_HELP = "folder of a data set"
_HALF_HELP = "keep matrices as float16: half the bytes"


def recipe_names() -> list[str]:
    """The recipes that the package ships."""
    folder = resources.files("model.training").joinpath("recipes")
    return sorted(entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name.endswith(".json"))


def train_parser() -> argparse.ArgumentParser:
    """Options of ``ictc-train``."""
    parser = argparse.ArgumentParser("ictc-train", description="Train a network on a data set.")
    parser.add_argument("recipe", help=f"a JSON file, or one of: {', '.join(recipe_names())}")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help=_DATA_HELP)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder for weights, checkpoint and logs"
    )
    add_engine_options(parser)
    parser.add_argument("--fold", type=int, metavar="N", help="test on this fold (default: on the split 'test')")
    parser.add_argument("--seed", type=seed, default=0, metavar="N")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in OUT")
    parser.add_argument("--start-from", metavar="WEIGHTS", help=f"begin at these, as far as they fit: {_WEIGHTS_HELP}")
    parser.add_argument(
        "--labels", type=float, default=1.0, metavar="SHARE", help="train on the labels of this share of the objects"
    )
    add_unknown_score(parser)
    parser.add_argument("--half", action="store_true", help=_HALF_HELP)
    parser.add_argument("--quiet", action="store_true", help="no progress")
    add_common_options(parser, quiet=False)
    return parser


def calibrate_parser() -> argparse.ArgumentParser:
    """Options of ``ictc-calibrate``."""
    parser = argparse.ArgumentParser(
        "ictc-calibrate", description="Calibrate trained weights on the objects of a data set; train nothing."
    )
    parser.add_argument("weights", help=_WEIGHTS_HELP)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help=_DATA_HELP)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="PATH", help="path of the weights to write, without a suffix"
    )
    add_unknown_score(parser)
    parser.add_argument("--half", action="store_true", help=_HALF_HELP)
    add_common_options(parser)
    return parser


def evaluate_parser() -> argparse.ArgumentParser:
    """Options of ``ictc-evaluate``."""
    parser = argparse.ArgumentParser("ictc-evaluate", description="Score weights on the objects of a data set.")
    parser.add_argument("weights", help=_WEIGHTS_HELP)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help=_DATA_HELP)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder for scores and report")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--split", default="test", help="which split to score (default: test)")
    parser.add_argument("--fold", type=int, metavar="N", help="score this fold instead of a split")
    parser.add_argument(
        "--unknown", type=Path, metavar="FOLDER", help="data set of classes unknown to the weights, for that score"
    )
    parser.add_argument(
        "--copy-to", type=Path, metavar="PATH", help="write the weights there, these scores in their card"
    )
    parser.add_argument(
        "--controls", type=Path, metavar="FILE", help="JSON of benchmarks.controls: what the copy's card says of hosts"
    )
    parser.add_argument("--half", action="store_true", help="of the copy: matrices as float16")
    add_common_options(parser)
    return parser


def compare_parser() -> argparse.ArgumentParser:
    """Options of ``ictc-compare``."""
    parser = argparse.ArgumentParser("ictc-compare", description="Train and score systems on one data set.")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help=_DATA_HELP)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder for runs and tables")
    parser.add_argument("--systems", metavar="A,B,...", help="recipes, their files and floors (default: all)")
    parser.add_argument("--folds", type=_numbers, metavar="N,N,...", help="default: the split 'test'")
    parser.add_argument("--seeds", type=_seeds, default=[0, 1, 2], metavar="N,N,...", help="default: 0,1,2")
    add_engine_options(parser)
    parser.add_argument("--tables-only", action="store_true", help="train nothing; write tables of what is done")
    add_common_options(parser)
    return parser


def add_unknown_score(parser: argparse.ArgumentParser) -> None:
    """What the calibration makes tell strange objects from known ones."""
    parser.add_argument(
        "--unknown-score",
        choices=UNKNOWN_SCORES,
        default=UNKNOWN_SCORES[0],
        help="what tells strange objects: the energy of the logits, or also the distance of the features to the "
        "nearest class (default)",
    )


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Where and how to compute."""
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: cpu)")
    parser.add_argument(
        "--precision", choices=PRECISIONS, help="of products (default: bfloat16 on a GPU, else float32)"
    )
    parser.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        help="compile the training step: on a GPU all of it (default there), on a processor what ConvEntion's "
        "convolutions do between products, which saves a fifth of a step; needs a C++ compiler",
    )


def seed(text: str) -> int:
    """A seed that every library takes."""
    if not (text.isascii() and text.isdigit() and int(text) < 2**32):
        raise argparse.ArgumentTypeError(f"{text!r}: give a whole number from 0 to 4294967295")
    return int(text)


def _numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: give numbers separated by commas") from error


def _seeds(text: str) -> list[int]:
    return [seed(number) for number in text.split(",")]
