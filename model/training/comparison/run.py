"""One run of a comparison: a system trained and scored on one fold with one seed, in files of its own."""

import dataclasses
import fcntl
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from model.commands import interrupts_noted
from model.data.dataset import Dataset
from model.files import replacing
from model.networks.contract import LightCurve
from model.networks.grouped import GroupedNetwork
from model.serving.weights import save
from model.training.comparison.baselines import Answers, baseline_answers
from model.training.comparison.pooling import kept_by_night
from model.training.data.dataset_facts import measure
from model.training.data.dataset_identity import identity_of
from model.training.data.input_form import less_faint_level
from model.training.data.loader import Loader, loader_for
from model.training.data.splits import Splits, divide
from model.training.evaluation import early
from model.training.evaluation.calibrate import fit_temperature
from model.training.evaluation.calibrated_card import calibrated
from model.training.evaluation.evaluate import label_modes
from model.training.evaluation.predict import in_order, predict, predict_logits, softmax
from model.training.evaluation.prefix_predictions import detected_frames, first_frames
from model.training.evaluation.scoring import macro_f1, score
from model.training.learning.execution import ExecutionSettings
from model.training.learning.progress import Progress
from model.training.learning.recipe import Recipe
from model.training.learning.trainer import Training
from model.training.setup import learned_objects, make_card, make_loaders, make_network, provenance_of
from model.training.source_commit import commit

WITHOUT_CURVE = ("scone",)  # networks of which each prefix would cost a Gaussian process per object


@dataclass(frozen=True, slots=True)
class SystemRun:
    """One cell of the comparison."""

    system: str
    fold: int | None
    seed: int

    @property
    def name(self) -> str:
        return f"{self.system}-{'split' if self.fold is None else f'fold{self.fold}'}-seed{self.seed}"


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Whether this process has the work of this name to itself; a process that ends gives it back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def answers_by_night(
    network: GroupedNetwork, dataset: Dataset, loader: Loader, form: str, temperature: float
) -> NDArray[np.float64]:
    """Probabilities [V, N, K] when every series ends with each of ``early.NIGHTS`` since its first detection.

    Fluxes above the faintest are taken above the faintest *so far*: nothing later may show.
    """
    detected_N = detected_frames(dataset, loader.rows, loader.length_N.cpu().numpy())
    logits_VNK = np.empty((len(early.NIGHTS), len(loader), len(dataset.classes)), np.float32)
    network.eval()
    for index in in_order(loader):
        frames, _ = loader.batch(index)
        time_BT = torch.where(frames.curve.mask_BT, frames.curve.time_BT, torch.nan).cpu().double().numpy()
        for v, until_B in enumerate(early.frames_by_night(time_BT, detected_N[index])):
            with torch.inference_mode():
                cut = first_frames(frames, torch.from_numpy(until_B + 1)[:, None].to(loader.device))
                if form == "above_faintest":
                    cut = replace(cut, curve=zeroed(cut.curve))
                logits_VNK[v, index] = network(cut).float().cpu().numpy()
    return np.stack([softmax(logits_NK, temperature) for logits_NK in logits_VNK])


def zeroed(curve: LightCurve) -> LightCurve:
    """Take the faint level of the frames that are there off their fluxes."""
    known_BT = (curve.mask_BT & (curve.flux_error_BT > 0)).cpu().numpy()
    rows = zip(curve.flux_BT.cpu().numpy(), curve.band_BT.cpu().numpy(), known_BT, strict=True)
    flux_BT = np.stack([less_faint_level(*row) for row in rows])
    return replace(curve, flux_BT=torch.from_numpy(flux_BT).to(curve.flux_BT.device))


def kept_answers(
    dataset: Dataset, rows: NDArray[np.int64], probability_NK: NDArray, early_VNK: NDArray | None
) -> dict[str, NDArray]:
    """What tables need of a run to pool it with others: objects, their labels and modes, last and early answers."""
    answers: dict[str, NDArray] = {
        "row": rows,
        "label": dataset.labels[rows],
        "probability": probability_NK.astype(np.float32),
    }
    if early_VNK is not None:
        answers |= kept_by_night(early_VNK, early.NIGHTS)
    modes = label_modes(dataset, rows)
    return answers | {"mode": np.select(list(modes.values()), list(modes), "")} if modes else answers


