"""Alert packets: what the surveys' own readers accept, with the fields that peers use."""

import gzip
import io
import math
import struct
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fastavro
import numpy as np
import pytest
from astropy.io import fits
from lsst.alert.packet import Schema, get_schema_path

from model.simulation.alerts import lsst as packets_lsst
from model.simulation.alerts import ztf as packets_ztf
from model.simulation.alerts.neighbours import neighbours
from model.simulation.alerts.night import MIX, StreamSettings, Truth, alerts_of_object, write_night
from model.simulation.sky_records import Galaxy, Scene
from model.simulation.surveys import LSST, ZTF

Night = list[tuple[bytes, Truth]]
ZTF_REAL_OLDEST_WITH_ALL_FIELDS = "4.02"


@pytest.fixture(scope="module")
def ztf_night() -> Night:
    return list(write_night("ztf", objects=40, nights=20, seed=3))


@pytest.fixture(scope="module")
def lsst_night() -> Night:
    return list(write_night("lsst", objects=20, nights=30, seed=3))


@lru_cache(maxsize=1000)
def read_container(packet: bytes) -> Any:
    (record,) = fastavro.reader(io.BytesIO(packet))
    return record


@lru_cache(maxsize=1000)
def read_lsst(packet: bytes) -> dict[str, Any]:
    magic, schema_id = struct.unpack(">bI", packet[:5])
    assert (magic, schema_id) == (0, 1000)
    path = f"{get_schema_path(10, 0)}/lsst.v10_0.alert.avsc"
    return dict(Schema.from_file(path).deserialize(packet[5:]))


def stamp(record: dict[str, Any], kind: str) -> np.ndarray:
    """Read a ZTF stamp as a consumer must: by position, for its header is not standard."""
    raw = gzip.decompress(record[f"cutout{kind}"]["stampData"])
    header = {raw[i : i + 8].decode().strip(): raw[i + 10 : i + 80].decode() for i in range(0, 2880, 80)}
    height, width = int(header["NAXIS2"]), int(header["NAXIS1"])
    return np.frombuffer(raw, ">f4", height * width, 2880).reshape(height, width)


def test_both_streams_are_in_time_order_and_unique(ztf_night: Night, lsst_night: Night) -> None:
    """Alerts come in time order, none twice, ids fit into 64 bits, and every one has its truth."""
    for night in (ztf_night, lsst_night):
        times = [truth["time_mjd"] for _, truth in night]
        assert times == sorted(times)
        ids = [truth["alert_id"] for _, truth in night]
        assert len(set(ids)) == len(ids) > 50 and max(ids) < 2**63
        assert all({"label", "subtype", "true_flux_njy", "object_id"} <= truth.keys() for _, truth in night)


def test_a_stream_is_a_function_of_its_seed() -> None:
    """The same seed gives the same packets byte for byte, in one process or two; another seed others."""
    once, again = (list(write_night("ztf", objects=10, nights=5, seed=3, workers=workers)) for workers in (1, 2))
    assert [packet for packet, _ in again] == [packet for packet, _ in once]
    assert [truth["alert_id"] for _, truth in again] == [truth["alert_id"] for _, truth in once]
    assert next(write_night("ztf", objects=2, nights=5, seed=4))[0] != once[0][0]


def test_every_class_appears() -> None:
    """Over some hundred objects the stream holds every label of the mix."""
    sky = StreamSettings(survey=ZTF, seed=9, objects=70, nights=3, start_mjd=60_500.0)
    missing, number = set(MIX), 0
    while missing and number < sky.objects:
        missing -= {alert.truth["label"] for alert in alerts_of_object(sky, number)}
        number += 1
    assert not missing


def test_ztf_packets_say_what_was_simulated(ztf_night: Night) -> None:
    """Identity, magnitude, sign, limit and filter of a packet follow from the simulated object."""
    for packet, truth in ztf_night:
        record = read_container(packet)
        candidate = record["candidate"]
        assert record["candid"] == candidate["candid"] == truth["alert_id"]
        assert record["objectId"] == truth["object_id"] and record["schemavsn"] == "4.02"
        assert "gri"[candidate["fid"] - 1] == truth["band"]
        assert candidate["isdiffpos"] == ("t" if truth["flux_njy"] >= 0 else "f")
        assert candidate["magpsf"] == pytest.approx(31.4 - 2.5 * math.log10(abs(truth["flux_njy"])), abs=1e-3)
        tai = candidate["jd"] - 2_400_000.5 + (37 + 15) / 86_400  # start of exposure, UTC -> middle, TAI
        assert tai == pytest.approx(truth["time_mjd"], abs=1e-6)
        moving = truth["label"] == "Asteroid"
        assert (candidate["ssnamenr"] != "null") == moving and (candidate["ssdistnr"] >= 0) == moving


