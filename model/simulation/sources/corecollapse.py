"""Core-collapse supernovae: a light curve in r, a cooling black body for the colours, dust of the host.

References
----------
Fractions after Shivvers et al. 2017 (PASP 129, 054201); luminosities near Richardson et al. 2014 (AJ 147, 118) and
Li et al. 2011 (MNRAS 412, 1441). Shapes are choices that look like the classes, not fits.
Colours of nearby ones (``Circumstances.near``) follow de Jaeger et al. 2018 (MNRAS 476, 4592), (B-V) of type II;
Taddia et al. 2015 (A&A 574, A60) and Stritzinger et al. 2018 (A&A 609, A135), colours, dust and its R_V of stripped
envelopes; Nyholm et al. 2020 (A&A 637, A73), type IIn. Those of SDSS's sample are the black bodies that its published
results were made with.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from model.simulation.sources import Circumstances
from model.simulation.sources.spectra import distance_modulus, dust, planck_mag
from model.simulation.surveys import Survey, flux_njy

FRACTION = {"IIP": 0.52, "IIL": 0.13, "IIn": 0.046, "IIb": 0.109, "Ib": 0.108, "Ic": 0.087}
LUMINOSITY = {  # absolute R at peak: mean, standard deviation
    "IIP": (-16.9, 0.95),
    "IIL": (-17.9, 0.70),
    "IIn": (-18.5, 1.10),
    "IIb": (-17.2, 0.80),
    "Ib": (-17.5, 0.90),
    "Ic": (-17.6, 1.00),
}
HYDROGEN_RICH = ("IIP", "IIL", "IIn")
MEAN_DUST_MAG, LARGEST_DUST_MAG = 0.35, 2.5
MEAN_DUST_NEAR_MAG = {"IIP": 0.2, "IIL": 0.25, "IIn": 0.2, "IIb": 0.3, "Ib": 0.4, "Ic": 0.5}
DUST_RATIO_NEAR = {"IIP": 3.1, "IIL": 3.1, "IIn": 3.1, "IIb": 2.6, "Ib": 2.7, "Ic": 3.8}
LINES_MAG, LINES_FROM_A, LINES_TO_A = 0.3, 5300.0, 4100.0  # of iron, full-grown
LINES_AFTER_D, LINES_GROW_D = 10.0, 35.0
NICKEL_TAIL_MAG_PER_DAY = 0.0098
STRIPPED_TAIL_MAG_PER_DAY = 0.017
MARGIN_BEFORE = 60.0  # days before the window in which an explosion may lie
PROBE_DAYS = np.arange(0.0, 120.0, 1.0)


@dataclass(frozen=True, slots=True)
class CoreCollapse:
    """One core-collapse supernova."""

    subtype: str
    redshift: float
    explosion_day: float  # days since the start of the window
    peak_abs_mag: float  # rest-frame R
    dust_mag: float  # A_V of the host
    rise_days: float
    decline_mag_per_day: float
    plateau_days: float
    cooling_days: float
    width_days: float
    early_peak: bool  # shock cooling before the main peak
    near: bool = False  # colours of nearby ones

    @property
    def truth(self) -> Mapping[str, float | int | str]:
        return {"explosion_day": self.explosion_day, "peak_r_abs_mag": self.peak_abs_mag, "host_av": self.dust_mag}

    @property
    def dust_ratio(self) -> float:
        """R_V of the host."""
        return DUST_RATIO_NEAR[self.subtype] if self.near else 3.1

    def shape(self, tau_T: NDArray) -> NDArray:
        """Flux in rest-frame R, 1 at peak, against rest-frame days since explosion."""
        return self._shape(tau_T) / self._shape(PROBE_DAYS).max()

    def _shape(self, tau_T: NDArray) -> NDArray:
        t = np.maximum(tau_T, 1e-3)
        if self.subtype in ("IIP", "IIL"):
            rise = 1 - np.exp(-t / (self.rise_days / 3))
            plateau_end = self.plateau_days
            drop = 1.9 / (1 + np.exp(-np.clip((t - plateau_end) / 6, -50, 50)))
            fall = self.decline_mag_per_day * np.minimum(np.maximum(t - self.rise_days, 0), plateau_end)
            tail = NICKEL_TAIL_MAG_PER_DAY * np.maximum(t - plateau_end - self.rise_days, 0)
            flux = rise * 10 ** (-0.4 * (fall + drop + tail))
        elif self.subtype == "IIn":
            rise = np.minimum(t / self.rise_days, 1) ** 1.3
            flux = rise * 10 ** (-0.4 * self.decline_mag_per_day * np.maximum(t - self.rise_days, 0))
        else:
            p = t - self.rise_days
            after = 0.75 * np.exp(-(np.maximum(p, 0) ** 2) / (2 * self.width_days**2))
            after = after + 0.25 * np.exp(-np.maximum(p, 0) / 60)
            floor = 0.22 * 10 ** (-0.4 * STRIPPED_TAIL_MAG_PER_DAY * np.maximum(p, 0))
            flux = np.where(p < 0, np.exp(-(p**2) / (2 * (0.5 * self.rise_days) ** 2)), np.maximum(after, floor))
            if self.early_peak:
                flux = flux + 0.6 * np.exp(-t / 3)
            flux = flux * np.minimum(t / 2, 1)
        return np.where(tau_T > 0, flux, 0.0)

    def temperature_k(self, tau_T: NDArray) -> NDArray:
        """Colour temperature against rest-frame days since explosion."""
        t = np.maximum(tau_T, 0)
        if self.near:
            return self._temperature_near_k(t)
        if self.subtype in ("IIP", "IIL"):
            return 5500 + 10_500 * np.exp(-t / self.cooling_days)
        if self.subtype == "IIn":
            return 6500 + 6500 * np.exp(-t / 60)
        early = np.where(t < self.rise_days, 9000.0, 5200 + 3800 * np.exp(-(t - self.rise_days) / 16))
        return early + (5000 * np.exp(-t / 3) if self.early_peak else 0.0)

    def _temperature_near_k(self, t: NDArray) -> NDArray:
        if self.subtype in ("IIP", "IIL"):
            return 5300 + 12_500 * np.exp(-t / self.cooling_days)
        if self.subtype == "IIn":
            return 6500 + 7500 * np.exp(-t / 60)
        after = (t - self.rise_days - 6) / 6
        return 5300 + 4200 / (1 + np.exp(after)) + (5000 * np.exp(-t / 3) if self.early_peak else 0.0)

    def _lines_mag(self, rest_T: NDArray, tau_T: NDArray) -> NDArray:
        """What metal lines take away in the blue."""
        lost_T = 1.8 * np.clip((4300 - rest_T) / 1000, 0, 1) * np.clip(tau_T / 30, 0, 1)
        if self.near and self.subtype != "IIn":
            iron_T = np.clip((LINES_FROM_A - rest_T) / (LINES_FROM_A - LINES_TO_A), 0, 1)
            lost_T = lost_T + LINES_MAG * iron_T * np.clip((tau_T - LINES_AFTER_D) / LINES_GROW_D, 0, 1)
        return lost_T

    def flux(self, day_T: NDArray[np.float64], band_T: NDArray[np.integer], survey: Survey) -> NDArray[np.float64]:
        tau_T = (day_T - self.explosion_day) / (1 + self.redshift)
        rest_T = survey.pivot_angstrom_B[band_T] / (1 + self.redshift)
        mag_T = self.peak_abs_mag + distance_modulus(self.redshift) - 2.5 * np.log10(1 + self.redshift)
        mag_T = mag_T + planck_mag(rest_T, self.temperature_k(tau_T)) + self.dust_mag * dust(rest_T, self.dust_ratio)
        mag_T += self._lines_mag(rest_T, tau_T)
        return flux_njy(mag_T) * self.shape(tau_T)


def draw_corecollapse(
    rng: Generator, seen: Circumstances, subtype: str, peak_abs_mag: float | None = None
) -> CoreCollapse:
    """Draw a core-collapse supernova of a subtype at a redshift, of a given or of a drawn luminosity."""
    mean, sd = LUMINOSITY[subtype]
    mean_dust = MEAN_DUST_NEAR_MAG[subtype] if seen.near else MEAN_DUST_MAG
    rise, plateau = rng.uniform(5, 11), rng.normal(95, 14)
    decline = abs(rng.normal(0.9, 0.6)) / 100
    if subtype == "IIL":
        decline, plateau = rng.uniform(1.6, 4.0) / 100, rng.normal(75, 12)
    elif subtype == "IIn":
        decline, rise = abs(rng.normal(1.3, 0.9)) / 100, 22 * np.exp(0.4 * rng.standard_normal())
    elif subtype not in HYDROGEN_RICH:
        rise = np.clip(rng.normal(20, 3), 10, 32)
    return CoreCollapse(
        subtype=subtype,
        redshift=seen.redshift,
        explosion_day=float(rng.uniform(-MARGIN_BEFORE, seen.window_days)),
        peak_abs_mag=float(rng.normal(mean, sd) if peak_abs_mag is None else peak_abs_mag),
        dust_mag=float(min(rng.exponential(mean_dust), LARGEST_DUST_MAG)),
        rise_days=float(rise),
        decline_mag_per_day=float(decline),
        plateau_days=float(max(plateau, 40)),
        cooling_days=float(rng.uniform(11, 16)),
        width_days=float(np.clip(rng.normal(16, 3), 8, 26)),
        early_peak=bool(subtype == "IIb" and rng.random() < 0.5),
        near=seen.near,
    )
