"""What ``ictc-inspect`` shows."""

import csv
import hashlib
import json
import sys

import numpy as np
import pytest
from full_disk import ended_without_output
from matplotlib.image import imread
from packets import LSST_SIDE, lsst_packet, lsst_schema, sky, ztf_packet, ztf_stamp

from broker_filter.alerts.alert import read_alert, read_datums
from broker_filter.alerts.packet_epochs import DETECTION, FORCED, LIMIT, Point, light_curve
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.archive.inspect import main
from broker_filter.records import Message, Origin

FIELDS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")


def lines(capsysbinary, *arguments) -> list[dict]:
    main([*map(str, arguments), "--json"])
    return [json.loads(line) for line in capsysbinary.readouterr().out.splitlines()]


def test_json(tmp_path, capsysbinary):
    """A JSON line names file, survey, schema, ids, time and band, and sums up the pixels of each stamp as published."""
    pixels = sky(1, 63)
    pixels[5, 5] = np.nan
    stamps = {"cutoutScience": ztf_stamp(pixels), "cutoutTemplate": None, "cutoutDifference": b"\xff\xd8\xff\xe0"}
    path = tmp_path / "one.avro"
    path.write_bytes(ztf_packet(object_id="ZTF20abc", candid=12, fid=2, stamps=stamps))
    (line,) = lines(capsysbinary, path)
    assert (
        line.items()
        >= {
            "file": str(path),
            "survey": "ztf",
            "schema": "4.02",
            "objectId": "ZTF20abc",
            "alertId": 12,
            "band": "r",
        }.items()
    )
    assert line["mjd"] == pytest.approx(59_433.37 + 37 / 86_400, abs=1e-6)
    assert line["stamps"]["science"] == {
        "shape": [63, 63],
        "nan": 1,
        "sum": pytest.approx(float(np.nansum(pixels, dtype=float))),
        "sha256": hashlib.sha256(pixels.astype("<f4").tobytes()).hexdigest(),
    }
    assert line["stamps"]["template"] is None
    assert line["stamps"]["difference"]["reason"] == "unsupported_stamp"


def test_rejections_are_shown(tmp_path, capsysbinary):
    """What is no alert is shown with its reason, and the exit status says that there was some."""
    (tmp_path / "text.avro").write_bytes(b"version https://git-lfs")
    assert main([str(tmp_path), "--json"]) == 1
    line = json.loads(capsysbinary.readouterr().out)
    assert (line["status"], line["reason"]) == ("rejected", "not_avro")
    assert main([str(tmp_path)]) == 1
    assert b"not_avro" in capsysbinary.readouterr().out


def test_for_a_person(tmp_path, capsys):
    """Without --json a person reads the object, the alert and a table of its stamps."""
    (tmp_path / "one.avro").write_bytes(lsst_packet())
    assert main([str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "313963405132693599" in shown
    assert f"{LSST_SIDE} x {LSST_SIDE}" in shown


def test_bare_datums(tmp_path, capsysbinary):
    """Bare datums are read by the schema that is named, or by schema.json beside them."""
    (tmp_path / "one.avro").write_bytes(lsst_packet()[5:])
    (line,) = lines(capsysbinary, tmp_path / "one.avro")
    assert line["reason"] == "not_avro"
    (tmp_path / "named.avsc").write_text(json.dumps(lsst_schema()))
    (line,) = lines(capsysbinary, tmp_path / "one.avro", "--schema", tmp_path / "named.avsc")
    assert line["survey"] == "lsst"
    (tmp_path / "named.avsc").rename(tmp_path / "schema.json")
    (line,) = lines(capsysbinary, tmp_path / "one.avro")
    assert line["survey"] == "lsst"


@pytest.mark.parametrize("packet", [ztf_packet(), lsst_packet(history=4), ztf_packet(stamps=dict.fromkeys(FIELDS))])
def test_png(tmp_path, packet, capsys):
    """A picture of stamps and light curve is drawn, also of an alert without stamps."""
    (tmp_path / "one.avro").write_bytes(packet)
    assert main([str(tmp_path / "one.avro"), "--png", str(tmp_path / "picture.png")]) == 0
    picture = imread(tmp_path / "picture.png")
    assert picture.shape[:2] == (1110, 1440)
    assert picture[..., :3].std() > 0.05


@pytest.mark.slow
def test_a_picture_for_each_alert(tmp_path, capsys):
    """With many alerts the first takes the name that was given, the others add their id to it."""
    for n in (1, 2):
        (tmp_path / f"{n}.avro").write_bytes(ztf_packet(candid=n))
    main([str(tmp_path), "--png", str(tmp_path / "p.png")])
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["p-2.png", "p.png"]


def test_limit(tmp_path, capsysbinary):
    """--limit ends after so many records."""
    for n in range(4):
        (tmp_path / f"{n}.avro").write_bytes(ztf_packet(candid=n))
    assert [line["alertId"] for line in lines(capsysbinary, tmp_path, "--limit", 2)] == [0, 1]


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("--json",)], ids=["text", "json"])
def test_output_that_cannot_be_written(tmp_path, words):
    """A full disk is one line and status 1; of a reader that has seen enough nothing is said."""
    path = tmp_path / "one.avro"
    path.write_bytes(ztf_packet())
    ended = ended_without_output([sys.executable, "-m", "ictc.command", "inspect", str(path), *words])
    assert [one.returncode for one in ended] == [1, 0]
    assert ended[0].stderr == "ictc-inspect: [Errno 28] No space left on device\n"
    assert ended[1].stderr == ""


