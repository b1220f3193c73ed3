"""Supernovae from spectral templates: the same luminosities, stretches and dust as without, other light curves."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from model.series import BANDS
from model.simulation.sources import Circumstances
from model.simulation.sources.corecollapse import draw_corecollapse
from model.simulation.sources.ktable import load_ktable
from model.simulation.sources.snia import draw_snia
from model.simulation.sources.spectra import B_ANGSTROM, distance_modulus, dust
from model.simulation.sources.templates import STANDS_FOR, Spectra, Templates
from model.simulation.surveys import SDSS, Survey, flux_njy

SLOPE_DAYS = 10.0  # over which the fading of the last spectra is measured, to continue it
SLOWEST_FADING, FASTEST_FADING = 0.0098, 0.05  # mag per day
RISE_DAYS = 3.0  # before the first spectrum
R = BANDS.index("r")
DIMMEST = 1e-30


@dataclass(frozen=True, slots=True, eq=False)
class Spectral:
    """One supernova with a template's spectra."""

    subtype: str
    redshift: float
    peak_day: float
    peak_abs_mag: float  # in the band and phase that the spectra are scaled to
    spectra: Spectra  # scaled so that their peak has magnitude 0
    passbands: Mapping[str, Mapping[str, tuple[NDArray, NDArray]]]
    ratio_v: float
    reddening: tuple[float, float]  # A_V of dust (mag), and the wavelength (A) that it leaves alone; 0 for none
    parameters: Mapping[str, float]

    @property
    def truth(self) -> Mapping[str, float | int | str]:
        return {"peak_day": self.peak_day, "spectral_template": 1, **self.parameters}

    def flux(self, day_T: NDArray[np.float64], band_T: NDArray[np.integer], survey: Survey) -> NDArray[np.float64]:
        phase_T = (day_T - self.peak_day) / (1 + self.redshift)
        flux_PB = self.spectra.seen(self.redshift, self.passbands[survey.name])
        phase_P = self.spectra.phase_P
        mag_T = np.empty(len(day_T))
        for b in np.unique(band_T):
            rows = band_T == b
            mag_P = -2.5 * np.log10(np.maximum(flux_PB[:, b], DIMMEST))
            slope = (mag_P[-1] - np.interp(phase_P[-1] - SLOPE_DAYS, phase_P, mag_P)) / SLOPE_DAYS
            late_T = np.maximum(phase_T[rows] - phase_P[-1], 0) * np.clip(slope, SLOWEST_FADING, FASTEST_FADING)
            mag_T[rows] = np.interp(phase_T[rows], phase_P, mag_P) + late_T
        rest_T = survey.pivot_angstrom_B[band_T] / (1 + self.redshift)
        amount, pivot = self.reddening
        law_T = dust(rest_T, self.ratio_v) - (dust(pivot, self.ratio_v) if pivot else 0.0)
        mag_T += amount * law_T + self.peak_abs_mag + distance_modulus(self.redshift)
        mag_T -= 2.5 * np.log10(1 + self.redshift)
        rise_T = np.clip((phase_T - phase_P[0] + RISE_DAYS) / RISE_DAYS, 0, 1) ** 2
        return flux_njy(mag_T) * rise_T


def has_template(subtype: str) -> bool:
    """Whether spectra stand for a subtype."""
    return subtype == "Ia" or subtype in STANDS_FOR


def draw_spectral(
    rng: Generator, seen: Circumstances, subtype: str, templates: Templates, peak_abs_mag: float | None = None
) -> Spectral:
    """Draw a supernova with the parameters of the analytic one of the same subtype, and a template's spectra."""
    if subtype == "Ia":
        return _draw_ia(rng, seen, templates)
    analytic = draw_corecollapse(rng, seen, subtype, peak_abs_mag)
    choices = templates.core_collapse[STANDS_FOR[subtype]]
    spectra = choices[int(rng.integers(len(choices)))]
    red_P = spectra.seen(0.0, {"r": templates.passbands["sdss"]["r"]})[:, R]
    peak = int(np.argmax(red_P))
    scaled = Spectra(spectra.phase_P, spectra.wave_W, spectra.flux_PW / red_P[peak])
    return Spectral(
        subtype=subtype,
        redshift=seen.redshift,
        peak_day=analytic.explosion_day + (1 + seen.redshift) * analytic.rise_days,
        peak_abs_mag=analytic.peak_abs_mag,
        spectra=scaled,
        passbands=templates.passbands,
        ratio_v=3.1,
        reddening=(analytic.dust_mag, 0.0),
        parameters={"peak_r_abs_mag": analytic.peak_abs_mag, "host_av": analytic.dust_mag},
    )


def _draw_ia(rng: Generator, seen: Circumstances, templates: Templates) -> Spectral:
    """SALT3's mean spectra and what x1 adds; colour as for the table of K-corrections."""
    analytic = draw_snia(rng, seen, "Ia")
    mean, stretch = templates.salt3
    flux_PW = np.maximum(mean.flux_PW + analytic.x1 * stretch.flux_PW, 0)
    drawn = Spectra(mean.phase_P, mean.wave_W, flux_PW)
    green = {"g": templates.passbands["sdss"]["g"]}
    at_peak = float(np.interp(0.0, drawn.phase_P, drawn.seen(0.0, green)[:, 1]))
    ktable = load_ktable()
    peak_row = int(np.flatnonzero(ktable.phase_P == 0)[0])
    green_minus_b = float(ktable.at(SDSS, 0.0)[1, peak_row])
    ratio_v = 2.1
    return Spectral(
        subtype="Ia",
        redshift=seen.redshift,
        peak_day=analytic.peak_day,
        peak_abs_mag=analytic.peak_mag + green_minus_b,
        spectra=Spectra(drawn.phase_P, drawn.wave_W, flux_PW / at_peak),
        passbands=templates.passbands,
        ratio_v=ratio_v,
        reddening=(analytic.c * 3.1 / float(dust(B_ANGSTROM, ratio_v)), B_ANGSTROM),
        parameters={"x1": analytic.x1, "c": analytic.c, "peak_b_abs_mag": analytic.peak_mag},
    )
