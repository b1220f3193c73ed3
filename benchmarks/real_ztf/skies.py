"""Packets of real alerts that nobody labelled beside simulated ones: brightness, age, place, colour, registration.

``ictc-simulate alerts --survey ztf --nights 20 --objects 500 --seed 5 --out NIGHTS``, then
``python -m benchmarks.real_ztf.skies --simulated NIGHTS``. Labelled objects are left out, and packets that others
repacked (their catalogue columns are false), and known Solar-system bodies. What the rest are is told from the packet
alone, in both skies alike: a *star* has a point source of the catalogue within 1.5 arcsec (told again below 8 degrees
of Galactic latitude and above 20), a *nucleus* a galaxy within 0.5 arcsec, a *transient* is the rest; all have been
seen twice, which moving bodies and artefacts hardly are. One alert of each object, drawn at random; simulated objects
are thinned to the classes that ``validate`` takes alerts to be of.
"""

import json
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import erfa
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from benchmarks.parser import parser_of
from benchmarks.real_ztf.alerts import clock_stood_still, labels_of, read
from benchmarks.setting import REPO_ROOT, shared_data
from broker_filter.alerts.alert import read_alerts
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.alerts.stamp import observe
from broker_filter.archive.read import read_messages
from broker_filter.errors import NotClassifiedError
from broker_filter.records import STAMP_KINDS, Alert, Message
from model.series import BANDS, MAD_TO_SIGMA
from model.simulation.alerts.ztf import SURVEY_START_JD, YEAR_D
from model.simulation.validation.stamps.ztf_stamps import MIX

IN_PLANE_DEG, OFF_PLANE_DEG = 8.0, 20.0
GROUPS: Mapping[str, Callable[["Row"], bool]] = {
    "star": lambda row: row.kind == "star",
    "star in the plane": lambda row: row.kind == "star" and row.latitude_deg < IN_PLANE_DEG,
    "star off the plane": lambda row: row.kind == "star" and row.latitude_deg > OFF_PLANE_DEG,
    "nucleus": lambda row: row.kind == "nucleus",
    "transient": lambda row: row.kind == "transient",
}
STAR_ARCSEC, NUCLEUS_ARCSEC, STAR_SCORE = 1.5, 0.5, 0.5
LEAST_SHARE = 0.08  # of a class by which the others are thinned
LEAST_HISTORY = 2  # detections
PAIR_D, PEAK_D = 1.6, 3.0
NEAR_PX, PIXEL_ARCSEC, SIZE_PX = 4, 1.01, 24
WINDOW_PX, CENTROID_STEPS = 1.4, 5
BRIGHT_SNR = 100.0  # of the template's peak: what a residual of registration needs
PERCENT = (5, 25, 50, 75, 95)
FEWEST = 8


@dataclass(frozen=True, slots=True)
class Row:
    """What one packet says."""

    object_id: str
    kind: str
    latitude_deg: float  # Galactic, north or south
    values: Mapping[str, float]


def left_out_of(folder: Path, seed: int = 0) -> frozenset[str]:
    """The simulated objects that are too many of their class."""
    truth = pq.read_table(folder / "truth.parquet", columns=["object_id", "label"]).to_pydict()
    label_of = dict(zip(truth["object_id"], truth["label"], strict=True))
    count = Counter(label_of.values())
    kept_per_share = min(count[label] / share for label, share in MIX.items() if share >= LEAST_SHARE)
    rng = np.random.default_rng(seed)
    return frozenset(
        name for name, label in sorted(label_of.items())
        if rng.random() > kept_per_share * MIX.get(label, 0.0) / count[label]
    )  # fmt: skip


def rows_of(folder: Path, left_out: frozenset[str], seed: int = 0) -> list[Row]:
    """One alert of each object of a folder that may be compared."""
    stamps = dict(_stamps(folder))
    by_kind = defaultdict(list)
    for _, _, record in read(folder):
        if record["objectId"] in left_out or clock_stood_still(record):
            continue
        row = row_of(record, stamps.get(record["candid"]))
        if row is not None:
            by_kind[record["objectId"]].append(row)
    rng = np.random.default_rng(seed)
    return [rows[rng.integers(len(rows))] for _, rows in sorted(by_kind.items())]


