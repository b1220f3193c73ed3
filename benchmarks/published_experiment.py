"""The published experiment on a processor: ``python -m benchmarks.published_experiment --work FOLDER``.

One command that goes on where it stopped: it makes the data where they are missing, then trains and scores the next run
of the list that is not done, and the next. What is done lies in ``benchmarks/results/convention``: a run's scores, its
history epoch by epoch, its answers to every test object, and of image networks the calibrated weights. The test objects
are looked at once per run, after its last epoch.

A training keeps a checkpoint in FOLDER once a minute. ``--pack`` puts that of the run that is not finished into the
results, the optimiser's memory in bfloat16, so that the experiment can go on from a fresh copy of the repository; a run
without a checkpoint of its own goes on from there. ``--tables`` writes the tables of what is done and trains nothing.
``--only NAME[,NAME]`` takes these runs alone, ``--list`` says where each stands.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from benchmarks.experiment import COMPILED, Experiment, is_done, make_data, simulate
from benchmarks.parser import parser_of
from model.data.checked import open_checked
from model.data.dataset import Dataset
from model.files import replacing
from model.training.comparison.baselines import BASELINES
from model.training.comparison.run import SystemRun
from model.training.comparison.system_table import write_tables
from model.training.evaluation.evaluate import main as evaluate
from model.training.learning.recipe import load_recipe
from model.training.learning.trainer import CHECKPOINT
from model.training.train import main as train
from model.training.training_options import PRECISIONS

RESULTS = Path(__file__).parent / "results" / "convention"
RECIPES = Path(__file__).parent / "recipes"
SEED_OF_THE_SKY = 1
MAIN = ("convention-reduced", "convention-sampled-reduced", "ict-convention-reduced", "convention-whole-reduced")
OTHERS = (
    "majority",
    "metadata-trees",
    "photometry-trees",
    "prefix-trees",
    "lstm-two-stage",
    "supernnova-two-stage",
    "scone-two-stage",
    "sits-bert-pretrained-two-stage",
    "vigil-two-stage",
    "supernnova-bayesian-two-stage",
    "supernnova-bayesian-two-stage-mini",  # a fiftieth of the divergence, four times the learning rate
    "cnn-gru-reduced",
    "cnn-lstm-reduced",
)
STAGES = ("convention-sampled-whole-reduced", "convention-whole-frozen-reduced")  # one stage of each of two systems
PAIRS = (  # beside those that recipes tell of; the second is the control
    ("convention-whole-reduced", "convention-sampled-reduced"),
    ("ict-convention-reduced", "cnn-gru-reduced"),
    ("convention-sampled-reduced", "cnn-gru-reduced"),
    ("ict-convention-reduced", "cnn-lstm-reduced"),
    ("convention-sampled-reduced", "cnn-lstm-reduced"),
    ("convention-sampled-whole-reduced", "convention-whole-reduced"),
    ("convention-whole-frozen-reduced", "convention-sampled-reduced"),
    ("ict-convention-reduced", "convention-sampled-whole-reduced"),
    ("ict-convention-reduced", "ict-convention-two-views-reduced"),
)
ALERTS = SystemRun("ict-convention-alerts", None, 0)  # on the ZTF sky, for the stream: see carry_out_alerts
RUNS = (
    *[SystemRun(name, None, 0) for name in MAIN],
    *[SystemRun(name, None, 0) for name in OTHERS],
    ALERTS,
    *[SystemRun(name, None, 1) for name in MAIN],
    *[SystemRun(name, None, 1) for name in STAGES],
    SystemRun("convention-sampled-all-epochs", None, 1),
    SystemRun("ict-convention-two-views-reduced", None, 1),
    SystemRun("supervised-contrastive-reduced", None, 0),
    SystemRun("convention-published-constants-reduced", None, 0),
    SystemRun("convention-norm-by-place-reduced", None, 0),
    *[SystemRun(name, None, 2) for name in MAIN],
)


@dataclass(frozen=True, slots=True)
class Places:
    """Where things lie."""

    data: Path
    work: Path
    results: Path

    def checkpoint(self, run: SystemRun) -> Path:
        return self.work / run.name / CHECKPOINT

    def packed(self, run: SystemRun) -> Path:
        return self.results / "unfinished" / f"{run.name}.safetensors"

    def done(self, run: SystemRun) -> bool:
        if run == ALERTS:
            return (self.results / "ict-convention-ztf" / "history.jsonl").exists()
        return is_done(self.results, run)


def make_alert_data(work: Path) -> Path:
    """Simulate and join what trained ``ztf-6a2fff7b62`` and ICT on alerts, where it is missing: 13,600 objects."""
    first, more, joined = (work / name for name in ("ztf-first", "ztf-more", "ztf"))
    if not (joined / "manifest.json").exists():
        make_data(first, "ztf", str(RECIPES / "shipped_ztf.json"), 21)
        make_data(more, "ztf", str(RECIPES / "more_ztf.json"), 22)
        simulate("join", str(first), str(more), "--any-simulator", "--out", str(joined))
    return joined


def pack(checkpoint: Path, packed: Path) -> None:
    """Copy a checkpoint with the optimiser's memory in bfloat16: it goes on alike, not to the same bits."""
    with safe_open(checkpoint, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    smaller = {
        name: value.bfloat16() if name.startswith("optimizer.") and value.ndim > 0 else value
        for name, value in tensors.items()
    }
    packed.parent.mkdir(parents=True, exist_ok=True)
    with replacing(packed) as partial:
        save_file(smaller, partial, metadata=metadata)


def unpack(packed: Path, checkpoint: Path) -> None:
    """Give back what :func:`pack` kept."""
    with safe_open(packed, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    whole = {name: value.float() if value.dtype == torch.bfloat16 else value for name, value in tensors.items()}
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    with replacing(checkpoint) as partial:
        save_file(whole, partial, metadata=metadata)


def pack_unfinished(places: Places) -> None:
    """Put the checkpoints of runs that are not done into the results, and take out those of runs that are."""
    for run in RUNS:
        packed = places.packed(run)
        if places.done(run):
            packed.unlink(missing_ok=True)
        elif places.checkpoint(run).exists():
            pack(places.checkpoint(run), packed)
            print(f"{packed}: {packed.stat().st_size / 1e6:.1f} MB")


def carry_out_alerts(run: SystemRun, places: Places) -> None:
    """Train, score and keep weights for ZTF's alerts, on the set of :func:`make_alert_data`.

    The weights lie with the results as ``ict-convention-ztf``; put both files into ``model/weights`` to ship them.
    """
    print(f"{run.name} begins or goes on", flush=True)
    data, out = make_alert_data(places.work), places.work / run.name
    results = places.results / "ict-convention-ztf"
    if not (out / "weights.json").exists():
        command = [run.system, "--data", str(data), "--out", str(out), "--seed", str(run.seed), "--resume"]
        if train([*command, "--half", COMPILED]):
            raise SystemExit(f"the training in {out} did not end: the same command goes on")
    scored = ["--data", str(data), "--out", str(results), "--copy-to", str(results / "ict-convention-ztf"), "--half"]
    if evaluate([str(out / "weights"), *scored]):
        raise SystemExit(f"the weights in {out} could not be scored")
    history = (out / "history.jsonl").read_text("utf-8")
    (results / "history.jsonl").write_text(history, "utf-8")


def standing(places: Places, run: SystemRun) -> str:
    if places.done(run):
        return "done"
    if places.checkpoint(run).exists():
        return "has a checkpoint"
    return "has a packed checkpoint" if places.packed(run).exists() else "to do"


def carry_on(places: Places, runs: tuple[SystemRun, ...], precision: str) -> None:
    """Do what is not done, in order."""
    make_data(places.data, "sdss", "convention", SEED_OF_THE_SKY)
    systems = {run.system for run in runs if run != ALERTS}
    recipes = {name: None if name in BASELINES else load_recipe(name) for name in systems}
    experiment = Experiment(open_checked(places.data), recipes, places.results, places.work, PAIRS)
    for run in runs:
        if places.done(run):
            continue
        if places.packed(run).exists() and not places.checkpoint(run).exists():
            unpack(places.packed(run), places.checkpoint(run))
        if run == ALERTS:
            carry_out_alerts(run, places)
        else:
            experiment.carry_out([run], precision)
        places.packed(run).unlink(missing_ok=True)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for data and checkpoints")
    parser.add_argument("--data", type=Path, help="folder of the data set (default: WORK/data)")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--only", help="these runs alone, in this order, by the names that --list gives")
    parser.add_argument("--core", type=int, help="compute on this core alone")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="of products while it trains")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--pack", action="store_true")
    parser.add_argument("--tables", action="store_true")
    options = parser.parse_args()
    places = Places(options.data or options.work / "data", options.work, options.results)
    by_name = {run.name: run for run in RUNS}
    if unknown := [name for name in (options.only or "").split(",") if name and name not in by_name]:
        parser.error(f"there is no run {', '.join(unknown)}; there are {', '.join(by_name)}")
    runs = tuple(by_name[name] for name in options.only.split(",")) if options.only else RUNS
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    torch.set_num_threads(options.threads)
    if options.list:
        for run in RUNS:
            print(f"{run.name:50} {standing(places, run)}")
    elif options.pack:
        pack_unfinished(places)
    elif options.tables:
        write_tables(places.results, Dataset.open(places.data).classes, PAIRS)
    else:
        carry_on(places, runs, options.precision)


if __name__ == "__main__":
    main()
