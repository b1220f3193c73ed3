"""A cluster replay gives what one process gives, whatever dies on the way."""

import io
import multiprocessing
import os
import signal
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import packets
import pytest
import redis
from full_disk import little_room

from broker_filter.archive.cluster import stages
from broker_filter.archive.cluster.cluster_replay import ClusterOptions, Output, replay_on
from broker_filter.archive.cluster.shared_folder import SharedFolder
from broker_filter.archive.cluster.shuffle import BatchIndex
from broker_filter.archive.cluster.sky import COUNT_ORDER, Pixel, pixels_for
from broker_filter.archive.cluster.stages import Report
from broker_filter.archive.cluster.work_plan import InputFile, Plan, ReplaySettings, group, partition_of, settled_plan
from broker_filter.archive.left_out import LeftOutCounts
from broker_filter.archive.replay import main, store_at
from broker_filter.classify.classifier import load_classifiers
from broker_filter.errors import ConfigurationError, FatalError, RetryableError
from broker_filter.output.reject_file import RejectFile
from broker_filter.output.result_files import open_results
from broker_filter.records import Accounts
from broker_filter.series.lmdb.store import LmdbSeriesStore
from broker_filter.series.store import WholeSeries
from model.serving.predictor import untrained
from model.serving.weights import save

pytestmark = pytest.mark.usefixtures("networks_once")
JD = 2_459_433.5
OBJECTS = [f"ZTF21aaaaaa{letter}" for letter in "abcde"]
TIMES = ("ingestTimestamp", "publicationTimestamp")


class OneProcess:
    """A cluster of one core, this process, that does each task twice over when told to."""

    cores = 1
    dashboard = None

    def __init__(self, again: bool = False) -> None:
        self._again = again

    def run(
        self, function: Callable[..., Report], _stage: str, tasks: Iterable[tuple[Any, ...]]
    ) -> Iterator[tuple[int, Report]]:
        for index, arguments in enumerate(tasks):
            report = function(*arguments)
            yield index, function(*arguments) if self._again else report


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four nights as tars whose alerts are mixed in time, with a duplicate, a late night and broken bytes."""
    folder = tmp_path_factory.mktemp("archive")
    alerts = [
        packets.ztf_packet(
            object_id=OBJECTS[number % 5],
            candid=number + 1,
            jd=JD + number / 10,
            previous=5,
            stamps=packets.ztf_stamps(number),
        )
        for number in range(24)
    ]
    nights = [alerts[18:24], alerts[0:6], [*alerts[6:12], alerts[6], b"Obj\x01 and no more"], alerts[12:18][::-1]]
    for night, members in enumerate(nights):
        with tarfile.open(folder / f"night{night}.tar", "w") as tar:
            for number, content in enumerate(members):
                member = tarfile.TarInfo(f"{number}.avro")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return folder


@pytest.fixture(scope="module", params=["vigil", "convention"])
def weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Networks that embed one frame at a time, and three."""
    path = tmp_path_factory.mktemp("weights") / "small"
    more = {"history_limit": 16} if request.param == "vigil" else {"width": 0.125}
    save(path, *untrained("ztf", request.param, 1, **more))
    return str(path)


