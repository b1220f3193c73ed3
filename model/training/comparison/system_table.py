"""Tables of systems, from the results of many runs: scores, intervals, paired tests, ranking. It trains nothing.

Answers to the test split and answers out of fold are never mixed: each protocol has tables of its own.
"""

import dataclasses
import json
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from model.training.comparison.markdown import CURVE_NIGHTS, markdown
from model.training.comparison.pairs import PUBLISHED, pairs_of, published, recipe_of_run
from model.training.comparison.pooling import (
    FOLDS,
    SPLIT,
    PooledRuns,
    differences_over_seeds,
    intervals_over_seeds,
    mean_answers,
    pools_of,
    protocol_of,
)
from model.training.evaluation.intervals import holm, mcnemar, nadeau_bengio
from model.training.evaluation.scoring import Scores, macro_f1, score

EARLY_RESAMPLES = 500
ANSWERS = ("row", "label", "probability")  # what every run keeps
BY_CLASS = ("recall", "f1")
BY_NIGHT = ("macro_f1", "balanced_accuracy", "auc", "log_loss", "ece")

Runs = dict[str, list[tuple[dict[str, Any], dict[str, NDArray]]]]


class RunError(ValueError):
    """A folder holds runs that cannot stand in one table with what is asked for."""


def read_runs(folder: Path) -> Runs:
    """Every run that is done, by system: what it scored and what it answered.

    Raises
    ------
    RunError
        When what a run answered cannot be read.
    """
    runs: Runs = defaultdict(list)
    for path in sorted((folder / "runs").glob("*.json")):
        entry = json.loads(path.read_text("utf-8"))
        runs[entry["system"]].append((entry, _answers_of(path)))
    return dict(runs)


