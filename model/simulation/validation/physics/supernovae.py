"""Checks 5 and 6: brightness of type Ia supernovae against real light curves. Colours: ``colour_checks``."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from model.simulation.sky.population import draw_sample
from model.simulation.sky_records import SimulatedObject, SkySettings
from model.simulation.survey import selection
from model.simulation.surveys import SDSS, ab_mag
from model.simulation.validation import Check, within

PEAK_R_MAG = {0.07: 18.2, 0.12: 19.6, 0.17: 20.3, 0.23: 20.8}  # redshift -> mean of 202 real supernovae, -3..+3 d
REDSHIFT_HALF_WIDTH = 0.025
FULL_SAMPLE = 1500
PEAK_TOLERANCE_MAG = 0.2  # the real sample's scatter over its few objects per bin
NIGHTS_OVER_5_SIGMA = (9, 13)


def supernova_checks(seed: int, objects: int) -> Iterator[Check]:
    """Draw the spectroscopic sample of SDSS and compare it."""
    drawn = list(draw_sample(SkySettings(survey=SDSS, seed=seed), {"SNIa": objects}, first_id=500_000))
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
