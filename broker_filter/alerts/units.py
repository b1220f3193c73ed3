"""Units of the surveys as ours: times as MJD (TAI), magnitudes as nJy. Knows no packet."""

import math
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from model.clock import SECONDS_PER_DAY, TAI_MINUS_UTC_S

Times = TypeVar("Times", float, NDArray[np.float64])

MJD_OF_JD_ZERO = 2_400_000.5
# ZTF's jd is UTC at the start of an exposure of 30 s. Half of that is not added: schemas before 3.1 do not say how long
# the exposure was, and series of one object reach across versions. LSST gives the middle, in TAI.
AB_MAG_OF_1_NJY = 31.4  # -2.5 log10(1e-32 erg/s/cm2/Hz) - 48.60
FAINTEST_MAG = 40.0  # what lies beyond this, or below 0, is no magnitude
LARGEST_FLUX_NJY = 10.0 ** (AB_MAG_OF_1_NJY / 2.5)  # of magnitude 0: larger fluxes, errors or pixels are none
MAG_TO_FRACTION = math.log(10) / 2.5  # relative flux error per magnitude of error


def tai_of_jd(jd: Times) -> Times:
    """MJD (TAI) of a Julian date (UTC), or of many, to the last bit the same."""
    return jd - MJD_OF_JD_ZERO + TAI_MINUS_UTC_S / SECONDS_PER_DAY


def flux_of_magnitude(mag: float, mag_error: float) -> tuple[float, float]:
    """Return the flux of an AB magnitude and its error in nJy; NaN where unknown or absurd."""
    if not 0.0 < mag < FAINTEST_MAG:
        return math.nan, math.nan
    flux_njy = 10.0 ** ((AB_MAG_OF_1_NJY - mag) / 2.5)
    return flux_njy, known_error(flux_njy * MAG_TO_FRACTION * mag_error)


def magnitude_of_flux(flux_njy: float | None, flux_error_njy: float | None) -> tuple[float | None, float | None]:
    """Return the AB magnitude of the size of a flux, whatever its sign, and its error; None where unknown."""
    if not flux_njy:
        return None, None
    size_njy = abs(flux_njy)
    error_mag = None if flux_error_njy is None else flux_error_njy / (MAG_TO_FRACTION * size_njy)
    return AB_MAG_OF_1_NJY - 2.5 * math.log10(size_njy), error_mag


def known_flux(flux_njy: float) -> float:
    """Return a flux; NaN where it is unknown or absurd."""
    return flux_njy if abs(flux_njy) <= LARGEST_FLUX_NJY else math.nan


def known_error(flux_error_njy: float) -> float:
    """Return the error of a flux; NaN where it is unknown or absurd, as 0 and -999 are."""
    return flux_error_njy if 0.0 < flux_error_njy <= LARGEST_FLUX_NJY else math.nan


def flux_of_magnitudes(mag_P: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the fluxes of many AB magnitudes in nJy; NaN where unknown or absurd."""
    real_P = (mag_P > 0.0) & (mag_P < FAINTEST_MAG)
    return 10.0 ** ((AB_MAG_OF_1_NJY - np.where(real_P, mag_P, np.nan)) / 2.5)
