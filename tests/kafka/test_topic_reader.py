"""``ictc.TopicReader``: classifications of an output topic, in batches, each at least once."""

import uuid
from dataclasses import replace

import pytest
from confluent_kafka import Producer

from broker_filter.config import KafkaSettings
from broker_filter.kafka.admin import Admin
from broker_filter.kafka.clients import LIBRARY_LOG
from broker_filter.kafka.local_broker import QUICK_GROUP
from broker_filter.output.formats import container_encoder, json_line
from ictc import Classification, ConfigurationError, TopicReader, newest_of_each_object


def classification(number: int, object_id: str = "ZTF24aaaaaaa") -> Classification:
    """The answer to an object's alert of this number."""
    return Classification(
        survey="ztf",
        object_id=object_id,
        alert_id=number,
        time_mjd=60_500.25 + number,
        band="r",
        observation_count=number + 1,
        known_count=number + 1,
        probabilities={"SNIa": 0.75, "AGN": 0.25},
        classifier="vigil",
        classifier_version="ztf-1",
        taxonomy_version="ictc-1",
    )


@pytest.fixture
def topic(brokers: str) -> str:
    """A topic with eight classifications in two forms, and a message that is none."""
    name, encode = f"out-{uuid.uuid4().hex[:8]}", container_encoder()
    Admin(KafkaSettings(brokers=brokers)).create([name], 1)
    producer = Producer({"bootstrap.servers": brokers}, logger=LIBRARY_LOG)
    for number in range(8):
        one = classification(number)
        producer.produce(name, encode(one) if number % 2 else json_line(one))
    producer.produce(name, b"rubbish")
    assert producer.flush(20) == 0
    return name


def ids(batches: list[list[Classification]]) -> list[list[int]]:
    """Alert ids by batch."""
    return [[one.alert_id for one in batch] for batch in batches]


def test_batches_come_in_order_and_end_when_it_is_silent(brokers: str, topic: str) -> None:
    """Whatever the form, classifications come as they were published; what is none is counted."""
    with TopicReader(brokers, [topic], "whole", QUICK_GROUP) as reader:
        batches = ids(list(reader.batches(size=5, wait_s=10.0, idle_limit_s=1.0)))
    assert batches[0] == [0, 1, 2, 3, 4]
    assert [number for batch in batches for number in batch] == list(range(8))
    assert reader.unreadable_count == 1


def test_a_batch_that_was_not_finished_comes_again(brokers: str, topic: str) -> None:
    """A reader that ends in the midst of its second batch gets that batch again, and not the first."""
    with TopicReader(brokers, [topic], "again", QUICK_GROUP) as reader:
        batches = reader.batches(size=3, wait_s=10.0)
        assert ids([next(batches), next(batches)]) == [[0, 1, 2], [3, 4, 5]]
    with TopicReader(brokers, [topic], "again", QUICK_GROUP) as reader:
        assert ids([next(reader.batches(size=3, wait_s=10.0))]) == [[3, 4, 5]]


def test_a_wrong_setting_is_told(brokers: str) -> None:
    """A key that librdkafka does not know is an error of configuration."""
    with pytest.raises(ConfigurationError, match="no_such_key"):
        TopicReader(brokers, ["out"], "wrong", {"no_such_key": 1})


def test_the_newest_word_is_of_the_latest_alert_with_most_observations() -> None:
    """A revision beats the first word on the same alert, a later alert beats both; objects stand apart."""
    revised = replace(classification(2), known_count=9, revision=True)
    other = classification(1, "ZTF24bbbbbbb")
    assert newest_of_each_object([classification(0), revised, classification(2), other]) == [revised, other]
    assert newest_of_each_object([classification(3), revised]) == [classification(3)]
