"""Baselines without a network: boosted trees on metadata, forced photometry or noiseless fluxes, and the majority.

They are the least and the most of every table. Legend: ``N`` objects, ``T`` frames, ``K`` classes, ``X`` features,
``V`` numbers of nights.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from model.data.dataset import Dataset
from model.past_photometry import History, lacking
from model.series import BANDS, Series
from model.training.evaluation.early import frames_by_night
from model.training.evaluation.prefix_predictions import detected_frames

ERROR_FLOOR_SHARE = 0.01  # of the flux: keeps noiseless light curves from infinite significance
DETECTION_SIGMA = 5.0
PREFIXES = 4  # random beginnings of a training series that ``prefix-trees`` see beside the whole

Features = Callable[[int, int | None], list[float]]  # of a row and of how many of its first frames; None: of all
Answers = tuple[NDArray[np.float64], NDArray[np.float64] | None]  # [N, K], and [V, N, K] where prefixes were asked
Baseline = Callable[[NDArray[np.int64], Sequence[int | None]], NDArray[np.float64]]


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


def photometry_features(dataset: Dataset, row: int, known: int | None = None) -> list[float]:
    """Features of the forced photometry of the stamps, and of what packets tell beside them."""
    series = dataset.series(row)[:known]
    shown = History(series.time_T, series.band_T, series.flux_T, series.flux_error_T)
    whole = History.joined([lacking([dataset.history(row)], series), shown])
    whole = whole[np.argsort(whole.time_P, kind="stable")]
    return light_curve_features(whole.time_P, whole.band_P, whole.flux_P, whole.flux_error_P)


def true_fluxes(dataset: Dataset) -> Features:
    """Features of the noiseless light curves in the truth.

    Raises
    ------
    KeyError
        When the truth holds none.
    """
    column: pa.ChunkedArray = dataset.truth()["true_flux_T"]

    def features(row: int, known: int | None) -> list[float]:
        series = dataset.series(row)[:known]
        flux_T = column[row].values.to_numpy()[: len(series)]
        return light_curve_features(series.time_T, series.band_T, flux_T, np.full(len(series), 1e-3))

    return features


SOURCES: dict[str, Callable[[Dataset], Features]] = {
    "metadata-trees": lambda dataset: lambda row, known: metadata_features(dataset.series(row)[:known]),
    "photometry-trees": lambda dataset: partial(photometry_features, dataset),
    "prefix-trees": lambda dataset: partial(photometry_features, dataset),
    "noiseless-trees": true_fluxes,
}
BASELINES = ("majority", *SOURCES)


def featurise(of: Features, rows: NDArray[np.int64], known_N: Sequence[int | None]) -> NDArray[np.float64]:
    return np.array([of(int(row), known) for row, known in zip(rows, known_N, strict=True)], np.float64)


def fit_baseline(name: str, dataset: Dataset, train: NDArray[np.int64], seed: int) -> Baseline:
    """Fit the baseline of this name: probabilities [N, K] of rows, of each the first few frames or all.

    Trees are weighted so that every class counts the same. They train on whole series; ``prefix-trees`` also on
    ``PREFIXES`` random beginnings of each.

    Raises
    ------
    ValueError
        When there is none of that name.
    """
    count = len(dataset.classes)
    if name == "majority":
        share_K = np.bincount(dataset.labels[train], minlength=count) / len(train)
        return lambda rows, known_N: np.tile(share_K, (len(rows), 1))
    if name not in SOURCES:
        raise ValueError(f"there is no baseline {name!r}; there are {', '.join(BASELINES)}")
    of = SOURCES[name](dataset)
    known_N: list[int | None] = [None] * len(train)
    if name == "prefix-trees":
        rng = np.random.default_rng(seed)
        length_N = np.array([len(dataset.series(int(row))) for row in train])
        known_N += rng.integers(1, length_N + 1, (PREFIXES, len(train))).ravel().tolist()
        train = np.tile(train, 1 + PREFIXES)
    train_NX = featurise(of, train, known_N)
    varied_X = np.array([len(np.unique(column[np.isfinite(column)])) > 1 for column in train_NX.T])
    trees = HistGradientBoostingClassifier(max_iter=150, class_weight="balanced", random_state=seed)
    trees.fit(train_NX[:, varied_X], dataset.labels[train])

    def answer(rows: NDArray[np.int64], known_N: Sequence[int | None]) -> NDArray[np.float64]:
        return spread(trees.predict_proba(featurise(of, rows, known_N)[:, varied_X]), trees.classes_, count)

    return answer


def baseline_probabilities(
    name: str, dataset: Dataset, train: NDArray[np.int64], test: NDArray[np.int64], seed: int
) -> NDArray[np.float64]:
    """Probabilities [N, K] of the test rows by the baseline of this name."""
    return fit_baseline(name, dataset, train, seed)(test, [None] * len(test))


def baseline_answers(
    name: str, dataset: Dataset, train: NDArray[np.int64], test: NDArray[np.int64], seed: int
) -> Answers:
    """Answer about the test rows, whole and after each of ``early.NIGHTS``."""
    baseline = fit_baseline(name, dataset, train, seed)
    times = [dataset.series(int(row)).time_T for row in test]
    length_N = np.array([len(time_T) for time_T in times])
    time_NT = np.full((len(test), length_N.max()), np.nan)
    for row, time_T in enumerate(times):
        time_NT[row, : len(time_T)] = time_T
    last_VN = frames_by_night(time_NT, detected_frames(dataset, test, length_N))
    return baseline(test, [None] * len(test)), np.stack([baseline(test, (last_N + 1).tolist()) for last_N in last_VN])


def spread(probability: NDArray, present: NDArray, classes: int) -> NDArray[np.float64]:
    """Columns of the classes that were trained on, put where they belong."""
    whole = np.zeros((len(probability), classes))
    whole[:, present] = probability
    return whole
