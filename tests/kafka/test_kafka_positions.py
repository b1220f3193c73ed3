"""Where reading goes on: after a stop, after retention, in topics and partitions that appear, are made again or cut."""

import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions
from nights import last_of_each, night
from stages import FOREVER, Process, Stage
from watching import committed, log_lines, wait_until

from benchmarks.neighbours.kafka_node import KafkaNode
from broker_filter.config import KafkaSettings
from broker_filter.kafka import consumer as consumer_module
from broker_filter.kafka.admin import Admin
from broker_filter.kafka.clients import LIBRARY_LOG, consumer_configuration
from broker_filter.kafka.consumer import AlertConsumer
from broker_filter.kafka.local_broker import QUICK_GROUP
from broker_filter.records import Partition

READ_LIMIT_S = 40.0
STOPPED_S = 3.5  # more than twice the session


def client(stage: Stage) -> AdminClient:
    """An administrator."""
    return AdminClient({"bootstrap.servers": stage.brokers}, logger=LIBRARY_LOG)


def take_by_retention(stage: Stage, before: int) -> None:
    """What retention does, at once: every message before this offset leaves each partition."""
    partitions = [TopicPartition(stage.alerts, p, before) for p in range(stage.partitions)]
    admin = client(stage)
    for future in admin.delete_records(partitions).values():
        future.result(10)


def accounts(service: Process) -> dict[str, Any]:
    """The last ones."""
    return log_lines(service, "accounts")[-1]


def test_a_process_that_was_stopped_for_longer_than_its_session(stage: Stage, run: Any, tmp_path: Path) -> None:
    """What it had read before the group gave it up is dropped; it joins again, and every alert is classified."""
    packets = list(night(6, 7))
    service = run(stage.flags(tmp_path / "store", "--batch.alert-limit", "2", "--batch.wait-s", "3", *FOREVER))
    service.wait_for("partitions assigned")
    stage.publish(packets[:21])
    service.wait_for('"event":"batch"')
    service.signal(signal.SIGSTOP)
    time.sleep(STOPPED_S)
    stage.publish(packets[21:])
    service.signal(signal.SIGCONT)
    wait_until(lambda: len(last_of_each(stage.results())) == len(packets))
    assert service.stop() == 0
    assert len(last_of_each(stage.results())) == len(packets)


@pytest.mark.parametrize("start", ["earliest", "latest"])
def test_alerts_that_retention_took_are_counted(
    node: KafkaNode, stage: Stage, run: Any, tmp_path: Path, start: str
) -> None:
    """Those that left the log while we were away are lost and said; those that are still there are all read."""
    packets = list(night(6, 7))
    flags = stage.flags(tmp_path / "store", "--kafka.start", start, *FOREVER)
    first = run(flags)
    first.wait_for("partitions assigned")
    stage.publish(packets[:12])
    wait_until(lambda: len(last_of_each(stage.results())) == 12)
    assert first.stop() == 0
    stage.publish(packets[12:])
    take_by_retention(stage, 10)  # of 14 on each partition, 4 of which were read
    second = run(flags)
    wait_until(lambda: len(last_of_each(stage.results())) == 12 + 12)
    assert second.stop() == 0
    assert accounts(second)["lost"] == 3 * 6
    assert accounts(second)["read"] == 12
    assert accounts(second)["balanced"]
    assert "alerts lost: 4 to 9 left the log before they were read" in second.text()


def test_retention_that_overtakes_a_running_service(node: KafkaNode, stage: Stage, run: Any, tmp_path: Path) -> None:
    """A position that falls out of the log while partitions are paused goes on at the log's start."""
    packets = list(night(6, 7))
    service = run(stage.flags(tmp_path / "store", *FOREVER))
    service.wait_for("partitions assigned")
    stage.publish(packets[:6])
    wait_until(lambda: len(last_of_each(stage.results())) == 6)
    service.signal(signal.SIGSTOP)
    stage.publish(packets[6:])
    take_by_retention(stage, 8)
    service.signal(signal.SIGCONT)
    wait_until(lambda: len(last_of_each(stage.results())) == 6 + 18)
    assert service.stop() == 0
    assert accounts(service)["read"] + accounts(service)["lost"] == len(packets)


def test_latest_is_where_a_new_group_begins_and_nothing_else(stage: Stage, run: Any, tmp_path: Path) -> None:
    """Alerts from before the group are not read; a topic that appears later, and a restart, miss nothing."""
    packets, admin = list(night(6, 7)), Admin(KafkaSettings(brokers=stage.brokers))
    tonight = replace(stage, name=f"{stage.name}-tonight")
    stage.publish(packets[:3], lambda n: n)
    flags = stage.flags(tmp_path / "store", "--kafka.topics", f"^{stage.name}.*-alerts$", "--kafka.start", "latest")
    flags += [*FOREVER, "--kafka.consumer", "topic.metadata.refresh.interval.ms=300"]
    service = run(flags)
    service.wait_for("partitions assigned")
    admin.create([tonight.alerts], stage.partitions)
    tonight.publish(packets[3:9])
    wait_until(lambda: len(last_of_each(stage.results())) == 6)
    assert service.stop() == 0
    stage.publish(packets[9:12], lambda n: n)
    again = run(flags)
    wait_until(lambda: len(last_of_each(stage.results())) == 9)
    assert again.stop() == 0
    assert len(last_of_each(stage.results())) == 9
    admin.delete([tonight.alerts])


