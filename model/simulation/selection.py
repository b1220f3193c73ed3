"""What a survey would notice: measured difference fluxes, detections, and whether an object triggers at all.

Everything here is a function of the simulated object alone, noise included, so that it can be asked again at any time.
"""

import numpy as np
from numpy.typing import NDArray

from model.simulation.records import SimulatedObject
from model.simulation.surveys import flux_njy, survey_named

DETECTION_SIGMA = 5.0
TEMPLATE_NOISE = 1.05  # of the difference image over the direct one
CALIBRATION_ERROR = 0.01  # of the source's flux
NOISE_TAG, FOLLOW_UP_TAG = 71, 73
FOLLOW_UP_MAG, FOLLOW_UP_WIDTH_MAG = (
    21.2,
    0.25,
)  # brightest r that spectrographs typed half of the time, and its scatter
NIGHTS_TO_TRIGGER = {"sdss": 2, "ztf": 2, "lsst": 2}
TRIGGER_BANDS = {"sdss": (1, 2, 3), "ztf": (1, 2, 3), "lsst": (0, 1, 2, 3, 4, 5)}


def measured_flux(obj: SimulatedObject) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Difference flux as forced photometry would measure it, and its error: [T] each, nJy."""
    schedule, survey = obj.schedule, survey_named(obj.survey)
    rng = np.random.default_rng([obj.seed, survey.index, obj.object_id, NOISE_TAG])
    sky_T = TEMPLATE_NOISE * flux_njy(schedule.depth_T) / 5
    electrons_per_njy_T = survey.gain_B[schedule.band_T] * flux_njy(schedule.zero_point_T) ** -1.0
    photons_T = np.maximum(obj.flux_T, 0) / electrons_per_njy_T
    error_T = np.sqrt(sky_T**2 + photons_T + (CALIBRATION_ERROR * obj.flux_T) ** 2)
    flux_T = obj.difference_flux_T + error_T * rng.standard_normal(len(error_T))
    artefact = obj.truth.get("artefact")
    if artefact is not None:
        hit_T = artefact_visits(obj)
        flux_T[hit_T] += float(obj.truth["artefact_sigma"]) * error_T[hit_T]
    return flux_T, error_T


def artefact_visits(obj: SimulatedObject) -> NDArray[np.bool_]:
    """Which visits an artefact spoils: [T], all False for a real source."""
    hit_T = np.zeros(len(obj.schedule.time_T), bool)
    for name in sorted(key for key in obj.truth if key.startswith("artefact_day_")):
        hit_T[np.argmin(np.abs(obj.schedule.time_T - float(obj.truth["origin_mjd"]) - float(obj.truth[name])))] = True
    return hit_T


def detections(obj: SimulatedObject) -> NDArray[np.bool_]:
    """Which visits give an alert: difference flux at 5 sigma or more, of either sign. [T]"""
    flux_T, error_T = measured_flux(obj)
    return np.abs(flux_T) >= DETECTION_SIGMA * error_T


def followed_up(obj: SimulatedObject) -> bool:
    """Whether a supernova was bright enough for a spectrum: a soft limit on its brightest measured r."""
    flux_T, error_T = measured_flux(obj)
    seen_T = (obj.schedule.band_T == 2) & (flux_T > DETECTION_SIGMA * error_T)
    if not seen_T.any():
        return False
    limit = FOLLOW_UP_MAG + FOLLOW_UP_WIDTH_MAG * np.random.default_rng(
        [obj.seed, obj.object_id, int(obj.truth["attempt"]), FOLLOW_UP_TAG]
    ).logistic(0, 0.6)
    return bool(flux_T[seen_T].max() >= flux_njy(limit))


def first_detection(obj: SimulatedObject) -> int:
    """Index of the first detected visit, -1 where there is none."""
    found = np.flatnonzero(detections(obj))
    return int(found[0]) if len(found) else -1


def triggered(obj: SimulatedObject) -> bool:
    """Whether the survey would have made this a candidate: the same rule for every class.

    Detected on two nights or more. Artefacts and passing asteroids need one night: they are wanted for what they are.
    """
    detected_T = detections(obj) & np.isin(obj.schedule.band_T, TRIGGER_BANDS[obj.survey])
    nights = len(np.unique(obj.schedule.night_T[detected_T]))
    single = obj.truth.get("artefact") is not None or obj.truth.get("subtype") == "Asteroid"
    return nights >= (1 if single else NIGHTS_TO_TRIGGER[obj.survey])
