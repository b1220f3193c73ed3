"""What every series store promises, asked of the embedded one and of a real Redis server."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import fake_stream as fake
import lmdb
import numpy as np
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from broker_filter.errors import ConfigurationError, FatalError, RetryableError
from broker_filter.records import Observation, Origin, PacketMetadata
from broker_filter.series import rows
from broker_filter.series.lmdb.store import LmdbSeriesStore
from broker_filter.series.redis.store import RedisSeriesStore
from broker_filter.series.store import Change, CorruptStoreError, Embedding, FrameKey, SeriesStore, surplus
from model.past_photometry import History

OpenStore = Callable[..., SeriesStore]


@pytest.fixture(params=["lmdb", "redis"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStore]:
    """Opens the same store again and again; the test may close it in between."""
    opened: list[SeriesStore] = []
    port = request.getfixturevalue("redis_port") if request.param == "redis" else 0

    def reopen(**limits: int) -> SeriesStore:
        if request.param == "redis":
            url = f"redis://127.0.0.1:{port}"
            opened.append(RedisSeriesStore(url, namespace=f"test{hash(tmp_path)}", **limits))
        else:
            opened.append(LmdbSeriesStore(tmp_path / "store", sync=False, **({"max_bytes": 64 << 20} | limits)))
        return opened[-1]

    yield reopen
    for store in opened:
        store.close()


def settle(store: SeriesStore, key: str, *ids: int, hold: int = 100, group: int = 1, **more: object) -> None:
    store.settle([Change(key, ids, hold, group, **more)])


def ids_of(store: SeriesStore, key: str) -> list[int]:
    """What is held, seen by adding something long known."""
    probe = fake.observation(10**9, 1.0)
    return [i for i in store.add([(key, probe)])[key].heads["alert_id"].tolist() if i != 10**9]


def test_series_are_ordered_by_time_then_alert_id(open_store: OpenStore) -> None:
    """Whatever the order of arrival, a series is in order of time, ties by alert id."""
    store = open_store()
    arrivals = [(5, 60_002.0), (9, 60_001.0), (2, 60_001.0), (1, 60_003.0)]
    held = store.add([("ztf/a", fake.observation(i, t)) for i, t in arrivals])["ztf/a"]
    assert held.heads["alert_id"].tolist() == [2, 9, 5, 1]
    assert not held.heads["settled"].any()


def test_adding_twice_changes_nothing(open_store: OpenStore) -> None:
    """An observation is identified by its alert id, in one batch and across batches."""
    store = open_store()
    one = fake.observation(1)
    held = store.add([("ztf/a", one), ("ztf/a", one)])["ztf/a"]
    assert len(held.heads) == 1
    settle(store, "ztf/a", 1)
    again = store.add([("ztf/a", fake.observation(1, 60_000.5))])["ztf/a"]
    assert again.heads["time_mjd"].tolist() == [60_000.0]
    assert again.heads["settled"].all()
    assert store.stats().observations == 1


def test_settled_observations_survive_reopening(open_store: OpenStore) -> None:
    """What was settled is there after a restart, pixel for pixel."""
    store = open_store()
    first = fake.observation(1)
    store.add([("ztf/a", first)])
    settle(store, "ztf/a", 1)
    store.close()
    store = open_store()
    held = store.add([("ztf/a", fake.observation(2, 60_001.0))])["ztf/a"]
    assert held.heads["settled"].tolist() == [1, 0]
    frame = FrameKey("ztf/a", 60_000.0, 1)
    read = store.pixels([frame])[frame]
    np.testing.assert_array_equal(read.pixels, first.pixels)
    np.testing.assert_array_equal(read.scale_njy, first.scale_njy)


def same(one: History, other: History) -> None:
    for name in ("time_P", "band_P", "flux_P", "flux_error_P"):
        read, expected = getattr(one, name), getattr(other, name)
        assert read.dtype == expected.dtype
        np.testing.assert_array_equal(read, expected)


def test_histories_come_back_with_their_heads(open_store: OpenStore) -> None:
    """What packets told comes back to the last bit, beside the heads, in flight, settled and after a restart."""
    store = open_store()
    past = {i: fake.history(60_000.0 + i, epochs=n) for i, n in ((5, 96), (1, 3), (3, 0))}
    arrivals = [fake.observation(i, 60_000.0 + i, history=history) for i, history in past.items()]
    for observation in arrivals:
        held = store.add([("ztf/a", observation)])["ztf/a"]
    for _ in range(2):
        assert held.heads["alert_id"].tolist()[:3] == [1, 3, 5]
        assert held.heads["history"].tolist()[:3] == [3, 0, 96]
        for n, alert_id in enumerate((1, 3, 5)):
            same(held.history_of(n, n + 1), past[alert_id])
        same(held.history_of(0, 3), History.joined([past[1], past[3], past[5]]))
        settle(store, "ztf/a", 1, 3, 5)
        store.close()
        store = open_store()
        held = store.add([("ztf/a", fake.observation(9, 60_009.0))])["ztf/a"]
    frame = FrameKey("ztf/a", 60_005.0, 5)
    np.testing.assert_array_equal(store.pixels([frame])[frame].pixels, arrivals[0].pixels)


def test_histories_leave_with_their_observations(open_store: OpenStore) -> None:
    """A full series loses the histories of what leaves, and the count of bytes falls by as much as it grew."""
    store, sizes = open_store(), []
    for i in range(12):
        past = fake.history(60_000.0 + i, epochs=96)
        held = store.add([("ztf/a", fake.observation(i, 60_000.0 + i, history=past))])["ztf/a"]
        assert len(held.history_of(0, len(held.heads))) == 96 * len(held.heads)
        same(held.history_of(len(held.heads) - 1, len(held.heads)), past)
        settle(store, "ztf/a", i, hold=4)
        sizes.append(store.stats().bytes)
    assert sizes[3] > 4 * 96 * rows.EPOCH.itemsize
    assert len(set(sizes[4:])) == 1


def test_whole_groups_leave_a_full_series(open_store: OpenStore) -> None:
    """A full series loses its oldest groups, counts them, and refuses what is older than they were."""
    store = open_store()
    store.add([("ztf/a", fake.observation(i, 60_000.0 + i)) for i in range(10)])
    settle(store, "ztf/a", *range(10), hold=6, group=3)
    late = fake.observation(99, 60_004.5)
    held = store.add([("ztf/a", late)])["ztf/a"]
    assert held.dropped == 6
    assert held.horizon == (60_005.0, 5)
    assert held.heads["alert_id"].tolist() == [6, 7, 8, 9]
    assert store.stats().observations == 4


def test_embeddings_are_kept_until_their_group_leaves(open_store: OpenStore) -> None:
    """Embeddings come back as they were, and leave with their group."""
    store = open_store()
    store.add([("ztf/a", fake.observation(i, 60_000.0 + i)) for i in range(6)])
    embeddings = {r: Embedding(bytes([r]) * 16, np.arange(r, r + 4, dtype=np.float32)) for r in (0, 3)}
    settle(store, "ztf/a", *range(6), hold=6, group=3, embeddings=embeddings)
    held = store.add([("ztf/a", fake.observation(7, 60_009.0))])["ztf/a"]
    assert set(held.embeddings) == {0, 3}
    assert held.embeddings[3].tag == b"\3" * 16
    np.testing.assert_array_equal(held.embeddings[3].values, embeddings[3].values)
    settle(store, "ztf/a", 7, hold=6, group=3)
    assert set(store.add([("ztf/a", fake.observation(8, 60_010.0))])["ztf/a"].embeddings) == {3}


def test_longest_silent_objects_leave_a_full_store(open_store: OpenStore) -> None:
    """Beyond the limit on objects, those whose newest observation is oldest go, and are counted."""
    store = open_store(max_objects=3)
    for i, days in enumerate([3, 1, 2, 4, 5]):
        store.add([(f"ztf/{i}", fake.observation(i, 60_000.0 + days))])
        settle(store, f"ztf/{i}", i)
    assert store.stats().objects == 3
    assert store.stats().evicted_objects == 2
    assert ids_of(store, "ztf/1") == []
    assert ids_of(store, "ztf/4") == [4]


def test_bytes_are_bounded(open_store: OpenStore) -> None:
    """The limit on bytes holds while objects keep coming."""
    store = open_store(max_bytes=200_000)
    for i in range(60):
        store.add([(f"ztf/{i}", fake.observation(i, 60_000.0 + i, size_px=63))])
        settle(store, f"ztf/{i}", i)
    stats = store.stats()
    assert 100_000 < stats.bytes <= 200_000
    assert stats.objects + stats.evicted_objects == 60


def test_bytes_do_not_creep(open_store: OpenStore) -> None:
    """The count of bytes is exact: what leaves takes its share along, embeddings too."""
    store, sizes = open_store(max_objects=1), set()
    for i in range(5):
        store.add([(f"ztf/{i}", fake.observation(j, 60_000.0 + i + j / 100)) for j in range(7)])
        embeddings = {r: Embedding(bytes(16), np.zeros(9, np.float32)) for r in (0, 3)}
        settle(store, f"ztf/{i}", *range(7), hold=5, group=3, embeddings=embeddings)
        settle(store, f"ztf/{i}", hold=5, group=3, embeddings={3: embeddings[3]})
        stats = store.stats()
        sizes.add((stats.objects, stats.observations, stats.bytes))
    assert len(sizes) == 1
    assert sizes.pop()[:2] == (1, 4)


def test_keys_that_begin_alike_are_apart(open_store: OpenStore) -> None:
    """An object whose name begins with another's has a series of its own."""
    store = open_store()
    store.add([("ztf/a", fake.observation(1)), ("ztf/ab", fake.observation(2)), ("ztf/a:h", fake.observation(3))])
    store.settle([Change("ztf/a", (1,), 9, 1), Change("ztf/ab", (2,), 9, 1), Change("ztf/a:h", (3,), 9, 1)])
    assert ids_of(store, "ztf/a") == [1]
    assert ids_of(store, "ztf/ab") == [2]


