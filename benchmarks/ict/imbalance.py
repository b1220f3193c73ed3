"""Treatments of imbalance and variants of ICT in one table: ``python -m benchmarks.ict.imbalance --work FOLDER``.

Each recipe of ``benchmarks/recipes/imbalance`` is trained with three seeds on half of the published mix, ConvEntion's
stem at an eighth of its width, each step on 24 of an object's 65 frames: minutes a run on one core. The test objects
are looked at once per run, at its end; a first stage that several recipes share is trained once. It goes on where it
stopped, and several of these commands may share the work; runs and tables lie in
``benchmarks/results/imbalance``. ``--seeds 0`` does the first seed of each alone, ``--only NAME[,NAME]`` some recipes.
"""

import sys
from pathlib import Path

import torch

from benchmarks.experiment import Experiment, make_data
from benchmarks.parser import parser_of
from model.data.checked import open_checked
from model.training.comparison.run import SystemRun
from model.training.learning.recipe import load_recipe

BENCHMARKS = Path(__file__).parents[1]
RECIPES = sorted((BENCHMARKS / "recipes" / "imbalance").glob("*.json"))
SEED_OF_THE_SKY = 7
TREATMENTS = ("resampling", "class-balanced-focal", "ldam-drw", "logit-adjustment", "balanced-softmax", "crt")
VARIANTS = (
    "ict-without-predictor",
    "ict-without-momentum",
    "ict-dino-pull",
    "ict-own-frames",
    "ict-positive-of-class",
    "ict-two-views",
    "ict-target-without-dropout",
    "ict-weight-5",
    "supervised-contrast",
    "supervised-contrast-own-frames",
    "balanced-contrast",
)
PAIRS = (  # the second is the control
    *[(name, "plain") for name in TREATMENTS],
    *[(name, "ict") for name in VARIANTS],
    ("supervised-contrast-own-frames", "supervised-contrast"),
    ("ict-positive-of-class", "ict-own-frames"),
    ("ict-without-predictor", "ict-two-views"),
    ("resampling", "authors-sampled-head"),
    ("authors-sampled-head", "authors-frozen-head"),
    ("authors-published-constants", "authors-frozen-head"),
    ("authors-norm-by-place", "authors-sampled-head"),
    ("authors-all-epochs", "authors-reduced-epochs"),
    ("authors-all-frames", "authors-sampled-head"),
)


def make_mix(folder: Path) -> None:
    """Simulate half of the published mix where it is missing."""
    make_data(folder, "sdss", str(BENCHMARKS / "recipes" / "published_mix.json"), SEED_OF_THE_SKY)


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for the data set and checkpoints")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--only", default=",".join(recipe.stem for recipe in RECIPES), help="recipes, by name")
    parser.add_argument("--results", type=Path, default=BENCHMARKS / "results" / "imbalance")
    parser.add_argument("--tables", action="store_true", help="write the tables of what is done, train nothing")
    options = parser.parse_args()
    wanted = options.only.split(",")
    if unknown := set(wanted) - {recipe.stem for recipe in RECIPES}:
        parser.error(f"no recipe of benchmarks/recipes/imbalance is named {', '.join(sorted(unknown))}")
    make_mix(options.work / "mix")
    dataset = open_checked(options.work / "mix")
    recipes = {path.stem: load_recipe(str(path)) for path in RECIPES}
    torch.set_num_threads(1)
    experiment = Experiment(dataset, recipes, options.results, options.work, PAIRS)
    if options.tables:
        experiment.write_tables()
    else:
        for seed in map(int, options.seeds.split(",")):  # the tables of all runs take minutes themselves
            experiment.carry_out([SystemRun(name, None, seed) for name in wanted])
    return 0


if __name__ == "__main__":
    sys.exit(main())
