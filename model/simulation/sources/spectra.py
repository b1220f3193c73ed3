"""Colours, dust and distances by wavelength. Knows neither surveys nor classes.

References
----------
Cardelli, Clayton & Mathis 1989 (ApJ 345, 245); Madau & Dickinson 2014 (ARA&A 52, 415).
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

HUBBLE_KM_S_MPC = 70.0
OMEGA_MATTER = 0.3
LIGHT_KM_S = 299_792.458
PLANCK_ANGSTROM_K = 1.43877688e8  # h c / k
REFERENCE_ANGSTROM = 6200.0
B_ANGSTROM = 4400.0


@lru_cache(maxsize=1)
def _distances() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Redshift grid, comoving distance (Mpc) and volume (Mpc^3) of a flat universe."""
    redshift = np.r_[0.0, np.geomspace(1e-4, 6.0, 3000)]
    inverse = 1 / np.sqrt(OMEGA_MATTER * (1 + redshift) ** 3 + 1 - OMEGA_MATTER)
    steps = np.diff(redshift) * (inverse[1:] + inverse[:-1]) / 2
    distance = LIGHT_KM_S / HUBBLE_KM_S_MPC * np.r_[0.0, np.cumsum(steps)]
    return redshift, distance, 4 / 3 * np.pi * distance**3


def distance_modulus(redshift: float | NDArray) -> NDArray:
    """Luminosity-distance modulus in a flat universe, H0 = 70 km/s/Mpc, matter 0.3."""
    grid, distance_mpc, _ = _distances()
    return np.asarray(5 * np.log10(np.interp(redshift, grid, distance_mpc) * (1 + np.asarray(redshift))) + 25)


def redshift_at(modulus: float | NDArray) -> float:
    """Redshift of a luminosity-distance modulus."""
    grid, distance_mpc, _ = _distances()
    return float(np.interp(modulus, 5 * np.log10(distance_mpc[1:] * (1 + grid[1:])) + 25, grid[1:]))


def kpc_per_arcsec(redshift: float) -> float:
    """Transverse size of one arcsec."""
    grid, distance_mpc, _ = _distances()
    return float(np.interp(redshift, grid, distance_mpc)) / (1 + redshift) * 1e3 / 206_264.8


def comoving_volume_mpc3(redshift: NDArray | float) -> NDArray:
    """All-sky volume out to a redshift."""
    grid, _, volume = _distances()
    return np.asarray(np.interp(redshift, grid, volume))


def star_formation(redshift: NDArray | float) -> NDArray:
    """Cosmic star-formation history, 1 at redshift 0."""
    z = np.asarray(redshift)
    return (1 + z) ** 2.7 / (1 + ((1 + z) / 2.9) ** 5.6) * (1 + (1 / 2.9) ** 5.6)


def planck_mag(wavelength_a: NDArray, temperature_k: NDArray | float) -> NDArray:
    """AB magnitude of a black body relative to its own at 6200 Angstrom."""
    x = np.minimum(PLANCK_ANGSTROM_K / (wavelength_a * temperature_k), 600.0)
    x0 = np.minimum(PLANCK_ANGSTROM_K / (REFERENCE_ANGSTROM * np.asarray(temperature_k)), 600.0)
    return -2.5 * (3 * np.log10(REFERENCE_ANGSTROM / wavelength_a) + np.log10(np.expm1(x0) / np.expm1(x)))


def dust(wavelength_a: NDArray | float, ratio_v: float = 3.1) -> NDArray:
    """Extinction relative to A_V (CCM 1989), 1000 Angstrom to 3.3 micron."""
    x = np.clip(1e4 / np.asarray(wavelength_a, np.float64), 0.3, 10.0)
    infrared = 0.574 * x**1.61 - 0.527 * x**1.61 / ratio_v
    y = x - 1.82
    a = np.polyval([0.32999, -0.77530, 0.01979, 0.72085, -0.02427, -0.50447, 0.17699, 1.0], y)
    b = np.polyval([-2.09002, 5.30260, -0.62251, -5.38434, 1.07233, 2.28305, 1.41338, 0.0], y)
    far = np.maximum(x - 5.9, 0.0)
    a_uv = 1.752 - 0.316 * x - 0.104 / ((x - 4.67) ** 2 + 0.341) - 0.04473 * far**2 - 0.009779 * far**3
    b_uv = -3.090 + 1.825 * x + 1.206 / ((x - 4.62) ** 2 + 0.263) + 0.2130 * far**2 + 0.1207 * far**3
    return np.where(x < 1.1, infrared, np.where(x < 3.3, a + b / ratio_v, a_uv + b_uv / ratio_v))
