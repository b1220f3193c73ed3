"""A cluster replay from start to end: plan, stage 1, stage 2, results. Knows a cluster by its door only.

A run that died goes on from the files that are finished.
"""

import posixpath
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from heapq import merge
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from broker_filter.archive.cluster import stages
from broker_filter.archive.cluster.handover import claim, hand_over
from broker_filter.archive.cluster.rejects import read_rejects
from broker_filter.archive.cluster.shared_folder import SharedFolder
from broker_filter.archive.cluster.shuffle import BatchIndex
from broker_filter.archive.cluster.sky import COUNT_ORDER, finish_catalogue, pixels_for
from broker_filter.archive.cluster.stages import Report
from broker_filter.archive.cluster.work_plan import (
    Plan,
    ReplaySettings,
    group,
    input_files,
    partitions_for,
    settled_plan,
)
from broker_filter.archive.left_out import LeftOutCounts
from broker_filter.output.reject_file import RejectFile
from broker_filter.output.result_files import ResultFile
from broker_filter.records import Accounts, Classification, Outcome, account, object_key
from broker_filter.series.store import SeriesStore

PARTITIONS_PER_CORE = 2  # so that an uneven one does not keep the others waiting
SMALLEST_TASK_BYTES, LARGEST_TASK_BYTES = 16 << 20, 4 << 30
TASKS_WANTED_PER_CORE = 8  # so that the last tasks of a stage do not leave cores idle for long


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """How a cluster replay keeps and divides its work."""

    work: str | None = None  # folder or URL that all machines reach; None: a temporary one of this machine
    partitions: int | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """Where a replay puts what it finds."""

    rejects: RejectFile | None = None  # gets rejected messages in the order of the archive
    results: Callable[[], ResultFile] | None = None  # opens the output once there is something to write
    catalogue: str | None = None  # folder or URL of a catalogue in the HATS format, in the place of results
    store: SeriesStore | None = None  # takes what is kept of each object; empty, or filled by this replay before


class Cluster(Protocol):
    """Machines that run tasks."""

    cores: int
    dashboard: str | None  # address of a page about it

    def run(
        self, function: Callable[..., Report], stage: str, tasks: Iterable[tuple[Any, ...]]
    ) -> Iterator[tuple[int, Report]]:
        """(index of the task, its report), as they finish; raises FatalError when one cannot be done."""
        ...


def replay_on(
    cluster: Cluster,
    paths: Sequence[str],
    settings: ReplaySettings,
    options: ClusterOptions,
    output: Output,
    left_out: LeftOutCounts,
) -> Accounts:
    """Classify archives on a cluster.

    Parameters
    ----------
    cluster
        Where tasks run.
    paths
        Files, folders and tars, or URLs of them, that every machine reaches.
    left_out
        Takes what was not read.

    Raises
    ------
    ConfigurationError
        When a path does not exist, the work folder is of another replay, or the store holds something else.
    RetryableError
        When a shared store does not answer.
    FatalError
        When a task failed for good; what is finished stays in the work folder.
    """
    with ExitStack() as stack:
        work = _work_folder(options, stack)
        files, unreadable = input_files(paths, left_out)
        plan = settled_plan(work, _plan(files, settings, options, cluster.cores))
        if output.store is not None:
            claim(output.store, work)
        progress = stack.enter_context(_progress(cluster))
        # 1. decode and embed, file by file
        tasks = [(work.url, number) for number in range(len(plan.tasks))]
        decoded = dict(_shown(cluster.run(stages.decode_files, "decode", tasks), "decode", len(tasks), progress))
        accounts = account([Outcome(one.message, one) for one in unreadable])
        accounts.add(_total(decoded.values()))
        for task in sorted(decoded):
            left_out.add_all(LeftOutCounts.from_json(decoded[task].left_out))
            if output.rejects is not None:
                for rejected in read_rejects(work, stages.rejects_name(task)):
                    output.rejects.write(rejected)
        # 2. classify, partition by partition
        index = BatchIndex([decoded[task].batches for task in sorted(decoded)])
        partitions = index.partitions
        tasks_2 = ((work.url, partition, index.of(partition)) for partition in partitions)
        reports = dict(
            _shown(cluster.run(stages.classify_partition, "classify", tasks_2), "classify", len(partitions), progress)
        )
        accounts.add(_total(reports.values()))
        # 3. write: pixel by pixel, or in order of time
        if output.store is not None:
            hand_over(work, [stages.series_name(partition) for partition in partitions], output.store)
        if output.catalogue is not None:
            classified = {partition: reports[number] for number, partition in enumerate(partitions)}
            _write_catalogue(work, settings, classified, SharedFolder(output.catalogue), cluster, progress, accounts)
        elif output.results is not None:
            out = output.results()
            for one in _in_order_of_time(work, partitions, settings):
                out.write(one)
        return accounts