def settings_of(weights: str, **more: Any) -> ReplaySettings:
    networks = stages.networks_of(load_classifiers([weights], "cpu", True, True))
    return ReplaySettings(weights=(weights,), networks=networks, deterministic=True, allow_untrained=True, **more)


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Lines without what the clock says."""
    return [{k: v for k, v in orjson.loads(line).items() if k not in TIMES} for line in path.read_bytes().splitlines()]


def in_one_process(archive: Path, weights: str, folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    out, summary = folder / "one.jsonl", folder / "one.json"
    arguments = [str(archive), "--weights", weights, "--allow-untrained", "--deterministic"]
    assert main([*arguments, "--output", str(out), "--summary", str(summary)]) == 0
    return lines_of(out), orjson.loads(summary.read_bytes())


def on_cluster(
    archive: Path, weights: str, folder: Path, work: Path | None = None, again: bool = False, partitions: int = 3
) -> tuple[list[dict[str, Any]], Accounts]:
    out = folder / "cluster.jsonl"
    with ExitStack() as stack:
        results = partial(open_results, str(out), "jsonl", ["AGN"], "ICTC", stack)
        options = ClusterOptions(None if work is None else str(work), partitions)
        accounts = replay_on(
            OneProcess(again), [str(archive)], settings_of(weights), options, Output(results=results), LeftOutCounts()
        )
    return lines_of(out), accounts


@pytest.mark.slow
def test_records_and_accounts_equal_those_of_one_process(archive: Path, weights: str, tmp_path: Path) -> None:
    """Line by line, in the same order, for networks that are embedded where alerts are decoded and for others."""
    wanted, summary = in_one_process(archive, weights, tmp_path)
    lines, accounts = on_cluster(archive, weights, tmp_path)
    assert lines == wanted
    assert (accounts.read, accounts.classified, accounts.rejected) == (
        summary["read"],
        summary["classified"],
        summary["rejected"],
    )


def test_alerts_of_one_moment_and_number_go_by_object(weights: str, tmp_path: Path) -> None:
    """Objects whose alerts share time and id stand in the order of their names, however the files lie."""
    folder = tmp_path / "moment"
    folder.mkdir()
    for number, object_id in enumerate(sorted(OBJECTS, reverse=True)):
        packet = packets.ztf_packet(object_id=object_id, candid=1, jd=JD, previous=1, stamps=packets.ztf_stamps(number))
        (folder / f"{number}.avro").write_bytes(packet)
    lines = in_one_process(folder, weights, tmp_path)[0]
    assert [line["objectId"] for line in lines] == sorted(OBJECTS)
    assert on_cluster(folder, weights, tmp_path)[0] == lines


@pytest.mark.slow
def test_tasks_done_twice_change_nothing(archive: Path, weights: str, tmp_path: Path) -> None:
    """A task that is given out again, though it was done, doubles neither records nor accounts."""
    once, accounts = on_cluster(archive, weights, tmp_path)
    assert (once, accounts) == on_cluster(archive, weights, tmp_path, again=True)


@pytest.mark.slow
def test_a_run_goes_on_from_finished_tasks(archive: Path, weights: str, tmp_path: Path) -> None:
    """What a run that died had finished is not read again; the result is the same."""
    wanted, _ = on_cluster(archive, weights, tmp_path)
    work = tmp_path / "work"
    on_cluster(archive, weights, tmp_path, work)
    for name in ("decoded/000000.arrow.report.json", "classified/000001.jsonl.gz.report.json"):
        (work / name).unlink(missing_ok=True)
    reports = sorted(work.rglob("*.report.json"))
    before = {path: path.stat().st_mtime_ns for path in reports}
    assert on_cluster(archive, weights, tmp_path, work)[0] == wanted
    assert {path: path.stat().st_mtime_ns for path in reports} == before
    assert not list(work.rglob("*.partial"))


def test_another_replay_is_not_continued(archive: Path, weights: str, tmp_path: Path) -> None:
    """A work folder of other files or settings is refused, with what differs."""
    work = SharedFolder(str(tmp_path / "work"))
    files = (InputFile("a.tar", 10), InputFile("b.tar", 20))
    plan = Plan(settings_of(weights), group(files, 25), 4)
    assert settled_plan(work, plan) == plan
    assert settled_plan(work, Plan(plan.settings, group(files, 100), 9)) == plan
    with pytest.raises(ConfigurationError, match="other files"):
        settled_plan(work, Plan(plan.settings, group(files[:1]), 4))
    with pytest.raises(ConfigurationError, match="other settings"):
        settled_plan(work, Plan(ReplaySettings(), plan.tasks, 4))


def _decode_and_die(work: str, number: int, after_s: float) -> None:
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, after_s)
    stages.decode_files(work, number)


@pytest.mark.parametrize("text", ["{", "[]", "{}", "[" * 100_000])
def test_what_is_no_plan_is_refused(text: str) -> None:
    """A plan's file that is damaged, or too deep to be followed, is told with the remedy."""
    with pytest.raises(ConfigurationError, match=r"is no plan .*: choose another --work"):
        Plan.from_json(text)


