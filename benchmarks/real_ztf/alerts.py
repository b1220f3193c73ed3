"""Real alerts of a folder: labels, repaired clocks and what each packet says of its object. Knows no weights.

Public packets that others repacked carry one time and one position for all their epochs. ``pid`` keeps the truth: days
since JD 2457754.5 in its first digits, a fraction of 1e-5 days in the next five. The program itself refuses such a
past; here, where packets are judged that no stream will bring, clocks are repaired, and scores say with and without.
"""

import csv
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import erfa
import fastavro
import numpy as np
from numpy.typing import NDArray

from benchmarks.real_ztf.rises import rises
from broker_filter.alerts.units import flux_of_magnitude
from model.past_photometry import LIMIT_SIGMA

LABELS = {"AGN": "AGN", "SNIa": "SNIa", "VS": "Variable", "SNother": "SNOther"}
CONFIDENCES = ("spec", "catalog")
FIRST_PID_JD = 2_457_754.5
PID_DAY, PID_FRACTION, FRACTIONS_IN_A_DAY = 10**9, 10**4, 1e5
MONTH_D, NO_LONGER_IN_FLIGHT_D = 30.01, 250.0
SAME_TIME_D = 3e-5  # how exactly pid tells a time
PLANE_DEG = 25.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What one packet says of its object, its clock repaired."""

    alert_id: int
    object_id: str
    path: str
    detections: int  # of a positive difference, in the month before and now
    positive: bool  # this alert's difference
    age_days: float  # since the first detection that the packet knows of
    latitude_deg: float  # Galactic; NaN where the position is not the object's
    repacked: bool
    rises: bool  # something of the told month is significantly brighter than an earlier epoch

    @property
    def in_flight(self) -> bool:
        """Whether a supernova would still be seen as such: above its reference, and not long gone."""
        return self.positive and self.age_days <= NO_LONGER_IN_FLIGHT_D

    @property
    def by_detections(self) -> str:
        """The stratum of the number of detections."""
        if self.detections == 1:
            return "1 detection"
        if self.detections <= 3:
            return "2-3 detections"
        return "4-8 detections" if self.detections <= 8 else "> 8 detections"


def labels_of(manifest: Path) -> dict[str, str]:
    """Object id -> our class, or "TDE", where somebody knows it from a spectrum or a catalogue."""
    by_id = {}
    with manifest.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["label_conf"] in CONFIDENCES:
                by_id[row["objectId"]] = LABELS.get(row["coarse"], row["coarse"])
    return by_id


def may_be_opened(object_id: str) -> bool:
    """Whether an object is of the half that people may look at; the other half is scored only."""
    return hashlib.sha256(object_id.encode()).digest()[0] % 2 == 0


def jd_of_pid(pid: int) -> float:
    """The Julian date of an exposure, to 1e-5 days."""
    return FIRST_PID_JD + pid // PID_DAY + pid % PID_DAY // PID_FRACTION / FRACTIONS_IN_A_DAY


def clock_stood_still(record: dict[str, Any]) -> bool:
    """Whether all epochs of a packet's past have one time."""
    times = {epoch["jd"] for epoch in record["prv_candidates"] or ()}
    return len(times) == 1 and len(record["prv_candidates"]) > 1


def repair(record: dict[str, Any]) -> None:
    """Give a packet and its past the times that ``pid`` keeps, in place."""
    for epoch in (record["candidate"], *(record["prv_candidates"] or ())):
        if epoch.get("pid"):
            epoch["jd"] = jd_of_pid(epoch["pid"])


def facts_of(record: dict[str, Any], path: str, repacked: bool) -> Facts:
    """What a packet, repaired if need be, says."""
    own, past = record["candidate"], record["prv_candidates"] or ()
    seen = [e for e in past if e["magpsf"] is not None and own["jd"] - MONTH_D <= e["jd"] < own["jd"] - SAME_TIME_D]
    started = [e["jd"] for e in seen] + ([] if repacked or own["jdstarthist"] is None else [own["jdstarthist"]])
    ra, dec = own["ra"], own["dec"]
    latitude = math.nan if repacked else math.degrees(erfa.icrs2g(math.radians(ra), math.radians(dec))[1])
    return Facts(
        alert_id=record["candid"],
        object_id=record["objectId"],
        path=path,
        detections=1 + sum(e["isdiffpos"] in ("t", "1") for e in seen),
        positive=own["isdiffpos"] in ("t", "1"),
        age_days=own["jd"] - min([own["jd"], *started]),
        latitude_deg=latitude,
        repacked=repacked,
        rises=rises(*light_curve_of(record)),
    )


def light_curve_of(record: dict[str, Any]) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Times (JD), bands, fluxes and errors (nJy) of the month before an alert and of itself; a limit's flux is 0."""
    own = record["candidate"]
    month = [e for e in record["prv_candidates"] or () if own["jd"] - MONTH_D <= e["jd"] < own["jd"] - SAME_TIME_D]
    rows = []
    for epoch in (*month, own):
        flux, error = 0.0, math.nan
        if epoch["magpsf"] is not None:
            flux, error = flux_of_magnitude(epoch["magpsf"], epoch.get("sigmapsf") or math.nan)
            flux *= 1 if epoch["isdiffpos"] in ("t", "1") else -1
        elif epoch.get("diffmaglim") is not None:
            error = flux_of_magnitude(epoch["diffmaglim"], math.nan)[0] / LIMIT_SIGMA
        rows.append((epoch["jd"], epoch.get("fid"), flux, error))
    time_X, band_X, flux_X, error_X = np.array(rows, np.float64).T
    return time_X, band_X, flux_X, error_X


def read(folder: Path) -> Iterator[tuple[Path, dict[str, Any], dict[str, Any]]]:
    """Every packet of a folder: its file, its schema and its record."""
    for path in sorted(folder.rglob("*.avro")):
        with path.open("rb") as file:
            reader = fastavro.reader(file)
            for record in reader:
                yield path, reader.writer_schema, record  # type: ignore[misc]


def repaired_copy(folder: Path, out: Path) -> dict[int, Facts]:
    """Copy a folder of alerts with the clocks repaired, and tell by alert id what each packet says."""
    by_id = {}
    for path, schema, record in read(folder):
        repacked = clock_stood_still(record)
        if repacked:
            repair(record)
        by_id[record["candid"]] = facts_of(record, path.relative_to(folder).as_posix(), repacked)
        target = out / f"{record['candid']}.avro"
        if not repacked:
            target.symlink_to(path.resolve())
            continue
        with target.open("wb") as file:
            fastavro.writer(file, schema, [record])
    return by_id
