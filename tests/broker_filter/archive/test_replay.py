"""``ictc-replay`` as a user runs it: on folders, archives and broken files, in any order, to every format."""

import gzip
import io
import random
import tarfile
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import fake_stream as fake
import fastavro
import numpy as np
import orjson
import packets
import pyarrow.parquet as pq
import pytest
from busy_producer import BusyProducer
from survey_alerts import SurveyAlerts

from broker_filter.alerts.decode import Arrival
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.archive import republish
from broker_filter.archive.replay import main
from broker_filter.archive.republish import AlertPublisher, Pace, in_order_of_time
from broker_filter.archive.time_order import TimeOrder, pack_arrival, unpack_arrival
from broker_filter.errors import ConfigurationError, FatalError, NotClassified
from broker_filter.kafka.local_broker import find_binary, local_broker
from broker_filter.kafka.read_topic import read_topic
from broker_filter.records import Message, Observation, Origin
from model.past_photometry import HISTORY_LIMIT
from model.serving.card import load_card
from model.serving.predictor import untrained
from model.serving.weights import save

pytestmark = pytest.mark.usefixtures("networks_once")
JD = 2_459_433.5


def summary_of(*arguments: str | Path, folder: Path, status: int | None = 0) -> dict[str, Any]:
    """Run the command, which must end with a status (None: 0 where something was classified); its accounts."""
    accounts = folder / "summary.json"
    ended = main([*map(str, arguments), "--allow-untrained", "--summary", str(accounts)])
    summary: dict[str, Any] = orjson.loads(accounts.read_bytes())
    assert ended == (int(summary["classified"] == 0) if status is None else status)
    return summary


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def last_words(path: Path) -> dict[int, tuple[int, list[float]]]:
    """Of each alert: observations known and probabilities, in the line that knew most."""
    words_of: dict[int, tuple[int, list[float]]] = {}
    for line in lines_of(path):
        words = (line["nKnown"], list(line["probabilities"].values()))
        if line["alertId"] not in words_of or words_of[line["alertId"]][0] < words[0]:
            words_of[line["alertId"]] = words
    return words_of


def packet(number: int, day: float, name: str) -> bytes:
    stamps = packets.ztf_stamps(number)
    return packets.ztf_packet(object_id=name, candid=number, jd=JD + day, previous=7, stamps=stamps)


