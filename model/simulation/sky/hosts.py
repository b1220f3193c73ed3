"""Galaxies: what a catalogue says of a host, its profile on the sky, and what else falls into the stamp.

Knows no class of source: a population (a key of ``populations.json``) or a redshift is all it is told.

References
----------
Sako et al. 2018 (PASP 130, 064002), hosts of the SDSS-II candidates; Shen et al. 2003 (MNRAS 343, 978), sizes of
galaxies of a catalogue. Van der Wel et al. 2014 (ApJ 788, 28), major axes of galaxies at z = 0.25: of hosts that are
drawn by their mass. Shen's circles hold the same light on half the area, which buries a supernova in its host.
"""

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.special import ndtr

from model.simulation.sky_records import Galaxy, Star
from model.simulation.sources.spectra import distance_modulus, kpc_per_arcsec
from model.simulation.surveys import Survey, flux_njy

CENTROID_ERROR_ARCSEC = 0.12  # per axis, of the position at which stamps are cut
LARGEST_OFFSET_IN_RADII = 4.0
NUCLEAR_OFFSET_ARCSEC = 0.03
STAMP_FOR_COUNTS_ARCSEC = 25.3
GALAXIES_PER_STAMP, STARS_PER_STAMP = 0.5, 0.2  # brighter than r = 22 in 25.3 arcsec
FAINTEST_NEIGHBOUR_MAG, COUNT_SLOPE = 22.0, 0.38
# Surveys of the whole sky look through the plane of the Milky Way too. Its disc is flat: stars brighter than r = 23.5
# in a stamp of ZTF at the pole, the power of csc |b| by which they crowd towards the plane, most of them where dust
# hides the rest, and the log scatter from place to place. Measured, with the slopes of the counts, on the peaks in
# templates of 640 real objects, latitude by latitude (measure_ztf.py).
STARS_AT_POLE, STARS_POWER, MOST_STARS, STARS_SCATTER = 5.0, 1.3, 200.0, 0.6
STARS_AREA_ARCSEC2 = 63.63**2
FAINTEST_STAR_MAG, STAR_SLOPE = 23.5, 0.27
ZTF_GALAXY_SLOPE = 0.5
BRIGHTEST_GALAXY_MAG, BRIGHTEST_STAR_MAG = 14.0, 13.0
HALO_STARS = 0.5  # blue ones among the stars, the others are red dwarfs
DISC_FRACTION = 0.65
MASS_AT_MAG = (10.5, -21.2, 1.9)  # log10 mass, its M_r, magnitudes per dex
MASS_SCATTER_MAG = 0.4
K_CORRECTION_R_PER_REDSHIFT = 1.2
# log10 kpc at 10^10.7 solar masses, slope, mass below which it is flat, scatter in dex
MAJOR_AXIS, MAJOR_AXIS_MASS = {False: (0.86, 0.25, 0.0, 0.16), True: (0.60, 0.75, 10.3, 0.10)}, 10.7
EARLY_ABOVE_REDNESS = 0.6
LOG_MASS = {"Ia": (10.5, 0.75), "CC": (10.4, 0.70), "dwarf": (8.6, 0.6), "any": (10.3, 0.7)}
SMALLEST_RADIUS_ARCSEC, LARGEST_RADIUS_ARCSEC = 0.15, 30.0


@dataclass(frozen=True, slots=True, eq=False)
class HostEntry:
    """What a catalogue would say: magnitudes of the nearest object and its separation from the measured position."""

    matched: bool
    mag_B: NDArray[np.float64]
    offset_arcsec: float
    redshift: float  # NaN where the population has none
    shape: "HostShape | None" = None  # where the host was drawn by its mass; a catalogue's row tells none