def test_pixels_of_unknown_frames_are_missing(open_store: OpenStore) -> None:
    """A frame that has left is missing from the answer."""
    assert open_store().pixels([FrameKey("ztf/a", 60_000.0, 1)]) == {}


def test_two_batches_in_flight_see_each_other(open_store: OpenStore) -> None:
    """A batch sees what an earlier one brought, before either is settled."""
    store = open_store()
    store.add([("ztf/a", fake.observation(1, 60_000.0))])
    held = store.add([("ztf/a", fake.observation(2, 60_001.0))])["ztf/a"]
    assert held.heads["alert_id"].tolist() == [1, 2]
    settle(store, "ztf/a", 1)
    settle(store, "ztf/a", 2)
    assert store.add([("ztf/a", fake.observation(2, 60_001.0))])["ztf/a"].heads["settled"].tolist() == [1, 1]


def test_embedded_store_has_one_owner(tmp_path: Path) -> None:
    """A second owner of the folder is refused with the remedy, and may come after the first has gone."""
    first = LmdbSeriesStore(tmp_path, max_bytes=1 << 20)
    with pytest.raises(ConfigurationError, match="own folder"):
        LmdbSeriesStore(tmp_path, max_bytes=1 << 20)
    first.close()
    first.close()
    LmdbSeriesStore(tmp_path, max_bytes=1 << 20).close()


