"""The results of many runs in, tables of systems out: scores, intervals, paired tests, ranking. It trains nothing.

Answers to the test split and answers out of fold are never mixed: each protocol has tables of its own.
"""

import dataclasses
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from model.training.intervals import compare_pair, holm, nadeau_bengio
from model.training.metrics import macro_f1, score
from model.training.pools import (
    FOLDS,
    SPLIT,
    Pool,
    difference_over_seeds,
    macro_f1_over_seeds,
    pools_of,
    protocol_of,
)

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
BY_NIGHT = ("macro_f1_by_night", "auc_by_night", "log_loss_by_night")
PUBLISHED = {  # macro-F1 in the published table
    "ict-convention": 0.7533,
    "convention": 0.7062,
    "cnn-gru": 0.6322,
    "cnn-lstm": 0.6065,
    "supernnova-bayesian": 0.5540,
    "sits-bert": 0.5160,
    "scone": 0.5043,
    "supernnova": 0.4260,
    "lstm": 0.4033,
}

Runs = dict[str, list[tuple[dict[str, Any], dict[str, NDArray]]]]


def read_runs(folder: Path) -> Runs:
    """Every run that is done, by system: what it scored and what it answered."""
    runs: Runs = defaultdict(list)
    for path in sorted((folder / "runs").glob("*.json")):
        entry = json.loads(path.read_text("utf-8"))
        with np.load(path.with_suffix(".npz")) as kept:
            runs[entry["system"]].append((entry, {name: kept[name] for name in kept.files}))
    return dict(runs)


def summary(system: str, pools: Sequence[Pool], classes: Sequence[str]) -> dict[str, Any]:
    """One line of the table: means over seeds of the scores of all answers of a seed together."""
    entries = [entry for pool in pools for entry in pool.entries]
    reached = [score(pool.label_N, pool.probability_NK.astype(float), tuple(classes)) for pool in pools]
    f1_S = [scores.macro_f1 for scores in reached]
    line: dict[str, Any] = {
        "system": system,
        "protocol": pools[0].protocol,
        "runs": len(entries),
        "seeds": len(pools),
        "parameters": entries[0].get("parameters"),
        "macro_f1": float(np.mean(f1_S)),
        "macro_f1_sd_over_seeds": float(np.std(f1_S, ddof=1)) if len(pools) > 1 else None,
        "macro_f1_interval": dataclasses.asdict(macro_f1_over_seeds(pools, len(classes))),
        "by_label_mode": by_label_mode(pools, len(classes)),
        "train_minutes": float(np.mean([entry.get("train_seconds", 0.0) for entry in entries])) / 60,
    }
    for name in ("accuracy", "balanced_accuracy", "auc", "log_loss", "ece", "worst_recall"):
        line[name] = float(np.mean([getattr(scores, name) for scores in reached]))
    for name in ("authors_habit_macro_f1", "predict_ms_per_object"):
        values = [entry[name] for entry in entries if name in entry]
        line[name] = float(np.mean(values)) if values else None
    for name in BY_NIGHT:
        curves = [entry[name] for entry in entries if name in entry]
        line[name] = (
            {night: float(np.mean([curve[night] for curve in curves])) for night in curves[0]} if curves else None
        )
    return line


def by_label_mode(pools: Sequence[Pool], classes: int) -> dict[str, float]:
    """Macro-F1 of each label mode: of a seed's answers together where these say their mode, else the runs' mean."""
    found: dict[str, list[float]] = defaultdict(list)
    for pool in pools:
        modes = sorted({mode for entry in pool.entries for mode in entry["by_label_mode"]})
        for mode in modes:
            if pool.mode_N is not None:
                at = pool.mode_N == mode
                found[mode].append(macro_f1(pool.label_N[at], pool.probability_NK[at].argmax(1), classes))
            else:
                told = [entry["by_label_mode"][mode]["macro_f1"] for entry in pool.entries]
                found[mode].append(float(np.mean(told)))
    return {mode: float(np.mean(values)) for mode, values in found.items()}


def paired(first: str, second: str, protocol: str, runs: Runs, classes: int) -> dict[str, Any] | None:
    """What one system has over another in the runs that both have: same fold, same seed, same objects."""
    mine, theirs = (
        {(e["fold"], e["seed"]): (e, a) for e, a in runs[name] if protocol_of(e) == protocol}
        for name in (first, second)
    )
    shared = sorted(mine.keys() & theirs.keys(), key=str)
    if not shared:
        return None
    ours, others = (pools_of([side[key] for key in shared]) for side in (mine, theirs))
    difference, p_bootstrap = difference_over_seeds(ours, others, classes)
    by_seed = [difference_over_seeds([a], [b], classes) for a, b in zip(ours, others, strict=True)]
    label = np.concatenate([pool.label_N for pool in ours])
    a, b = (np.concatenate([pool.probability_NK.argmax(1) for pool in side]) for side in (ours, others))
    found = compare_pair(label, a, b, classes)
    by_run = [mine[key][0]["scores"]["macro_f1"] - theirs[key][0]["scores"]["macro_f1"] for key in shared]
    train_count, test_count = mine[shared[0]][0]["train_objects"], len(mine[shared[0]][1]["label"])
    return {
        "first": first,
        "second": second,
        "protocol": protocol,
        "runs": len(shared),
        "macro_f1_difference": difference.value,
        "difference_by_run": by_run,
        "difference_interval": dataclasses.asdict(difference),
        "p_bootstrap": p_bootstrap,
        "p_bootstrap_by_seed": [p for _, p in by_seed],
        "p_mcnemar_pooled": found.p_mcnemar,
        "p_nadeau_bengio": nadeau_bengio(by_run, train_count, test_count),
        "only_first_right": found.only_first,
        "only_second_right": found.only_second,
    }


