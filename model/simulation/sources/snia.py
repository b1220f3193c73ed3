"""Type Ia supernovae: stretch, colour and peak drawn, Hsiao's mean spectrum behind them.

References
----------
Hsiao et al. 2007 (ApJ 663, 1187); Guy et al. 2007 (A&A 466, 11), stretch; Scolnic & Kessler 2016 (ApJ 822, L35),
asymmetric populations of x1 and c. Ginolin et al. 2025 (A&A 694, A4), colours of ZTF's SNe Ia in a volume: a Gaussian
of what is intrinsic and an exponential tail of dust.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from model.simulation.sources import Circumstances
from model.simulation.sources.ktable import load_ktable
from model.simulation.sources.spectra import B_ANGSTROM, distance_modulus, dust
from model.simulation.surveys import Survey, flux_njy

ALPHA, BETA = 0.15, 3.1
PEAK_B_AB_MAG = -19.32  # fits the mean peaks of real SNe Ia at z = 0.07 to 0.23 after selection
TEMPLATE_COLOUR = 0.03  # Hsiao's mean spectrum is bluer than that of SALT3, whose c is drawn: part of the way to it
INTRINSIC_SCATTER_MAG = 0.11
DUST_RATIO = 2.1
FIRST_PHASE, RISE_END, LAST_PHASE = -19.0, -10.0, 85.0
TAIL_MAG_PER_DAY = 0.015
PEAK_MARGIN_BEFORE, PEAK_MARGIN_AFTER = 20.0, 15.0  # days outside the window in which a peak may still be drawn
COLOUR_IN_A_VOLUME = (-0.084, 0.052, 0.154)  # mean and scatter without dust, mean of the dust
REDDEST = 0.8
SUBTYPES = {  # how much fainter, its scatter, shift of x1 and of c
    "Ia": (0.0, 0.0, 0.0, 0.0),
    "91bg": (1.9, 0.35, -2.0, 0.32),
    "Iax": (2.6, 0.9, -1.0, 0.18),
}


@dataclass(frozen=True, slots=True)
class SNIa:
    """One type Ia supernova."""

    subtype: str
    redshift: float
    peak_day: float  # of B maximum, days since the start of the window
    x1: float
    c: float
    offset_mag: float  # intrinsic scatter, and how much a peculiar subtype is fainter

    @property
    def truth(self) -> Mapping[str, float | int | str]:
        return {"x1": self.x1, "c": self.c, "peak_day": self.peak_day, "peak_b_abs_mag": self.peak_mag}

    @property
    def peak_mag(self) -> float:
        """Absolute B magnitude at maximum."""
        return PEAK_B_AB_MAG - ALPHA * self.x1 + BETA * self.c + self.offset_mag

    def flux(self, day_T: NDArray[np.float64], band_T: NDArray[np.integer], survey: Survey) -> NDArray[np.float64]:
        stretch = 0.98 + 0.091 * self.x1 + 0.003 * self.x1**2 - 0.00075 * self.x1**3
        phase_T = (day_T - self.peak_day) / ((1 + self.redshift) * stretch)
        ktable = load_ktable()
        table_BP = ktable.at(survey, self.redshift)
        clipped_T = np.clip(phase_T, RISE_END, LAST_PHASE)
        mag_T = np.empty(len(day_T))
        for b in np.unique(band_T):
            rows = band_T == b
            mag_T[rows] = np.interp(clipped_T[rows], ktable.phase_P, table_BP[b])
        mag_T += TAIL_MAG_PER_DAY * np.maximum(phase_T - LAST_PHASE, 0)
        rest_T = survey.pivot_angstrom_B[band_T] / (1 + self.redshift)
        # Colour is the whole reddening c = E(B-V), whatever its cause; dust() is per A_V, brought to per E(B-V) with
        # A_B = 3.1 E(B-V), as the colour law of light-curve fitters has it.
        reddening_T = (self.c + TEMPLATE_COLOUR) * 3.1 * (dust(rest_T, DUST_RATIO) / dust(B_ANGSTROM, DUST_RATIO) - 1)
        mag_T += self.peak_mag + distance_modulus(self.redshift) - 2.5 * np.log10(1 + self.redshift) + reddening_T
        rise_T = np.clip((phase_T - FIRST_PHASE) / (RISE_END - FIRST_PHASE), 0, 1) ** 2
        return flux_njy(mag_T) * rise_T


def draw_snia(rng: Generator, seen: Circumstances, subtype: str = "Ia") -> SNIa:
    """Draw a type Ia supernova at a redshift, its peak anywhere in the window or a little outside it."""
    fainter, scatter, x1_shift, c_shift = SUBTYPES[subtype]
    x1 = np.clip(_two_sided(rng, 1.14, 1.65, 0.30) + x1_shift, -4, 4)
    if seen.near:
        mean, scatter_of_c, dust_of_c = COLOUR_IN_A_VOLUME
        c = np.clip(rng.normal(mean, scatter_of_c) + rng.exponential(dust_of_c) + c_shift, -0.3, REDDEST)
    else:
        c = np.clip(_two_sided(rng, -0.038, 0.048, 0.079) + c_shift, -0.3, 0.6)
    day = rng.uniform(-PEAK_MARGIN_BEFORE, seen.window_days + PEAK_MARGIN_AFTER)
    offset = INTRINSIC_SCATTER_MAG * rng.standard_normal() + fainter + scatter * rng.standard_normal()
    if subtype != "Ia":  # their faintness already holds their stretch and colour
        offset += ALPHA * x1_shift - BETA * c_shift
    return SNIa(subtype, seen.redshift, float(day), float(x1), float(c), float(offset))


def _two_sided(rng: Generator, peak: float, below: float, above: float) -> float:
    """A Gaussian with another width on each side of its peak."""
    side = rng.random() < below / (below + above)
    size = abs(rng.standard_normal())
    return peak - below * size if side else peak + above * size
