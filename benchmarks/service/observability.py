"""What looking on costs: a scrape of /metrics and the status page with 100,000 series held, and what the stream feels.

``python -m benchmarks.service.observability``. The pages are asked for over HTTP on loopback, from the routes of the
service. The store is an embedded one with 100,000 objects; the accounts have every reason on 64 partitions; the packets
are a simulated stretch of ZTF, classified by the network that the package ships (or by random weights where it ships
none).
"""

import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.parser import parser_of
from benchmarks.setting import describe
from broker_filter.alerts.decode import connect
from broker_filter.classify.classifier import cards_of, load_classifiers, use_threads
from broker_filter.classify.outcome import BatchResult
from broker_filter.classify.pipeline import Pipeline
from broker_filter.config import RegistrySettings
from broker_filter.errors import NotClassified, Rejection
from broker_filter.monitoring.health import Health
from broker_filter.monitoring.http import HttpServer, application
from broker_filter.monitoring.ledger import Ledger
from broker_filter.monitoring.metrics import Metrics
from broker_filter.monitoring.recent import Recent
from broker_filter.monitoring.status import StatusPage
from broker_filter.records import Classification, Message, Observation, Origin, Outcome, Rejected, account
from broker_filter.series.lmdb.store import LmdbSeriesStore
from broker_filter.series.store import Change
from broker_filter.service import assembly
from broker_filter.service.served_pages import routes_of
from model.series import compact
from model.simulation.alerts.night import write_night

SERIES, PARTITIONS = 100_000, 64
OBJECTS, NIGHTS, SEED = 30, 20, 7
BATCH = 64
REPEATS = 20
ROUNDS = 5
CLIENTS = 4
SCRAPE_LIMIT_S, PAGE_LIMIT_S = 0.050, 0.200
SHARE_KEPT = 0.85  # of the stream's rate while clients ask for the page without pause
SCRAPE = "scrape of /metrics"
PAGE_ANEW, PAGE_AGAIN = "status page, all stamps drawn anew", "status page, within two seconds of the last"


class Request(NamedTuple):
    """What one request took."""

    wall_s: float
    cpu_s: float  # of this process, client and server together
    size: int  # bytes


class Service:
    """The rooms of the service without Kafka."""

    def __init__(self, stack: ExitStack) -> None:
        use_threads(1)
        self.metrics, self.health = Metrics(), Health(1e9, time.monotonic)
        self.ledger, self.recent = Ledger(self.metrics), Recent()
        self.page = StatusPage([("reads", "benchmark")], self.metrics, self.health, self.ledger, self.recent)
        self.classifiers = load_classifiers(("ztf",), "cpu", False, True)
        schemas = assembly.open_schemas(RegistrySettings())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.store = LmdbSeriesStore(folder, max_bytes=8 << 30, sync=False)
        stack.callback(self.store.close)
        decoder = connect(schemas, cards_of(self.classifiers))
        stack.callback(decoder.close)
        self.pipeline = Pipeline(decoder, self.classifiers, self.store)
        self.page.introduce([classifier.card for classifier in self.classifiers.values()], schemas)
        self.server = stack.enter_context(
            HttpServer("127.0.0.1", 0, application(*routes_of(self.metrics, self.health, self.page, self.ledger)))
        )

    def fill_store(self) -> None:
        """One observation of each of many objects."""
        card = self.classifiers["ztf"].card
        shape = (len(card.channels), card.size_px, card.size_px)
        pixels, scale = compact(np.random.default_rng(1).normal(0, 10, shape).astype(np.float32))
        frame = Observation(1, 60_000.0, 1, 5.0, 1.0, pixels, scale)
        for start in range(0, SERIES, 1000):
            keys = [f"ztf/held{number}" for number in range(start, start + 1000)]
            self.store.add([(key, frame) for key in keys])
            self.store.settle([Change(key, (1,), 132, card.group_size) for key in keys])

    def fill_accounts(self) -> None:
        """Every reason on every partition."""
        outcomes = []
        for partition in range(PARTITIONS):
            message = Message(b"", Origin("benchmark", partition, 0))
            outcomes += [Outcome(message, Rejected(message, reason, "")) for reason in Rejection]
            outcomes += [
                Outcome(message, Classification("ztf", "o", 1, 6e4, "g", 0, {}, "n", "1", "t", reason=reason))
                for reason in NotClassified
            ]
            self.metrics.set("ictc_consumer_lag_alerts", partition, partition=str(partition))
        self.ledger.enter(BatchResult(tuple(outcomes), account(outcomes), {}, ()))

    def measure_store(self) -> float:
        """Seconds that the worker needs to ask the store how full it is."""
        start = time.perf_counter()
        stats = self.store.stats()
        seconds = time.perf_counter() - start
        self.metrics.set("ictc_series_held", stats.objects)
        self.metrics.set("ictc_series_bytes", stats.bytes)
        return seconds

    def run(self, messages: Sequence[Message]) -> float:
        """Classify all of these; alerts a second."""
        start = time.perf_counter()
        for at in range(0, len(messages), BATCH):
            result = self.pipeline.process(messages[at : at + BATCH])
            self.pipeline.settle(result)
            self.ledger.enter(result)
            self.recent.enter(result)
        return len(messages) / (time.perf_counter() - start)

    def get(self, path: str) -> "Request":
        """Ask for a page."""
        start, start_cpu = time.perf_counter(), time.process_time()
        with urllib.request.urlopen(f"{self.server.address}{path}", timeout=10) as answer:
            size = len(answer.read())
        return Request(time.perf_counter() - start, time.process_time() - start_cpu, size)


