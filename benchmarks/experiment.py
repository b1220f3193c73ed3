"""Systems compared on one simulated data set, one run after the other, gone on with where it stopped."""

import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from model.data.dataset import Dataset
from model.networks.layers.fused import has_compiler
from model.training.comparison.compare import check_runs
from model.training.comparison.run import SystemRun, carry_out
from model.training.comparison.system_table import write_tables
from model.training.data.dataset_identity import identity_of
from model.training.learning.execution import ExecutionSettings
from model.training.learning.recipe import Recipe

COMPILED = "--compile" if has_compiler() else "--no-compile"  # for a training on a processor


@dataclass(frozen=True, slots=True)
class Experiment:
    """Systems, the data set that they are compared on, and where runs and checkpoints lie.

    ``pairs`` are to be compared beside those that recipes tell of; the second is the control.

    Raises
    ------
    RunError
        Where ``results`` holds runs on another data set, or of other recipes by the same names.
    """

    dataset: Dataset
    recipes: Mapping[str, Recipe | None]
    results: Path
    work: Path
    pairs: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        check_runs(self.results, identity_of(self.dataset), self.recipes)

    def carry_out(self, runs: Iterable[SystemRun], precision: str = "float32") -> None:
        """Do those that are not done, in order, on a processor; write the tables after the last."""
        engine = ExecutionSettings(torch.device("cpu"), precision, has_compiler())
        for run in runs:
            if not is_done(self.results, run):
                print(f"{run.name} begins or goes on", flush=True)
                try:
                    carry_out(run, self.recipes[run.system], self.dataset, engine, self.results, self.work)
                except KeyboardInterrupt:  # its checkpoint is written
                    sys.exit(f"{run.name} is interrupted: the same command goes on with it")
        self.write_tables()

    def write_tables(self) -> None:
        """Write the tables of what is done."""
        write_tables(self.results, self.dataset.classes, self.pairs)


def is_done(results: Path, run: SystemRun) -> bool:
    return (results / "runs" / f"{run.name}.json").exists()


def make_data(folder: Path, survey: str, recipe: str, seed: int) -> None:
    """Simulate a data set where it is missing: the same bytes everywhere."""
    if not (folder / "manifest.json").exists():
        simulate("dataset", "--survey", survey, "--recipe", recipe, "--seed", str(seed), "--out", str(folder))


def simulate(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "model.simulation.cli", *arguments], check=True)
