"""What pages of objects and routes cost in the stream: processor time of the service per alert, with and without.

``python -m benchmarks.pages_and_routes [--rounds 3] [--alerts 3000]``. The same ZTF alerts go through the real service
and a Kafka-protocol broker: with or without the index of objects, with no routes or with five. Counted is the time that
the service's process spends on processors, from the first alert after 64 warm ones to the last, the index written; wall
time depends on what else the machine does. Variants take turns; medians over the rounds.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.end_to_end.__main__ import PARTITIONS, WARM_UP, Reader, publish
from benchmarks.end_to_end.alerts import Packet, many
from benchmarks.setting import describe
from broker_filter.config import KafkaSettings
from broker_filter.kafka.admin import Admin
from broker_filter.kafka.local_broker import QUICK_GROUP, free_port, local_broker

INDEX_WRITES_S = 2.0  # after the last answer
STOP_S = 120.0
RULES = (
    'best == "SNIa" and p_SNIa > 0.8 and daysSinceBrightest == 0 and magnitude < 19.5',
    "unknownScore > 4 and nObservations >= 3",
    "changedMind and snr > 10 and dec > -30",
    'best == "AGN" and p_AGN > 0.9',
    'survey == "ztf" and ra > 100 and ra < 140 and dec > 0',
)


class Variant(NamedTuple):
    """What the service does beside classifying."""

    pages: bool
    routes: int

    def __str__(self) -> str:
        return f"pages {'on' if self.pages else 'off'}, {self.routes} routes"


VARIANTS = tuple(Variant(pages, routes) for pages in (False, True) for routes in (0, len(RULES)))


@contextmanager
def _service(brokers: str, name: str, variant: Variant) -> Iterator[psutil.Process]:
    """The real service with the shipped weights of ZTF."""
    routes = [{"name": f"r{n}", "topic": f"{name}-r{n}", "rule": RULES[n]} for n in range(variant.routes)]
    settings = {
        "kafka": {"brokers": brokers, "topics": [f"{name}-in"], "group": name, "consumer": QUICK_GROUP},
        "output": {"topic": f"{name}-out", "routes": routes},
        "dead_letter": {"topic": f"{name}-dead"},
        "model": {"weights": ["ztf"]},
        "http": {"port": free_port(), "objects": variant.pages},
        "log": {"level": "warning"},
    }
    with tempfile.TemporaryDirectory() as folder, Path(folder, "log").open("wb") as log:
        config = Path(folder, "broker.yaml")
        config.write_text(yaml.safe_dump(settings | {"store": {"path": f"{folder}/store"}}))
        command = [sys.executable, "-m", "broker_filter.service.main", "--config", str(config)]
        process = subprocess.Popen(command, stderr=log)
        try:
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(STOP_S)


def cpu_ms_per_alert(brokers: str, name: str, packets: Sequence[Packet], variant: Variant) -> float:
    """Processor time of the service, milliseconds an alert."""
    routed = [f"{name}-r{n}" for n in range(variant.routes)]
    Admin(KafkaSettings(brokers=brokers)).create([f"{name}-in", f"{name}-out", f"{name}-dead", *routed], PARTITIONS)
    reader, warm, rest = Reader(brokers, f"{name}-out"), packets[:WARM_UP], packets[WARM_UP:]
    with _service(brokers, name, variant) as process:
        publish(brokers, f"{name}-in", warm, None)
        reader.arrivals({packet.alert_id for packet in warm})
        time.sleep(INDEX_WRITES_S)
        before = process.cpu_times()
        publish(brokers, f"{name}-in", rest, None)
        reader.arrivals({packet.alert_id for packet in rest})
        time.sleep(INDEX_WRITES_S)
        after = process.cpu_times()
    reader.close()
    return 1000 * (after.user + after.system - before.user - before.system) / len(rest)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alerts", type=int, default=3000)
    options = parser.parse_args(arguments)
    console = Console()
    console.print(describe("torch", "confluent-kafka", "rule-engine"))
    what, packets = many("ztf", options.alerts + WARM_UP)
    console.print(f"{what}, {options.rounds} rounds")
    cpu_ms: dict[Variant, list[float]] = {variant: [] for variant in VARIANTS}
    with local_broker() as broker:
        for turn in range(options.rounds):
            for number, variant in enumerate(VARIANTS):
                name = f"cost{turn}-{number}"
                cpu_ms[variant].append(cpu_ms_per_alert(broker.address, name, packets, variant))
    plain = statistics.median(cpu_ms[VARIANTS[0]])
    table = Table("", "processor time, ms/alert", "each round", "over pages off, no routes")
    for variant, each in cpu_ms.items():
        median = statistics.median(each)
        rounds = ", ".join(f"{one:.3f}" for one in each)
        table.add_row(str(variant), f"{median:.3f}", rounds, f"{100 * (median / plain - 1):+.1f} %")
    console.print(table)


if __name__ == "__main__":
    main()
