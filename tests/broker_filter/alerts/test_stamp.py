"""Stamps to calibrated frames."""

import csv
import gzip
import hashlib
import io
import tracemalloc

import numpy as np
import pytest
from astropy.io import fits
from packets import fits_bytes, lsst_packet, sky, ztf_packet, ztf_stamp

from broker_filter.alerts.alert import read_alerts
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.alerts.stamp import decode, observe
from broker_filter.alerts.survey import LSST, SURVEYS, ZTF
from broker_filter.errors import NotClassified, NotClassifiedError, RejectedAlertError, Rejection
from broker_filter.records import STAMP_KINDS, Message, Origin
from model.series import BANDS

FIELDS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
NOTHING = np.full((63, 63), np.nan, np.float32)
MEMORY_LIMIT_BYTES = 2_000_000  # for any one stamp, however it lies


def alert_of(value):
    (alert,) = read_alerts(Message(value, Origin("test")), Schemas())
    return alert


def restored(observation):
    return observation.pixels.astype(np.float32) * observation.scale_njy[:, None, None]


@pytest.mark.parametrize("shape", [(63, 63), (63, 50), (41, 63), (1, 1)])
def test_ztf_stamp_equals_astropy(shape):
    """A gzipped stamp with ZTF's malformed SIMPLE card has the pixels that astropy finds, chip edges included."""
    pixels = sky(3, shape[1], shape[0])
    pixels[0, 0] = np.nan
    content = ztf_stamp(pixels)
    with fits.open(io.BytesIO(gzip.decompress(content)), ignore_missing_simple=True) as hdus:
        expected = hdus[0].data
    np.testing.assert_array_equal(decode(content, ZTF), expected)
    assert decode(content, ZTF).dtype == np.dtype("=f4")


def in_members(content, *cuts):
    """A gzip file of as many members and one more, the last filled up with zeros."""
    pieces = (content[i:j] for i, j in zip((0, *cuts), (*cuts, None), strict=True))
    return b"".join(map(gzip.compress, pieces)) + bytes(7)


@pytest.mark.parametrize("cuts", [(3000,), (0,), (2880, 2880, 9000), (100_000,), range(0, 9900, 100)])
def test_gzip_members_are_one_stamp(cuts):
    """A stamp of several gzip members, empty ones among them, has the pixels that astropy finds."""
    pixels = sky(3, 63)
    content = in_members(gzip.decompress(ztf_stamp(pixels)), *cuts)
    np.testing.assert_array_equal(decode(content, ZTF), pixels)


@pytest.mark.parametrize("side", [30, 31, 102])
def test_lsst_stamp_is_the_primary_image(side):
    """Of LSST's image, variance and PSF, the image is read."""
    pixels = sky(4, side)
    np.testing.assert_array_equal(decode(fits_bytes(pixels, extensions=True), LSST), pixels)


def test_ztf_pixels_become_njy():
    """A DN becomes the flux of the zero point: a star of 20 mag in DN has 36.3 microjansky."""
    zero_point = 26.0
    pixels = np.zeros((63, 63), np.float32) + 1.0
    pixels[31, 31] = 10 ** (0.4 * (zero_point - 20.0))
    alert = alert_of(ztf_packet(magzpsci=zero_point, stamps=dict.fromkeys(FIELDS, ztf_stamp(pixels))))
    seen = restored(observe(alert, ("science",), 63, BANDS))
    assert seen[0, 31, 31] == pytest.approx(36_307.8, rel=2e-3)  # float16 keeps three digits


def test_lsst_pixels_are_njy():
    """LSST's pixels are kept as they are."""
    alert = alert_of(lsst_packet(stamps=dict.fromkeys(FIELDS, fits_bytes(np.full((30, 30), 250.0, np.float32)))))
    assert restored(observe(alert, ("difference",), 30, BANDS)) == pytest.approx(250.0, rel=1e-3)


def test_channels_in_the_networks_order():
    """Channels come in the order that the network names, cropped about the centre, with the alert's own numbers."""
    stamps = {
        name: ztf_stamp(np.full((63, 63), value, np.float32)) for name, value in zip(FIELDS, (1, 2, 3), strict=True)
    }
    alert = alert_of(ztf_packet(stamps=stamps, fid=2, candid=77))
    observation = observe(alert, ("difference", "science"), 32, BANDS)
    assert observation.pixels.shape == (2, 32, 32)
    assert observation.pixels.dtype == np.float16
    difference, science = restored(observation)
    assert difference[0, 0] / science[0, 0] == pytest.approx(3.0, rel=1e-3)
    assert (observation.alert_id, observation.band) == (77, BANDS.index("r"))
    assert (observation.time_mjd, observation.flux_njy) == (alert.time_mjd, alert.flux_njy)


