"""Sizes, shapes and places of isolated stars in stamps of ZTF. Knows no simulation."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter
from scipy.optimize import least_squares

from model.simulation.validation.stamps import stamp_features

REACH = 8  # pixels around a star that are fitted
LEAST_SNR, LEAST_DISTANCE_PX, STARS_PER_STAMP = 40.0, 10.0, 2
MOST_CHI2 = 10.0
BRIGHTEST_DN = 30_000.0
LEAST_CONCENTRATION_SNR, LARGEST_NEIGHBOUR = 60.0, 0.05
REMNANT_PX = 3.5
MODEL_ERROR = 0.02  # of a pixel's light
GAIN = 6.0


@dataclass(frozen=True, slots=True)
class StarPair:
    """One star in the science image and in the template: an elliptical Moffat profile, fitted to each."""

    fwhm_px_2: NDArray[np.float64]  # geometric mean of both axes
    ellipticity_2: NDArray[np.float64]  # 1 - minor / major
    shift_px_2: NDArray[np.float64]  # template minus science, along x and y


def pairs(triplet_CHW: NDArray[np.float32]) -> list[StarPair]:
    """Fit the brightest isolated stars of a stamp."""
    if not np.isfinite(triplet_CHW).all():
        return []
    level_C, sigma_C = stamp_features.noise_of(triplet_CHW)
    light_CHW = triplet_CHW - level_C[:, None, None]
    peak_HW = (light_CHW[1] == maximum_filter(light_CHW[1], 2 * REACH + 1)) & (light_CHW[1] > LEAST_SNR * sigma_C[1])
    size = len(peak_HW)
    places = [
        (float(light_CHW[1, y, x]), int(y), int(x))
        for y, x in zip(*np.nonzero(peak_HW), strict=True)
        if min(y, x) > REACH and max(y, x) < size - REACH - 1
        if np.hypot(y - size // 2, x - size // 2) > LEAST_DISTANCE_PX
    ]
    pairs = []
    for _, y, x in sorted(places, reverse=True)[:STARS_PER_STAMP]:
        cut = slice(y - REACH, y + REACH + 1), slice(x - REACH, x + REACH + 1)
        fits = [_fit(light_CHW[c][cut].astype(np.float64), float(sigma_C[c])) for c in (0, 1)]
        if triplet_CHW[:2, y, x].max() < BRIGHTEST_DN and fits[0] is not None and fits[1] is not None:
            fwhm, ellipticity, place = (np.stack(both) for both in zip(*fits, strict=True))
            pairs.append(StarPair(fwhm, ellipticity, place[1] - place[0]))
    return pairs


def concentrations(triplet_CHW: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    """Light of isolated stars within 1.5 pixels over that within 3, in the science image and in the template."""
    level_C, sigma_C = stamp_features.noise_of(triplet_CHW)
    light_CHW = triplet_CHW - level_C[:, None, None]
    peak_HW = (light_CHW[1] == maximum_filter(light_CHW[1], 11)) & (light_CHW[0] > LEAST_CONCENTRATION_SNR * sigma_C[0])
    axis = np.arange(-REACH, REACH + 1)
    far_HW = np.hypot(axis, axis[:, None]) > REACH / 2
    ratios = []
    for y, x, cut_CHW in _cuts(light_CHW, peak_HW):
        alone = cut_CHW[1][far_HW].max() < LARGEST_NEIGHBOUR * cut_CHW[1].max()
        if alone and triplet_CHW[:2, y, x].max() < BRIGHTEST_DN:
            ratios.append(np.array([_concentration(cut_HW, axis) for cut_HW in cut_CHW[:2]]))
    return ratios


def remnants(triplet_CHW: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    """What a difference keeps of bright stars within 3.5 pixels, over their light: its sum, the sum of its size."""
    level_C, sigma_C = stamp_features.noise_of(triplet_CHW)
    light_CHW = triplet_CHW - level_C[:, None, None]
    peak_HW = (light_CHW[1] == maximum_filter(light_CHW[1], 2 * REACH - 1)) & (light_CHW[1] < BRIGHTEST_DN)
    peak_HW &= light_CHW[1] > LEAST_CONCENTRATION_SNR * sigma_C[0]
    axis, middle = np.arange(-REACH, REACH + 1), len(peak_HW) // 2
    near_HW = np.hypot(axis, axis[:, None]) < REMNANT_PX
    residuals = []
    for y, x, cut_CHW in _cuts(light_CHW, peak_HW):
        if np.hypot(y - middle, x - middle) > LEAST_DISTANCE_PX:
            left_P, star_P = cut_CHW[2][near_HW], cut_CHW[1][near_HW]
            residuals.append(np.array([left_P.sum(), np.abs(left_P).sum()]) / star_P.sum())
    return residuals


def _cuts(light_CHW: NDArray, peak_HW: NDArray[np.bool_]) -> Iterator[tuple[int, int, NDArray]]:
    """Row, column and surroundings of every peak that is not at the edge."""
    for y, x in zip(*np.nonzero(peak_HW[REACH:-REACH, REACH:-REACH]), strict=True):
        yield y + REACH, x + REACH, light_CHW[:, y : y + 2 * REACH + 1, x : x + 2 * REACH + 1]


def _concentration(light_HW: NDArray[np.float64], axis: NDArray[np.int64]) -> float:
    near = slice(REACH - 2, REACH + 3)
    core_HW = light_HW[near, near] / light_HW[near, near].sum()
    x, y = (core_HW * axis[near]).sum(), (core_HW * axis[near, None]).sum()
    distance_HW = np.hypot(axis - x, axis[:, None] - y)
    return float(light_HW[distance_HW < 1.5].sum() / light_HW[distance_HW < 3].sum())


def _fit(light_HW: NDArray[np.float64], sigma: float) -> tuple[NDArray, NDArray, NDArray] | None:
    axis = np.arange(-REACH, REACH + 1)
    third = np.array([-1, 0, 1]) / 3
    x_W = (axis[:, None] + third).ravel()  # three by three points stand for a pixel
    y_H1 = x_W[:, None]
    error_HW = np.sqrt(sigma**2 + (MODEL_ERROR * np.maximum(light_HW, 0)) ** 2 + np.maximum(light_HW, 0) / GAIN)
    peak = float(light_HW[REACH - 1 : REACH + 2, REACH - 1 : REACH + 2].max())
    if peak < LEAST_SNR * sigma / 2:
        return None

    def misfit(p: NDArray[np.float64]) -> NDArray[np.float64]:
        dx_W, dy_H1 = x_W - p[1], y_H1 - p[2]
        radius_HW = p[3] ** 2 * dx_W**2 + 2 * p[4] * dx_W * dy_H1 + p[5] ** 2 * dy_H1**2
        fine_HW = p[0] * (1 + np.maximum(radius_HW, 0)) ** -p[6] + p[7]
        model_HW = fine_HW.reshape(len(axis), 3, len(axis), 3).mean((1, 3))
        return np.asarray(((model_HW - light_HW) / error_HW).ravel())

    low, high = [0, -2, -2, 0.05, -1, 0.05, 1.2, -1e4], [1e6, 2, 2, 3, 1, 3, 30, 1e4]
    start = np.clip([peak, 0, 0, 0.5, 0, 0.5, 3, 0], low, high)
    fit = least_squares(misfit, start, bounds=(low, high), max_nfev=60)
    p = fit.x
    width_2 = np.linalg.eigvalsh(np.array([[p[3] ** 2, p[4]], [p[4], p[5] ** 2]]))
    if width_2[0] <= 0 or 2 * fit.cost / light_HW.size > MOST_CHI2:
        return None
    fwhm_2 = 2 * np.sqrt((2 ** (1 / p[6]) - 1) / width_2)
    return np.sqrt(fwhm_2.prod()), 1 - fwhm_2[1] / fwhm_2[0], p[1:3]
