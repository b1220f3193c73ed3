"""Exactly-once delivery on Apache Kafka under random kills, beside at-least-once, and what it costs.

``python -m benchmarks.service.exactly_once [--kills 200] [--alerts 20000] [--only proof|cost]``. Needs ``make kafka``;
with ``redis-server`` here also two replicas on one shared store. Killed (-9) are the service and Kafka, at random
moments; the service is also stopped (SIGSTOP) for longer than its session. Afterwards the output is read with
``isolation.level=read_committed``: each (classifier, version, survey, alert id, number of known observations) must
stand there once, each alert at least once, the last word on each alert must know every earlier observation of its
object, and the group's offsets must be the ends of the topic.
"""

import io
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from rich.console import Console
from rich.table import Table

from benchmarks.neighbours import forked
from benchmarks.neighbours.kafka_node import KafkaNode, kafka_node
from benchmarks.neighbours.servers import AbsentError, redis_server
from benchmarks.parser import parser_of
from benchmarks.setting import describe
from broker_filter.config import KafkaSettings
from broker_filter.kafka.admin import Admin
from broker_filter.kafka.clients import LIBRARY_LOG
from model.serving.predictor import untrained
from model.serving.weights import save
from model.simulation.alerts.night import write_night

PARTITIONS = 3
SESSION_MS, HEARTBEAT_MS = 1500, 300
LIFE_S = (0.0, 0.6)  # from the first batch that is done after an act to the next act: within what was published
STOPPED_S = 3.0
FEWER_KILLS = 4  # of at-least-once delivery, which is to show its duplicates only
KAFKA_EVERY, STOP_EVERY = 20, 10  # kills
BATCH_ALERTS = 16
BATCH_LIMIT_S = 15.0
END_LIMIT_S = 300.0
EPOCHS = 12
DRAWN_OBJECTS = 8
WIDTH = 130
COPIES_SHOWN, SHOWN_OF_COPIES = 10, ("objectId", "revision", "publicationTimestamp")
COPY_STEP = 10**6  # between the alert ids of two copies
_ASK_AGAIN = (KafkaError._TIMED_OUT, KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS)