def test_small_stamps_are_padded_with_nan():
    """What lies outside a stamp at a chip edge is masked, and so is what the survey masked."""
    pixels = np.ones((63, 40), np.float32)
    pixels[31, 20] = np.nan
    pixels[30, 20] = np.inf
    alert = alert_of(ztf_packet(stamps=dict.fromkeys(FIELDS, ztf_stamp(pixels))))
    (seen,) = restored(observe(alert, ("science",), 63, BANDS))
    assert np.isnan(seen[31, 31]) and np.isnan(seen[30, 31])
    assert np.isfinite(seen).sum() == 63 * 40 - 2


def test_difference_is_science_minus_template():
    """ZTF publishes template minus science of a source that faded: the frame has the sign of its flux."""
    alert = alert_of(ztf_packet(isdiffpos="f"))
    science, difference = restored(observe(alert, ("science", "difference"), 63, BANDS))
    assert science[31, 31] > 0 > difference[31, 31]
    assert alert.flux_njy < 0


@pytest.mark.parametrize(
    ("x", "y", "inside"),
    [
        (3_050.0, 1_500.0, np.s_[:, :50]),
        (12.0, 1_500.0, np.s_[:, 20:]),
        (1_500.0, 3_060.0, np.s_[:45, :]),
        (1_500.0, 17.0, np.s_[15:, :]),
        (10.0, 3_060.0, np.s_[:45, 22:]),
    ],
)
def test_stamps_cut_by_the_detector(x, y, inside):
    """A stamp that the edge of the detector cut is padded on that side, so that the source stays in the centre."""
    whole = sky(2, 63)
    expected = np.full_like(whole, np.nan)
    expected[inside] = whole[inside]
    alert = alert_of(ztf_packet(xpos=x, ypos=y, stamps=dict.fromkeys(FIELDS, ztf_stamp(whole[inside]))))
    njy_per_dn = 10 ** ((31.4 - alert.zero_point_mag) / 2.5)
    (seen,) = restored(observe(alert, ("science",), 63, BANDS))
    np.testing.assert_allclose(seen, expected * njy_per_dn, rtol=2e-3)


def test_real_differences_have_the_sign_of_their_flux(survey_alerts):
    """In real ZTF alerts the centre of the difference has the sign of the flux, and of science minus template."""
    agree = tried = 0
    for file in sorted((survey_alerts.alerts / "ztf").rglob("*.avro"))[:: 4 if survey_alerts.real else 1]:
        alert = alert_of(file.read_bytes())
        if alert.solar_system:
            continue
        science, template, difference = restored(observe(alert, STAMP_KINDS, 5, BANDS))
        assert np.sign(np.nanmean(difference)) == np.sign(alert.flux_njy)
        agree += np.nanmean(science - template) * np.nanmean(difference) > 0
        tried += 1
    assert tried > (150 if survey_alerts.real else 20)
    assert agree > 0.8 * tried  # the sky of science and template may differ


@pytest.mark.parametrize(
    ("fields", "bands", "reason"),
    [
        ({"stamps": dict.fromkeys(FIELDS)}, BANDS, NotClassified.NO_STAMPS),
        ({"stamps": dict.fromkeys(FIELDS, b"\xff\xd8\xff\xe0JFIF")}, BANDS, NotClassified.UNSUPPORTED_STAMP),
        (
            {"stamps": dict.fromkeys(FIELDS, ztf_stamp(np.full((63, 63), np.nan, "f4")))},
            BANDS,
            NotClassified.BLANK_STAMP,
        ),
        ({"ssdistnr": 1.0}, BANDS, NotClassified.SOLAR_SYSTEM),
        ({"fid": 3}, "gr", NotClassified.UNSUPPORTED_BAND),
    ],
)
def test_not_classified(fields, bands, reason):
    """A good alert whose stamps cannot be used says why."""
    with pytest.raises(NotClassifiedError) as caught:
        observe(alert_of(ztf_packet(**fields)), STAMP_KINDS, 63, bands)
    assert caught.value.reason == reason


