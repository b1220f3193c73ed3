"""Damaged stores: cut off, overwritten, emptied. Nothing wrong is read, and the message says what to do."""

import multiprocessing
import os
import random
import shutil
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np
import pytest
import redis

from broker_filter.errors import FatalError
from broker_filter.records import Observation
from broker_filter.series.lmdb.look import look_at
from broker_filter.series.lmdb.store import LmdbSeriesStore
from broker_filter.series.lmdb.tables import INCARNATION, VERSION
from broker_filter.series.redis.store import RedisSeriesStore
from broker_filter.series.rows import place_name, sortable_id
from broker_filter.series.store import Change, CorruptStoreError, Embedding, FrameKey, SeriesStore
from model.past_photometry import History

OBJECTS, EPOCHS = 30, 5
TRIALS = 12  # of each kind of damage
REMEDY = r"is damaged .*no alert is lost.*ictc-replay --store .*Rebuild a lost store"


def observation(alert_id: int, time_mjd: float, size_px: int = 8) -> Observation:
    """A frame that follows from its arguments; made here, so that the processes below need not import a network."""
    pixels = np.random.default_rng(alert_id).normal(0, 3, (1, size_px, size_px)).astype(np.float16)
    past = History(np.array([6e4]), np.ones(1, np.int8), np.ones(1, np.float32), np.ones(1, np.float32))
    return Observation(alert_id, time_mjd, 1, alert_id / 7, 1.0, pixels, np.ones(1, np.float32), past)


def frame(o: int, epoch: int) -> Observation:
    return observation(100 * o + epoch, 60_000.0 + epoch, size_px=32 if o % 2 else 8)