@pytest.mark.slow
def test_a_worker_killed_half_way_leaves_nothing_half_done(archive: Path, weights: str, tmp_path: Path) -> None:
    """Killed at any moment, a task is either done or not begun for who comes next."""
    wanted, _ = on_cluster(archive, weights, tmp_path)
    work = tmp_path / "work"
    files = [InputFile(str(path), path.stat().st_size) for path in sorted(archive.glob("*.tar"))]
    settled_plan(SharedFolder(str(work)), Plan(settings_of(weights), group(files, 1), 3))
    fork = multiprocessing.get_context("forkserver")
    for number, after_s in enumerate((0.001, 0.05, 0.4, 1.0)):
        worker = fork.Process(target=_decode_and_die, args=(str(work), number, after_s))
        worker.start()
        worker.join()
    assert on_cluster(archive, weights, tmp_path, work)[0] == wanted


def test_a_corrupt_tar_is_counted_and_named_and_the_rest_goes_on(archive: Path, weights: str, tmp_path: Path) -> None:
    """A tar that breaks off gives what is sound in it, and one rejection that names it."""
    folder = tmp_path / "archive"
    folder.mkdir()
    for path in archive.glob("*.tar"):
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "night1.tar").write_bytes((archive / "night1.tar").read_bytes()[:100_000])
    wanted, summary = in_one_process(folder, weights, tmp_path)
    lines, accounts = on_cluster(folder, weights, tmp_path)
    assert lines == wanted
    assert accounts.rejected == summary["rejected"]


def test_rejects_keep_the_order_of_the_archive(archive: Path, weights: str, tmp_path: Path) -> None:
    """The archive of rejects is that of one process, byte for byte."""
    one, cluster = tmp_path / "one.tar", tmp_path / "cluster.tar"
    arguments = [str(archive), "--weights", weights, "--allow-untrained", "--output", str(tmp_path / "out")]
    assert main([*arguments, "--rejects", str(one), "--summary", str(tmp_path / "s")]) == 0
    with cluster.open("wb") as file, ExitStack() as stack:
        rejects = RejectFile(file)
        results = partial(open_results, str(tmp_path / "out"), "jsonl", ["AGN"], "ICTC", stack)
        settings = settings_of(weights, keep_rejects=True)
        replay_on(
            OneProcess(),
            [str(archive)],
            settings,
            ClusterOptions(partitions=2),
            Output(rejects, results),
            LeftOutCounts(),
        )
        rejects.close()
    assert cluster.read_bytes() == one.read_bytes()


def test_a_full_disk_says_what_to_do(archive: Path, weights: str, tmp_path: Path) -> None:
    """A task that cannot write leaves no half file, and the error reaches who runs the cluster."""
    work = SharedFolder(str(tmp_path / "work"))
    files = [InputFile(str(path), path.stat().st_size) for path in sorted(archive.glob("*.tar"))]
    settled_plan(work, Plan(settings_of(weights), group(files, 1), 3))
    (tmp_path / "work" / "decoded").write_text("in the way: nothing can be written below")
    with pytest.raises(OSError):
        stages.decode_files(work.url, 0)


def test_other_weights_on_a_machine_stop_the_run(archive: Path, weights: str, tmp_path: Path) -> None:
    """A machine whose weights differ from the plan's says so, and decodes nothing."""
    work = SharedFolder(str(tmp_path / "work"))
    files = [InputFile(str(path), path.stat().st_size) for path in sorted(archive.glob("*.tar"))]
    settings = ReplaySettings(weights=(weights,), networks=("ztf: vigil of yesterday",), allow_untrained=True)
    settled_plan(work, Plan(settings, group(files, 1), 3))
    with pytest.raises(FatalError, match="vigil of yesterday: give all machines the same weights"):
        stages.decode_files(work.url, 0)
    assert not list((tmp_path / "work" / "decoded").glob("*"))


