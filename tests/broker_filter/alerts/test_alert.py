"""Bytes to alerts."""

import math

import numpy as np
import pytest
from astropy.time import Time
from packets import container, lsst_packet, ztf_packet, ztf_record, ztf_schema

from broker_filter.alerts.alert import ZTF_NOMINAL_ZERO_POINT_MAG, read_alerts
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.alerts.units import flux_of_magnitude
from broker_filter.errors import RejectedAlertError, Rejection
from broker_filter.records import Alert, Message, Origin


def read_all(value: bytes) -> list[Alert | RejectedAlertError]:
    return list(read_alerts(Message(value, Origin("test")), Schemas()))


def read_one(value: bytes) -> Alert:
    (alert,) = read_all(value)
    assert isinstance(alert, Alert), alert
    return alert


def rejection(value: bytes) -> RejectedAlertError:
    (error,) = read_all(value)
    assert isinstance(error, RejectedAlertError), error
    return error


def test_ztf_alert():
    """A ZTF packet gives its own ids, position, score, band and zero point."""
    alert = read_one(ztf_packet(object_id="ZTF21abiuvdk", candid=1_680_370_840_815_015_009, fid=2))
    assert (alert.survey, alert.schema, alert.object_id) == ("ztf", "4.02", "ZTF21abiuvdk")
    assert alert.alert_id == 1_680_370_840_815_015_009
    assert (alert.band, alert.ra_deg, alert.dec_deg) == ("r", 10.5, -3.25)
    assert alert.real_bogus == pytest.approx(0.9)
    assert alert.zero_point_mag == pytest.approx(26.3, abs=1e-6)
    assert not alert.solar_system
    assert all(content.startswith(b"\x1f\x8b") for content in alert.stamps.values() if content is not None)


def test_ztf_time_is_tai():
    """The Julian date (UTC) of a ZTF exposure becomes the MJD in TAI that astropy computes."""
    jd = 2_459_433.87
    assert read_one(ztf_packet(jd=jd)).time_mjd == pytest.approx(Time(jd, format="jd", scale="utc").tai.mjd, abs=1e-9)


@pytest.mark.parametrize(("sign", "expected"), [("t", 1), ("1", 1), ("f", -1), ("0", -1)])
def test_ztf_flux(sign, expected):
    """A magnitude becomes a flux in nJy, negative where the source is fainter than its template."""
    alert = read_one(ztf_packet(magpsf=18.5, sigmapsf=0.1, isdiffpos=sign))
    assert alert.flux_njy == pytest.approx(expected * 3630.78e9 * 10 ** (-0.4 * 18.5), rel=1e-5)
    assert alert.flux_error_njy == pytest.approx(abs(alert.flux_njy) * 0.1 * math.log(10) / 2.5, rel=1e-5)


def test_unknown_magnitude():
    """A magnitude that makes no sense gives an unknown flux, not a number."""
    assert all(math.isnan(value) for value in flux_of_magnitude(-999.0, 0.1))
    assert math.isnan(read_one(ztf_packet(magpsf=math.nan)).flux_njy)


def test_ztf_before_versions():
    """A packet of schema 1.8, without version, deep-learning score and zero point, is read all the same."""
    alert = read_one(ztf_packet(schemavsn="1.8"))
    assert alert.schema == "1.8"
    assert alert.real_bogus == pytest.approx(0.5)
    assert alert.zero_point_mag == ZTF_NOMINAL_ZERO_POINT_MAG["g"]


@pytest.mark.parametrize(
    ("distance", "expected"), [(None, False), (-999.0, False), (60.0, False), (0.0, True), (6.0, True)]
)
def test_ztf_solar_system(distance, expected):
    """A source near a known Solar-system object is taken for it; negative and far distances mean none."""
    assert read_one(ztf_packet(ssdistnr=distance)).solar_system is expected


def test_lsst_alert():
    """An LSST packet gives the fixed object's id and its own calibrated flux."""
    alert = read_one(lsst_packet())
    assert (alert.survey, alert.schema, alert.object_id) == ("lsst", "10.0", "313963405132693599")
    assert (alert.alert_id, alert.time_mjd, alert.band) == (170_112_044_583_354_426, 61_109.25, "g")
    assert (alert.flux_njy, alert.flux_error_njy, alert.zero_point_mag) == (3900.0, 290.0, None)
    assert not alert.solar_system


@pytest.mark.parametrize("version", [(7, 0), (7, 1), (7, 2), (7, 3), (7, 4), (8, 0), (9, 0), (10, 0), (11, 0), (11, 1)])
def test_lsst_versions(version):
    """Every version of LSST's schema since 7.0 is read, its histories stepped over."""
    alert = read_one(lsst_packet(version=version, history=4))
    assert alert.schema == f"{version[0]}.{version[1]}"
    assert alert.stamps["difference"].startswith(b"SIMPLE  =")


def test_lsst_solar_system():
    """Without a diaObject the alert belongs to the Solar-system object of its source."""
    alert = read_one(lsst_packet(object_id=None, ssObjectId=21_163_633_152_112_203))
    assert (alert.object_id, alert.solar_system) == ("21163633152112203", True)


def test_null_flux():
    """A null flux is unknown, and the alert is read."""
    assert math.isnan(read_one(lsst_packet(psfFlux=None, psfFluxErr=None)).flux_njy)


def test_null_stamps():
    """Null stamps are kept as null: the stamp room says what that means."""
    stamps = dict.fromkeys(("cutoutScience", "cutoutTemplate", "cutoutDifference"))
    assert set(read_one(ztf_packet(stamps=stamps)).stamps.values()) == {None}
    assert set(read_one(lsst_packet(stamps=stamps)).stamps.values()) == {None}


