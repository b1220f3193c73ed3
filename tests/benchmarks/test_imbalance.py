"""The table of treatments of imbalance: its recipes and its pairs."""

import json
from pathlib import Path

from benchmarks.ict.imbalance import PAIRS, RECIPES
from model.training.comparison.compare import check_runs
from model.training.learning.recipe import load_recipe

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "imbalance"


def test_every_pair_is_of_recipes_that_differ():
    """Both names of a pair are recipes of the folder, which say more than their names and notes apart."""
    recipes = {path.stem: load_recipe(str(path)) for path in RECIPES}
    for first, second in PAIRS:
        ours, others = ({**recipes[name].as_json(), "name": "", "note": ""} for name in (first, second))
        assert ours != others, (first, second)


def test_runs_that_are_kept_follow_the_recipes_that_are_there():
    """What is in the table can be repeated by the folder's recipes: a change of one is a change of its runs."""
    systems = {path.stem: load_recipe(str(path)) for path in RECIPES}
    runs = [json.loads(path.read_bytes()) for path in (RESULTS / "runs").glob("*.json")]
    assert {run["system"] for run in runs} <= systems.keys()
    check_runs(RESULTS, {}, systems)
