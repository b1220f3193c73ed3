"""Separation of the classes in a network's features: scatter within and between them, and the silhouette.

Legend: ``N`` objects, ``F`` features, ``K`` classes.

Features are put on the unit sphere first, so that a network cannot look better by making them all larger or smaller,
and every class weighs the same, however many objects it has.

References
----------
Fisher 1936, "The use of multiple measurements in taxonomic problems"; Rousseeuw 1987, "Silhouettes".
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import silhouette_samples


@dataclass(frozen=True, slots=True)
class Separation:
    """Squared lengths on the unit sphere; larger silhouettes and ratios are better separated."""

    within: float  # mean squared distance of an object to the mean of its class
    between: float  # mean squared distance of the classes' means to the mean of all of them
    ratio: float  # between / within
    silhouette: float  # mean over classes of the mean over their objects, -1 to 1
    within_by_class: tuple[float, ...]  # nan of a class without objects


def separation(feature_NF: NDArray, label_N: NDArray[np.int64], classes: int) -> Separation:
    """Measure it.

    Raises
    ------
    ValueError
        When fewer than two classes have objects.
    """
    present = [k for k in range(classes) if np.any(label_N == k)]
    if len(present) < 2:
        raise ValueError(f"the objects are of {len(present)} class(es): separation needs two")
    feature_NF = np.asarray(feature_NF, np.float64)
    length_N1 = np.linalg.norm(feature_NF, axis=1, keepdims=True)
    unit_NF = feature_NF / np.where(length_N1 > 0, length_N1, 1.0)
    mean_KF = np.stack([unit_NF[label_N == k].mean(0) for k in present])
    within = {
        k: float(((unit_NF[label_N == k] - mean) ** 2).sum(1).mean()) for k, mean in zip(present, mean_KF, strict=True)
    }
    within_all = float(np.mean(list(within.values())))
    between = float(((mean_KF - mean_KF.mean(0)) ** 2).sum(1).mean())
    shape_N = silhouette_samples(unit_NF, label_N)
    return Separation(
        within_all,
        between,
        between / within_all if within_all > 0 else float("inf"),
        float(np.mean([shape_N[label_N == k].mean() for k in present])),
        tuple(within.get(k, float("nan")) for k in range(classes)),
    )
