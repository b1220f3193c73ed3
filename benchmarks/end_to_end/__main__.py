"""Alerts through the broker and back as classifications: how many a second, how late, and where the time goes.

``python -m benchmarks.end_to_end``. Broker, publisher, service and reader share the processors of this machine. First
everything lies on the topic (alerts per second), then alerts come at half that rate (latency from the publisher's
``produce`` to the reader's ``consume``). The network reads its update path: embeddings of full groups are kept.
"""

import io
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import fastavro
import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from benchmarks.setting import describe
from broker_filter.config import KafkaSettings
from broker_filter.kafka.admin import Admin
from broker_filter.kafka.clients import LIBRARY_LOG
from broker_filter.kafka.local_broker import QUICK_GROUP, free_port, local_broker
from model.simulation.alerts.night import write_night

OBJECTS, NIGHTS, SEED = 90, 30, 11
PARTITIONS = 4
LIMIT_S = 240.0
LATENCY_SHARE = 0.5  # of the measured throughput

Packet = tuple[int, str, bytes]  # alert id, object id, bytes


@contextmanager
def service(brokers: str, name: str, port: int) -> Iterator[None]:
    """The real service, with the shipped weights of ZTF (random ones of the same network without)."""
    with tempfile.TemporaryDirectory() as folder, Path(folder, "log").open("wb") as log:
        group = " ".join(f"--kafka.consumer {key}={value}" for key, value in QUICK_GROUP.items())
        flags = (
            f"--kafka.brokers {brokers} --kafka.topics {name}-in --kafka.group {name} {group} "
            f"--output.topic {name}-out --dead-letter.topic {name}-dead --model.weights ztf --allow-untrained "
            f"--store.path {folder}/store --http.port {port} --log.level warning"
        )
        process = subprocess.Popen([sys.executable, "-m", "broker_filter.service.main", *flags.split()], stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


class Reader:
    """Reads what comes out, from the beginning."""

    def __init__(self, brokers: str, topic: str) -> None:
        keys = {"bootstrap.servers": brokers, "group.id": "reader", "fetch.wait.max.ms": 10}
        self._consumer = Consumer(keys, logger=LIBRARY_LOG)
        self._consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(PARTITIONS)])

    def arrivals(self, wanted: set[int]) -> dict[int, float]:
        """When the first classification of each alert came, by alert id."""
        arrived: dict[int, float] = {}
        deadline_s = time.monotonic() + LIMIT_S
        while not wanted <= arrived.keys():
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{len(arrived)} of {len(wanted)} classifications within {LIMIT_S:.0f} s")
            for message in self._consumer.consume(500, 0.02):
                if message.error() is None:
                    (record,) = fastavro.reader(io.BytesIO(message.value() or b""))
                    arrived.setdefault(record["alertId"], time.monotonic())  # type: ignore[index, call-overload]
        return arrived

    def close(self) -> None:
        """Leave."""
        self._consumer.close()


def publish(brokers: str, topic: str, packets: Sequence[Packet], rate: float | None) -> dict[int, float]:
    """Put packets on a topic, at so many a second; when each was handed over, by alert id."""
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 2}, logger=LIBRARY_LOG)
    begun_s, sent = time.monotonic(), {}
    for number, (alert_id, object_id, packet) in enumerate(packets):
        if rate is not None:
            time.sleep(max(begun_s + number / rate - time.monotonic(), 0))
        sent[alert_id] = time.monotonic()
        producer.produce(topic, packet, key=object_id)
        producer.poll(0)
    producer.flush(30)
    return sent


def stages(port: int) -> dict[str, float]:
    """Seconds spent in each room."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return {
            sample.labels["stage"]: sample.value
            for family in families
            for sample in family.samples
            if sample.name == "ictc_stage_duration_seconds_sum"
        }


def measure(brokers: str, name: str, packets: Sequence[Packet], rate: float | None) -> tuple[float, list[float], dict]:
    """Alerts per second between first and last classification, latencies in seconds, seconds per room."""
    Admin(KafkaSettings(brokers=brokers)).create([f"{name}-in", f"{name}-out", f"{name}-dead"], PARTITIONS)
    reader, port = Reader(brokers, f"{name}-out"), free_port()
    warm, rest = packets[:1], packets[1:]
    with service(brokers, name, port):
        publish(brokers, f"{name}-in", warm, None)
        reader.arrivals({warm[0][0]})
        before = stages(port)
        if rate is None:
            sent = publish(brokers, f"{name}-in", rest, None)
            arrived = reader.arrivals({alert_id for alert_id, *_ in rest})
        else:
            sent = {}
            thread = threading.Thread(target=lambda: sent.update(publish(brokers, f"{name}-in", rest, rate)))
            thread.start()
            arrived = reader.arrivals({alert_id for alert_id, *_ in rest})
            thread.join()
        time.sleep(0.5)
        after = stages(port)
    reader.close()
    shares = {stage: after[stage] - before.get(stage, 0.0) for stage in after}
    seconds = max(arrived.values()) - min(sent.values())
    return len(rest) / seconds, [arrived[a] - sent[a] for a in sent], shares


def main() -> None:
    """Measure and print."""
    console = Console()
    console.print(describe("torch", "confluent-kafka"))
    packets = [(t["alert_id"], t["object_id"], p) for p, t in write_night("ztf", OBJECTS, NIGHTS, SEED)]
    size_kb = sum(len(p) for *_, p in packets) / len(packets) / 1000
    console.print(f"{len(packets)} simulated ZTF alerts of {OBJECTS} objects, {size_kb:.0f} kB each")
    with local_broker() as broker:
        speed, _, shares = measure(broker.address, "backlog", packets, None)
        _, latencies, _ = measure(broker.address, "paced", packets, LATENCY_SHARE * speed)
    table = Table("end to end", "", title="through a Kafka-protocol broker on loopback")
    table.add_row("backlog, alerts/s", f"{speed:.0f}")
    table.add_row(
        f"paced at {LATENCY_SHARE * speed:.0f} alerts/s, latency p50", f"{np.percentile(latencies, 50):.3f} s"
    )
    table.add_row("  p99", f"{np.percentile(latencies, 99):.3f} s")
    total = sum(shares.values())
    for stage, seconds in sorted(shares.items(), key=lambda item: -item[1]):
        table.add_row(f"share of {stage}", f"{100 * seconds / total:.0f} %")
    console.print(table)


if __name__ == "__main__":
    main()
