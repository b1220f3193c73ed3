"""Past photometry of an object, from the lists of epochs in a packet. Knows no pixels.

For the network: what is known from before the alert, bounded and in the units of the series. For people: every epoch.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from broker_filter.alerts.packet_schema import PacketSchema
from broker_filter.alerts.survey import LSST_FLAGGED, LSST_FLUX_FLAGS, AlertSurvey
from broker_filter.alerts.units import AB_MAG_OF_1_NJY, LARGEST_FLUX_NJY, MAG_TO_FRACTION, flux_of_magnitudes, tai_of_jd
from broker_filter.records import Alert
from model.past_photometry import HISTORY_DAYS, HISTORY_LIMIT, LIMIT_SIGMA, NO_HISTORY, History, of_visits, repeated
from model.series import BANDS

DETECTION, FORCED, LIMIT = "detection", "forced", "limit"
_ZTF_UNKNOWN_BELOW = -9_999.0  # forced photometry that failed holds -99999
FEWEST_REPEATED = 2  # one exposure can hold two detections
REFUSED_PAST = History.joined(())  # this very object: a past that was told and cannot be true
_SIGN = np.full(256, np.nan)  # by code of survey.ZTF_NEGATIVE
_SIGN[:2] = 1.0, -1.0


class _Epochs(NamedTuple):
    """One list of a packet; what is unknown or absurd is NaN."""

    time_P: NDArray[np.float64]  # MJD (TAI)
    band_P: NDArray[np.uint8]  # index in BANDS, or columns.UNKNOWN
    flux_P: NDArray[np.float64]  # nJy; 0 of a limit
    flux_error_P: NDArray[np.float64]  # of a limit: its size over LIMIT_SIGMA
    seen_P: NDArray[np.bool_] | None = None  # False of a limit; None: all were measured


@dataclass(frozen=True, slots=True)
class Point:
    """One epoch of a light curve."""

    time_mjd: float  # TAI
    band: str
    flux_njy: float  # difference flux; NaN of a limit
    flux_error_njy: float  # of a limit: its size over LIMIT_SIGMA
    kind: str  # DETECTION, FORCED or LIMIT


def history_of(survey: AlertSurvey, record: Mapping[str, Any], time_mjd: float, bands: str) -> History:
    """What a packet tells from before its own alert.

    Parameters
    ----------
    record
        As ``PacketSchema.read_with_history`` gives it.
    time_mjd
        Of the alert (TAI).
    bands
        Those that the network knows; epochs in others are left out.

    Returns
    -------
    The newest ``HISTORY_LIMIT`` epochs of the survey's ``HISTORY_DAYS``, in order of time; of those at one time the
    order is the packet's. ``REFUSED_PAST``, which is empty, where the times cannot be true.
    """
    past: History | None = None
    for name in survey.history:
        if (columns := record.get(name)) is None:
            continue
        epochs = _READERS[name][0](columns)
        if _one_time_for_all(epochs):
            return REFUSED_PAST
        more = _sensible(epochs, time_mjd, HISTORY_DAYS[survey.name], _known_bands(bands))
        if past is not None and len(past):
            more = more[~of_visits(more, past.time_P, past.band_P)]
            more = History.joined((past, more))
        past = more
    if past is None or not len(past):
        return NO_HISTORY
    past = past[np.argsort(past.time_P, kind="stable")[-HISTORY_LIMIT:]]
    return REFUSED_PAST if _clock_stood_still(past) else past


def _one_time_for_all(epochs: _Epochs) -> bool:
    """Whether a whole past has one time, as in alerts that others repacked; a visit in two bands has two."""
    time_P = epochs.time_P[np.isfinite(epochs.time_P)]
    if len(time_P) <= 1 or time_P.min() != time_P.max():
        return False
    return len(time_P) > FEWEST_REPEATED or len(np.unique(epochs.band_P)) > 1


def _clock_stood_still(past: History) -> bool:
    """Whether half of the epochs repeat another's time and band: alerts that others repacked give all one time."""
    again = np.count_nonzero(repeated(past)[1])
    return bool(again >= FEWEST_REPEATED and 2 * again >= len(past))


