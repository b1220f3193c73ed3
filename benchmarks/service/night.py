"""A night under watch: three processes, one shared store, Prometheus beside them; dashboards drawn from what it saw.

``python -m benchmarks.service.night [--minutes 2] [--png docs/images]``. Simulated ZTF alerts come in visits of 40
seconds, on six partitions whatever their object, with a broken message now and then. One process is killed (-9) after
two fifths of the night, another one joins at three fifths. It ends with the accounts; with ``--png`` it draws both
dashboards.

Needs ``redis-server`` (or Valkey) and ``prometheus`` on this machine, and says so where they are absent.
"""

import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from confluent_kafka import Producer
from rich.console import Console
from rich.table import Table

from benchmarks.neighbours.servers import AbsentError, Prometheus, prometheus, redis_server
from benchmarks.parser import parser_of
from benchmarks.setting import REPO_ROOT, describe
from broker_filter.config import KafkaSettings
from broker_filter.kafka.admin import Admin
from broker_filter.kafka.clients import LIBRARY_LOG
from broker_filter.kafka.local_broker import QUICK_GROUP, free_port, local_broker
from model.simulation.alerts.night import write_night

PARTITIONS, PROCESSES = 6, 3
VISIT_S = 40.0  # ZTF's exposure and overhead
BURST_S = 25.0  # how long the alerts of one visit take to come
BROKEN_EVERY = 97
NIGHTS_OF_SKY, SEED = 25, 5
ALERTS_PER_OBJECT = 10.0  # about, in so many nights
DRAIN_LIMIT_S = 120.0
DRAW = REPO_ROOT / "deploy" / "grafana" / "draw.py"
DASHBOARDS = ("ictc-operators", "ictc-scientists")


class Replicas:
    """Processes of the service on one group, one shared store and one watcher."""

    def __init__(self, brokers: str, store_url: str, watcher: Prometheus, folder: Path) -> None:
        self._watcher, self._folder = watcher, folder
        self.name = f"night-{uuid.uuid4().hex[:6]}"
        group = [flag for key, value in QUICK_GROUP.items() for flag in ("--kafka.consumer", f"{key}={value}")]
        self._flags = [
            *("--kafka.brokers", brokers, "--kafka.topics", f"{self.name}-in", "--kafka.group", self.name, *group),
            *("--output.topic", f"{self.name}-out", "--dead-letter.topic", f"{self.name}-dead"),
            *("--model.weights", "ztf", "--allow-untrained", "--model.threads", "1", "--store.kind", "redis"),
            *("--store.url", store_url, "--log.format", "json", "--log.level", "warning"),
        ]
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        Admin(KafkaSettings(brokers=brokers)).create([f"{self.name}-{t}" for t in ("in", "out", "dead")], PARTITIONS)

    def add(self) -> None:
        """One process more."""
        port = free_port()
        with (self._folder / f"service-{port}.log").open("wb") as log:
            self._running[port] = subprocess.Popen(
                [sys.executable, "-m", "broker_filter.service.main", *self._flags, "--http.port", str(port)], stderr=log
            )
        self._watch()

    def kill_one(self) -> None:
        """End the oldest without asking."""
        port = next(iter(self._running))
        self._running[port].kill()
        self._running.pop(port).wait()
        self._watch()

    def _watch(self) -> None:
        self._watcher.watch([f"127.0.0.1:{port}" for port in self._running])

    def wait_until_assigned(self) -> None:
        """Until every process reads."""
        deadline_s = time.monotonic() + DRAIN_LIMIT_S
        while len(self._watcher.ask("count by (instance) (ictc_consumer_lag_alerts)")) < len(self._running):
            if time.monotonic() > deadline_s:
                raise TimeoutError(self.text())
            time.sleep(0.5)

    def stop(self) -> None:
        """Drain them all."""
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            process.wait(60)

    def text(self) -> str:
        """What they logged."""
        return "\n".join(path.read_text()[-2000:] for path in sorted(self._folder.glob("service-*.log")))


