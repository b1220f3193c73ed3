"""Rare transients outside the four classes: a light curve and a temperature against rest-frame time.

Shapes are choices after the ELAsTiCC taxonomy (superluminous, tidal disruption, kilonova, calcium-rich,
intermediate-luminosity, pair instability), not fits.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from model.simulation.sources import Circumstances
from model.simulation.sources.spectra import distance_modulus, planck_mag
from model.simulation.surveys import Survey, flux_njy

EMPTY_MAG = 60.0
GRID_DAYS = np.r_[-120:-30:5.0, -30:10:0.5, 10:60:2.0, 60:600:10.0]


@dataclass(frozen=True, slots=True, eq=False)
class Transient:
    """Magnitude below peak and temperature on a grid of rest-frame days from the peak."""

    subtype: str
    redshift: float
    peak_day: float
    peak_abs_mag: float
    fading_mag_N: NDArray[np.float64]
    temperature_k_N: NDArray[np.float64]

    @property
    def truth(self) -> Mapping[str, float | int | str]:
        return {"peak_day": self.peak_day, "peak_abs_mag": self.peak_abs_mag}

    def flux(self, day_T: NDArray[np.float64], band_T: NDArray[np.integer], survey: Survey) -> NDArray[np.float64]:
        rest_T = (day_T - self.peak_day) / (1 + self.redshift)
        mag_T = np.interp(rest_T, GRID_DAYS, self.fading_mag_N, left=EMPTY_MAG)
        temperature_T = np.interp(rest_T, GRID_DAYS, self.temperature_k_N)
        wavelength_T = survey.pivot_angstrom_B[band_T] / (1 + self.redshift)
        mag_T += self.peak_abs_mag + distance_modulus(self.redshift) - 2.5 * np.log10(1 + self.redshift)
        mag_T += planck_mag(wavelength_T, temperature_T)
        mag_T += 1.5 * np.clip((3000 - wavelength_T) / 1000, 0, 1.5) * (self.subtype in ("SLSN", "PISN", "CART"))
        return flux_njy(mag_T)


Curve = tuple[float, NDArray, NDArray]  # peak absolute magnitude, fading, temperature


def _rise_and_fall(rise_days: float, fall: NDArray) -> NDArray:
    """Gaussian rise to the peak, then magnitudes of fading on the grid."""
    before = 1.0857 * GRID_DAYS**2 / (2 * (0.5 * rise_days) ** 2)
    return np.where(GRID_DAYS < 0, np.minimum(before, EMPTY_MAG), fall)


def _slsn(rng: Generator) -> Curve:
    after = np.maximum(GRID_DAYS, 0)
    cool = np.clip(GRID_DAYS / 50, 0, 1)
    return (
        rng.normal(-21.1, 0.75),
        _rise_and_fall(rng.uniform(25, 55), 1.0857 * after / rng.uniform(50, 90)),
        15_000 - 7000 * cool,
    )


def _tde(rng: Generator) -> Curve:
    faint, bright = 10 ** (0.4 * 17.5 * 1.5), 10 ** (0.4 * 21.0 * 1.5)  # dN/dL ~ L^-2.5
    u = rng.random()
    magnitude = -np.log10(1 / ((1 - u) / faint + u / bright)) / 0.6
    after = np.maximum(GRID_DAYS, 0)
    scale = rng.uniform(40, 100)
    fall = 1.0857 * after / scale if rng.random() < 0.5 else 2.5 * 5 / 3 * np.log10(1 + after / scale)
    return magnitude, _rise_and_fall(rng.uniform(10, 25), fall), np.full(len(GRID_DAYS), rng.uniform(15e3, 30e3))


def _kn(rng: Generator) -> Curve:
    day = np.maximum(GRID_DAYS + 0.5, 0.25)
    fade = rng.uniform(0.55, 0.9) * np.maximum(GRID_DAYS, 0)
    return rng.normal(-15.8, 0.5), _rise_and_fall(0.8, fade), np.clip(5500 * day**-0.55, 1800, 9000)


def _cart(rng: Generator) -> Curve:
    after = np.maximum(GRID_DAYS, 0)
    fade = 0.09 * np.minimum(after, 20) + 0.02 * np.maximum(after - 20, 0)
    return rng.normal(-16.3, 0.5), _rise_and_fall(12, fade), np.clip(7500 - 100 * after, 4500, 9000)


def _ilot(rng: Generator) -> Curve:
    after = np.maximum(GRID_DAYS, 0)
    fade = 2.5 / (1 + np.exp(-np.clip((after - rng.uniform(60, 110)) / 8, -50, 50))) + 0.008 * after
    return rng.normal(-13.0, 0.9), _rise_and_fall(rng.uniform(8, 20), fade), np.clip(6500 - 30 * after, 3500, 7000)


def _pisn(rng: Generator) -> Curve:
    after = np.maximum(GRID_DAYS, 0)
    return (
        rng.normal(-20.3, 0.8),
        _rise_and_fall(rng.uniform(80, 140), 0.011 * after),
        np.clip(9000 - 20 * after, 5000, 9000),
    )


TRANSIENTS: Mapping[str, Callable[[Generator], Curve]] = {
    "SLSN": _slsn,
    "TDE": _tde,
    "KN": _kn,
    "CART": _cart,
    "ILOT": _ilot,
    "PISN": _pisn,
}
BRIGHTEST_ABS_MAG = {"SLSN": -22.8, "TDE": -21.0, "KN": -17.0, "CART": -17.5, "ILOT": -15.2, "PISN": -22.0}


def draw_transient(rng: Generator, seen: Circumstances, subtype: str) -> Transient:
    """Draw a transient of one of TRANSIENTS at a redshift."""
    magnitude, fading_N, temperature_N = TRANSIENTS[subtype](rng)
    day = float(rng.uniform(-40, seen.window_days + 20))
    return Transient(subtype, seen.redshift, day, float(magnitude), fading_N, np.asarray(temperature_N, np.float64))