@pytest.fixture(scope="module", params=["shipped", "history"])
def weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str | Path]:
    """Options for the shipped network, and for one of which we know that it reads epochs without stamps."""
    if request.param == "shipped":
        return []
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save(path, *untrained("ztf", "vigil", 1, history_limit=16))
    return ["--weights", path]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of twelve alerts of three objects, whose names do not sort by time, and one broken file."""
    folder = tmp_path_factory.mktemp("night")
    for number in range(1, 13):
        name = f"ZTF21aaaaaa{'abc'[number % 3]}"
        (folder / f"{(number * 7) % 13:02d}.avro").write_bytes(packet(number, number / 10, name))
    (folder / "broken.avro").write_bytes(b"Obj\x01 and no more")
    return folder


def test_accounts_and_lines(night: Path, tmp_path: Path) -> None:
    """Everything read is accounted for; lines come in order of time with the promised fields."""
    output = tmp_path / "out.jsonl"
    accounts = summary_of(night, "--output", output, folder=tmp_path)
    assert accounts["read"] == 13
    assert accounts["classified"] == 12
    assert sum(accounts["rejected"].values()) == 1
    assert accounts.keys() == {"read", "classified", "not_classified", "rejected"}
    lines = lines_of(output)
    assert [line["alertId"] for line in lines] == list(range(1, 13))
    assert [line["nObservations"] for line in lines] == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert all(sum(line["probabilities"].values()) == pytest.approx(1) for line in lines)
    assert all(line["classifierVersion"].startswith(("ztf-", "untrained-ztf-")) for line in lines)


@pytest.mark.slow
def test_rejects_can_be_replayed(night: Path, tmp_path: Path) -> None:
    """The archive of rejects holds the original bytes and the reason, and the command reads it again."""
    rejects = tmp_path / "rejects.tar"
    summary_of(night, "--output", tmp_path / "out", "--rejects", rejects, folder=tmp_path)
    with tarfile.open(rejects) as archive:
        (member,) = archive.getmembers()
        file = archive.extractfile(member)
        assert file is not None
        assert file.read() == (night / "broken.avro").read_bytes()
        assert member.pax_headers["ICTC.source"].endswith("broken.avro")
        reason = member.pax_headers["ICTC.reason"]
    again = summary_of(rejects, "--output", tmp_path / "out", folder=tmp_path, status=1)
    assert again["rejected"] == {reason: 1}


def test_what_packets_tell_is_read(night: Path, tmp_path: Path, weights: list[str | Path]) -> None:
    """A network that reads epochs without stamps is given those of the packets, and the lines say how many."""
    output = tmp_path / "out.jsonl"
    summary_of(night, *weights, "--output", output, folder=tmp_path)
    counts = [line["nHistory"] for line in lines_of(output)]
    if weights:
        assert counts[:3] == [7, 7, 7]  # the first alerts of three objects
        assert counts[3:6] == [14, 14, 14]  # the second ones, whose packets tell of other visits
        assert set(counts[6:]) == {16}
    else:
        assert all(0 <= count <= HISTORY_LIMIT for count in counts)


@pytest.mark.slow
def test_shuffled_and_duplicated_archives_give_the_same(night: Path, tmp_path: Path, weights: list[str | Path]) -> None:
    """The same alerts shuffled, duplicated and packed otherwise are classified alike; byte for byte when asked."""
    straight, shuffled = tmp_path / "straight.jsonl", tmp_path / "shuffled.jsonl"
    accounts = summary_of(night, *weights, "--output", straight, "--deterministic", folder=tmp_path)
    files = [file for file in sorted(night.iterdir()) if file.name != "broken.avro"] * 2
    random.Random(3).shuffle(files)
    with tarfile.open(tmp_path / "night.tar.gz", "w:gz") as archive:
        for i, file in enumerate(files):
            archive.add(file, f"{i}.avro")
    options = ("--output", shuffled, "--deterministic", "--threads", "1")
    doubled = summary_of(tmp_path / "night.tar.gz", *weights, *options, folder=tmp_path)
    assert doubled["classified"] == 2 * accounts["classified"]

    def timeless(path: Path) -> list[bytes]:
        return [orjson.dumps(line | {"ingestTimestamp": 0, "publicationTimestamp": 0}) for line in lines_of(path)]

    assert Counter(timeless(shuffled)) == Counter(timeless(straight) * 2)


@pytest.mark.slow
def test_order_as_given_ends_in_the_same_state(night: Path, tmp_path: Path, weights: list[str | Path]) -> None:
    """In the archive's own order late alerts cause revisions, and the last words are those of the order of time."""
    by_time, given = tmp_path / "time.jsonl", tmp_path / "given.jsonl"
    summary_of(night, *weights, "--output", by_time, folder=tmp_path)
    accounts = summary_of(night, *weights, "--output", given, "--order", "given", folder=tmp_path)
    assert accounts["read"] == 13
    expected, words_of = last_words(by_time), last_words(given)
    assert expected.keys() == words_of.keys()
    for alert, (count, probabilities) in expected.items():
        assert words_of[alert][0] == count
        assert words_of[alert][1] == pytest.approx(probabilities, abs=1e-5)


