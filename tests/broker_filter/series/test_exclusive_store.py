"""A shared store for deliveries that commit offsets: batches of the same object wait for one another."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fake_stream as fake
import pytest

from broker_filter.errors import ContendedError
from broker_filter.records import Observation, Origin
from broker_filter.series.redis import store as redis_store
from broker_filter.series.redis.store import RedisSeriesStore
from broker_filter.series.store import Change

Two = tuple[RedisSeriesStore, RedisSeriesStore]


@pytest.fixture
def two(redis_port: int, tmp_path: Path) -> Iterator[Two]:
    """One store, opened by two processes."""
    url, namespace = f"redis://127.0.0.1:{redis_port}", f"exclusive{hash(tmp_path)}"
    stores = tuple(RedisSeriesStore(url, namespace=namespace, exclusive=True) for _ in range(2))
    yield stores[0], stores[1]
    for store in stores:
        store.close()


def alert(alert_id: int, partition: int) -> Observation:
    return replace(fake.observation(alert_id), origin=Origin("night", partition, alert_id))


def settle(store: RedisSeriesStore, key: str, alert_id: int) -> None:
    store.settle([Change(key, (alert_id,), 100, 1)])


def test_nothing_enters_beside_an_unfinished_batch(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alerts of an object in another's work are refused with their whole batch, until that is settled or removed."""
    monkeypatch.setattr(redis_store, "CLAIM_WAIT_S", 0.1)
    one, other = two
    one.add([("ztf/a", alert(1, 0))])
    with pytest.raises(ContendedError, match="ztf/a"):
        other.add([("ztf/b", alert(2, 1)), ("ztf/a", alert(3, 1))])
    assert other.read(["ztf/b"]) == {}
    settle(one, "ztf/a", 1)
    held = other.add([("ztf/b", alert(2, 1)), ("ztf/a", alert(3, 1))])
    assert held["ztf/a"].heads["alert_id"].tolist() == [1, 3]
    with pytest.raises(ContendedError, match="ztf/b"):
        one.add([("ztf/b", alert(4, 0))])
    other.settle([Change("ztf/b", (), 100, 1, withdrawn=(2,)), Change("ztf/a", (3,), 100, 1)])
    assert one.add([("ztf/b", alert(4, 0))])["ztf/b"].heads["alert_id"].tolist() == [4]


def test_the_same_messages_again_are_no_strangers(two: Two) -> None:
    """What was entered of a batch before, by whomever, does not stand in its way; the answer is the same."""
    one, other = two
    batch = [("ztf/a", alert(1, 0)), ("ztf/a", alert(2, 0))]
    first = one.add(batch)["ztf/a"].heads
    assert other.add(batch)["ztf/a"].heads.tobytes() == first.tobytes()


def test_a_batch_goes_on_when_the_other_is_done(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits sees the other's alerts, settled, as soon as they are."""
    monkeypatch.setattr(redis_store, "CLAIM_WAIT_S", 30.0)
    one, other = two
    one.add([("ztf/a", alert(1, 0))])
    later = threading.Timer(0.3, settle, (one, "ztf/a", 1))
    begun_s = time.monotonic()
    later.start()
    heads = other.add([("ztf/a", alert(2, 1))])["ztf/a"].heads
    waited_s = time.monotonic() - begun_s
    later.join()
    assert 0.25 <= waited_s < 20
    assert dict(zip(heads["alert_id"].tolist(), heads["settled"].tolist(), strict=True)) == {1: 1, 2: 0}
