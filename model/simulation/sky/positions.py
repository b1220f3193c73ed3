"""Places of objects on the sky. Knows no pixels: what a latitude means for a stamp is for ``hosts`` to say.

Galaxies are seen everywhere but behind the plane of the Milky Way; its own stars lie in a disc about us, the nearer to
its plane the farther and the younger they are. ``disc.py`` places stars behind its dust; those of LSST, with which its
weights were trained, have one magnitude of it wherever they are.

References
----------
Perley et al. 2020 (ApJ 904, 35): ZTF's survey of supernovae keeps 7 degrees from the plane. Juric et al. 2008 (ApJ 673,
864): the disc of old stars is 0.3 kpc high; that of young ones is a third of it. Absolute magnitudes are round numbers
of the textbooks.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import erfa
import numpy as np
from numpy.random import Generator

from model.simulation.sky.disc import FARTHEST_KPC, OLD_KPC, YOUNG_KPC
from model.simulation.sky.intrinsic import IntrinsicObject
from model.simulation.surveys import Survey

DECLINATION_DEG: Mapping[str, tuple[float, float]] = {
    "sdss": (-1.14, 1.14),
    "ztf": (-28.0, 80.0),
    "lsst": (-65.0, 10.0),
}
STRIPE_82_RIGHT_ASCENSION_DEG = (-47.0, 52.0)
PLANE_OF_DUST_DEG = 7.0
DUST_MAG = 1.0
DISC: Mapping[str, tuple[float, float]] = {  # height in kpc, absolute magnitude in r; RR Lyrae stars are of the halo
    "DeltaScuti": (OLD_KPC, 2.0),
    "EW": (OLD_KPC, 4.5),
    "EA": (OLD_KPC, 3.5),
    "EB": (OLD_KPC, 4.0),
    "BYDra": (OLD_KPC, 7.5),
    "RSCVn": (OLD_KPC, 3.5),
    "SemiRegular": (OLD_KPC, -1.0),
    "Mira": (OLD_KPC, -1.0),
    "LPV": (OLD_KPC, -1.0),
    "Symbiotic": (OLD_KPC, -1.0),
    "DwarfNova": (OLD_KPC, 8.0),
    "Flare": (OLD_KPC, 11.0),
    "Nova": (OLD_KPC, 4.0),
    "uLens": (OLD_KPC, 4.5),
    "Cepheid": (YOUNG_KPC, -3.0),
    "YSO": (YOUNG_KPC, 6.0),
    "Be": (YOUNG_KPC, -2.0),
}


@dataclass(frozen=True, slots=True)
class Position:
    """ICRS, and the Galactic latitude of the same place."""

    ra_deg: float
    dec_deg: float
    latitude_deg: float


def draw_position(rng: Generator, drawn: IntrinsicObject, survey: Survey, mode: str) -> Position:
    """Draw a place on the survey's sky; where classes are to differ in nothing but their changes, one pool for all."""
    low_deg, high_deg = DECLINATION_DEG[survey.name]
    if survey.name == "sdss":
        low, high = np.sin(np.radians((low_deg, high_deg)))
        ra, dec = math.radians(rng.uniform(*STRIPE_82_RIGHT_ASCENSION_DEG)), math.asin(rng.uniform(low, high))
        return _position(ra, dec, erfa.icrs2g(ra, dec)[1])
    star = drawn.kind == "Star" and mode != "deconfounded"
    while True:
        latitude = _latitude_of_star(rng, drawn) if star else _latitude_of_galaxy(rng)
        latitude *= 1 if rng.random() < 0.5 else -1
        ra, dec = erfa.g2icrs(rng.uniform(0, 2 * math.pi), latitude)
        if low_deg <= math.degrees(dec) <= high_deg:
            return _position(ra, dec, latitude)


def _latitude_of_galaxy(rng: Generator) -> float:
    return math.asin(rng.uniform(math.sin(math.radians(PLANE_OF_DUST_DEG)), 1.0))


def _latitude_of_star(rng: Generator, drawn: IntrinsicObject) -> float:
    """Height above the plane, exponential, over the distance at which its kind has its magnitude."""
    if drawn.populace is not None:
        return math.radians(drawn.populace.draw_latitude_deg(rng, float(drawn.entry.mag_B[2])))
    uniform = rng.random()
    if drawn.source.subtype not in DISC:
        return math.asin(uniform)
    height_kpc, absolute_mag = DISC[drawn.source.subtype]
    distance_kpc = 10 ** (0.2 * (float(drawn.entry.mag_B[2]) - DUST_MAG - absolute_mag) - 2)
    flatness = height_kpc / min(distance_kpc, FARTHEST_KPC)
    return math.asin(-flatness * math.log1p(-uniform * -math.expm1(-1 / flatness)))


def _position(ra_rad: float, dec_rad: float, latitude_rad: float) -> Position:
    return Position(math.degrees(ra_rad) % 360, math.degrees(dec_rad), math.degrees(latitude_rad))