def test_embedded_store_keeps_nothing_unsettled(tmp_path: Path) -> None:
    """What was not delivered before a crash is not in the file, so that its messages count as new."""
    store = LmdbSeriesStore(tmp_path, max_bytes=1 << 20)
    store.add([("ztf/a", fake.observation(1))])
    store.close()
    store = LmdbSeriesStore(tmp_path, max_bytes=1 << 20)
    assert len(store.add([("ztf/a", fake.observation(2))])["ztf/a"].heads) == 1
    store.close()


WRITER = """
import sys
from pathlib import Path
import numpy as np
from broker_filter.series.store import Change
from broker_filter.series.lmdb.store import LmdbSeriesStore
from broker_filter.records import Observation, Origin, PacketMetadata
store = LmdbSeriesStore(Path(sys.argv[1]), max_bytes=64 << 20)
pixels, scale = np.ones((1, 32, 32), np.float16), np.ones(1, np.float32)
start = store.stats().observations // 8
for batch in range(start, 100_000):
    keys = [f"ztf/{o}" for o in range(8)]
    store.add([(key, Observation(batch, 60_000.0 + batch, 1, 2.0, 3.0, pixels, scale)) for key in keys])
    store.settle([Change(key, (batch,), 10_000, 1) for key in keys])
    print(batch, flush=True)
"""