@pytest.mark.slow
def test_a_catalogue_holds_every_record_by_position(archive: Path, weights: str, tmp_path: Path) -> None:
    """HATS tools and pandas open it; the rows of an object are together, in order of time, and the accounts beside."""
    hats = pytest.importorskip("hats", reason="HATS is of the extra 'archive'")
    pandas = pytest.importorskip("pandas")
    lines, accounts = on_cluster(archive, weights, tmp_path)
    folder = tmp_path / "catalogue"
    settings = settings_of(weights, as_catalogue=True)
    output = Output(catalogue=str(folder))
    replay_on(OneProcess(), [str(archive)], settings, ClusterOptions(partitions=3), output, LeftOutCounts())
    catalogue = hats.read_hats(folder)
    assert catalogue.catalog_info.total_rows == len(lines)
    table = pandas.read_parquet(folder / "dataset")
    assert sorted(table["alertId"]) == sorted(line["alertId"] for line in lines)
    assert table.groupby("objectId")["mjd"].is_monotonic_increasing.all()
    assert table["_healpix_29"].is_monotonic_increasing
    by_alert = {line["alertId"]: line["probabilities"] for line in lines}
    for row in table.to_dict("records"):
        assert {name: row[f"p_{name}"] for name in by_alert[row["alertId"]]} == by_alert[row["alertId"]]
    assert orjson.loads((folder / "summary.json").read_bytes())["read"] == accounts.read
    assert (folder / "dataset" / "_metadata").is_file()


def test_pixels_are_as_large_as_their_rows_allow() -> None:
    """Crowded pixels are divided, empty sky is not, and every row is in exactly one pixel."""
    crowded = {number: 10 for number in range(64)}
    pixels = pixels_for({**crowded, 700_000: 3}, most_rows=100)
    assert Pixel(0, 10) in pixels
    assert all(pixel.order <= COUNT_ORDER for pixel in pixels)
    for number in (*crowded, 700_000):
        homes = [p for p in pixels if number >> 2 * (COUNT_ORDER - p.order) == p.number]
        assert len(homes) == 1
    assert len(pixels) >= 640 // 100


def test_an_object_is_always_in_one_partition() -> None:
    """The partition depends on the object alone, and all partitions are used."""
    assert partition_of("ztf/ZTF21aaaaaaa", 7) == partition_of("ztf/ZTF21aaaaaaa", 7)
    assert {partition_of(f"ztf/{number}", 7) for number in range(200)} == set(range(7))


def replayed_into(place: str, archive: Path, weights: str, folder: Path, work: str | None = None) -> None:
    """A cluster replay that fills a store."""
    with ExitStack() as stack:
        store = store_at(place, stack)
        results = partial(open_results, str(folder / "filled.jsonl"), "jsonl", ["AGN"], "ICTC", stack)
        settings = settings_of(weights, keep_pixels=True, keep_series=True)
        output = Output(results=results, store=store)
        replay_on(OneProcess(), [str(archive)], settings, ClusterOptions(work, 3), output, LeftOutCounts())


def kept_in(folder: Path) -> list[WholeSeries]:
    store = LmdbSeriesStore(folder)
    try:
        assert store.inspect().damaged_count == 0
        return [*store.whole()]
    finally:
        store.close()


@pytest.mark.slow
def test_a_store_is_filled_as_by_one_process(archive: Path, weights: str, tmp_path: Path) -> None:
    """The service goes on from the same rows, byte for byte; filling it again changes nothing."""
    arguments = [str(archive), "--weights", weights, "--allow-untrained", "--deterministic", "--output"]
    assert (
        main([*arguments, str(tmp_path / "out"), "--summary", str(tmp_path / "s"), "--store", str(tmp_path / "one")])
        == 0
    )
    wanted = kept_in(tmp_path / "one")
    assert sum(len(series.rows) for series in wanted) == 24
    assert any(series.embeddings for series in wanted)
    for _ in range(2):
        replayed_into(str(tmp_path / "cluster"), archive, weights, tmp_path, str(tmp_path / "work"))
        assert kept_in(tmp_path / "cluster") == wanted
    with pytest.raises(ConfigurationError, match="holds 5 objects already"):
        replayed_into(str(tmp_path / "cluster"), archive, weights, tmp_path)


