"""Catalogue sources near a simulated object: host, galaxies, stars, itself if it was there before.

Knows no survey's field names. A catalogue that fits a point source to a galaxy finds the less of its light, the larger
it is and the sharper the images are.

Legend: ``B`` bands, ``K`` the Gaussians of a galaxy's profile.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.simulation.images import sersic
from model.simulation.sky_records import Galaxy, SimulatedObject
from model.simulation.survey.psf import FWHM_PER_SIGMA

LEAST_FLUX_NJY = 575.0  # AB 24.5 in r: fainter ones are in no wide catalogue
BLENDED_ARCSEC = 0.8  # sources closer than this are one source of a catalogue from the ground


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One source of a catalogue."""

    distance_arcsec: float
    ra_deg: float
    dec_deg: float
    flux_B: NDArray[np.float32]  # nJy, all of its light
    is_star: bool
    catalogue_id: int
    galaxies: tuple[Galaxy, ...] = ()  # the parts of it that are no points

    def psf_flux_B(self, fwhm_arcsec: float) -> NDArray[np.float64]:  # noqa: N802 - shapes are suffixes
        """Flux of a point source fitted to it in images of a Gaussian PSF, nJy."""
        missed = ((1 - _psf_share(galaxy, fwhm_arcsec)) * galaxy.flux_B for galaxy in self.galaxies)
        return np.asarray(self.flux_B - sum(missed), np.float64)


def _psf_share(galaxy: Galaxy, fwhm_arcsec: float) -> float:
    """Of a galaxy's light, what the best-fitting point source at its centre has."""
    flux_K, variance_K = sersic.gaussians(galaxy.sersic_index)
    psf = 2 * (fwhm_arcsec / FWHM_PER_SIGMA) ** 2  # of the image and of the model that is fitted to it
    major_K = variance_K * galaxy.half_light_arcsec**2
    return float(np.sum(flux_K * psf / np.sqrt((psf + major_K) * (psf + galaxy.axis_ratio**2 * major_K))))


def neighbours(obj: SimulatedObject, ra_deg: float, dec_deg: float) -> list[Neighbour]:
    """Sources that a catalogue of the static sky would list near a position, nearest first."""
    sources: list[tuple[float, float, NDArray[np.float32], tuple[Galaxy, ...]]]
    sources = [(g.x_arcsec, g.y_arcsec, g.flux_B, (g,)) for g in obj.scene.galaxies]
    sources += [(s.x_arcsec, s.y_arcsec, s.flux_B, ()) for s in obj.scene.stars]
    if np.nanmax(obj.reference_flux_B) > LEAST_FLUX_NJY:
        sources.append((0.0, 0.0, obj.reference_flux_B, ()))
    listed = []
    for x, y, flux_B, galaxies in sources:
        if np.nanmax(flux_B) <= LEAST_FLUX_NJY:
            continue
        ra = ra_deg + x / 3600 / math.cos(math.radians(dec_deg))
        dec = dec_deg + y / 3600
        key = round((dec + 90) * 12e5) % 100_000 * 10**12 + round(ra * 1e6) % 360_000_000 * 1000
        listed.append(Neighbour(math.hypot(x, y), ra, dec, flux_B, not galaxies, key, galaxies))
    return _in_order(_blended(listed))


def from_a_place(listed: Sequence[Neighbour], ra_deg: float, dec_deg: float) -> list[Neighbour]:
    """The same sources as they lie from a measured position, nearest first."""
    return _in_order([replace(one, distance_arcsec=_apart_arcsec(one, ra_deg, dec_deg)) for one in listed])


def scattered(listed: Sequence[Neighbour], rng: np.random.Generator, error_arcsec: float) -> list[Neighbour]:
    """The same sources with the errors of a catalogue's own positions, along each axis."""
    moved = []
    for one in listed:
        x, y = error_arcsec / 3600 * rng.standard_normal(2)
        ra = one.ra_deg + x / math.cos(math.radians(one.dec_deg))
        moved.append(replace(one, ra_deg=ra, dec_deg=one.dec_deg + y))
    return moved


def _apart_arcsec(one: Neighbour, ra_deg: float, dec_deg: float) -> float:
    x = (one.ra_deg - ra_deg) * math.cos(math.radians(dec_deg))
    return 3600 * math.hypot(x, one.dec_deg - dec_deg)


def _blended(listed: Sequence[Neighbour]) -> list[Neighbour]:
    """Sources too close to be told apart as one: the light of all, the place and the kind of the brightest."""
    apart: list[Neighbour] = []
    for one in sorted(listed, key=lambda source: -float(np.nanmax(source.flux_B))):
        for k, other in enumerate(apart):
            if _apart_arcsec(one, other.ra_deg, other.dec_deg) < BLENDED_ARCSEC:
                apart[k] = replace(other, flux_B=other.flux_B + one.flux_B, galaxies=other.galaxies + one.galaxies)
                break
        else:
            apart.append(one)
    return apart


def _in_order(listed: Sequence[Neighbour]) -> list[Neighbour]:
    return sorted(listed, key=lambda neighbour: neighbour.distance_arcsec)
