"""Alerts, or the reason of a rejection, for every record of a message. Knows no pixels.

Nothing is lost: a message gives one result per record, and one rejection for whatever could not be cut into records.
Only a container that is sound and has no record gives none, and then there was nothing to read.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

from broker_filter.alerts import moving_object
from broker_filter.alerts.door import attempt
from broker_filter.alerts.packet_epochs import history_of
from broker_filter.alerts.packet_schema import PacketSchema, Schemas
from broker_filter.alerts.survey import LSST_FLUX_FLAGS, ZTF_BANDS, ZTF_NEGATIVE, AlertSurvey
from broker_filter.alerts.units import flux_of_magnitude, known_error, known_flux, tai_of_jd
from broker_filter.alerts.withdrawals import is_withdrawn, withdrawn_of
from broker_filter.avro.container import DEFAULT_LIMITS, MessageLimits, read_blocks, read_header
from broker_filter.avro.envelope import Bare, ConfluentFrame, split
from broker_filter.avro.primitives import bounded_work
from broker_filter.errors import RejectedAlertError, Rejection
from broker_filter.records import STAMP_KINDS, Alert, Message, Withdrawal
from model.past_photometry import NO_HISTORY
from model.series import BANDS

T = TypeVar("T")

LATEST_MJD = 1e10  # finite and positive is all that ordering needs: LSST's own sample packets hold seconds

NO_HISTORIES: Mapping[str, str] = MappingProxyType({})

# Schemas before 3.0 do not carry the zero point of their image. These are the medians of magzpsci over 661 later alerts
# (16th to 84th percentile: 26.05-26.34); i: Masci et al. 2019, PASP 131, 018003.
ZTF_NOMINAL_ZERO_POINT_MAG = {"g": 26.23, "r": 26.24, "i": 25.66}


def read_alerts(
    message: Message,
    schemas: Schemas,
    histories: Mapping[str, str] = NO_HISTORIES,
    limits: MessageLimits = DEFAULT_LIMITS,
) -> Iterator[Alert | RejectedAlertError]:
    """Read every record of a message.

    Parameters
    ----------
    histories
        Survey -> the bands in which its packets' light curves are read, empty for none; of these surveys the packets'
        lists of earlier sources also tell which were withdrawn.
    limits
        How much the message may hold; beyond that it is one rejection.

    Raises
    ------
    RetryableError
        The schema is known to nobody but a registry that does not answer: the message is to be read again.
    """
    datums = read_datums(message, schemas, limits)
    while (cut := attempt(lambda: next(datums, None))) is not None:
        if isinstance(cut, RejectedAlertError):
            yield cut
            return
        packet, datum = cut
        yield attempt(partial(read_alert, packet, datum, histories))


def read_datums(
    message: Message, schemas: Schemas, limits: MessageLimits = DEFAULT_LIMITS
) -> Iterator[tuple[PacketSchema, bytes]]:
    """Cut a message into datums with their schema; raises ``RejectedAlertError`` where that ends."""
    with bounded_work():
        yield from _datums(message, schemas, limits)


def _datums(message: Message, schemas: Schemas, limits: MessageLimits) -> Iterator[tuple[PacketSchema, bytes]]:
    form = split(message.value)
    if isinstance(form, ConfluentFrame):
        yield schemas.by_id(form.schema_id), form.datum
        return
    if isinstance(form, Bare):
        if schemas.bare is None:
            detail = f"begins {form.datum[:8]!r}: neither frame nor container, and no schema of bare datums is given"
            raise RejectedAlertError(Rejection.NOT_AVRO, detail)
        yield schemas.bare, form.datum
        return
    header = read_header(form.value)
    packet = schemas.of_container(header.schema_text)
    for count, block in read_blocks(form.value, header, limits):
        if count == 1:
            yield packet, block
            continue
        at = 0
        for _ in range(count):
            end = packet.skip(block, at)
            yield packet, block[at:end]
            at = end
        if at != len(block):
            raise RejectedAlertError(Rejection.CORRUPT, f"block of {count} records ends at byte {at} of {len(block)}")


def read_alert(packet: PacketSchema, datum: bytes, histories: Mapping[str, str] = NO_HISTORIES) -> Alert:
    """Read one datum; ``histories`` as in ``read_alerts``.

    Raises
    ------
    RejectedAlertError
        ``FOREIGN_SURVEY``, ``CORRUPT``, ``MISSING_FIELD`` or ``BAD_VALUE``.
    """
    survey = packet.survey
    if survey is None:
        packet.read(datum)  # a packet that is broken says so, whosever it is
        raise RejectedAlertError(Rejection.FOREIGN_SURVEY, f"schema {packet.name[:80]!r} is of no survey that is read")
    bands = histories.get(survey.name)
    if bands:
        record = packet.read_with_history(datum)
    else:
        record = packet.read(datum) if bands is None else packet.read_with_withdrawals(datum)
    read = _ztf_alert if survey.name == "ztf" else _lsst_alert
    alert = read(record, survey, packet, bands or "")
    if bands is not None and (withdrawn := withdrawn_of(survey, packet, datum, record)):
        alert = replace(alert, withdrawn=(*alert.withdrawn, *withdrawn))
    return alert


def _ztf_alert(record: dict[str, Any], survey: AlertSurvey, packet: PacketSchema, bands: str) -> Alert:
    object_id = _needed(record, "objectId", str)
    if not object_id.startswith("ZTF"):
        raise RejectedAlertError(Rejection.FOREIGN_SURVEY, f"object {object_id[:40]!r} is not ZTF's")
    candidate = _needed(record, "candidate", dict)
    band_index = ZTF_BANDS.get(_needed(candidate, "fid", int))
    if band_index is None:
        raise RejectedAlertError(Rejection.BAD_VALUE, f"fid {candidate['fid']}: ZTF has 1, 2 and 3")
    band = BANDS[band_index]
    negative = ZTF_NEGATIVE.get(_needed(candidate, "isdiffpos", str))
    if negative is None:
        raise RejectedAlertError(Rejection.BAD_VALUE, f"isdiffpos {candidate['isdiffpos'][:20]!r}: t, f, 1 or 0")
    magnitude = _number(candidate, "magpsf")
    flux_njy, flux_error_njy = flux_of_magnitude(magnitude, _number(candidate, "sigmapsf"))
    sign = -1.0 if negative else 1.0
    time_mjd = _time(tai_of_jd(_needed(candidate, "jd", float)))
    position_px = (_number(candidate, "xpos"), _number(candidate, "ypos"))
    return Alert(
        survey=survey.name,
        schema=_text(record, "schemavsn") or packet.version,
        object_id=object_id,
        alert_id=_needed(record, "candid", int),
        time_mjd=time_mjd,
        band=band,
        ra_deg=_angle(candidate, "ra", 0.0, 360.0),
        dec_deg=_angle(candidate, "dec", -90.0, 90.0),
        flux_njy=sign * flux_njy,
        flux_error_njy=flux_error_njy,
        real_bogus=_score(candidate, "drb", "rb"),
        zero_point_mag=_zero_point(candidate, band),
        match=moving_object.of_ztf(candidate, magnitude),
        stamps=_stamps(record, survey),
        difference_sign=sign,
        position_px=position_px if all(map(math.isfinite, position_px)) else None,
        history=history_of(survey, record, time_mjd, bands) if bands else NO_HISTORY,
    )


def _lsst_alert(record: dict[str, Any], survey: AlertSurvey, packet: PacketSchema, bands: str) -> Alert:
    source = _needed(record, "diaSource", dict)
    band = _needed(source, "band", str)
    if band not in tuple(BANDS):
        raise RejectedAlertError(Rejection.BAD_VALUE, f"band {band[:20]!r}: one of {BANDS}")
    object_id, moves = _lsst_object(record, source)
    time_mjd, alert_id = _time(_needed(source, "midpointMjdTai", float)), _needed(source, "diaSourceId", int)
    flagged = any(source.get(flag) == 1 for flag in LSST_FLUX_FLAGS)  # True, or 1 where a flag is passed on as integer
    flux_njy = math.nan if flagged else known_flux(_number(source, "psfFlux"))
    return Alert(
        survey=survey.name,
        schema=_text(record, "lsst_schema_version").removeprefix("lsst.v").replace("_", ".") or packet.version,
        object_id=object_id,
        alert_id=alert_id,
        time_mjd=time_mjd,
        band=band,
        ra_deg=_angle(source, "ra", 0.0, 360.0),
        dec_deg=_angle(source, "dec", -90.0, 90.0),
        flux_njy=flux_njy,
        flux_error_njy=math.nan if flagged else known_error(_number(source, "psfFluxErr")),
        real_bogus=_score(source, "reliability"),
        zero_point_mag=None,
        match=moving_object.of_lsst(record.get("ssSource")) if moves else None,
        stamps=_stamps(record, survey),
        history=history_of(survey, record, time_mjd, bands) if bands else NO_HISTORY,
        withdrawn=(Withdrawal(alert_id, time_mjd, BANDS.index(band), flux_njy),) if is_withdrawn(source) else (),
    )


def _lsst_object(record: dict[str, Any], source: dict[str, Any]) -> tuple[str, bool]:
    """Return the object's id, and whether it moves: without a ``diaObject`` it is a Solar-system object's."""
    for place in (record.get("diaObject"), source):
        if isinstance(place, dict) and place.get("diaObjectId"):
            return str(_needed(place, "diaObjectId", int)), False
    for place in (record.get("ssSource"), record.get("ssObject"), source):
        if isinstance(place, dict) and place.get("ssObjectId"):
            return str(_needed(place, "ssObjectId", int)), True
    raise RejectedAlertError(Rejection.MISSING_FIELD, "neither diaObject.diaObjectId nor ssSource.ssObjectId is set")


def _needed(record: dict[str, Any], name: str, kind: type[T]) -> T:
    """Return a field that must be there, of the type that it must have: the sender chose both."""
    value = record.get(name)
    if value is None:
        raise RejectedAlertError(Rejection.MISSING_FIELD, f"{name} is {'null' if name in record else 'absent'}")
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise RejectedAlertError(Rejection.BAD_VALUE, f"{name} is a {type(value).__name__}, not a {kind.__name__}")
    return value


def _number(record: dict[str, Any], name: str) -> float:
    """Return a field that may be absent, NaN where it is."""
    return math.nan if record.get(name) is None else _needed(record, name, float)


def _time(mjd: float) -> float:
    if not 0.0 < mjd < LATEST_MJD:  # NaN is not between
        raise RejectedAlertError(Rejection.BAD_VALUE, f"time MJD {mjd}: between 0 and {LATEST_MJD:g}")
    return mjd


def _angle(record: dict[str, Any], name: str, low_deg: float, high_deg: float) -> float:
    value = _needed(record, name, float)
    if not low_deg <= value <= high_deg:
        raise RejectedAlertError(Rejection.BAD_VALUE, f"{name} {value}: between {low_deg} and {high_deg} degrees")
    return value


def _score(record: dict[str, Any], *names: str) -> float | None:
    """Return the first of these scores that is set; one outside 0 to 1, for instance -999, is none."""
    return next((score for name in names if 0.0 <= (score := _number(record, name)) <= 1.0), None)


def _text(record: dict[str, Any], name: str) -> str:
    """Return a field that may be absent, empty where it is."""
    return "" if record.get(name) is None else _needed(record, name, str)


def _zero_point(candidate: dict[str, Any], band: str) -> float:
    if "magzpsci" not in candidate:
        return ZTF_NOMINAL_ZERO_POINT_MAG[band]
    zero_point_mag = _needed(candidate, "magzpsci", float)
    if not 15.0 < zero_point_mag < 35.0:
        raise RejectedAlertError(Rejection.BAD_VALUE, f"magzpsci {zero_point_mag}: between 15 and 35 mag")
    return zero_point_mag


def _stamps(record: dict[str, Any], survey: AlertSurvey) -> dict[str, bytes | None]:
    stamps: dict[str, bytes | None] = {}
    for kind in STAMP_KINDS:
        field = survey.stamp_fields[kind]
        place: dict[str, Any] = record
        if survey.stamps_are_records and record.get(field) is not None:
            place, field = _needed(record, field, dict), "stampData"
        stamps[kind] = None if place.get(field) is None else _needed(place, field, bytes)
    return stamps
