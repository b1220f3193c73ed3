"""How the service joins its group, stands by in it, and leaves it, also while Kafka is away."""

import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mock_cluster import JOIN_GROUP, MockCluster
from nights import last_of_each, night
from stages import FOREVER, Stage
from watching import page, wait_until

from benchmarks.neighbours.kafka_node import KafkaNode
from broker_filter.config import KafkaSettings
from broker_filter.kafka.admin import Admin
from broker_filter.kafka.local_broker import QUICK_GROUP, LocalBroker, free_port

INVALID_SESSION_TIMEOUT, INCONSISTENT_GROUP_PROTOCOL, GROUP_MAX_SIZE_REACHED = 26, 23, 81
DRAIN_S = 2.0
AFTER_DRAIN_S = 12.0  # a step under way, the last commit, leaving: generous on a busy machine


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (INVALID_SESSION_TIMEOUT, "session.timeout.ms is 1500"),
        (INCONSISTENT_GROUP_PROTOCOL, "partition.assignment.strategy"),
        (GROUP_MAX_SIZE_REACHED, "start fewer processes"),
    ],
)
def test_a_group_that_never_lets_us_in(
    guarded: Stage, strict: MockCluster, run: Any, tmp_path: Path, code: int, remedy: str
) -> None:
    """What no waiting mends ends the service, with the setting, its value and the remedy."""
    strict.refuse_requests(JOIN_GROUP, code, 50)
    service = run(guarded.flags(tmp_path / "store", *FOREVER))
    assert service.wait() == 1
    assert remedy in service.text().splitlines()[-1]


def test_a_session_timeout_outside_the_brokers_bounds(node: KafkaNode, stage: Stage, run: Any, tmp_path: Path) -> None:
    """The broker's own bounds are named beside the value."""
    session = ("--kafka.consumer", "session.timeout.ms=400", "--kafka.consumer", "heartbeat.interval.ms=100")
    service = run(stage.flags(tmp_path / "store", *FOREVER, *session))
    assert service.wait() == 1
    last = service.text().splitlines()[-1]
    assert "session.timeout.ms is 400, the broker allows 500 to 1800000" in last


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_process_without_partitions_stands_by(
    node: KafkaNode, stage: Stage, run: Any, tmp_path: Path, protocol: str
) -> None:
    """A member that the group has no partition for is ready, and takes over when the other one ends."""
    admin, packets = Admin(KafkaSettings(brokers=stage.brokers)), list(night(6, 2))
    single = replace(stage, name=f"{stage.name}-single", partitions=1)
    admin.create([single.alerts], 1)
    group = {"group.protocol": "consumer"} if protocol == "consumer" else QUICK_GROUP  # KIP-848 knows no own sessions
    flags = single.flags(tmp_path / "a", *FOREVER, group=group)
    flags += ["--output.topic", stage.outputs, "--dead-letter.topic", stage.dead_letters]
    ports = [free_port(), free_port()]
    services = [
        run([*flags, "--store.path", str(tmp_path / f"store-{port}"), "--http.port", str(port)]) for port in ports
    ]
    wait_until(lambda: all(p.running for p in services) and all(able(port) for port in ports), 40)
    for port in ports:  # each says, once it has seen the other, that their stores are two
        status, text = page(port, "/readyz")
        assert status == 200
        assert text.rstrip("\n") in ("ready", "ready; 1 others of the group keep their series in another store")
    single.publish(packets)
    wait_until(lambda: len(last_of_each(stage.results())) == len(packets))
    assert [service.stop() for service in services] == [0, 0]
    admin.delete([single.alerts])


def able(port: int) -> bool:
    """True when the process says that it is ready."""
    try:
        return page(port, "/readyz")[0] == 200
    except OSError:
        return False


def test_asked_to_end_while_kafka_hangs(broker: LocalBroker, hosted: Stage, run: Any, tmp_path: Path) -> None:
    """The drain takes its time once: nobody waits for a broker that does not answer."""
    packets = list(night(6, 2))
    limits = ("--life.drain-s", str(DRAIN_S), "--batch.alert-limit", "2")
    service = run(hosted.flags(tmp_path / "store", *limits, *FOREVER))
    service.wait_for("partitions assigned")
    hosted.publish(packets[:6])
    service.wait_for('"event":"batch"')
    hosted.publish(packets[6:])
    broker.process.send_signal(signal.SIGSTOP)
    begun_s = time.monotonic()
    service.signal(signal.SIGTERM)
    service.wait(DRAIN_S + AFTER_DRAIN_S)
    assert time.monotonic() - begun_s < DRAIN_S + AFTER_DRAIN_S


def test_an_outage_is_said_once(broker: LocalBroker, hosted: Stage, run: Any, tmp_path: Path) -> None:
    """While Kafka is away the log holds a line for each kind of trouble, not one for each attempt to connect."""
    hosted.publish(night(6, 2))
    service = run(hosted.flags(tmp_path / "store", *FOREVER))
    service.wait_for('"event":"batch"')
    broker.stop()
    service.wait_for('"level":"warning"')
    time.sleep(5.0)
    warnings = [line for line in service.text().splitlines() if '"level":"warning"' in line]
    assert 1 <= len(warnings) <= 6, warnings