@pytest.mark.parametrize(
    ("value", "reason", "words"),
    [
        (ztf_packet(jd=math.nan), Rejection.BAD_VALUE, "time MJD nan"),
        (ztf_packet(jd=math.inf), Rejection.BAD_VALUE, "time MJD inf"),
        (ztf_packet(jd=-1e300), Rejection.BAD_VALUE, "time MJD"),
        (lsst_packet(midpointMjdTai=math.nan), Rejection.BAD_VALUE, "time MJD nan"),
        (ztf_packet(fid=4), Rejection.BAD_VALUE, "fid 4"),
        (ztf_packet(isdiffpos="maybe"), Rejection.BAD_VALUE, "isdiffpos 'maybe'"),
        (ztf_packet(ra=math.nan), Rejection.BAD_VALUE, "ra nan"),
        (ztf_packet(dec=90.5), Rejection.BAD_VALUE, "dec 90.5"),
        (ztf_packet(magzpsci=-99.0), Rejection.BAD_VALUE, "magzpsci -99"),
        (ztf_packet(magzpsci=None), Rejection.MISSING_FIELD, "magzpsci is null"),
        (ztf_packet(object_id="AT2021rhu"), Rejection.FOREIGN_SURVEY, "'AT2021rhu' is not ZTF's"),
        (lsst_packet(band="gri"), Rejection.BAD_VALUE, "band 'gri'"),
        (lsst_packet(band=None), Rejection.MISSING_FIELD, "band is null"),
        (lsst_packet(object_id=None), Rejection.MISSING_FIELD, "neither diaObject"),
        (lsst_packet(version=(10, 0))[:-1], Rejection.CORRUPT, "a length of"),
        (lsst_packet() + b"\0", Rejection.CORRUPT, "ends at byte"),
        (b"\0\0\0\x30\x39rest", Rejection.UNKNOWN_SCHEMA_ID, "12345"),
        (b"version https://git-lfs.github.com/spec/v1", Rejection.NOT_AVRO, "neither frame nor container"),
        (b"", Rejection.NOT_AVRO, "empty"),
    ],
)
def test_rejections(value, reason, words):
    """What cannot be an alert is rejected with a reason from the closed list and words that name the value."""
    error = rejection(value)
    assert error.reason == reason
    assert words in error.detail


def test_types_are_the_senders_choice():
    """A packet that names our fields and gives them other types is rejected, whatever the types are."""
    schema = ztf_schema()
    fields = {field["name"]: field for field in schema["fields"]}
    fields["objectId"]["type"] = "long"
    (error,) = read_all(container(schema, [ztf_record() | {"objectId": 5}]))
    assert isinstance(error, RejectedAlertError)
    assert error.reason == Rejection.BAD_VALUE
    assert "objectId is a int, not a str" in error.detail


def test_each_record_fails_by_itself():
    """A container gives one result per record, and a bad one does not take its neighbours along."""
    records = [ztf_record(candid=1), ztf_record(candid=2, jd=math.nan), ztf_record(candid=3)]
    first, second, third = read_all(container(ztf_schema(), records))
    assert (first.alert_id, third.alert_id) == (1, 3)
    assert second.reason == Rejection.BAD_VALUE


def test_empty_container():
    """A sound container without records holds nothing to read."""
    assert read_all(container(ztf_schema(), [])) == []


def test_rest_of_a_cut_container():
    """Of a container that breaks off, the records before the break are read and the rest is one rejection."""
    whole = container(ztf_schema(), [ztf_record(candid=n) for n in range(3)], sync_interval=1)
    *alerts, error = read_all(whole[:-100])
    assert [alert.alert_id for alert in alerts] == [0, 1]
    assert error.reason == Rejection.CORRUPT


def test_real_alerts(survey_alerts):
    """Every real alert of both surveys is read, with the id, time and band of the manifests."""
    import csv

    bare = Schemas(bare_schema=survey_alerts.bare_schema)
    checked = 0
    for manifest, id_column in (("manifest_ztf.csv", "candid"), ("manifest_lsst.csv", "diaSourceId")):
        with (survey_alerts.alerts / manifest).open() as rows:
            for row in csv.DictReader(rows):
                value = (survey_alerts.folder / row["file"]).read_bytes()
                (alert,) = read_alerts(Message(value, Origin(row["file"])), bare)
                assert isinstance(alert, Alert), (row["file"], alert)
                assert alert.alert_id == int(row[id_column])
                if "mjd" in row:
                    assert alert.band == row["band"]
                    assert alert.time_mjd == pytest.approx(float(row["mjd"]), abs=1e-9)
                    assert alert.solar_system == (row["diaObjectId"] == "0")
                else:
                    assert alert.band == "gri"[int(float(row["fid"])) - 1]
                    assert alert.solar_system == (row["known_asteroid"] == "True")
                    assert alert.object_id == row["objectId"]
                    assert np.sign(alert.flux_njy) == (1 if row["isdiffpos"] == "t" else -1)
                checked += 1
    assert checked == survey_alerts.count


@pytest.mark.parametrize("error", [-999.0, -1.0, -0.0, 0.0, math.nan, math.inf, 3e38])
@pytest.mark.parametrize("survey", ["ztf", "lsst"])
def test_an_error_that_is_none_is_unknown(survey, error):
    """A flux keeps its value where its error is zero, negative or beyond all fluxes; the error is unknown."""
    packet = ztf_packet(sigmapsf=error) if survey == "ztf" else lsst_packet(psfFluxErr=error)
    alert = read_one(packet)
    assert math.isfinite(alert.flux_njy) and alert.flux_njy != 0
    assert math.isnan(alert.flux_error_njy)
