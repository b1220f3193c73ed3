"""The results of many runs in, tables of systems out: means, intervals, paired tests. It trains nothing."""

import dataclasses
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.training.intervals import compare_pair, holm, macro_f1_interval, nadeau_bengio

PAIRS = (
    ("ict-convention", "convention"),
    ("ict-convention-mini", "convention-mini"),
    ("vigil", "ict-convention"),
    ("vigil-mini", "ict-convention-mini"),
    ("vigil-mini", "convention-mini"),
    ("vigil-mini", "photometry-trees"),
)
ABLATED = "vigil-"
CURVE_NIGHTS = (1, 3, 8)

Runs = dict[str, list[tuple[dict[str, Any], dict[str, NDArray]]]]


def read_runs(folder: Path) -> Runs:
    """Every run that is done, by system: what it scored and what it answered."""
    runs: Runs = defaultdict(list)
    for path in sorted((folder / "runs").glob("*.json")):
        entry = json.loads(path.read_text("utf-8"))
        with np.load(path.with_suffix(".npz")) as kept:
            runs[entry["system"]].append((entry, {name: kept[name] for name in kept.files}))
    return dict(runs)


def summary(system: str, runs: Sequence[tuple[dict[str, Any], dict[str, NDArray]]], classes: int) -> dict[str, Any]:
    """One line of the table: means over runs, and an interval from all answers together."""
    entries = [entry for entry, _ in runs]

    def over(name: str) -> list[float]:
        return [entry["scores"][name] for entry in entries]

    label = np.concatenate([answers["label"] for _, answers in runs])
    chosen = np.concatenate([answers["probability"].argmax(1) for _, answers in runs])
    modes = sorted({mode for entry in entries for mode in entry["by_label_mode"]})
    line: dict[str, Any] = {
        "system": system,
        "runs": len(runs),
        "parameters": entries[0].get("parameters"),
        "macro_f1": float(np.mean(over("macro_f1"))),
        "macro_f1_sd_over_runs": float(np.std(over("macro_f1"), ddof=1)) if len(runs) > 1 else None,
        "macro_f1_interval_one_run": dataclasses.asdict(
            macro_f1_interval(label[: len(runs[0][1]["label"])], chosen[: len(runs[0][1]["label"])], classes)
        ),
        "by_label_mode": {
            mode: float(np.mean([entry["by_label_mode"][mode]["macro_f1"] for entry in entries])) for mode in modes
        },
        "train_minutes": float(np.mean([entry.get("train_seconds", 0.0) for entry in entries])) / 60,
    }
    for name in ("accuracy", "balanced_accuracy", "auc", "log_loss", "ece", "worst_recall"):
        line[name] = float(np.mean(over(name)))
    for name in ("authors_habit_macro_f1", "predict_ms_per_object"):
        values = [entry[name] for entry in entries if name in entry]
        line[name] = float(np.mean(values)) if values else None
    curves = [entry["macro_f1_by_night"] for entry in entries if "macro_f1_by_night" in entry]
    line["macro_f1_by_night"] = (
        {night: float(np.mean([curve[night] for curve in curves])) for night in curves[0]} if curves else None
    )
    return line


def paired(first: str, second: str, runs: Runs, classes: int) -> dict[str, Any] | None:
    """What one system has over another in the runs that both have: same fold, same seed, same objects."""
    mine, theirs = ({(e["fold"], e["seed"]): (e, a) for e, a in runs[name]} for name in (first, second))
    shared = sorted(mine.keys() & theirs.keys(), key=str)
    if not shared:
        return None
    label = np.concatenate([mine[key][1]["label"] for key in shared])
    a, b = (np.concatenate([side[key][1]["probability"].argmax(1) for key in shared]) for side in (mine, theirs))
    found = compare_pair(label, a, b, classes)
    by_run = [mine[key][0]["scores"]["macro_f1"] - theirs[key][0]["scores"]["macro_f1"] for key in shared]
    by_seed = [
        compare_pair(mine[key][1]["label"], mine[key][1]["probability"].argmax(1),
                     theirs[key][1]["probability"].argmax(1), classes).p_bootstrap
        for key in shared
    ]  # fmt: skip
    train_count, test_count = mine[shared[0]][0]["train_objects"], len(mine[shared[0]][1]["label"])
    return {
        "first": first,
        "second": second,
        "runs": len(shared),
        "macro_f1_difference": float(np.mean(by_run)),
        "difference_by_run": by_run,
        "pooled_difference": dataclasses.asdict(found.difference),
        "p_bootstrap_pooled": found.p_bootstrap,
        "p_bootstrap_by_run": by_seed,
        "p_mcnemar_pooled": found.p_mcnemar,
        "p_nadeau_bengio": nadeau_bengio(by_run, train_count, test_count),
        "only_first_right": found.only_first,
        "only_second_right": found.only_second,
    }