@dataclass
class Trial:
    """One stream of alerts through services that are killed."""

    node: KafkaNode
    name: str
    delivery: str
    weights: Path
    folder: Path
    store_url: str | None = None
    running: dict[int, ForkServerProcess] = field(default_factory=dict)
    killed: Counter = field(default_factory=Counter)

    def topic(self, kind: str) -> str:
        """One of its topics."""
        return f"{self.name}-{kind}"

    def create(self) -> None:
        """Make the topics."""
        Admin(KafkaSettings(brokers=self.node.address)).create(
            [self.topic(kind) for kind in ("in", "out", "dead")], PARTITIONS
        )

    def flags(self, number: int) -> list[str]:
        """The command line of one replica."""
        store = ["--store.path", str(self.folder / f"store-{self.name}")]
        if self.store_url is not None:
            store = ["--store.kind", "redis", "--store.url", self.store_url, "--kafka.instance-id", f"replica-{number}"]
        group = (f"session.timeout.ms={SESSION_MS}", f"heartbeat.interval.ms={HEARTBEAT_MS}")
        return [
            *("--kafka.brokers", self.node.address, "--kafka.topics", self.topic("in"), "--kafka.group", self.name),
            *(flag for key in group for flag in ("--kafka.consumer", key)),
            *("--output.topic", self.topic("out"), "--dead-letter.topic", self.topic("dead")),
            *("--output.delivery", self.delivery, "--model.weights", str(self.weights), "--allow-untrained"),
            *("--model.threads", "1", "--http.port", "null", "--log.format", "json", *store),
            *("--batch.alert-limit", str(BATCH_ALERTS), "--life.retry-longest-s", "1", "--no-store.sync"),
        ]

    def log(self, number: int) -> Path:
        """Of one replica, over all its lives."""
        return self.folder / f"{self.name}-{number}.log"

    def start(self, number: int) -> None:
        """Start one replica."""
        if number in self.running and (self.running[number].exitcode or 0) > 0:
            raise RuntimeError(f"the service ended by itself: {self.log(number).read_text()[-2000:]}")
        self.running[number] = forked.start(self.flags(number), self.log(number))

    def kill(self, number: int) -> None:
        """End one replica without asking."""
        self.running[number].kill()
        self.running[number].join()

    def publish(self, packets: Sequence[bytes], first: int) -> None:
        """Put alerts on the topic, one partition after the other."""
        producer = Producer({"bootstrap.servers": self.node.address, "linger.ms": 5}, logger=LIBRARY_LOG)
        for number, packet in enumerate(packets, first):
            producer.produce(self.topic("in"), packet, partition=number % PARTITIONS)
            producer.poll(0)
        assert producer.flush(60) == 0

    def committed(self) -> dict[int, int]:
        """Offsets of the group; none while a transaction may still move them, or its coordinator is being chosen."""
        consumer = Consumer({"bootstrap.servers": self.node.address, "group.id": self.name}, logger=LIBRARY_LOG)
        try:
            partitions = [TopicPartition(self.topic("in"), p) for p in range(PARTITIONS)]
            return {p.partition: p.offset for p in consumer.committed(partitions, 20)}
        except KafkaException as error:
            if error.args[0].code() not in _ASK_AGAIN:
                raise
            return {}
        finally:
            consumer.close()

    def ends(self) -> dict[int, int]:
        """Ends of the topic of alerts."""
        consumer = Consumer({"bootstrap.servers": self.node.address, "group.id": "ends"}, logger=LIBRARY_LOG)
        try:
            topic = self.topic("in")
            return {p: consumer.get_watermark_offsets(TopicPartition(topic, p), 20)[1] for p in range(PARTITIONS)}
        finally:
            consumer.close()

    def read(self) -> list[dict[str, Any]]:
        """Every classification that a reader of committed records sees."""
        consumer = Consumer(
            {"bootstrap.servers": self.node.address, "group.id": "reader", "enable.partition.eof": True}
            | {"isolation.level": "read_committed", "enable.auto.commit": False},
            logger=LIBRARY_LOG,
        )
        consumer.assign([TopicPartition(self.topic("out"), p, OFFSET_BEGINNING) for p in range(PARTITIONS)])
        results: list[dict[str, Any]] = []
        ended: set[int | None] = set()
        deadline_s = time.monotonic() + END_LIMIT_S
        while len(ended) < PARTITIONS:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{self.topic('out')} cannot be read to its end")
            for message in consumer.consume(500, 0.2):
                error, value = message.error(), message.value()
                if error is None and value is not None:
                    results += [record for record in fastavro.reader(io.BytesIO(value)) if isinstance(record, dict)]
                elif error is not None and error.code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
        consumer.close()
        return results


@dataclass(frozen=True, slots=True)
class TrialVerdict:
    """What the output of a trial holds."""

    alerts: int
    missing: int  # alerts without a classification
    classifications: int
    twice: int  # classifications whose identity stood there before
    stale: int  # alerts whose last word does not know every observation up to theirs
    offsets_equal: bool
    killed: Counter
    copies: tuple[str, ...] = ()  # of the identities that stand there more than once, some


def judge(trial: Trial, alerts: int) -> TrialVerdict:
    """Read and count."""
    records_of: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    known: dict[str, dict[tuple[float, int], int]] = {}  # by object, then by time and alert id
    total = 0
    for r in trial.read():
        total += 1
        of_object, place = known.setdefault(r["objectId"], {}), (r["mjd"], r["alertId"])
        of_object[place] = max(r["nKnown"], of_object.get(place, 0))
        identity = (r["classifier"], r["classifierVersion"], r["survey"], r["alertId"], r["nKnown"])
        records_of.setdefault(identity, []).append({name: r[name] for name in SHOWN_OF_COPIES})
    seen = {identity[3] for identity in records_of}
    copies = [f"{identity[3:]}: {records}" for identity, records in records_of.items() if len(records) > 1]
    at_ends = trial.committed() == trial.ends()
    orders = ([of_object[place] for place in sorted(of_object) if of_object[place]] for of_object in known.values())
    stale = sum(n != rank for order in orders for rank, n in enumerate(order, 1))
    counts = (alerts - len(seen), total, total - len(records_of), stale)
    return TrialVerdict(alerts, *counts, at_ends, trial.killed, tuple(copies[:COPIES_SHOWN]))


