"""Runs of one system in, its answers pooled into one per seed, and the interval of their mean score out.

Runs on folds of one seed answer about other objects each: together they are one answer out of fold. It knows no system.

Legend: ``S`` seeds, ``N`` objects that any seed was asked about, ``R`` resamples, ``K`` classes.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.training.intervals import RESAMPLES, Interval, f1_of, range_of

SPLIT, FOLDS = "test split", "out of fold"


@dataclass(frozen=True, slots=True)
class Pool:
    """All answers of one system with one seed: to the test split, or to every object of the folds that were run."""

    protocol: str
    seed: int
    entries: tuple[Mapping[str, Any], ...]  # what each run told of itself, in the order of its folds
    row_N: NDArray[np.int64]
    label_N: NDArray[np.int64]
    probability_NK: NDArray[np.float32]
    mode_N: NDArray[np.str_] | None  # label mode of each object, where the runs kept it


Run = tuple[Mapping[str, Any], Mapping[str, NDArray]]


def protocol_of(entry: Mapping[str, Any]) -> str:
    return SPLIT if entry["fold"] is None else FOLDS


def pools_of(runs: Sequence[Run]) -> list[Pool]:
    """The runs of one system by protocol and seed."""
    found: dict[tuple[str, int], list[Run]] = defaultdict(list)
    for run in runs:
        found[protocol_of(run[0]), run[0]["seed"]].append(run)
    pools = []
    for (protocol, seed), parts in sorted(found.items()):
        entries, answers = zip(*sorted(parts, key=lambda run: run[0]["fold"] or 0), strict=True)
        knows_modes = all("mode" in kept for kept in answers)
        pools.append(
            Pool(
                protocol,
                seed,
                entries,
                row_N=np.concatenate([kept["row"] for kept in answers]),
                label_N=np.concatenate([kept["label"] for kept in answers]),
                probability_NK=np.concatenate([kept["probability"] for kept in answers]),
                mode_N=np.concatenate([kept["mode"] for kept in answers]) if knows_modes else None,
            )
        )
    return pools


def macro_f1_over_seeds(pools: Sequence[Pool], classes: int) -> Interval:
    """Mean macro-F1 of the seeds, and its interval over both objects and seeds."""
    return _mean_over_seeds(*_tables(pools, classes))[0]


def difference_over_seeds(first: Sequence[Pool], second: Sequence[Pool], classes: int) -> tuple[Interval, float]:
    """Mean macro-F1 of one system less that of another over the same seeds and objects, and its two-sided p.

    Objects are resampled within classes, each time the same ones for both systems and all seeds; seeds in pairs.
    """
    label_N, mine = _tables(first, classes)
    same_N, theirs = _tables(second, classes)
    assert np.array_equal(label_N, same_N)
    interval, drawn_R = _mean_over_seeds(label_N, mine, theirs)
    below = (np.sum(drawn_R <= 0) + 1) / (len(drawn_R) + 1)
    above = (np.sum(drawn_R >= 0) + 1) / (len(drawn_R) + 1)
    return interval, float(min(1.0, 2 * min(below, above)))


def _tables(pools: Sequence[Pool], classes: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Labels [N] of all objects, and of each seed where an object falls in its table of confusion, [S, N, K * K]."""
    row_N, first = np.unique(np.concatenate([pool.row_N for pool in pools]), return_index=True)
    label_N = np.concatenate([pool.label_N for pool in pools])[first]
    where_SNP = np.zeros((len(pools), len(row_N), classes**2), np.float32)
    for s, pool in enumerate(pools):
        at = np.searchsorted(row_N, pool.row_N)
        where_SNP[s, at, pool.label_N * classes + pool.probability_NK.argmax(1)] = 1
    return label_N, where_SNP


def _mean_over_seeds(
    label_N: NDArray[np.int64],
    where_SNP: NDArray[np.float32],
    less_SNP: NDArray[np.float32] | None = None,
    seed: int = 0,
) -> tuple[Interval, NDArray[np.float64]]:
    """The mean over seeds of macro-F1, less that of other tables; its interval, and the resampled values [R]."""
    rng = np.random.default_rng(seed)
    weight_RN = np.zeros((RESAMPLES, len(label_N)), np.float32)
    for k in np.unique(label_N):
        members = np.flatnonzero(label_N == k)
        weight_RN[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), RESAMPLES)
    seeds_RS = rng.integers(len(where_SNP), size=(RESAMPLES, len(where_SNP)))

    def scores(tables_SNP: NDArray[np.float32], weight_RN: NDArray[np.float32]) -> NDArray[np.float64]:
        classes = round(tables_SNP.shape[2] ** 0.5)
        drawn = [f1_of((weight_RN @ table_NP).reshape(-1, classes, classes)) for table_NP in tables_SNP]
        return np.stack(drawn, axis=1)

    once_1N = np.ones((1, len(label_N)), np.float32)
    drawn_RS, value_1S = scores(where_SNP, weight_RN), scores(where_SNP, once_1N)
    if less_SNP is not None:
        drawn_RS, value_1S = drawn_RS - scores(less_SNP, weight_RN), value_1S - scores(less_SNP, once_1N)
    drawn_R = np.take_along_axis(drawn_RS, seeds_RS, axis=1).mean(axis=1)
    return range_of(drawn_R, float(value_1S.mean())), drawn_R
