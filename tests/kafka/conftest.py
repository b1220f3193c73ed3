"""What tests with a Kafka-protocol broker share: the broker, topics, the service as a process, and what came out."""

import io
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
import forked
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition

from benchmarks.servers import AbsentError, RedisServer, redis_server
from broker_filter.clients import LIBRARY_LOG
from broker_filter.config import KafkaSettings
from broker_filter.errors import ConfigurationError
from broker_filter.local_broker import BROKERS_VARIABLE, QUICK_GROUP, local_broker
from broker_filter.topics import Admin
from model.predictor import untrained
from model.weights import save

PARTITIONS = 3
WIDE_PARTITIONS = 6
DONE_LIMIT_S = 60.0
Encoded = dict[str, Any]


@pytest.fixture(scope="session")
def brokers() -> Iterator[str]:
    """The address of a broker: the one that ICTC_BROKERS names, or a local one."""
    if (named := os.environ.get(BROKERS_VARIABLE)) is not None:
        yield named
        return
    try:
        with local_broker() as broker:
            yield broker.address
    except ConfigurationError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a network with the real shape but few frames: what is tested here is the stream."""
    path = tmp_path_factory.mktemp("weights") / "small"
    save(path, *untrained("ztf", "convention", seed=1, frame_limit=9, layers=1, size=16))
    return path.with_suffix(".safetensors")


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
        found, ended, deadline_s = [], set(), time.monotonic() + 20
        while len(ended) < self.partitions:
            assert time.monotonic() < deadline_s, f"{topic} cannot be read to its end"
            for message in consumer.consume(500, 0.05):
                if message.error() is None:
                    found.append(message)
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
        consumer.close()
        return found

    def results(self) -> list[Encoded]:
        """Every classification that was published until now, decoded, with its key."""
        return [
            record | {"key": message.key()}
            for message in self.read(self.outputs)
            for record in fastavro.reader(io.BytesIO(message.value()))
        ]

    def flags(self, store: Path, *more: str) -> list[str]:
        """The service's command line for this test."""
        group = [flag for key, value in QUICK_GROUP.items() for flag in ("--kafka.consumer", f"{key}={value}")]
        return [
            *("--kafka.brokers", self.brokers, "--kafka.topics", self.alerts, "--kafka.group", self.name),
            *group,
            *("--output.topic", self.outputs, "--dead-letter.topic", self.dead_letters),
            *("--model.weights", str(self.weights), "--allow-untrained", "--model.threads", "1"),
            *("--store.path", str(store), "--http.port", "null", "--log.format", "json"),
            *("--life.idle-exit-s", "0.3"),
            *more,
        ]


@pytest.fixture
def stage(brokers: str, weights: Path) -> Iterator[Stage]:
    """Three fresh topics."""
    stage = Stage(brokers, f"ictc-test-{uuid.uuid4().hex[:8]}", weights)
    admin = Admin(KafkaSettings(brokers=brokers))
    admin.create([stage.alerts, stage.outputs, stage.dead_letters], PARTITIONS)
    yield stage
    if BROKERS_VARIABLE in os.environ:  # the local broker forgets them by itself
        admin.delete([stage.alerts, stage.outputs, stage.dead_letters])


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[RedisServer]:
    """A store that processes share."""
    folder = tmp_path / "redis"
    folder.mkdir()
    try:
        with redis_server(folder) as server:
            yield server
    except AbsentError as error:
        pytest.skip(str(error))


@pytest.fixture
def wide(brokers: str, weights: Path) -> Stage:
    """Topics of six partitions."""
    stage = Stage(brokers, f"ictc-wide-{uuid.uuid4().hex[:8]}", weights, WIDE_PARTITIONS)
    Admin(KafkaSettings(brokers=brokers)).create([stage.alerts, stage.outputs, stage.dead_letters], WIDE_PARTITIONS)
    return stage


class Process:
    """The service in a process of its own."""

    def __init__(self, flags: Sequence[str], log: Path) -> None:
        self.log = log
        log.touch()
        self._process = forked.start(list(flags), log)

    @property
    def running(self) -> bool:
        return self._process.is_alive()

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


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start the service; whatever still runs at the end is killed."""
    started: list[Process] = []

    def start(flags: Sequence[str]) -> Process:
        process = Process(flags, tmp_path / f"service-{len(started)}.log")
        started.append(process)
        return process

    yield start
    for process in started:
        if process.running:
            process.kill()
