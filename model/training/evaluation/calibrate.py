"""Calibration on held-out objects: offsets, a temperature, the unknown score's zero.

It knows no network. Everything here is fitted on validation rows, never on those that are reported.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from model.series import MAD_TO_SIGMA
from model.serving.card import PredictionSets, UnknownScore, energy
from model.training.evaluation.predict import softmax
from model.training.evaluation.scorecard import UnknownScores
from model.training.evaluation.scoring import log_loss

TEMPERATURE_RANGE = (0.05, 20.0)
LARGEST_OFFSET = 10.0
COVERAGE = 0.9  # of prediction sets
AGE_EDGES_D = (1.5, 8.0, 25.0)  # days since the first detection: the first night, the first week, the rise, the rest


def fit_temperature(logits_NK: NDArray, label_N: NDArray, balanced: bool = True) -> float:
    """The temperature that gives the smallest log loss.

    Parameters
    ----------
    balanced
        Let every class weigh the same.

    References
    ----------
    Guo et al. 2017, "On calibration of modern neural networks".
    """

    def loss(log_temperature: float) -> float:
        return log_loss(label_N, softmax(logits_NK, np.exp(log_temperature)), balanced)

    low, high = np.log(TEMPERATURE_RANGE)
    return float(np.exp(minimize_scalar(loss, bounds=(low, high), method="bounded").x))


def fit_bias_and_temperature(
    logits_NK: NDArray, label_N: NDArray, weight_N: NDArray
) -> tuple[tuple[float, ...], float]:
    """Offsets of the classes, which sum to 0, and the temperature that together give the smallest log loss.

    Probabilities are softmax((logits + offsets) / temperature).

    Parameters
    ----------
    weight_N
        Of each answer, such that an object's answers weigh as much as another's; classes are made equal here.

    References
    ----------
    Alexandari et al. 2020, "Maximum likelihood with bias-corrected calibration is hard-to-beat at label shift".
    """
    logits_NK = np.asarray(logits_NK, np.float64)
    of_class_K = np.bincount(label_N, weights=weight_N, minlength=logits_NK.shape[1])
    weight_N = weight_N / of_class_K[label_N]
    weight_N = weight_N / weight_N.sum()
    row_N = np.arange(len(label_N))

    def offsets(parameters: NDArray) -> NDArray:
        return np.append(parameters[1:], 0.0) - parameters[1:].sum() / logits_NK.shape[1]

    def loss(parameters: NDArray) -> float:
        scaled_NK = (logits_NK + offsets(parameters)) * np.exp(-parameters[0])
        return float(weight_N @ (np.logaddexp.reduce(scaled_NK, axis=1) - scaled_NK[row_N, label_N]))

    limits = [tuple(np.log(TEMPERATURE_RANGE)), *[(-LARGEST_OFFSET, LARGEST_OFFSET)] * (logits_NK.shape[1] - 1)]
    fitted = minimize(loss, np.zeros(logits_NK.shape[1]), method="L-BFGS-B", bounds=limits).x
    return tuple(float(value) for value in offsets(fitted)), float(np.exp(fitted[0]))


def fit_unknown(logits_MK: NDArray, distance_M: NDArray | None, weight_M: NDArray) -> UnknownScore:
    """The score whose parts have median 0 and robust deviation 1 on held-out objects of known classes.

    Parameters
    ----------
    weight_M
        Of each answer, such that an object's answers weigh as much as another's.
    """
    location, scale = middle_and_spread(energy(logits_MK), weight_M)
    if distance_M is None:
        return UnknownScore("energy", 1.0, location, scale)
    return UnknownScore("energy_and_distance", 1.0, location, scale, *middle_and_spread(distance_M, weight_M))


def fit_sets(
    probability_MK: NDArray,
    label_M: NDArray,
    object_M: NDArray[np.int64],
    age_M: NDArray | None = None,
    coverage: float = COVERAGE,
) -> PredictionSets:
    """Prediction sets that name the true class of a share ``coverage`` of new objects, class by class and age by age.

    Parameters
    ----------
    object_M
        Whose answer each is: all answers of an object, or all of one age, weigh together as much as another's.
    age_M
        Days since the first detection; None: ages are not told apart.
    """
    least = _least(probability_MK, label_M, object_M, coverage)
    if age_M is None:
        return PredictionSets(coverage, least)
    group_M = np.searchsorted(AGE_EDGES_D, age_M)
    by_age = []
    for group in range(len(AGE_EDGES_D) + 1):
        of_M = group_M == group
        by_age.append(_least(probability_MK[of_M], label_M[of_M], object_M[of_M], coverage))
    return PredictionSets(coverage, least, AGE_EDGES_D, tuple(by_age))


def _least(
    probability_MK: NDArray, label_M: NDArray, object_M: NDArray[np.int64], coverage: float
) -> tuple[float, ...]:
    """The probability of each class below which the class of a share 1 - ``coverage`` of its objects lies."""
    _, place_M, answers_N = np.unique(object_M, return_inverse=True, return_counts=True)
    weight_M = 1 / answers_N[place_M]
    least = []
    for k in range(probability_MK.shape[1]):
        own_M = label_M == k
        objects = float(weight_M[own_M].sum())
        missed = np.floor((1 - coverage) * (objects + 1)) / max(objects, 1)  # so many may lie below, no more
        order = np.argsort(probability_MK[own_M, k])
        passed = np.cumsum(weight_M[own_M][order]) / max(objects, 1e-12)
        at = np.searchsorted(passed, missed, side="right")
        some = missed > 0 and at < len(order)
        least.append(float(probability_MK[own_M, k][order][at]) if some else 0.0)
    return tuple(least)


def middle_and_spread(values_M: NDArray, weight_M: NDArray) -> tuple[float, float]:
    """Weighted median and robust standard deviation, which is never 0."""

    def median(of_M: NDArray) -> float:
        return float(np.quantile(of_M, 0.5, weights=weight_M, method="inverted_cdf"))

    middle = median(values_M)
    spread = MAD_TO_SIGMA * median(np.abs(values_M - middle))
    return middle, spread if spread > 0 else 1.0


def unknown_scores(known_N: NDArray, unknown_M: NDArray) -> UnknownScores:
    """How well a score, larger for unknown objects, tells them from known ones."""
    truth = np.concatenate([np.zeros(len(known_N)), np.ones(len(unknown_M))])
    value = np.concatenate([known_N, unknown_M])
    false_positive, true_positive, _ = roc_curve(truth, value)
    return UnknownScores(
        auroc=float(roc_auc_score(truth, value)),
        aupr=float(average_precision_score(truth, value)),
        fpr_at_95_tpr=float(false_positive[np.searchsorted(true_positive, 0.95)]),
        known=len(known_N),
        unknown=len(unknown_M),
    )
