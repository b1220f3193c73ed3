"""Age of an object's light curve at an alert, and days since it was brightest, from the epochs that were read."""

from typing import NamedTuple

import numpy as np

from model.past_photometry import History
from model.series import Photometry, Series

DETECTED_SIGMA = 3.0  # of an epoch without stamp that counts as a detection; one with a stamp always does


class Age(NamedTuple):
    """Days before the last frame of a series."""

    days_since_first: float  # detection of either sign
    days_since_brightest: float | None  # epoch in the last frame's band; None where its own flux is unknown


def age_of(frames: Photometry | Series, epochs: History) -> Age:
    """The age of a light curve.

    Parameters
    ----------
    frames
        Up to the alert, which is the last.
    epochs
        Without stamp, of times before the alert; one visit may be there several times.
    """
    now = float(frames.time_T[-1])
    detected_P = np.abs(epochs.flux_P) >= DETECTED_SIGMA * epochs.flux_error_P
    first = min(float(frames.time_T[0]), float(epochs.time_P[detected_P].min(initial=now)))
    return Age(now - first, _days_since_brightest(frames, epochs, now))


def _days_since_brightest(frames: Photometry | Series, epochs: History, now: float) -> float | None:
    band, flux = frames.band_T[-1], float(frames.flux_T[-1])
    if not np.isfinite(flux):
        return None
    frames_in_band, epochs_in_band = frames.band_T == band, epochs.band_P == band
    times = np.concatenate([frames.time_T[frames_in_band], epochs.time_P[epochs_in_band]])
    fluxes = np.concatenate([frames.flux_T[frames_in_band], epochs.flux_P[epochs_in_band]])
    brightest = np.fmax.reduce(fluxes)  # NaN is none
    return 0.0 if flux >= brightest else now - float(times[fluxes == brightest].max())
