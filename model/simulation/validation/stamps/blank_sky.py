"""Noise and image subtraction of ZTF, measured on the blank sky of stamps. Knows no simulation.

Legend: ``N`` alerts, ``C`` channels science, template, difference, ``H W`` pixels, ``K`` taps of a filter.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter

from model.series import MAD_TO_SIGMA
from model.simulation.validation.stamps import stamp_features

SOURCE_SIGMA, SMOOTHING_PX, GROWN_PX = 3.5, 1.5, 3
CENTRE_PX = 6  # around the alert nothing is blank
REACH = 4  # pixels that a tap of a filter may lie from its pixel
LEAST_BLANK = 0.75
CLIPPED = 8.0


@dataclass(frozen=True, slots=True)
class Filters:
    """How a difference follows from its science image and template, in units of each image's own noise."""

    explained: float  # share of the difference's variance
    science_KK: NDArray[np.float64]
    template_KK: NDArray[np.float64]


def in_units_of_noise(triplet_CHW: NDArray[np.float32]) -> NDArray[np.float64]:
    """Each channel about its level, over its noise."""
    level_C, sigma_C = stamp_features.noise_of(triplet_CHW)
    return (triplet_CHW - level_C[:, None, None]) / sigma_C[:, None, None]


def blank(triplet_CHW: NDArray[np.float32]) -> NDArray[np.float64]:
    """Each channel in units of its noise about its level, NaN where any shows a source or is masked."""
    unit_CHW = in_units_of_noise(triplet_CHW)
    taken_HW = np.asarray(~np.isfinite(unit_CHW).all(axis=0))
    for unit_HW in unit_CHW:
        smooth_HW = gaussian_filter(np.clip(np.nan_to_num(unit_HW), -50, 50), SMOOTHING_PX)
        away_HW = np.abs(smooth_HW - np.median(smooth_HW))
        source_HW = away_HW > SOURCE_SIGMA * MAD_TO_SIGMA * np.median(away_HW)
        taken_HW |= np.asarray(maximum_filter(source_HW, GROWN_PX))
    middle = slice(taken_HW.shape[0] // 2 - CENTRE_PX, taken_HW.shape[0] // 2 + CENTRE_PX + 1)
    taken_HW[middle, middle] = True
    return np.where(taken_HW, np.nan, unit_CHW)


def pattern_variance(blank_HW: NDArray[np.float64], rows: int, columns: int) -> float:
    """Variance of what repeats every so many rows and columns; its expectation for white noise is taken off."""
    means, inverse = [], []
    for row in range(rows):
        for column in range(columns):
            cell = blank_HW[row::rows, column::columns]
            cell = cell[np.isfinite(cell)]
            if len(cell) == 0:
                return float("nan")
            means.append(cell.mean())
            inverse.append(1 / len(cell))
    return float(np.var(means, ddof=1) - np.mean(inverse))


def filters(triplet_CHW: NDArray[np.float32]) -> Filters | None:
    """Fit a difference's blank pixels by the science image and the template around them; None where sky is short."""
    blank_CHW = blank(triplet_CHW)
    if np.isfinite(blank_CHW[2]).mean() < LEAST_BLANK:
        return None
    unit_CHW = np.clip(np.nan_to_num(in_units_of_noise(triplet_CHW)), -CLIPPED, CLIPPED)
    inner = slice(REACH, triplet_CHW.shape[-1] - REACH)
    used_HW = np.isfinite(blank_CHW[2, inner, inner])
    steps = range(-REACH, REACH + 1)
    columns = [
        np.roll(unit_CHW[channel], (down, across), (0, 1))[inner, inner][used_HW]
        for channel in (0, 1)
        for down in steps
        for across in steps
    ]
    design_PK = np.stack([*columns, np.ones(int(used_HW.sum()))], axis=1)
    value_P = blank_CHW[2, inner, inner][used_HW]
    tap_K = np.linalg.lstsq(design_PK, value_P, rcond=None)[0]
    spare = len(value_P) - len(tap_K)
    left = float(((value_P - design_PK @ tap_K) ** 2).sum() / spare)
    side = len(steps)
    science_KK, template_KK = tap_K[:-1].reshape(2, side, side)
    return Filters(1 - left / float(value_P.var()), science_KK, template_KK)


def transfer(tap_KK: NDArray[np.float64], cycles_F: NDArray[np.float64], axis: int) -> NDArray[np.complex128]:
    """Transfer of a filter along x (1) or y (0) at some frequencies, cycles per pixel."""
    along_K = tap_KK.sum(1 - axis)
    return np.asarray(np.exp(-2j * np.pi * cycles_F[:, None] * np.arange(-REACH, REACH + 1)) @ along_K)
