"""The topics of one test and the service as a process of its own: what tests do with a broker. Knows no fixture."""

import io
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition

from benchmarks.neighbours import forked
from broker_filter.kafka.clients import LIBRARY_LOG
from broker_filter.kafka.local_broker import QUICK_GROUP

PARTITIONS = 3
DONE_LIMIT_S = 60.0
FOREVER = ("--life.idle-exit-s", "null")
REPLICA_BATCH = 2
Encoded = dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """The topics of one test, and what goes through them."""

    brokers: str
    name: str
    weights: Path
    partitions: int = PARTITIONS

    @property
    def alerts(self) -> str:
        return f"{self.name}-alerts"

    @property
    def outputs(self) -> str:
        return f"{self.name}-out"

    @property
    def dead_letters(self) -> str:
        return f"{self.name}-dead"

    @property
    def topics(self) -> list[str]:
        """All three."""
        return [self.alerts, self.outputs, self.dead_letters]

    def publish(self, packets: Sequence[bytes], partition_of: Callable[[int], int] | None = None) -> None:
        """Put packets on the topic of alerts, one partition after the other unless told otherwise."""
        configuration = {"bootstrap.servers": self.brokers, "linger.ms": 5, "message.max.bytes": 8_000_000}
        producer = Producer(configuration, logger=LIBRARY_LOG)
        for number, packet in enumerate(packets):
            partition = number % self.partitions if partition_of is None else partition_of(number)
            producer.produce(
                self.alerts, packet, partition=partition, headers=[("producer_timestamp", b"1700000000000")]
            )
        assert producer.flush(20) == 0

    def read(self, topic: str) -> list[Any]:
        """Every message on a topic until now."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.brokers,
                "group.id": "reader",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 20,
            },
            logger=LIBRARY_LOG,
        )
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(self.partitions)])
        messages, ended, deadline_s = [], set(), time.monotonic() + 20
        while len(ended) < self.partitions:
            assert time.monotonic() < deadline_s, f"{topic} cannot be read to its end"
            for message in consumer.consume(500, 0.05):
                if message.error() is None:
                    messages.append(message)
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
        consumer.close()
        return messages

    def results(self, topic: str | None = None) -> list[Encoded]:
        """Every classification that was published until now, decoded, with its key."""
        return [
            record | {"key": message.key()}
            for message in self.read(topic or self.outputs)
            for record in fastavro.reader(io.BytesIO(message.value()))
        ]

    def flags(self, store: Path, *more: str, group: Mapping[str, str | int] = QUICK_GROUP) -> list[str]:
        """The service's command line for this test."""
        group_flags = [flag for key, value in group.items() for flag in ("--kafka.consumer", f"{key}={value}")]
        return [
            *("--kafka.brokers", self.brokers, "--kafka.topics", self.alerts, "--kafka.group", self.name),
            *group_flags,
            *("--output.topic", self.outputs, "--dead-letter.topic", self.dead_letters),
            *("--model.weights", str(self.weights), "--allow-untrained", "--model.threads", "1"),
            *("--store.path", str(store), "--http.port", "null", "--log.format", "json"),
            *("--life.idle-exit-s", "0.3"),
            *more,
        ]


def replica_flags(stage: Stage, url: str, *more: str) -> list[str]:
    """One of many processes."""
    shared = ("--store.kind", "redis", "--store.url", url, "--batch.alert-limit", str(REPLICA_BATCH))
    flags = [*stage.flags(Path("not-used")), "--no-http.objects"]  # an index would stand there
    return [*flags, *shared, *FOREVER, *more]


class Process:
    """The service in a process of its own."""

    def __init__(self, flags: Sequence[str], log: Path) -> None:
        self.log = log
        log.touch()
        self._process = forked.start(list(flags), log)

    @property
    def running(self) -> bool:
        return self._process.is_alive()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def wait(self, limit_s: float = DONE_LIMIT_S) -> int:
        """Its exit status; a process that does not end in time fails the test with its log."""
        self._process.join(limit_s)
        if self._process.exitcode is None:
            self.kill()
            pytest.fail(f"the service does not end:\n{self.text()[-3000:]}")
        return self._process.exitcode

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def stop(self) -> int:
        """Ask it to end."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End it without asking."""
        self._process.kill()
        self._process.join()

    def text(self) -> str:
        """What it has logged until now."""
        return self.log.read_text("utf-8", "replace")

    def wait_for(self, text: str, limit_s: float = DONE_LIMIT_S) -> None:
        """Until this stands in the log."""
        deadline_s = time.monotonic() + limit_s
        while text not in self.text():
            assert self.running, f"the service ended early:\n{self.text()[-3000:]}"
            assert time.monotonic() < deadline_s, f"no {text!r} in:\n{self.text()[-3000:]}"
            time.sleep(0.05)