@dataclass(frozen=True, slots=True)
class HostShape:
    """A profile on the sky, and where in it something lies."""

    half_light_arcsec: float  # of the major axis
    sersic_index: float
    axis_ratio: float
    bearing_rad: float  # of the transient, from the host's major axis


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """One class of the catalogue: quantiles of each column and a mixture of their normal scores."""

    host_fraction: float
    percentile_Q: NDArray[np.float64]
    quantile_DQ: NDArray[np.float64]
    weight_K: NDArray[np.float64]
    mean_KD: NDArray[np.float64]
    cholesky_KDD: NDArray[np.float64]
    sigma_KD: NDArray[np.float64]

    def draw(self, rng: Generator) -> NDArray[np.float64]:
        """One row of columns: r, u-g, g-r, r-i, i-z, log10 offset, and the redshift where there is one."""
        k = int(np.searchsorted(np.cumsum(self.weight_K), rng.random() * self.weight_K.sum()))
        score_D = self.mean_KD[k] + self.cholesky_KDD[k] @ rng.standard_normal(self.mean_KD.shape[1])
        uniform_D = self.weight_K @ ndtr((score_D - self.mean_KD) / self.sigma_KD) / self.weight_K.sum()
        return np.array(
            [np.interp(100 * u, self.percentile_Q, row_Q) for u, row_Q in zip(uniform_D, self.quantile_DQ, strict=True)]
        )


@lru_cache(maxsize=1)
def load_populations() -> dict[str, Population]:
    """Read the statistics that the package ships."""
    table = json.loads(resources.files("model.simulation.sky").joinpath("populations.json").read_text("utf-8"))
    percentile_Q = np.array(table["percentiles"])
    populations = {}
    for name, entry in table["populations"].items():
        covariance_KDD = np.array(entry["covariances"])
        populations[name] = Population(
            host_fraction=entry["host_fraction"],
            percentile_Q=percentile_Q,
            quantile_DQ=np.array(list(entry["quantiles"].values())),
            weight_K=np.array(entry["weights"]),
            mean_KD=np.array(entry["means"]),
            cholesky_KDD=np.linalg.cholesky(covariance_KDD),
            sigma_KD=np.sqrt(np.diagonal(covariance_KDD, axis1=1, axis2=2)),
        )
    return populations


def draw_entry(rng: Generator, population: str) -> HostEntry:
    """Draw what the catalogue says of one object of a population, as a whole."""
    statistics = load_populations()[population]
    matched = bool(rng.random() < statistics.host_fraction)
    row_D = statistics.draw(rng)
    redshift = float(row_D[6]) if len(row_D) > 6 else float("nan")
    return HostEntry(matched, magnitudes(*row_D[:5]), float(10 ** row_D[5]), redshift)


def entry_at(rng: Generator, redshift: float, kind: str, nuclear: bool = False) -> HostEntry:
    """Draw a host for a transient at a redshift, from the stellar masses of the hosts of its kind."""
    mean, sd = LOG_MASS[kind]
    log_mass = rng.normal(mean, sd)
    mass, magnitude, slope = MASS_AT_MAG
    absolute = magnitude - slope * (log_mass - mass) + MASS_SCATTER_MAG * rng.standard_normal()
    r_mag = absolute + float(distance_modulus(max(redshift, 1e-3))) + K_CORRECTION_R_PER_REDSHIFT * redshift
    red = np.clip(0.5 + 0.25 * (log_mass - 10.3) + 0.15 * rng.standard_normal(), 0, 1)
    colours = np.array(
        [0.8 + 0.9 * red, 0.30 + 0.45 * red + 1.6 * min(redshift, 0.4), 0.2 + 0.2 * red, 0.12 + 0.2 * red]
    )
    colours += 0.06 * rng.standard_normal(4)
    shape, offset = draw_shape(rng, log_mass, redshift, red > EARLY_ABOVE_REDNESS)
    if nuclear:
        offset = NUCLEAR_OFFSET_ARCSEC
    along, across = CENTROID_ERROR_ARCSEC * rng.standard_normal(2)
    offset = float(np.hypot(offset + along, across))
    return HostEntry(True, magnitudes(r_mag, *colours), offset, redshift, shape)


