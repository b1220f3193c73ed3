"""Catalogue entry, redshift and source of one object of a class. Knows no survey's noise.

References
----------
Taggart & Perley 2021 (MNRAS 503, 3931): a third of core-collapse supernovae explode in dwarfs of less than 1e9 solar
masses. The supernova survey of SDSS, whose hosts are its own catalogue's, is not touched by that.
Sanchez-Saez et al. 2021 (AJ 161, 141): a few per cent of the nuclei that alert in ZTF are blazars.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from model.simulation.sky import hosts, labels
from model.simulation.sky.disc import DISC, Populace
from model.simulation.sky.hosts import HostEntry
from model.simulation.sky.redshifts import draw_luminosity_and_redshift, draw_nearness, draw_subtype
from model.simulation.sources import Circumstances, Source
from model.simulation.sources.agn import FAINTEST_FITTED_M_I, FAINTEST_M_I, draw_agn
from model.simulation.sources.corecollapse import FRACTION as CORE_COLLAPSE
from model.simulation.sources.corecollapse import draw_corecollapse
from model.simulation.sources.galactic import REDDENED_BY_PLACE, draw_galactic
from model.simulation.sources.irregular import Irregular
from model.simulation.sources.outbursts import Outbursts
from model.simulation.sources.snia import SUBTYPES as IA_SUBTYPES
from model.simulation.sources.snia import draw_snia
from model.simulation.sources.spectra import distance_modulus, redshift_at
from model.simulation.sources.spectral import draw_spectral, has_template
from model.simulation.sources.spurious import draw_asteroid, draw_bogus
from model.simulation.sources.stars import Star, draw_star
from model.simulation.sources.templates import Templates
from model.simulation.sources.transients import TRANSIENTS, draw_transient
from model.simulation.surveys import Survey

EXPLOSIONS = ("SNIa", "SNOther", *labels.SUBTYPES_OF_SNOTHER, *TRANSIENTS)
STAR_MAG: Mapping[str, tuple[float, float]] = {"sdss": (14.5, 20.8), "ztf": (13.5, 19.8), "lsst": (16.5, 23.0)}
ASTEROID_MAG: Mapping[str, tuple[float, float]] = {"sdss": (16.0, 21.5), "ztf": (15.0, 20.0), "lsst": (18.0, 23.8)}
# From the sample of SDSS: the same nuclei nearer or farther, as a limit that lies elsewhere would pick them.
AGN_SHIFT_MAG: Mapping[str, float] = {"sdss": 0.0, "ztf": -1.6, "lsst": 0.8}
STAR_MAG_POWER = 0.7  # below 1: more faint ones
NUCLEUS_ONLY_ABOVE_REDSHIFT = 0.5
BLAZAR_SHARE: Mapping[str, float] = {"sdss": 0.0, "ztf": 0.05, "lsst": 0.02}  # of nuclei before a survey has chosen
HOST_SHARE = (0.1, 0.7)  # of the light of an active galaxy at 6200 Angstrom
HOST_SHARE_BY_BAND = np.array([0.5, 0.75, 1.0, 1.1, 1.2, 1.25])
UNCATALOGUED_MAG = 22.6  # r of the brightest star that the catalogue does not hold
RESIDUAL_REDSHIFT = 0.1
PHOTOMETRIC_REDSHIFT_FACTOR = 1.15  # photometric SNe Ia without a host redshift are farther than those with one
DWARF_HOSTS_OF_CORE_COLLAPSE = 0.42  # three quarters of them below 1e9 solar masses
HOSTS_OF: Mapping[str, str] = {
    "Ia": "Ia",
    "91bg": "Ia",
    "Iax": "CC",
    "KN": "Ia",
    "CART": "Ia",
    "SLSN": "dwarf",
    "PISN": "dwarf",
}


@dataclass(frozen=True, slots=True, eq=False)
class IntrinsicObject:
    """One object before anybody looks."""

    true_class: str
    kind: str  # AGN, SN, Star, Residual, or the extension class
    entry: HostEntry
    redshift: float
    source: Source
    host_mag_B: NDArray[np.float64] | None  # light of a galaxy around or near the source; None where there is none
    nuclear: bool = False
    populace: Populace | None = None  # of a star that is reddened by the dust in front of it


def draw_physics(
    entry_rng: Generator,
    rng: Generator,
    composition: labels.Composition,
    of: Survey,
    mode: str,
    window_days: float,
    templates: Templates | None = None,
) -> IntrinsicObject:
    """Draw one object.

    Parameters
    ----------
    entry_rng
        For the catalogue entry, which stays when the source is drawn again.
    rng
        For the source.
    of
        Survey whose flux limit shapes magnitudes and redshifts.
    templates
        Spectra for the supernovae that have some; None for the built-in light curves.
    """
    if composition.true_class in EXPLOSIONS:
        drawn = _draw_explosion(entry_rng, rng, composition, of, mode, window_days, templates)
    else:
        drawn = _draw_persistent(entry_rng, rng, composition, of, mode, window_days)
    if mode == "deconfounded" and drawn.kind not in ("Bogus", "Asteroid"):  # the same hosts around everything
        return replace(drawn, host_mag_B=drawn.entry.mag_B if drawn.entry.matched else None, nuclear=False)
    return drawn


def _draw_explosion(
    entry_rng: Generator,
    rng: Generator,
    composition: labels.Composition,
    of: Survey,
    mode: str,
    window_days: float,
    templates: Templates | None,
) -> IntrinsicObject:
    true_class = composition.true_class
    by_volume = of.name != "sdss" and mode != "deconfounded"
    subtype = draw_subtype(rng, true_class, of if by_volume else None)
    magnitude = float("nan")
    if by_volume:
        magnitude, redshift = draw_luminosity_and_redshift(rng, subtype, of, draw_nearness(entry_rng))
        kind_of_host = HOSTS_OF.get(subtype, "CC")
        if subtype in CORE_COLLAPSE and rng.random() < DWARF_HOSTS_OF_CORE_COLLAPSE:
            kind_of_host = "dwarf"
        entry = hosts.entry_at(rng, redshift, kind_of_host, nuclear=subtype == "TDE")
    else:
        entry = hosts.draw_entry(entry_rng, composition.population)
        redshift = entry.redshift if np.isfinite(entry.redshift) else _photometric_redshift(entry_rng, true_class)
    seen = Circumstances(window_days, redshift, near=of.name != "sdss")
    given_magnitude = None if np.isnan(magnitude) else magnitude
    if templates is not None and has_template(subtype):
        source: Source = draw_spectral(rng, seen, subtype, templates, given_magnitude)
    elif subtype in IA_SUBTYPES:
        source = draw_snia(rng, seen, subtype)
    elif subtype in TRANSIENTS:
        source = draw_transient(rng, seen, subtype)
    else:
        source = draw_corecollapse(rng, seen, subtype, given_magnitude)
    host_mag_B = entry.mag_B if entry.matched else hosts.faint_host(entry_rng)
    kind = subtype if subtype in TRANSIENTS else "SN"
    return IntrinsicObject(true_class, kind, entry, redshift, source, host_mag_B, nuclear=subtype == "TDE")


def _draw_persistent(
    entry_rng: Generator,
    rng: Generator,
    composition: labels.Composition,
    of: Survey,
    mode: str,
    window_days: float,
) -> IntrinsicObject:
    true_class = kind = composition.true_class
    entry = hosts.draw_entry(entry_rng, composition.population)
    if true_class == "Variable":
        kind = labels.kind_of_variable(entry_rng, mode, entry.matched, float(entry.mag_B[2]))
    if kind == "AGN":
        return _draw_nucleus(entry_rng, rng, true_class, entry, of, window_days)
    if kind == "Residual":
        source: Source = draw_bogus(rng, Circumstances(window_days), "subtraction_residual")
        return IntrinsicObject(true_class, kind, entry, RESIDUAL_REDSHIFT, source, entry.mag_B)
    if kind == "Bogus":
        near_galaxy = entry.matched and entry_rng.random() < 0.5
        source = draw_bogus(rng, Circumstances(window_days))
        return IntrinsicObject(true_class, kind, entry, RESIDUAL_REDSHIFT, source, entry.mag_B if near_galaxy else None)
    if true_class == "Variable" and mode != "sdss_label" and of.name != "sdss":
        return _star(rng, true_class, entry, draw_galactic(rng, window_days, of), of, mode)
    bright, faint = (ASTEROID_MAG if kind == "Asteroid" else STAR_MAG)[of.name]
    r_mag = bright + (faint - bright) * rng.random() ** STAR_MAG_POWER
    subtype = None if true_class == "Variable" else true_class
    if mode == "sdss_label" and kind == "Star":  # the catalogue's entry is the star, or the star is too faint for it
        r_mag = float(entry.mag_B[2]) if entry.matched else UNCATALOGUED_MAG + rng.exponential(0.7)
        subtype = subtype if entry.matched else "DwarfNova"
    seen = Circumstances(window_days, mag_B=np.full(6, r_mag))
    if kind == "Asteroid":
        return IntrinsicObject(true_class, kind, entry, 0.0, draw_asteroid(rng, seen), None)
    return _star(rng, true_class, entry, draw_star(rng, seen, subtype), of, mode)


def _star(
    rng: Generator, true_class: str, entry: HostEntry, star: Star | Irregular | Outbursts, of: Survey, mode: str
) -> IntrinsicObject:
    if mode == "physical":  # a star is its own catalogue entry
        offset = hosts.CENTROID_ERROR_ARCSEC * float(np.hypot(*rng.standard_normal(2)))
        entry = replace(entry, matched=True, mag_B=star.mag_B, offset_arcsec=offset)
    populace = DISC.get(star.subtype) if mode == "physical" and of.name in REDDENED_BY_PLACE else None
    return IntrinsicObject(true_class, "Star", entry, 0.0, star, None, populace=populace)


def _draw_nucleus(
    entry_rng: Generator, rng: Generator, true_class: str, entry: HostEntry, of: Survey, window_days: float
) -> IntrinsicObject:
    """Share a catalogue entry's light between a nucleus and, where it is near, its galaxy."""
    redshift = entry.redshift if np.isfinite(entry.redshift) else hosts.draw_entry(entry_rng, "AGN").redshift
    shift_mag = AGN_SHIFT_MAG[of.name]
    if shift_mag:
        redshift = redshift_at(distance_modulus(redshift) + shift_mag)
    faintest = FAINTEST_M_I if of.name == "sdss" else FAINTEST_FITTED_M_I
    blazar = BLAZAR_SHARE[of.name] > 0 and rng.random() < BLAZAR_SHARE[of.name]
    total_B = entry.mag_B + shift_mag
    entry = replace(entry, mag_B=total_B, redshift=redshift)
    if redshift > NUCLEUS_ONLY_ABOVE_REDSHIFT:
        nucleus = draw_agn(rng, Circumstances(window_days, redshift, total_B), faintest, blazar)
        return IntrinsicObject(true_class, "AGN", entry, redshift, nucleus, None, True)
    share_B = np.clip(entry_rng.uniform(*HOST_SHARE) * HOST_SHARE_BY_BAND, 0.03, 0.9)
    seen = Circumstances(window_days, redshift, total_B - 2.5 * np.log10(1 - share_B))
    nucleus = draw_agn(rng, seen, faintest, blazar)
    return IntrinsicObject(true_class, "AGN", entry, redshift, nucleus, total_B - 2.5 * np.log10(share_B), True)


def _photometric_redshift(rng: Generator, true_class: str) -> float:
    """A redshift for photometric samples that have none: those of measured hosts, a little farther."""
    if true_class == "SNIa":
        return float(np.clip(hosts.draw_entry(rng, "zSNIa").redshift * PHOTOMETRIC_REDSHIFT_FACTOR, 0.02, 0.8))
    return float(np.clip(hosts.draw_entry(rng, "zSNII").redshift, 0.02, 0.5))