def _sensible(epochs: _Epochs, time_mjd: float, days: float, known_bands: NDArray[np.bool_]) -> History:
    """The epochs that a network can read."""
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit is infinite, hence left out
        flux_P, flux_error_P = epochs.flux_P.astype(np.float32), epochs.flux_error_P.astype(np.float32)
    keep_P = (epochs.time_P < time_mjd) & (epochs.time_P >= time_mjd - days) & known_bands[epochs.band_P]
    keep_P &= (np.abs(flux_P) <= LARGEST_FLUX_NJY) & (flux_error_P > 0.0) & (flux_error_P <= LARGEST_FLUX_NJY)
    return History(epochs.time_P[keep_P], epochs.band_P[keep_P].astype(np.int8), flux_P[keep_P], flux_error_P[keep_P])


@cache
def _known_bands(bands: str) -> NDArray[np.bool_]:
    """By code: whether a network of these bands knows it."""
    known = np.zeros(256, bool)
    known[[BANDS.index(band) for band in bands]] = True
    return known


def light_curve(packet: PacketSchema, datum: bytes, alert: Alert) -> list[Point]:
    """Return the epochs in time order, the alert's own among them; values that make no sense are left out.

    Raises
    ------
    RejectedAlertError
        ``CORRUPT`` when the datum breaks off.
    """
    own = Point(alert.time_mjd, alert.band, alert.flux_njy, alert.flux_error_njy, DETECTION)
    points = [own] if math.isfinite(own.flux_njy) and math.isfinite(own.flux_error_njy) else []
    for name, columns in packet.read_light_curve(datum).items():
        if columns is None:
            continue
        read, kind = _READERS[name]
        epochs = read(columns)
        keep_P = epochs.band_P < len(BANDS)
        for values_P in (epochs.time_P, epochs.flux_P, epochs.flux_error_P):
            keep_P &= np.isfinite(values_P)
        for n in np.flatnonzero(keep_P).tolist():
            seen = epochs.seen_P is None or bool(epochs.seen_P[n])
            points.append(
                Point(
                    float(epochs.time_P[n]),
                    BANDS[epochs.band_P[n]],
                    float(epochs.flux_P[n]) if seen else np.nan,
                    float(epochs.flux_error_P[n]),
                    kind if seen else LIMIT,
                )
            )
    return sorted(points, key=lambda point: (point.time_mjd, point.kind))


def _ztf_candidates(columns: Mapping[str, NDArray]) -> _Epochs:
    """Detections have a magnitude; the other visits have the limit at which they saw nothing."""
    seen_P = ~np.isnan(columns["magpsf"])
    size_P = flux_of_magnitudes(np.where(seen_P, columns["magpsf"], columns["diffmaglim"]))
    return _Epochs(
        tai_of_jd(columns["jd"]),
        columns["fid"],
        np.where(seen_P, _SIGN[columns["isdiffpos"]] * size_P, 0.0),
        size_P * np.where(seen_P, MAG_TO_FRACTION * columns["sigmapsf"], 1.0 / LIMIT_SIGMA),
        seen_P,
    )


def _ztf_forced(columns: Mapping[str, NDArray]) -> _Epochs:
    flux_P, error_P = columns["forcediffimflux"], columns["forcediffimfluxunc"]
    real_P = (flux_P > _ZTF_UNKNOWN_BELOW) & (error_P > 0.0)
    with np.errstate(over="ignore", invalid="ignore"):  # an absurd zero point makes an infinite flux
        njy_P = np.where(real_P, 10.0 ** ((AB_MAG_OF_1_NJY - columns["magzpsci"]) / 2.5), np.nan)
        return _Epochs(tai_of_jd(columns["jd"]), columns["fid"], flux_P * njy_P, error_P * njy_P)


def _lsst_sources(columns: Mapping[str, NDArray]) -> _Epochs:
    """A measurement that the survey took back, or could not make, is unknown."""
    unknown_P = (columns["timeWithdrawnMjdTai"] > 0.0) | (columns[LSST_FLUX_FLAGS[0]] == LSST_FLAGGED[True])
    flux_P = np.where(unknown_P, np.nan, columns["psfFlux"])
    return _Epochs(columns["midpointMjdTai"], columns["band"], flux_P, columns["psfFluxErr"])


_READERS: Mapping[str, tuple[Callable[[Mapping[str, NDArray]], _Epochs], str]] = {
    "prv_candidates": (_ztf_candidates, DETECTION),
    "fp_hists": (_ztf_forced, FORCED),
    "prvDiaSources": (_lsst_sources, DETECTION),
    "prvDiaForcedSources": (_lsst_sources, FORCED),
}
