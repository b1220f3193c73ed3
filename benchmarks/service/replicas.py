"""Many processes: round trips to the shared store, three processes beside one, and a burst after a visit of LSST.

``python -m benchmarks.service.replicas [--alerts 1500] [--burst 10000] [--burst-s 10] [--only trips|replicas|burst]``.
Needs ``redis-server`` (or Valkey) on this machine. Broker, publisher, store and services share its processors, so three
processes can only be faster than one where there are cores for them: the table says how many there were.
"""

import io
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
from confluent_kafka import Producer
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from benchmarks.neighbours.servers import AbsentError, redis_server
from benchmarks.parser import parser_of
from benchmarks.setting import describe
from broker_filter.config import KafkaSettings
from broker_filter.kafka.admin import Admin
from broker_filter.kafka.clients import LIBRARY_LOG
from broker_filter.kafka.local_broker import QUICK_GROUP, free_port, local_broker
from broker_filter.records import Observation
from broker_filter.series.redis.store import RedisSeriesStore
from broker_filter.series.store import Change, FrameKey
from model.series import compact
from model.serving.predictor import untrained
from model.serving.weights import save
from model.simulation.alerts import lsst as packets_lsst
from model.simulation.alerts.night import write_night

PARTITIONS = 6
LIMIT_S = 600.0
POLL_INTERVAL_MS = 2000  # a poll loop that stalls for longer is put out of its group
HOLD_LIMIT, GROUP_SIZE, FRAME_PX = 132, 1, 30
TRIP_BATCHES = 5
LATENCY_S = 0.1
ID_BASE = 10**15


class FarAway:
    """A proxy that makes a server look distant: each byte arrives ``latency_s`` later, however many are on the way."""

    def __init__(self, port: int, latency_s: float) -> None:
        self._server, self._latency_s = port, latency_s
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._server))
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for source, sink, latency_s in ((client, server, 0.0), (server, client, self._latency_s)):
                line: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
                threading.Thread(target=_take, args=(source, line, latency_s), daemon=True).start()
                threading.Thread(target=_give, args=(line, sink), daemon=True).start()

    def close(self) -> None:
        """Accept nobody any more."""
        self._listener.close()


def _take(source: socket.socket, line: "queue.SimpleQueue[tuple[float, bytes]]", latency_s: float) -> None:
    data = b"begin"
    while data:
        try:
            data = source.recv(2**20)
        except OSError:
            data = b""
        line.put((time.monotonic() + latency_s, data))


def _give(line: "queue.SimpleQueue[tuple[float, bytes]]", sink: socket.socket) -> None:
    while True:
        due_s, data = line.get()
        if not data:
            return
        time.sleep(max(due_s - time.monotonic(), 0))
        try:
            sink.sendall(data)
        except OSError:
            return


def frame(alert_id: int, rng: np.random.Generator) -> Observation:
    """What is in it does not matter to a store."""
    pixels, scale = compact(rng.normal(0, 10, (3, FRAME_PX, FRAME_PX)).astype(np.float32))
    return Observation(alert_id, 60_000.0 + alert_id, 1, 5.0, 1.0, pixels, scale)


def trips(folder: Path) -> Table:
    """Round trips and time of one batch: merge, read an older frame of each object, settle.

    Each round trip costs one latency: their number is what a batch takes longer when the server is further away.
    """
    far = f"ms, {1000 * LATENCY_S:.0f} ms away"
    table = Table("alerts in a batch", "commands", "ms", far, "round trips", "µs an alert", title="shared store")
    rng = np.random.default_rng(1)
    first, second = frame(1, rng), frame(2, rng)
    with redis_server(folder) as server, server.client() as client:
        proxies = [FarAway(server.port, latency_s) for latency_s in (0.0, LATENCY_S)]
        stores = [RedisSeriesStore(f"redis://127.0.0.1:{proxy.port}") for proxy in proxies]
        for size in (16, 32, 64, 128, 256, 512):
            seconds: list[list[float]] = [[], []]
            commands = []
            for batch in range(TRIP_BATCHES):
                for which, store in enumerate(stores):
                    keys = [f"ztf/{size}-{batch}-{which}-{number}" for number in range(size)]
                    store.add([(key, first) for key in keys])
                    store.settle([Change(key, (first.alert_id,), HOLD_LIMIT, GROUP_SIZE) for key in keys])
                    before, begun_s = _commands(client), time.perf_counter()
                    store.add([(key, second) for key in keys])
                    store.pixels([FrameKey(key, f.time_mjd, f.alert_id) for key in keys for f in (first, second)])
                    store.settle([Change(key, (second.alert_id,), HOLD_LIMIT, GROUP_SIZE) for key in keys])
                    seconds[which].append(time.perf_counter() - begun_s)
                    commands.append(_commands(client) - before - 1)
            near_s, far_s = (float(np.min(part)) for part in seconds)
            trips_made = f"{(far_s - near_s) / LATENCY_S:.1f}"
            times = (f"{1000 * near_s:.1f}", f"{1000 * far_s:.1f}")
            table.add_row(str(size), f"{int(np.median(commands))}", *times, trips_made, f"{1e6 * near_s / size:.0f}")
        for store, proxy in zip(stores, proxies, strict=True):
            store.close()
            proxy.close()
    return table