def train_one(
    run: SystemRun,
    recipe: Recipe,
    dataset: Dataset,
    splits: Splits,
    engine: ExecutionSettings,
    work: Path,
    keep: Path | None = None,
) -> tuple[dict[str, Any], Answers]:
    """Train a network as its recipe says; what was measured of it, and its answers to the test rows.

    Parameters
    ----------
    keep
        Where to write its weights, calibrated, as float16, if it reads series as they come. With it nothing looks at
        the test rows before the end; else every epoch is scored on them too, for "best epoch on test", the habit of
        the published code.
    """
    facts = measure(dataset, np.concatenate([splits.pretrain, splits.train]), recipe.form)
    network = make_network(recipe, facts, run.seed).to(engine.device)
    loaders = make_loaders(dataset, splits, recipe, network, engine.device)
    test = loader_for(network, dataset, splits.test, engine.device, recipe.form)
    label_N, classes = dataset.labels[splits.test], len(dataset.classes)

    def watch(handed_out: nn.Module) -> dict[str, float]:
        return {"test_macro_f1": macro_f1(label_N, predict(handed_out, test).argmax(1), classes)}

    work.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with interrupts_noted() as interrupted, Progress(work) as progress:
        training = Training(
            recipe, network, loaders, classes, run.seed, engine, progress, work,
            watch=watch if keep is None else None, checkpoint_every_s=60,
            origin={"data set": identity_of(dataset), "fold": run.fold}, interrupted=interrupted,
            stage_ends=None if keep is None else work.parent / "stages",
        )  # fmt: skip
        log = training.run(resume=True)
    seconds = sum(entry["seconds"] for entry in log)
    validation = loaders["validation"]
    temperature = fit_temperature(predict_logits(network, validation), validation.label_N.cpu().numpy())
    began = time.monotonic()
    probability_NK = softmax(predict_logits(network, test), temperature)
    measured: dict[str, Any] = {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "epochs": len(log),
        "train_seconds": seconds,
        "this_process_seconds": time.monotonic() - started,
        "predict_ms_per_object": 1000 * (time.monotonic() - began) / len(test),
        "temperature": temperature,
    }
    if keep is None:
        measured["authors_habit_macro_f1"] = max(entry["test_macro_f1"] for entry in log)
    else:
        measured["history"] = log
    if keep is not None and recipe.form == "series":
        provenance = provenance_of(recipe, dataset, splits, run.fold, run.seed, len(log))
        card = make_card(dataset, facts, network, provenance, recipe.form)
        card = calibrated(card, network.cpu(), dataset, splits, recipe.prefix == "all")
        save(keep, network, card, half=True)
        network.to(engine.device)
    if recipe.network["network"] in WITHOUT_CURVE or recipe.form.endswith("_stack"):
        return measured, (probability_NK, None)
    return measured, (probability_NK, answers_by_night(network, dataset, test, recipe.form, temperature))


def _circumstances(recipe: Recipe | None, engine: ExecutionSettings) -> dict[str, Any]:
    """On what and by what a run was made."""
    made = {
        "device": str(engine.device),
        "precision": engine.precision,
        "compiled": engine.compiled,
        "commit": commit(),
    }
    return made if recipe is None else made | {"recipe": recipe.as_json()}


def _scores(dataset: Dataset, rows: NDArray[np.int64], probability_NK: NDArray) -> dict[str, Any]:
    """Scores of all rows, and of those of each label mode."""
    label_N = dataset.labels[rows]
    return {
        "scores": dataclasses.asdict(score(label_N, probability_NK, dataset.classes)),
        "by_label_mode": {
            mode: dataclasses.asdict(score(label_N[at], probability_NK[at], dataset.classes))
            for mode, at in label_modes(dataset, rows).items()
        },
    }


def carry_out(
    run: SystemRun,
    recipe: Recipe | None,
    dataset: Dataset,
    engine: ExecutionSettings,
    out: Path,
    work: Path | None = None,
) -> None:
    """Do one run, unless it is done or another process is at it.

    Parameters
    ----------
    work
        Folder for checkpoints, if not in ``out``; then the weights are kept in ``out``, and the test rows looked at
        once, at the end.
    """
    keep = None if work is None else out / "weights" / run.name
    result, work = out / "runs" / f"{run.name}.json", (out / "work" if work is None else work) / run.name
    if result.exists():
        return
    with claimed(work.parent / f"{run.name}.lock") as is_ours:
        if not is_ours or result.exists():
            return
        splits = divide(dataset, run.fold, run.seed)
        if recipe is None:
            measured: dict[str, Any] = {}
            answers = baseline_answers(run.system, dataset, splits.train, splits.test, run.seed)
        else:
            measured, answers = train_one(run, recipe, dataset, splits, engine, work, keep)
        probability_NK, early_VNK = answers
        learned = len(splits.train) if recipe is None else learned_objects(recipe, splits)
        entry = {
            **dataclasses.asdict(run),
            "data": identity_of(dataset),
            "train_objects": learned,
            **_circumstances(recipe, engine),
            **measured,
            **_scores(dataset, splits.test, probability_NK),
        }
        result.parent.mkdir(parents=True, exist_ok=True)
        with replacing(result.with_suffix(".npz")) as partial, partial.open("wb") as file:
            np.savez_compressed(
                file, allow_pickle=False, **kept_answers(dataset, splits.test, probability_NK, early_VNK)
            )
        with replacing(result) as partial:  # whose being there means that the run is done
            partial.write_text(json.dumps(entry, indent=1) + "\n", "utf-8")
        shutil.rmtree(work, ignore_errors=True)
