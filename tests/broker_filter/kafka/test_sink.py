"""Outcomes to acknowledged messages, against librdkafka's own mock of a cluster, which can be told to fail."""

import dataclasses
from collections import Counter

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from broker_filter.config import KafkaSettings
from broker_filter.errors import ConfigurationError, Rejection, RetryableError
from broker_filter.kafka.clients import LIBRARY_LOG, as_message, producer_configuration
from broker_filter.kafka.sink import Sink, dead_letter, identity_headers
from broker_filter.records import Classification, Message, Origin, Outcome, Rejected

MOCK_PARTITIONS = 4


@pytest.fixture
def cluster():
    """The address of a mock cluster that makes topics as they are asked for."""
    owner = Producer({"bootstrap.servers": "ignored:1", "test.mock.num.brokers": 1}, logger=LIBRARY_LOG)
    brokers = owner.list_topics(timeout=10).brokers.values()
    yield ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
    owner.flush(0)


def classification(number: int = 1) -> Classification:
    return Classification(
        survey="ztf",
        object_id=f"ZTF{number}",
        alert_id=number,
        time_mjd=60_000.0,
        band="g",
        observation_count=1,
        probabilities={"AGN": 1.0},
        classifier="fake",
        classifier_version="1",
        taxonomy_version="t",
    )


def message(value: bytes = b"x", **more: object) -> Message:
    return Message(value, Origin("alerts", 3, 42), 1_700_000_000_123, (("producer_timestamp", b"17"),), **more)


def sink_to(brokers: str, dead_letters: str | None = "dead", timeout_s: float = 10.0, **keys) -> Sink:
    configuration = producer_configuration(KafkaSettings(brokers=brokers, producer=keys), timeout_s)
    return Sink(configuration, "out", lambda c: str(c.alert_id).encode(), dead_letters, timeout_s)


def read(brokers: str, topic: str, count: int) -> list:
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "reader"}, logger=LIBRARY_LOG)
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(MOCK_PARTITIONS)])
    messages = []
    for _ in range(100):
        messages += [m for m in consumer.consume(count, 0.1) if m.error() is None]
        if len(messages) >= count:
            break
    consumer.close()
    return messages


def test_everything_is_acknowledged_with_key_and_identity(cluster):
    """When ``deliver`` returns, the broker has it: key = object, headers by which a twin is recognised."""
    sink = sink_to(cluster)
    outcomes = [Outcome(message(), classification(n)) for n in range(50)]
    sink.deliver(outcomes)
    sink.close()
    messages = read(cluster, "out", 50)
    assert Counter(m.value() for m in messages) == Counter(str(n).encode() for n in range(50))
    for m in messages:
        assert m.key() == b"ZTF" + m.value()
        assert dict(m.headers())["ictc.alert_id"] == m.value()


def test_dead_letters_carry_bytes_headers_and_place(cluster):
    """What was rejected can be read again: nothing of it is changed."""
    sink = sink_to(cluster)
    rejected = Rejected(message(b"\x00\xff rubbish"), Rejection.CORRUPT, "breaks off")
    sink.deliver([Outcome(rejected.message, rejected), Outcome(message(), classification())])
    sink.close()
    (letter,) = read(cluster, "dead", 1)
    assert letter.value() == b"\x00\xff rubbish"
    assert dict(letter.headers()) == {
        "producer_timestamp": b"17",
        "ictc.error": b"breaks off",
        "ictc.reason": b"corrupt",
        "ictc.topic": b"alerts",
        "ictc.partition": b"3",
        "ictc.offset": b"42",
        "ictc.timestamp": b"1700000000123",
    }


@pytest.mark.parametrize("key", [b"ZTF18abc", b"", None])
def test_dead_letters_keep_the_key(cluster, key):
    """A message read again goes where it came from: its key is the one that it had."""
    sink = sink_to(cluster)
    rejected = Rejected(message(b"rubbish", key=key), Rejection.CORRUPT, "breaks off")
    sink.deliver([Outcome(rejected.message, rejected)])
    sink.close()
    (letter,) = read(cluster, "dead", 1)
    assert letter.key() == key


def test_tombstones_are_no_dead_letters(cluster):
    """A null value is counted elsewhere; there is nothing in it that could be read again."""
    sink = sink_to(cluster)
    gone = Rejected(message(b"", tombstone=True), Rejection.TOMBSTONE, "a null value")
    other = Rejected(message(b"rubbish"), Rejection.CORRUPT, "breaks off")
    sink.deliver([Outcome(gone.message, gone), Outcome(other.message, other)])
    sink.close()
    assert [letter.value() for letter in read(cluster, "dead", 2)] == [b"rubbish"]