def _commands(client: Any) -> int:
    return int(client.info("stats")["total_commands_processed"])


@dataclass(frozen=True, slots=True)
class Group:
    """Topics and flags of processes that work together."""

    brokers: str
    name: str
    flags: tuple[str, ...]

    def create(self) -> None:
        """Make the topics."""
        topics = [f"{self.name}-{kind}" for kind in ("in", "out", "dead")]
        Admin(KafkaSettings(brokers=self.brokers)).create(topics, PARTITIONS)

    @contextmanager
    def processes(self, count: int, folder: Path) -> Iterator[list[int]]:
        """Start processes; their ports."""
        group = [flag for key, value in QUICK_GROUP.items() for flag in ("--kafka.consumer", f"{key}={value}")]
        flags = [
            *("--kafka.brokers", self.brokers, "--kafka.topics", f"{self.name}-in", "--kafka.group", self.name, *group),
            *("--output.topic", f"{self.name}-out", "--dead-letter.topic", f"{self.name}-dead", "--allow-untrained"),
            *("--model.threads", "1", "--log.format", "json", *self.flags),
        ]
        ports, running = [free_port() for _ in range(count)], []
        try:
            for port in ports:
                command = [sys.executable, "-m", "broker_filter.service.main", *flags, "--http.port", str(port)]
                with (folder / f"{self.name}-{port}.log").open("wb") as log:
                    running.append(subprocess.Popen(command, stderr=log))
            yield ports
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait(60)

    def lines_with(self, folder: Path, text: str) -> int:
        """How often the processes logged this."""
        return sum(path.read_text().count(text) for path in folder.glob(f"{self.name}-*.log"))


