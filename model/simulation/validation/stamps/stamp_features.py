"""Features of triplets of stamps: numbers that describe noise, profiles and flaws. Knows no survey.

The numbers have no unit: brightness is in units of each channel's own noise, so that calibration plays no part.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from model.series import MAD_TO_SIGMA

CHANNELS = ("science", "template", "difference")
RADII_PX = (0, 1, 2, 3, 5, 8, 12, 20, 31)
BRIGHTEST = 1e5  # sigma
LEAST_SIGMA = 1e-3  # a constant channel has no noise to speak of
LEAST_PIXELS = 10
FAINT = 4.0  # noise statistics use pixels within this many sigma of the background


def table(pixels_NCHW: NDArray[np.float32]) -> tuple[list[str], NDArray[np.float64]]:
    """Describe triplets.

    Returns
    -------
    names : F names.
    features_NF : NaN where a number cannot be measured.
    """
    rows = [_describe(triplet) for triplet in pixels_NCHW]
    names = list(rows[0])
    return names, np.array([[row[name] for name in names] for row in rows], np.float64)


def noise_of(pixels_CHW: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Median and robust standard deviation of each channel."""
    flat = pixels_CHW.reshape(len(pixels_CHW), -1)
    level = np.array([np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else np.nan for row in flat])
    away = np.abs(flat - level[:, None])
    sigma = np.array([np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else np.nan for row in away])
    return level.astype(np.float64), np.maximum(MAD_TO_SIGMA * sigma.astype(np.float64), LEAST_SIGMA)


def lag_correlation(unit_HW: NDArray, down: int, across: int) -> float:
    """Correlation of the faint pixels with those ``down`` rows and ``across`` columns away."""
    faint_HW = np.where(np.abs(unit_HW) < FAINT, unit_HW, np.nan)
    rows, columns = faint_HW.shape
    product = faint_HW[down:, across:] * faint_HW[: rows - down, : columns - across]
    if not np.isfinite(product).any() or not np.nansum(faint_HW**2) > 0:
        return float("nan")
    return float(np.nanmean(product) / np.nanmean(faint_HW**2))


def _correlation(first_HW: NDArray, second_HW: NDArray) -> float:
    both = (np.abs(first_HW) < FAINT) & (np.abs(second_HW) < FAINT)
    if both.sum() < LEAST_PIXELS or np.ptp(first_HW[both]) == 0 or np.ptp(second_HW[both]) == 0:
        return float("nan")
    return float(np.corrcoef(first_HW[both], second_HW[both])[0, 1])


def _describe(triplet_CHW: NDArray[np.float32]) -> dict[str, float]:
    level_C, sigma_C = noise_of(triplet_CHW)
    unit_CHW = np.clip((triplet_CHW - level_C[:, None, None]) / sigma_C[:, None, None], -BRIGHTEST, BRIGHTEST)
    size = unit_CHW.shape[-1]
    axis = np.arange(size) - size // 2
    distance_HW = np.hypot(axis, axis[:, None])
    row = {
        "masked": float(np.isnan(triplet_CHW[0]).mean()),
        "noise template/science": float(np.log(sigma_C[1] / sigma_C[0])),
        "noise difference/science": float(np.log(sigma_C[2] / sigma_C[0])),
        "sky science": float(level_C[0] / sigma_C[0]),
        "sky template-science": float((level_C[1] - level_C[0]) / sigma_C[0]),
        "sky difference": float(level_C[2] / sigma_C[2]),
        "correlation science-template": _correlation(unit_CHW[0], unit_CHW[1]),
        "correlation science-difference": _correlation(unit_CHW[0], unit_CHW[2]),
        "correlation template-difference": _correlation(unit_CHW[1], unit_CHW[2]),
    }
    for channel, unit_HW in zip(CHANNELS, unit_CHW, strict=True):
        row |= {
            f"{channel} lag x": lag_correlation(unit_HW, 0, 1),
            f"{channel} lag y": lag_correlation(unit_HW, 1, 0),
            f"{channel} lag 2y": lag_correlation(unit_HW, 2, 0),
            f"{channel} lag xy": lag_correlation(unit_HW, 1, 1),
            f"{channel} brightest": float(np.arcsinh(np.nanmax(unit_HW))),
            f"{channel} darkest": float(np.arcsinh(np.nanmin(unit_HW))),
            f"{channel} bright pixels": float(np.mean(unit_HW > 5)),
            f"{channel} dark pixels": float(np.mean(unit_HW < -5)),
            f"{channel} faint tail": float(np.mean(np.abs(unit_HW) > 3)),
        }
        for inner, outer in pairwise(RADII_PX):
            ring = unit_HW[(distance_HW >= inner) & (distance_HW < outer)]
            ring = ring[np.isfinite(ring)]
            value = np.arcsinh(ring.mean()) if len(ring) else np.nan
            row[f"{channel} at {inner}-{outer} px"] = float(value)
    return row
