"""A Kafka-protocol broker for the tests of adapters, and topics on it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from servers_or_skip import or_skipped

from broker_filter.errors import ConfigurationError
from broker_filter.kafka.local_broker import local_broker


@contextmanager
def broker_or_skip() -> Iterator[str]:
    """The address of a broker on loopback; the test is skipped where there is none."""
    with or_skipped(local_broker(), ConfigurationError) as running:
        yield running.address


def create(brokers: str, *topics: str) -> None:
    """Topics of two partitions, with the limit that hop-client asks for and the local broker has no default of."""
    limit = {"max.message.bytes": "1048588"}
    admin = AdminClient({"bootstrap.servers": brokers})
    for outcome in admin.create_topics([NewTopic(topic, 2, 1, config=limit) for topic in topics]).values():
        outcome.result(20)


def publish(brokers: str, topic: str, values: Iterable[bytes]) -> None:
    """Messages, delivered when this returns."""
    producer = Producer({"bootstrap.servers": brokers})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(20) == 0