def publish(brokers: str, topic: str, packets: Sequence[bytes], minutes: float, replicas: Replicas) -> int:
    """Put a night on the topic at the pace of its visits, and let its incidents happen; returns how many messages."""
    rng = random.Random(SEED)
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 5}, logger=LIBRARY_LOG)
    begun_s, night_s = time.monotonic(), 60 * minutes
    visits = max(round(night_s / VISIT_S), 1)
    incidents = [(0.4 * night_s, replicas.kill_one), (0.6 * night_s, replicas.add)]
    sent = 0
    for number, packet in enumerate(packets):
        visit, share = divmod(number * visits / len(packets), 1.0)
        due_s = visit * VISIT_S + share * BURST_S
        while (wait_s := begun_s + due_s - time.monotonic()) > 0:
            while incidents and time.monotonic() - begun_s >= incidents[0][0]:
                incidents.pop(0)[1]()
            producer.poll(min(wait_s, 0.2))
        headers: list[tuple[str, str | bytes]] = [("producer_timestamp", str(int(1000 * time.time())).encode())]
        producer.produce(topic, packet, partition=rng.randrange(PARTITIONS), headers=headers)
        sent += 1
        if number % BROKEN_EVERY == 0:
            producer.produce(topic, rng.randbytes(200), partition=rng.randrange(PARTITIONS))
            sent += 1
    producer.flush(30)
    for at_s, happen in incidents:
        time.sleep(max(begun_s + at_s - time.monotonic(), 0))
        happen()
    return sent


def wait_until_read(watcher: Prometheus) -> None:
    """Until nothing waits any more."""
    deadline_s = time.monotonic() + DRAIN_LIMIT_S
    quiet = 0
    while quiet < 3 and time.monotonic() < deadline_s:
        time.sleep(1.0)
        lag = watcher.ask("sum(ictc_consumer_lag_alerts)")
        quiet = quiet + 1 if lag and float(lag[0]["value"][1]) == 0 else 0


def number(watcher: Prometheus, expression: str) -> float:
    """The one number that an expression is; NaN where there is none."""
    samples = watcher.ask(expression)
    return float(samples[0]["value"][1]) if samples else float("nan")


def report(watcher: Prometheus, sent: int, minutes: float) -> Table:
    """The night in numbers, as Prometheus saw it."""
    window = f"{int(60 * minutes) + 300}s"
    table = Table("one night", "", title=f"{PROCESSES} processes, {PARTITIONS} partitions, one killed, one added")
    table.add_row("messages published", f"{sent}")
    for name in ("read", "classified", "not_classified", "rejected"):
        # The highest count of each process; of the killed one, what it said last.
        seen = number(watcher, f"sum(max_over_time(ictc_alerts_{name}_total[{window}]))")
        table.add_row(f"  {name.replace('_', ' ')} (a killed process's last second is not seen)", f"{seen:.0f}")
    unaccounted = number(watcher, f"max(max_over_time(ictc:alerts_unaccounted[{window}]))")
    table.add_row("largest unaccounted at any time", f"{unaccounted:.0f}")
    for quantile in (0.5, 0.99):
        age = f"histogram_quantile({quantile}, sum by (le) (increase(ictc_alert_age_seconds_bucket[{window}])))"
        table.add_row(f"age at publication, {100 * quantile:.0f} %", f"{number(watcher, age):.2f} s")
    lag = number(watcher, f"max(max_over_time(ictc:consumer_lag_alerts[{window}]))")
    table.add_row("most alerts waiting", f"{lag:.0f}")
    return table


def main() -> int:
    """Run, report, draw."""
    parser = parser_of(__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="length of the night")
    parser.add_argument("--rate", type=float, default=10.0, help="alerts a second, on average")
    parser.add_argument("--png", type=Path, metavar="FOLDER", help="draw both dashboards into this folder")
    options = parser.parse_args()
    console = Console(width=110)
    console.print(describe("confluent-kafka", "redis", "torch"))
    wanted = int(60 * options.minutes * options.rate)
    packets = [packet for packet, _ in write_night("ztf", max(int(wanted / ALERTS_PER_OBJECT), 1), NIGHTS_OF_SKY, SEED)]
    packets = packets[:wanted]
    console.print(f"{len(packets)} simulated ZTF alerts in {options.minutes:g} minutes")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ictc-night-")))
        try:
            watcher = stack.enter_context(prometheus(folder))
            store = stack.enter_context(redis_server(folder))
        except AbsentError as error:
            console.print(str(error))
            return 0
        broker = stack.enter_context(local_broker())
        replicas = Replicas(broker.address, store.url, watcher, folder)
        stack.callback(replicas.stop)
        for _ in range(PROCESSES):
            replicas.add()
        replicas.wait_until_assigned()
        sent = publish(broker.address, f"{replicas.name}-in", packets, options.minutes, replicas)
        wait_until_read(watcher)
        time.sleep(5.0)
        console.print(report(watcher, sent, options.minutes))
        if options.png is not None:
            options.png.mkdir(parents=True, exist_ok=True)
            for dashboard in DASHBOARDS:
                png = options.png / f"dashboard-{dashboard.removeprefix('ictc-')}.png"
                look = ["--minutes", f"{options.minutes + 0.2:g}", "--png", str(png)]
                subprocess.run([sys.executable, DRAW, dashboard, "--prometheus", watcher.url, *look], check=True)
                console.print(f"drawn: {png}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