def test_ztf_catalogue_has_errors_of_its_own(ztf_night: Night) -> None:
    """A star lies some tenths of an arcsecond off its entry, afresh at each alert; no two entries are one blend."""
    distance, score = [], []
    for packet, truth in ztf_night:
        candidate = read_container(packet)["candidate"]
        separations = [candidate[f"distpsnr{rank}"] for rank in (1, 2, 3) if candidate[f"distpsnr{rank}"] >= 0]
        assert separations == sorted(separations)
        score += [candidate[f"sgscore{rank}"] for rank in range(1, len(separations) + 1)]
        if truth["label"] == "Variable" and candidate["magnr"] < 19 and candidate["distnr"] < 1:
            distance.append(candidate["distpsnr1"])
    assert 0.1 < np.median(distance) < 0.35 and len(set(distance)) == len(distance)
    assert len(set(score)) > 10 and 0 < min(score) < 0.1 and 0.9 < max(score) < 1


def test_sources_that_no_telescope_parts_are_one_entry() -> None:
    """A galaxy and the quasar in it are listed once, with the light of both."""
    flux_B = np.full(6, 1e5, np.float32)
    galaxies = (Galaxy(flux_B, 2.0, 1.0, 0.5, 0.4, 0.1, 0.0), Galaxy(flux_B, 2.0, 1.0, 0.5, 0.4, 5.0, 0.0))
    quasar = np.full(6, 3e5, np.float32)
    obj = SimpleNamespace(scene=Scene(galaxies), reference_flux_B=quasar)
    nearest, second = neighbours(obj, 150.0, 20.0)  # type: ignore[arg-type]
    assert nearest.is_star and nearest.distance_arcsec == 0 and nearest.flux_B[2] == pytest.approx(4e5)
    assert not second.is_star and second.distance_arcsec == pytest.approx(5.0)


def test_a_point_source_fitted_to_a_galaxy_misses_its_outskirts() -> None:
    """A star has all of its light in any image; a galaxy the less the larger it is and the sharper the image; a wide
    PSF finds all of it."""
    flux_B = np.full(6, 1e5, np.float32)
    sizes = (0.3, 1.0, 4.0)
    galaxies = tuple(Galaxy(flux_B, size, 4.0, 0.5, 0.4, 8.0 * k, 5.0) for k, size in enumerate(sizes))
    obj = SimpleNamespace(scene=Scene(galaxies), reference_flux_B=flux_B)
    star, *others = neighbours(obj, 150.0, 20.0)  # type: ignore[arg-type]
    assert star.psf_flux_B(0.4)[2] == pytest.approx(1e5)
    in_gaia, in_ps1, in_ztf, wide = ([one.psf_flux_B(fwhm)[2] for one in others] for fwhm in (0.4, 1.2, 2.4, 500.0))
    assert in_ps1 == sorted(in_ps1, reverse=True) and in_ps1[2] < 0.5 * in_ps1[0]
    assert all(a < b < c for a, b, c in zip(in_gaia, in_ps1, in_ztf, strict=True))
    np.testing.assert_allclose(wide, 1e5, rtol=0.01)
    single = Galaxy(flux_B, 1.0, 0.5, 1.0, 0.0, 3.0, 0.0)  # a Gaussian as large as the PSF: a third of it is missed
    (alone,) = neighbours(SimpleNamespace(scene=Scene((single,)), reference_flux_B=0 * flux_B), 150.0, 20.0)  # type: ignore[arg-type]
    assert alone.psf_flux_B(2.0)[2] == pytest.approx(1e5 * 2 / 3, rel=0.01)


