"""Pooled answers of the runs of one system, one a seed, and the intervals of their mean scores.

Runs on folds of one seed answer about other objects each: together they are one answer out of fold. It knows no system.

Legend: ``S`` seeds, ``N`` objects that any seed was asked about, ``R`` resamples, ``K`` classes.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.training.evaluation.intervals import RESAMPLES, Interval, drawn_weights, range_of, two_sided_p
from model.training.evaluation.scoring import SMALLEST_PROBABILITY
from model.training.evaluation.weighted import SCORES, weighted_scores

SPLIT, FOLDS = "test split", "out of fold"


@dataclass(frozen=True, slots=True)
class PooledRuns:
    """All answers of one system with one seed: to the test split, or to every object of the folds that were run."""

    protocol: str
    seed: int
    entries: tuple[Mapping[str, Any], ...]  # what each run told of itself, in the order of its folds
    row_N: NDArray[np.int64]
    label_N: NDArray[np.int64]
    probability_NK: NDArray[np.float32]
    mode_N: NDArray[np.str_] | None  # label mode of each object, where the runs kept it
    at_night: Mapping[int, NDArray[np.float64]] = field(default_factory=dict)  # [N, K] after so many, where all kept it

    def answers(self, night: int | None = None) -> NDArray:
        """Probabilities [N, K] after so many nights since the first detection; the last ones by default."""
        return self.probability_NK if night is None else self.at_night[night]


Intervals = dict[str, Interval]  # by score, those of model.training.evaluation.weighted.SCORES
Run = tuple[Mapping[str, Any], Mapping[str, NDArray]]


def protocol_of(entry: Mapping[str, Any]) -> str:
    return SPLIT if entry["fold"] is None else FOLDS


def pools_of(runs: Sequence[Run]) -> list[PooledRuns]:
    """The runs of one system by protocol and seed."""
    runs_of: dict[tuple[str, int], list[Run]] = defaultdict(list)
    for run in runs:
        runs_of[protocol_of(run[0]), run[0]["seed"]].append(run)
    pools = []
    for (protocol, seed), parts in sorted(runs_of.items()):
        entries, answers = zip(*sorted(parts, key=lambda run: run[0]["fold"] or 0), strict=True)
        knows_modes = all("mode" in answer for answer in answers)
        pools.append(
            PooledRuns(
                protocol,
                seed,
                entries,
                row_N=np.concatenate([answer["row"] for answer in answers]),
                label_N=np.concatenate([answer["label"] for answer in answers]),
                probability_NK=np.concatenate([answer["probability"] for answer in answers]),
                mode_N=np.concatenate([answer["mode"] for answer in answers]) if knows_modes else None,
                at_night=_at_night(answers),
            )
        )
    return pools


def kept_by_night(probability_VNK: NDArray, nights: Sequence[int]) -> dict[str, NDArray]:
    """What a run keeps of its answers after each number of nights: logarithms, for half floats have no small shares."""
    log_VNK = np.log(np.clip(probability_VNK, SMALLEST_PROBABILITY, 1.0))
    return {"night": np.array(nights, np.int16), "log_probability_by_night": log_VNK.astype(np.float16)}


def _at_night(answers: Sequence[Mapping[str, NDArray]]) -> dict[int, NDArray[np.float64]]:
    """The answers of several runs after each number of nights that all of them kept."""
    if not all("night" in answer for answer in answers):
        return {}
    by_run = [
        dict(zip(answer["night"].tolist(), answer["log_probability_by_night"], strict=True)) for answer in answers
    ]
    shared = [night for night in by_run[0] if all(night in answers_at for answers_at in by_run)]
    log_VNK = {night: np.concatenate([answers_at[night] for answers_at in by_run]).astype(float) for night in shared}
    return {night: np.exp(log_NK) / np.exp(log_NK).sum(1, keepdims=True) for night, log_NK in log_VNK.items()}


def intervals_over_seeds(
    pools: Sequence[PooledRuns], night: int | None = None, resamples: int = RESAMPLES
) -> Intervals:
    """The mean of the seeds' scores, and its interval over both objects and seeds.

    Parameters
    ----------
    night
        Score what was answered after so many nights, which every pool must hold; by default the last answers.
    """
    drawn = _resampled(pools, None, night, resamples)
    return {name: range_of(drawn_R[1:], float(drawn_R[0])) for name, drawn_R in drawn.items()}


def differences_over_seeds(
    first: Sequence[PooledRuns], second: Sequence[PooledRuns], night: int | None = None, resamples: int = RESAMPLES
) -> tuple[Intervals, dict[str, float]]:
    """Mean scores of one system less those of another over the same seeds and objects, and their two-sided p.

    Objects are resampled within classes, each time the same ones for both systems and all seeds; seeds in pairs.
    """
    drawn = _resampled(first, second, night, resamples)
    differences = {name: range_of(drawn_R[1:], float(drawn_R[0])) for name, drawn_R in drawn.items()}
    return differences, {name: two_sided_p(drawn_R[1:]) for name, drawn_R in drawn.items()}


def _objects(pools: Sequence[PooledRuns]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and labels [N] of all objects that any seed was asked about."""
    row_N, first = np.unique(np.concatenate([pool.row_N for pool in pools]), return_index=True)
    return row_N, np.concatenate([pool.label_N for pool in pools])[first]


def mean_answers(pools: Sequence[PooledRuns]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """One answer an object: the label and the mean probability of the seeds that were asked, in order of rows."""
    row_N, label_N = _objects(pools)
    total_NK, asked_N = np.zeros((len(row_N), pools[0].probability_NK.shape[1])), np.zeros(len(row_N))
    for pool in pools:
        at = np.searchsorted(row_N, pool.row_N)
        total_NK[at] += pool.probability_NK
        asked_N[at] += 1
    return label_N, total_NK / asked_N[:, None]


def _resampled(
    pools: Sequence[PooledRuns], less: Sequence[PooledRuns] | None, night: int | None, resamples: int, seed: int = 0
) -> dict[str, NDArray[np.float64]]:
    """Scores, mean over seeds and less those of other pools: first of all objects and seeds, then of resamples."""
    rng = np.random.default_rng(seed)
    row_N, label_N = _objects(pools)
    drawn_RN = drawn_weights(label_N, rng, resamples)
    # One seed fewer than there are: as many would have (S - 1) / S of the variance of their mean (Rao and Wu 1988).
    drawn_RS = rng.integers(len(pools), size=(resamples, max(1, len(pools) - 1)))
    weight_RN = np.concatenate([np.ones((1, len(label_N)), np.float32), drawn_RN])

    def scores(pool: PooledRuns) -> dict[str, NDArray[np.float64]]:
        assert np.isin(pool.row_N, row_N).all()
        weight_of_pool = weight_RN[:, np.searchsorted(row_N, pool.row_N)]
        return weighted_scores(pool.label_N, pool.answers(night), weight_of_pool)

    scored = [scores(pool) for pool in pools]
    others = [] if less is None else [scores(pool) for pool in less]
    drawn: dict[str, NDArray[np.float64]] = {}
    for name in SCORES:
        score_RS = np.stack([of[name] for of in scored], axis=1)
        if others:
            score_RS = score_RS - np.stack([of[name] for of in others], axis=1)
        of_drawn_seeds_R = np.take_along_axis(score_RS[1:], drawn_RS, axis=1).mean(axis=1)
        drawn[name] = np.concatenate([score_RS[:1].mean(axis=1), of_drawn_seeds_R])
    return drawn
