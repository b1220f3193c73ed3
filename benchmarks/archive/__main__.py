"""One process against a Ray cluster of this machine on the same archives: equal records, cost, bytes shuffled.

``python -m benchmarks.archive [--parts real,kills,small,large] [--alerts 50000] [--nights 60] [--workers 1,2]
[--kills 20] [--out FOLDER]``. Parts:

real   the real ZTF alerts, where they are
kills  the same, ``--kills`` times over, a task of the cluster killed at a random moment each time
small  a tenth of ``--alerts`` simulated ZTF packets: a tar a night, members shuffled, one alert in fifty twice, one in
       twenty in a later night's tar; its rates are carried to 10^8 and 10^9 alerts, with what was assumed
large  the same ten times over, each time with other objects and alert ids; equal pixels make the bytes between the
       stages fewer than they would be
"""

import argparse
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import psutil
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.archive.model import Rates, cluster_model
from benchmarks.end_to_end.alerts import replaced
from benchmarks.parser import parser_of
from benchmarks.setting import describe, shared_data
from broker_filter.avro.container import write_long
from model.simulation.alerts.night import START_MJD, write_night

SEED = 11
TWICE_EVERY, LATE_EVERY = 50, 20
ALERTS_PER_OBJECT = 10.0  # about, over sixty nights
SMALLER = 10  # times: the small archive
APART = 10**17  # alert ids of twins; those of one exposure follow one another
PARTS = ("real", "kills", "small", "large")
WATCH_EVERY_S = 0.5
CLOCK_FIELDS = ("ingestTimestamp", "publicationTimestamp")
STARTS, NO_CLUSTER = 20, "no Ray cluster at this machine"
SAME_PRIORITY = {"RAY_worker_niceness": "0"}  # Ray gives its workers less than a process has
TASK = "ray::_counted"  # the name of a worker process while it does a task of ours