def test_a_partition_that_is_added(node: KafkaNode, stage: Stage, run: Any, tmp_path: Path) -> None:
    """The running service reads it from its beginning."""
    packets = list(night(6, 4))
    flags = stage.flags(tmp_path / "store", "--kafka.start", "latest", *FOREVER)
    service = run([*flags, "--kafka.consumer", "topic.metadata.refresh.interval.ms=300"])
    service.wait_for("partitions assigned")
    admin = client(stage)
    admin.create_partitions([NewPartitions(stage.alerts, 4)])[stage.alerts].result(10)
    wider = replace(stage, partitions=4)
    time.sleep(0.5)
    wider.publish(packets)
    wait_until(lambda: len(last_of_each(stage.results())) == len(packets))
    assert service.stop() == 0
    assert committed(wider) == dict.fromkeys(range(4), len(packets) // 4)


def test_a_topic_that_is_made_again(node: KafkaNode, stage: Stage, run: Any, tmp_path: Path) -> None:
    """Its new alerts are read from the first, whatever was committed of the old one."""
    packets, admin = list(night(6, 4)), Admin(KafkaSettings(brokers=stage.brokers))
    service = run(
        [*stage.flags(tmp_path / "store", *FOREVER), "--kafka.client", "topic.metadata.refresh.interval.ms=300"]
    )
    service.wait_for("partitions assigned")
    stage.publish(packets[:15])
    wait_until(lambda: len(last_of_each(stage.results())) == 15)
    admin.delete([stage.alerts])
    time.sleep(1.0)
    admin.create([stage.alerts], stage.partitions)
    stage.publish(packets[15:])
    wait_until(lambda: len(last_of_each(stage.results())) == len(packets))
    assert service.stop() == 0
    assert accounts(service)["lost"] == 0
    assert len(last_of_each(stage.results())) == len(packets)


class LateWord:
    """What librdkafka says of a partition without a position, as it comes under load: after we have chosen one."""

    def __init__(self, partition: Partition) -> None:
        self._partition = partition

    def error(self) -> KafkaError:
        return KafkaError(KafkaError._AUTO_OFFSET_RESET, "no previously committed offset available")

    def topic(self) -> str:
        return self._partition.topic

    def partition(self) -> int:
        return self._partition.number

    def offset(self) -> int:
        return OFFSET_INVALID


class Alone:
    """An owner that has nothing in work."""

    def drain(self, leaving: Sequence[Partition]) -> bool:
        return True

    def drop(self, gone: Sequence[Partition]) -> None:
        pass

    def count_lost(self, partition: Partition, alerts: int) -> None:
        pass

    def settle_below(self, partition: Partition, offset: int) -> None:
        pass


@pytest.mark.parametrize("commits", [True, False])
def test_late_word_of_a_position(stage: Stage, monkeypatch: pytest.MonkeyPatch, commits: bool) -> None:
    """That a partition had no position, said after it was given one and read from, has nothing read again, and reading
    goes on though librdkafka fetches no more of it."""
    late: list[LateWord] = []

    class Slow(Consumer):
        def consume(self, *limits: Any) -> list[Any]:
            received = [*super().consume(*limits), *late]
            self.pause([TopicPartition(word.topic(), word.partition()) for word in late])
            late.clear()
            return received

    monkeypatch.setattr(consumer_module, "Consumer", Slow)
    stage.publish([b"a"] * 30)
    group = dict(QUICK_GROUP)
    settings = KafkaSettings(brokers=stage.brokers, topics=(stage.alerts,), group=stage.name, consumer=group)
    places: list[tuple[int, int]] = []
    with AlertConsumer(consumer_configuration(settings), settings.topics, Alone(), commits=commits) as consumer:

        def read_on(wanted: int, at_least_s: float) -> None:
            begun_s = time.monotonic()
            while len(places) < wanted or time.monotonic() - begun_s < at_least_s:
                assert time.monotonic() - begun_s < READ_LIMIT_S
                places.extend((m.origin.partition, m.origin.offset) for m in consumer.read(0.1))

        read_on(30, 0)
        late += [LateWord(Partition(stage.alerts, number)) for number in range(stage.partitions)]
        read_on(30, 2.5)  # longer than a broker is left alone before it is asked again
        stage.publish([b"b"] * 30)
        read_on(60, 0.5)
    assert len(places) == len(set(places)) == 60
