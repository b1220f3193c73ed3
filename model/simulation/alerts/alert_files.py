"""Folders of alerts as archives keep them: ``NIGHT/ALERT.avro`` and ``truth.parquet``.

Whole or not at all: everything goes to ``<folder>.partial``, which gets its name last.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from model.clock import calendar_date
from model.data.dataset import DatasetError
from model.data.format import read_json
from model.data.writer import disk_errors

ALERTS = "alerts.json"
TRUTH = "truth.parquet"
EARLIEST_MJD, LATEST_MJD = 40_587, 88_069  # 1970 to 2099: what clocks and schemas hold

Packets = Iterable[tuple[bytes, Mapping[str, Any]]]


def write_alerts(packets: Packets, folder: Path, about: Mapping[str, Any]) -> int:
    """Write every packet as a file of its own.

    Parameters
    ----------
    about
        What was asked for: survey, seed, numbers; kept in ``alerts.json``.

    Returns
    -------
    int
        Number of alerts.

    Raises
    ------
    DatasetError
        When the folder holds something, or the disk is full.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DatasetError(f"{folder} holds {_what_is_in(folder, about)} already: choose another folder, or remove it")
    partial = folder.with_name(folder.name + ".partial")
    truths: list[Mapping[str, Any]] = []
    with disk_errors(folder):
        if partial.exists():
            if not (partial / ALERTS).exists():
                raise DatasetError(f"{partial} is not ours: remove it, or move it away")
            shutil.rmtree(partial)  # half a night: made again from its seed
        partial.mkdir(parents=True)
        (partial / ALERTS).write_text(json.dumps(dict(about), indent=1) + "\n", "utf-8")
        for packet, truth in packets:
            night = partial / calendar_date(float(truth["time_mjd"]))
            night.mkdir(exist_ok=True)
            (night / f"{truth['alert_id']}.avro").write_bytes(packet)
            truths.append(truth)
        pq.write_table(truth_table(truths), partial / TRUTH)
        (partial / ALERTS).write_text(json.dumps(dict(about) | {"alerts": len(truths)}, indent=1) + "\n", "utf-8")
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    return len(truths)


def holds_alerts(folder: Path, about: Mapping[str, Any]) -> bool:
    """Whether a folder holds exactly the alerts that are asked for.

    Raises
    ------
    DatasetError
        When it holds alerts whose ``alerts.json`` is broken.
    """
    if not (folder / ALERTS).is_file():
        return False
    return not _differing(folder, about)


def _what_is_in(folder: Path, about: Mapping[str, Any]) -> str:
    if not (folder / ALERTS).is_file():
        return "something else"
    other = _differing(folder, about)
    return f"alerts of another {', '.join(other)}" if other else "these alerts"


def _differing(folder: Path, about: Mapping[str, Any]) -> list[str]:
    there = _read_about(folder)
    return [name for name, value in about.items() if there.get(name) != value]


def _read_about(folder: Path) -> dict[str, Any]:
    path = folder / ALERTS
    content = read_json(path, "is damaged, make the alerts again")
    if not isinstance(content, dict):
        raise DatasetError(f"{path} is damaged, make the alerts again: it holds no object")
    return content


def read_alerts(folder: Path) -> Iterator[tuple[bytes, Mapping[str, Any]]]:
    """Packets of such a folder in time order, each with its truth.

    Raises
    ------
    DatasetError
        When the folder is none, its list is damaged, or a packet is missing.
    """
    if not (folder / TRUTH).is_file():
        raise DatasetError(f"{folder} holds no alerts of ours: it has no {TRUTH}")
    try:
        table = pq.read_table(folder / TRUTH)
    except (pa.ArrowException, OSError) as exc:
        raise DatasetError(f"{folder / TRUTH} is damaged, make the alerts again: {exc}") from exc
    if missing := {"alert_id", "time_mjd"} - set(table.column_names):
        raise DatasetError(f"{folder / TRUTH} has no column {', '.join(sorted(missing))}: make the alerts again")
    for truth in table.to_pylist():
        path = folder / calendar_date(truth["time_mjd"]) / f"{truth['alert_id']}.avro"
        if not path.is_file():
            raise DatasetError(f"{path} is missing: make the alerts again")
        yield path.read_bytes(), truth


def truth_table(truths: list[Mapping[str, Any]]) -> pa.Table:
    """One row per alert, in time order."""
    names = dict.fromkeys(name for truth in truths for name in truth)
    return pa.table({name: pa.array([truth.get(name) for truth in truths]) for name in names})
