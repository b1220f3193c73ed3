"""Treatments of imbalance and variants of ICT in one table: ``python -m benchmarks.ict.imbalance --work FOLDER``.

Each recipe of ``benchmarks/recipes/imbalance`` is trained with three seeds on half of the published mix, ConvEntion's
stem at an eighth of its width: minutes a run on one core. It goes on where it stopped; runs and tables lie in
``benchmarks/results/imbalance``. ``--seeds 0`` does the first seed of each alone.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.published_experiment import make_data
from model.training.comparison.compare import main as compare

BENCHMARKS = Path(__file__).parents[1]
RECIPES = sorted((BENCHMARKS / "recipes" / "imbalance").glob("*.json"))
SEED_OF_THE_SKY = 7


def make_mix(folder: Path) -> None:
    """Simulate half of the published mix where it is missing."""
    make_data(folder, "sdss", str(BENCHMARKS / "recipes" / "published_mix.json"), SEED_OF_THE_SKY)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the data set")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--results", type=Path, default=BENCHMARKS / "results" / "imbalance")
    options = parser.parse_args()
    make_mix(options.work / "mix")
    systems = ",".join(map(str, RECIPES))
    out = ["--data", str(options.work / "mix"), "--out", str(options.results)]
    return compare([*out, "--seeds", options.seeds, "--systems", systems])


if __name__ == "__main__":
    sys.exit(main())
