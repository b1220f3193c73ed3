"""What one more alert costs as things grow: ``python -m benchmarks.growth [--objects 1000000]``.

Processor time of one thread (of all processes together for the last table), no Kafka. Series of one object from 1 to
300 alerts, epochs of which packets tell from 0 to the limit, objects in the embedded store from 100 to ``--objects``
(a million take some 5 GB of disk), and worker processes side by side: what N do is the sum, where there are N cores.
"""

import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import count
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.end_to_end.alerts import many
from benchmarks.parser import parser_of
from benchmarks.setting import describe
from broker_filter.alerts.decode import Arrival, connect
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.classify.classifier import cards_of, load_classifiers, use_threads
from broker_filter.classify.pipeline import Pipeline
from broker_filter.records import Message, Observation, Origin
from broker_filter.series.lmdb.store import LmdbSeriesStore
from broker_filter.series.store import Change
from model.past_photometry import HISTORY_LIMIT, NO_HISTORY, History
from model.series import compact

SURVEY = "ztf"
BATCH = 64
LENGTHS = (1, 3, 10, 30, 100, 300)
EPOCH_COUNTS = (0, 10, 30, 60, HISTORY_LIMIT)
OBJECTS = (100, 1_000, 10_000, 100_000, 1_000_000)
PROCESSES = (1, 2)
PROCESS_ALERTS = 512
REPEATS = 5
FIRST_MJD = 60_000.0
MESSAGE = Message(b"", Origin("made", 0, 0))


class Night:
    """A pipeline on a store of its own, and arrivals that it has not seen; their pixels do not matter to time."""

    def __init__(self, folder: Path) -> None:
        classifiers = load_classifiers((SURVEY,))
        card = classifiers[SURVEY].card
        self.store = LmdbSeriesStore(folder, max_bytes=16 << 30, sync=False)
        self.pipeline = Pipeline(connect(Schemas(), cards_of(classifiers), 1), classifiers, self.store)
        shape = (len(card.channels), card.size_px, card.size_px)
        self._frame = compact(np.random.default_rng(1).normal(0, 10, shape).astype(np.float32))
        self._ids = count(1)

    def arrivals(self, epoch: int, epochs: int = 0, first: int = 0) -> list[Arrival]:
        """One alert of each of a batch of objects."""
        return [self.arrival(f"ZTF{first + number}", epoch, epochs) for number in range(BATCH)]

    def arrival(self, name: str, epoch: int, epochs: int) -> Arrival:
        """One alert whose packet tells of so many epochs."""
        time_mjd = FIRST_MJD + epoch
        past = NO_HISTORY
        if epochs:
            days = time_mjd - np.linspace(29.0, 0.4, epochs)
            past = History(days, np.arange(epochs) % 2 + np.int8(1), *np.full((2, epochs), 500, np.float32))
        alert_id = next(self._ids)
        seen = Observation(alert_id, time_mjd, 1 + epoch % 2, 5e3, 300.0, *self._frame, history=past)
        return Arrival(SURVEY, name, alert_id, time_mjd, "ugrizy"[1 + epoch % 2], 0, MESSAGE, seen)

    def seconds(self, arrivals: Sequence[Arrival]) -> float:
        """Processor time of one alert, classified and made lasting."""
        return cpu_seconds(lambda: self.pipeline.settle(self.pipeline.classify(arrivals))) / len(arrivals)


def cpu_seconds(call: Callable[[], object]) -> float:
    begun_s = time.process_time()
    call()
    return time.process_time() - begun_s


def of_lengths(night: Night) -> Table:
    """A batch of objects that grow together."""
    table = Table("alerts of the object before", *map(str, LENGTHS), title="length of the series, ms an alert")
    times_s = [night.seconds(night.arrivals(epoch)) for epoch in range(1, max(LENGTHS) + 3)]
    table.add_row("ms", *(f"{1e3 * statistics.median(times_s[max(n - 2, 0) : n + 3]):.3f}" for n in LENGTHS))
    return table