def row_of(record: Mapping[str, Any], pixels_CHW: NDArray[np.float64] | None) -> Row | None:
    """The numbers of one packet; None of a body of the Solar system, and where the catalogue is silent."""
    own = record["candidate"]
    distance, score, history = (_number(own, name) for name in ("distpsnr1", "sgscore1", "ndethist"))
    if _number(own, "ssdistnr") >= 0 or not distance >= 0 or not history >= LEAST_HISTORY:
        return None
    kind = "transient"
    if score >= STAR_SCORE and distance < STAR_ARCSEC:
        kind = "star"
    elif score < STAR_SCORE and distance < NUCLEUS_ARCSEC:
        kind = "nucleus"
    values = {
        "change, mag": _number(own, "magpsf"),
        "positive": float(own["isdiffpos"] in ("t", "1")),
        "reference source, mag": _number(own, "magnr"),
        "change / reference source": 10 ** (-0.4 * (_number(own, "magpsf") - _number(own, "magnr"))),
        "catalogue distance, arcsec": distance,
        "Gaia distance, arcsec": _number(own, "neargaia"),
        "age, days": own["jd"] - (_number(own, "jdstarthist")),
        "first detection, days of the survey": _number(own, "jdstarthist") - SURVEY_START_JD,
        "detections ever": history,
        "detections a year of the survey": history / max(own["jd"] - SURVEY_START_JD, YEAR_D / 12) * YEAR_D,
        "star-galaxy score": score,
        **_of_past(record),
    }
    if pixels_CHW is not None:
        values |= registration(pixels_CHW)
    _, latitude = erfa.icrs2g(math.radians(own["ra"]), math.radians(own["dec"]))
    return Row(record["objectId"], kind, abs(math.degrees(latitude)), values)


def _number(own: Mapping[str, Any], name: str) -> float:
    """A field of the packet; NaN where it is null or the survey's -999."""
    value = own.get(name)
    return float(value) if isinstance(value, int | float) and value > -900 else math.nan


def _of_past(record: Mapping[str, Any]) -> dict[str, float]:
    """Colours and the change from night to night, from the detections that a packet tells of."""
    own = record["candidate"]
    seen = [e for e in (*(record["prv_candidates"] or ()), own) if e["magpsf"] is not None]
    bright = [e for e in seen if e["isdiffpos"] in ("t", "1")]
    pairs = [
        ((g["jd"] + r["jd"]) / 2, g["magpsf"] - r["magpsf"])
        for g in bright
        for r in bright
        if g["fid"] == 1 and r["fid"] == 2 and abs(g["jd"] - r["jd"]) < PAIR_D
    ]
    peak = min(bright, key=lambda e: e["magpsf"])["jd"] if bright else math.nan
    near = [colour for jd, colour in pairs if abs(jd - peak) <= PEAK_D]
    rates = []
    for band in (1, 2):
        of_band = sorted((e["jd"], e["magpsf"]) for e in bright if e["fid"] == band)
        rates += [abs(m1 - m0) for (t0, m0), (t1, m1) in pairwise(of_band) if 0.5 < t1 - t0 < 1.5]
    return {
        "g - r": float(np.median([colour for _, colour in pairs])) if pairs else math.nan,
        "g - r within 3 d of the brightest": float(np.median(near)) if near else math.nan,
        "change from night to night, mag": float(np.median(rates)) if rates else math.nan,
    }


def registration(pixels_CHW: NDArray[np.float64]) -> dict[str, float]:
    """How far the difference's light lies off a bright source of the template, and how deep a hole lies beside it."""
    template_HW, difference_HW = (pixels_CHW[STAMP_KINDS.index(name)] for name in ("template", "difference"))
    y, x = np.indices(template_HW.shape) - template_HW.shape[0] // 2
    near = np.hypot(x, y) <= NEAR_PX
    sky_HW = template_HW - np.nanmedian(template_HW)
    scatter = MAD_TO_SIGMA * float(np.nanmedian(np.abs(sky_HW)))
    if not np.isfinite(sky_HW[near]).all() or np.nanmax(sky_HW[near]) <= BRIGHT_SNR * scatter:
        return {}
    difference_HW = difference_HW - np.nanmedian(difference_HW)
    sense = math.copysign(1.0, float(np.nansum(difference_HW[np.hypot(x, y) <= 2])))
    light_HW = np.where(near, np.nan_to_num(sense * difference_HW), 0.0)
    if (top := light_HW.max()) <= 0:
        return {}
    places = [_centroid(np.clip(of, 0, None), near) for of in (sky_HW, light_HW)]
    off_arcsec = PIXEL_ARCSEC * math.dist(*places)
    return {"difference off the star, arcsec": off_arcsec, "hole beside it / its peak": float(-light_HW.min() / top)}


