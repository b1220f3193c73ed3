"""Scores with intervals of labelled probabilities: four classes, supernova or not, type Ia among supernovae.

Legend: ``N`` objects, ``K`` classes, ``R`` resamples.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.taxonomy import SUPERNOVAE
from model.training.evaluation.calibrate import unknown_scores
from model.training.evaluation.early import in_mix
from model.training.evaluation.intervals import (
    bootstrap,
    drawn_weights,
    macro_f1_interval,
    range_of,
    wilson,
)
from model.training.evaluation.scoring import balanced_accuracy, calibration_error, score
from model.training.evaluation.weighted import weighted_auc, weighted_scores

LARGEST_FALSE_RATE = 0.1
RESAMPLES = 1000
FEWEST_OF_A_KIND = 2


def scored(label_N: NDArray, p_NK: NDArray, classes: tuple[str, ...]) -> dict[str, Any]:
    """Scores with intervals, and how well supernovae are told from the rest."""
    count, chosen_N = len(classes), p_NK.argmax(1)
    reached = score(label_N, p_NK, classes)
    hits = np.diagonal(np.array(reached.confusion))
    kinds = [classes.index(name) for name in SUPERNOVAE]
    sn_N, is_sn_N = p_NK[:, kinds].sum(1), np.isin(label_N, kinds)
    return {
        **dataclasses.asdict(reached),
        "macro_f1_interval": dataclasses.asdict(macro_f1_interval(label_N, chosen_N, count)),
        "balanced_accuracy_interval": dataclasses.asdict(
            bootstrap(label_N, lambda rows: balanced_accuracy(label_N[rows], chosen_N[rows], count))
        ),
        "recall_interval": {
            name: dataclasses.asdict(wilson(int(hits[k]), int((label_N == k).sum()))) for k, name in enumerate(classes)
        },
        "supernova_auroc": unknown_scores(sn_N[~is_sn_N], sn_N[is_sn_N]).auroc,
        "supernova_recall": dataclasses.asdict(wilson(int((sn_N > 0.5)[is_sn_N].sum()), int(is_sn_N.sum()))),
        "false_supernovae": dataclasses.asdict(wilson(int((sn_N > 0.5)[~is_sn_N].sum()), int((~is_sn_N).sum()))),
    }


def scored_in_mix(
    label_N: NDArray, p_NK: NDArray, classes: tuple[str, ...], mix_K: NDArray, seed: int = 0
) -> dict[str, Any]:
    """Scores if the classes came in other shares ``mix_K``: every object counts by its class, and is drawn as one.

    Recalls do not ask how common a class is, and stay what they are; what does is weighted, resamples too.
    """
    weight_N = in_mix(label_N, mix_K)
    once_1N = np.ones((1, len(label_N)))
    weight_RN = np.concatenate([once_1N, drawn_weights(label_N, np.random.default_rng(seed))]) * weight_N
    kinds = [classes.index(name) for name in SUPERNOVAE]
    drawn = weighted_scores(label_N, p_NK, weight_RN)
    drawn["supernova_auroc"] = weighted_auc(p_NK[:, kinds].sum(1), np.isin(label_N, kinds), weight_RN)
    intervals = {name: range_of(drawn_R[1:], float(drawn_R[0])) for name, drawn_R in drawn.items()}
    plain = scored(label_N, p_NK, classes)
    return {
        "objects": len(label_N),
        "mix": dict(zip(classes, (mix_K / mix_K.sum()).tolist(), strict=True)),
        **{name: plain[name] for name in ("recall", "recall_interval", "worst_recall")},
        **{name: interval.value for name, interval in intervals.items()},
        **{f"{name}_interval": dataclasses.asdict(interval) for name, interval in intervals.items()},
    }


def supernova_of(p_NK: NDArray, classes: tuple[str, ...]) -> NDArray[np.float64]:
    """The probability of a supernova, whatever its type."""
    return p_NK[:, [classes.index(name) for name in SUPERNOVAE]].sum(1)


def ia_share_of(p_NK: NDArray, classes: tuple[str, ...]) -> NDArray[np.float64]:
    """The probability of type Ia, given a supernova."""
    return p_NK[:, classes.index("SNIa")] / np.maximum(supernova_of(p_NK, classes), 1e-12)


def recalls_at(positive_N: NDArray, negative_M: NDArray, largest: float = LARGEST_FALSE_RATE) -> NDArray[np.float64]:
    """The share of positives above the k-th highest negative, for every k that a rate up to ``largest`` lets pass.

    Order statistics, not interpolated quantiles: with 263 negatives a rate of 1 % lets two pass, not two and a half.
    """
    highest = np.sort(negative_M)[::-1][: int(largest * len(negative_M)) + 1]
    return 1 - np.searchsorted(np.sort(positive_N), highest, side="right") / len(positive_N)


def p10(positive_N: NDArray, negative_M: NDArray) -> float:
    """Mean recall over false rates of 0 to 10 %."""
    return float(recalls_at(positive_N, negative_M).mean())


def recall_at_percent(positive_N: NDArray, negative_M: NDArray) -> float:
    """Recall at 1 % false."""
    return float(recalls_at(positive_N, negative_M, 0.01)[-1])


def auc(positive_N: NDArray, negative_M: NDArray) -> float:
    """Area under the curve of one score: the share of pairs in order, ties counting half."""
    ordered_M = np.sort(negative_M)
    below, not_above = (np.searchsorted(ordered_M, positive_N, side=side) for side in ("left", "right"))
    return float((below + not_above).mean() / 2 / len(negative_M))


BINARY: dict[str, Callable[[NDArray, NDArray], float]] = {
    "auc": auc,
    "p10": p10,
    "recall_at_1_percent": recall_at_percent,
}


def binary(value_N: NDArray, is_N: NDArray, names: tuple[str, ...] = tuple(BINARY)) -> dict[str, Any]:
    """One score against a yes or no, each number with its interval (objects drawn within each kind)."""
    counts = {"positive": int(is_N.sum()), "negative": int((~is_N).sum())}
    if min(counts.values()) < FEWEST_OF_A_KIND:
        return counts
    intervals = {
        name: dataclasses.asdict(bootstrap(is_N, _of_rows(BINARY[name], value_N, is_N), RESAMPLES)) for name in names
    }
    return {**counts, **intervals}


def _of_rows(of: Callable[[NDArray, NDArray], float], value_N: NDArray, is_N: NDArray) -> Callable[[NDArray], float]:
    return lambda rows: of(value_N[rows][is_N[rows]], value_N[rows][~is_N[rows]])


def paired(ours_N: NDArray, theirs_N: NDArray, is_N: NDArray, name: str) -> dict[str, float]:
    """How much better one score is than another on the same objects, the same objects drawn for both."""
    of_ours, of_theirs = (_of_rows(BINARY[name], value_N, is_N) for value_N in (ours_N, theirs_N))
    return dataclasses.asdict(bootstrap(is_N, lambda rows: of_ours(rows) - of_theirs(rows), RESAMPLES))


def honest_error(p_NK: NDArray, draws: int = 400, seed: int = 0) -> dict[str, float]:
    """The calibration error that a forecaster who is exactly right about chance would have on as many objects."""
    rng = np.random.default_rng(seed)
    best_N = p_NK.max(1)
    drawn = [calibration_error(best_N, rng.random(len(best_N)) < best_N) for _ in range(draws)]
    return {"median": float(np.median(drawn)), "high": float(np.quantile(drawn, 0.95))}


def at_threshold(value_N: NDArray, is_N: NDArray, threshold: float) -> dict[str, Any]:
    """Recall and false ones above a threshold that was fixed elsewhere."""
    above_N = value_N > threshold
    return {
        "threshold": threshold,
        "recall": dataclasses.asdict(wilson(int(above_N[is_N].sum()), int(is_N.sum()))),
        "false": dataclasses.asdict(wilson(int(above_N[~is_N].sum()), int((~is_N).sum()))),
        "false_objects": int(above_N[~is_N].sum()),
    }