def torment(trial: Trial, packets: Sequence[bytes], kills: int, replicas: int, rng: random.Random) -> TrialVerdict:
    """Publish a part, start whoever is dead, kill somebody; at the end let everything be finished."""
    trial.create()
    for number in range(replicas):
        trial.start(number)
    for kill in range(kills):
        part = packets[kill * len(packets) // kills : (kill + 1) * len(packets) // kills]
        trial.publish(part, kill * len(packets) // kills)
        victim = rng.randrange(replicas)
        _wait_for_a_batch([trial.log(number) for number in range(replicas)])
        time.sleep(rng.uniform(*LIFE_S))
        if kill % KAFKA_EVERY == KAFKA_EVERY // 2:
            trial.node.kill()
            trial.node.start_again()
            trial.killed["Kafka"] += 1
        elif kill % STOP_EVERY == STOP_EVERY - 1:
            os.kill(_pid(trial.running[victim]), signal.SIGSTOP)
            time.sleep(STOPPED_S)
            os.kill(_pid(trial.running[victim]), signal.SIGCONT)
            trial.killed["stopped"] += 1
        else:
            trial.kill(victim)
            trial.killed["service"] += 1
        for number, process in trial.running.items():
            if not process.is_alive():
                trial.start(number)
    deadline_s = time.monotonic() + END_LIMIT_S
    while trial.committed() != trial.ends() and time.monotonic() < deadline_s:
        for number, process in trial.running.items():
            if not process.is_alive():
                trial.start(number)
        time.sleep(0.5)
    for process in trial.running.values():
        process.terminate()
        process.join(60)
    return judge(trial, len(packets))


def _pid(process: ForkServerProcess) -> int:
    assert process.pid is not None
    return process.pid


def _wait_for_a_batch(logs: Sequence[Path]) -> None:
    """Until a process has finished a batch from now on, at most BATCH_LIMIT_S: they may have nothing to do."""
    starts = {log: log.stat().st_size for log in logs if log.exists()}
    deadline_s = time.monotonic() + BATCH_LIMIT_S
    while time.monotonic() < deadline_s:
        for log in filter(Path.exists, logs):
            with log.open("rb") as file:
                file.seek(starts.get(log, 0))
                if b'"event":"batch"' in file.read():
                    return
        time.sleep(0.02)


def cost(node: KafkaNode, packets: Sequence[bytes], weights: Path, folder: Path) -> Table:
    """Both modes over the same night that comes at once: alerts/s, and the time of a batch from its first alert."""
    table = Table("delivery", "alerts/s", "batch p50 ms", "batch p99 ms", title=f"{len(packets)} alerts at once")
    for delivery in ("at_least_once", "exactly_once"):
        trial = Trial(node, f"cost-{delivery.replace('_', '-')}", delivery, weights, folder)
        trial.create()
        trial.publish(packets, 0)
        trial.start(0)
        deadline_s = time.monotonic() + END_LIMIT_S
        while trial.committed() != trial.ends() and time.monotonic() < deadline_s:
            time.sleep(0.2)
        trial.running[0].terminate()
        trial.running[0].join(60)
        lines = [orjson.loads(line) for line in trial.log(0).read_bytes().splitlines() if line.startswith(b"{")]
        batches = [line for line in lines if line["event"] == "batch"]
        times = [np.datetime64(line["time"].rstrip("Z")) for line in batches]
        seconds = float((times[-1] - times[0]) / np.timedelta64(1, "s"))
        rate = sum(line["alerts"] for line in batches[1:]) / seconds
        work_ms = [1000 * (line["total_s"] - line["waited_s"]) for line in batches]
        table.add_row(delivery, f"{rate:.0f}", *(f"{np.percentile(work_ms, q):.0f}" for q in (50, 99)))
    return table


def proof(
    node: KafkaNode, packets: Sequence[bytes], kills: int, weights: Path, folder: Path, only: str | None
) -> Table:
    """The same night for each mode, with fewer kills for at-least-once."""
    columns = ("delivery", "replicas", "killed", "alerts", "missing", "classified", "twice", "stale", "offsets at end")
    table = Table(*columns)
    with ExitStack() as stack:
        cases: list[tuple[str, int, str | None]] = [("exactly_once", 1, None), ("at_least_once", 1, None)]
        try:
            data = folder / "redis"
            data.mkdir()
            cases.append(("exactly_once", 2, stack.enter_context(redis_server(data)).url))
        except AbsentError as error:
            print(error, file=sys.stderr)
        for delivery, replicas, url in cases:
            if only not in (None, f"{delivery}-{replicas}"):
                continue
            name = f"proof-{delivery.replace('_', '-')}-{replicas}"
            trial = Trial(node, name, delivery, weights, folder, url)
            acts = kills if delivery == "exactly_once" else -(-kills // FEWER_KILLS)
            try:
                verdict = torment(trial, packets, acts, replicas, random.Random(kills))
            finally:
                for process in trial.running.values():
                    process.kill()
            print(f"{name}: {verdict}", file=sys.stderr, flush=True)
            killed = ", ".join(f"{what} {number}" for what, number in verdict.killed.items())
            counts = (verdict.alerts, verdict.missing, verdict.classifications, verdict.twice, verdict.stale)
            at_end = "yes" if verdict.offsets_equal else "NO"
            table.add_row(delivery, str(replicas), killed, *(str(count) for count in counts), at_end)
    return table


def night(alerts: int) -> list[bytes]:
    """A drawn night of few objects, repeated under other names: what matters here is who and when, not what is seen."""
    drawn = [packet for packet, _ in write_night("ztf", DRAWN_OBJECTS, EPOCHS, 11)]
    reader = fastavro.reader(io.BytesIO(drawn[0]))
    schema = fastavro.parse_schema(reader.writer_schema)
    records = [next(iter(fastavro.reader(io.BytesIO(packet)))) for packet in drawn]
    packets = []
    for number in range(alerts):
        copy, of_drawn = divmod(number, len(records))
        record = records[of_drawn]
        candidate = record["candidate"] | {"candid": record["candid"] + copy * COPY_STEP}
        renamed = {"objectId": f"{record['objectId']}c{copy}", "candid": candidate["candid"], "candidate": candidate}
        packet = io.BytesIO()
        fastavro.writer(packet, schema, [record | renamed | {"prv_candidates": None}])
        packets.append(packet.getvalue())
    return packets


def small_weights(folder: Path) -> Path:
    """Random weights of few frames: what is measured is the stream."""
    path = folder / "small"
    save(path, *untrained("ztf", "convention", seed=1, frame_limit=30, layers=1, size=16))
    return path.with_suffix(".safetensors")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 0."""
    parser = parser_of(__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--alerts", type=int, default=20_000)
    parser.add_argument("--only", choices=("proof", "cost"))
    parser.add_argument("--case", choices=("exactly_once-1", "at_least_once-1", "exactly_once-2"))
    options = parser.parse_args(arguments)
    console = Console(width=WIDTH)
    console.print(describe("confluent-kafka", "lmdb", "redis"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = small_weights(folder)
        packets = night(options.alerts)
        data = folder / "kafka"
        data.mkdir()
        with kafka_node(data) as node:
            if options.only in (None, "proof"):
                console.print(proof(node, packets, options.kills, weights, folder, options.case))
            if options.only in (None, "cost"):
                console.print(cost(node, packets, weights, folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
