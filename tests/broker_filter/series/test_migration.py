"""Stores of version 2 become version 3, with every series."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import fake_stream as fake
import lmdb
import numpy as np
import pytest
import redis
import version_2

from broker_filter.errors import ConfigurationError
from broker_filter.records import Observation
from broker_filter.series.lmdb.store import LmdbSeriesStore
from broker_filter.series.redis.store import EARLIER_NAMESPACE, RedisSeriesStore
from broker_filter.series.redis.version import migrate
from broker_filter.series.store import FrameKey, SeriesStore


def sky(objects: int = 5, epochs: int = 4) -> dict[str, list[Observation]]:
    return {
        f"ztf/{o}": [
            fake.observation(100 * o + e, 60_000.0 + o + e, history=fake.history(60_000.0 + e, epochs=e % 3))
            for e in range(epochs)
        ]
        for o in range(objects)
    }


def assert_holds(store: SeriesStore, series: dict[str, list[Observation]]) -> None:
    """Every observation, what its packet told, its pixels, embeddings, what had left and the totals."""
    held = store.read(list(series))
    assert held.keys() == series.keys()
    for key, observations in series.items():
        one = held[key]
        assert (one.dropped, one.horizon) == (version_2.DROPPED, version_2.HORIZON)
        assert one.heads["alert_id"].tolist() == [o.alert_id for o in observations]
        assert one.heads["settled"].all()
        np.testing.assert_array_equal(one.heads["flux_njy"], np.array([o.flux_njy for o in observations], np.float32))
        assert np.isnan(one.heads["ra_deg"]).all()
        assert (one.heads["offset"] == -1).all()
        assert one.embeddings[3].tag == version_2.EMBEDDING.tag
        np.testing.assert_array_equal(one.embeddings[3].values, version_2.EMBEDDING.values)
        frames = {FrameKey(key, *o.order): o for o in observations}
        pixels = store.pixels(list(frames))
        for n, (frame, observation) in enumerate(frames.items()):
            np.testing.assert_array_equal(pixels[frame].pixels, observation.pixels)
            np.testing.assert_array_equal(one.history_of(n, n + 1).time_P, observation.history.time_P)
    inspection = store.inspect()
    assert inspection.damaged == ()
    assert (inspection.objects, inspection.observations) == (len(series), sum(map(len, series.values())))
    stats = store.stats()
    assert (stats.objects, stats.observations) == (inspection.objects, inspection.observations)


def test_an_embedded_store_is_migrated_when_it_is_opened(tmp_path: Path) -> None:
    """Opening a folder of version 2 keeps every series, and the next opening finds version 3."""
    series = sky(300)
    version_2.write_folder(tmp_path / "store", series)
    names = set()
    for _ in range(2):
        store = LmdbSeriesStore(tmp_path / "store", max_bytes=64 << 20, sync=False)
        assert_holds(store, series)
        names.add(store.incarnation)
        store.close()
    assert len(names) == 1


MIGRATOR = """
import sys
from pathlib import Path
from broker_filter.series.lmdb import version as lmdb_version
from broker_filter.series.lmdb.store import LmdbSeriesStore
lmdb_version.OBJECTS_AT_ONCE = 2
convert = lmdb_version._Step.__call__
def slowly(self, txn):
    convert(self, txn)
    print(self.objects, flush=True)
    if txn.stat(self._tables.objects)["entries"]:
        sys.stdin.readline()
lmdb_version._Step.__call__ = slowly
LmdbSeriesStore(Path(sys.argv[1]), max_bytes=64 << 20, sync=False)
"""


def test_a_killed_migration_goes_on(tmp_path: Path) -> None:
    """A process that is killed in the middle of a migration loses nothing; the next one goes on."""
    series = sky(9)
    version_2.write_folder(tmp_path / "store", series)
    for steps in (1, 3):
        command = [sys.executable, "-c", MIGRATOR, str(tmp_path / "store")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as migrator:
            assert migrator.stdin is not None
            assert migrator.stdout is not None
            for _ in range(steps):
                assert migrator.stdout.readline() == "2\n"
                migrator.stdin.write("\n")
                migrator.stdin.flush()
            os.kill(migrator.pid, signal.SIGKILL)
    store = LmdbSeriesStore(tmp_path / "store", max_bytes=64 << 20, sync=False)
    assert_holds(store, series)
    store.close()


def test_damaged_rows_stay_behind(tmp_path: Path) -> None:
    """A row of version 2 that is cut off is not migrated; the rest of its series is."""
    series = sky(2)
    version_2.write_folder(tmp_path / "store", series)
    with lmdb.open(str(tmp_path / "store"), max_dbs=5) as env:
        rows = env.open_db(b"rows")
        with env.begin(write=True) as txn, txn.cursor(db=rows) as cursor:
            assert cursor.first()
            txn.put(cursor.key(), cursor.value()[:-3], db=rows)
    store = LmdbSeriesStore(tmp_path / "store", max_bytes=64 << 20, sync=False)
    held = store.read(list(series))
    assert sorted(len(one.heads) for one in held.values()) == [3, 4]
    assert store.inspect().damaged == ()
    store.close()


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    """A store of a version that this program does not know is refused and left alone."""
    LmdbSeriesStore(tmp_path, max_bytes=1 << 20, sync=False).close()
    with lmdb.open(str(tmp_path), max_dbs=8) as env, env.begin(write=True) as txn:
        txn.put(b"version", b"4", db=env.open_db(b"totals", txn=txn))
    with pytest.raises(ConfigurationError, match="use the program that wrote it"):
        LmdbSeriesStore(tmp_path, max_bytes=1 << 20, sync=False)


def test_a_shared_store_is_migrated_by_command(redis_port: int) -> None:
    """A server with a store of version 2 is refused with the command; migrating keeps every series."""
    series, url = sky(), f"redis://127.0.0.1:{redis_port}"
    with redis.Redis(port=redis_port) as client:
        client.flushall()
        try:
            version_2.write_server(client, EARLIER_NAMESPACE, series)
            with pytest.raises(ConfigurationError, match="ictc-store migrate"):
                RedisSeriesStore(url)
            assert migrate(url).objects == len(series)
            store = RedisSeriesStore(url)
            assert_holds(store, series)
            store.close()
            assert client.keys(f"{EARLIER_NAMESPACE}:*") == []
        finally:
            client.flushall()
