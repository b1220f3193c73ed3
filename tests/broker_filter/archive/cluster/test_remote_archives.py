"""Archives, work folders and catalogues behind a URL are used as those of a disk are."""

import functools
import http.server
import io
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import orjson
import packets
import pytest

from broker_filter.archive.cluster import stages
from broker_filter.archive.cluster.cluster_replay import ClusterOptions, Output, replay_on
from broker_filter.archive.cluster.shared_folder import SharedFolder, files_at, read_url
from broker_filter.archive.cluster.work_plan import ReplaySettings
from broker_filter.archive.left_out import LeftOut, LeftOutCounts
from broker_filter.archive.read import read_messages
from broker_filter.archive.replay import main
from broker_filter.classify.classifier import load_classifiers
from broker_filter.errors import ConfigurationError, RetryableError
from broker_filter.output.result_files import open_results
from broker_filter.records import Message
from model.serving.predictor import untrained
from model.serving.weights import save

JD = 2_459_433.5


class OneProcess:
    """A cluster of one core, this process."""

    cores, dashboard = 1, None

    def run(self, function: Any, _stage: str, tasks: Any) -> Iterator[tuple[int, Any]]:
        for index, arguments in enumerate(tasks):
            yield index, function(*arguments)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two nights as tars, one of them compressed and in a folder, beside a file of another kind."""
    folder = tmp_path_factory.mktemp("remote")
    (folder / "deep").mkdir()
    (folder / "notes.txt").write_text("not alerts")
    for night, (name, mode) in enumerate((("a.tar", "w"), ("deep/b.tar.gz", "w:gz"))):
        with tarfile.open(folder / name, mode) as tar:
            for number in range(4):
                content = packets.ztf_packet(
                    object_id=f"ZTF21aaaaaa{'ab'[number % 2]}",
                    candid=10 * night + number + 1,
                    jd=JD + night + number / 10,
                    stamps=packets.ztf_stamps(number),
                )
                member = tarfile.TarInfo(f"{number}.avro")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return folder


@pytest.fixture
def in_memory(archive: Path) -> str:
    """The archive in fsspec's memory, which is an object store like any other."""
    memory = fsspec.filesystem("memory")
    for name in ("/archive", "/work", "/work2", "/catalogue"):
        if memory.exists(name):
            memory.rm(name, recursive=True)
    memory.put(f"{archive}/", "/archive/", recursive=True)
    return "memory://archive"


class _Server(http.server.SimpleHTTPRequestHandler):
    """Serves ranges, as web servers do; breaks off in the middle of a file as often as it is told to."""

    failures = 0
    ranges = True

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if path.is_dir():
            super().do_GET()
            return
        content = path.read_bytes()
        start, stop = 0, len(content)
        byte_range = self.headers.get("Range") if self.ranges else None
        if byte_range:
            first, _, last = byte_range.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last or stop) + 1, stop)
        self.send_response(206 if byte_range else 200)
        if byte_range:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        if type(self).failures > 0:
            type(self).failures -= 1
            self.wfile.write(content[start : start + 1000])
            self.close_connection = True
            return
        self.wfile.write(content[start:stop])

    def end_headers(self) -> None:
        if self.ranges:
            self.send_header("Accept-Ranges", "bytes")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(params=["ranges", "whole files"])