def _write_catalogue(
    work: SharedFolder,
    settings: ReplaySettings,
    classified: dict[int, Report],
    catalogue: SharedFolder,
    cluster: Cluster,
    progress: Progress,
    accounts: Accounts,
) -> None:
    rows_of_pixel: Counter[int] = Counter()
    for report in classified.values():
        rows_of_pixel.update(report.rows_of_pixel)
    pixels = pixels_for(rows_of_pixel)
    tasks = []
    for pixel in pixels:
        shift = 2 * (COUNT_ORDER - pixel.order)
        names = tuple(
            stages.classified_name(partition, settings)
            for partition, report in classified.items()
            if any(number >> shift == pixel.number for number in report.rows_of_pixel)
        )
        tasks.append((work.url, names, catalogue.url, pixel))
    for _ in _shown(cluster.run(stages.gather_pixel, "gather", tasks), "gather", len(tasks), progress):
        pass
    name = posixpath.basename(catalogue.url.rstrip("/")) or "ictc"
    finish_catalogue(catalogue, name, pixels, accounts)


def _shown(
    reports: Iterator[tuple[int, Report]], stage: str, total: int, progress: Progress
) -> Iterator[tuple[int, Report]]:
    """The same reports; a bar tells how far they are."""
    bar = progress.add_task(stage, total=total, alerts=0, rate=0.0, megabytes=0.0)
    started_s, alerts, size_bytes = time.monotonic(), 0, 0
    for index, report in reports:
        alerts, size_bytes = alerts + report.rows, size_bytes + report.output_bytes
        rate = alerts / max(time.monotonic() - started_s, 1e-9)
        progress.update(bar, advance=1, alerts=alerts, rate=rate, megabytes=size_bytes / 1e6)
        yield index, report


def _plan(files: Sequence[Any], settings: ReplaySettings, options: ClusterOptions, cores: int) -> Plan:
    total_bytes = sum(file.size_bytes for file in files)
    task_bytes = min(max(total_bytes // (TASKS_WANTED_PER_CORE * cores), SMALLEST_TASK_BYTES), LARGEST_TASK_BYTES)
    partitions = options.partitions or partitions_for(files, at_least=PARTITIONS_PER_CORE * cores)
    return Plan(settings, group(files, task_bytes), partitions)


def _work_folder(options: ClusterOptions, stack: ExitStack) -> SharedFolder:
    if options.work is not None:
        return SharedFolder(options.work)
    folder = tempfile.mkdtemp(prefix="ictc-archive-")
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return SharedFolder(folder)


def _in_order_of_time(
    work: SharedFolder, partitions: Sequence[int], settings: ReplaySettings
) -> Iterator[Classification]:
    streams = (stages.classifications(work, partition, settings) for partition in partitions)
    return merge(*streams, key=lambda one: (one.time_mjd, one.alert_id, object_key(one.survey, one.object_id)))


def _total(reports: Any) -> Accounts:
    accounts = Accounts()
    for report in reports:
        accounts.add(report.accounts)
    return accounts


@contextmanager
def _progress(cluster: Cluster) -> Iterator[Progress]:
    """Bars on standard error, when that is a terminal: tasks, alerts per second, bytes, time left."""
    console = Console(stderr=True)
    if cluster.dashboard:
        console.print(f"Ray's dashboard: http://{cluster.dashboard}")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[alerts]} alerts, {task.fields[rate]:.0f}/s, {task.fields[megabytes]:.1f} MB"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield progress
