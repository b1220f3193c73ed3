"""The command line: what a user types gives what a user expects, or one line that says why not."""

import json
import socket
import struct
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from busy_producer import BusyProducer

from model.data.dataset import Dataset, DatasetContents, DatasetWriter
from model.series import Series
from model.simulation.alerts import publish as publishing
from model.simulation.alerts.publish import PublishError, SurveyPace, paced, publish
from model.simulation.cli import main
from model.simulation.datasets import draw as datasets
from model.simulation.datasets.plan import CLASSES, load_recipe
from model.simulation.sky import population


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
        ("alerts --survey ztf --rate nan --publish t", "above 0"),
        ("validate --html nowhere/a.html", "make it first"),
        ("alerts --survey ztf --start nan", "no MJD from 40587"),
        ("alerts --survey ztf --start 1e18", "no MJD from 40587"),
        ("alerts --survey ztf --start=-5", "no MJD from 40587"),
        ("alerts --survey ztf --templates nowhere", "no templates folder nowhere"),
        ("alerts --survey ztf --taxonomy nowhere.json", "cannot be read"),
        ("dataset --survey sdss --recipe smoke --seed 1 --templates nowhere", "no templates folder nowhere"),
        ("dataset --survey sdss --recipe smoke --seed 1 --size 1000", "from 7 to 256"),
        ("dataset --survey sdss --recipe smoke --seed 1 --only 500", "has 200 objects"),
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
    assert ask(f"look {tmp_path}/none --png {tmp_path}/b.png") == 2
    assert "no data set" in capsys.readouterr().err
    for name, message in (("nowhere/b.png", "make it first"), ("b.docx", "does not end in .png"), ("", "is a folder")):
        with pytest.raises(SystemExit, match="2"):
            ask(f"look {tmp_path}/set --png {tmp_path}/{name}")
        assert message in capsys.readouterr().err
    shard = tmp_path / "set/series-00000.arrow"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    assert ask(f"look {tmp_path}/set --png {tmp_path}/b.png") == 1
    assert "is damaged" in capsys.readouterr().err


def test_one_object_is_remade_alone(tmp_path: Path) -> None:
    """``dataset --only`` gives an object the bytes that it has in the whole data set."""
    recipe = write_recipe(tmp_path / "recipe.json")
    arguments = f"dataset --survey ztf --recipe {recipe} --seed 1 --size 9 --workers 1"
    assert ask(f"{arguments} --out {tmp_path}/set") == 0
    assert ask(f"{arguments} --only 3 --out {tmp_path}/one") == 0
    whole, one = Dataset.open(tmp_path / "set"), Dataset.open(tmp_path / "one")
    assert one.object_ids.tolist() == [3] and one.manifest["simulator"] == whole.manifest["simulator"]
    assert one.series(0).pixels_TCHW.tobytes() == whole.series(3).pixels_TCHW.tobytes()
    assert one.history(0).time_P.tobytes() == whole.history(3).time_P.tobytes()


def test_a_taxonomy_of_ones_own_chooses_classes_and_codes(tmp_path: Path) -> None:
    """Data sets and alerts hold the classes of the file that was given, the truth its codes."""
    own = {"version": "own", "not_classified": 1, "classes": {"TDE": {"elasticc": 42}, "AGN": {"elasticc": 43}}}
    (tmp_path / "own.json").write_text(json.dumps(own))
    table = dict(load_recipe("smoke").source)
    table["groups"] = [{"split": "all", "labels": "spectroscopic", "counts": {"TDE": 1, "AGN": 1}}]
    (tmp_path / "recipe.json").write_text(json.dumps(table))
    arguments = f"--seed 1 --workers 1 --taxonomy {tmp_path}/own.json"
    assert ask(f"dataset --survey sdss --recipe {tmp_path}/recipe.json --size 9 {arguments} --out {tmp_path}/set") == 0
    dataset = Dataset.open(tmp_path / "set")
    assert dataset.classes == ("TDE", "AGN") and set(dataset.truth()["elasticc_code"].to_pylist()) == {42, 43}
    assert ask(f"alerts --survey ztf --objects 5 {arguments} --out {tmp_path}/night") == 0
    codes = {
        (row["label"], row["elasticc_code"]) for row in pq.read_table(tmp_path / "night/truth.parquet").to_pylist()
    }
    assert codes <= {("TDE", 42), ("AGN", 43), ("Asteroid", 1), ("Bogus", 1)}


def test_damaged_alerts_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder whose list of alerts is broken is neither published nor taken for another's."""
    (tmp_path / "night").mkdir()
    for content, message in ((b"{", "is damaged"), (b"[]", "is damaged"), (b"\xff", "is damaged")):
        (tmp_path / "night/alerts.json").write_bytes(content)
        assert ask(f"alerts --survey ztf --publish t --brokers 127.0.0.1:1 --out {tmp_path}/night") == 1
        assert message in capsys.readouterr().err
    (tmp_path / "night/alerts.json").write_text("{}")
    assert ask(f"alerts --survey ztf --out {tmp_path}/night") == 1
    assert "alerts of another survey, nights" in capsys.readouterr().err


