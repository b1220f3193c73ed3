"""Variable stars: pulsators, eclipsing pairs, flares, dwarf novae and microlensing.

References
----------
Sesar et al. 2010 (ApJ 708, 717), RR Lyrae of Stripe 82; Palaversa et al. 2013 (AJ 146, 101), periodic stars of LINEAR;
Davenport et al. 2014 (ApJ 797, 122), shape of flares; Paczynski 1986 (ApJ 304, 1), microlensing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from model.series import BANDS
from model.simulation.sources import TEMPLATE_DAYS, Circumstances
from model.simulation.sources.spectra import planck_mag
from model.simulation.sources.star_tables import (
    AMPLITUDE_RATIO,
    COEFFICIENT_JITTER,
    COLOUR,
    FOURIER_AB,
    FOURIER_C,
    MIX,
)
from model.simulation.surveys import Survey, flux_njy

FLARES_PER_DAY = 2.0
FLARE_DAYS = 0.3  # after which a flare is forgotten
COLOUR_REACH_MAG = -1.5  # no star is drawn bluer than this


@dataclass(frozen=True, slots=True, eq=False)
class Pulsator:
    """A periodic star whose magnitude is a Fourier series (or an asymmetric wave) of phase."""

    subtype: str
    mag_B: NDArray[np.float64]  # at mean light
    period_days: float
    phase0: float
    amplitude_B: NDArray[np.float64]
    coefficients_BK: NDArray[np.float64]  # harmonics (a1, b1, a2, b2 ...), peak-to-peak 1

    @property
    def truth(self) -> Mapping[str, float | int | str]:
        return {"period_days": self.period_days, "amplitude_g_mag": float(self.amplitude_B[1])}

    def flux(self, day_T: NDArray[np.float64], band_T: NDArray[np.integer], survey: Survey) -> NDArray[np.float64]:
        angle_T = 2 * np.pi * (day_T / self.period_days + self.phase0)
        wave_T = np.zeros(len(day_T))
        for k in range(self.coefficients_BK.shape[1] // 2):
            a_B, b_B = self.coefficients_BK[:, 2 * k], self.coefficients_BK[:, 2 * k + 1]
            wave_T += a_B[band_T] * np.cos((k + 1) * angle_T) + b_B[band_T] * np.sin((k + 1) * angle_T)
        return flux_njy(self.mag_B[band_T] + self.amplitude_B[band_T] * wave_T)


@dataclass(frozen=True, slots=True, eq=False)
class Eclipsing:
    """Two stars that hide each other: narrow eclipses, or the cosine of a contact pair."""

    subtype: str
    mag_B: NDArray[np.float64]  # out of eclipse
    period_days: float
    phase0: float
    depths: tuple[float, float]  # fractions of light lost
    width: float  # of an eclipse in phase; 0 for a contact pair

    @property
    def truth(self) -> Mapping[str, float | int | str]:
        return {"period_days": self.period_days, "depth": self.depths[0], "eclipse_width": self.width}

    def flux(self, day_T: NDArray[np.float64], band_T: NDArray[np.integer], survey: Survey) -> NDArray[np.float64]:
        phase_T = (day_T / self.period_days + self.phase0) % 1
        first_T = (phase_T + 0.5) % 1 - 0.5
        second_T = phase_T - 0.5
        if self.width > 0:
            lost_T = self.depths[0] * np.exp(-0.5 * (first_T / self.width) ** 2)
            lost_T += self.depths[1] * np.exp(-0.5 * (second_T / self.width) ** 2)
        else:
            hidden_T = (0.5 + 0.5 * np.cos(4 * np.pi * phase_T)) ** 1.3
            lost_T = np.where(np.abs(first_T) < 0.25, self.depths[0], self.depths[1]) * hidden_T
        return flux_njy(self.mag_B[band_T]) * (1 - np.minimum(lost_T, 0.95))


@dataclass(frozen=True, slots=True, eq=False)
class Eruptive:
    """A star that is constant but for flares (minutes) or dwarf-nova outbursts (days)."""

    subtype: str
    mag_B: NDArray[np.float64]  # quiescent
    start_days_E: NDArray[np.float64]  # of each eruption
    amplitude_E: NDArray[np.float64]  # flares: times the quiescent r flux; outbursts: magnitudes
    width_days_E: NDArray[np.float64]  # flares: full width at half maximum; outbursts: plateau
    temperature_k: float

    @property
    def truth(self) -> Mapping[str, float | int | str]:
        return {"eruptions": len(self.start_days_E), "largest_amplitude": float(self.amplitude_E.max(initial=0.0))}

    def flux(self, day_T: NDArray[np.float64], band_T: NDArray[np.integer], survey: Survey) -> NDArray[np.float64]:
        quiet_T = flux_njy(self.mag_B[band_T])
        last_T = np.searchsorted(self.start_days_E, day_T) - 1
        seen_T = np.maximum(last_T, 0)
        since_T = np.where(last_T >= 0, day_T - self.start_days_E[seen_T], np.inf) if len(self.start_days_E) else None
        if since_T is None:
            return quiet_T
        amplitude_T, width_T = self.amplitude_E[seen_T], self.width_days_E[seen_T]
        if self.subtype == "DwarfNova":
            rise_T = np.clip(since_T / 1.5, 0, 1)
            decline_T = 0.75 * np.maximum(np.minimum(since_T, 1e4) - 1.5 - width_T, 0)
            return quiet_T * 10 ** (0.4 * np.maximum(amplitude_T * rise_T - decline_T, 0))
        t = np.minimum(since_T / width_T, 1e4)
        shape_T = np.where(t < FLARE_DAYS / width_T, 0.689 * np.exp(-1.6 * t) + 0.303 * np.exp(-0.2783 * t), 0.0)
        colour_B = planck_mag(survey.pivot_angstrom_B, self.temperature_k)
        balmer_B = np.where(survey.pivot_angstrom_B < 3800, 2.0, 1.0)  # jump of the hydrogen continuum
        quiet_r = flux_njy(self.mag_B[BANDS.index("r")])
        return quiet_T + quiet_r * amplitude_T * shape_T * (10 ** (-0.4 * colour_B) * balmer_B)[band_T]


@dataclass(frozen=True, slots=True, eq=False)
class MicroLens:
    """A constant star that a compact mass passes in front of."""

    subtype: str
    mag_B: NDArray[np.float64]
    peak_day: float
    impact: float
    einstein_days: float

    @property
    def truth(self) -> Mapping[str, float | int | str]:
        return {"peak_day": self.peak_day, "impact": self.impact, "einstein_days": self.einstein_days}

    def flux(self, day_T: NDArray[np.float64], band_T: NDArray[np.integer], survey: Survey) -> NDArray[np.float64]:
        u2_T = self.impact**2 + ((day_T - self.peak_day) / self.einstein_days) ** 2
        return flux_njy(self.mag_B[band_T]) * (u2_T + 2) / np.sqrt(u2_T * (u2_T + 4))


Star = Pulsator | Eclipsing | Eruptive | MicroLens


def draw_star(rng: Generator, seen: Circumstances, subtype: str | None = None) -> Star:
    """Draw a variable star of a subtype, or of the mix; ``seen.mag_B`` gives its r magnitude (index 2).

    Raises
    ------
    ValueError
        When the subtype is unknown, or no magnitude is given.
    """
    if seen.mag_B is None:
        raise ValueError("a star needs an r magnitude: give Circumstances.mag_B")
    subtype = (
        str(rng.choice(list(MIX), p=np.array(list(MIX.values())) / sum(MIX.values()))) if subtype is None else subtype
    )
    if subtype == "RRLyrae":
        subtype = str(rng.choice(["RRab", "RRc"], p=[0.75, 0.25]))
    if subtype not in COLOUR:
        raise ValueError(f"star of type {subtype!r}: choose one of {', '.join(COLOUR)} or RRLyrae")
    mag_B = _star_mags(rng, subtype, float(seen.mag_B[BANDS.index("r")]))
    if subtype in AMPLITUDE_RATIO:
        return _draw_pulsator(rng, subtype, mag_B)
    if subtype == "EB":
        return _draw_eclipsing(rng, mag_B)
    if subtype == "uLens":
        peak = float(rng.uniform(-20, seen.window_days + 20))
        return MicroLens(
            "uLens", mag_B, peak, float(rng.uniform(0.005, 1)), float(20 * np.exp(0.6 * rng.standard_normal()))
        )
    return draw_eruptive(rng, subtype, mag_B, seen.window_days)


def _star_mags(rng: Generator, subtype: str, r_mag: float) -> NDArray[np.float64]:
    """Six magnitudes from r and the colours of a subtype; all colours of one star shift together."""
    mean, scatter = COLOUR[subtype]
    shift = rng.standard_normal()
    ug, gr, ri, iz = np.array(mean) + scatter * (0.8 * shift + 0.6 * rng.standard_normal(4))
    ug, gr = max(ug, COLOUR_REACH_MAG), max(gr, COLOUR_REACH_MAG)
    return r_mag + np.array([ug + gr, gr, 0.0, -ri, -ri - iz, -ri - 1.4 * iz])


def _draw_pulsator(rng: Generator, subtype: str, mag_B: NDArray) -> Pulsator:
    rows: list[tuple[float, ...]]
    if subtype == "RRab":
        log_period = rng.normal(-0.238, 0.052)
        amplitude = np.clip(-3.77 * log_period + 0.07 + 0.23 * rng.standard_normal(), 0.25, 1.6)
        rows = [FOURIER_AB[band][1:] for band in "ugrizz"]
    elif subtype == "RRc":
        log_period, amplitude = rng.normal(-0.470, 0.053), np.clip(rng.normal(0.507, 0.09), 0.15, 0.9)
        rows = [FOURIER_C[1:]] * 6
    elif subtype == "DeltaScuti":
        log_period, amplitude = rng.uniform(-1.4, -0.6), np.clip(rng.normal(0.42, 0.12), 0.1, 0.9)
        rows = [FOURIER_C[1:]] * 6
    elif subtype == "Cepheid":
        log_period, amplitude = rng.uniform(0.0, 1.78), rng.uniform(0.3, 1.2) * 1.2
        rows = [FOURIER_AB["g"][1:]] * 6
    else:  # long-period variables, some of them Miras; amplitude counted in r
        log_period, amplitude = rng.uniform(np.log10(80), np.log10(400)), rng.uniform(0.3, 2.0)
        amplitude = rng.uniform(2.0, 5.0) if rng.random() < 0.2 else amplitude
        rows = [(-0.5, 0.0)] * 6
    coefficients_BK = np.array(rows) * (1 + COEFFICIENT_JITTER * rng.standard_normal(len(rows[0])))
    return Pulsator(
        subtype,
        mag_B,
        float(10**log_period),
        float(rng.random()),
        amplitude * np.array(AMPLITUDE_RATIO[subtype]),
        coefficients_BK,
    )


def _draw_eclipsing(rng: Generator, mag_B: NDArray) -> Eclipsing:
    contact = rng.random() < 0.6
    log_period = np.clip(rng.normal(-0.50, 0.10), -0.7, 0.0) if contact else np.clip(rng.normal(-0.08, 0.24), -0.5, 0.9)
    first = rng.uniform(0.1, 0.6)
    depths = (float(first), float(first * rng.uniform(0.3, 1.0)))
    return Eclipsing(
        "EB",
        mag_B,
        float(10**log_period),
        float(rng.random()),
        depths,
        0.0 if contact else float(rng.uniform(0.02, 0.05)),
    )


def draw_eruptive(rng: Generator, subtype: str, mag_B: NDArray, window_days: float) -> Eruptive:
    """A flare star or a dwarf nova whose quiescent magnitudes are given."""
    begin, end = TEMPLATE_DAYS[0] - 50, window_days
    if subtype == "Flare":
        count = rng.poisson(FLARES_PER_DAY * (window_days + 1))
        start = np.sort(rng.uniform(-1.0, end, count))  # the template is quiet
        amplitude = np.minimum(0.03 * (1 - rng.random(count)) ** (-1 / 0.9), 100.0)
        width = 5 / 1440 * np.exp(0.8 * rng.standard_normal(count)) * (1 + amplitude) ** 0.3
        return Eruptive("Flare", mag_B, start, amplitude, width, float(rng.uniform(9000, 14_000)))
    recurrence = float(np.exp(rng.uniform(np.log(20), np.log(300))))
    count = int((end - begin) / recurrence * 1.5) + 5
    start = begin + np.cumsum(recurrence * rng.uniform(0.6, 1.4, count))
    amplitude = rng.uniform(2, 6) * rng.uniform(0.85, 1.15, count)
    return Eruptive("DwarfNova", mag_B, start, amplitude, rng.uniform(3, 10, count), 12_000.0)