def on_the_web(archive: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The archive on a web server of this machine."""
    pytest.importorskip("aiohttp", reason="fsspec reads http with it")
    _Server.failures, _Server.ranges = 0, request.param == "ranges"
    handler = functools.partial(_Server, directory=str(archive))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def messages_below(url: str, left_out: LeftOutCounts) -> list[bytes]:
    members = [one for one in files_at(url, left_out) if isinstance(one, tuple)]
    messages = [message for name, _ in members for message in read_url(name, left_out)]
    assert all(isinstance(message, Message) for message in messages)
    return [message.value for message in messages if isinstance(message, Message)]


def test_alerts_in_an_object_store_are_those_of_the_disk(archive: Path, in_memory: str) -> None:
    """The same messages in the same order, and the same left out."""
    left_out, wanted = LeftOutCounts(), LeftOutCounts()
    assert messages_below(in_memory, left_out) == [one.value for one in read_messages([archive], wanted)]
    assert left_out.by_reason == wanted.by_reason == {LeftOut.OTHER_NAME: 1}


def test_alerts_on_a_web_server_are_those_of_the_disk(archive: Path, on_the_web: str) -> None:
    """The same messages, whether or not the server gives parts of files; a URL of one file is that file."""
    wanted = [one.value for one in read_messages([archive])]
    assert messages_below(on_the_web, LeftOutCounts()) == wanted
    assert messages_below(f"{on_the_web}/a.tar", LeftOutCounts()) == wanted[:4]


def test_a_connection_that_breaks_is_no_end_of_an_archive(archive: Path, on_the_web: str) -> None:
    """The task is tried again: what was not read is not rejected; a file that is gone is a rejection that names it."""
    url = f"{on_the_web}/a.tar"
    _Server.failures = 1
    with pytest.raises(RetryableError, match=r"a\.tar cannot be read"):
        list(read_url(url, LeftOutCounts()))
    assert len([*read_url(url, LeftOutCounts())]) == 4
    (gone,) = read_url(f"{on_the_web}/gone.tar", LeftOutCounts())
    assert "gone.tar" in gone.detail


def test_everything_may_lie_in_an_object_store(archive: Path, in_memory: str, tmp_path: Path) -> None:
    """Archive, work folder and catalogue behind URLs give the records that disks give."""
    weights = str(tmp_path / "small")
    save(Path(weights), *untrained("ztf", "vigil", 1, history_limit=16))
    networks = stages.networks_of(load_classifiers([weights], "cpu", True, True))
    lines = []
    for place, work in ((str(archive), str(tmp_path / "work")), (in_memory, "memory://work")):
        settings = ReplaySettings((weights,), networks, deterministic=True, allow_untrained=True)
        out = tmp_path / f"{len(lines)}.jsonl"
        with ExitStack() as stack:
            results = partial(open_results, str(out), "jsonl", ["AGN"], "ICTC", stack)
            options = ClusterOptions(work, 2)
            accounts = replay_on(OneProcess(), [place], settings, options, Output(results=results), LeftOutCounts())
        assert accounts.classified == 8
        lines.append([orjson.loads(line)["probabilities"] for line in out.read_bytes().splitlines()])
    assert lines[0] == lines[1]
    assert SharedFolder("memory://work").exists("plan.json")


def test_a_catalogue_may_lie_in_an_object_store(in_memory: str, tmp_path: Path) -> None:
    """All of it, its metadata too, is behind the URL."""
    pytest.importorskip("hats", reason="HATS is of the extra 'archive'")
    weights = str(tmp_path / "small")
    save(Path(weights), *untrained("ztf", "vigil", 1, history_limit=16))
    networks = stages.networks_of(load_classifiers([weights], "cpu", True, True))
    settings = ReplaySettings((weights,), networks, deterministic=True, allow_untrained=True, as_catalogue=True)
    output = Output(catalogue="memory://catalogue")
    replay_on(OneProcess(), [in_memory], settings, ClusterOptions("memory://work2", 2), output, LeftOutCounts())
    catalogue = SharedFolder("memory://catalogue")
    for name in ("hats.properties", "partition_info.csv", "summary.json", "dataset/_metadata"):
        assert catalogue.exists(name), name
    assert orjson.loads(catalogue.read_text("summary.json"))["classified"] == 8


@pytest.mark.parametrize(("url", "library"), [("s3://bucket/x", "s3fs"), ("gs://bucket/x", "gcsfs")])
def test_a_missing_library_is_named(url: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install for this kind of URL."""
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigurationError, match=f"(?i){library}"):
        SharedFolder(url)
    with pytest.raises(ConfigurationError, match="nowhere"):
        SharedFolder("nowhere://x")


def test_one_process_says_who_reads_urls(capsys: pytest.CaptureFixture[str]) -> None:
    """A URL without --engine ray is wrong usage, with the remedy."""
    with pytest.raises(SystemExit, match="2"):
        main(["s3://bucket/nights"])
    assert "--engine ray" in capsys.readouterr().err