def test_null_values_and_keys_are_told_apart_from_empty_ones(cluster):
    """A null value is a tombstone, an empty one is not; keys are kept as bytes, and null stays null."""
    producer = Producer({"bootstrap.servers": cluster}, logger=LIBRARY_LOG)
    producer.produce("alerts", None, b"gone")
    producer.produce("alerts", b"", None)
    producer.flush(10)
    seen = {(m.key, m.tombstone, m.value) for m in map(as_message, read(cluster, "alerts", 2))}
    assert seen == {(b"gone", True, b""), (None, False, b"")}


def test_dead_letters_can_be_switched_off(cluster):
    """Without a topic for them they are counted and logged elsewhere, and delivery goes on."""
    sink = sink_to(cluster, dead_letters=None)
    rejected = Rejected(message(), Rejection.CORRUPT, "breaks off")
    sink.deliver([Outcome(rejected.message, rejected), Outcome(message(), classification())])
    sink.close()
    assert len(read(cluster, "out", 1)) == 1


def test_a_dead_letter_that_is_too_large_loses_only_its_bytes(cluster):
    """A poison message over the limit neither stops the stream nor vanishes."""
    sink = sink_to(cluster, **{"message.max.bytes": 100_000})
    rejected = Rejected(message(b"x" * 200_000), Rejection.TOO_LARGE, "200000 bytes")
    sink.deliver([Outcome(rejected.message, rejected)])
    sink.close()
    (letter,) = read(cluster, "dead", 1)
    assert letter.value() in (b"", None)
    assert b"200000 bytes" in dict(letter.headers())["ictc.value_omitted"]


def test_a_dead_letter_whose_headers_are_too_large_keeps_what_we_say_of_it(cluster):
    """Headers are the sender's, too: nothing that it sends stops the stream."""
    sink = sink_to(cluster, **{"message.max.bytes": 100_000})
    hostile = dataclasses.replace(message(b"rubbish"), headers=(("big", b"x" * 200_000),))
    sink.deliver([Outcome(hostile, Rejected(hostile, Rejection.CORRUPT, "breaks off"))])
    sink.close()
    (letter,) = read(cluster, "dead", 1)
    assert dict(letter.headers())["ictc.offset"] == b"42"
    assert "big" not in dict(letter.headers())
    assert "ictc.headers_omitted" in dict(letter.headers())


@pytest.mark.parametrize("large_first", [True, False])
def test_what_is_too_large_does_not_hide_that_something_else_may_be_tried_again(large_first):
    """A dead letter over the limit beside a timed-out classification is worth another attempt, in either order."""
    sink = sink_to("127.0.0.1:9", timeout_s=0.3, **{"linger.ms": 0, "message.max.bytes": 100_000})
    rejected = Rejected(message(b"x" * 200_000), Rejection.TOO_LARGE, "200000 bytes")
    outcomes = [Outcome(rejected.message, rejected), Outcome(message(), classification())]
    with pytest.raises(RetryableError, match="not delivered"):
        sink.deliver(outcomes if large_first else outcomes[::-1])
    sink.close()


def test_a_broker_that_is_away_is_worth_another_attempt():
    """Without an acknowledgement ``deliver`` raises, and the same sink works on."""
    sink = sink_to("127.0.0.1:9", timeout_s=0.3, **{"linger.ms": 0})
    for _ in range(2):
        with pytest.raises(RetryableError, match="not delivered"):
            sink.deliver([Outcome(message(), classification())])
    sink.close()


def test_a_waiting_delivery_can_be_given_up():
    """The service can end while the broker is away."""
    sink = sink_to("127.0.0.1:9", timeout_s=60.0)
    sink.give_up()
    with pytest.raises(RetryableError, match="without a delivery report"):
        sink.deliver([Outcome(message(), classification())])
    sink.close()


def test_a_key_that_librdkafka_does_not_know_is_named():
    """A mistyped key is a wrong setting, and its value, which may be secret, is not repeated."""
    with pytest.raises(ConfigurationError, match=r"no\.such\.key") as caught:
        sink_to("127.0.0.1:9", **{"no.such.key": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_records_are_pure_functions():
    """Equal outcomes make equal records."""
    rejected = Rejected(message(), Rejection.NOT_AVRO, "ä")
    letter = dead_letter("dead", rejected)
    assert letter == dead_letter("dead", rejected)
    assert letter.shorter is not None
    assert letter.shorter.headers[: len(letter.headers)] == letter.headers
    assert identity_headers(classification(7)) == identity_headers(classification(7))


def test_a_message_of_many_bad_records_is_one_dead_letter(cluster):
    """However many of its records are rejected, its bytes are kept once, with their number."""
    sink = sink_to(cluster)
    bad = Rejected(message(b"many"), Rejection.CORRUPT, "breaks off")
    sink.deliver([Outcome(bad.message, bad)] * 500)
    sink.close()
    (letter,) = read(cluster, "dead", 1)
    assert dict(letter.headers())["ictc.records"] == b"500"
