"""Stores that hang, die, fill up or refuse us: no alert is lost, and the message says what to do."""

import os
import resource
import time
from pathlib import Path
from typing import Any

import pytest
from nights import assert_equal, night, replayed
from stages import FOREVER, Process, Stage, replica_flags
from watching import metric, newest_of_each, page, wait_until_classified

from benchmarks.neighbours.servers import RedisServer
from broker_filter.config import load
from broker_filter.kafka.local_broker import free_port
from broker_filter.service.check import findings_of

OUTAGE_S = float(os.environ.get("ICTC_TEST_OUTAGE_S", "1.5"))  # 30 in the long version
MEBI = 2**20
FULL_LIMIT_S = 60.0


def wait_for_end(stage: Stage, packets: list[bytes], service: Process) -> None:
    """Until everything is classified; then end the service in order."""
    wait_until_classified(stage, len(packets), [service])
    assert service.stop() == 0


@pytest.mark.parametrize("fault", ["hangs", "dies"])
def test_a_shared_store_that_is_away(wide: Stage, shared: RedisServer, run: Any, tmp_path: Path, fault: str) -> None:
    """The batch waits for the store and is tried again; what comes out is what comes out without the fault."""
    packets = list(night(6, 6))
    service = run([*replica_flags(wide, shared.url), "--life.retry-longest-s", "0.5"])
    service.wait_for("partitions assigned")
    wide.publish(packets[:18])
    service.wait_for('"event":"batch"')
    if fault == "hangs":
        shared.hang()
    else:
        shared.kill()
    wide.publish(packets[18:])
    time.sleep(OUTAGE_S)
    if fault == "hangs":
        shared.go_on()
    else:
        service.wait_for("the series store does not answer")
        shared.start_again()
    wait_for_end(wide, packets, service)
    expected = replayed(packets, wide.weights, tmp_path)
    newest = newest_of_each(wide.results())
    assert newest.keys() == expected.keys()
    for alert_id, result in newest.items():
        assert_equal(result, expected[alert_id], 1e-5)


def test_a_shared_store_that_takes_no_writes(wide: Stage, shared: RedisServer, run: Any) -> None:
    """A server that refuses writes for want of replicas (or of disk) is waited for."""
    packets = list(night(3, 2))
    with shared.client() as client:
        client.config_set("min-replicas-to-write", 1)
        service = run([*replica_flags(wide, shared.url), "--life.retry-longest-s", "0.5"])
        service.wait_for("partitions assigned")
        wide.publish(packets)
        service.wait_for("the series store takes no writes for now: NOREPLICAS")
        assert wide.results() == []
        client.config_set("min-replicas-to-write", 0)
    wait_for_end(wide, packets, service)


def test_a_shared_store_that_is_full(wide: Stage, shared: RedisServer, run: Any) -> None:
    """The longest-silent objects leave; a server without room for a single batch stops us, and nothing is lost."""
    packets = list(night(6, 4))
    flags = replica_flags(wide, shared.url)
    with shared.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", int(client.info("memory")["used_memory"]) + 64 * 1024)
        service = run(flags)
        service.wait_for("partitions assigned")
        wide.publish(packets)
        assert service.wait(FULL_LIMIT_S) == 1
        last = service.text().splitlines()[-1]
        assert "the series store is full" in last
        assert "raise maxmemory or lower store.byte_limit" in last
        client.config_set("maxmemory", 64 * MEBI)
    wait_for_end(wide, packets, run(flags))


def test_a_full_shared_store_forgets_and_goes_on(wide: Stage, shared: RedisServer, run: Any) -> None:
    """Room for some objects only: others are forgotten, longest silent first, and every alert is classified."""
    packets = list(night(40, 2))
    flags = replica_flags(wide, shared.url)
    with shared.client() as client:
        service = run(flags)
        service.wait_for("partitions assigned")
        wide.publish(packets[:60])
        wait_until_classified(wide, 60, [service])
        assert client.zcard("ictc3:silence") == 40
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", int(client.info("memory")["used_memory"]) + 16 * 1024)
        wide.publish(packets[60:])
        wait_for_end(wide, packets, service)
        assert client.zcard("ictc3:silence") < 40