def fill(store: SeriesStore) -> None:
    for epoch in range(EPOCHS):
        embeddings = {0: Embedding(bytes(16), np.ones(900, np.float32))} if epoch == 2 else {}
        store.add([(f"ztf/{o}", frame(o, epoch)) for o in range(OBJECTS)])
        store.settle([Change(f"ztf/{o}", (100 * o + epoch,), 100, 3, embeddings) for o in range(OBJECTS)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound store, closed in order."""
    store = LmdbSeriesStore(tmp_path / "store", max_bytes=32 << 20, sync=False)
    fill(store)
    store.close()
    return tmp_path / "store"


def reopen(folder: Path) -> LmdbSeriesStore:
    return LmdbSeriesStore(folder, max_bytes=32 << 20, sync=False)


def test_a_file_that_was_cut_is_refused(folder: Path) -> None:
    """A file of half its length is refused in words instead of ending the process with a signal."""
    data = folder / "data.mdb"
    content = data.read_bytes()
    for length in (len(content) // 2, len(content) // 3 + 100, 5000, 100):
        data.write_bytes(content[:length])
        with pytest.raises(FatalError, match=rf"data.mdb of {length} bytes.*no alert is lost"):
            reopen(folder)
    data.write_bytes(content)
    reopen(folder).close()


@pytest.mark.parametrize(
    ("name", "put", "what"),
    [
        ("data.mdb", Path.touch, "is empty"),
        ("data.mdb", None, "is gone"),
        ("data.mdb", lambda path: path.symlink_to(path.name), "is no file"),
        ("data.mdb", lambda path: path.symlink_to("/dev/null"), "is no file"),
        ("data.mdb", Path.mkdir, "is no file"),
        ("lock.mdb", Path.mkdir, "is no file"),
    ],
)
def test_what_stands_in_a_files_place_is_refused(
    folder: Path, name: str, put: Callable[[Path], object] | None, what: str
) -> None:
    """A file that was emptied, is gone, or is none any more, is told as such and not taken for a new store."""
    (folder / name).unlink()
    if put is not None:
        put(folder / name)
    for look in (look_at, reopen):
        with pytest.raises(FatalError, match=f"{name} {what}.*no alert is lost"):
            look(folder)


@pytest.mark.parametrize(
    "note",
    [
        b'{"bytes": 1e999, "modified_ns": 1}',
        b'{"bytes": 1, "modified_ns": NaN}',
        b"[" * 100_000,
        b"9" * 5000,
        b"\xff",
        b"[1]",
        b"{}",
        b'{"bytes": ',
    ],
)
def test_a_damaged_note_of_a_close_is_disregarded(folder: Path, note: bytes) -> None:
    """A file whose note of an orderly close cannot be read is read through: a sound one opens, a cut one does not."""
    (folder / "closed.json").write_bytes(note)
    assert look_at(folder) is not None
    reopen(folder).close()
    (folder / "closed.json").write_bytes(note)
    os.truncate(folder / "data.mdb", 5000)
    with pytest.raises(FatalError, match=REMEDY):
        reopen(folder)


def test_a_file_that_vanishes_is_told_at_the_next_start(folder: Path) -> None:
    """A store whose file is deleted under it closes as any other, and is damaged from then on."""
    store = reopen(folder)
    (folder / "data.mdb").unlink()
    store.close()
    with pytest.raises(FatalError, match=REMEDY):
        reopen(folder)


def test_a_file_of_something_else_is_refused(folder: Path) -> None:
    """A file that is no LMDB file is refused with the remedy."""
    (folder / "data.mdb").write_bytes(b"ustar" * 4000)
    with pytest.raises(FatalError, match=REMEDY):
        reopen(folder)


def _read_all(folders: list[str], answers: "multiprocessing.SimpleQueue[str]") -> None:
    """Read and write damaged stores as the pipeline does; says how that went, or which wrong value was read."""
    for folder in folders:
        answers.put(_read_one(Path(folder)))


def _read_one(folder: Path) -> str:
    try:
        store = reopen(folder)
    except FatalError as error:
        return "refused" if "no alert is lost" in str(error) else f"unclear: {error}"
    try:
        for late in range(2):
            held = store.add([(f"ztf/{o}", observation(100 * o + 50 + late, 60_100.0)) for o in range(OBJECTS)])
            for key, series in held.items():
                o = int(key.partition("/")[2])
                frames = [FrameKey(key, float(h["time_mjd"]), int(h["alert_id"])) for h in series.heads]
                pixels = store.pixels(frames)
                for head, name in zip(series.heads, frames, strict=True):
                    if name.alert_id % 100 >= 50:
                        continue
                    true = frame(o, name.alert_id - 100 * o)
                    same = name.time_mjd == true.time_mjd and head["flux_njy"] == np.float32(true.flux_njy)
                    if not same or (name in pixels and not np.array_equal(pixels[name].pixels, true.pixels)):
                        return f"wrong row of {key}"
            store.settle([Change(key, (100 * int(key[4:]) + 50 + late,), 100, 3) for key in held])
        store.inspect()
        assert not store.unsettled("alerts", 0) and not store.settle_below("alerts", 0, 1)
        store.put_whole(list(store.whole()))
        return "dropped" if store.stats().damaged_rows else "unharmed"
    except FatalError as error:
        return "stopped" if "no alert is lost" in str(error) else f"unclear: {error}"
    finally:
        store.close()


def _change_bytes(content: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 10, 100))):
        content[rng.randrange(len(content))] = rng.randrange(256)


def _change_page(content: bytearray, rng: random.Random) -> None:
    start = 4096 * rng.randrange(len(content) // 4096)
    content[start : start + 4096] = rng.choice((bytes(4096), rng.randbytes(4096)))


def _change_page_head(content: bytearray, rng: random.Random) -> None:
    content[4096 * rng.randrange(len(content) // 4096) + rng.randrange(40)] = rng.randrange(256)


def _change_page_number(content: bytearray, rng: random.Random) -> None:
    content[4096 * rng.randrange(2, len(content) // 4096)] ^= 1 + rng.randrange(255)


@pytest.mark.slow
@pytest.mark.parametrize("change", [_change_bytes, _change_page, _change_page_head, _change_page_number])
def test_no_damage_is_believed(folder: Path, tmp_path: Path, change: object) -> None:
    """Whatever bytes change, what is read is right or missing, and no process dies without a word."""
    assert callable(change)
    content = (folder / "data.mdb").read_bytes()
    copies = [tmp_path / f"copy{seed}" for seed in range(TRIALS)]
    for seed, copy in enumerate(copies):
        changed = bytearray(content)
        change(changed, random.Random(seed))
        shutil.copytree(folder, copy)
        (copy / "data.mdb").write_bytes(changed)
    spawn = multiprocessing.get_context("spawn")
    answers = spawn.SimpleQueue()
    process = spawn.Process(target=_read_all, args=([str(copy) for copy in copies], answers))
    process.start()
    process.join()
    seen: Counter[str] = Counter()
    while not answers.empty():
        seen[answers.get()] += 1
    assert process.exitcode == 0, f"died after {seen}"
    assert sum(seen.values()) == TRIALS
    assert set(seen) <= {"refused", "stopped", "dropped", "unharmed"}, seen
    assert set(seen) != {"unharmed"}


@pytest.mark.parametrize("name", [INCARNATION, VERSION])
def test_a_name_or_version_that_was_overwritten_is_refused(folder: Path, name: bytes) -> None:
    """What the store says of itself is checked as its rows are."""
    with lmdb.open(str(folder), max_dbs=16) as env, env.begin(write=True) as txn:
        txn.put(name, b"\x91" * 32, db=env.open_db(b"totals", txn))
    with pytest.raises(FatalError, match=REMEDY):
        reopen(folder)


def _damage_pixels(folder: Path, true: Observation) -> None:
    data = folder / "data.mdb"
    content = data.read_bytes()
    wanted = true.pixels.astype("<f2").tobytes()
    assert content.count(wanted) == 1
    at = content.index(wanted) + 7
    data.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])


def test_a_damaged_row_is_dropped_and_counted(folder: Path) -> None:
    """A row whose pixels changed is missing once, then gone from its series, and counted once."""
    _damage_pixels(folder, frame(3, 2))
    store = reopen(folder)
    name = FrameKey("ztf/3", *frame(3, 2).order)
    new = ("ztf/3", observation(399, 60_100.0))
    assert 302 in store.add([new])["ztf/3"].heads["alert_id"]
    assert store.pixels([name]) == {}
    assert store.add([new])["ztf/3"].heads["alert_id"].tolist() == [300, 301, 303, 304, 399]
    store.settle([Change("ztf/3", (399,), 100, 3)])
    stats = store.stats()
    assert (stats.damaged_rows, stats.observations) == (1, OBJECTS * EPOCHS)
    assert store.inspect().damaged_count == 0
    assert store.read(["ztf/3"])["ztf/3"].heads["alert_id"].tolist() == [300, 301, 303, 304, 399]
    store.close()


def test_inspecting_names_what_is_damaged(folder: Path) -> None:
    """Reading every row names the object and the alert that are damaged, and changes nothing."""
    _damage_pixels(folder, frame(3, 2))
    store = reopen(folder)
    inspection = store.inspect()
    assert inspection.damaged_count == 1
    assert "ztf/3 has damaged pixels of alert 302" in inspection.damaged[0]
    assert (inspection.objects, inspection.observations) == (OBJECTS, OBJECTS * EPOCHS)
    store.close()


def test_a_store_that_was_not_closed_is_read_through(folder: Path) -> None:
    """A killed process leaves a sound store: the next one opens it without complaint."""
    program = (
        "import os, sys; from pathlib import Path; from broker_filter.series.lmdb.store import LmdbSeriesStore\n"
        "store = LmdbSeriesStore(Path(sys.argv[1]), max_bytes=32 << 20)\n"
        "os.utime(Path(sys.argv[1]) / 'data.mdb'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", program, str(folder)], check=True)
    store = reopen(folder)
    assert store.inspect().damaged_count == 0
    store.close()


def test_nobody_else_may_read_a_store(folder: Path) -> None:
    """Folders are made for their owner alone, and so are the files in them, those of earlier versions too."""
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for file in folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        file.chmod(0o644)
    reopen(folder).close()
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


def test_damaged_names_of_a_shared_store(redis_port: int, tmp_path: Path) -> None:
    """Ranks, objects and entries of what waits that are none are dropped and counted, or told by ``verify``."""
    namespace = f"names{hash(tmp_path)}"
    store = RedisSeriesStore(f"redis://127.0.0.1:{redis_port}", namespace=namespace)
    fill(store)
    waiting = f"{namespace}:unsettled:".encode() + place_name("t", 0)
    with redis.Redis(port=redis_port) as client:
        client.hset(f"{namespace}:ztf/1:e", b"\0\0", b"nonsense")  # type: ignore[arg-type]
        client.zadd(f"{namespace}:silence", {b"\xff\xfe": 1.0, b"": 2.0, b"x" * 300: 3.0})
        client.zadd(waiting, {b"\xff\0" + bytes(8): 1.0, b"short": 2.0, b"ztf/1\0" + sortable_id(9): float("inf")})
        client.zadd(waiting, {b"ztf/1\0" + sortable_id(100): 7.0})
    assert store.read(["ztf/1"])["ztf/1"].heads["alert_id"].tolist() == [100, 101, 102, 103, 104]
    assert [(one.offset, one.key, one.alert_id) for one in store.unsettled("t", 0)] == [(7, "ztf/1", 100)]
    assert store.stats().damaged_rows == 1 + 3
    assert store.inspect().damaged_count == 3
    store.close()


@pytest.mark.parametrize(
    ("key", "kind"), [("totals", "text"), ("ztf/1:h", "list"), ("incarnation", "half"), ("totals", "word")]
)
def test_a_shared_store_into_which_others_write(redis_port: int, tmp_path: Path, key: str, kind: str) -> None:
    """Keys of another type and numbers that are none stop the service with what is damaged and how to go on."""
    namespace = f"others{hash(tmp_path)}"
    url = f"redis://127.0.0.1:{redis_port}"
    store = RedisSeriesStore(url, namespace=namespace)
    fill(store)
    with redis.Redis(port=redis_port) as client:
        client.delete(f"{namespace}:{key}")
        match kind:
            case "text":
                client.set(f"{namespace}:{key}", "x")
            case "list":
                client.lpush(f"{namespace}:{key}", "x")
            case "half":
                client.set(f"{namespace}:{key}", b"\xff")
            case "word":
                client.hset(f"{namespace}:{key}", "objects", "many")
    with pytest.raises(CorruptStoreError, match=r"is damaged .*no alert is lost"):
        store.stats()
        store.add([("ztf/1", frame(1, 0))])
        RedisSeriesStore(url, namespace=namespace).close()
    store.close()


def test_damaged_rows_of_a_shared_store_are_dropped(redis_port: int, tmp_path: Path) -> None:
    """On a server, too, a row that changed, or whose pixels the server dropped, leaves its series and is counted."""
    namespace = f"damage{hash(tmp_path)}"
    store = RedisSeriesStore(f"redis://127.0.0.1:{redis_port}", namespace=namespace)
    fill(store)
    with redis.Redis(port=redis_port) as client:
        head = client.hget(f"{namespace}:ztf/1:h", sortable_id(101))
        client.hset(f"{namespace}:ztf/1:h", sortable_id(101), head[:40] + b"?" + head[41:])
        client.hset(f"{namespace}:ztf/1:e", b"\0\0\0\0", b"nonsense")
        client.hdel(f"{namespace}:ztf/2:p", sortable_id(202))
    assert store.inspect().damaged_count == 3
    one = store.read(["ztf/1"])["ztf/1"]
    assert one.heads["alert_id"].tolist() == [100, 102, 103, 104]
    assert one.embeddings == {}
    assert store.pixels([FrameKey("ztf/2", *frame(2, 2).order)]) == {}
    assert store.read(["ztf/2"])["ztf/2"].heads["alert_id"].tolist() == [200, 201, 203, 204]
    assert store.stats().damaged_rows == 3
    assert store.stats().observations == OBJECTS * EPOCHS - 2
    assert store.inspect().damaged_count == 0
    store.close()