def _centroid(light_HW: NDArray[np.float64], near: NDArray[np.bool_]) -> tuple[float, float]:
    """Row and column of the brightest source, its light weighted by a Gaussian window that moves to it."""
    light_HW = np.where(near, light_HW, 0.0)
    y_HW, x_HW = np.indices(light_HW.shape)
    row, column = (float(i) for i in np.unravel_index(int(light_HW.argmax()), light_HW.shape))
    for _ in range(CENTROID_STEPS):
        weight_HW = light_HW * np.exp(-((y_HW - row) ** 2 + (x_HW - column) ** 2) / (2 * WINDOW_PX**2))
        total = weight_HW.sum()
        row += 2 * ((weight_HW * y_HW).sum() / total - row)  # a window as wide as the source finds half of the way
        column += 2 * ((weight_HW * x_HW).sum() / total - column)
    return row, column


def _stamps(folder: Path) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Pixels in nJy by alert id, as the service sees them."""
    schemas = Schemas()
    for message in read_messages([folder]):
        if not isinstance(message, Message):
            continue
        for alert in read_alerts(message, schemas):
            if not isinstance(alert, Alert):
                continue
            try:
                seen = observe(alert, STAMP_KINDS, SIZE_PX, BANDS)
            except NotClassifiedError:
                continue
            yield alert.alert_id, seen.pixels.astype(np.float64) * seen.scale_njy[:, None, None]


def compared(real: Sequence[Row], simulated: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Quantiles in both skies, kind by kind, and the distance of Kolmogorov and Smirnov."""
    by_kind: dict[str, dict[str, Any]] = {}
    for kind, belongs in GROUPS.items():
        skies = [[row.values for row in rows if belongs(row)] for rows in (real, simulated)]
        by_kind[kind] = {"real": len(skies[0]), "simulated": len(skies[1]), "lines": {}}
        for name in dict.fromkeys(name for rows in skies for values in rows for name in values):
            values = [np.array([of.get(name, math.nan) for of in rows]) for rows in skies]
            values = [value[np.isfinite(value)] for value in values]
            if min(map(len, values)) < FEWEST:
                continue
            quantiles = [np.round(np.percentile(value, PERCENT), 3).tolist() for value in values]
            by_kind[kind]["lines"][name] = {
                "objects": [len(value) for value in values],
                "real": quantiles[0],
                "simulated": quantiles[1],
                "ks": float(ks_2samp(*values).statistic),
            }
    return by_kind


def tell(table: Mapping[str, Mapping[str, Any]]) -> None:
    """One row a number."""
    for kind, skies in table.items():
        print(
            f"\n{kind}: {skies['real']} real objects, {skies['simulated']} simulated; {PERCENT} % of real | simulated"
        )
        for name, line in skies["lines"].items():
            columns = ("  ".join(f"{q:9.2f}" for q in line[sky]) for sky in ("real", "simulated"))
            print(f"  {name:<36} {' | '.join(columns)}   KS {line['ks']:.2f}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = parser_of(__doc__)
    parser.add_argument("--simulated", type=Path, required=True, metavar="DIR", help="alerts of ictc-simulate")
    parser.add_argument("--out", type=Path, default=REPO_ROOT / "benchmarks" / "results" / "real_ztf" / "skies.json")
    options = parser.parse_args(argv)
    data = shared_data()
    if data is None:
        print("no real alerts here: set ICTC_SHARED_DATA to their folder; nothing was compared")
        return 0
    labelled = frozenset(labels_of(data / "alerts" / "manifest_ztf.csv"))
    table = compared(
        rows_of(data / "alerts" / "ztf", labelled), rows_of(options.simulated, left_out_of(options.simulated))
    )
    options.out.write_text(json.dumps(table, indent=1) + "\n", "utf-8")
    tell(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
