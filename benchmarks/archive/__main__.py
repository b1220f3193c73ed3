"""One process against a Ray cluster of this machine on the same archive: equal records, cost, bytes between the stages.

``python -m benchmarks.archive [--real] [--alerts 50000] [--nights 60] [--workers 1,2] [--kills 0] [--out FOLDER]``.
Without ``--real`` an archive is simulated: ZTF packets over many nights, one tar a night, files shuffled, one alert in
fifty twice, one in twenty moved to a later night's tar. With ``--kills N`` the run is made N more times, and in each a
process of the cluster is killed at a random moment. Then the measured rates are carried to 10^8 and 10^9 alerts, with
what was assumed beside it.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.setting import describe, shared_data
from model.simulation.alerts.night import START_MJD, write_night

SEED = 11
TWICE_EVERY, LATE_EVERY = 50, 20
ALERTS_PER_OBJECT = 12.0  # about, over sixty nights
MEMORY_EVERY_S = 0.2
CLOCK_FIELDS = ("ingestTimestamp", "publicationTimestamp")
SURVEY_ALERTS = (10**8, 10**9)
ZTF_BYTES, CORES, READ_MB_S = 72_000, 1_000, 100.0  # of an alert; of the cluster of the model; of storage, per core


@dataclass(frozen=True, slots=True)
class Run:
    """One replay of an archive."""

    wall_s: float
    cpu_s: float
    most_mb: float  # resident memory of all its processes together
    lines: int
    digest: int


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables."""
    options = _arguments(argv)
    console = Console(width=120)
    console.print(describe("ray", "torch", "pyarrow"))
    with tempfile.TemporaryDirectory(prefix="ictc-bench-", dir=options.out) as folder:
        archive = _real_archive() if options.real else simulated_archive(Path(folder), options.alerts, options.nights)
        console.print(
            f"archive: {sum(1 for _ in archive.rglob('*') if _.is_file())} files, {_size_mb(archive):,.0f} MB"
        )
        wanted = replayed(archive, Path(folder) / "one", [])
        table = Table(
            "engine", "alerts", "wall, s", "CPU, s", "alerts/s", "memory, MB", "bytes shuffled/alert", "equal"
        )
        table.add_row("one process", *_cells(wanted), "", "")
        shuffled = 0.0
        for workers in options.workers:
            work = Path(folder) / f"work{workers}"
            run = replayed(archive, work, ["--engine", "ray", "--workers", str(workers), "--work", str(work)])
            shuffled = sum(path.stat().st_size for path in (work / "decoded").glob("*.arrow")) / run.lines
            equal = "yes" if run.digest == wanted.digest else "NO"
            table.add_row(f"Ray, {workers} workers", *_cells(run), f"{shuffled:,.0f}", equal)
        console.print(table)
        if options.kills:
            console.print(_killed(archive, Path(folder), wanted, options.kills))
        console.print(cluster_model(wanted, shuffled))
    return 0


def simulated_archive(folder: Path, alerts: int, nights: int) -> Path:
    """An archive of tars, one a night, with duplicates and late alerts, their members in no order."""
    random.seed(SEED)
    packets = folder / "packets"
    packets.mkdir()
    objects = max(int(alerts / ALERTS_PER_OBJECT), 1)
    members: list[list[Path]] = [[] for _ in range(nights)]
    for number, (packet, truth) in enumerate(write_night("ztf", objects, nights, SEED, workers=2)):
        if number == alerts:
            break
        night = min(int(truth["time_mjd"] - START_MJD["ztf"]), nights - 1)
        if random.randrange(LATE_EVERY) == 0:
            night = random.randrange(night, nights)
        path = packets / f"{number:07d}.avro"
        path.write_bytes(packet)
        members[night].append(path)
        if random.randrange(TWICE_EVERY) == 0:
            members[random.randrange(nights)].append(path)
    archive = folder / "archive"
    archive.mkdir()
    for night, paths in enumerate(members):
        random.shuffle(paths)
        with tarfile.open(archive / f"night{night:03d}.tar", "w") as tar:
            for path in paths:
                tar.add(path, arcname=path.name)
    shutil.rmtree(packets)
    return archive


def replayed(archive: Path, folder: Path, more: Sequence[str], kill_after_s: float | None = None) -> Run:
    """Run ``ictc-replay`` in a process of its own, and watch what it costs."""
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / "out.jsonl"
    command = [sys.executable, "-m", "broker_filter.archive.replay", str(archive), "--output", str(out)]
    command += ["--deterministic", "--summary", str(folder / "summary.json"), "--weights", "ztf", *more]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    process = subprocess.Popen(command)
    watch = _Watch(process.pid, kill_after_s)
    watch.start()
    if process.wait() != 0:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    wall_s = time.perf_counter() - start
    watch.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = max(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, watch.cpu_s)
    lines, digest = _digest(out)
    return Run(wall_s, cpu_s, watch.most_bytes / 1e6, lines, digest)


