"""The broker, weights and topics of tests with a Kafka-protocol broker, and a way to start the service."""

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from mock_cluster import MockCluster, NoMockClusterError, mock_cluster
from servers_or_skip import or_skipped
from stages import PARTITIONS, Process, Stage

from benchmarks.neighbours.kafka_node import KafkaNode, kafka_node
from benchmarks.neighbours.servers import RedisServer, redis_server
from broker_filter.config import KafkaSettings
from broker_filter.errors import ConfigurationError
from broker_filter.kafka.admin import Admin
from broker_filter.kafka.local_broker import BROKERS_VARIABLE, LocalBroker, local_broker
from model.serving.predictor import untrained
from model.serving.weights import save

WIDE_PARTITIONS = 6
KAFKA_VARIABLE = "ICTC_TEST_KAFKA"  # 1: Apache Kafka takes the embedded server's place (make test-kafka)
BROKER_FORGETS = BROKERS_VARIABLE not in os.environ and KAFKA_VARIABLE not in os.environ


@pytest.fixture(scope="session")
def session_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaNode | None]:
    """This test process's own node of Apache Kafka, where one was asked for."""
    if os.environ.get(KAFKA_VARIABLE) != "1":
        yield None
        return
    with kafka_node(tmp_path_factory.mktemp("kafka")) as started:
        yield started


@pytest.fixture
def node(session_node: KafkaNode | None) -> KafkaNode:
    """Apache Kafka, which a test may hang, kill and start again."""
    if session_node is None:
        pytest.skip(f"needs Apache Kafka: make test-kafka ({KAFKA_VARIABLE}=1)")
    return session_node


@pytest.fixture(scope="session")
def brokers(session_node: KafkaNode | None) -> Iterator[str]:
    """The address of a broker: Apache Kafka's, the one that ICTC_BROKERS names, or a local one."""
    if session_node is not None:
        yield session_node.address
        return
    if (named := os.environ.get(BROKERS_VARIABLE)) is not None:
        yield named
        return
    with or_skipped(local_broker(), ConfigurationError) as broker:
        yield broker.address


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a network with the real shape but few frames: what is tested here is the stream."""
    path = tmp_path_factory.mktemp("weights") / "small"
    save(path, *untrained("ztf", "convention", seed=1, frame_limit=9, layers=1, size=16))
    return path.with_suffix(".safetensors")


@contextmanager
def fresh_topics(brokers: str, weights: Path, partitions: int) -> Iterator[Stage]:
    """Three topics of a name that nobody else has, gone at the end."""
    stage = Stage(brokers, f"ictc-test-{uuid.uuid4().hex[:8]}", weights, partitions)
    admin = Admin(KafkaSettings(brokers=brokers))
    admin.create(stage.topics, partitions)
    yield stage
    if not BROKER_FORGETS:
        admin.delete(stage.topics)


@pytest.fixture
def stage(brokers: str, weights: Path) -> Iterator[Stage]:
    """Three fresh topics."""
    with fresh_topics(brokers, weights, PARTITIONS) as stage:
        yield stage


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[RedisServer]:
    """A store that processes share."""
    folder = tmp_path / "redis"
    folder.mkdir()
    with or_skipped(redis_server(folder)) as server:
        yield server


@pytest.fixture
def wide(brokers: str, weights: Path) -> Iterator[Stage]:
    """Topics of six partitions."""
    with fresh_topics(brokers, weights, WIDE_PARTITIONS) as stage:
        yield stage


@pytest.fixture
def broker() -> Iterator[LocalBroker]:
    """A broker of the test's own, which it may hang, restart and stop."""
    with or_skipped(local_broker(), ConfigurationError) as broker:
        yield broker


@pytest.fixture
def hosted(broker: LocalBroker, weights: Path) -> Stage:
    """Topics on it."""
    stage = Stage(broker.address, "hosted", weights)
    Admin(KafkaSettings(brokers=broker.address)).create(stage.topics, PARTITIONS)
    return stage


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


@pytest.fixture
def strict() -> Iterator[MockCluster]:
    """A broker that refuses what it is told to refuse."""
    with or_skipped(mock_cluster(), NoMockClusterError) as cluster:
        yield cluster


@pytest.fixture
def guarded(strict: MockCluster, weights: Path) -> Stage:
    """Topics on it."""
    stage = Stage(strict.address, "guarded", weights)
    for topic in stage.topics:
        strict.create(topic, PARTITIONS)
    return stage