@pytest.mark.slow
def test_formats_say_the_same(night: Path, tmp_path: Path) -> None:
    """Avro, Parquet and DESC's Avro hold one record for each JSON line."""
    for form in ("jsonl", "avro", "parquet", "desc"):
        summary_of(night, "--output", tmp_path / form, "--format", form, "--limit", "5", folder=tmp_path)
    lines = lines_of(tmp_path / "jsonl")
    assert len(lines) == 5
    lean = list(fastavro.reader(io.BytesIO((tmp_path / "avro").read_bytes())))
    desc = list(fastavro.reader(io.BytesIO((tmp_path / "desc").read_bytes())))
    table = pq.read_table(tmp_path / "parquet").to_pylist()
    for line, avro, broker, row in zip(lines, lean, desc, table, strict=True):
        assert avro["probabilities"] == line["probabilities"]
        assert broker["alertId"] == row["alertId"] == line["alertId"]
        assert row["p_AGN"] == line["probabilities"]["AGN"]
        assert sum(c["probability"] for c in broker["classifications"]) == pytest.approx(1, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("jd", [2_400_001.0, 5e6, 2_460_000.5e3, 9.9e9])
@pytest.mark.parametrize("kind", ["avro", "parquet", "votable", "desc"])
def test_times_of_no_night_are_published(tmp_path: Path, jd: float, kind: str) -> None:
    """A time far beyond any survey, which a packet may tell, is published; of a night of no number none is told."""
    (tmp_path / "0.avro").write_bytes(packets.ztf_packet(jd=jd, previous=0))
    output = tmp_path / f"out.{kind}"
    flags = ("--allow-untrained", "--output", output, "--format", kind)
    assert summary_of(tmp_path / "0.avro", *flags, folder=tmp_path)["classified"] == 1
    if kind == "avro":
        (published,) = fastavro.reader(io.BytesIO(output.read_bytes()))
        assert isinstance(published, dict)
        assert (published["night"] is None) == (jd - 2_400_000.5 > 2**31)


@pytest.mark.slow
def test_kept_store_continues_the_series(night: Path, tmp_path: Path) -> None:
    """With --store, a later replay continues the series of an earlier one."""
    files = sorted(night.glob("[0-9]*.avro"))
    summary_of(*files[:11], "--output", tmp_path / "first", "--store", tmp_path / "store", folder=tmp_path)
    summary_of(files[11], "--output", tmp_path / "second", "--store", tmp_path / "store", folder=tmp_path)
    (line,) = [line for line in lines_of(tmp_path / "second") if not line["revision"]]
    summary_of(night, "--output", tmp_path / "whole", folder=tmp_path)
    (whole,) = [w for w in lines_of(tmp_path / "whole") if w["alertId"] == line["alertId"]]
    assert line["nObservations"] == whole["nObservations"]


@pytest.mark.slow
def test_wrong_paths_and_untrained_networks_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path that does not exist ends the command with what is wrong, not with a traceback."""
    assert main([str(tmp_path / "absent"), "--allow-untrained"]) == 2
    assert "absent" in capsys.readouterr().err
    assert main([str(tmp_path), "--allow-untrained", "--output", str(tmp_path / "no" / "folder")]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("form", ["jsonl", "avro", "parquet", "csv", "votable"])
def test_output_without_room_is_told(
    night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    """A disk that is full is a line and status 1, whatever is written."""
    assert main([str(night), "--allow-untrained", "--format", form, "--output", "/dev/full"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "ictc-replay: [Errno 28] No space left on device"
    rest = ("--output", str(tmp_path / "out"), "--format", form)
    assert main([str(night), "--allow-untrained", *rest, "--summary", "/dev/full"]) == 1
    assert "No space left on device" in capsys.readouterr().err


def test_an_archive_without_alerts_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing read is status 1 and a line; everything rejected is accounted for, a line and status 1 too."""
    assert main([str(tmp_path), "--allow-untrained"]) == 1
    assert f"nothing that looks like alerts below {tmp_path}" in capsys.readouterr().err
    (tmp_path / "broken.avro").write_bytes(b"Obj\x01 and no more")
    assert main([str(tmp_path), "--allow-untrained"]) == 1
    assert "all 1 messages were rejected: " in capsys.readouterr().err


def test_a_store_that_cannot_be_made_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that no process can make is one line, not a traceback."""
    (tmp_path / "file").write_text("")
    assert main([str(tmp_path), "--allow-untrained", "--store", str(tmp_path / "file" / "store")]) == 2
    assert "cannot be opened" in capsys.readouterr().err


def test_output_is_clean_on_standard_output(night: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Standard output carries JSON lines and nothing else; the accounts go to standard error."""
    assert main([str(night), "--allow-untrained", "--limit", "3"]) == 0
    out, err = capfdbinary.readouterr()
    assert len([orjson.loads(line) for line in out.splitlines()]) == 3
    assert orjson.loads(err)["read"] == 3


@pytest.mark.slow
def test_sorting_takes_fixed_memory(tmp_path: Path) -> None:
    """Sorting 50 MB of frames takes a few, whatever their number, and leaves nothing behind."""
    pixels, scale = np.ones((3, 32, 32), np.float16), np.ones(3, np.float32)
    message = Message(b"x", Origin("archive", 0, 7))
    count = 8_000
    order = TimeOrder(tmp_path)
    tracemalloc.start()
    for i in range(count):
        time_mjd = 60_000.0 + (i * 4_001) % count
        frame = Observation(i, time_mjd, 1, 2.0, 3.0, pixels, scale)
        order.put(time_mjd, i, pack_arrival(Arrival("ztf", "a", i, time_mjd, "g", 0, message, frame)))
    times = [unpack_arrival(record).time_mjd for record in order]
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert list(tmp_path.iterdir())
    order.close()
    assert times == sorted(times)
    assert len(times) == count
    assert peak_bytes < 8 << 20
    assert not list(tmp_path.iterdir())


def test_arrivals_survive_the_sorted_file() -> None:
    """An arrival comes back with its names, its reason and its frame."""
    message = Message(b"bytes", Origin("a.tar::b.avro", 2, 7))
    without = Arrival("lsst", "7", 2**60, 61_000.5, "y", 5, message, None, NotClassified.NO_STAMPS, "null")
    back = unpack_arrival(pack_arrival(without))
    assert (back.alert_id, back.reason, back.detail, back.message.origin) == (
        2**60,
        NotClassified.NO_STAMPS,
        "null",
        message.origin,
    )
    frame = fake.observation(1, history=fake.history(60_000.0))
    again = unpack_arrival(pack_arrival(Arrival("ztf", "a", 1, 60_000.0, "g", 0, message, frame))).observation
    assert again is not None
    np.testing.assert_array_equal(again.pixels, frame.pixels)
    np.testing.assert_array_equal(again.history.flux_P, frame.history.flux_P)


def test_pace_of_bursts() -> None:
    """A rate sends a burst at a time; the recorded pace keeps the archive's gaps."""
    assert [Pace(10.0, burst=5).due_s(i, 0.0) for i in (0, 4, 5, 10)] == [0.0, 0.0, 0.5, 1.0]
    assert Pace("recorded", speed=2.0).due_s(3, 37.0) == 18.5
    assert Pace().due_s(10**6, 10**6) == 0.0


def test_publishing_order_keeps_broken_messages() -> None:
    """Messages go out in order of time; one that cannot be read stays behind the one that it followed."""
    late, early = packet(2, 5.0, "ZTF21aaaaaaa"), packet(1, 1.0, "ZTF21aaaaaaa")
    messages = [Message(value, Origin("x", 0, i)) for i, value in enumerate((late, b"broken", early))]
    order = TimeOrder()
    values = [value for _, value in in_order_of_time(messages, Schemas(), order)]
    order.close()
    assert values[0] == early
    assert sorted(values[1:]) == sorted([late, b"broken"])


@pytest.fixture
def broker() -> Iterator[str]:
    """The address of a broker on loopback."""
    try:
        find_binary()
    except ConfigurationError as error:
        pytest.skip(str(error))
    with local_broker() as running:
        yield running.address


def test_archive_is_published_byte_for_byte_and_read_back(night: Path, tmp_path: Path, broker: str) -> None:
    """Every message of the archive arrives on the topic as it was; the topic is then classified like the archive."""
    accounts, output = tmp_path / "accounts", tmp_path / "out.jsonl"
    arguments = ["--publish", "night", "--brokers", broker, "--rate", "100", "--burst", "4"]
    assert main([str(night), *arguments, "--summary", str(accounts)]) == 0
    assert orjson.loads(accounts.read_bytes()) == {"read": 13, "published": 13, "rejected": {}}
    published = list(read_topic("night", broker, {}))
    assert Counter(m.value for m in published) == Counter(file.read_bytes() for file in night.iterdir())
    assert all(dict(m.headers)["producer_timestamp"].isdigit() for m in published)
    from_topic = summary_of("--topic", "night", "--brokers", broker, "--output", output, folder=tmp_path)
    assert from_topic["classified"] == 12
    assert [line["alertId"] for line in lines_of(output)] == list(range(1, 13))


def test_topic_that_is_not_there_is_named(broker: str) -> None:
    """Reading a topic that does not exist says which and where."""
    with pytest.raises(ConfigurationError, match="no-such-topic"):
        list(read_topic("no-such-topic", broker, {"allow.auto.create.topics": "false"}))


def test_wrong_kafka_settings_are_refused() -> None:
    """A setting that librdkafka does not know is an error of configuration."""
    with pytest.raises(ConfigurationError, match="setting"):
        AlertPublisher("topic", "127.0.0.1:9", {"no.such.key": "1"})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["night.tar", "--output", "night.tar"], "--output night.tar would be written over what is read"),
        (["night.tar", "--output", "o", "--rejects", "link.tar"], "--rejects link.tar would be written over what"),
        (["night.tar", "--output", "o", "--summary", "./night.tar"], "--summary night.tar would be written over"),
        (["night.tar", "--output", "o", "--summary", "o"], "--output and --summary are one file, o"),
        (["night.tar", "--output", "hard", "--rejects", "night.tar"], "--output and --rejects are one file"),
        (["night.tar", "--output", "o", "--schema", "o"], "--output o would be written over what is read"),
        ([".", "--output", "o", "--rejects", "rejects.tar"], "--rejects rejects.tar would be read as alerts"),
        (["folder", "--output", "folder/deep/o.avro"], "--output folder/deep/o.avro would be read as alerts"),
    ],
)
def test_nothing_is_written_over_what_is_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    says: str,
) -> None:
    """Files that name one another, by links too, are refused before any is opened."""
    monkeypatch.chdir(tmp_path)
    night, content = Path("night.tar"), b"an archive"
    night.write_bytes(content)
    Path("link.tar").symlink_to(night)
    Path("hard").hardlink_to(night)
    Path("folder").mkdir()
    with pytest.raises(SystemExit, match="2"):
        main(options)
    assert says in capsys.readouterr().err
    assert night.read_bytes() == content


