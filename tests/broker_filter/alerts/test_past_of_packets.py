"""What packets tell of the past, as the network reads it."""

import csv
import io
import math

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packets import lsst_packet, ztf_packet

from broker_filter.alerts.alert import read_alerts
from broker_filter.alerts.packet_epochs import REFUSED_PAST
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.records import Alert, Message, Origin
from model.past_photometry import HISTORY_DAYS, HISTORY_LIMIT, LIMIT_SIGMA, History
from model.series import BANDS

SCHEMAS = Schemas()
NO_STAMPS = dict.fromkeys(("cutoutScience", "cutoutTemplate", "cutoutDifference"))
JD = 2_459_433.87
MJD = 61_109.25  # of packets.lsst_packet
G, R, I = (BANDS.index(band) for band in "gri")  # noqa: E741 - the name of a band
DETECTED = {"candid": 1, "magpsf": 19.0, "sigmapsf": 0.1, "isdiffpos": "t"}


def read(value: bytes, bands: str = "ugrizy") -> Alert:
    (alert,) = read_alerts(Message(value, Origin("made")), SCHEMAS, {"ztf": bands, "lsst": bands})
    assert isinstance(alert, Alert)
    return alert


def ztf(*previous: dict, bands: str = "gri", version: str = "4.02") -> History:
    value = ztf_packet(jd=JD, previous=previous, stamps=NO_STAMPS, schemavsn=version)
    return read(value, bands).history


def lsst(sources: list[dict] = (), forced: list[dict] = (), bands: str = "ugrizy") -> History:
    return read(lsst_packet(sources=sources, forced=forced, stamps=NO_STAMPS), bands).history


def visit(days_before: float, band: str | None = "r", flux: float | None = 10.0, error: float | None = 2.0) -> dict:
    return {"midpointMjdTai": MJD - days_before, "band": band, "psfFlux": flux, "psfFluxErr": error}


@pytest.mark.parametrize("version", ["1.8", "4.02"])
def test_ztf_tells_of_detections_and_of_limits(version):
    """Detections have their sign; where nothing was seen the flux is 0 and its error the limit over its sigmas."""
    history = ztf(
        {"jd": JD - 3, "fid": 2, "diffmaglim": 20.5},
        {"jd": JD - 2, "fid": 1, "diffmaglim": 20.5, **DETECTED},
        {"jd": JD - 1, "fid": 3, **DETECTED, "isdiffpos": "f"},
        version=version,
    )
    flux_njy = 10 ** ((31.4 - 19.0) / 2.5)
    assert history.band_P.tolist() == [R, G, I]
    np.testing.assert_allclose(history.flux_P, [0.0, flux_njy, -flux_njy], rtol=1e-6)
    error_njy = 0.1 * math.log(10) / 2.5 * flux_njy
    limit_njy = 10 ** ((31.4 - 20.5) / 2.5)
    np.testing.assert_allclose(history.flux_error_P, [limit_njy / LIMIT_SIGMA, error_njy, error_njy], rtol=1e-6)


def test_times_are_those_of_alerts():
    """The time of an epoch is, to the last bit, that of the alert of which another packet told."""
    earlier = read(ztf_packet(jd=JD - 2.3456789, stamps=NO_STAMPS))
    assert ztf({"jd": JD - 2.3456789, **DETECTED}).time_P.tolist() == [earlier.time_mjd]


def test_only_the_past_counts():
    """What is not strictly earlier than the alert, or further back than packets reach, is left out."""
    days = HISTORY_DAYS["ztf"]
    before = [days + 0.01, days - 0.01, 1.0, 0.0, -1.0]
    history = ztf(*({"jd": JD - d, **DETECTED} for d in before))
    assert len(history) == 2
    sources = [visit(d) for d in (HISTORY_DAYS["lsst"] + 0.01, HISTORY_DAYS["lsst"] - 0.01, 0.0, -2.0)]
    assert len(lsst(sources)) == 1


@pytest.mark.parametrize(
    "absurd",
    [
        {"magpsf": -999.0},
        {"magpsf": 99.0},
        {"magpsf": math.inf},
        {"sigmapsf": None},
        {"sigmapsf": 0.0},
        {"sigmapsf": -0.1},
        {"sigmapsf": math.inf},
        {"isdiffpos": None},
        {"isdiffpos": "?"},
        {"fid": 4},
        {"fid": -1},
        {"jd": math.nan},
        {"jd": math.inf},
        {"magpsf": None, "diffmaglim": None},
        {"magpsf": None, "diffmaglim": -5.0},
    ],
    ids=str,
)
def test_ztf_values_without_sense_are_left_out(absurd):
    """An epoch with a value that makes no sense is left out, and the others stay."""
    fine = {"jd": JD - 2, **DETECTED}
    assert len(ztf(fine, {"jd": JD - 1, **DETECTED, **absurd}, fine)) == 2


@pytest.mark.parametrize(
    "absurd",
    [
        visit(1, flux=None),
        visit(1, flux=math.inf),
        visit(1, error=None),
        visit(1, error=0.0),
        visit(1, error=-1.0),
        visit(1, error=math.nan),
        visit(1, band=None),
        visit(1, band="x"),
        visit(1, band="gri"),
        visit(math.nan),
    ],
    ids=str,
)
def test_lsst_values_without_sense_are_left_out(absurd):
    """In either list an epoch with a value that makes no sense is left out, and the others stay."""
    assert len(lsst([visit(2), absurd, visit(3)])) == 2
    assert len(lsst([], [visit(2), absurd, visit(3)])) == 2