def rank_agreement(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Kendall's tau between the systems' macro-F1 here and in the published table; None for fewer than three."""
    found = {name: line["macro_f1"] for line in lines if (name := line["system"].removesuffix("-mini")) in PUBLISHED}
    if len(found) < 3:
        return None
    here, there = list(found.values()), [PUBLISHED[name] for name in found]
    tau = stats.kendalltau(here, there)
    return {"tau": float(tau.statistic), "p": float(tau.pvalue), "systems": sorted(found)}


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
    lines, tests, agreement = [], [], {}
    for protocol in (SPLIT, FOLDS):
        pools = {name: [pool for pool in pools_of(found) if pool.protocol == protocol] for name, found in runs.items()}
        here = [summary(name, found, classes) for name, found in pools.items() if found]
        if not here:
            continue
        lines += sorted(here, key=lambda line: line["macro_f1"])
        agreement[protocol] = rank_agreement(here)
        pairs = (paired(*pair, protocol, runs, len(classes)) for pair in pairs_of(runs))
        of_protocol = [test for test in pairs if test is not None]
        for test, adjusted in zip(of_protocol, holm([test["p_bootstrap"] for test in of_protocol]), strict=True):
            test["p_holm"] = adjusted
        tests += of_protocol
    table = {
        "data": next(iter(runs.values()))[0][0]["data"],
        "systems": lines,
        "pairs": tests,
        "agreement_with_published_ranking": agreement,
    }
    (folder / "table.json").write_text(json.dumps(table, indent=1) + "\n", "utf-8")
    (folder / "table.md").write_text(markdown(table), "utf-8")


def markdown(table: Mapping[str, Any]) -> str:
    """The tables for reading, one protocol after the other."""
    protocols = [name for name in (SPLIT, FOLDS) if any(line["protocol"] == name for line in table["systems"])]
    parts = []
    for protocol in protocols:
        lines, tests = ([one for one in table[of] if one["protocol"] == protocol] for of in ("systems", "pairs"))
        text = systems_table(lines)
        if (agreement := table["agreement_with_published_ranking"][protocol]) is not None:
            text += (
                f"\nKendall's τ between this ranking and the published one over {len(agreement['systems'])} systems: "
                f"{agreement['tau']:.2f} (p {agreement['p']:.2g}); a stand-in for the published size would need 0.7.\n"
            )
        if tests:
            text += "\n" + pairs_table(tests)
        parts.append(text if len(protocols) == 1 else f"{protocol.capitalize()}:\n\n{text}")
    return "\n".join(parts)


def systems_table(lines: Sequence[Mapping[str, Any]]) -> str:
    modes = sorted({mode for line in lines for mode in line["by_label_mode"]})
    nights = [str(night) for night in CURVE_NIGHTS]
    head = ["system", "parameters", "runs", "accuracy", "macro-F1", "95 %", "± over seeds"]
    head += [f"F1 {mode}" for mode in modes]
    head += ["AUC", "log loss", "ECE", *[f"F1 night {night}" for night in nights], "best epoch on test", "min"]
    rows = [head, ["---"] * len(head)]
    for line in reversed(lines):
        curve, interval = line["macro_f1_by_night"] or {}, line["macro_f1_interval"]
        rows.append(
            [line["system"], shown(line["parameters"], ",d"), str(line["runs"]), shown(line["accuracy"]),
             shown(line["macro_f1"]), f"[{interval['low']:.3f}, {interval['high']:.3f}]",
             shown(line["macro_f1_sd_over_seeds"]), *[shown(line["by_label_mode"].get(mode)) for mode in modes],
             shown(line["auc"]), shown(line["log_loss"]), shown(line["ece"]),
             *[shown(curve.get(night)) for night in nights],
             shown(line["authors_habit_macro_f1"]), shown(line["train_minutes"], ".1f")]
        )  # fmt: skip
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def pairs_table(tests: Sequence[Mapping[str, Any]]) -> str:
    text = "| pair | runs | Δ macro-F1 | 95 % | p bootstrap | p Holm | p McNemar | p Nadeau–Bengio |\n"
    text += "| --- | --- | --- | --- | --- | --- | --- | --- |\n"
    for test in tests:
        interval = test["difference_interval"]
        text += (
            f"| {test['first']} − {test['second']} | {test['runs']} | {test['macro_f1_difference']:+.3f} | "
            f"[{interval['low']:+.3f}, {interval['high']:+.3f}] | {test['p_bootstrap']:.3g} | "
            f"{test['p_holm']:.3g} | {test['p_mcnemar_pooled']:.3g} | {shown(test['p_nadeau_bengio'], '.3g')} |\n"
        )
    return text


def shown(value: float | None, how: str = ".3f") -> str:
    return "–" if value is None or math.isnan(value) else format(value, how)
