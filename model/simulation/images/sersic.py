"""Sersic profiles as sums of concentric Gaussians. Knows no galaxy, no PSF and no pixels.

References
----------
Hogg & Lang 2013, PASP 125, 719: Sersic profiles as mixtures of Gaussians.
Ciotti & Bertin 1999, A&A 352, 447: the coefficient b_n.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.special import gammainc

GAUSSIANS = 9
INDEX_STEP = 0.25  # indices are rounded to this, so that the expansions of one night are computed once


def _b_n(n: float) -> float:
    return 2 * n - 1 / 3 + 4 / (405 * n) + 46 / (25515 * n**2)


@cache
def _expansion(n: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    # Steep profiles need narrow and wide Gaussians; shallow ones end early.
    if n == 0.5:
        return (1.0,), (1 / (2 * np.log(2)),)  # a Gaussian itself
    narrow, wide = (1e-3, 20.0) if n > 2 else (4e-3, 3.0 * n)
    variance_K = np.geomspace(narrow, wide, GAUSSIANS)
    radius_R = np.geomspace(0.02, 4.0 * np.sqrt(n), 300)
    brightness_R = np.exp(-_b_n(n) * (radius_R ** (1 / n) - 1))
    gaussian_RK = np.exp(-(radius_R[:, None] ** 2) / 2 / variance_K) / (2 * np.pi * variance_K)
    # Relative errors, weighted by the light in a ring: neither the cusp nor the faint outskirts rule alone.
    weight_R = np.sqrt(brightness_R * radius_R**2) / brightness_R
    flux_K, _ = nnls(gaussian_RK * weight_R[:, None], brightness_R * weight_R)
    bright = flux_K > 1e-4 * flux_K.sum()
    flux_K = flux_K[bright] / flux_K[bright].sum()
    return tuple(flux_K), tuple(variance_K[bright])


def gaussians(sersic_index: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Expand a Sersic profile of half-light radius 1 and total flux 1.

    Parameters
    ----------
    sersic_index
        0.3 to 8; rounded to a quarter.

    Returns
    -------
    flux_K
        Fractions of the flux; their sum is 1.
    variance_K
        Per axis, in units of the squared half-light radius.

    Raises
    ------
    ValueError
        The index is out of range.
    """
    if not 0.3 <= sersic_index <= 8:
        raise ValueError(f"Sersic index {sersic_index} is outside 0.3 to 8")
    flux_K, variance_K = _expansion(max(0.5, round(sersic_index / INDEX_STEP) * INDEX_STEP))
    return np.array(flux_K), np.array(variance_K)


def enclosed_flux(radius: NDArray, sersic_index: float) -> NDArray[np.float64]:
    """Fraction of an exact Sersic profile's flux within ``radius`` (in half-light radii)."""
    n = sersic_index
    return gammainc(2 * n, _b_n(n) * np.asarray(radius, np.float64) ** (1 / n))
