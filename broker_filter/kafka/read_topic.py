"""Messages of a Kafka topic, from the first to the last that was there at the start. Knows no alert.

Partitions are assigned, not subscribed to: no group is joined, no offset is committed, and production notices nothing.
"""

import time
from collections.abc import Iterator, Mapping

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from broker_filter.errors import ConfigurationError, FatalError
from broker_filter.kafka.clients import LIBRARY_LOG, as_message
from broker_filter.kafka.refusals import configuring, explained
from broker_filter.records import Message

METADATA_TIMEOUT_S = 10.0
SILENCE_LIMIT_S = 60.0  # without a message and without the end of a partition: the broker is away
MESSAGES_AT_ONCE = 500
POLL_S = 0.5


def read_topic(topic: str, brokers: str, settings: Mapping[str, str]) -> Iterator[Message]:
    """Every message that the topic keeps, partition by partition as they come, until the end of each is met.

    Raises
    ------
    ConfigurationError
        When the topic is not there, or librdkafka refuses a setting.
    FatalError
        When the broker does not answer, or stops answering.
    """
    keys: dict[str, str | bool] = {"bootstrap.servers": brokers, "group.id": "ictc-replay", **settings}
    keys |= {"enable.auto.commit": False, "enable.partition.eof": True}
    with configuring("consumer"):
        consumer = Consumer(keys, logger=LIBRARY_LOG)
    try:
        known = consumer.list_topics(topic, METADATA_TIMEOUT_S).topics[topic]
        if known.error is not None or not known.partitions:
            reason = "it has no partitions" if known.error is None else explained(known.error)
            raise ConfigurationError(f"topic {topic} is not at {brokers}: {reason}")
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in known.partitions])
        yield from _until_the_end(consumer, set(known.partitions))
    except KafkaException as error:
        raise FatalError(f"topic {topic} at {brokers} cannot be read: {explained(error.args[0])}") from error
    finally:
        consumer.close()


def _until_the_end(consumer: Consumer, open_partitions: set[int]) -> Iterator[Message]:
    heard_s = time.monotonic()
    while open_partitions:
        received = consumer.consume(MESSAGES_AT_ONCE, POLL_S)
        if received:
            heard_s = time.monotonic()
        elif time.monotonic() - heard_s > SILENCE_LIMIT_S:
            raise FatalError(
                f"no message for {SILENCE_LIMIT_S:g} s, {len(open_partitions)} partitions not at their end"
            )
        for message in received:
            error = message.error()
            if error is None:
                yield as_message(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                open_partitions.discard(message.partition() or 0)
            elif not error.retriable():
                raise FatalError(f"{message.topic()}[{message.partition()}]: {explained(error)}")
