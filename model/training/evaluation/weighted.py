"""Scores of the same answers under many weightings of their objects. It draws no weights.

A resample of objects is a weighting by how often each was drawn; another mix of classes is one, too.
Legend: ``R`` weightings, ``N`` objects, ``K`` classes.
"""

import numpy as np
from numpy.typing import NDArray

from model.training.evaluation.scoring import SMALLEST_PROBABILITY, f1_of

SCORES = ("macro_f1", "balanced_accuracy", "auc", "log_loss")


def weighted_scores(
    label_N: NDArray[np.integer], probability_NK: NDArray, weight_RN: NDArray[np.floating]
) -> dict[str, NDArray[np.float64]]:
    """Each of ``SCORES`` under every weighting, [R]; that of :mod:`model.training.evaluation.scoring` where all are 1.

    A calibration error is not among them: resamples have a larger one than what they were drawn from.
    """
    classes = probability_NK.shape[1]
    cell_NP = np.zeros((len(label_N), classes**2), np.float32)
    cell_NP[np.arange(len(label_N)), label_N * classes + probability_NK.argmax(1)] = 1
    table_RKK = (weight_RN @ cell_NP).reshape(-1, classes, classes)
    loss_N = -np.log(np.clip(probability_NK[np.arange(len(label_N)), label_N], SMALLEST_PROBABILITY, 1.0))
    with np.errstate(invalid="ignore"):
        recall_RK = np.diagonal(table_RKK, axis1=1, axis2=2) / table_RKK.sum(2)
    mixed = [k for k in np.unique(label_N) if np.any(label_N != k)]
    areas = [weighted_auc(probability_NK[:, k], label_N == k, weight_RN) for k in mixed]
    return {
        "macro_f1": f1_of(table_RKK),
        "balanced_accuracy": np.nanmean(recall_RK, axis=1),
        "auc": np.mean(areas, axis=0) if areas else np.full(len(weight_RN), np.nan),
        "log_loss": weight_RN @ loss_N / weight_RN.sum(1),
    }


def weighted_auc(score_N: NDArray, member_N: NDArray[np.bool_], weight_RN: NDArray[np.floating]) -> NDArray[np.float64]:
    """The chance that a member scores above another object, ties counting half, under every weighting [R]."""
    inside, outside = score_N[member_N][:, None], score_N[~member_N]
    wins_PQ = (inside > outside) + np.float32(0.5) * (inside == outside)
    inside_RP, outside_RQ = weight_RN[:, member_N], weight_RN[:, ~member_N]
    won_R = ((inside_RP @ wins_PQ) * outside_RQ).sum(1, dtype=np.float64)
    area_R: NDArray[np.float64] = won_R / inside_RP.sum(1, dtype=np.float64) / outside_RQ.sum(1, dtype=np.float64)
    return area_R