def test_bands_that_the_network_does_not_know_are_left_out():
    """A network of g and r is told of g and r."""
    epochs = [{"jd": JD - n, "fid": n, **DETECTED} for n in (1, 2, 3)]
    assert ztf(*epochs, bands="gr").band_P.tolist() == [R, G]
    assert lsst([visit(1, "z"), visit(2, "r")], [visit(3, "y")], bands="gr").band_P.tolist() == [R]


def test_forced_photometry_stands_in_where_nothing_was_detected():
    """Of a visit that was detected the detection counts; forced photometry tells of the other visits."""
    detected = [visit(10, "r", 100.0), visit(5, "g", 50.0)]
    forced = [visit(10.00001, "r", 90.0), visit(5, "r", 3.0), visit(2, "g", -1.0)]
    history = lsst(detected, forced)
    assert history.flux_P.tolist() == [100.0, 50.0, 3.0, -1.0]
    assert history.band_P.tolist() == [R, G, R, G]


def test_what_lsst_withdrew_is_left_out():
    """A source with a time of withdrawal tells nothing; null says that it stands."""
    withdrawn = visit(3, flux=7.0) | {"timeWithdrawnMjdTai": MJD - 2}
    history = lsst([visit(4) | {"timeWithdrawnMjdTai": None}, withdrawn], [visit(2) | {"timeWithdrawnMjdTai": MJD}])
    assert history.flux_P.tolist() == [10.0]


def test_a_clock_that_stood_still_tells_nothing():
    """A past with one time is refused, also one later than the alert; two detections in one exposure are fine."""
    for days in (-1, 1):
        past_epochs = [
            {"jd": JD + days, "fid": fid, **DETECTED, "magpsf": 18.0 + n / 10} for n in range(6) for fid in (1, 2)
        ]
        assert ztf(*past_epochs) is REFUSED_PAST
    assert ztf({"jd": JD - 1, "fid": 1, **DETECTED}, {"jd": JD - 1, "fid": 2, **DETECTED}) is REFUSED_PAST
    assert len(ztf({"jd": JD - 1, "fid": 1, **DETECTED}, {"jd": JD - 1, "fid": 1, **DETECTED})) == 2
    days_apart = [{"jd": JD - 1 - n, "fid": 2, **DETECTED} for n in range(3)]
    assert len(ztf(*days_apart, days_apart[0])) == 4


def test_the_newest_epochs_count_whatever_their_order():
    """Of a long list, in any order, the newest epochs stay, in order of time."""
    days = np.random.default_rng(1).permutation(3 * HISTORY_LIMIT) / 10 + 0.5
    history = lsst([visit(float(d), flux=float(d)) for d in days])
    assert len(history) == HISTORY_LIMIT
    np.testing.assert_allclose(MJD - history.time_P, np.sort(days)[:HISTORY_LIMIT][::-1], atol=1e-9)
    np.testing.assert_allclose(history.flux_P, np.sort(days)[:HISTORY_LIMIT][::-1], rtol=1e-6)


def test_nothing_is_read_unless_asked_for():
    """Without a network that reads it, the history of a packet is stepped over."""
    (alert,) = read_alerts(Message(ztf_packet(previous=9), Origin("made")), SCHEMAS)
    assert len(alert.history) == 0
    assert len(read(ztf_packet(previous=0)).history) == 0
    assert len(read(lsst_packet(history=0)).history) == 0


numbers = st.floats(width=32) | st.none()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(), numbers, numbers, st.sampled_from([*BANDS, "", "?", None])), max_size=20))
def test_whatever_a_sender_writes_the_network_can_read(written):
    """Any numbers at all give a history of finite numbers, positive errors and times in order."""
    epochs = [
        {"midpointMjdTai": time, "band": band, "psfFlux": flux, "psfFluxErr": error}
        for time, flux, error, band in [*written, (MJD - 1, 1.0, 1.0, "r")]
    ]
    for history in (lsst(epochs), lsst([], epochs), lsst(epochs, epochs[::-1])):
        assert len(history) >= 1
        assert np.isfinite(history.flux_P).all()
        assert (history.flux_error_P > 0).all()
        assert (np.diff(history.time_P) >= 0).all()
        assert (history.time_P < MJD).all()
        assert history.time_P.dtype == np.float64


def test_real_ztf_histories(survey_alerts):
    """Real packets tell of what fastavro finds in them; a few, repacked by others, date all of it alike."""
    with (survey_alerts.alerts / "manifest_ztf.csv").open() as rows:
        files = [survey_alerts.folder / row["file"] for row in csv.DictReader(rows)][:: 20 if survey_alerts.real else 1]
    count = 0
    for file in files:
        (record,) = fastavro.reader(io.BytesIO(file.read_bytes()))
        jd = record["candidate"]["jd"]
        past = [one for one in record["prv_candidates"] or () if jd - HISTORY_DAYS["ztf"] <= one["jd"] < jd]
        history = read(file.read_bytes(), "gri").history
        if len({one["jd"] for one in past}) == 1 and len(past) > 4:
            assert len(history) == 0
            continue
        assert len(history) == min(len(past), HISTORY_LIMIT)
        if len(past) <= HISTORY_LIMIT:
            assert np.count_nonzero(history.flux_P) == sum(one["magpsf"] is not None for one in past)
        count += len(history)
    assert count > 10 * len(files)