@pytest.mark.slow
def test_killed_embedded_store_holds_whole_settled_batches(tmp_path: Path) -> None:
    """After kill -9 every acknowledged batch is there, and no part of another."""
    for attempt in range(4):
        command = [sys.executable, "-c", WRITER, str(tmp_path / "store")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(5 + 7 * attempt):
                acknowledged = int(writer.stdout.readline())
            os.kill(writer.pid, signal.SIGKILL)
            acknowledged = max([acknowledged, *map(int, writer.stdout.read().split())])
        store = LmdbSeriesStore(tmp_path / "store", max_bytes=64 << 20)
        held = store.add([(f"ztf/{o}", fake.observation(10**6, 1e6)) for o in range(8)])
        lengths = {len(series.heads) - 1 for series in held.values()}
        store.close()
        assert len(lengths) == 1
        assert lengths.pop() in (acknowledged + 1, acknowledged + 2)


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (lmdb.DiskError("No space left on device"), "raise store.byte_limit, or free the disk"),
        (lmdb.MemoryError("Cannot allocate memory"), "lower store.byte_limit"),
        (lmdb.ReadonlyError("Permission denied"), "let this user read and write its files"),
    ],
)
def test_a_file_that_cannot_be_opened_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: lmdb.Error, remedy: str
) -> None:
    """The remedy is that of what is in the way, and the folder is free afterwards."""
    with monkeypatch.context() as patch, pytest.raises(FatalError, match=f"{error}.*limit 1048576 bytes.*: {remedy}"):
        patch.setattr(lmdb, "open", Mock(side_effect=error))
        LmdbSeriesStore(tmp_path, max_bytes=1 << 20)
    LmdbSeriesStore(tmp_path, max_bytes=1 << 20).close()


def test_full_file_says_what_to_do(tmp_path: Path) -> None:
    """When the file cannot hold a batch even after growing, the message names the limit and the remedy."""
    store = LmdbSeriesStore(tmp_path, max_bytes=1 << 20, file_bytes=4 << 20)
    huge = [(f"ztf/{i}", fake.observation(i, size_px=512)) for i in range(20)]
    store.add(huge)
    with pytest.raises(FatalError, match=r"limit 1048576 bytes.*raise store"):
        store.settle([Change(key, (o.alert_id,), 9, 1) for key, o in huge])
    store.add([("ztf/small", fake.observation(99))])
    settle(store, "ztf/small", 99)
    assert store.stats().objects == 1
    store.close()


def test_file_stays_within_twice_its_plan(tmp_path: Path) -> None:
    """Objects that come and go for long neither fill the file nor stop the store."""
    store = LmdbSeriesStore(tmp_path, max_bytes=2 << 20, file_bytes=2 << 20, sync=False)
    for i in range(600):
        store.add([(f"ztf/{i}", fake.observation(i, 60_000.0 + i, size_px=64))])
        settle(store, f"ztf/{i}", i)
    stats = store.stats()
    store.close()
    assert stats.objects + stats.evicted_objects == 600
    assert (tmp_path / "data.mdb").stat().st_size <= 2 * (2 << 20) * 1.25


