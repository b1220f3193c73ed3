"""Apache Kafka killed and started again, hanging, and with messages of producers that are not ours."""

import signal
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from nights import assert_equal, last_of_each, night, replayed
from stages import FOREVER, Process, Stage
from watching import committed, log_lines, metric, page, wait_until

from benchmarks.neighbours.kafka_node import MESSAGE_LIMIT_BYTES, KafkaNode
from broker_filter.kafka.clients import LIBRARY_LOG
from broker_filter.kafka.local_broker import free_port

HANG_S = 4.0  # more than twice the session
NEXT_GENERATION = {"group.protocol": "consumer"}


def everything_once_more_or_less(stage: Stage, packets: Sequence[bytes], tmp_path: Path) -> None:
    """The newest word on each alert is that of a replay, and the offsets are the topic's ends."""
    expected = replayed(packets, stage.weights, tmp_path)
    newest = last_of_each(sorted(stage.results(), key=lambda result: result["nKnown"]))
    assert newest.keys() == expected.keys()
    for alert_id, result in newest.items():
        assert_equal(result, expected[alert_id], 1e-5)


def accounts(service: Process) -> dict[str, Any]:
    """The last ones of a service."""
    return log_lines(service, "accounts")[-1]


def test_killed_and_started_again(node: KafkaNode, stage: Stage, run: Any, tmp_path: Path) -> None:
    """Twice in the midst of a night: the process stays, says so, and nothing is missing."""
    packets = list(night(6, 9))
    service = run(stage.flags(tmp_path / "store", "--batch.alert-limit", "3", *FOREVER))
    for third in range(3):
        stage.publish(packets[third::3])
        wait_until(lambda goal=third: service.text().count('"event":"batch"') > goal)
        if third < 2:
            node.kill()
            node.start_again()
    wait_until(lambda: len(last_of_each(stage.results())) == len(packets), 60)
    assert service.stop() == 0
    assert accounts(service)["balanced"]
    assert sum(committed(stage).values()) == len(packets)
    everything_once_more_or_less(stage, packets, tmp_path)


def test_hanging_for_longer_than_the_session(node: KafkaNode, stage: Stage, run: Any, tmp_path: Path) -> None:
    """The group forgets us, the producer waits; when Kafka answers again the same process goes on."""
    packets = list(night(6, 6))
    stage.publish(packets[:18])
    service = run(stage.flags(tmp_path / "store", "--batch.alert-limit", "3", *FOREVER))
    service.wait_for('"event":"batch"')
    node.hang()
    time.sleep(HANG_S)
    assert service.running
    node.go_on()
    stage.publish(packets[18:])
    wait_until(lambda: len(last_of_each(stage.results())) == len(packets), 60)
    assert service.stop() == 0
    everything_once_more_or_less(stage, packets, tmp_path)


def test_transactions_of_others(node: KafkaNode, stage: Stage, run: Any, tmp_path: Path) -> None:
    """Aborted records are not read, control records are no losses, and at the end nothing waits."""
    packets = night(6, 4)
    producer = Producer(
        {"bootstrap.servers": stage.brokers, "transactional.id": f"survey-{uuid.uuid4()}"}, logger=LIBRARY_LOG
    )
    producer.init_transactions(10)
    for start in range(0, len(packets), 4):
        producer.begin_transaction()
        for number in range(start, start + 4):
            producer.produce(stage.alerts, packets[number], partition=number % stage.partitions)
        (producer.abort_transaction if start % 8 else producer.commit_transaction)(10)
    port = free_port()
    service = run(stage.flags(tmp_path / "store", "--http.port", str(port), *FOREVER))
    wait_until(lambda: len(last_of_each(stage.results())) == len(packets) // 2)
    lag = "ictc_consumer_lag_alerts"
    wait_until(lambda: f"{lag}{{" in page(port, "/metrics")[1] and metric(port, lag) == 0)  # measured once a second
    assert metric(port, lag) == 0
    assert metric(port, "ictc_alerts_lost_total") == 0
    assert page(port, "/healthz")[0] == 200
    assert service.stop() == 0
    total = accounts(service)
    assert (total["read"], total["lost"], total["balanced"]) == (len(packets) // 2, 0, True)


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_batches(node: KafkaNode, stage: Stage, run: Any, tmp_path: Path, codec: str) -> None:
    """Whatever the survey's producer compresses with is read, and ours may compress too."""
    packets = night(3, 3)
    producer = Producer({"bootstrap.servers": stage.brokers, "compression.type": codec}, logger=LIBRARY_LOG)
    for number, packet in enumerate(packets):
        producer.produce(stage.alerts, packet, partition=number % stage.partitions)
    assert producer.flush(20) == 0
    service = run(stage.flags(tmp_path / "store", "--kafka.producer", f"compression.type={codec}"))
    assert service.wait() == 0
    assert len(last_of_each(stage.results())) == len(packets)


def test_dead_letters_over_the_limit(node: KafkaNode, stage: Stage, run: Any, tmp_path: Path) -> None:
    """A dead letter grows by its headers: one that the topic does not take loses its bytes, says so, and goes."""
    whole, grown = b"x" * 10_000, b"y" * (MESSAGE_LIMIT_BYTES - 200)
    stage.publish([whole, grown, *night(2, 1)])
    service = run(stage.flags(tmp_path / "store"))
    assert service.wait() == 0
    letters = {dict(letter.headers())["ictc.offset"]: letter for letter in stage.read(stage.dead_letters)}
    values = sorted(len(letter.value() or b"") for letter in stage.read(stage.dead_letters))
    assert values == [0, len(whole)]
    (short,) = [letter for letter in stage.read(stage.dead_letters) if not letter.value()]
    assert str(len(grown)).encode() in dict(short.headers())["ictc.value_omitted"]
    assert len(letters) >= 1
    assert len(last_of_each(stage.results())) == 2


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_groups_of_the_next_generation(node: KafkaNode, stage: Stage, run: Any, tmp_path: Path, delivery: str) -> None:
    """With group.protocol=consumer (KIP-848) a process is killed, its successor goes on, and nothing is missing."""
    packets = list(night(6, 6))
    flags = stage.flags(
        *(tmp_path / "store", "--batch.alert-limit", "3", "--output.delivery", delivery, *FOREVER),
        group=NEXT_GENERATION,
    )
    stage.publish(packets[:18])
    first = run(flags)
    first.wait_for('"event":"batch"')
    first.kill()
    second = run(flags)
    stage.publish(packets[18:])
    wait_until(lambda: len(last_of_each(stage.results())) == len(packets), 90)
    second.signal(signal.SIGTERM)
    assert second.wait() == 0
    everything_once_more_or_less(stage, packets, tmp_path)
