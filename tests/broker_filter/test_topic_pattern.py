"""Patterns of topics, held against Kafka's client itself."""

import re
import time

import pytest
from confluent_kafka import Consumer, Producer
from hypothesis import given
from hypothesis import strategies as st

from broker_filter.kafka.clients import LIBRARY_LOG
from broker_filter.topic_pattern import TopicPattern, compile_pattern

NAMES = ["ztf_20260101_programid1", "ztf_2026010_programid1", "lsst-alerts", "lsst.alerts-v1", "a", "aa", "b.c", "x_1"]
PATTERNS = [
    "^ztf_[0-9]{8}_programid1$",
    "^(ztf|lsst)",
    "^lsst[.]alerts",
    r"^lsst\.alerts",
    "^[^z]",
    "^a+$",
    r"^\w+$",
    "^[[:alpha:]]$",
    "^[]a]$",
    "^ztf",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_match_as_pythons_do(pattern):
    """What is accepted matches as its writer means."""
    python = re.compile(pattern.replace("[[:alpha:]]", "[A-Za-z]").replace("[]a]", r"[\]a]"))
    assert [compile_pattern(pattern).matches(name) for name in NAMES] == [bool(python.search(n)) for n in NAMES]


@given(st.text("ab.[]()^$*+?{}1,|\\d:Z", max_size=12))
def test_every_pattern_is_read_alike_or_refused(tail):
    """A pattern of any signs is refused, or matches as Python's engine does."""
    try:
        pattern = TopicPattern("^" + tail)
        python = re.compile("^" + tail)
    except (ValueError, re.error, FutureWarning):
        return
    for name in ("a", "ab", "b1", "aab", "1", "a.b", "d", "Z"):
        assert pattern.matches(name) == bool(python.search(name)), (tail, name)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("^(((a{1,255}){1,255}){1,255}){1,255}$", "multiply"),
        ("^" + "(" * 100 + "a" + ")" * 100, "groups nest 100 deep"),
        ("^" + "(" * 100_000, "characters"),
        ("^" + "(a*)*" * 50, "without end"),
        ("^ztf\0.*", "zero byte"),
        ("^a{1001}", "multiply"),
        ("^" + "((((((((a{1,9}){1,9}){1,9}){1,9}){1,9}){1,9}){1,9}){1,9})", "multiply"),
    ],
)
def test_patterns_that_would_take_all_memory_or_time(pattern, words):
    """What a C library would compile for ever, or die of, is refused before it sees it, with the bound."""
    begun_s = time.process_time()
    with pytest.raises(ValueError, match=words):
        TopicPattern(pattern)
    assert time.process_time() - begun_s < 1
    assert TopicPattern(r"^(ztf_[0-9]{8}|a{8}b{8}c{8}d{8})_programid[1-3](_\([a-z]{2}\))?$").matches(
        "ztf_20260101_programid1"
    )


def test_kafkas_client_reads_the_same_topics():
    """On a mock cluster librdkafka is assigned exactly the topics that the patterns match."""
    owner = Producer({"bootstrap.servers": "ignored:1", "test.mock.num.brokers": 1}, logger=LIBRARY_LOG)
    brokers = ",".join(f"{b.host}:{b.port}" for b in owner.list_topics(timeout=10).brokers.values())
    producer = Producer({"bootstrap.servers": brokers}, logger=LIBRARY_LOG)
    for name in NAMES:
        producer.produce(name, b"x")
    producer.flush(10)
    pattern = "^(ztf_[0-9]{8}_|lsst[.])"
    consumer = Consumer(
        {"bootstrap.servers": brokers, "group.id": "g", "auto.offset.reset": "earliest"}, logger=LIBRARY_LOG
    )
    consumer.subscribe([pattern])
    wanted = {name for name in NAMES if compile_pattern(pattern).matches(name)}
    seen: set[str | None] = set()
    for _ in range(200):
        if (message := consumer.poll(0.1)) is not None and message.error() is None:
            seen.add(message.topic())
        if seen >= wanted:
            break
    assert {partition.topic for partition in consumer.assignment()} == wanted
    consumer.close()
    owner.flush(0)