def test_damaged_rows_are_refused() -> None:
    """A row that is cut off, changed in any byte or of another object is refused with the remedy."""
    past = fake.history(60_000.0)
    observation = fake.observation(1, history=past)
    row = rows.encode_observation(observation, True, "ztf/a")
    changed = [row[:n] + bytes([row[n] ^ 0x10]) + row[n + 1 :] for n in range(len(row))]
    for damaged in (row[:-1], row[:10], row + b"\0", b"", *changed):
        with pytest.raises(CorruptStoreError, match="rebuild"):
            rows.decode_pixels(damaged, "ztf/a")
    with pytest.raises(CorruptStoreError, match="rebuild"):
        rows.decode_pixels(row, "ztf/b")
    with pytest.raises(CorruptStoreError, match="rebuild"):
        rows.decode_pixels(row, "ztf/a", alert_id=2)
    front = row[: rows.front_bytes(row)]
    changed = [front[:n] + bytes([front[n] ^ 0x10]) + front[n + 1 :] for n in range(len(front))]
    for damaged in (front[:-1], front + b"\0", front[:33], b"", *changed):
        with pytest.raises(CorruptStoreError, match="rebuild"):
            rows.decode_fronts([damaged], "ztf/a")
    embedding = rows.encode_embedding(Embedding(bytes(16), np.ones((2, 3), np.float32)), "ztf/a")
    changed = [embedding[:n] + bytes([embedding[n] ^ 0x10]) + embedding[n + 1 :] for n in range(len(embedding))]
    for damaged in (embedding[:-1], embedding[:-4], embedding[:5], *changed):
        with pytest.raises(CorruptStoreError, match="rebuild"):
            rows.decode_embedding(damaged, "ztf/a")
    known = rows.ObjectRow(1, 2, 3, 4.0, (5.0, 6)).encode("ztf/a")
    assert rows.ObjectRow.decode(known, "ztf/a") == rows.ObjectRow(1, 2, 3, 4.0, (5.0, 6))
    for n in range(len(known)):
        with pytest.raises(CorruptStoreError, match="rebuild"):
            rows.ObjectRow.decode(known[:n] + bytes([known[n] ^ 1]) + known[n + 1 :], "ztf/a")


def test_a_store_of_version_1_is_refused(tmp_path: Path) -> None:
    """A store that is older than any migration is refused with the remedy when it is opened."""
    store = LmdbSeriesStore(tmp_path, max_bytes=1 << 20, sync=False)
    store.add([("ztf/a", fake.observation(1))])
    settle(store, "ztf/a", 1)
    store.close()
    with lmdb.open(str(tmp_path), max_dbs=8) as env, env.begin(write=True) as txn:
        for name in (b"objects", b"rows"):
            db = env.open_db(name, txn=txn)
            for key, row in list(txn.cursor(db=db)):
                txn.put(key, b"\1" + row[1:], db=db)
        txn.delete(b"version", db=env.open_db(b"totals", txn=txn))
    with pytest.raises(CorruptStoreError, match=r"of version 1.*rebuild it"):
        LmdbSeriesStore(tmp_path, max_bytes=1 << 20, sync=False)


@given(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(-1e5, 1e5),
    st.floats(width=32),
    st.integers(1, 3),
    st.integers(0, 96),
)
def test_rows_come_back_as_they_were(alert_id: int, time_mjd: float, flux: float, channels: int, epochs: int) -> None:
    """An observation survives its row bit for bit."""
    pixels = np.full((channels, 2, 3), np.nan, np.float16)
    past = fake.history(time_mjd, epochs=epochs)
    before = Observation(alert_id, time_mjd, 5, flux, 1.0, pixels, np.ones(channels, np.float32), past)
    after = rows.decode_observation(rows.encode_observation(before, False, "ztf/a"), "ztf/a")
    assert after.order == before.order
    np.testing.assert_equal([after.flux_njy, after.pixels], [before.flux_njy, before.pixels])
    same(after.history, past)


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(-(2**63), 2**63 - 1)), min_size=2, max_size=9))
def test_sort_keys_sort_like_orders(orders: list[tuple[float, int]]) -> None:
    """Bytes of orders sort as the orders do, and can be read back."""
    orders = [(t + 0.0, i) for t, i in orders]
    assert sorted(orders) == sorted(orders, key=lambda order: rows.sortable_order(*order))
    assert [rows.parse_order(rows.sortable_order(*order)) for order in orders] == orders


