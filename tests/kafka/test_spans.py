"""A part of what Kafka keeps, read apart from the running stream, and services that end where the topics do."""

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from nights import night
from stages import FOREVER, Stage
from watching import committed

from benchmarks.neighbours.kafka_node import KafkaNode
from broker_filter.config import KafkaSettings, load
from broker_filter.errors import ConfigurationError
from broker_filter.kafka.admin import Admin
from broker_filter.kafka.clients import LIBRARY_LOG

MIDNIGHT = dt.datetime(2026, 11, 28, tzinfo=dt.UTC)
OBJECTS, FIRST_ID = 3, 10**18
MAY_CREATE = ("--output.create-topics", "--output.partitions", "3")


def publish_at(stage: Stage, packets: Mapping[float, Sequence[bytes]]) -> None:
    """Put packets on the topic with a time in Kafka: hours after midnight."""
    producer = Producer({"bootstrap.servers": stage.brokers}, logger=LIBRARY_LOG)
    for hours, some in packets.items():
        moment = MIDNIGHT + dt.timedelta(hours=hours)
        for number, packet in enumerate(some):
            milliseconds = int(1000 * moment.timestamp())
            producer.produce(stage.alerts, packet, partition=number % stage.partitions, timestamp=milliseconds)
    assert producer.flush(20) == 0


@pytest.mark.parametrize(
    ("flags", "name", "chosen"),
    [
        (("--night", "20261128"), "night-20261128", (3.0,)),
        (("--from", "2026-11-28T02:00"), "from-20261128T020000Z", (3.0, 20.0)),
        (
            ("--from", "2026-11-28T02:00", "--until", "2026-11-28 06:00+02:00"),
            "from-20261128T020000Z-until-20261128T040000Z",
            (3.0,),
        ),
        (("--until", "2026-11-28T02:00"), "until-20261128T020000Z", (-10.0,)),
    ],
)
def test_a_span_is_read_apart(
    node: KafkaNode,
    stage: Stage,
    run: Any,
    tmp_path: Path,
    flags: tuple[str, ...],
    name: str,
    chosen: tuple[float, ...],
) -> None:
    """Its alerts alone are classified, with group, store and topics of their own; the stream's stay as they are."""
    packets = night(OBJECTS, 6)
    by_hour = {-10.0: packets[:6], 3.0: packets[6:12], 20.0: packets[12:]}
    publish_at(stage, by_hour)
    open_ended = () if "--until" in flags or "--night" in flags else ("--exit-on-end",)
    service = run(stage.flags(tmp_path / "store", *MAY_CREATE, *FOREVER, *flags, *open_ended))
    assert service.wait() == 0
    hours = [hour for hour, some in by_hour.items() for _ in some]
    expected = {FIRST_ID + 1000 * (n // OBJECTS) + n % OBJECTS for n, hour in enumerate(hours) if hour in chosen}
    assert {result["alertId"] for result in stage.results(f"{stage.outputs}.{name}")} == expected
    assert stage.results() == []
    assert not (tmp_path / "store").exists()
    assert (tmp_path / f"store.{name}").is_dir()
    Admin(KafkaSettings(brokers=stage.brokers)).delete([f"{stage.outputs}.{name}", f"{stage.dead_letters}.{name}"])


def test_the_end_is_that_of_the_start(stage: Stage, run: Any, tmp_path: Path) -> None:
    """With --exit-on-end the service ends when all is committed that was there, in its own group and store."""
    packets = night(3, 4)
    for n, packet in enumerate(packets):  # one by one: the embedded server's end of a partition counts batches
        stage.publish([packet], lambda _, n=n: n % stage.partitions)
    for _ in range(2):  # the second one has nothing to do
        service = run(stage.flags(tmp_path / "store", *FOREVER, "--exit-on-end"))
        assert service.wait() == 0
        assert sum(committed(stage).values()) == len(packets)
    assert len(stage.results()) == len(packets)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--night", "20261399"), "is no date"),
        (("--night", "20261128", "--from", "2026-11-28"), "night is a span by itself"),
        (("--from", "2026-11-28", "--until", "2026-11-27"), "must lie before"),
        (("--from", "yesterday"), "span.from_time"),
    ],
)
def test_spans_that_are_none(flags: tuple[str, ...], says: str) -> None:
    """A night that is no date, times in the wrong order and two spans at once are refused by name."""
    with pytest.raises(ConfigurationError, match=says):
        load(flags)