@pytest.mark.parametrize("delivers", [True, False])
def test_events_in_the_queue_are_no_alerts(delivers: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits in the producer's queue beside alerts is not counted as alerts."""
    monkeypatch.setattr(republish, "Producer", lambda *_, **__: BusyProducer(delivers=delivers))
    publisher = AlertPublisher("topic", "ignored", {})
    refused = pytest.raises(FatalError, match=r"^2 messages were not acknowledged")
    with nullcontext() if delivers else refused:
        list(publisher.publish([(60_000.0, b"x"), (60_000.0, b"y")], Pace()))
    assert publisher.acknowledged == (2 if delivers else 0)


@pytest.mark.slow
def test_every_real_ztf_alert_is_accounted_for(survey_alerts: SurveyAlerts, tmp_path: Path) -> None:
    """All real ZTF alerts are classified, but for those of moving objects."""
    folder = survey_alerts.alerts / "ztf"
    accounts = summary_of(folder, "--output", tmp_path / "out", folder=tmp_path, status=None)
    assert accounts["read"] == len(list(folder.rglob("*.avro"))) == survey_alerts.ztf_count
    assert accounts["rejected"] == {}
    assert set(accounts["not_classified"]) <= {"solar_system"}
    assert accounts["read"] == accounts["classified"] + sum(accounts["not_classified"].values())


@pytest.mark.slow
def test_convention_by_its_name_answers_real_alerts(survey_alerts: SurveyAlerts, tmp_path: Path) -> None:
    """ICT-ConvEntion ships by its name, and keeps embeddings of groups of frames: two halves say what one run says."""
    listed = sorted((survey_alerts.alerts / "ztf").rglob("*.avro"))[:60]
    middle = len(listed) // 2
    named = ["--weights", "ict-convention-ztf", "--deterministic", "--order", "given"]
    summary_of(*listed, *named, "--output", tmp_path / "whole", folder=tmp_path)
    for half, part in (("first", listed[: middle + 1]), ("second", listed[middle + 1 :])):
        summary_of(*part, *named, "--store", tmp_path / "s", "--output", tmp_path / half, folder=tmp_path)
    whole = last_words(tmp_path / "whole")
    assert len(whole) > middle
    lines = [line for line in lines_of(tmp_path / "whole") if line["evidence"] == "stamps"]
    assert {line["classifierVersion"] for line in lines} == {load_card("ict-convention-ztf").version}
    halves = last_words(tmp_path / "first") | last_words(tmp_path / "second")
    assert halves.keys() == whole.keys()
    for alert, (known, probabilities) in whole.items():
        assert halves[alert][1] == pytest.approx(probabilities, abs=1e-5), (alert, known)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lsst", "lsst_wire_minimal", "malformed", "edge", "other_surveys"])
def test_real_oddities_are_accounted_for(shared_data: Path, tmp_path: Path, name: str) -> None:
    """Whatever else is in the archive has an outcome with a reason; nothing crashes and nothing is silent."""
    folder = shared_data / "alerts" / name
    accounts = summary_of(folder, "--output", tmp_path / "out", folder=tmp_path, status=None)
    assert accounts["read"] >= len(list(folder.rglob("*.avro")))
    assert accounts["read"] == accounts["classified"] + sum(
        sum(accounts[kind].values()) for kind in ("not_classified", "rejected")
    )
    if name == "lsst":
        assert accounts["classified"] > 80


def test_what_is_left_out_stands_in_the_summary(
    night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was not read at all is counted by reason in the summary, and said at the end with examples."""
    archive = tmp_path / "night.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(night, "night")
        link = tarfile.TarInfo("night/out.avro")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo("README"))
    accounts = summary_of(archive, "--output", tmp_path / "out", folder=tmp_path)
    assert accounts["left_out"] == {"other_name": 1, "link_outside": 1}
    assert accounts["classified"] == 12
    assert f"1 link_outside ({archive}::night/out.avro)" in capsys.readouterr().err


def test_one_alert_that_cannot_be_decoded_ends_nothing(tmp_path: Path) -> None:
    """A stamp whose header says BITPIX = --32 is one rejection; what follows is classified and the summary written."""
    fields = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
    plain = packets.fits_bytes(packets.sky(1, 63))
    poison = plain.replace(b"BITPIX  =                  -32", b"BITPIX  =                 --32")
    assert poison != plain
    stamps = dict.fromkeys(fields, gzip.compress(poison))
    (tmp_path / "0.avro").write_bytes(packets.ztf_packet(candid=1, stamps=stamps))
    (tmp_path / "1.avro").write_bytes(packets.ztf_packet(candid=2))
    accounts = summary_of(tmp_path, "--output", tmp_path / "out.jsonl", folder=tmp_path)
    assert accounts["rejected"] == {"bad_stamp": 1}
    assert [line["alertId"] for line in lines_of(tmp_path / "out.jsonl")] == [2]


def test_nothing_classified_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Alerts of which none can be classified end with status 1 and say why."""
    stamps = dict.fromkeys(("cutoutScience", "cutoutTemplate", "cutoutDifference"))
    (tmp_path / "0.avro").write_bytes(packets.ztf_packet(candid=1, stamps=stamps))
    accounts = summary_of(tmp_path, "--output", tmp_path / "out.jsonl", folder=tmp_path, status=1)
    assert accounts["not_classified"] == {"no_stamps": 1}
    assert "none of 1 alerts could be classified: no_stamps 1" in capsys.readouterr().err