def magnitudes(
    r: NDArray | float, ug: NDArray | float, gr: NDArray | float, ri: NDArray | float, iz: NDArray | float
) -> NDArray[np.float64]:
    """Magnitudes [6, ...] of r and four colours; z-y continues i-z at 0.4 of it."""
    return np.asarray(r + np.array([ug + gr, gr, 0.0 * gr, -ri, -ri - iz, -ri - 1.4 * iz]))


def log_mass_of(entry: HostEntry, redshift: float) -> float:
    """Stellar mass that the magnitude and redshift imply, log10 of solar masses."""
    mass, magnitude, slope = MASS_AT_MAG
    absolute = entry.mag_B[2] - float(distance_modulus(max(redshift, 1e-3))) - K_CORRECTION_R_PER_REDSHIFT * redshift
    return float(np.clip(mass - (absolute - magnitude) / slope, 6.5, 12.0))


def draw_shape(rng: Generator, log_mass: float, redshift: float, early: bool) -> tuple[HostShape, float]:
    """Draw the profile of a galaxy of a stellar mass, and how far off (arcsec) something is that follows its light."""
    log_kpc, slope, least_mass, scatter = MAJOR_AXIS[early]
    log_kpc += slope * (max(log_mass, least_mass) - MAJOR_AXIS_MASS) + scatter * rng.standard_normal()
    arcsec = _arcsec(10**log_kpc, redshift)
    axis_ratio = _axis_ratio(rng, not early)
    radius, angle = arcsec * exponential_radius(rng), rng.uniform(0, 2 * np.pi)
    x, y = radius * np.cos(angle), axis_ratio * radius * np.sin(angle)
    return HostShape(arcsec, 4.0 if early else 1.0, axis_ratio, float(np.arctan2(y, x))), float(np.hypot(x, y))


def half_light_arcsec(rng: Generator, log_mass: float, redshift: float, early: bool) -> float:
    """Half-light radius of a galaxy of a catalogue."""
    mass = 10.0**log_mass
    kpc = 2.88e-6 * mass**0.56 if early else 0.1 * mass**0.14 * (1 + mass / 3.98e10) ** 0.25
    return _arcsec(kpc * np.exp(0.4 * rng.standard_normal()), redshift)


def _arcsec(kpc: float, redshift: float) -> float:
    return float(np.clip(kpc / kpc_per_arcsec(max(redshift, 0.005)), SMALLEST_RADIUS_ARCSEC, LARGEST_RADIUS_ARCSEC))


def _axis_ratio(rng: Generator, disc: bool) -> float:
    return float(rng.uniform(0.2, 1.0) if disc else rng.uniform(0.5, 1.0))


def exponential_radius(rng: Generator) -> float:
    """Distance from the centre, in half-light radii, of a random point of an exponential disc's light."""
    return float(rng.gamma(2.0) / 1.678)


def draw_galaxy(rng: Generator, entry: HostEntry, redshift: float, x_arcsec: float, y_arcsec: float) -> Galaxy:
    """Give a catalogue entry a profile; it is made large enough that its offset lies within four radii."""
    disc = rng.random() < DISC_FRACTION
    radius = half_light_arcsec(rng, log_mass_of(entry, redshift), redshift, not disc)
    radius = max(radius, float(np.hypot(x_arcsec, y_arcsec)) / LARGEST_OFFSET_IN_RADII)
    sersic_index, axis_ratio = 1.0 if disc else 4.0, _axis_ratio(rng, disc)
    return _galaxy(entry, radius, sersic_index, axis_ratio, float(rng.uniform(0, np.pi)), x_arcsec, y_arcsec)


