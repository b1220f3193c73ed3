"""An object's packets become what a network reads of them, by the words that the documentation shows."""

import inspect
import re
import textwrap
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import orjson
import packets
import pytest

from broker_filter.archive import replay
from broker_filter.errors import NotClassifiedError, RejectedAlertError
from broker_filter.packets import series_of
from model.serving.predictor import Predictor
from model.simulation.alerts.night import write_night

pytestmark = pytest.mark.usefixtures("networks_once")
RHU = "ZTF21abiuvdk"  # SN 2021rhu


@pytest.fixture(scope="module")
def simulated() -> list[bytes]:
    """All packets of the object of a short stream that has most."""
    by_object: dict[str, list[bytes]] = defaultdict(list)
    for packet, truth in write_night("ztf", 4, 15, seed=5):
        if truth["label"] != "Asteroid":
            by_object[truth["object_id"]].append(packet)
    return max(by_object.values(), key=len)


@pytest.fixture(scope="module")
def vigil() -> Predictor:
    return Predictor.load("ztf")


def last_line(folder: Path, tmp_path: Path) -> dict[str, float]:
    """What the program says of the last alert of a folder, as its users get it."""
    output = tmp_path / "lines.jsonl"
    assert replay.main([str(folder), "--output", str(output), "--summary", str(tmp_path / "summary.json")]) == 0
    probabilities: dict[str, float] = orjson.loads(output.read_bytes().splitlines()[-1])["probabilities"]
    return probabilities


def alerts_folder(folder: Path, contents: Sequence[bytes]) -> Path:
    folder.mkdir()
    for number, packet in enumerate(contents):
        (folder / f"{(7 * number) % len(contents):03d}{number:03d}.avro").write_bytes(packet)
    return folder


def run_example() -> dict[str, float]:
    """Run the example of ``series_of`` to the letter, and read what it prints."""
    (example,) = re.findall(r"Example::\n\n((?: {4}.*\n|\n)+)", inspect.getdoc(series_of) or "")
    scope: dict[str, object] = {}
    exec(textwrap.dedent(example), scope)  # the documentation's own words
    prediction, vigil = scope["prediction"], scope["vigil"]
    return dict(zip(vigil.card.classes, prediction.probabilities[0].tolist(), strict=True))  # type: ignore[attr-defined]


@pytest.mark.slow
def test_the_example_runs_and_says_what_the_program_says(
    simulated: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The documented lines, run on simulated packets, print the probabilities that a replay of them publishes."""
    assert len(simulated) > 3
    folder = alerts_folder(tmp_path / "alerts", simulated)
    monkeypatch.chdir(tmp_path)
    answer = run_example()
    assert re.fullmatch(r"(\w+ +[01]\.\d\d\n){4}", capsys.readouterr().out)
    assert answer == pytest.approx(last_line(folder, tmp_path), abs=1e-5)


def test_the_example_runs_on_real_packets(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same lines on the 34 real alerts of SN 2021rhu."""
    files = [path for path in (shared_data / "alerts" / "ztf").rglob("*.avro") if RHU.encode() in path.read_bytes()]
    assert len(files) == 34
    folder = alerts_folder(tmp_path / "alerts", [path.read_bytes() for path in files])
    monkeypatch.chdir(tmp_path)
    assert run_example() == pytest.approx(last_line(folder, tmp_path), abs=1e-5)


def test_order_and_repetition_do_not_matter(simulated: list[bytes], vigil: Predictor) -> None:
    """The same alerts in another order, some of them twice, give the same frames and the same past."""
    series, history = series_of(simulated, vigil)
    again, past = series_of([*simulated[::-1], simulated[0]], vigil)
    assert np.array_equal(series.time_T, again.time_T)
    assert np.array_equal(series.pixels_TCHW, again.pixels_TCHW, equal_nan=True)
    assert np.array_equal(history.flux_P, past.flux_P)
    assert (np.diff(series.time_T) >= 0).all()
    assert len(history) > 0


def test_the_newest_frames_stay() -> None:
    """Of more alerts than a network reads, whole groups leave at the old end, as in the stream."""
    short = Predictor.untrained("ztf", "convention", frame_limit=3, width=0.05)
    alerts = [packets.ztf_packet(candid=n, jd=2_459_433.5 + n, stamps=packets.ztf_stamps(n)) for n in range(1, 6)]
    series, history = series_of(alerts, short)
    assert (series.time_T - series.time_T[0]).tolist() == pytest.approx([0, 1])
    assert len(history) == 0


def test_what_the_stream_leaves_out_is_left_out_and_told(vigil: Predictor, caplog: pytest.LogCaptureFixture) -> None:
    """An alert without stamps is no frame; when it is the only one, its reason is the error."""
    none = packets.ztf_packet(candid=1, jd=2_459_433.5, stamps=dict.fromkeys(packets.ztf_stamps(1)))
    whole = packets.ztf_packet(candid=2, jd=2_459_434.5, stamps=packets.ztf_stamps(2))
    series, _ = series_of([none, whole], vigil)
    assert len(series) == 1
    assert "alert 1 is left out (no_stamps)" in caplog.text
    with pytest.raises(NotClassifiedError, match="no_stamps"):
        series_of([none], vigil)


def test_what_is_no_series_is_refused(vigil: Predictor) -> None:
    """Broken packets, those of another survey, of several objects, and none at all are errors that say which."""
    whole = packets.ztf_packet(object_id="ZTF21aaaaaaa", stamps=packets.ztf_stamps(1))
    other = packets.ztf_packet(object_id="ZTF21aaaaaab", candid=9, stamps=packets.ztf_stamps(1))
    for wrong, words in ((b"Obj\x01 and no more", "packet 1"), (packets.lsst_packet(), "foreign_survey")):
        with pytest.raises(RejectedAlertError, match=words):
            series_of([whole, wrong], vigil)
    with pytest.raises(ValueError, match="2 objects"):
        series_of([whole, other], vigil)
    with pytest.raises(ValueError, match="0 objects"):
        series_of([], vigil)
