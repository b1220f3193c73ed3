"""Redshifts and luminosities by volume and rate, out to where a survey could still see the brightest.

Knows rates and luminosities, no light curve. Luminosity is drawn before redshift: the volume in which a luminosity is
visible weighs it, which is the same as drawing in the whole volume and rejecting what is too faint, only faster.

References
----------
Frohmaier et al. 2019 (MNRAS 486, 2308) and Dilday et al. 2010 (ApJ 713, 1026), SN Ia rate near 2.5e-5 (1 + z)^1.5.
Nyholm et al. 2020 (A&A 637, A73): the type IIn supernovae of a magnitude-limited survey peak at M_r = -19.18 with a
scatter of 1.32. Malmquist's correction 0.6 ln(10) sigma^2, sigma between theirs less the errors and that of the other
types, 1.1, brings the mean in a volume to -17.5; Li et al. 2011 (MNRAS 412, 1441) find -16.9 there.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from model.simulation.sources.corecollapse import FRACTION, LUMINOSITY
from model.simulation.sources.spectra import comoving_volume_mpc3, distance_modulus, star_formation
from model.simulation.sources.transients import BRIGHTEST_ABS_MAG
from model.simulation.surveys import Survey

SUBTYPES_OF = {
    "SNIa": ("Ia",),
    "SNIax": ("Iax",),
    "SN91bg": ("91bg",),
    "SNII": ("IIP", "IIL", "IIn", "IIb"),
    "SNIbc": ("Ib", "Ic"),
    "SNOther": ("IIP", "IIL", "IIn", "IIb", "Ib", "Ic"),
}
BRIGHTEST_PECULIAR_ABS_MAG = {"Ia": -19.9, "91bg": -18.2, "Iax": -18.6}
# By volume a supernova in 10,000 peaks six magnitudes above the limit, like the nearest of each year. A share of the
# objects comes from smaller volumes, one to seven magnitudes, so that data sets hold some: more than the sky has.
NEARBY_SHARE, NEARER_MAG = 0.05, (1, 7)
TRIGGER_MARGIN_MAG = 0.3  # two nights over the limit need a source brighter than the limit at its peak
LARGEST_REDSHIFT, SMALLEST_REDSHIFT = 1.2, 0.001  # the nearest supernovae of a decade are at 0.001 to 0.004
GRID = np.geomspace(SMALLEST_REDSHIFT, LARGEST_REDSHIFT, 1200)
LUMINOSITY_IN_A_VOLUME = {**LUMINOSITY, "IIn": (-17.5, 1.1)}
DELAYED = ("Ia", "91bg")  # rate follows old stars


@dataclass(frozen=True, slots=True, eq=False)
class Visible:
    """What a survey can see of one subtype."""

    events: float  # relative number
    magnitude_M: NDArray[np.float64]
    cumulative_M: NDArray[np.float64]
    cumulative_events_Z: NDArray[np.float64]  # events nearer than each redshift of GRID
    largest_redshift_M: NDArray[np.float64]


def draw_subtype(rng: Generator, class_name: str, survey: Survey | None) -> str:
    """Draw a subtype of a class: by its share of the volume, or of what a survey can see of it."""
    subtypes = SUBTYPES_OF.get(class_name, (class_name,))
    if len(subtypes) == 1:
        return subtypes[0]
    weights = np.array([FRACTION[s] * (visible(s, survey).events if survey else 1.0) for s in subtypes])
    return str(rng.choice(subtypes, p=weights / weights.sum()))


def draw_nearness(rng: Generator) -> int:
    """By how many magnitudes to shrink the volume of one object; 0 for most."""
    return int(rng.integers(NEARER_MAG[0], NEARER_MAG[1] + 1)) if rng.random() < NEARBY_SHARE else 0


def draw_luminosity_and_redshift(
    rng: Generator, subtype: str, survey: Survey, nearer_mag: int = 0
) -> tuple[float, float]:
    """Draw a peak magnitude (NaN for families that draw their own) and a redshift where it may be visible."""
    seen = visible(subtype, survey, nearer_mag)
    m = int(np.searchsorted(seen.cumulative_M, rng.random() * seen.cumulative_M[-1]))
    limit = np.interp(seen.largest_redshift_M[m], GRID, seen.cumulative_events_Z)
    redshift = float(np.interp(rng.random() * limit, seen.cumulative_events_Z, GRID))
    return float(seen.magnitude_M[m]), redshift


@lru_cache(maxsize=512)
def visible(subtype: str, survey: Survey, nearer_mag: int = 0) -> Visible:
    """Tabulate rate times volume for one subtype and one survey, or for one that sees so much less far."""
    rate_Z = (1 + GRID) ** 1.5 if subtype in DELAYED else star_formation(GRID)
    shell_Z = np.diff(comoving_volume_mpc3(GRID), prepend=0.0)
    events_Z = np.cumsum(rate_Z / (1 + GRID) * shell_Z)
    events_Z -= events_Z[0]
    if subtype in LUMINOSITY_IN_A_VOLUME:
        mean, sd = LUMINOSITY_IN_A_VOLUME[subtype]
        magnitude_M = np.linspace(mean - 3 * sd, mean + 3 * sd, 121)
        density_M = np.exp(-0.5 * ((magnitude_M - mean) / sd) ** 2)
        brightest_M = magnitude_M
    else:
        magnitude_M, density_M = np.array([np.nan]), np.array([1.0])
        brightest_M = np.array([(BRIGHTEST_PECULIAR_ABS_MAG | BRIGHTEST_ABS_MAG)[subtype]])
    apparent_Z = distance_modulus(GRID) - 2.5 * np.log10(1 + GRID)
    limit = float(survey.depth_mag_B[2]) - TRIGGER_MARGIN_MAG - nearer_mag
    largest_M = np.clip(np.interp(limit - brightest_M, apparent_Z, GRID), SMALLEST_REDSHIFT + 0.001, LARGEST_REDSHIFT)
    weight_M = density_M * np.interp(largest_M, GRID, events_Z)
    return Visible(
        float(weight_M.sum() / density_M.sum()), magnitude_M, np.cumsum(weight_M), np.maximum(events_Z, 0), largest_M
    )
