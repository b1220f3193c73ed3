"""What needs no network: labels of boosted trees on metadata, forced photometry or noiseless fluxes, and the majority.

They are the floor and the ceiling of every table. Legend: ``N`` objects, ``T`` frames, ``K`` classes, ``X`` features.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier

from model.dataset import Dataset
from model.history import History, lacking
from model.series import BANDS, Series

ERROR_FLOOR_SHARE = 0.01  # of the flux: keeps noiseless light curves from infinite significance
DETECTION_SIGMA = 5.0


def metadata_features(series: Series) -> list[float]:
    """When and in which bands an object was observed, and nothing of what was seen."""
    time = series.time_T - series.time_T[0]
    gaps = np.diff(time)
    counts = [float(np.sum(series.band_T == band)) for band in range(len(BANDS))]
    spread = [float(f(gaps)) if len(gaps) else np.nan for f in (np.mean, np.median, np.max, np.std)]
    return [float(len(time)), float(time[-1]), *counts, *spread]


def light_curve_features(time_T: NDArray, band_T: NDArray, flux_T: NDArray, error_T: NDArray) -> list[float]:
    """What a person would note of a light curve: level, range, scatter, shape and colours, band by band."""
    error_T = np.hypot(np.nan_to_num(error_T, nan=np.inf), ERROR_FLOOR_SHARE * np.abs(np.nan_to_num(flux_T)))
    known = np.isfinite(flux_T) & np.isfinite(error_T) & (error_T > 0)
    features: list[float] = []
    level = np.full(len(BANDS), np.nan)
    peak = np.full(len(BANDS), np.nan)
    for band in range(len(BANDS)):
        at = known & (band_T == band)
        if at.sum() < 3:
            features += [np.nan] * 14
            continue
        t, f, e = time_T[at], flux_T[at], error_T[at]
        weight = 1 / e**2
        mean = float((weight * f).sum() / weight.sum())
        level[band], peak[band] = np.median(f), f.max() - np.median(f)
        top = int(f.argmax())
        excess = (f - np.median(f)) / e
        rise, fall = f[: top + 1], f[top:]
        features += [
            np.arcsinh(mean), np.arcsinh(f.max()), np.arcsinh(f.min()), np.arcsinh(f.max() - f.min()),
            float(np.log(f.std() + 1e-9) - np.log(np.abs(mean) + 1e-9)),
            float(np.log1p((weight * (f - mean) ** 2).sum() / len(f))),
            float(np.mean((f - f.mean()) ** 3) / (f.std() + 1e-9) ** 3),
            float(t[top] - t[0]), float(t[-1] - t[top]),
            float((excess > DETECTION_SIGMA).mean()), float((excess < -DETECTION_SIGMA).mean()),
            float(np.corrcoef(t, f)[0, 1]) if f.std() > 0 else 0.0,
            float(np.mean(np.diff(f) * np.diff(f)) / (2 * f.var() + 1e-9)),
            orderly(rise) + orderly(-fall),
        ]  # fmt: skip
    for values in (level, peak):
        with np.errstate(invalid="ignore"):
            logs = np.arcsinh(values)
        features += np.diff(logs).tolist()
    return features


def orderly(values: NDArray) -> float:
    """The share of steps that go up; 0 without any."""
    return float((np.diff(values) > 0).mean()) if len(values) > 1 else 0.0


def photometry_features(dataset: Dataset, row: int) -> list[float]:
    """Features of the forced photometry of the stamps, and of what packets tell beside them."""
    series = dataset.series(row)
    shown = History(series.time_T, series.band_T, series.flux_T, series.flux_error_T)
    whole = History.joined([lacking([dataset.history(row)], series), shown])
    whole = whole[np.argsort(whole.time_P, kind="stable")]
    return light_curve_features(whole.time_P, whole.band_P, whole.flux_P, whole.flux_error_P)


def true_fluxes(dataset: Dataset) -> Callable[[int], list[float]]:
    """Features of the noiseless light curves in the truth.

    Raises
    ------
    KeyError
        When the truth holds none.
    """
    column: pa.ChunkedArray = dataset.truth()["true_flux_T"]

    def features(row: int) -> list[float]:
        series = dataset.series(row)
        flux_T = column[row].values.to_numpy()[: len(series)]
        return light_curve_features(series.time_T, series.band_T, flux_T, np.full(len(series), 1e-3))

    return features


def featurise(dataset: Dataset, rows: NDArray[np.int64], of: Callable[[int], list[float]]) -> NDArray[np.float64]:
    return np.array([of(int(row)) for row in rows], np.float64)


def floor_probabilities(
    name: str, dataset: Dataset, train: NDArray[np.int64], test: NDArray[np.int64], seed: int
) -> NDArray[np.float64]:
    """Probabilities [N, K] of the test rows by the floor or ceiling of this name.

    Trees are weighted so that every class counts the same.

    Raises
    ------
    ValueError
        When there is none of that name.
    """
    label = dataset.labels[train]
    if name == "majority":
        model = DummyClassifier(strategy="prior").fit(np.zeros((len(train), 1)), label)
        return spread(model.predict_proba(np.zeros((len(test), 1))), model.classes_, len(dataset.classes))
    sources: dict[str, Callable[[], Callable[[int], list[float]]]] = {
        "metadata-trees": lambda: lambda row: metadata_features(dataset.series(row)),
        "photometry-trees": lambda: partial(photometry_features, dataset),
        "noiseless-trees": lambda: true_fluxes(dataset),
    }
    if name not in sources:
        raise ValueError(f"there is no floor {name!r}; there are {', '.join(FLOORS)}")
    of = sources[name]()
    trees = HistGradientBoostingClassifier(max_iter=150, class_weight="balanced", random_state=seed)
    train_NX, test_NX = featurise(dataset, train, of), featurise(dataset, test, of)
    varied_X = np.array([len(np.unique(column[np.isfinite(column)])) > 1 for column in train_NX.T])
    trees.fit(train_NX[:, varied_X], label)
    return spread(trees.predict_proba(test_NX[:, varied_X]), trees.classes_, len(dataset.classes))


def spread(probability: NDArray, present: NDArray, classes: int) -> NDArray[np.float64]:
    """Columns of the classes that were trained on, put where they belong."""
    whole = np.zeros((len(probability), classes))
    whole[:, present] = probability
    return whole


FLOORS = ("majority", "metadata-trees", "photometry-trees", "noiseless-trees")