def test_gaia_lists_bright_nuclei_and_reference_sources_are_found_to_a_limit(ztf_night: Night) -> None:
    """Most active nuclei have a Gaia source on them; a host's magnitude in the reference is fainter than all of it."""
    on_nucleus, fainter = [], []
    for packet, truth in ztf_night:
        candidate = read_container(packet)["candidate"]
        assert candidate["maggaia"] <= 20.7 and 10 < candidate["magnr"] < 23
        if truth["label"] == "AGN":
            on_nucleus.append(candidate["neargaia"] < 1)
        if truth["kind"] == "SN" and candidate["distnr"] < 2 and truth["host_matched"] and candidate["fid"] == 2:
            fainter.append(candidate["magnr"] - truth["host_r_mag"])
    assert np.mean(on_nucleus) > 0.6
    assert np.median(fainter) > 0.2


def test_what_varies_has_alerted_since_the_survey_began(ztf_night: Night) -> None:
    """Stars and nuclei were seen in years before; a supernova, a nova and an asteroid were not; nothing before 2018."""
    age_days: dict[str, list[float]] = {"old": [], "new": []}
    for packet, truth in ztf_night:
        candidate = read_container(packet)["candidate"]
        assert 2_458_194.5 <= candidate["jdstarthist"] <= candidate["jd"]
        assert 1 <= candidate["ndethist"] <= candidate["ncovhist"]
        persists = truth["kind"] in ("AGN", "Star") and truth["subtype"] != "Nova"
        age_days["old" if persists else "new"].append(candidate["jd"] - candidate["jdstarthist"])
    assert max(age_days["new"]) < 366
    assert np.median(age_days["old"]) > 1500


def test_ztf_history_is_the_last_month(ztf_night: Night) -> None:
    """Previous candidates are earlier, at most 30 days old, some with and some without a detection."""
    detections = limits = 0
    for packet, _ in ztf_night:
        record = read_container(packet)
        for previous in record["prv_candidates"] or []:
            age = record["candidate"]["jd"] - previous["jd"]
            assert 0 < age <= 30
            detections += previous["candid"] is not None
            limits += previous["candid"] is None
            assert (previous["magpsf"] is None) == (previous["candid"] is None)
            assert previous["diffmaglim"] is not None
        assert len(record["fp_hists"] or []) >= len(record["prv_candidates"] or [])
    assert detections > 50 and limits > 50


def test_a_later_packet_repeats_an_earlier_one(ztf_night: Night) -> None:
    """A detection in the history has the numbers that its own packet had."""
    seen: dict[int, dict[str, Any]] = {}
    repeated = 0
    for packet, _ in ztf_night:
        record = read_container(packet)
        for previous in record["prv_candidates"] or []:
            if previous["candid"] in seen:
                repeated += 1
                first = seen[previous["candid"]]
                assert all(previous[name] == first[name] for name in ("jd", "magpsf", "sigmapsf", "ra", "dec", "rb"))
        seen[record["candid"]] = record["candidate"]
    assert repeated > 10


def test_ztf_stamps_hold_the_flux_of_the_packet(ztf_night: Night) -> None:
    """Aperture photometry of the difference stamp, in the packet's zero point, gives its magnitude."""
    ratios = []
    for packet, truth in ztf_night:
        record = read_container(packet)
        difference = stamp(record, "Difference")
        assert difference.shape[0] <= 63 and difference.shape[1] <= 63
        if difference.shape != (63, 63) or truth["label"] == "Bogus" or abs(truth["flux_njy"]) < 3e5:
            continue
        core = difference[24:39, 24:39]
        if np.isfinite(core).all():
            njy = core.sum() * 10 ** (0.4 * (31.4 - record["candidate"]["magzpsci"]))
            ratios.append(njy / abs(truth["flux_njy"]))  # a fading source's stamp is the template less the science
    assert len(ratios) >= 5 and np.median(ratios) == pytest.approx(1, abs=0.08)


def test_ztf_stamps_are_as_odd_as_the_real_ones(ztf_night: Night) -> None:
    """Their first card is not what FITS asks for, some hold NaN, and they inflate to whole FITS blocks."""
    masked = 0
    for packet, _ in ztf_night:
        record = read_container(packet)
        raw = gzip.decompress(record["cutoutScience"]["stampData"])
        assert raw.startswith(b"SIMPLE  =  T ") and len(raw) % 2880 == 0
        masked += bool(np.isnan(stamp(record, "Science")).any())
    assert 0.02 < masked / len(ztf_night) < 0.4