def test_stamps_that_the_network_does_not_read_may_be_null():
    """A null template does not matter to a network of science stamps."""
    stamps = {"cutoutScience": ztf_stamp(sky(1, 63)), "cutoutTemplate": None, "cutoutDifference": None}
    assert observe(alert_of(ztf_packet(stamps=stamps)), ("science",), 63, BANDS).pixels.shape == (1, 63, 63)


def header(**cards):
    values = {"SIMPLE": "T", "BITPIX": -32, "NAXIS": 2, "NAXIS1": 63, "NAXIS2": 63} | cards
    text = "".join(f"{name:<8}= {value!s:>20}".ljust(80) for name, value in values.items()) + "END".ljust(80)
    return text.ljust(2880).encode()


PIXELS = bytes(4 * 63 * 63)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (header(), Rejection.BAD_STAMP),
        (header(NAXIS1=64) + PIXELS, Rejection.BAD_STAMP),
        (header(NAXIS1=2**31, NAXIS2=2**31) + PIXELS, Rejection.BAD_STAMP),
        (header(NAXIS1=10**40) + PIXELS, Rejection.BAD_STAMP),
        (header(NAXIS1=0) + PIXELS, Rejection.BAD_STAMP),
        (header(NAXIS1=-63) + PIXELS, Rejection.BAD_STAMP),
        (header(NAXIS1="sixty") + PIXELS, Rejection.BAD_STAMP),
        (header(NAXIS=999) + PIXELS, Rejection.BAD_STAMP),
        (header(NAXIS=3) + PIXELS, Rejection.BAD_STAMP),
        (header(BITPIX=17) + PIXELS, Rejection.BAD_STAMP),
        (header(BITPIX="--32") + PIXELS, Rejection.BAD_STAMP),
        (header().replace(b"END", b"ENO") + PIXELS, Rejection.BAD_STAMP),
        (header().replace(b"NAXIS1", b"NOAXIS") + PIXELS, Rejection.BAD_STAMP),
        (b"SIMPLE", Rejection.BAD_STAMP),
        (b"", Rejection.BAD_STAMP),
        (b"GIF89a", Rejection.BAD_STAMP),
        (b"\x1f\x8b", Rejection.BAD_STAMP),
        (b"\x1f\x8bnot a gzip", Rejection.BAD_STAMP),
        (gzip.compress(header() + PIXELS)[:-20], Rejection.BAD_STAMP),
        (in_members(header() + PIXELS, 3000)[:-20], Rejection.BAD_STAMP),
        (gzip.compress(header() + PIXELS) + b"\x1f\x8bnot a gzip", Rejection.BAD_STAMP),
        (gzip.compress(b"") * 1000 + gzip.compress(header() + PIXELS), Rejection.BAD_STAMP),
        (gzip.compress(b"SIMPLE" + bytes(50_000_000)), Rejection.TOO_LARGE),
        (gzip.compress(header()) + gzip.compress(bytes(50_000_000)), Rejection.TOO_LARGE),
        (gzip.compress(header() + bytes(60_000)) * 4, Rejection.TOO_LARGE),
        (header() + bytes(5_000_000), Rejection.TOO_LARGE),
    ],
)
def test_bad_stamps(content, reason):
    """A stamp that lies, breaks off or inflates without end is rejected within fixed memory."""
    tracemalloc.start()
    with pytest.raises(RejectedAlertError) as caught:
        decode(content, ZTF)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.reason == reason
    assert peak < MEMORY_LIMIT_BYTES


def test_padding_may_be_missing():
    """A stamp whose last block is not padded has all its pixels."""
    assert decode(header() + PIXELS, ZTF).shape == (63, 63)


def test_real_pixels(survey_alerts):
    """The three stamps of all 928 real alerts have the published pixels, to the last bit."""
    schemas = Schemas(bare_schema=survey_alerts.bare_schema)
    with (survey_alerts.alerts / "expected_pixels.csv").open() as rows:
        expected = list(csv.DictReader(rows))
    for row in expected:
        (alert,) = read_alerts(Message((survey_alerts.folder / row["file"]).read_bytes(), Origin(row["file"])), schemas)
        for kind in STAMP_KINDS:
            pixels = decode(alert.stamps[kind], SURVEYS[alert.survey])
            assert "x".join(map(str, pixels.shape)) == row[f"{kind[:3]}_shape"]
            assert np.isnan(pixels).sum() == int(row[f"{kind[:3]}_nan"])
            assert hashlib.sha256(pixels.astype("<f4").tobytes()).hexdigest().startswith(row[f"{kind[:3]}_sha"])
    assert len(expected) == survey_alerts.count