@dataclass(frozen=True, slots=True)
class Run:
    """One replay of an archive."""

    wall_s: float
    cpu_s: float
    most_mb: float  # memory of all its processes together, shared pages counted once
    lines: int
    digest: str
    first_task_s: float  # from the start to the first task of a worker
    killed_s: float | None = None  # after the first task
    shuffled_bytes: int = 0


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables as they are done."""
    options = _arguments(argv)
    console = Console(width=160)
    console.print(describe("ray", "torch", "pyarrow"))
    equal = True
    with tempfile.TemporaryDirectory(prefix="ictc-bench-", dir=options.out) as name:
        folder = Path(name)
        real, small, large = "real", f"simulated, {options.alerts // SMALLER:,}", f"simulated, {options.alerts:,}"
        archive, workers = _real_archive(), options.workers
        if "real" in options.parts and archive is not None:
            equal &= _equal(_compared(console, real, archive, folder, workers))
        if "kills" in options.parts and archive is not None:
            equal &= _killed(console, archive, folder, max(workers), options.kills)
        if not {"small", "large"} & {*options.parts}:
            return 0 if equal else 1
        packets = simulated_packets(folder / "packets", options.alerts // SMALLER, options.nights)
        if "small" in options.parts:
            archive = archive_of(folder / "small", packets, 1, options.nights)
            done = _compared(console, small, archive, folder, workers)
            equal &= _equal(done)
            console.print(cluster_model(Rates.of(folder / f"{small}-{workers[0]}", done[0].lines)))
        if "large" in options.parts:
            archive = archive_of(folder / "large", packets, SMALLER, options.nights)
            equal &= _equal(_compared(console, large, archive, folder, workers))
    return 0 if equal else 1


def _equal(runs: Sequence[Run]) -> bool:
    return len({run.digest for run in runs}) == 1


def _compared(console: Console, title: str, archive: Path, folder: Path, workers: Sequence[int]) -> list[Run]:
    """One process, then Ray with so many workers; a table of them."""
    megabytes = sum(path.stat().st_size for path in archive.rglob("*") if path.is_file()) / 1e6
    table = Table(
        *("engine", "alerts", "wall, s", "of which starting, s", "CPU, s", "CPU, ms/alert", "alerts/s"),
        *("memory, MB", "shuffled, bytes/alert", "records"),
        title=f"{title} alerts, {megabytes:,.0f} MB",
        box=box.MARKDOWN,
    )
    one = replayed(archive, folder / f"{title}-one", [])
    table.add_row("one process", *_cells(one), "", "")
    runs = [one]
    for number in workers:
        work = folder / f"{title}-{number}"
        run = replayed(archive, work, ["--engine", "ray", "--workers", str(number), "--work", str(work)])
        equal = "equal" if run.digest == one.digest else "DIFFERENT"
        table.add_row(f"Ray, workers: {number}", *_cells(run), f"{run.shuffled_bytes / run.lines:,.0f}", equal)
        runs.append(run)
    console.print(table)
    return runs


def _killed(console: Console, archive: Path, folder: Path, workers: int, kills: int) -> bool:
    """Kill a task at a random moment, again and again; whether the records were those of one process each time."""
    on_ray = ["--engine", "ray", "--workers", str(workers), "--work"]
    wanted = replayed(archive, folder / "kills-one", [])
    whole = replayed(archive, folder / "kills-none", [*on_ray, str(folder / "kills-none")])
    working_s = whole.wall_s - whole.first_task_s
    equal, moments, tries = 0, list[float](), 0
    while len(moments) < kills and tries < 3 * kills:
        tries += 1
        work = folder / f"kill{tries}"
        run = replayed(archive, work, [*on_ray, str(work)], kill_after_s=random.uniform(0.0, working_s))
        shutil.rmtree(work)
        if run.killed_s is None:
            continue  # it was done before
        moments.append(run.killed_s)
        equal += run.digest == wanted.digest
        console.print(f"killed a task {run.killed_s:.2f} s after the first began: {run.digest == wanted.digest}")
    console.print(
        f"{len(moments)} runs in each of which a worker was killed (SIGKILL) in a task, {min(moments):.1f} to "
        f"{max(moments):.1f} s after the first task began, of about {working_s:.1f} s: {equal} gave equal records"
    )
    return equal == len(moments) == kills


@dataclass(frozen=True, slots=True)
class Packet:
    """A simulated alert on the disk."""

    path: Path
    night: int
    object_id: str
    alert_id: int

    def twin(self, number: int) -> bytes:
        """The same alert of another object; the first twin is the alert itself."""
        other_id = f"ZTF{(int(self.object_id[3]) + number) % 10}{self.object_id[4:]}"  # of another decade
        return replaced(
            self.path.read_bytes(),
            (self.object_id.encode(), other_id.encode()),
            (write_long(self.alert_id), write_long(self.alert_id + number * APART)),
        )


def simulated_packets(folder: Path, alerts: int, nights: int) -> list[Packet]:
    """About so many alerts of as many nights."""
    folder.mkdir()
    packets = []
    for number, (content, truth) in enumerate(write_night("ztf", int(alerts / ALERTS_PER_OBJECT), nights, SEED)):
        path = folder / f"{number:07d}.avro"
        path.write_bytes(content)
        night = int(truth["time_mjd"] - START_MJD["ztf"])
        packets.append(Packet(path, min(night, nights - 1), truth["object_id"], truth["alert_id"]))
    return packets


def archive_of(folder: Path, packets: Sequence[Packet], twins: int, nights: int) -> Path:
    """An archive of tars, one a night, with duplicates and late alerts, their members in no order."""
    chance = random.Random(SEED)
    folder.mkdir()
    members: list[list[tuple[Packet, int]]] = [[] for _ in range(nights)]
    for packet in packets:
        for number in range(twins):
            late = chance.randrange(LATE_EVERY) == 0
            members[chance.randrange(packet.night, nights) if late else packet.night].append((packet, number))
            if chance.randrange(TWICE_EVERY) == 0:
                members[chance.randrange(nights)].append((packet, number))
    for night, some in enumerate(members):
        chance.shuffle(some)
        with tarfile.open(folder / f"night{night:03d}.tar", "w") as tar:
            for place, (packet, number) in enumerate(some):
                content = packet.twin(number)
                member = tarfile.TarInfo(f"{place:06d}.avro")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return folder


def replayed(archive: Path, folder: Path, more: Sequence[str], kill_after_s: float | None = None) -> Run:
    """Run ``ictc-replay`` in a process of its own, and watch what it costs; again where Ray did not start in time."""
    for _ in range(STARTS):
        run = _replayed(archive, folder, more, kill_after_s)
        if run is not None:
            return run
        shutil.rmtree(folder)
    raise SystemExit(f"Ray did not start {STARTS} times: the machine is too busy with other work")


def _replayed(archive: Path, folder: Path, more: Sequence[str], kill_after_s: float | None) -> Run | None:
    folder.mkdir(parents=True)
    out = folder / "out.jsonl"
    command = [sys.executable, "-m", "broker_filter.archive.replay", str(archive), "--output", str(out)]
    command += ["--deterministic", "--summary", str(folder / "summary.json"), "--weights", "ztf", *more]
    start_s = time.perf_counter()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log, env={**os.environ, **SAME_PRIORITY})
        watch = _Watch(process.pid, kill_after_s)
        watch.start()
        status = process.wait()
    wall_s = time.perf_counter() - start_s
    watch.join()
    if status != 0 and NO_CLUSTER in (folder / "log").read_text():
        return None
    if status != 0:
        raise SystemExit(f"{' '.join(command)} ended with {status}: {(folder / 'log').read_text()[-2000:]}")
    lines, digest = _digest(out)
    out.unlink()
    shuffled = sum(path.stat().st_size for path in folder.glob("decoded/*.arrow"))
    return replace(watch.seen, wall_s=wall_s, lines=lines, digest=digest, shuffled_bytes=shuffled)


class _Watch(threading.Thread):
    """Memory and CPU time of a process and all below it; may kill one of its workers in a task."""

    def __init__(self, pid: int, kill_after_s: float | None) -> None:
        super().__init__(daemon=True)
        self._process, self._kill_after_s = psutil.Process(pid), kill_after_s
        self._cpu_s: dict[int, float] = {}
        self._start_s = time.perf_counter()
        self.seen = Run(0.0, 0.0, 0.0, 0, "", 0.0)

    def run(self) -> None:
        while True:
            try:
                family = [self._process, *self._process.children(recursive=True)]
                if self._process.status() == psutil.STATUS_ZOMBIE:
                    return
            except psutil.NoSuchProcess:
                return
            self._look(family)
            time.sleep(WATCH_EVERY_S)

    def _look(self, family: Sequence[psutil.Process]) -> None:
        memory_bytes = shared_bytes = 0
        at_work = []
        for one in family:
            try:
                memory = one.memory_info()
                memory_bytes += memory.rss - memory.shared
                shared_bytes = max(shared_bytes, memory.shared)
                times = one.cpu_times()
                if TASK in " ".join(one.cmdline()):
                    at_work.append(one.pid)
            except psutil.Error:
                continue
            self._cpu_s[one.pid] = times.user + times.system
        most_mb, cpu_s = max(self.seen.most_mb, (memory_bytes + shared_bytes) / 1e6), sum(self._cpu_s.values())
        self.seen = replace(self.seen, most_mb=most_mb, cpu_s=cpu_s)
        if not at_work:
            return
        now_s = time.perf_counter() - self._start_s
        if not self.seen.first_task_s:
            self.seen = replace(self.seen, first_task_s=now_s)
        after_s = now_s - self.seen.first_task_s
        if self._kill_after_s is not None and self.seen.killed_s is None and after_s >= self._kill_after_s:
            os.kill(random.choice(at_work), signal.SIGKILL)
            self.seen = replace(self.seen, killed_s=after_s)


def _cells(run: Run) -> tuple[str, ...]:
    working_s = run.wall_s - run.first_task_s
    return (
        f"{run.lines:,}",
        f"{run.wall_s:.1f}",
        f"{run.first_task_s:.1f}" if run.first_task_s else "",
        f"{run.cpu_s:.1f}",
        f"{1000 * run.cpu_s / run.lines:.2f}",
        f"{run.lines / working_s:,.0f}",
        f"{run.most_mb:,.0f}",
    )


def _digest(path: Path) -> tuple[int, str]:
    """Number of lines, and a digest of them in their order, the clock's fields aside."""
    count, digest = 0, hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        for line in file:
            record = {key: value for key, value in json.loads(line).items() if key not in CLOCK_FIELDS}
            digest.update(orjson.dumps(record, option=orjson.OPT_SORT_KEYS))
            count += 1
    return count, digest.hexdigest()


def _real_archive() -> Path | None:
    data = shared_data()
    return None if data is None else data / "alerts" / "ztf"


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--alerts", type=int, default=50_000, help="about, to simulate (default: %(default)s)")
    parser.add_argument("--nights", type=int, default=60)
    parser.add_argument("--workers", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2])
    parser.add_argument("--parts", type=lambda text: text.split(","), default=PARTS, help=f"default: {','.join(PARTS)}")
    parser.add_argument("--kills", type=int, default=20, help="further runs, each with a worker killed")
    parser.add_argument("--out", type=Path, help="where archives are made (default: the system's temporary folder)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