def test_a_disk_that_is_full(stage: Stage, run: Any, tmp_path: Path) -> None:
    """The embedded store cannot grow: the service stops and commits nothing, and the next run loses nothing."""
    packets = list(night(6, 7))
    flags = stage.flags(tmp_path / "store", "--batch.alert-limit", "4", *FOREVER)
    service = run(flags)
    stage.publish(packets[:6])
    service.wait_for('"event":"batch"')
    size = (tmp_path / "store" / "data.mdb").stat().st_size
    resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (size, size))  # as if the disk ended here
    stage.publish(packets[6:])
    assert service.wait() == 1
    last = service.text().splitlines()[-1]
    assert "series store" in last
    assert "free the disk" in last
    wait_for_end(stage, packets, run(flags))
    assert {r["nObservations"] for r in newest_of_each(stage.results()).values()} == set(range(1, 8))


def test_a_shared_store_that_refuses_us(wide: Stage, shared: RedisServer, run: Any) -> None:
    """A wrong password stops the service at once and is named by --check, without being shown."""
    with shared.client() as client:
        client.config_set("requirepass", "the-right-one")
    wrong = f"redis://:the-wrong-one@127.0.0.1:{shared.port}"
    flags = replica_flags(wide, wrong)
    service = run(flags)
    assert service.wait() == 2
    words = service.text()
    assert "check store.url" in words.splitlines()[-1]
    (finding,) = (f for f in findings_of(load(flags).settings) if f.what == "store")
    assert not finding.good
    assert "check store.url" in finding.text
    assert "the-wrong-one" not in words + finding.text


def test_a_shared_store_that_drops_rows(wide: Stage, shared: RedisServer) -> None:
    """--check refuses a server whose eviction takes single rows of series."""
    flags = replica_flags(wide, shared.url)
    for policy, good in (("noeviction", True), ("allkeys-lru", False)):
        with shared.client() as client:
            client.config_set("maxmemory-policy", policy)
        (finding,) = (f for f in findings_of(load(flags).settings) if f.what == "store")
        assert finding.good == good
    assert "set noeviction" in finding.text


def test_a_shared_store_that_came_back_empty(wide: Stage, shared: RedisServer, run: Any) -> None:
    """The log, a metric and readiness say so, series begin anew, and every alert is classified."""
    packets = list(night(3, 4))
    port = free_port()
    service = run([*replica_flags(wide, shared.url), "--http.port", str(port)])
    wide.publish(packets[:6])
    wait_until_classified(wide, 6, [service])
    time.sleep(3.0)  # the store is looked at once a second
    assert metric(port, "ictc_store_lost_total") == 0
    with shared.client() as client:
        client.flushall()
    wide.publish(packets[6:])
    service.wait_for("the series store came back empty while we ran: series begin anew")
    assert metric(port, "ictc_store_lost_total") == 1
    assert "series have begun anew" in page(port, "/readyz")[1]
    wait_for_end(wide, packets, service)
    assert max(result["nKnown"] for result in wide.results()) < 4


def test_an_embedded_store_that_is_gone(stage: Stage, run: Any, tmp_path: Path) -> None:
    """A start without the series of alerts that the group has read is told as a loss; a new group's is not."""
    packets = list(night(3, 2))
    stage.publish(packets[:3])
    first = run(stage.flags(tmp_path / "store"))
    assert first.wait() == 0
    assert "begin anew" not in first.text()
    stage.publish(packets[3:])
    second = run(stage.flags(tmp_path / "another"))
    assert second.wait() == 0
    assert "the series store is empty, although the group has read alerts before: series begin anew" in second.text()
    assert len(stage.results()) == len(packets)