@pytest.mark.slow
def test_a_shared_store_is_filled_as_by_one_process(
    archive: Path, weights: str, tmp_path: Path, redis_port: int
) -> None:
    """Every key of the server but the store's name has the value that one process gives it."""
    one, cluster = (f"redis://127.0.0.1:{redis_port}/{database}" for database in (5, 6))
    for url in (one, cluster):
        redis.Redis.from_url(url).flushdb()
    arguments = [str(archive), "--weights", weights, "--allow-untrained", "--deterministic", "--store", one]
    assert main([*arguments, "--output", str(tmp_path / "out"), "--summary", str(tmp_path / "s")]) == 0
    for _ in range(2):
        replayed_into(cluster, archive, weights, tmp_path, str(tmp_path / "work"))
        assert on_server(cluster) == on_server(one)
    for url in (one, cluster):
        redis.Redis.from_url(url).flushdb()


def on_server(url: str) -> dict[bytes, Any]:
    """All that a server keeps, the store's name aside."""
    with redis.Redis.from_url(url) as server:
        names = [name for name in server.scan_iter() if not name.endswith(b":incarnation")]
        kinds = {b"hash": server.hgetall, b"zset": lambda name: dict(server.zscan_iter(name))}
        return {name: kinds[server.type(name)](name) for name in names}


def test_what_is_no_address_of_a_server_is_not_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong address of a store ends the command with what is right, and without the password in it."""
    assert main([str(tmp_path), "--store", "redis://user:p#ss@host"]) == 2
    error = capsys.readouterr().err
    assert "%23" in error
    assert "p#ss" not in error


def test_the_index_of_batches_finds_every_batch_once() -> None:
    """Each partition's batches, task by task, in the order in which they were written."""
    index = BatchIndex([[0, 3, 0], [], [3], [4095, 0]])
    assert index.partitions == [0, 3, 4095]
    assert index.of(0) == ((0, (0, 2)), (3, (1,)))
    assert index.of(3) == ((0, (1,)), (2, (0,)))
    assert index.of(4095) == ((3, (0,)),)
    assert BatchIndex([]).partitions == []


@pytest.mark.slow
def test_a_full_disk_of_one_machine_is_tried_on_another(archive: Path, weights: str, tmp_path: Path) -> None:
    """A task of stage 2 without room for its scratch is to be tried again, and leaves nothing in the work folder."""
    wanted, _ = on_cluster(archive, weights, tmp_path, tmp_path / "work")
    for path in (tmp_path / "work" / "classified").iterdir():
        path.unlink()
    work = SharedFolder(str(tmp_path / "work"))
    decoded = [stages.finished(work, stages.decoded_name(task)) for task in range(len(stages.plan_of(work.url).tasks))]
    index = BatchIndex([report.batches for report in decoded if report is not None])
    partition = index.partitions[0]
    with little_room(16_000), pytest.raises(RetryableError, match="free the disk"):
        stages.classify_partition(work.url, partition, index.of(partition))
    assert not list((tmp_path / "work" / "classified").iterdir())
    assert on_cluster(archive, weights, tmp_path, tmp_path / "work")[0] == wanted


@pytest.mark.slow
def test_a_crowded_object_is_as_in_one_process(weights: str, tmp_path: Path) -> None:
    """One object with far more alerts than a series holds gives the same answers, whatever its partition carries."""
    folder = tmp_path / "crowd"
    folder.mkdir()
    stamps = packets.ztf_stamps(1)
    for number in range(130):
        packet = packets.ztf_packet(
            object_id=OBJECTS[0] if number % 13 else OBJECTS[1],
            candid=number + 1,
            jd=JD + number / 10,
            previous=1,
            stamps=stamps,
        )
        (folder / f"{(number * 7) % 131:03d}.avro").write_bytes(packet)
    assert on_cluster(folder, weights, tmp_path)[0] == in_one_process(folder, weights, tmp_path)[0]
