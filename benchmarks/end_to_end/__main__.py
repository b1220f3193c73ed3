"""Live speed: alerts through Kafka and back as classifications, the service on one core of its own.

``python -m benchmarks.end_to_end [--survey ztf] [--alerts 20000] [--burst 10000]``. The service is pinned to the first
core; broker, publisher and reader share the others. First everything lies on the topic (alerts per second of the clock
and of the service's own processor time, share of each room), then alerts come one by one (idle), at half that speed,
and all at once (burst): latency from the publisher's ``produce`` to the reader's ``consume``. On the same core, in the
same run, fastavro and astropy read a sample of the same alerts. On Apache Kafka where ``make kafka`` put one, else on
the embedded server.
"""

import io
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import fastavro
import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from benchmarks.decode import PlainLsst, plain_ztf
from benchmarks.end_to_end.alerts import SURVEYS, Packet, many
from benchmarks.neighbours.kafka_node import kafka_node
from benchmarks.neighbours.servers import AbsentError
from benchmarks.parser import parser_of
from benchmarks.setting import describe
from broker_filter.config import KafkaSettings
from broker_filter.kafka.admin import Admin
from broker_filter.kafka.clients import LIBRARY_LOG
from broker_filter.kafka.local_broker import QUICK_GROUP, free_port, local_broker
from broker_filter.records import Message, Origin

PARTITIONS = 4
LIMIT_S = 1200.0
WARM_UP = 64
IDLE_ALERTS, IDLE_EVERY_S = 60, 0.5
HALF_LOAD = 0.5  # of the measured throughput
HALF_LOAD_S = 20.0
PLAIN_SAMPLE = 200
SERVICE_CORE = 0


@dataclass(frozen=True, slots=True)
class Run:
    """What one phase took."""

    wall_s: float  # from the first alert that was sent to the last classification that was read
    cpu_s: float  # of the service
    latency_s: np.ndarray  # of each alert
    rooms_s: dict[str, float]  # wall time of batches in each room


@contextmanager
def service(brokers: str, survey: str, name: str, port: int) -> Iterator[int]:
    """The real service on its core, with the shipped weights; its process id."""
    with tempfile.TemporaryDirectory() as folder, Path(folder, "log").open("wb") as log:
        group = " ".join(f"--kafka.consumer {key}={value}" for key, value in QUICK_GROUP.items())
        flags = (
            f"--kafka.brokers {brokers} --kafka.topics {name}-in --kafka.group {name} {group} "
            f"--output.topic {name}-out --dead-letter.topic {name}-dead --model.weights {survey} --model.threads 1 "
            f"--store.path {folder}/store --http.port {port} --log.level warning"
        )
        command = ["taskset", "--cpu-list", str(SERVICE_CORE), sys.executable, "-m", "broker_filter.service.main"]
        process = subprocess.Popen([*command, *flags.split()], stderr=log)
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait(60)


class Reader:
    """Reads what comes out, from the beginning."""

    def __init__(self, brokers: str, topic: str) -> None:
        keys = {"bootstrap.servers": brokers, "group.id": "reader", "fetch.wait.max.ms": 10}
        self._consumer = Consumer(keys, logger=LIBRARY_LOG)
        self._consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(PARTITIONS)])

    def arrivals(self, wanted: set[int]) -> dict[int, float]:
        """When the first classification of each alert came, by alert id."""
        arrived: dict[int, float] = {}
        missing = set(wanted)
        deadline_s = time.monotonic() + LIMIT_S
        while missing:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{len(missing)} of {len(wanted)} classifications are not there in {LIMIT_S:.0f} s")
            for message in self._consumer.consume(500, 0.02):
                if message.error() is None:
                    (record,) = fastavro.reader(io.BytesIO(message.value() or b""))
                    arrived.setdefault(record["alertId"], time.monotonic())  # type: ignore[index, call-overload]
                    missing.discard(record["alertId"])  # type: ignore[index, call-overload]
        return arrived

    def close(self) -> None:
        """Leave."""
        self._consumer.close()


def publish(brokers: str, topic: str, packets: Sequence[Packet], rate: float | None) -> dict[int, float]:
    """Put packets on a topic, at so many a second; when each was handed over, by alert id."""
    keys = {"bootstrap.servers": brokers, "linger.ms": 2, "message.max.bytes": 2_000_000}
    producer = Producer(keys, logger=LIBRARY_LOG)
    begun_s, sent = time.monotonic(), {}
    for number, packet in enumerate(packets):
        if rate is not None:
            time.sleep(max(begun_s + number / rate - time.monotonic(), 0))
        sent[packet.alert_id] = time.monotonic()
        while True:
            try:
                producer.produce(topic, packet.content, partition=number % PARTITIONS)
                break
            except BufferError:  # its queue is full
                producer.poll(0.05)
        producer.poll(0)
    producer.flush(60)
    return sent