@given(st.integers(0, 300), st.integers(1, 150), st.integers(1, 5))
def test_surplus_leaves_in_whole_groups(held: int, hold: int, group: int) -> None:
    """What leaves brings the series to its limit, in whole groups unless that would empty it."""
    leaving = surplus(held, hold, group)
    assert held - leaving <= hold or leaving == held - 1
    assert leaving % group == 0 or leaving == held - 1


def test_a_server_that_is_away_is_retryable() -> None:
    """No answer is worth another try; a wrong address is not."""
    with pytest.raises(RetryableError, match="does not answer"):
        RedisSeriesStore("redis://127.0.0.1:9")
    with pytest.raises(ConfigurationError):
        RedisSeriesStore("http://127.0.0.1:9")


def test_round_trips_do_not_grow_with_the_batch(redis_port: int, tmp_path: Path) -> None:
    """A batch of a thousand objects is as many calls to the server as a batch of one."""
    store = RedisSeriesStore(f"redis://127.0.0.1:{redis_port}", namespace=f"trips{hash(tmp_path)}")
    with redis.Redis(port=redis_port) as client:

        def reads() -> int:
            return int(client.info("stats")["total_reads_processed"])

        used = []
        store.add([("ztf/first", fake.observation(1))])  # names the store
        for size in (1, 200):
            before = reads()
            batch = [(f"ztf/{size}/{i}", fake.observation(i)) for i in range(size)]
            store.add(batch)
            store.pixels([FrameKey(key, o.time_mjd, o.alert_id) for key, o in batch])
            store.settle([Change(key, (o.alert_id,), 9, 1) for key, o in batch])
            used.append(reads() - before)
    store.close()
    assert used[0] <= 4
    # The server reads a long pipeline in pieces of its buffer's size; far fewer than one for each object.
    assert used[1] < 40


def test_a_restarted_server_gets_its_scripts_again(redis_port: int, tmp_path: Path) -> None:
    """A server that has forgotten the scripts is told them again."""
    store = RedisSeriesStore(f"redis://127.0.0.1:{redis_port}", namespace=f"again{hash(tmp_path)}")
    with redis.Redis(port=redis_port) as client:
        client.script_flush()
    assert len(store.add([("ztf/a", fake.observation(1))])["ztf/a"].heads) == 1
    store.close()


def from_topic(observation: Observation, offset: int, partition: int = 0, topic: str = "night") -> Observation:
    return replace(observation, origin=Origin(topic, partition, offset))


def test_rows_carry_what_a_packet_says(open_store: OpenStore) -> None:
    """Position of the message, place in the sky, magnitude, real/bogus and metadata come back after a restart."""
    store = open_store()
    metadata = PacketMetadata(3, np.array([1.5, np.nan], np.float32))
    observation = replace(
        from_topic(fake.observation(1, history=fake.history(60_000.0)), 41, 2),
        ra_deg=123.456789012,
        dec_deg=-5.5,
        magnitude=19.25,
        magnitude_error=0.125,
        real_bogus=0.75,
        metadata=metadata,
    )
    store.add([("ztf/a", observation), ("ztf/a", fake.observation(2, 60_001.0))])
    settle(store, "ztf/a", 1, 2)
    store.close()
    held = open_store().read(["ztf/a", "ztf/unknown"])
    assert held.keys() == {"ztf/a"}
    head, plain = held["ztf/a"].heads
    assert (head["ra_deg"], head["dec_deg"], head["magnitude"]) == (123.456789012, -5.5, 19.25)
    assert (head["magnitude_error"], head["real_bogus"]) == (0.125, 0.75)
    assert (head["source"], head["partition"], head["offset"]) == (rows.source_number("night"), 2, 41)
    assert held["ztf/a"].metadata(0).layout == 3
    np.testing.assert_array_equal(held["ztf/a"].metadata(0).values_M, metadata.values_M)
    assert (plain["source"], plain["partition"], plain["offset"]) == (0, -1, -1)
    assert np.isnan([plain["ra_deg"], plain["magnitude"], plain["real_bogus"]]).all()
    assert len(held["ztf/a"].metadata(1).values_M) == 0


