"""A cluster run of a survey's archive, carried from the rates of one core; every assumption is a number."""

from dataclasses import dataclass
from pathlib import Path

import orjson
from rich import box
from rich.table import Table

from broker_filter.archive.cluster.cluster_replay import (
    LARGEST_TASK_BYTES,
    PARTITIONS_PER_CORE,
    SMALLEST_TASK_BYTES,
    TASKS_WANTED_PER_CORE,
)
from broker_filter.archive.cluster.shuffle import BUFFER_BYTES
from broker_filter.archive.cluster.work_plan import InputFile, partitions_for

SURVEYS = (10**8, 10**9)  # alerts
CORES = 1_000
ZTF_BYTES = 72_000  # of a real alert
REQUESTS_PER_READ = 4  # of an object store: size, foot of the file, schema, batches
ANSWER_S = 0.02  # of an object store
DRIVER_BYTES_PER_BATCH = 10


@dataclass(frozen=True, slots=True)
class Rates:
    """What one core does."""

    decode_cpu_s: float  # an alert
    classify_cpu_s: float  # an alert
    shuffled_bytes: float  # an alert, compressed
    row_bytes: float  # an alert, not compressed

    @staticmethod
    def of(work: Path, alerts: int) -> "Rates":
        """From the reports of a run's tasks."""
        decoded, classified = (
            [orjson.loads(path.read_bytes()) for path in (work / stage).glob("*.report.json")]
            for stage in ("decoded", "classified")
        )
        return Rates(
            sum(report["cpu_s"] for report in decoded) / alerts,
            sum(report["cpu_s"] for report in classified) / alerts,
            sum(report["output_bytes"] for report in decoded) / alerts,
            sum(report["input_bytes"] for report in classified) / alerts,
        )


def cluster_model(rates: Rates) -> Table:
    """A column for each survey."""
    columns = [_column(rates, alerts) for alerts in SURVEYS]
    table = Table("a run of", *(f"{alerts:.0e} alerts" for alerts in SURVEYS), box=box.MARKDOWN)
    for name in columns[0]:
        table.add_row(name, *(column[name] for column in columns))
    decode_ms, classify_ms = 1e3 * rates.decode_cpu_s, 1e3 * rates.classify_cpu_s
    table.caption = (
        f"Measured: {decode_ms:.2f} ms of one core an alert in stage 1, {classify_ms:.2f} in stage 2, "
        f"{rates.shuffled_bytes:,.0f} bytes an alert between them. Assumed: {CORES:,} such cores, {ZTF_BYTES:,} bytes "
        f"an alert, files that divide evenly, {REQUESTS_PER_READ} requests of {1e3 * ANSWER_S:.0f} ms for each read "
        "of a shuffle file, one after the other"
    )
    return table


def _column(rates: Rates, alerts: int) -> dict[str, str]:
    total_bytes = alerts * ZTF_BYTES
    wanted_bytes = total_bytes // (TASKS_WANTED_PER_CORE * CORES)
    task_bytes = min(max(wanted_bytes, SMALLEST_TASK_BYTES), LARGEST_TASK_BYTES)
    tasks = -(-total_bytes // task_bytes)
    partitions = partitions_for([InputFile("", total_bytes)], PARTITIONS_PER_CORE * CORES)
    flushes = max(task_bytes / ZTF_BYTES * rates.row_bytes / BUFFER_BYTES, 1.0)
    reads = tasks * partitions
    decode_h, classify_h = (alerts * cpu_s / 3600 for cpu_s in (rates.decode_cpu_s, rates.classify_cpu_s))
    waiting_h = reads * REQUESTS_PER_READ * ANSWER_S / 3600
    hours = (decode_h + classify_h + waiting_h) / CORES
    return {
        "input, TB": f"{total_bytes / 1e12:,.1f}",
        "tasks of stage 1": f"{tasks:,}",
        "partitions (tasks of stage 2)": f"{partitions:,}",
        "stage 1, core-hours": f"{decode_h:,.0f}",
        "stage 2, core-hours": f"{classify_h:,.0f}",
        "stage 2, core-hours waiting for an object store": f"{waiting_h:,.0f}",
        f"hours of {CORES:,} cores": f"{hours:,.2f}",
        "shuffled, TB": f"{alerts * rates.shuffled_bytes / 1e12:,.2f}",
        "input read, GB/s": f"{total_bytes / 1e9 / (3600 * decode_h / CORES):,.1f}",
        "requests to the shuffle's store, millions": f"{reads * REQUESTS_PER_READ / 1e6:,.0f}",
        "requests a second": f"{reads * REQUESTS_PER_READ / (3600 * (classify_h + waiting_h) / CORES):,.0f}",
        "memory of the driver, GB": f"{reads * flushes * DRIVER_BYTES_PER_BATCH / 1e9:,.1f}",
    }