def measured(port: int) -> tuple[float, dict[str, float]]:
    """Processor seconds of the service until now, and seconds of its batches in each room."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    samples = [sample for family in families for sample in family.samples]
    rooms_s = {s.labels["stage"]: s.value for s in samples if s.name == "ictc_stage_duration_seconds_sum"}
    return next(s.value for s in samples if s.name == "process_cpu_seconds_total"), rooms_s


class Stream:
    """A service with warm caches, and alerts that go through it."""

    def __init__(self, brokers: str, survey: str, name: str, stack: ExitStack) -> None:
        topics = [f"{name}-in", f"{name}-out", f"{name}-dead"]
        Admin(KafkaSettings(brokers=brokers)).create(topics, PARTITIONS)
        self._brokers, self._topic, self._port = brokers, topics[0], free_port()
        self._reader = Reader(brokers, topics[1])
        stack.callback(self._reader.close)
        stack.enter_context(service(brokers, survey, name, self._port))

    def run(self, packets: Sequence[Packet], rate: float | None = None) -> Run:
        """Send them, wait for all answers."""
        try:
            before_s, rooms_before_s = measured(self._port)
        except OSError:  # it starts
            before_s, rooms_before_s = 0.0, {}
        sent: dict[int, float] = {}
        thread = threading.Thread(target=lambda: sent.update(publish(self._brokers, self._topic, packets, rate)))
        thread.start()
        arrived = self._reader.arrivals({packet.alert_id for packet in packets})
        thread.join()
        time.sleep(0.5)
        after_s, rooms_after_s = measured(self._port)
        return Run(
            max(arrived[a] for a in sent) - min(sent.values()),
            after_s - before_s,
            np.array([arrived[a] - sent[a] for a in sent]),
            {room: seconds - rooms_before_s.get(room, 0.0) for room, seconds in rooms_after_s.items()},
        )


def plain_per_second(survey: str, packets: Sequence[Packet]) -> float:
    """Alerts per processor second of fastavro and astropy on the service's core."""
    warnings.simplefilter("ignore")
    read = plain_ztf if survey == "ztf" else PlainLsst()
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {SERVICE_CORE})
    try:
        begun_s = time.process_time()
        for packet in packets:
            read(Message(packet.content, Origin("sample")))
        return len(packets) / (time.process_time() - begun_s)
    finally:
        os.sched_setaffinity(0, ours)


def measure(brokers: str, survey: str, packets: Sequence[Packet], burst: int) -> Table:
    """All phases, each on alerts of its own."""
    table = Table("phase", "alerts", "alerts/s", "alerts/CPU s", "p50 s", "p99 s", title=f"{survey.upper()}, one core")

    def row(phase: str, run: Run) -> float:
        count, p50_s, p99_s = len(run.latency_s), *np.percentile(run.latency_s, (50, 99))
        rates = (f"{count / run.wall_s:,.0f}", f"{count / run.cpu_s:,.0f}")
        table.add_row(phase, f"{count:,}", *rates, f"{p50_s:.3f}", f"{p99_s:.3f}")
        return count / run.wall_s

    rest = iter(packets)

    def take(count: int) -> list[Packet]:
        return [packet for packet, _ in zip(rest, range(count), strict=False)]

    with ExitStack() as stack:
        stream = Stream(brokers, survey, f"live-{survey}", stack)
        stream.run(take(WARM_UP))
        reserved = IDLE_ALERTS + burst
        paced = take(min(len(packets) // 5, 20_000))
        backlog = take(len(packets) - WARM_UP - len(paced) - reserved)
        whole = stream.run(backlog)
        speed = row("backlog", whole)
        row("idle, one each 0.5 s", stream.run(take(IDLE_ALERTS), 1 / IDLE_EVERY_S))
        rate = HALF_LOAD * speed
        row(f"half load, {rate:.0f}/s", stream.run(paced[: max(int(rate * HALF_LOAD_S), 1)], rate))
        row("burst, all at once", stream.run(take(burst)))
    table.add_row(
        "fastavro + astropy", str(PLAIN_SAMPLE), "", f"{plain_per_second(survey, packets[:PLAIN_SAMPLE]):,.0f}"
    )
    total_s = sum(whole.rooms_s.values())
    shares = sorted(whole.rooms_s.items(), key=lambda item: -item[1])
    table.caption = "rooms: " + ", ".join(f"{room} {100 * s / total_s:.0f} %" for room, s in shares)
    return table


@contextmanager
def a_broker(folder: Path) -> Iterator[tuple[str, str]]:
    """Its name and address."""
    with ExitStack() as stack:
        try:
            yield "Apache Kafka", stack.enter_context(kafka_node(folder)).address
        except AbsentError:
            yield "the embedded Kafka-protocol server", stack.enter_context(local_broker()).address


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--survey", choices=SURVEYS, action="append", help="default: both")
    parser.add_argument("--alerts", type=int, help="default: 20,000 of ZTF, 4,000 of LSST, beside the burst")
    parser.add_argument("--burst", type=int, help="default: 10,000 of ZTF, 1,000 of LSST")
    options = parser.parse_args()
    console = Console(width=110)
    console.print(describe("torch", "onnxruntime", "confluent-kafka"))
    others = os.sched_getaffinity(0) - {SERVICE_CORE}
    if others:
        os.sched_setaffinity(0, others)  # the broker's and the threads' too
    for survey in options.survey or SURVEYS:
        burst = options.burst or {"ztf": 10_000, "lsst": 1_000}[survey]
        alerts = options.alerts or {"ztf": 20_000, "lsst": 4_000}[survey]
        what, packets = many(survey, alerts + burst + IDLE_ALERTS + WARM_UP)
        size_kb = sum(len(packet.content) for packet in packets) / len(packets) / 1000
        with tempfile.TemporaryDirectory() as folder, a_broker(Path(folder)) as (broker, address):
            console.print(f"{what}, {size_kb:.0f} kB each, through {broker}; the others' cores: {sorted(others)}")
            console.print(measure(address, survey, packets, burst))


if __name__ == "__main__":
    main()