def test_an_object_that_no_survey_sees_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be drawn ends with one line that says what to change."""
    monkeypatch.setattr(population, "SUBSTITUTES", 0)
    recipe = write_recipe(tmp_path / "recipe.json")
    assert ask(f"dataset --survey ztf --recipe {recipe} --seed 1 --out {tmp_path}/set") == 1
    assert "ask for more bands" in capsys.readouterr().err


def test_an_interrupt_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C ends with status 130 and says how to go on; what was begun is kept."""

    def interrupted(*args: object, **settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets, "draw", interrupted)
    arguments = f"dataset --survey ztf --recipe {write_recipe(tmp_path / 'a.json')} --seed 1 --workers 1"
    assert ask(f"{arguments} --out {tmp_path}/set") == 130
    assert capsys.readouterr().err == "ictc-simulate: interrupted; the same command goes on from here\n"
    assert (tmp_path / "set.partial").is_dir() and not (tmp_path / "set").exists()


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
    times = [clock() for _ in paced(packets, SurveyPace(burst=4), clock, clock.sleep)]
    assert times[0] == times[3] == 100.0 and times[4] == times[7]
    assert all(37 <= later - earlier <= 39 for earlier, later in ((times[0], times[4]), (times[4], times[8])))


def test_a_rate_is_kept() -> None:
    """At ten alerts a second the eleventh leaves after one second."""
    clock = Clock()
    packets = [(b"", {"time_mjd": 60_000.0}) for _ in range(11)]
    times = [clock() for _ in paced(packets, SurveyPace(rate_hz=10), clock, clock.sleep)]
    assert times[10] - times[0] == pytest.approx(1.0)


def test_alerts_are_sent_to_kafka() -> None:
    """Every packet arrives in the topic, without a key, with the time of its exposure."""
    from confluent_kafka import Consumer, Producer

    mock = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "ignored"})
    brokers = ",".join(f"{b.host}:{b.port}" for b in mock.list_topics(timeout=10).brokers.values())
    packets = [(bytes([n]) * 10, {"time_mjd": 60_000.0 + n}) for n in range(5)]
    assert publish(packets, "night", brokers, SurveyPace()) == 5
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


def test_an_absent_kafka_is_told(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Without a broker nothing is made, and one line names the topic and the brokers."""
    monkeypatch.setattr(publishing, "FIRST_ANSWER_S", 0.5)
    made: list[int] = []
    packets = ((b"x", {"time_mjd": float(made.append(1) or 60_000)}) for _ in range(1))
    with pytest.raises(PublishError, match=r"topic night at 127.0.0.1:1: no broker answers .*--brokers"):
        publish(packets, "night", "127.0.0.1:1", SurveyPace())
    assert not made and "%3" not in capfd.readouterr().err


def test_alerts_that_kafka_lost_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alerts that nobody took are an error that counts them."""
    from confluent_kafka import Producer

    monkeypatch.setattr(publishing, "DELIVERY_TIMEOUT_S", 1.0)
    mock = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "ignored"})
    brokers = ",".join(f"{b.host}:{b.port}" for b in mock.list_topics(timeout=10).brokers.values())

    def packets():
        nonlocal mock
        del mock  # the broker goes away after it answered
        yield b"x", {"time_mjd": 60_000.0}

    with pytest.raises(PublishError, match="1 of 1 alerts were not delivered"):
        publish(packets(), "night", brokers, SurveyPace())


def test_events_in_the_queue_are_no_alerts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only alerts are counted, whatever else waits in the producer's queue."""
    packets = [(b"x", {"time_mjd": 60_000.0})]
    monkeypatch.setattr(publishing, "_producer", lambda *_: BusyProducer(delivers=True))
    assert publish(packets, "night", "ignored", SurveyPace()) == 1
    monkeypatch.setattr(publishing, "_producer", lambda *_: BusyProducer(delivers=False))
    with pytest.raises(PublishError, match="1 of 1 alerts were not delivered"):
        publish(packets, "night", "ignored", SurveyPace())


def test_what_others_wrote_reaches_a_terminal_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences in manifests, splits and paths are printed as what they are, on either stream."""
    for seed in (1, 2):
        contents = DatasetContents("sdss", ("science",), 5, ("AGN",), {}, seed, "0")
        with DatasetWriter(tmp_path / f"{seed}", contents) as writer:
            pixels_TCHW, ones_T = np.full((1, 1, 5, 5), seed, np.float16), np.ones(1, np.float32)
            series = Series(pixels_TCHW, ones_T[:, None], np.int8([1]), np.float64([0]), ones_T, ones_T)
            writer.append(seed, "AGN", "te\x1b[31mst", None, series, {})
    assert main(["join", f"{tmp_path}/1", f"{tmp_path}/2", "--out", f"{tmp_path}/\x1b[31mq"]) == 0
    manifest = tmp_path / "2/manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"counts": {"\x1b[31mevil\x07": 1}}))
    assert main(["look", f"{tmp_path}/2", "--png", f"{tmp_path}/a.png"]) == 1
    assert main(["look", f"{tmp_path}/\x1b[31m", "--png", f"{tmp_path}/a.png"]) == 2
    told = capsys.readouterr()
    assert "te\\x1b[31mst" in told.out and "\\x1b[31mq: 2 objects" in told.out
    assert "\\x1b[31mevil\\x07: Input should be" in told.err and "no data set at" in told.err
    assert not {"\x1b", "\x07"} & set(told.out + told.err)


@pytest.mark.parametrize("words", ["dataset --survey sdss --recipe smoke --seed 1", "alerts --survey ztf"])
def test_a_name_that_no_disk_takes_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str) -> None:
    """A folder's name that is too long ends with a line, before anything is drawn."""
    assert ask(f"{words} --out {tmp_path}/{'a' * 300}") == 1
    assert "File name too long" in capsys.readouterr().err
