"""Selection by a survey: measured difference fluxes, detections, and whether an object triggers at all.

Everything here is a function of the simulated object alone, noise included, so that it can be asked again at any time.

References
----------
Perley et al. 2020 (ApJ 904, 35): of the supernovae that peak brighter than 18, 18.5 and 19 mag in g or r, ZTF's Bright
Transient Survey has spectra of 97, 93 and 75 %. The ELAsTiCC challenge: an object is one after two detections half an
hour apart or more, which is also how filters of ZTF keep asteroids out (Perley et al. use a quarter of an hour).
Chen et al. 2020 (ApJS 249, 18): periods of ZTF's variables are of stars with 20 detections or more.
"""

import numpy as np
from numpy.typing import NDArray

from model.simulation.sky_records import SimulatedObject
from model.simulation.survey.published_errors import ztf_error
from model.simulation.surveys import flux_njy

DETECTION_SIGMA = 5.0
TEMPLATE_NOISE = 1.05  # of the difference image over the direct one
CALIBRATION_ERROR = 0.01  # of the source's flux
NOISE_TAG, FOLLOW_UP_TAG, MET_TAG = 71, 73, 79
# Where spectra decide what is in a labelled sample: the brightest measurement that spectrographs typed half of the time
# and the scatter of that limit, which is logistic (its scale is 0.6 of the number here). LSST's labels are to come.
FOLLOW_UP_MAG = {"sdss": (21.2, 0.25), "ztf": (19.0, 0.4)}
FOLLOW_UP_BANDS = {"sdss": (2,), "ztf": (1, 2)}
# Archives and streams are of alerts: a star is met the more often the more it sends, half as often as others can be at
# so many detections in a year. Flares are exempt, which hardly ever alert twice: their share of the mix is a choice.
DETECTIONS_TO_BE_MET = {"ztf": 20}
NIGHTS_TO_TRIGGER = {"sdss": 2}
DAYS_TO_TRIGGER = {"ztf": 0.021, "lsst": 0.021}  # between a first and a later detection
TRIGGER_BANDS = {"sdss": (1, 2, 3), "ztf": (1, 2, 3), "lsst": (0, 1, 2, 3, 4, 5)}


def measured_flux(obj: SimulatedObject) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Difference flux as forced photometry would measure it, and its error: [T] each, nJy."""
    schedule, survey = obj.schedule, obj.survey
    rng = np.random.default_rng([obj.seed, survey.index, obj.object_id, NOISE_TAG])
    sky_T = flux_njy(schedule.depth_T) / 5
    if survey.name == "ztf":  # the limit of a packet is that of the difference
        error_T = ztf_error(obj.difference_flux_T, obj.reference_flux_B[schedule.band_T], sky_T)
    else:
        sky_T = TEMPLATE_NOISE * sky_T
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
    """Whether a supernova was bright enough for a spectrum: a soft limit on its brightest measurement.

    Of a survey that has no such sample everything was.
    """
    if obj.survey.name not in FOLLOW_UP_MAG:
        return True
    flux_T, error_T = measured_flux(obj)
    seen_T = np.isin(obj.schedule.band_T, FOLLOW_UP_BANDS[obj.survey.name]) & (flux_T > DETECTION_SIGMA * error_T)
    if not seen_T.any():
        return False
    middle, width = FOLLOW_UP_MAG[obj.survey.name]
    limit = middle + width * np.random.default_rng(
        [obj.seed, obj.object_id, int(obj.truth["attempt"]), FOLLOW_UP_TAG]
    ).logistic(0, 0.6)
    return bool(flux_T[seen_T].max() >= flux_njy(limit))


def met(obj: SimulatedObject) -> bool:
    """Whether a variable star is among those that alerts are of: the likelier, the more detections it has."""
    half = DETECTIONS_TO_BE_MET.get(obj.survey.name)
    if half is None or obj.truth["kind"] != "Star" or obj.truth["subtype"] == "Flare":
        return True
    count = int(detections(obj).sum())
    drawn = np.random.default_rng([obj.seed, obj.object_id, int(obj.truth["attempt"]), MET_TAG]).random()
    return bool(drawn < count / (count + half))


def first_detection(obj: SimulatedObject) -> int:
    """Index of the first detected visit, -1 where there is none."""
    detected = np.flatnonzero(detections(obj))
    return int(detected[0]) if len(detected) else -1


def triggered(obj: SimulatedObject) -> bool:
    """Whether the survey would have made this a candidate: the same rule for every class.

    Detected on two nights or more (SDSS), or twice, half an hour apart or more (alert streams). Artefacts and passing
    asteroids need one detection: they are wanted for what they are.
    """
    detected_T = detections(obj) & np.isin(obj.schedule.band_T, TRIGGER_BANDS[obj.survey.name])
    if obj.truth.get("artefact") is not None or obj.truth.get("subtype") == "Asteroid":
        return bool(detected_T.any())
    if obj.survey.name in NIGHTS_TO_TRIGGER:
        return len(np.unique(obj.schedule.night_T[detected_T])) >= NIGHTS_TO_TRIGGER[obj.survey.name]
    time_T = obj.schedule.time_T[detected_T]
    return len(time_T) > 0 and float(np.ptp(time_T)) >= DAYS_TO_TRIGGER[obj.survey.name]
