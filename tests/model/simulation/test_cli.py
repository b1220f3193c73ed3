"""The command line: what a user types gives what a user expects, or one line that says why not."""

import json
import socket
import struct
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from model.dataset import Dataset
from model.simulation import publish as publishing
from model.simulation.cli import main
from model.simulation.publish import Pace, PublishError, paced, publish
from model.simulation.recipes import CLASSES, load_recipe


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)


def write_recipe(path: Path) -> Path:
    """A recipe of eight objects."""
    table = dict(load_recipe("smoke").source) | {
        "groups": [{"split": "all", "labels": "spectroscopic", "counts": dict.fromkeys(CLASSES, 2)}]
    }
    path.write_text(json.dumps(table))
    return path


def ask(text: str) -> int:
    return main(text.split())


def test_a_data_set_is_made_without_network(
    tmp_path: Path, no_network: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """``dataset`` writes a whole data set of any recipe, says what is in it, and opens no socket."""
    recipe = write_recipe(tmp_path / "recipe.json")
    assert ask(f"dataset --survey ztf --recipe {recipe} --seed 1 --size 9 --workers 1 --out {tmp_path}/set") == 0
    dataset = Dataset.open(tmp_path / "set")
    dataset.verify()
    assert dataset.size_px == 9 and f"{len(dataset)} objects" in capsys.readouterr().out


def test_another_data_set_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that holds something is left alone."""
    (tmp_path / "set").mkdir()
    (tmp_path / "set/mine.txt").write_text("precious")
    assert ask(f"dataset --survey sdss --recipe smoke --seed 1 --out {tmp_path}/set") == 1
    assert "choose another folder" in capsys.readouterr().err
    assert (tmp_path / "set/mine.txt").read_text() == "precious"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("dataset --survey sdss --recipe feast --seed 1", "one of convention"),
        ("dataset --survey sdss --recipe smoke --seed -1", "whole number"),
        ("dataset --survey des --recipe smoke --seed 1", "invalid choice"),
        ("alerts --survey ztf --objects 0", "whole number from 1"),
        ("alerts --survey ztf --rate 5 --burst 5", "not allowed with"),
        ("alerts --survey ztf --rate 0 --publish t", "above 0"),
    ],
)
def test_misuse_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, message: str) -> None:
    """A wrong argument ends with status 2 and a line that says what is allowed."""
    with pytest.raises(SystemExit, match="2"):
        raise SystemExit(ask(f"{words} --out {tmp_path}/set"))
    assert message in capsys.readouterr().err


def test_alerts_need_somewhere_to_go(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a folder or a topic nothing is made."""
    assert ask("alerts --survey ztf") == 2
    assert "--out DIR, --publish TOPIC" in capsys.readouterr().err


@pytest.mark.parametrize("survey", ["ztf", "lsst"])
def test_alerts_become_an_archive(tmp_path: Path, survey: str) -> None:
    """``alerts`` writes one file per alert in folders of nights, and the truth keyed by alert id."""
    assert ask(f"alerts --survey {survey} --objects 6 --nights 3 --workers 1 --out {tmp_path}/night") == 0
    truth = pq.read_table(tmp_path / "night/truth.parquet").to_pylist()
    files = {int(path.stem): path for path in (tmp_path / "night").glob("*/*.avro")}
    assert files.keys() == {row["alert_id"] for row in truth} and len(files) >= 6
    assert 1 <= len({path.parent.name for path in files.values()}) <= 4
    start = next(iter(files.values())).read_bytes()[:5]
    assert start[:3] == b"Obj" if survey == "ztf" else struct.unpack(">bI", start) == (0, 1000)
    assert ask(f"alerts --survey {survey} --objects 6 --nights 3 --out {tmp_path}/night") == 1


def test_an_interrupted_night_is_made_again(tmp_path: Path) -> None:
    """The remains of an interrupted run are replaced; something else's folder is refused."""
    partial = tmp_path / "night.partial"
    partial.mkdir()
    (partial / "notes.txt").write_text("mine")
    assert ask(f"alerts --survey ztf --objects 2 --workers 1 --out {tmp_path}/night") == 1
    (partial / "alerts.json").write_text("{}")
    assert ask(f"alerts --survey ztf --objects 2 --workers 1 --out {tmp_path}/night") == 0
    assert not partial.exists()


def test_an_object_is_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``look`` draws an object of a data set and says when there is none."""
    recipe = write_recipe(tmp_path / "recipe.json")
    ask(f"dataset --survey sdss --recipe {recipe} --seed 1 --size 9 --workers 1 --out {tmp_path}/set")
    assert ask(f"look {tmp_path}/set --object 3 --png {tmp_path}/a.png") == 0
    assert (tmp_path / "a.png").stat().st_size > 10_000
    assert ask(f"look {tmp_path}/set --object 999 --png {tmp_path}/b.png") == 2
    assert ask(f"look {tmp_path}/none --png {tmp_path}/b.png") == 1
    assert "no data set" in capsys.readouterr().err


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_bursts_come_every_exposure() -> None:
    """Alerts of a burst leave at once; the next burst leaves 37 to 39 seconds later."""
    clock = Clock()
    packets = [(bytes([n]), {"time_mjd": 60_000.0}) for n in range(10)]
    times = [clock() for _ in paced(packets, Pace(burst=4), clock, clock.sleep)]
    assert times[0] == times[3] == 100.0 and times[4] == times[7]
    assert all(37 <= later - earlier <= 39 for earlier, later in ((times[0], times[4]), (times[4], times[8])))


def test_a_rate_is_kept() -> None:
    """At ten alerts a second the eleventh leaves after one second."""
    clock = Clock()
    packets = [(b"", {"time_mjd": 60_000.0}) for _ in range(11)]
    times = [clock() for _ in paced(packets, Pace(rate_hz=10), clock, clock.sleep)]
    assert times[10] - times[0] == pytest.approx(1.0)


def test_alerts_are_sent_to_kafka() -> None:
    """Every packet arrives in the topic, without a key, with the time of its exposure."""
    from confluent_kafka import Consumer, Producer

    mock = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "ignored"})
    brokers = ",".join(f"{b.host}:{b.port}" for b in mock.list_topics(timeout=10).brokers.values())
    packets = [(bytes([n]) * 10, {"time_mjd": 60_000.0 + n}) for n in range(5)]
    assert publish(packets, "night", brokers, Pace()) == 5
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "g", "auto.offset.reset": "earliest"})
    consumer.subscribe(["night"])
    received: list = []
    for _ in range(200):
        message = consumer.poll(0.1)
        if message is not None and message.error() is None:
            received.append(message)
        if len(received) == 5:
            break
    consumer.close()
    assert sorted(message.value() for message in received) == [packet for packet, _ in packets]
    assert {message.key() for message in received} == {None}
    assert min(message.timestamp()[1] for message in received) == (60_000 - 40_587) * 86_400_000 - 37_000  # UTC


def test_an_absent_kafka_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alerts that nobody took are an error that counts them."""
    monkeypatch.setattr(publishing, "FLUSH_TIMEOUT_S", 0.2)
    with pytest.raises(PublishError, match="1 alerts were not delivered"):
        publish([(b"x", {"time_mjd": 60_000.0})], "night", "127.0.0.1:1", Pace())
