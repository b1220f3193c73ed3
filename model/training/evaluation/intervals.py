"""Intervals of scores, and paired tests of two systems on the same objects: what chance alone would do.

It knows no network. Legend: ``N`` objects, ``K`` classes, ``R`` resamples, ``S`` systems or runs.

References
----------
Wilson 1927; Nadeau and Bengio 2003, "Inference for the generalization error"; Holm 1979.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from model.training.evaluation.scoring import confusion, f1_of

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and the range that holds ``LEVEL`` of what resampling gives."""

    value: float
    low: float
    high: float


def resampled_tables(
    label_N: NDArray, chosen_N: NDArray, classes: int, resamples: int = RESAMPLES, seed: int = 0
) -> NDArray[np.int64]:
    """Confusion tables of stratified bootstrap samples: each class keeps its number. Returns [R, K, K].

    A sample of a class is a multinomial draw of its row of the table, which is what drawing objects amounts to.
    """
    rng = np.random.default_rng(seed)
    table = confusion(label_N, chosen_N, classes)
    drawn = np.zeros((resamples, classes, classes), np.int64)
    for k, row in enumerate(table):
        if row.sum():
            drawn[:, k] = rng.multinomial(row.sum(), row / row.sum(), resamples)
    return drawn


def drawn_weights(label_N: NDArray, rng: np.random.Generator, resamples: int = RESAMPLES) -> NDArray[np.float32]:
    """How often each object is in each of many stratified bootstrap samples, [R, N]."""
    weight_RN = np.zeros((resamples, len(label_N)), np.float32)
    for k in np.unique(label_N):
        members = np.flatnonzero(label_N == k)
        weight_RN[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), resamples)
    return weight_RN


def two_sided_p(difference_R: NDArray) -> float:
    """How often resampled differences fall on the rarer side of 0, twice; never less than their number allows."""
    below = (np.sum(difference_R <= 0) + 1) / (len(difference_R) + 1)
    above = (np.sum(difference_R >= 0) + 1) / (len(difference_R) + 1)
    return float(min(1.0, 2 * min(below, above)))


def range_of(values_R: NDArray, value: float, level: float = LEVEL) -> Interval:
    """Percentile interval of resampled values around the value of the whole sample."""
    low, high = np.nanquantile(values_R, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def macro_f1_interval(label_N: NDArray, chosen_N: NDArray, classes: int, seed: int = 0) -> Interval:
    """Macro-F1 with its bootstrap interval."""
    value = float(f1_of(confusion(label_N, chosen_N, classes)[None])[0])
    return range_of(f1_of(resampled_tables(label_N, chosen_N, classes, seed=seed)), value)


def bootstrap(label_N: NDArray, values: Callable[[NDArray], float], resamples: int = 500, seed: int = 0) -> Interval:
    """Any score with its stratified bootstrap interval.

    Parameters
    ----------
    values
        The score of the objects with these row numbers.
    """
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(label_N == k) for k in np.unique(label_N)]
    drawn = [values(np.concatenate([rng.choice(m, len(m)) for m in members])) for _ in range(resamples)]
    return range_of(np.array(drawn), values(np.arange(len(label_N))))


def wilson(hits: int, trials: int, level: float = LEVEL) -> Interval:
    """A share with its Wilson score interval; 0 to 1 when nothing was tried."""
    if trials == 0:
        return Interval(float("nan"), 0.0, 1.0)
    interval = stats.binomtest(hits, trials).proportion_ci(level, "wilson")
    return Interval(hits / trials, float(interval.low), float(interval.high))


@dataclass(frozen=True, slots=True)
class Comparison:
    """What one system has over another on the same objects."""

    difference: Interval  # of macro-F1, first minus second
    p_bootstrap: float  # two-sided
    p_mcnemar: float  # exact, two-sided, on accuracy
    only_first: int  # objects that only the first system classes rightly
    only_second: int


def compare_pair(
    label_N: NDArray,
    first_N: NDArray,
    second_N: NDArray,
    classes: int,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare the choices of two systems on the same objects.

    Objects are resampled within classes, both choices together.
    """
    rng = np.random.default_rng(seed)
    joint_KP = np.stack(
        [np.bincount(first_N[label_N == k] * classes + second_N[label_N == k], minlength=classes**2)
         for k in range(classes)]
    )  # fmt: skip
    drawn_RKP = np.stack(
        [rng.multinomial(row.sum(), row / max(row.sum(), 1), resamples) if row.sum()
         else np.zeros((resamples, classes**2), np.int64) for row in joint_KP], axis=1
    )  # fmt: skip
    drawn = drawn_RKP.reshape(resamples, classes, classes, classes)
    difference_R = f1_of(drawn.sum(3)) - f1_of(drawn.sum(2))
    both = joint_KP.reshape(1, classes, classes, classes)
    value = float(f1_of(both.sum(3))[0] - f1_of(both.sum(2))[0])
    only_first, only_second, p_mcnemar = mcnemar(first_N == label_N, second_N == label_N)
    return Comparison(range_of(difference_R, value), two_sided_p(difference_R), p_mcnemar, only_first, only_second)


def mcnemar(first_N: NDArray[np.bool_], second_N: NDArray[np.bool_]) -> tuple[int, int, float]:
    """Objects that only the first, and only the second answers rightly; the exact two-sided p of their numbers."""
    only_first, only_second = int(np.sum(first_N & ~second_N)), int(np.sum(~first_N & second_N))
    discordant = only_first + only_second
    return only_first, only_second, float(stats.binomtest(only_first, discordant).pvalue) if discordant else 1.0


def nadeau_bengio(difference_S: Sequence[float], train_count: int, test_count: int) -> float:
    """Two-sided p of the corrected resampled t-test over folds or runs; NaN for fewer than two."""
    runs = len(difference_S)
    if runs < 2:
        return float("nan")
    mean, variance = float(np.mean(difference_S)), float(np.var(difference_S, ddof=1))
    if variance == 0:
        return 1.0 if mean == 0 else 0.0
    t = mean / np.sqrt((1 / runs + test_count / train_count) * variance)
    return float(2 * stats.t.sf(abs(t), runs - 1))


def holm(p_S: Sequence[float]) -> list[float]:
    """Step-down adjusted p values of several tests, in the order given."""
    order = np.argsort(p_S)
    adjusted = np.empty(len(p_S))
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_S) - rank) * p_S[index]))
        adjusted[index] = highest
    return adjusted.tolist()