def of_histories(night: Night) -> Table:
    """First alerts of objects whose packets tell more and more."""
    table = Table("epochs told", *map(str, EPOCH_COUNTS), title="length of the packet's past, ms an alert")
    row = []
    for epochs in EPOCH_COUNTS:
        turns = [
            night.seconds(night.arrivals(1, epochs, 10_000 * (epochs + 1) + 100 * turn)) for turn in range(REPEATS + 1)
        ]
        row.append(f"{1e3 * statistics.median(turns[1:]):.3f}")
    table.add_row("ms", *row)
    return table


def of_objects(night: Night, most: int) -> Table:
    """Second alerts of objects of a fuller and fuller store."""
    sizes = [size for size in OBJECTS if size <= most]
    table = Table("objects held", *(f"{size:,}" for size in sizes), title="objects in the store")
    costs, held = [], 0
    for size in sizes:
        while held < size:
            batch = [night.arrival(f"HELD{held + n}", 1, 0) for n in range(min(1_000, size - held))]
            night.store.add([(a.key, a.observation) for a in batch if a.observation is not None])
            night.store.settle([Change(a.key, (a.alert_id,), 50, 1) for a in batch])
            held += len(batch)
        rng, turns = np.random.default_rng(size), []
        for turn in range(REPEATS):
            chosen = rng.choice(held, BATCH, replace=False)
            turns.append(night.seconds([night.arrival(f"HELD{n}", 2 + turn, 0) for n in chosen]))
        costs.append(statistics.median(turns))
    table.add_row("ms an alert", *(f"{1e3 * cost:.3f}" for cost in costs))
    return table


def worker(contents: Sequence[bytes], begin: Event, answers: Queue) -> None:
    """One process: bytes to classes, on a store of its own."""
    use_threads(1)
    messages = [Message(content, Origin("copy", 0, n)) for n, content in enumerate(contents)]
    with tempfile.TemporaryDirectory() as folder:
        night = Night(Path(folder))
        night.pipeline.process(messages[:BATCH])
        answers.put(None)
        begin.wait()
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        for start in range(0, len(messages), BATCH):
            night.pipeline.settle(night.pipeline.process(messages[start : start + BATCH]))
        answers.put((time.perf_counter() - wall_s, time.process_time() - cpu_s))
        night.store.close()


def of_processes() -> Table:
    """The same alerts for each of some processes side by side."""
    what, packets = many(SURVEY, PROCESS_ALERTS)
    table = Table("processes", "alerts/s together", "alerts/CPU s", title=f"processes side by side, {what} each")
    spawn = multiprocessing.get_context("spawn")
    for processes in PROCESSES:
        begin, answers = spawn.Event(), spawn.Queue()
        contents = [packet.content for packet in packets]
        started = [spawn.Process(target=worker, args=(contents, begin, answers)) for _ in range(processes)]
        for process in started:
            process.start()
        for _ in started:
            answers.get()
        begin.set()
        times = [answers.get() for _ in started]
        for process in started:
            process.join()
        total = processes * len(contents)
        wall_s, cpu_s = max(wall for wall, _ in times), sum(cpu for _, cpu in times)
        table.add_row(str(processes), f"{total / wall_s:,.0f}", f"{total / cpu_s:,.0f}")
    return table


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--objects", type=int, default=100_000, metavar="N", help="most objects in the store")
    options = parser.parse_args()
    use_threads(1)
    console = Console(width=110)
    console.print(describe("torch", "onnxruntime", "lmdb"), highlight=False)
    console.print(f"batches of {BATCH}, shipped weights of {SURVEY}, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        night = Night(Path(folder))
        night.seconds(night.arrivals(0, 0, 5_000_000))  # warm
        for table in (of_lengths(night), of_histories(night), of_objects(night, options.objects)):
            console.print(table)
        night.store.close()
    console.print(of_processes())


if __name__ == "__main__":
    main()