def watched(service: Service, measure: Callable[[], float]) -> float:
    """``measure`` while clients ask for the page without pause."""
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            service.get("/")
            time.sleep(0.05)  # a browser that is never content

    clients = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    value = measure()
    ended.set()
    for client in clients:
        client.join()
    return value


def renewed(service: Service) -> Request:
    """A page that is drawn anew with stamps that were never drawn."""
    service.page._fresh_until_s = float("-inf")
    service.page._drawn = {}
    return service.get("/")


@dataclass(frozen=True)
class _Measured:
    """What looking on cost: requests by what was asked for, and rates of the stream alone and looked at."""

    requests: dict[str, tuple[list[Request], float]]  # with the target of their median
    alone_hz: list[float]
    looked_at_hz: list[float]
    enter_us: float  # of the page's memory, an alert
    stats_s: float
    series: float

    @property
    def share(self) -> float:
        """Of the stream's rate that is left while people look on."""
        return statistics.median(self.looked_at_hz) / statistics.median(self.alone_hz)


def measured(service: Service, messages: list[Message]) -> _Measured:
    """Fill the service, ask for its pages in turns, and run the stream with and without clients."""
    service.fill_store()
    service.fill_accounts()
    service.run(messages)
    stats_s = statistics.median(service.measure_store() for _ in range(REPEATS))
    held = service.metrics.value("ictc_series_held")
    requests = {
        SCRAPE: ([service.get("/metrics") for _ in range(REPEATS)], SCRAPE_LIMIT_S),
        PAGE_ANEW: ([renewed(service) for _ in range(REPEATS)], PAGE_LIMIT_S),
        PAGE_AGAIN: ([service.get("/") for _ in range(REPEATS)], PAGE_LIMIT_S),
    }
    alone, looked_at = [], []
    for _ in range(ROUNDS):
        alone.append(service.run(messages))
        looked_at.append(watched(service, lambda: service.run(messages)))
    result = service.pipeline.process(messages[:BATCH])
    start = time.perf_counter()
    for _ in range(1000):
        service.recent.enter(result)
    enter_us = (time.perf_counter() - start) / 1000 / BATCH * 1e6
    return _Measured(requests, alone, looked_at, enter_us, stats_s, held)


def tabled(of: _Measured) -> tuple[Table, int]:
    """The table, and how many targets were missed."""
    table = Table("what", "median", "of a processor", "worst", "target", "")
    missed = 0
    for what, (requests, limit_s) in of.requests.items():
        wall_s, cpu_s = (
            statistics.median(column) for column in ([r.wall_s for r in requests], [r.cpu_s for r in requests])
        )
        missed += wall_s > limit_s
        table.add_row(
            what,
            f"{1000 * wall_s:.1f} ms",
            f"{1000 * cpu_s:.1f} ms",
            f"{1000 * max(r.wall_s for r in requests):.1f} ms",
            f"{1000 * limit_s:.0f} ms",
            "MISSED" if wall_s > limit_s else "met",
        )
    kept = of.share >= SHARE_KEPT
    stream = f"{of.share:.2f} of {statistics.median(of.alone_hz):.0f}/s"
    verdict = "met" if kept else "MISSED"
    table.add_row(f"rate of the stream while {CLIENTS} clients look on", stream, "", "", f"{SHARE_KEPT}", verdict)
    table.add_row("what the page's memory costs the worker", f"{of.enter_us:.1f} µs/alert", "", "", "", "")
    table.add_row("asking the store how full it is (every 5 s)", f"{1e6 * of.stats_s:.0f} µs", "", "", "", "")
    return table, missed + (not kept)


def main() -> int:
    """Print the table; 1 when a target is missed."""
    parser_of(__doc__).parse_args()
    console = Console(width=110)
    with ExitStack() as stack:
        packets = [packet for packet, _ in write_night("ztf", OBJECTS, NIGHTS, SEED)]
        messages = [Message(packet, Origin("benchmark", n % PARTITIONS, n)) for n, packet in enumerate(packets)]
        of = measured(Service(stack), messages)
    table, missed = tabled(of)
    scrape_kb, page_kb = (of.requests[what][0][-1].size / 1000 for what in (SCRAPE, PAGE_AGAIN))
    console.print(describe("prometheus-client", "jinja2", "pillow", "numpy", "torch"))
    console.print(
        f"{of.series:,.0f} series held, {PARTITIONS} partitions, {len(messages)} alerts in batches of {BATCH}; "
        f"/metrics has {scrape_kb:.0f} kB, the page {page_kb:.0f} kB; {REPEATS} repeats"
    )
    console.print(table)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