def pairs_of(runs: Runs) -> list[tuple[str, str]]:
    """The comparisons that were planned, and every ablation of our network against the whole of it."""
    wanted = [pair for pair in PAIRS if pair[0] in runs and pair[1] in runs]
    whole = "vigil-mini"
    ablations = [name for name in runs if name.startswith(ABLATED) and name != whole]
    variants = [name for name in runs if name.startswith("ict-") and name != "ict-convention-mini"]
    wanted += [(whole, name) for name in ablations if whole in runs]
    return wanted + [(name, "convention-mini") for name in variants if "convention-mini" in runs]


class NoRunsError(ValueError):
    """Nothing was trained and scored yet."""


def write_tables(folder: Path, classes: Sequence[str]) -> None:
    """Write table.json and table.md of the runs in a folder.

    Raises
    ------
    NoRunsError
        When there are none.
    """
    runs = read_runs(folder)
    if not runs:
        raise NoRunsError(f"{folder} holds no finished runs yet")
    lines = sorted((summary(name, found, len(classes)) for name, found in runs.items()), key=lambda x: x["macro_f1"])
    tests = [test for pair in pairs_of(runs) if (test := paired(*pair, runs, len(classes))) is not None]
    for test, adjusted in zip(tests, holm([test["p_bootstrap_pooled"] for test in tests]), strict=True):
        test["p_holm"] = adjusted
    table = {"data": next(iter(runs.values()))[0][0]["data"], "systems": lines, "pairs": tests}
    (folder / "table.json").write_text(json.dumps(table, indent=1) + "\n", "utf-8")
    (folder / "table.md").write_text(markdown(table), "utf-8")


def markdown(table: Mapping[str, Any]) -> str:
    """The tables for reading."""
    modes = sorted({mode for line in table["systems"] for mode in line["by_label_mode"]})
    nights = [str(night) for night in CURVE_NIGHTS]
    head = ["system", "parameters", "runs", "accuracy", "macro-F1", "± over runs", *[f"F1 {mode}" for mode in modes]]
    head += ["AUC", "log loss", "ECE", *[f"F1 night {night}" for night in nights], "best epoch on test", "min"]
    rows = [head, ["---"] * len(head)]
    for line in reversed(table["systems"]):
        curve = line["macro_f1_by_night"] or {}
        rows.append(
            [line["system"], shown(line["parameters"], ",d"), str(line["runs"]), shown(line["accuracy"]),
             shown(line["macro_f1"]), shown(line["macro_f1_sd_over_runs"]),
             *[shown(line["by_label_mode"].get(mode)) for mode in modes],
             shown(line["auc"]), shown(line["log_loss"]), shown(line["ece"]),
             *[shown(curve.get(night)) for night in nights],
             shown(line["authors_habit_macro_f1"]), shown(line["train_minutes"], ".1f")]
        )  # fmt: skip
    text = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    text += "\n\n| pair | runs | Δ macro-F1 | 95 % (pooled) | p bootstrap | p Holm | p McNemar | p Nadeau–Bengio |\n"
    text += "| --- | --- | --- | --- | --- | --- | --- | --- |\n"
    for test in table["pairs"]:
        pooled = test["pooled_difference"]
        text += (
            f"| {test['first']} − {test['second']} | {test['runs']} | {test['macro_f1_difference']:+.3f} | "
            f"[{pooled['low']:+.3f}, {pooled['high']:+.3f}] | {test['p_bootstrap_pooled']:.3g} | "
            f"{test['p_holm']:.3g} | {test['p_mcnemar_pooled']:.3g} | {shown(test['p_nadeau_bengio'], '.3g')} |\n"
        )
    return text


def shown(value: float | None, how: str = ".3f") -> str:
    return "–" if value is None or math.isnan(value) else format(value, how)