def galaxy_of_shape(
    entry: HostEntry, shape: HostShape, direction_rad: float, x_arcsec: float, y_arcsec: float
) -> Galaxy:
    """Put a host whose shape is known where it is, turned so that the transient, from which it lies in a direction, is
    at its bearing."""
    position_angle = (direction_rad - shape.bearing_rad) % np.pi
    return _galaxy(
        entry, shape.half_light_arcsec, shape.sersic_index, shape.axis_ratio, position_angle, x_arcsec, y_arcsec
    )


def _galaxy(entry: HostEntry, radius: float, index: float, ratio: float, angle: float, x: float, y: float) -> Galaxy:
    return Galaxy(
        flux_njy(entry.mag_B).astype(np.float32), float(radius), index, ratio, float(angle), float(x), float(y)
    )


def draw_neighbours(rng: Generator, survey: Survey, latitude_deg: float) -> tuple[tuple[Galaxy, ...], tuple[Star, ...]]:
    """Galaxies and stars that happen to lie in the stamp: one pool for every class at a Galactic latitude."""
    half = survey.stamp_arcsec / 2
    area = (survey.stamp_arcsec / STAMP_FOR_COUNTS_ARCSEC) ** 2
    galaxy_slope = ZTF_GALAXY_SLOPE if survey.name == "ztf" else COUNT_SLOPE
    galaxies = []
    for _ in range(rng.poisson(GALAXIES_PER_STAMP * area)):
        r_mag = max(FAINTEST_NEIGHBOUR_MAG + float(np.log10(1 - rng.random())) / galaxy_slope, BRIGHTEST_GALAXY_MAG)
        redshift = float(np.clip(rng.lognormal(np.log(0.05 + 0.05 * max(r_mag - 16, 0.0)), 0.4), 0.01, 1.5))
        ug, gr = rng.normal(1.2, 0.4), rng.normal(0.8, 0.25)
        entry = HostEntry(True, magnitudes(r_mag, ug, gr, 0.45 * gr, 0.35 * gr), 0.0, redshift)
        galaxy = draw_galaxy(rng, entry, redshift, 0.0, 0.0)
        x, y = rng.uniform(-half, half, 2)
        galaxies.append(replace(galaxy, x_arcsec=float(x), y_arcsec=float(y)))
    if survey.name == "sdss":  # Stripe 82 keeps off the plane
        expected, faintest, slope = STARS_PER_STAMP * area, FAINTEST_NEIGHBOUR_MAG, COUNT_SLOPE
    else:
        expected = stars_at(latitude_deg) * float(np.exp(STARS_SCATTER * rng.standard_normal()))
        expected *= survey.stamp_arcsec**2 / STARS_AREA_ARCSEC2
        faintest, slope = FAINTEST_STAR_MAG, STAR_SLOPE
    count = rng.poisson(expected)
    gr_N = np.where(rng.random(count) < HALO_STARS, rng.normal(0.45, 0.12, count), rng.normal(1.4, 0.08, count))
    r_N = np.maximum(faintest + np.log10(1 - rng.random(count)) / slope, BRIGHTEST_STAR_MAG)
    flux_NB = flux_njy(magnitudes(r_N, 0.7 + gr_N, gr_N, 0.45 * gr_N, 0.25 * gr_N).T).astype(np.float32)
    xy_N2 = rng.uniform(-half, half, (count, 2))
    stars = [Star(flux_B, float(x), float(y)) for flux_B, (x, y) in zip(flux_NB, xy_N2, strict=True)]
    return tuple(galaxies), tuple(stars)


def stars_at(latitude_deg: float) -> float:
    """Median number of stars in a stamp of ZTF."""
    sine = max(abs(np.sin(np.radians(latitude_deg))), 1e-3)
    return float(min(STARS_AT_POLE * sine**-STARS_POWER, MOST_STARS))


def faint_host(rng: Generator) -> NDArray[np.float64]:
    """Magnitudes of a host that no catalogue of the survey holds."""
    return magnitudes(22.6 + rng.exponential(0.7), 1.0, 0.6, 0.3, 0.2)
