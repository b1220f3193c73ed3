"""The collected cases that the program once got wrong, as files; each kind has tests of its own that need none."""

import time
from pathlib import Path

import numpy as np
import orjson
import pytest

from broker_filter.alerts.alert import read_alerts
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.alerts.stamp import decode
from broker_filter.alerts.survey import ZTF
from broker_filter.archive.inspect import main as inspect
from broker_filter.archive.left_out import LeftOutCounts
from broker_filter.archive.read import read_messages
from broker_filter.archive.replay import main as replay
from broker_filter.records import Alert, Message

pytestmark = pytest.mark.usefixtures("networks_once")


@pytest.fixture
def cases(shared_data: Path) -> Path:
    """The folder of cases beside the real data."""
    folder = shared_data.parent / "cases"
    if not folder.is_dir():
        pytest.skip(f"no collected cases at {folder}")
    return folder


def outcomes(path: Path) -> tuple[list[Alert], list[str], dict[str, int]]:
    """Alerts, reasons of rejections and what was left out of a path."""
    left_out, alerts, reasons = LeftOutCounts(), [], []
    for item in read_messages([path], left_out):
        for result in read_alerts(item, Schemas()) if isinstance(item, Message) else [item]:
            if isinstance(result, Alert):
                alerts.append(result)
            else:
                reasons.append(str(result.reason))
    return alerts, reasons, left_out.by_reason


@pytest.mark.parametrize(
    ("name", "alerts", "reasons", "left_out"),
    [
        ("bomb_100000.avro", 0, ["too_large"], {}),
        ("archives/slow_1.tar", 0, ["corrupt"], {"other_name": 1}),
        ("archives/crash_1_ValueError.tar", 0, ["corrupt"], {}),
        ("archives/gz_members.tar", 3, [], {}),
        ("archives/links.tar", 3, [], {}),
        ("archives/upper.tar", 3, [], {}),
        ("archives/empty.tgz", 0, [], {"empty_archive": 1}),
        ("codecs/codec_snappy.avro", 2, [], {}),
        ("codecs/codec_zstandard.avro", 2, [], {}),
        ("markup_object_id.avro", 1, [], {}),
        ("poison_fits.avro", 1, [], {}),
    ],
)
def test_archives_and_containers(
    cases: Path, name: str, alerts: int, reasons: list[str], left_out: dict[str, int]
) -> None:
    """What is sound is read, the rest is rejected or counted, in a moment."""
    begun_s = time.process_time()
    read, rejected, counts = outcomes(cases / name)
    assert (len(read), rejected, counts) == (alerts, reasons, left_out)
    assert time.process_time() - begun_s < 10


@pytest.mark.parametrize(
    ("name", "shift"),
    [("bzero_only", 1000.0), ("bscale_one", 0.0), ("comment_bscale", 0.0), ("image_ext", 0.0), ("naxis3", 0.0)],
)
def test_stamps(cases: Path, name: str, shift: float) -> None:
    """Each stamp has the pixels of the plain one, scaled as its header says."""
    plain, odd = (outcomes(cases / "stamps" / f"{file}.avro")[0][0] for file in ("plain", name))
    expected = decode(plain.stamps["science"] or b"", ZTF) + np.float32(shift)
    np.testing.assert_array_equal(decode(odd.stamps["science"] or b"", ZTF), expected)


def test_one_poisoned_alert(cases: Path, tmp_path: Path) -> None:
    """A replay goes on after it, with a rejection and a summary."""
    summary = tmp_path / "summary.json"
    paths = [str(cases / "poison_fits.avro"), str(cases / "stamps/plain.avro")]
    assert replay([*paths, "--allow-untrained", "--output", str(tmp_path / "o"), "--summary", str(summary)]) == 0
    accounts = orjson.loads(summary.read_bytes())
    assert (accounts["classified"], accounts["rejected"]) == (1, {"bad_stamp": 1})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "status"), [("archives/empty.tgz", 1), ("bomb_100000.avro", 1), ("codecs/codec_snappy.avro", 0)]
)
def test_exit_statuses(cases: Path, tmp_path: Path, name: str, status: int) -> None:
    """Nothing that could be read is status 1, with a line, for replay and inspect alike."""
    assert replay([str(cases / name), "--allow-untrained", "--output", str(tmp_path / "o")]) == status
    assert inspect([str(cases / name)]) == status


def test_markup(cases: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An object id is shown as it is."""
    assert inspect([str(cases / "markup_object_id.avro")]) == 0
    assert "ZTF[/]x" in capsys.readouterr().out
