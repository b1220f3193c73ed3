"""Simulated objects with one thing changed: source, light curve, surroundings or conditions.

Nothing is drawn here; times and bands of visits never change. Legend: ``T`` visits, ``N`` those that are shown.
"""

from dataclasses import replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from model.simulation.sky_records import Scene, SimulatedObject
from model.simulation.surveys import flux_njy


def without_artefacts(obj: SimulatedObject) -> SimulatedObject:
    return replace(obj, truth={name: value for name, value in obj.truth.items() if not name.startswith("artefact")})


def source_off(obj: SimulatedObject) -> SimulatedObject:
    """Nothing but what its template shows: host, neighbours, and the mean light of what always varies."""
    return without_artefacts(replace(obj, flux_T=obj.reference_flux_B[obj.schedule.band_T]))


def constant(obj: SimulatedObject, visits_N: NDArray[np.int64]) -> SimulatedObject:
    """Its source at the mean flux of the shown visits of each band."""
    flux_T, band_T = obj.flux_T.copy(), obj.schedule.band_T
    for band in np.unique(band_T[visits_N]):
        flux_T[band_T == band] = flux_T[visits_N[band_T[visits_N] == band]].mean()
    return without_artefacts(replace(obj, flux_T=flux_T))


def dark(obj: SimulatedObject) -> SimulatedObject:
    """An empty field under the same schedule: noise alone."""
    nothing = np.zeros_like
    empty = replace(obj, flux_T=nothing(obj.flux_T), reference_flux_B=nothing(obj.reference_flux_B), scene=Scene())
    return without_artefacts(empty)


def shuffled(obj: SimulatedObject, visits_N: NDArray[np.int64], rng: Generator) -> SimulatedObject:
    """Fluxes of the shown visits dealt out anew within each band; times, depth and seeing stay where they are."""
    flux_T, band_T = obj.flux_T.copy(), obj.schedule.band_T
    for band in np.unique(band_T[visits_N]):
        of_band = visits_N[band_T[visits_N] == band]
        flux_T[of_band] = flux_T[rng.permutation(of_band)]
    return replace(obj, flux_T=flux_T)


def significance(obj: SimulatedObject) -> float:
    """Of its largest change over the noise of the sky; 0 for what never changes."""
    return float((np.abs(obj.difference_flux_T) / (flux_njy(obj.schedule.depth_T) / 5)).max(initial=0.0))


def scaled(obj: SimulatedObject, wanted: float) -> SimulatedObject:
    """Its changes scaled to a wanted significance; what shines constantly stays."""
    significant = significance(obj)
    if significant == 0:
        return obj
    reference_T = obj.reference_flux_B[obj.schedule.band_T]
    flux_T = np.maximum(reference_T + wanted / significant * obj.difference_flux_T, 0)
    return replace(obj, flux_T=flux_T.astype(np.float32))


def under_conditions_of(obj: SimulatedObject, other: SimulatedObject, rng: Generator) -> SimulatedObject:
    """The same under the seeing, depth and sky of another position: those of its visits in the same band, at random."""
    schedule, other_schedule = obj.schedule, other.schedule
    from_T = np.full(len(schedule.time_T), -1)
    for band in np.unique(schedule.band_T):
        have = np.flatnonzero(other_schedule.band_T == band)
        if len(have):
            from_T[schedule.band_T == band] = rng.choice(have, int((schedule.band_T == band).sum()))
    known_T = from_T >= 0
    changed = {
        name: np.where(known_T, getattr(other_schedule, name)[from_T], getattr(schedule, name)).astype(np.float32)
        for name in ("depth_T", "fwhm_T", "zero_point_T", "sky_T")
    }
    return replace(obj, schedule=replace(schedule, **changed))


def in_host_of(obj: SimulatedObject, other: SimulatedObject) -> SimulatedObject:
    """The same source where another one lay: in its host, among its neighbours, as far off the stamp's centre."""
    return replace(obj, scene=other.scene, centre_arcsec=other.centre_arcsec)