def _answers_of(path: Path) -> dict[str, NDArray]:
    """The arrays beside the file of a run."""
    answers_path = path.with_suffix(".npz")
    try:
        with answers_path.open("rb") as file, np.load(file) as arrays:
            answers = {name: arrays[name] for name in arrays.files}
    except (OSError, EOFError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise RunError(f"cannot read {answers_path}: {error}; remove {path} to do that run again") from error
    if absent := [name for name in ANSWERS if name not in answers]:
        raise RunError(f"{answers_path} lacks {', '.join(absent)}: remove {path} to do that run again")
    return answers


def summary(system: str, pools: Sequence[PooledRuns], classes: Sequence[str]) -> dict[str, Any]:
    """One line of the table: means over seeds of the scores of all answers of a seed together."""
    entries = [entry for pool in pools for entry in pool.entries]
    reached = [score(pool.label_N, pool.probability_NK.astype(float), tuple(classes)) for pool in pools]
    f1_S = [scores.macro_f1 for scores in reached]
    intervals = intervals_over_seeds(pools)
    line: dict[str, Any] = {
        "system": system,
        "protocol": pools[0].protocol,
        "runs": len(entries),
        "seeds": len(pools),
        "parameters": entries[0].get("parameters"),
        "macro_f1_sd_over_seeds": float(np.std(f1_S, ddof=1)) if len(pools) > 1 else None,
        **{f"{name}_interval": dataclasses.asdict(interval) for name, interval in intervals.items()},
        **by_class(reached, classes),
        "by_label_mode": by_label_mode(pools, len(classes)),
        "train_minutes": float(np.mean([entry.get("train_seconds", 0.0) for entry in entries])) / 60,
    }
    for name in ("accuracy", "macro_f1", "balanced_accuracy", "auc", "log_loss", "ece", "worst_recall"):
        line[name] = float(np.mean([getattr(scores, name) for scores in reached]))
    line["accuracy_with_prior"] = float(np.mean([accuracy_with_prior(pool, len(classes)) for pool in pools]))
    for name in ("authors_habit_macro_f1", "predict_ms_per_object"):
        values = [entry[name] for entry in entries if name in entry]
        line[name] = float(np.mean(values)) if values else None
    curves = [night_scores(pool, tuple(classes)) for pool in pools]
    for name in BY_NIGHT:
        nights = [night for night in curves[0][name] if all(night in curve[name] for curve in curves)]
        line[f"{name}_by_night"] = {n: float(np.mean([curve[name][n] for curve in curves])) for n in nights} or None
    line["intervals_by_night"] = {
        str(night): {name: dataclasses.asdict(interval) for name, interval in interval_of.items()}
        for night in shared_nights(pools)
        for interval_of in [intervals_over_seeds(pools, night, EARLY_RESAMPLES)]
    }
    return line


def by_class(reached: Sequence[Scores], classes: Sequence[str]) -> dict[str, dict[str, float] | None]:
    """Mean over seeds of the scores of each class, and their standard deviation where there are several seeds."""
    line: dict[str, dict[str, float] | None] = {}
    for of in BY_CLASS:
        values_CS = {name: [getattr(scores, of)[name] for scores in reached] for name in classes}
        line[of] = {name: float(np.mean(values_S)) for name, values_S in values_CS.items()}
        line[f"{of}_sd_over_seeds"] = None
        if len(reached) > 1:
            line[f"{of}_sd_over_seeds"] = {
                name: float(np.std(values_S, ddof=1)) for name, values_S in values_CS.items()
            }
    return line


def accuracy_with_prior(pool: PooledRuns, classes: int) -> float:
    """Accuracy when answers, which are for classes alike, are multiplied by how frequent each class is."""
    prior_K = np.bincount(pool.label_N, minlength=classes) / len(pool.label_N)
    return float(np.mean((pool.probability_NK * prior_K).argmax(1) == pool.label_N))


def shared_nights(pools: Sequence[PooledRuns]) -> list[int]:
    """Those of ``CURVE_NIGHTS`` after which every pool kept its answers."""
    return [night for night in map(int, CURVE_NIGHTS) if all(night in pool.at_night for pool in pools)]


def night_scores(pool: PooledRuns, classes: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Each score of ``BY_NIGHT`` after so many nights: of the answers kept, else what the runs told of themselves."""
    scores: dict[str, dict[str, float]] = {name: {} for name in BY_NIGHT}
    for night, probability_NK in pool.at_night.items():
        reached = score(pool.label_N, probability_NK, classes)
        for name in BY_NIGHT:
            scores[name][str(night)] = getattr(reached, name)
    if not pool.at_night:
        for name in BY_NIGHT:
            curves = [entry.get(f"{name}_by_night", {}) for entry in pool.entries]
            nights = [night for night in curves[0] if all(night in curve for curve in curves)]
            scores[name] = {night: float(np.mean([curve[night] for curve in curves])) for night in nights}
    return scores


def by_label_mode(pools: Sequence[PooledRuns], classes: int) -> dict[str, float]:
    """Macro-F1 of each label mode: of a seed's answers together where these say their mode, else the runs' mean."""
    f1_of: dict[str, list[float]] = defaultdict(list)
    for pool in pools:
        modes = sorted({mode for entry in pool.entries for mode in entry["by_label_mode"]})
        for mode in modes:
            if pool.mode_N is not None:
                at = pool.mode_N == mode
                f1_of[mode].append(macro_f1(pool.label_N[at], pool.probability_NK[at].argmax(1), classes))
            else:
                f1_of_runs = [entry["by_label_mode"][mode]["macro_f1"] for entry in pool.entries]
                f1_of[mode].append(float(np.mean(f1_of_runs)))
    return {mode: float(np.mean(values)) for mode, values in f1_of.items()}


def paired(first: str, second: str, protocol: str, runs: Runs) -> dict[str, Any] | None:
    """What one system has over another in the runs that both have: same fold, same seed, same objects."""
    first_runs, second_runs = (
        {(e["fold"], e["seed"]): (e, a) for e, a in runs[name] if protocol_of(e) == protocol}
        for name in (first, second)
    )
    shared = sorted(first_runs.keys() & second_runs.keys(), key=str)
    if not shared:
        return None
    ours, others = (pools_of([side[key] for key in shared]) for side in (first_runs, second_runs))
    difference, p = differences_over_seeds(ours, others)
    by_seed = [differences_over_seeds([a], [b])[1]["macro_f1"] for a, b in zip(ours, others, strict=True)]
    (label_N, first_NK), (_, second_NK) = mean_answers(ours), mean_answers(others)
    only_first, only_second, p_mcnemar = mcnemar(first_NK.argmax(1) == label_N, second_NK.argmax(1) == label_N)
    by_run = [first_runs[key][0]["scores"]["macro_f1"] - second_runs[key][0]["scores"]["macro_f1"] for key in shared]
    train_count, test_count = first_runs[shared[0]][0]["train_objects"], len(first_runs[shared[0]][1]["label"])
    return {
        "first": first,
        "second": second,
        "protocol": protocol,
        "runs": len(shared),
        "macro_f1_difference": difference["macro_f1"].value,
        "difference_by_run": by_run,
        "difference_interval": dataclasses.asdict(difference["macro_f1"]),
        "p_bootstrap": p["macro_f1"],
        "p_bootstrap_by_seed": by_seed,
        "mcnemar_of_mean_answers": {"p": p_mcnemar, "only_first": only_first, "only_second": only_second},
        # the corrected t-test is one over draws of the training set, which seeds of one split are not
        "p_nadeau_bengio": nadeau_bengio(by_run, train_count, test_count) if protocol == FOLDS else None,
        "differences_by_night": {
            str(night): {name: dataclasses.asdict(interval) for name, interval in interval_of.items()}
            for night in shared_nights([*ours, *others])
            for interval_of in [differences_over_seeds(ours, others, night, EARLY_RESAMPLES)[0]]
        },
    }


def rank_agreement(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Kendall's tau between the systems' macro-F1 here and in the published table; None for fewer than three."""
    reached = {line["system"]: line["macro_f1"] for line in lines}
    counterparts = published(reached)
    if len(counterparts) < 3:
        return None
    tau = stats.kendalltau(
        [reached[system] for system in counterparts.values()], [PUBLISHED[name] for name in counterparts]
    )
    return {"tau": float(tau.statistic), "p": float(tau.pvalue), "systems": sorted(counterparts.values())}


class NoRunsError(ValueError):
    """Nothing was trained and scored yet."""


def write_tables(folder: Path, classes: Sequence[str], pairs: Sequence[tuple[str, str]] = ()) -> None:
    """Write table.json and table.md of the runs in a folder.

    Parameters
    ----------
    pairs
        Systems to compare beside those that :func:`pairs_of` finds, where both have runs; the second is the control.

    Raises
    ------
    NoRunsError
        When there are none.
    RunError
        When what a run answered cannot be read.
    """
    runs = read_runs(folder)
    if not runs:
        raise NoRunsError(f"{folder} holds no finished runs yet")
    found = pairs_of({name: recipe_of_run(runs_of[0][0]) for name, runs_of in runs.items()})
    wanted = dict.fromkeys([*found, *[pair for pair in pairs if runs.keys() >= set(pair)]])
    lines, tests, agreement = [], [], {}
    for protocol in (SPLIT, FOLDS):
        pools = {
            name: [pool for pool in pools_of(runs_of) if pool.protocol == protocol] for name, runs_of in runs.items()
        }
        here = [summary(name, runs_of, classes) for name, runs_of in pools.items() if runs_of]
        if not here:
            continue
        lines += sorted(here, key=lambda line: line["macro_f1"])
        agreement[protocol] = rank_agreement(here)
        compared = (paired(*pair, protocol, runs) for pair in wanted)
        of_protocol = [test for test in compared if test is not None]
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