def metrics(port: int) -> dict[str, float]:
    """Each metric of a process, summed over its labels; nothing while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    totals: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            totals[sample.name] = totals.get(sample.name, 0.0) + sample.value
    return totals


def wait_until_assigned(ports: Sequence[int]) -> None:
    """Until every process has partitions."""
    deadline_s = time.monotonic() + LIMIT_S
    while not all(metrics(port).get("ictc_alerts_read_total") is not None for port in ports):
        if time.monotonic() > deadline_s:
            raise TimeoutError("the processes get no partitions")
        time.sleep(0.2)


def alerts_per_second(group: Group, packets: Sequence[bytes], count: int, folder: Path) -> float:
    """Rate of ``count`` processes over a night that comes at once."""
    group.create()
    with group.processes(count, folder) as ports:
        wait_until_assigned(ports)
        producer = Producer({"bootstrap.servers": group.brokers, "linger.ms": 5}, logger=LIBRARY_LOG)
        for number, packet in enumerate(packets):
            producer.produce(f"{group.name}-in", packet, partition=number % PARTITIONS)
            producer.poll(0)
        begun_s = time.monotonic()
        producer.flush(60)
        read = 0.0
        while read < len(packets):
            if time.monotonic() - begun_s > LIMIT_S:
                raise TimeoutError(f"{read:.0f} of {len(packets)} alerts")
            time.sleep(0.1)
            read = sum(metrics(port).get("ictc_alerts_read_total", 0.0) for port in ports)
        return len(packets) / (time.monotonic() - begun_s)


def replicas(brokers: str, alerts: int, folder: Path) -> Table:
    """One process and three, the same night, the same shared store (emptied between)."""
    packets = [packet for packet, _ in write_night("ztf", max(alerts // 10, 2), 25, 11)][:alerts]
    rates = {}
    for count in (1, 3):
        with tempfile.TemporaryDirectory() as data, redis_server(Path(data)) as server:
            flags = ("--store.kind", "redis", "--store.url", server.url, "--model.weights", "ztf")
            rates[count] = alerts_per_second(Group(brokers, f"replicas{count}", flags), packets, count, folder)
    table = Table("processes", "alerts/s", title=f"{len(packets)} ZTF alerts at once, {PARTITIONS} partitions")
    for count, rate in rates.items():
        table.add_row(str(count), f"{rate:.0f}")
    table.add_row("ratio", f"{rates[3] / rates[1]:.2f}")
    return table


def sky(objects: int = 40) -> list[dict[str, Any]]:
    """Records of simulated LSST alerts without their histories."""
    records = []
    for packet, _ in write_night("lsst", objects, 10, 3):
        record = fastavro.schemaless_reader(io.BytesIO(packet[5:]), packets_lsst.schema())
        assert isinstance(record, dict)
        if record["diaObject"] is not None:
            records.append(record | dict.fromkeys(("prvDiaSources", "prvDiaForcedSources"), None))
    return records


def renumbered(record: dict[str, Any], new_id: int) -> bytes:
    """The packet of the same alert of another object."""
    source = record["diaSource"] | {"diaSourceId": new_id, "diaObjectId": new_id}
    objects = {"diaSource": source, "diaObject": record["diaObject"] | {"diaObjectId": new_id}}
    return packets_lsst.frame(record | {"diaSourceId": new_id} | objects)


def burst(brokers: str, alerts: int, seconds: float, folder: Path) -> Table:
    """A visit's alerts in a few seconds: what the process's memory does meanwhile, and how fast the backlog drains."""
    weights = folder / "lsst-small"
    save(weights, *untrained("lsst", "vigil", seed=1))
    store = ("--store.path", str(folder / "burst-store"), "--model.weights", str(weights.with_suffix(".safetensors")))
    group = Group(brokers, "burst", (*store, "--kafka.consumer", f"max.poll.interval.ms={POLL_INTERVAL_MS}"))
    group.create()
    records = sky()
    seen: list[tuple[float, float, float, float]] = []  # time, read, resident bytes, paused
    with group.processes(1, folder) as (port,):
        wait_until_assigned([port])
        quiet = metrics(port)["process_resident_memory_bytes"]
        stop = threading.Event()
        watcher = threading.Thread(target=_watch, args=(port, seen, stop))
        watcher.start()
        producer = Producer(
            {"bootstrap.servers": brokers, "linger.ms": 5, "queue.buffering.max.kbytes": 2**21}, logger=LIBRARY_LOG
        )
        begun_s, size = time.monotonic(), 0
        for number in range(alerts):
            packet = renumbered(records[number % len(records)], ID_BASE + number)
            time.sleep(max(begun_s + seconds * number / alerts - time.monotonic(), 0))
            producer.produce("burst-in", packet, partition=number % PARTITIONS)
            producer.poll(0)
            size += len(packet)
        producer.flush(120)
        published_s = time.monotonic()
        while seen[-1][1] < alerts:
            if time.monotonic() - begun_s > LIMIT_S:
                raise TimeoutError(f"{seen[-1][1]:.0f} of {alerts} alerts")
            time.sleep(0.2)
        classified = metrics(port)["ictc_alerts_classified_total"]
        stop.set()
        watcher.join()
    table = Table("burst", "", title=f"{alerts} LSST alerts of {size / alerts / 1000:.0f} kB, one process")
    table.add_row("published within", f"{published_s - begun_s:.1f} s")
    taken = next(read for when, read, _, _ in seen if when >= published_s or read >= alerts)
    table.add_row("done by then", f"{taken:.0f}")
    table.add_row("classified", f"{classified:.0f}")
    table.add_row("done after", f"{seen[-1][0] - begun_s:.1f} s")
    for name, low, high in (("first", 0.1, 0.5), ("second", 0.5, 0.95)):
        table.add_row(f"rate, {name} half of the backlog", f"{_rate(seen, low * alerts, high * alerts):.0f} alerts/s")
    left = group.lines_with(folder, "partitions lost") + group.lines_with(folder, "MAXPOLL")
    table.add_row(f"put out of the group (poll interval {POLL_INTERVAL_MS / 1000:g} s)", f"{left} times")
    table.add_row("resident memory before, at most", f"{quiet / 1e6:.0f} MB, {max(s[2] for s in seen) / 1e6:.0f} MB")
    table.add_row("share of the time paused", f"{100 * np.mean([s[3] for s in seen if s[1] < alerts]):.0f} %")
    return table


def _watch(port: int, seen: list[tuple[float, float, float, float]], stop: threading.Event) -> None:
    while not stop.wait(0.2):
        now = metrics(port)
        if now:
            names = ("ictc_alerts_read_total", "process_resident_memory_bytes", "ictc_paused")
            seen.append((time.monotonic(), *(now[name] for name in names)))


def _rate(seen: list[tuple[float, float, float, float]], low: float, high: float) -> float:
    first = next(s for s in seen if s[1] >= low)
    last = next(s for s in seen if s[1] >= high)
    return (last[1] - first[1]) / max(last[0] - first[0], 1e-9)


def main() -> int:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--alerts", type=int, default=1500, help="of the night that one and three processes read")
    parser.add_argument("--burst", type=int, default=10_000, help="alerts of the burst")
    parser.add_argument("--burst-s", type=float, default=10.0, help="length of the burst")
    parser.add_argument("--only", choices=("trips", "replicas", "burst"))
    options = parser.parse_args()
    console = Console(width=110)
    console.print(describe("redis", "confluent-kafka", "torch"))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ictc-replicas-")))
        try:
            if options.only in (None, "trips"):
                with tempfile.TemporaryDirectory() as data:
                    console.print(trips(Path(data)))
            if options.only in (None, "replicas"):
                with local_broker() as broker:
                    console.print(replicas(broker.address, options.alerts, folder))
        except AbsentError as error:
            console.print(str(error))
        if options.only in (None, "burst"):
            with local_broker() as broker:
                console.print(burst(broker.address, options.burst, options.burst_s, folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
