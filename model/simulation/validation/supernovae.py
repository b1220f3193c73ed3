"""Checks 5 and 6: type Ia supernovae against real light curves and against SALT3, which was trained on them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.simulation.records import SimulatedObject
from model.simulation.sky.population import draw_sample
from model.simulation.sources.snia import SNIa
from model.simulation.sources.templates import read_salt3
from model.simulation.survey import selection
from model.simulation.survey.surveys import SDSS, ab_mag
from model.simulation.validation import Check, skipped, within

PEAK_R_MAG = {0.07: 18.2, 0.12: 19.6, 0.17: 20.3, 0.23: 20.8}  # redshift -> mean of 202 real supernovae, -3..+3 d
REDSHIFT_HALF_WIDTH = 0.025
FULL_SAMPLE = 1500
PEAK_TOLERANCE_MAG = 0.2  # the real sample's scatter over its few objects per bin
COLOUR_TOLERANCE_MAG = {"-3..+3 d": 0.08, "+5..+18 d": 0.15}
PHASES = {"-3..+3 d": np.arange(-3.0, 4.0), "+5..+18 d": np.arange(5.0, 19.0)}
COLOUR_REDSHIFTS = (0.05, 0.10, 0.15, 0.20, 0.25)
NIGHTS_OVER_5_SIGMA = (9, 13)
LIGHT_A_PER_S = 2.99792458e18


def supernova_checks(seed: int, objects: int, shared: Path | None) -> Iterator[Check]:
    """Draw the spectroscopic sample of SDSS and compare it."""
    drawn = list(draw_sample(seed, "sdss", {"SNIa": objects}, first_id=500_000))
    tolerance = PEAK_TOLERANCE_MAG * max(FULL_SAMPLE / objects, 1) ** 0.25
    for redshift, target in PEAK_R_MAG.items():
        peaks = [
            p
            for obj in drawn
            if abs(float(obj.truth["redshift"]) - redshift) < REDSHIFT_HALF_WIDTH
            for p in _peak_r(obj)
        ]
        value = float(ab_mag(np.mean(peaks))) if peaks else float("nan")
        yield Check(
            5,
            f"peak r of SN Ia at z = {redshift}",
            f"{target} +-{tolerance:.2g}",
            f"{value:.2f}",
            within(value, target, tolerance),
        )
    yield from _colours(shared)
    nights = float(np.median([_nights_detected(obj) for obj in drawn]))
    low, high = NIGHTS_OVER_5_SIGMA
    yield Check(6, "nights over 5 sigma of SN Ia, median", f"{low} to {high}", f"{nights:g}", low <= nights <= high)


def _peak_r(obj: SimulatedObject) -> NDArray:
    """True r fluxes within three days of the peak."""
    schedule = obj.schedule
    since_T = schedule.time_T - float(obj.truth["origin_mjd"]) - float(obj.truth["peak_day"])
    return obj.flux_T[(schedule.band_T == 2) & (np.abs(since_T) <= 3 * (1 + float(obj.truth["redshift"])))]


def _nights_detected(obj: SimulatedObject) -> int:
    return len(np.unique(obj.schedule.night_T[selection.detections(obj)]))


def _colours(shared: Path | None) -> Iterator[Check]:
    statistic = "colours of the mean SN Ia against SALT3, largest difference"
    archive = None if shared is None else shared / "science" / "templates" / "salt3-k21.tar.gz"
    if shared is None or archive is None or not archive.is_file():
        yield skipped(5, statistic, "no SALT3 templates; set ICTC_SHARED_DATA")
        return
    mean = read_salt3(archive, 0)
    phase_P, wave_W, flux_PW = mean.phase_P, mean.wave_W, mean.flux_PW
    passbands = {band: _passband(shared, band) for band in "griz"}
    for name, phases in PHASES.items():
        worst, where = 0.0, ""
        for z in COLOUR_REDSHIFTS:
            ours, theirs = _our_fluxes(z, phases), _their_fluxes(z, phases, phase_P, wave_W, flux_PW, passbands)
            for k, colour in enumerate(("g-r", "r-i", "i-z")):
                difference = float(_colour(ours, k) - _colour(theirs, k))
                if abs(difference) > abs(worst):
                    worst, where = difference, f"{colour} at z = {z}"
        limit = COLOUR_TOLERANCE_MAG[name]
        yield Check(5, f"{statistic}, {name}", f"<= {limit}", f"{worst:+.3f} ({where})", abs(worst) <= limit)


def _colour(mean_flux_B: NDArray, k: int) -> float:
    return float(-2.5 * np.log10(mean_flux_B[k] / mean_flux_B[k + 1]))


def _our_fluxes(z: float, phases: NDArray) -> NDArray:
    """Mean flux over the phases in griz of the average supernova (x1 = 0.2, c = 0 as SALT3's own zero)."""
    source = SNIa("Ia", z, 0.0, 0.0, 0.0, 0.0)
    days = phases * (1 + z)
    return np.array([source.flux(days, np.full(len(days), b), SDSS).mean() for b in (1, 2, 3, 4)])


def _their_fluxes(
    z: float, phases: NDArray, phase_P: NDArray, wave_W: NDArray, flux_PW: NDArray, passbands: dict
) -> NDArray:
    fluxes = []
    for wave_a, response in passbands.values():
        reference = np.trapezoid(LIGHT_A_PER_S / wave_a * response, wave_a)
        at_phase = []
        for phase in phases:
            row = np.array([np.interp(phase, phase_P, flux_PW[:, w]) for w in range(len(wave_W))])
            f_lambda = np.interp(wave_a / (1 + z), wave_W, row, left=0, right=0)
            at_phase.append(np.trapezoid(f_lambda * response * wave_a, wave_a) / reference)
        fluxes.append(np.mean(at_phase))
    return np.array(fluxes)


def _passband(shared: Path, band: str) -> tuple[NDArray, NDArray]:
    table = np.loadtxt(shared / "science" / "templates" / "bandpasses" / "sdss" / f"sdss_{band}.dat")
    return table[:, 0], table[:, 1]
