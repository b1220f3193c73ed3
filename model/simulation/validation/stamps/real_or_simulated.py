"""Check 12: can boosted trees tell real ZTF stamps from simulated ones, and by which features?

Scores: over the alert mix as it is drawn; with one alert of each real object, as simulated objects give one (34 of the
817 real alerts are of one supernova in one large galaxy); over simulated stamps whose source is as significant as a
real one's; and with one alert of each object and whole nights kept apart, whose exposures have moon and weather in
common (with objects that came back, nights would all hang together).
What two real stamps share never lies on both sides of a fold: an object shares its pixels, an exposure its seeing,
moonlight, clouds and zero point (446 of the 817 alerts have another one of the same exposure), and a field, quadrant
and filter its template. Trees that met an exposure in training would know its stamps by heart, not by what is wrong
with simulated ones, which share nothing with each other.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.inspection import permutation_importance
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from model.simulation.validation import Check
from model.simulation.validation.stamps import stamp_features
from model.simulation.validation.stamps.ztf_stamps import (
    LEAST_COUNT,
    REAL_COUNT,
    pool_size,
    real_stamps,
    simulated_stamps,
)

LARGEST_AUC = 0.75
FOLDS, REPEATS, NAMED = 5, 2, 6
CORE_PX, CORE_SIGMA_PX = 3, 1.1
NOON_AT_PALOMAR = 1 / 3  # of a Julian day


def real_or_simulated(folder: Path, seed: int, share: float) -> Iterator[Check]:
    """Train the adversary on stamps below a folder and on as many simulated ones."""
    real = real_stamps(folder)
    chosen = np.random.default_rng(seed).permutation(len(real.object_N))[: max(round(REAL_COUNT * share), LEAST_COUNT)]
    pixels_NCHW, _, _ = simulated_stamps(seed, pool_size(share))
    names, real_NF = stamp_features.table(real.pixels_NCHW[chosen])
    _, simulated_NF = stamp_features.table(pixels_NCHW)
    objects_N = real.object_N[chosen]
    family_N = families(objects_N, real.exposure_N[chosen], real.template_N[chosen])
    matched = _match(significance(real.pixels_NCHW[chosen]), significance(pixels_NCHW))
    every, single = np.arange(len(chosen)), np.unique(objects_N, return_index=True)[1]
    night_N = families(np.floor(real.exposure_N[chosen] - NOON_AT_PALOMAR))
    for what, real_rows, rows, apart_N in (
        ("as drawn", every, every, family_N),
        ("one of each object", single, single, family_N),
        ("matched in significance", every, matched, family_N),
        ("one of each object, nights apart", single, single, night_N),
    ):
        auc, telling = _adversary(names, real_NF[real_rows], apart_N[real_rows], simulated_NF[rows], seed)
        yield Check(
            12,
            f"AUC of real against simulated ZTF stamps, {what}",
            f"< {LARGEST_AUC}",
            f"{auc:.3f} (by {', '.join(telling)})",
            auc < LARGEST_AUC,
        )


def significance(pixels_NCHW: NDArray[np.float32]) -> NDArray[np.float64]:
    """Signal to noise of what is at the centre of each difference, on an arcsinh scale."""
    axis = np.arange(-CORE_PX, CORE_PX + 1)
    weight_HW = np.exp(-(axis**2 + axis[:, None] ** 2) / 2 / CORE_SIGMA_PX**2)
    weight_HW /= np.sqrt((weight_HW**2).sum())
    middle = slice(pixels_NCHW.shape[-1] // 2 - CORE_PX, pixels_NCHW.shape[-1] // 2 + CORE_PX + 1)
    values = []
    for triplet in pixels_NCHW:
        level_C, sigma_C = stamp_features.noise_of(triplet)
        core_HW = (triplet[2, middle, middle] - level_C[2]) / sigma_C[2]
        values.append(float(np.nansum(core_HW * weight_HW)))
    return np.arcsinh(np.array(values))


def families(*shared_KN: ArrayLike) -> NDArray[np.int64]:
    """Number the sets of stamps that are tied to each other, directly or by others, by an equal entry in any list."""
    ties: list[NDArray[np.int64]] = []
    for shared_N in shared_KN:
        _, first, same_N = np.unique(shared_N, return_index=True, return_inverse=True)
        ties.append(first[same_N])
    count = len(ties[0])
    row_KN, column_KN = np.tile(np.arange(count), len(ties)), np.concatenate(ties)
    graph = coo_array((np.ones(len(row_KN)), (row_KN, column_KN)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _match(real_N: NDArray, simulated_M: NDArray) -> NDArray[np.int64]:
    """For each real value the nearest simulated one that is left."""
    left_M, picked = np.zeros(len(simulated_M)), []
    for value in real_N:
        nearest = int(np.argmin(np.abs(simulated_M - value) + left_M))
        left_M[nearest] = np.inf
        picked.append(nearest)
    return np.array(picked)


def _adversary(
    names: list[str], real_NF: NDArray, family_N: NDArray, simulated_MF: NDArray, seed: int
) -> tuple[float, list[str]]:
    features = np.concatenate([real_NF, simulated_MF])
    simulated = np.r_[np.zeros(len(real_NF)), np.ones(len(simulated_MF))]
    groups = np.r_[family_N, family_N.max() + 1 + np.arange(len(simulated_MF))]
    score, importance_F = np.zeros(len(features)), np.zeros(len(names))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for train, test in folds.split(features, simulated, groups):
        trees = HistGradientBoostingClassifier(max_iter=150, learning_rate=0.08, max_leaf_nodes=15, random_state=seed)
        trees.fit(features[train], simulated[train])
        score[test] = trees.decision_function(features[test])
        importance_F += permutation_importance(
            trees, features[test], simulated[test], scoring="roc_auc", n_repeats=REPEATS, random_state=seed
        ).importances_mean
    telling = [names[f] for f in np.argsort(-importance_F)[:NAMED]]
    return float(roc_auc_score(simulated, score)), telling