class _Watch(threading.Thread):
    """Memory and CPU time of a process and all below it; may kill one of its workers."""

    def __init__(self, pid: int, kill_after_s: float | None) -> None:
        super().__init__(daemon=True)
        self._process, self._kill_after_s = psutil.Process(pid), kill_after_s
        self.most_bytes, self.cpu_s, self.killed = 0, 0.0, ""

    def run(self) -> None:
        start = time.perf_counter()
        seen: dict[int, float] = {}
        while True:
            try:
                family = [self._process, *self._process.children(recursive=True)]
                if self._process.status() == psutil.STATUS_ZOMBIE:
                    return
            except psutil.NoSuchProcess:
                return
            resident = 0
            for one in family:
                try:
                    resident += one.memory_info().rss
                    times = one.cpu_times()
                    seen[one.pid] = times.user + times.system
                except psutil.NoSuchProcess:
                    continue
            self.most_bytes, self.cpu_s = max(self.most_bytes, resident), sum(seen.values())
            if self._kill_after_s is not None and time.perf_counter() - start > self._kill_after_s:
                workers = [one for one in family if "ray::" in " ".join(_command(one))]
                if workers:
                    os.kill(random.choice(workers).pid, signal.SIGKILL)
                    self._kill_after_s, self.killed = None, "worker"
            time.sleep(MEMORY_EVERY_S)


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def _killed(archive: Path, folder: Path, wanted: Run, kills: int) -> str:
    """How many of ``kills`` runs, each with a worker killed at a random moment, gave equal records."""
    equal = 0
    for number in range(kills):
        work = folder / f"kill{number}"
        more = ["--engine", "ray", "--work", str(work)]
        run = replayed(archive, work, more, kill_after_s=random.uniform(0.2, 0.9) * wanted.wall_s)
        equal += run.digest == wanted.digest
    return f"a worker killed at a random moment: {equal} of {kills} runs gave equal records"


def cluster_model(one: Run, shuffled_bytes: float) -> Table:
    """Hours of a cluster for a survey, from the rate of one core here; every assumption is a column."""
    rate = one.lines / one.cpu_s
    table = Table("alerts", "input, TB", "core-hours", f"hours, {CORES} cores", "shuffled, TB", "storage read, GB/s")
    for alerts in SURVEY_ALERTS:
        core_hours = alerts / rate / 3600
        hours = core_hours / CORES
        table.add_row(
            f"{alerts:.0e}",
            f"{alerts * ZTF_BYTES / 1e12:,.1f}",
            f"{core_hours:,.0f}",
            f"{hours:,.2f}",
            f"{alerts * shuffled_bytes / 1e12:,.2f}",
            f"{alerts * ZTF_BYTES / 1e9 / (hours * 3600):,.1f}",
        )
    table.caption = (
        f"{rate:,.0f} alerts a second of one core, both stages, as measured above in one process; "
        f"{ZTF_BYTES / 1000:.0f} kB an alert; files divide evenly. {CORES} cores ask storage for the last column."
    )
    return table


def _cells(run: Run) -> tuple[str, ...]:
    rate = run.lines / run.wall_s
    return f"{run.lines:,}", f"{run.wall_s:.1f}", f"{run.cpu_s:.1f}", f"{rate:,.0f}", f"{run.most_mb:,.0f}"


def _digest(path: Path) -> tuple[int, int]:
    """Number of lines, and a hash of them in their order, the clock's fields aside."""
    count, digest = 0, 0
    with path.open("rb") as file:
        for line in file:
            record = {key: value for key, value in json.loads(line).items() if key not in CLOCK_FIELDS}
            digest = hash((digest, json.dumps(record, sort_keys=True)))
            count += 1
    return count, digest


def _size_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def _real_archive() -> Path:
    data = shared_data()
    if data is None:
        raise SystemExit("there are no real alerts here: leave --real out")
    return data / "alerts" / "ztf"


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", action="store_true", help="the real ZTF alerts that are here")
    parser.add_argument("--alerts", type=int, default=50_000, help="about, to simulate (default: %(default)s)")
    parser.add_argument("--nights", type=int, default=60)
    parser.add_argument("--workers", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2])
    parser.add_argument("--kills", type=int, default=0, help="further runs, each with a worker killed")
    parser.add_argument("--out", type=Path, help="where the archive is made (default: the system's temporary folder)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
