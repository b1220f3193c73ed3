"""How many observations a second the series stores take and give: embedded LMDB, with and without waiting for the disk,
and a Redis-protocol server on loopback where one is installed.

``python -m benchmarks.store``. Batches of 256 alerts of as many objects, as the pipeline makes them: merge with what is
held (``add``), make lasting (``settle``). A ten-row read is ``add`` of one alert to a series of ten, which gives the
curve, and the pixels of those ten. Frames are three 32 x 32 channels, 6 kB; packets tell of nothing, of as many epochs
as ZTF's do on average, or of the most that is kept. Wall time, median of repeats.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import product
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.neighbours.servers import AbsentError, redis_server
from benchmarks.parser import parser_of
from benchmarks.setting import describe
from broker_filter.records import Observation
from broker_filter.series.lmdb.store import LmdbSeriesStore
from broker_filter.series.redis.store import RedisSeriesStore
from broker_filter.series.store import Change, Embedding, FrameKey, SeriesStore
from model.past_photometry import HISTORY_LIMIT, History
from model.series import compact

OBJECTS = 256
EPOCHS = 10
EPOCH_COUNTS = (0, 25, HISTORY_LIMIT)  # epochs of which a packet tells
REPEATS = 5
HOLD_LIMIT, GROUP_SIZE = 132, 3
EMBEDDING_WIDTH = 3_200  # floats of one group: ConvEntion's width at 32 x 32
Opener = Callable[[Path], SeriesStore]


def frames(epochs: int) -> list[Observation]:
    """One frame per epoch; what is in it, and in the epochs told, does not matter to a store."""
    rng = np.random.default_rng(1)
    made = []
    for epoch in range(EPOCHS + 1):
        pixels, scale = compact(rng.normal(0, 10, (3, 32, 32)).astype(np.float32))
        time_mjd = 60_000.0 + epoch
        history = History(
            time_mjd - np.arange(epochs, 0, -1) / 5, np.ones(epochs, np.int8), *np.ones((2, epochs), np.float32)
        )
        made.append(Observation(epoch, time_mjd, 1, 5.0, 1.0, pixels, scale, history))
    return made


def appended_per_second(store: SeriesStore, night: list[Observation], width: int) -> tuple[float, float, float]:
    """Observations a second over all epochs, and median seconds of ``add`` and ``settle`` of one batch."""
    adds, settles = [], []
    begun = time.perf_counter()
    for epoch, frame in enumerate(night[:EPOCHS]):
        group = epoch // GROUP_SIZE * GROUP_SIZE
        full = width > 0 and epoch % GROUP_SIZE == GROUP_SIZE - 1
        embeddings = {group: Embedding(bytes(16), np.zeros(width, np.float32))} if full else {}
        start = time.perf_counter()
        store.add([(f"ztf/{o}", frame) for o in range(OBJECTS)])
        middle = time.perf_counter()
        store.settle(
            [Change(f"ztf/{o}", (frame.alert_id,), HOLD_LIMIT, GROUP_SIZE, embeddings) for o in range(OBJECTS)]
        )
        adds.append(middle - start)
        settles.append(time.perf_counter() - middle)
    seconds = time.perf_counter() - begun
    return EPOCHS * OBJECTS / seconds, statistics.median(adds), statistics.median(settles)


def read_per_second(store: SeriesStore, night: list[Observation]) -> float:
    """Series of ten a second, curve and pixels."""
    rates = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        held = store.add([(f"ztf/{o}", night[0]) for o in range(OBJECTS)])
        wanted = [
            FrameKey(key, time_mjd, alert_id)
            for key, series in held.items()
            for time_mjd, alert_id in series.heads[["time_mjd", "alert_id"]].tolist()
        ]
        read = store.pixels(wanted)
        rates.append(OBJECTS / (time.perf_counter() - start))
        assert len(read) == OBJECTS * EPOCHS
    return statistics.median(rates)


def main() -> int:
    """Print the table."""
    parser_of(__doc__).parse_args()
    nights = {epochs: frames(epochs) for epochs in EPOCH_COUNTS}
    with ExitStack() as stack:
        stores: dict[str, Opener] = {
            "LMDB, on disk when settled": lambda folder: LmdbSeriesStore(folder, max_bytes=4 << 30),
            "LMDB, disk in its own time": lambda folder: LmdbSeriesStore(folder, max_bytes=4 << 30, sync=False),
        }
        absent = ""
        try:
            server = stack.enter_context(redis_server(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        except AbsentError as error:
            absent = f"{error}: the shared store was not measured"
        else:
            stores["Redis protocol, loopback"] = lambda folder: RedisSeriesStore(server.url, namespace=folder.name)
        table = Table("store", "told", "observations/s", "with embeddings", "add, ms", "settle, ms", "ten-row reads/s")
        for (name, opener), (epochs, night) in product(stores.items(), nights.items()):
            plain, embedded, adds, settles, reads = [], [], [], [], []
            for _ in range(REPEATS):
                for width in (0, EMBEDDING_WIDTH):
                    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                    store = opener(folder)
                    rate, add_s, settle_s = appended_per_second(store, night, width)
                    if width:
                        embedded.append(rate)
                    else:
                        plain.append(rate)
                        adds.append(add_s)
                        settles.append(settle_s)
                        reads.append(read_per_second(store, night))
                    store.close()
            median = [statistics.median(column) for column in (plain, embedded, adds, settles, reads)]
            table.add_row(
                name,
                str(epochs),
                f"{median[0]:,.0f}",
                f"{median[1]:,.0f}",
                f"{1000 * median[2]:.1f}",
                f"{1000 * median[3]:.1f}",
                f"{median[4]:,.0f}",
            )
    console = Console(width=120)
    console.print(describe("lmdb", "redis", "numpy"))
    console.print(f"batches of {OBJECTS} alerts, {EPOCHS} epochs, frames of 3 x 32 x 32, {REPEATS} repeats")
    console.print(table)
    if absent:
        console.print(absent)
    return 0


if __name__ == "__main__":
    sys.exit(main())