def test_a_crash_between_commit_and_settle_leaves_unsettled_rows(open_store: OpenStore) -> None:
    """Rows that were prepared survive as unsettled, are found by partition, and are settled below an offset."""
    store = open_store()
    night = [(f"ztf/{i % 3}", from_topic(fake.observation(i, 60_000.0 + i), 10 + i, i % 2)) for i in range(8)]
    store.add(night)
    store.prepare([Change(key, (one.alert_id,), 9, 1) for key, one in night])
    store.close()
    store = open_store()
    assert [(u.offset, u.key, u.alert_id) for u in store.unsettled("night", 0)] == [
        (10, "ztf/0", 0),
        (12, "ztf/2", 2),
        (14, "ztf/1", 4),
        (16, "ztf/0", 6),
    ]
    assert store.unsettled("another night", 0) == []
    assert store.inspect().unsettled == 8
    assert store.settle_below("night", 0, 14) == 2
    assert [u.offset for u in store.unsettled("night", 0)] == [14, 16]
    assert [u.offset for u in store.unsettled("night", 1)] == [11, 13, 15, 17]
    assert store.read(["ztf/0"])["ztf/0"].heads["settled"].tolist() == [1, 0, 0]
    assert store.settle_below("night", 0, 14) == 0
    store.close()


def test_prepared_rows_are_settled_with_their_batch(open_store: OpenStore) -> None:
    """A batch that was prepared is settled as another is, at once or when it comes again after a crash."""
    store = open_store()
    one, two = from_topic(fake.observation(1), 5), from_topic(fake.observation(2, 60_001.0), 6)
    store.add([("ztf/a", one)])
    store.prepare([Change("ztf/a", (1,), 9, 1)])
    assert store.pixels([FrameKey("ztf/a", *one.order)])
    settle(store, "ztf/a", 1)
    assert store.unsettled("night", 0) == []
    store.add([("ztf/a", two)])
    store.prepare([Change("ztf/a", (2,), 9, 1)])
    store.close()
    store = open_store()
    held = store.add([("ztf/a", two)])["ztf/a"]
    assert held.heads["settled"].tolist() == [1, 0]
    settle(store, "ztf/a", 2)
    assert store.unsettled("night", 0) == []
    assert store.read(["ztf/a"])["ztf/a"].heads["settled"].all()
    assert store.stats().observations == 2
    assert store.inspect().damaged == ()


def test_unsettled_rows_leave_with_their_series(open_store: OpenStore) -> None:
    """What leaves a full series is no longer waited for."""
    store = open_store()
    for i in range(4):
        store.add([("ztf/a", from_topic(fake.observation(i, 60_000.0 + i), i))])
    store.prepare([Change("ztf/a", (0, 1, 2, 3), 9, 1)])
    settle(store, "ztf/a", 3, hold=2)
    assert [u.offset for u in store.unsettled("night", 0)] == [2]


def test_withdrawn_observations_leave(open_store: OpenStore) -> None:
    """What a survey takes back leaves its series; an object without observations leaves the store."""
    store = open_store()
    store.add([("ztf/a", fake.observation(i, 60_000.0 + i)) for i in range(3)])
    settle(store, "ztf/a", 0, 1, 2)
    settle(store, "ztf/a", withdrawn=(1,))
    assert store.read(["ztf/a"])["ztf/a"].heads["alert_id"].tolist() == [0, 2]
    settle(store, "ztf/a", withdrawn=(0, 2))
    assert store.read(["ztf/a"]) == {}
    stats = store.stats()
    assert (stats.objects, stats.observations, stats.bytes) == (0, 0, 0)


def test_a_store_keeps_its_name(open_store: OpenStore) -> None:
    """The incarnation of a store is the same after a restart."""
    store = open_store()
    store.add([("ztf/a", fake.observation(1))])
    name = store.incarnation
    assert name
    store.add([("ztf/a", fake.observation(2))])
    assert store.incarnation == name
    store.close()
    assert open_store().incarnation == name