def test_closed_output(tmp_path, capsys, monkeypatch):
    """A process that was started without standard output says so."""
    path = tmp_path / "one.avro"
    path.write_bytes(ztf_packet())
    monkeypatch.setattr(sys, "stdout", None)
    assert main([str(path), "--json"]) == 2
    assert capsys.readouterr().err.startswith("ictc-inspect: standard output is closed")


def test_missing_path(tmp_path, capsys):
    """A path that does not exist is said on standard error, with status 2."""
    assert main([str(tmp_path / "nothing.avro")]) == 2
    assert "nothing.avro" in capsys.readouterr().err


def test_nothing_to_inspect(tmp_path, capsys):
    """A folder without alerts is said on standard error, with status 1."""
    (tmp_path / "notes.txt").write_text("no alert")
    assert main([str(tmp_path)]) == 1
    assert f"nothing that looks like alerts below {tmp_path}" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "message"), [("no/p.png", "make it first"), ("p.docx", "does not end in .png")])
def test_a_picture_that_cannot_be_drawn(tmp_path, capsys, name, message):
    """A missing folder or another kind of picture is refused before anything is read."""
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path), "--png", str(tmp_path / name)])
    assert message in capsys.readouterr().err


def points_of(value: bytes, schemas: Schemas | None = None) -> list[Point]:
    ((packet, datum),) = read_datums(Message(value, Origin("made")), schemas or Schemas())
    return light_curve(packet, datum, read_alert(packet, datum))


def test_ztf_light_curve():
    """ZTF's history holds signed detections and 5-sigma limits, in time order with the alert last."""
    packet = ztf_packet(previous=4, magpsf=18.0, isdiffpos="f")
    points = points_of(packet)
    assert [point.kind for point in points] == [LIMIT, DETECTION, LIMIT, DETECTION, DETECTION]
    assert points[-1].flux_njy == pytest.approx(-(10 ** ((31.4 - 18.0) / 2.5)), rel=1e-5)
    assert 5 * points[2].flux_error_njy == pytest.approx(10 ** ((31.4 - 20.2) / 2.5), rel=1e-5)
    assert [point.time_mjd for point in points] == sorted(point.time_mjd for point in points)


def test_lsst_light_curve():
    """LSST's history holds detections and forced photometry in nJy."""
    points = points_of(lsst_packet(history=3))
    assert [point.kind for point in points].count(FORCED) == 3
    assert [point.kind for point in points].count(DETECTION) == 4
    assert max(point.flux_njy for point in points) == 3900.0


@pytest.mark.slow
def test_real_alerts(survey_alerts, capsysbinary):
    """All 928 files of expected_pixels.csv are reproduced: shape, NaN count, sum and SHA-256 of every stamp."""
    with (survey_alerts.alerts / "expected_pixels.csv").open() as rows:
        expected = {str(survey_alerts.folder / row["file"]): row for row in csv.DictReader(rows)}
    folders = [survey_alerts.alerts / survey for survey in ("ztf", "lsst")]
    seen = {line["file"]: line for line in lines(capsysbinary, *folders)}
    assert seen.keys() == expected.keys()
    for file, row in expected.items():
        for kind, stamp in seen[file]["stamps"].items():
            prefix = kind[:3]
            assert "x".join(map(str, stamp["shape"])) == row[f"{prefix}_shape"]
            assert stamp["nan"] == int(row[f"{prefix}_nan"])
            assert stamp["sum"] == pytest.approx(float(row[f"{prefix}_sum"]), rel=1e-9, abs=1e-3)
            assert stamp["sha256"].startswith(row[f"{prefix}_sha"])


def test_real_light_curves(survey_alerts):
    """The light curves of real packets have as many epochs of the past as the manifest counts."""
    schemas = Schemas()
    with (survey_alerts.alerts / "manifest_ztf.csv").open() as rows:
        for row in list(csv.DictReader(rows))[:: 20 if survey_alerts.real else 1]:
            points = points_of((survey_alerts.folder / row["file"]).read_bytes(), schemas)
            detections = [point for point in points if point.kind == DETECTION]
            assert len(detections) == 1 + int(float(row["n_prv_det"] or 0))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["ZTF$x_{\\frac{1}{0}}$", "ZTF$\\input{/etc/passwd}$", "ZTF\a\x1b[2J\n", "ZTF" + "w" * 3_000]
)
def test_names_that_are_formulas_are_drawn_as_text(tmp_path, capfd, name):
    """An object's id is drawn as it stands, and no character of it reaches the terminal unseen."""
    (tmp_path / "0.avro").write_bytes(ztf_packet(object_id=name))
    assert main([str(tmp_path), "--png", str(tmp_path / "p.png")]) == 0
    written = "".join(capfd.readouterr())
    assert "\a" not in written
    assert "\x1b" not in written
