"""A datum enters, the light curve that its packet carries leaves; knows no pixels and no series of ours."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from broker_filter.alert import (
    AB_MAG_OF_1_NJY,
    MJD_OF_JD_ZERO,
    SECONDS_PER_DAY,
    TAI_MINUS_UTC_S,
    ZTF_BAND_OF_FID,
    ZTF_SIGN,
    flux_of_magnitude,
)
from broker_filter.schema import PacketSchema

DETECTION, FORCED, LIMIT = "detection", "forced", "limit"
LIMIT_SIGMA = 5.0  # ZTF's diffmaglim
_ZTF_UNKNOWN_BELOW = -9_999.0  # forced photometry that failed holds -99999


@dataclass(frozen=True, slots=True)
class Point:
    """One epoch of a light curve."""

    time_mjd: float  # TAI
    band: str
    flux_njy: float  # difference flux; NaN of a limit
    flux_error_njy: float  # of a limit: its size over LIMIT_SIGMA
    kind: str  # DETECTION, FORCED or LIMIT


def light_curve(packet: PacketSchema, datum: bytes) -> list[Point]:
    """Return the epochs in time order, the alert's own among them; values that make no sense are left out.

    Raises
    ------
    RejectedAlertError
        ``CORRUPT`` when the datum breaks off.
    """
    if packet.survey is None:
        return []
    points = _READERS[packet.survey.name](packet.read_history(datum))
    real = (point for point in points if math.isfinite(point.time_mjd) and math.isfinite(point.flux_error_njy))
    return sorted(real, key=lambda point: (point.time_mjd, point.kind))


def _ztf_points(record: dict[str, Any]) -> Iterator[Point]:
    for epoch in _epochs(record, "candidate", "prv_candidates"):
        band = _ztf_band(epoch)
        if band is None:
            continue
        time_mjd = _number(epoch, "jd") - MJD_OF_JD_ZERO + TAI_MINUS_UTC_S / SECONDS_PER_DAY
        flux_njy, error_njy = flux_of_magnitude(_number(epoch, "magpsf"), _number(epoch, "sigmapsf"))
        if math.isfinite(flux_njy):
            sign = ZTF_SIGN.get(str(epoch.get("isdiffpos")).lower(), math.nan)
            yield Point(time_mjd, band, sign * flux_njy, error_njy, DETECTION)
        else:
            limit_njy, _ = flux_of_magnitude(_number(epoch, "diffmaglim"), 0.0)
            yield Point(time_mjd, band, math.nan, limit_njy / LIMIT_SIGMA, LIMIT)
    for epoch in _epochs(record, "fp_hists"):
        band = _ztf_band(epoch)
        flux_dn, error_dn = _number(epoch, "forcediffimflux"), _number(epoch, "forcediffimfluxunc")
        if band is None or not flux_dn > _ZTF_UNKNOWN_BELOW or not error_dn > 0.0:
            continue
        njy = 10.0 ** ((AB_MAG_OF_1_NJY - _number(epoch, "magzpsci")) / 2.5)
        time_mjd = _number(epoch, "jd") - MJD_OF_JD_ZERO + TAI_MINUS_UTC_S / SECONDS_PER_DAY
        yield Point(time_mjd, band, flux_dn * njy, error_dn * njy, FORCED)


def _lsst_points(record: dict[str, Any]) -> Iterator[Point]:
    detections, forced = _epochs(record, "diaSource", "prvDiaSources"), _epochs(record, "prvDiaForcedSources")
    for kind, epochs in ((DETECTION, detections), (FORCED, forced)):
        for epoch in epochs:
            if not isinstance(epoch.get("band"), str):
                continue
            flux_njy, error_njy = _number(epoch, "psfFlux"), _number(epoch, "psfFluxErr")
            if math.isfinite(flux_njy):
                yield Point(_number(epoch, "midpointMjdTai"), epoch["band"], flux_njy, error_njy, kind)


_READERS: dict[str, Callable[[dict[str, Any]], Iterator[Point]]] = {"ztf": _ztf_points, "lsst": _lsst_points}


def _epochs(record: dict[str, Any], *names: str) -> Iterator[dict[str, Any]]:
    """Yield the records in these fields; a sender may have put anything else there."""
    for name in names:
        value = record.get(name)
        yield from (epoch for epoch in (value if isinstance(value, list) else [value]) if isinstance(epoch, dict))


def _ztf_band(epoch: dict[str, Any]) -> str | None:
    fid = epoch.get("fid")
    return ZTF_BAND_OF_FID.get(fid) if isinstance(fid, int) else None


def _number(epoch: dict[str, Any], name: str) -> float:
    value = epoch.get(name)
    return float(value) if isinstance(value, int | float) else math.nan