def test_a_server_that_comes_back_empty_has_another_name(redis_port: int, tmp_path: Path) -> None:
    """When a server has lost everything, the next batch already tells."""
    namespace = f"lost{hash(tmp_path)}"
    store = RedisSeriesStore(f"redis://127.0.0.1:{redis_port}", namespace=namespace)
    store.add([("ztf/a", fake.observation(1))])
    name = store.incarnation
    with redis.Redis(port=redis_port) as client:
        client.delete(*client.keys(f"{namespace}:*"))
    assert len(store.add([("ztf/a", fake.observation(2, 60_001.0))])["ztf/a"].heads) == 1
    assert store.incarnation != name
    store.close()


def test_rows_left_by_an_evicted_object_do_no_harm(redis_port: int, tmp_path: Path) -> None:
    """Rows that left with their object are passed over when what a crash left is settled."""
    namespace = f"evicted{hash(tmp_path)}"
    store = RedisSeriesStore(f"redis://127.0.0.1:{redis_port}", namespace=namespace, max_objects=1)
    store.add([("ztf/a", from_topic(fake.observation(1), 1)), ("ztf/b", from_topic(fake.observation(2, 60_001.0), 2))])
    settle(store, "ztf/b", 2)
    assert store.settle_below("night", 0, 9) == 0
    assert store.unsettled("night", 0) == []
    store.close()


def test_a_store_takes_over_what_another_kept(open_store: OpenStore, tmp_path: Path) -> None:
    """Series handed over whole go on as in the store they come from; handed over twice, they are there once."""
    own_store, origin = open_store(), LmdbSeriesStore(tmp_path / "origin", max_bytes=64 << 20, sync=False)
    embeddings = {r: Embedding(bytes([r]) * 16, np.arange(r, r + 4, dtype=np.float32)) for r in (0, 3, 6)}
    for store in (own_store, origin):
        for key in ("ztf/a", "ztf/b"):
            store.add([(key, fake.observation(i, 60_000.0 + i, history=fake.history(60_000.0))) for i in range(9)])
            settle(store, key, *range(9), hold=6, group=3, embeddings=embeddings)
    own = own_store.stats()
    own_store.add([("ztf/a", fake.observation(99, 60_500.0))])  # in the place of which the other's series comes
    for _ in range(2):
        own_store.put_whole([*origin.whole()])
    assert own_store.stats() == own
    arrival = ("ztf/a", fake.observation(10, 60_020.0))
    wanted, held = (store.add([arrival])["ztf/a"] for store in (origin, own_store))
    assert [i for i in held.heads["alert_id"].tolist() if i != 99] == wanted.heads["alert_id"].tolist()
    assert (held.dropped, held.horizon, set(held.embeddings)) == (3, (60_002.0, 2), {3, 6})
    frame = FrameKey("ztf/b", 60_004.0, 4)
    np.testing.assert_array_equal(own_store.pixels([frame])[frame].pixels, origin.pixels([frame])[frame].pixels)
    origin.close()


def test_a_store_that_is_handed_too_much_keeps_the_newest_objects(open_store: OpenStore, tmp_path: Path) -> None:
    """Limits hold for series that are handed over, too."""
    own_store, origin = open_store(max_objects=2), LmdbSeriesStore(tmp_path / "origin", max_bytes=64 << 20, sync=False)
    for number in range(4):
        origin.add([(f"ztf/{number}", fake.observation(number, 60_000.0 + number))])
        settle(origin, f"ztf/{number}", number)
    own_store.put_whole([*origin.whole()])
    assert (own_store.stats().objects, own_store.stats().evicted_objects) == (2, 2)
    assert [len(ids_of(own_store, f"ztf/{number}")) for number in range(4)] == [0, 0, 1, 1]
    origin.close()


def test_a_disk_without_room_is_told_before_a_batch_is_delivered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be settled afterwards is not published: the batch waits, and the message has the numbers."""
    store = LmdbSeriesStore(tmp_path / "store", sync=False, max_bytes=64 << 20)
    batch = [Change("ztf/a", (1,), 9, 1)]
    store.add([("ztf/a", fake.observation(1))])
    store.refuse_without_room(batch)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    with pytest.raises(RetryableError, match="1000000 bytes left"):
        store.refuse_without_room(batch)
    store.close()
