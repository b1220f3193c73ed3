"""Scores of probabilities against labels. It knows no network and no survey.

Legend: ``N`` objects, ``K`` classes, ``Q`` bins.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics as sk

SMALLEST_PROBABILITY = 1e-15
ECE_BINS = 15


def confusion(label_N: NDArray, chosen_N: NDArray, classes: int) -> NDArray[np.int64]:
    """Counts [true, chosen]."""
    return np.bincount(label_N * classes + chosen_N, minlength=classes * classes).reshape(classes, classes)


def macro_f1(label_N: NDArray, chosen_N: NDArray, classes: int) -> float:
    """Mean over classes of the harmonic mean of precision and recall; 0 for a class never chosen."""
    table = confusion(label_N, chosen_N, classes)
    return float(f1_of(table[None])[0])


def f1_of(table_RKK: NDArray) -> NDArray[np.float64]:
    """Macro-F1 of many confusion tables at once; classes that are absent from labels and choices do not count."""
    hit = np.diagonal(table_RKK, axis1=1, axis2=2).astype(float)
    both = table_RKK.sum(1) + table_RKK.sum(2)
    with np.errstate(divide="ignore", invalid="ignore"):
        f1_RK = np.where(both > 0, 2 * hit / both, np.nan)
    return np.nanmean(f1_RK, axis=1)


def balanced_accuracy(label_N: NDArray, chosen_N: NDArray, classes: int) -> float:
    """Mean recall over the classes present."""
    table = confusion(label_N, chosen_N, classes)
    present = table.sum(1) > 0
    return float(np.mean(np.diagonal(table)[present] / table.sum(1)[present]))


def log_loss(label_N: NDArray, probability_NK: NDArray, balanced: bool = False) -> float:
    """Mean of minus log probability of the label; ``balanced`` weighs each class present the same."""
    loss_N = -np.log(np.clip(probability_NK[np.arange(len(label_N)), label_N], SMALLEST_PROBABILITY, 1.0))
    if not balanced:
        return float(loss_N.mean())
    return float(np.mean([loss_N[label_N == k].mean() for k in np.unique(label_N)]))


def brier(label_N: NDArray, probability_NK: NDArray) -> float:
    """Mean squared distance between the probabilities and the truth, summed over classes (0 to 2)."""
    return float(((probability_NK - np.eye(probability_NK.shape[1])[label_N]) ** 2).sum(1).mean())


def reliability(confidence_N: NDArray, correct_N: NDArray, bins: int = ECE_BINS) -> NDArray[np.float64]:
    """Mean confidence, share correct and count in bins of equal mass. Returns [Q, 3]."""
    order = np.argsort(confidence_N, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return np.array([[confidence_N[p].mean(), correct_N[p].mean(), len(p)] for p in parts])


def calibration_error(confidence_N: NDArray, correct_N: NDArray, bins: int = ECE_BINS) -> float:
    """Expected distance between confidence and share correct, over bins of equal mass."""
    table_Q3 = reliability(confidence_N, correct_N, bins)
    return float(np.average(np.abs(table_Q3[:, 0] - table_Q3[:, 1]), weights=table_Q3[:, 2]))


@dataclass(frozen=True, slots=True)
class Scores:
    """Every score of one set of probabilities; shares from 0 to 1."""

    objects: int
    accuracy: float
    macro_f1: float
    balanced_accuracy: float
    recall: dict[str, float]
    precision: dict[str, float]
    f1: dict[str, float]
    recall_spread: float  # largest minus smallest
    worst_recall: float
    auc: float  # macro one-vs-rest; NaN when a class is absent
    average_precision: float
    log_loss: float
    balanced_log_loss: float
    brier: float
    ece: float
    classwise_ece: float
    mcc: float
    confusion: list[list[int]]


def score(label_N: NDArray, probability_NK: NDArray, classes: tuple[str, ...]) -> Scores:
    """Every score of a set of probabilities.

    Parameters
    ----------
    label_N
        Index of the true class.
    probability_NK
        Rows sum to 1.
    """
    count = len(classes)
    chosen_N = probability_NK.argmax(1)
    table = confusion(label_N, chosen_N, count)
    with np.errstate(divide="ignore", invalid="ignore"):
        recall_K = np.diagonal(table) / table.sum(1)
        precision_K = np.diagonal(table) / table.sum(0)
        f1_K = 2 * np.diagonal(table) / (table.sum(0) + table.sum(1))
    truth_NK = np.eye(count)[label_N]
    present = table.sum(1) > 0
    mixed = [k for k in range(count) if present[k] and table[k].sum() < len(label_N)]
    auc = [sk.roc_auc_score(truth_NK[:, k], probability_NK[:, k]) for k in mixed]
    precision_area = [sk.average_precision_score(truth_NK[:, k], probability_NK[:, k]) for k in mixed]
    correct_N = chosen_N == label_N
    return Scores(
        objects=len(label_N),
        accuracy=float(correct_N.mean()),
        macro_f1=macro_f1(label_N, chosen_N, count),
        balanced_accuracy=balanced_accuracy(label_N, chosen_N, count),
        recall=dict(zip(classes, recall_K.tolist(), strict=True)),
        precision=dict(zip(classes, precision_K.tolist(), strict=True)),
        f1=dict(zip(classes, f1_K.tolist(), strict=True)),
        recall_spread=float(recall_K[present].max() - recall_K[present].min()),
        worst_recall=float(recall_K[present].min()),
        auc=float(np.mean(auc)) if auc else float("nan"),
        average_precision=float(np.mean(precision_area)) if precision_area else float("nan"),
        log_loss=log_loss(label_N, probability_NK),
        balanced_log_loss=log_loss(label_N, probability_NK, balanced=True),
        brier=brier(label_N, probability_NK),
        ece=calibration_error(probability_NK.max(1), correct_N),
        classwise_ece=float(np.mean([calibration_error(probability_NK[:, k], label_N == k) for k in range(count)])),
        mcc=float(sk.matthews_corrcoef(label_N, chosen_N)),
        confusion=table.tolist(),
    )
