"""Where in the Milky Way a star of a kind and an apparent magnitude lies, and the dust in front of it. Knows no survey.

Stars and dust are discs that thin out exponentially above the plane, and the nearer a line of sight is to it, the more
of either it meets: far and young stars are seen close to the plane, red behind its dust, and the dust keeps the stars
that a survey reaches there near by.

References
----------
Juric et al. 2008 (ApJ 673, 864): the disc of old stars is 0.3 kpc high; that of young ones is a third of it. Marshall
et al. 2006 (A&A 453, 635): that of dust 0.125 kpc. The dust of a whole line of sight is of Schlegel, Finkbeiner & Davis
1998 (``dust.py``); nearer to the plane than their table it grows with csc |b|, which in it is A_V = 1.4 mag a kpc.
Absolute magnitudes are round numbers of the textbooks; Catelan & Smith 2015 (Pulsating Stars), RR Lyrae stars.

Legend: ``B`` latitudes, ``D`` distances.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from model.simulation.sky import dust

OLD_KPC, YOUNG_KPC, DUST_KPC = 0.3, 0.1, 0.125
FARTHEST_KPC = 8.0
DUST_R = 2.285  # magnitudes in r per E(B-V)
MAG_PER_LN_KPC = 5 / math.log(10)
DISTANCE_KPC_D = np.geomspace(0.005, 100, 600)
SINE_B = np.geomspace(5e-4, 1.0, 120)


@dataclass(frozen=True, slots=True)
class Populace:
    """Stars of one kind."""

    height_kpc: float  # infinite in the halo
    absolute_mag: float  # r
    farthest_kpc: float = FARTHEST_KPC

    def distance_kpc(self, r_mag: float, latitude_deg: float, deviate: float) -> float:
        """How far a star is that looks so bright behind the dust of its line of sight."""
        sine_B = np.array([_sine(latitude_deg)])
        return float(self._distance_kpc(r_mag, sine_B, np.array([column_mag(latitude_deg, deviate)]))[0])

    def reddening_mag(self, r_mag: float, latitude_deg: float, deviate: float) -> float:
        """E(B-V) in front of such a star; the deviate is the line of sight's, as in ``dust``."""
        distance_kpc = self.distance_kpc(r_mag, latitude_deg, deviate)
        return column_mag(latitude_deg, deviate) * -math.expm1(-distance_kpc * _sine(latitude_deg) / DUST_KPC)

    def draw_latitude_deg(self, rng: Generator, r_mag: float) -> float:
        """Draw |b| from the numbers of stars of this brightness, latitude by latitude."""
        column_B = _median_column_mag()
        distance_B = self._distance_kpc(r_mag, SINE_B, column_B)
        depth_B = distance_B * SINE_B
        mag_per_kpc_B = MAG_PER_LN_KPC / distance_B + DUST_R * column_B * SINE_B / DUST_KPC * np.exp(
            -depth_B / DUST_KPC
        )
        stars_B = SINE_B * distance_B**2 / mag_per_kpc_B * np.exp(-depth_B / self.height_kpc)  # per log sin |b|
        cumulative_B = np.cumsum(stars_B) / stars_B.sum()
        ln_sine = np.interp(rng.random(), cumulative_B, np.log(SINE_B))
        return math.degrees(math.asin(math.exp(min(ln_sine, 0.0))))

    def _distance_kpc(self, r_mag: float, sine_B: NDArray, column_B: NDArray) -> NDArray[np.float64]:
        share_BD = -np.expm1(-DISTANCE_KPC_D * sine_B[:, None] / DUST_KPC)
        mag_BD = self.absolute_mag + 10 + 5 * np.log10(DISTANCE_KPC_D) + DUST_R * column_B[:, None] * share_BD
        reached_B = (mag_BD < r_mag).sum(axis=1).clip(max=len(DISTANCE_KPC_D) - 1)
        return np.minimum(DISTANCE_KPC_D[reached_B], self.farthest_kpc)


def column_mag(latitude_deg: float, deviate: float) -> float:
    """E(B-V) of a whole line of sight, the plane included."""
    nearest_deg = float(dust.SFD.latitude_deg_N[0])
    return dust.SFD.at(latitude_deg, deviate) * max(_sine(nearest_deg) / _sine(latitude_deg), 1.0)


@cache
def _median_column_mag() -> NDArray[np.float64]:
    return np.array([column_mag(math.degrees(math.asin(sine)), 0.0) for sine in SINE_B])


def _sine(latitude_deg: float) -> float:
    return max(abs(math.sin(math.radians(latitude_deg))), float(SINE_B[0]))


DISC: Mapping[str, Populace] = {  # by the subtype of a source; novae are seen from afar and in other galaxies
    "RRab": Populace(math.inf, 0.6, math.inf),
    "RRc": Populace(math.inf, 0.6, math.inf),
    "DeltaScuti": Populace(OLD_KPC, 2.0),
    "EB": Populace(OLD_KPC, 4.5),
    "Rotator": Populace(OLD_KPC, 5.5),
    "LPV": Populace(OLD_KPC, -1.0),
    "Symbiotic": Populace(OLD_KPC, -1.0),
    "DwarfNova": Populace(OLD_KPC, 8.0),
    "Flare": Populace(OLD_KPC, 11.0),
    "uLens": Populace(OLD_KPC, 4.5),
    "Cepheid": Populace(YOUNG_KPC, -3.0),
    "YSO": Populace(YOUNG_KPC, 6.0),
    "Be": Populace(YOUNG_KPC, -2.0),
}
