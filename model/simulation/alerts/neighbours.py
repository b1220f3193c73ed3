"""Catalogue sources near a simulated object: host, galaxies, stars, itself if it was there before.

Knows no survey's field names.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.simulation.records import SimulatedObject

LEAST_FLUX_NJY = 575.0  # AB 24.5 in r: fainter ones are in no wide catalogue


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One source of a catalogue."""

    distance_arcsec: float
    ra_deg: float
    dec_deg: float
    flux_B: NDArray[np.float32]  # nJy
    is_star: bool
    catalogue_id: int


def neighbours(obj: SimulatedObject, ra_deg: float, dec_deg: float) -> list[Neighbour]:
    """Sources that a catalogue of the static sky would list near a position, nearest first."""
    sources = [(g.x_arcsec, g.y_arcsec, g.flux_B, False) for g in obj.scene.galaxies]
    sources += [(s.x_arcsec, s.y_arcsec, s.flux_B, True) for s in obj.scene.stars]
    if np.nanmax(obj.reference_flux_B) > LEAST_FLUX_NJY:
        sources.append((0.0, 0.0, obj.reference_flux_B, True))
    neighbours = []
    for x, y, flux_B, is_star in sources:
        if np.nanmax(flux_B) <= LEAST_FLUX_NJY:
            continue
        ra = ra_deg + x / 3600 / math.cos(math.radians(dec_deg))
        dec = dec_deg + y / 3600
        key = round((dec + 90) * 12e5) % 100_000 * 10**12 + round(ra * 1e6) % 360_000_000 * 1000
        neighbours.append(Neighbour(math.hypot(x, y), ra, dec, flux_B, is_star, key))
    return sorted(neighbours, key=lambda neighbour: neighbour.distance_arcsec)