def test_bogus_detections_score_low(ztf_night: Night) -> None:
    """The real/bogus scores of artefacts lie below those of sources."""
    rows = [(truth["label"] == "Bogus", read_container(packet)["candidate"]) for packet, truth in ztf_night]
    bogus = [c["drb"] for is_bogus, c in rows if is_bogus]
    real = [c["drb"] for is_bogus, c in rows if not is_bogus]
    assert bogus and np.median(bogus) < 0.4 and np.median(real) > 0.7


def describe(schema: Any) -> Any:
    """Names and types of a schema without its documentation, names in full."""
    if isinstance(schema, list):
        return [describe(part) for part in schema]
    if not isinstance(schema, dict):
        return schema.rsplit(".", 1)[-1] if isinstance(schema, str) else schema
    if schema["type"] == "record":
        return [schema["name"].rsplit(".", 1)[-1], [(f["name"], describe(f["type"])) for f in schema["fields"]]]
    if schema["type"] == "array":
        return ["array", describe(schema["items"])]
    return schema["type"]


def real_ztf_packets(shared_data: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for path in sorted((shared_data / "alerts/ztf").glob("*/*.avro")):
        with path.open("rb") as file:
            reader = fastavro.reader(file)
            record: Any = next(reader)
            if record.get("schemavsn") == ZTF_REAL_OLDEST_WITH_ALL_FIELDS:
                yield reader.writer_schema, record  # type: ignore[misc]


def test_ztf_schema_is_that_of_real_packets(shared_data: Path) -> None:
    """Every field of a real packet is there, in its order and with its type."""
    schema, _ = next(real_ztf_packets(shared_data))
    assert describe(packets_ztf.schema()) == describe(schema)


def test_ztf_fills_what_real_packets_fill(shared_data: Path, ztf_night: Night) -> None:
    """A field that is never null in native real packets is never null in ours."""
    native = [record for _, record in real_ztf_packets(shared_data) if record["fp_hists"]]
    ours = [read_container(packet) for packet, _ in ztf_night]
    always = {name for name in native[0]["candidate"] if all(r["candidate"][name] is not None for r in native)}
    optional = {f"{name}{k}" for name in ("objectidps",) for k in (1, 2, 3)}  # null where nothing is near
    missing = {name for name in always for r in ours if r["candidate"][name] is None} - optional
    assert not missing


@pytest.mark.parametrize("version", [(10, 0), (11, 1)])
def test_lsst_packets_are_valid(version: tuple[int, int]) -> None:
    """The survey's own schema package validates each packet and reads back what was written."""
    mix = {"SNIa": 1.0, "Asteroid": 1.0}
    sky = StreamSettings(survey=LSST, seed=5, objects=1, nights=60, start_mjd=61_100.0, mix=mix)
    schema = Schema.from_file(f"{get_schema_path(*version)}/lsst.v{version[0]}_{version[1]}.alert.avsc")
    for record in lsst_records(sky, version):
        assert schema.validate(record)
        assert schema.deserialize(packets_lsst.frame(record, version)[5:])["diaSourceId"] == record["diaSourceId"]


def lsst_records(sky: StreamSettings, version: tuple[int, int]) -> Iterator[dict[str, Any]]:
    for number in range(4):
        for alert in alerts_of_object(sky, number)[:2]:
            record = read_lsst(alert.packet)
            if version == packets_lsst.DEFAULT_VERSION:
                yield record
            else:  # the same numbers under another version of the schema
                yield {
                    **record,
                    "diaSource": renewed(record["diaSource"], "diaSource", version),
                    **nothing_else(record),
                }


def nothing_else(record: dict[str, Any]) -> dict[str, Any]:
    return dict.fromkeys(("prvDiaSources", "prvDiaForcedSources", "diaObject", "ssSource", "mpc_orbits"))


def renewed(record: dict[str, Any], name: str, version: tuple[int, int]) -> dict[str, Any]:
    empty = packets_lsst._empty(name, version)
    return empty | {key: value for key, value in record.items() if key in empty and value is not None}


def test_lsst_packets_say_what_was_simulated(lsst_night: Night) -> None:
    """Identity, time, flux and band follow from the simulated object; asteroids have an orbit and no object."""
    for packet, truth in lsst_night:
        record = read_lsst(packet)
        source = record["diaSource"]
        assert record["diaSourceId"] == source["diaSourceId"] == truth["alert_id"]
        assert source["psfFlux"] == pytest.approx(truth["flux_njy"], rel=1e-6)
        assert source["midpointMjdTai"] == truth["time_mjd"] and source["band"] == truth["band"]
        if truth["label"] == "Asteroid":
            assert record["diaObject"] is None and record["ssSource"] is not None
        else:
            assert record["diaObject"]["diaObjectId"] == source["diaObjectId"] == int(truth["object_id"])
            assert record["ssSource"] is None
        for previous in record["prvDiaSources"] or []:
            assert previous["midpointMjdTai"] < source["midpointMjdTai"]


def test_lsst_stamps_are_three_units_in_njy(lsst_night: Night) -> None:
    """Each cutout has pixels, variance and PSF; it reads as the survey writes it and its flux is the packet's."""
    pulls = []
    for packet, truth in lsst_night[:60]:
        record = read_lsst(packet)
        with fits.open(io.BytesIO(record["cutoutDifference"])) as units:
            assert [unit.name for unit in units] == ["PRIMARY", "UNCERT", "PSFIMAGE"]
            assert units[0].header["BUNIT"] == "nJy" and units[1].header["UTYPE"] == "VarianceUncertainty"
            image, variance = units[0].data.astype(float), units[1].data.astype(float)
            psf = units[2].data.astype(float)
            position = (int(units[0].header["CRPIX1"]), int(units[0].header["CRPIX2"]))
        assert image.shape == variance.shape and min(image.shape) >= 30 and psf.shape == (41, 41)
        assert psf.sum() == pytest.approx(1)
        if truth["label"] == "Bogus" or not np.isfinite(image).all():
            continue
        x, y = (p - 1 for p in position)
        half = min(x, y, image.shape[1] - 1 - x, image.shape[0] - 1 - y)
        cut = image[y - half : y + half + 1, x - half : x + half + 1]
        weight = psf[20 - half : 21 + half, 20 - half : 21 + half]
        fitted = (cut * weight).sum() / (weight**2).sum()
        pulls.append((fitted - truth["flux_njy"]) / abs(truth["flux_njy"]))
    assert len(pulls) > 20 and abs(np.median(pulls)) < 0.15


def test_lsst_stamps_read_as_survey_images(lsst_night: Night) -> None:
    """astropy's CCDData, which the survey uses, reads pixels, unit, variance and PSF."""
    from astropy.nddata import CCDData

    record = read_lsst(lsst_night[0][0])
    image = CCDData.read(io.BytesIO(record["cutoutScience"]), key_uncertainty_type="UTYPE")
    assert str(image.unit) == "nJy" and image.uncertainty.uncertainty_type == "var"
    assert image.wcs is not None


def test_lsst_fills_what_real_packets_fill(shared_data: Path, lsst_night: Night) -> None:
    """A field of a source that is never null in real packets is never null in ours."""
    real = [read_lsst(path.read_bytes()) for path in sorted((shared_data / "alerts/lsst/v10_0_wire").glob("*.avro"))]
    ours = [read_lsst(packet) for packet, _ in lsst_night]
    always = {name for name in real[0]["diaSource"] if all(r["diaSource"][name] is not None for r in real)}
    missing = {name for name in always for r in ours if r["diaSource"][name] is None}
    assert not missing


def test_a_stream_of_nothing_is_refused() -> None:
    """A survey without alerts, or no objects, is an error."""
    with pytest.raises(ValueError, match="sends no alerts"):
        next(write_night("sdss", 1))
    with pytest.raises(ValueError, match="at least 1"):
        next(write_night("ztf", 0))


def test_stamps_compress_like_real_ones(ztf_night: Night) -> None:
    """A stamp of noise takes most of its 16 kB even when compressed."""
    record = read_container(ztf_night[0][0])
    raw = gzip.decompress(record["cutoutDifference"]["stampData"])
    assert len(zlib.compress(raw)) > 0.5 * 63 * 63 * 4
