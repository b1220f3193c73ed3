"""Real ZTF alerts beside simulated ones: which kinds of object are taken for what, and in what the two skies differ.

``python -m benchmarks.real_ztf.kinds [--simulated DIR] [--weights ztf] [--out FILE.json]``. Needs the folder of real
data, and for the second part a data set of ``ictc-simulate dataset --survey ztf``.

The table is for finding *physical* omissions of the simulated sky: kinds that it lacks, magnitudes that it never
reaches. What is then changed in the simulator must come from the literature. Neither the mix of classes nor any
parameter is fitted to these alerts, and no score on them chooses between versions of the simulator: they are few, they
are chosen by who happened to label them, and they are what the weights are judged on.
"""

import csv
import json
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from benchmarks.parser import parser_of
from benchmarks.real_ztf.__main__ import answers, replay
from benchmarks.real_ztf.alerts import CONFIDENCES, LABELS
from benchmarks.setting import shared_data
from broker_filter.alerts.alert import read_alerts
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.alerts.stamp import observe
from broker_filter.archive.read import read_messages
from broker_filter.errors import NotClassifiedError
from broker_filter.records import STAMP_KINDS, Alert, Message
from model.data.dataset import Dataset
from model.series import BANDS, MAD_TO_SIGMA
from model.serving.card import load_card
from model.simulation.surveys import ab_mag

KINDS = {  # of the catalogues' abbreviations (GCVS, VSX, ASAS-SN, ZTF's own), the first prefix that fits
    "RR Lyrae, delta Scuti": ("RR", "SXPHE"),
    "Cepheid": ("ACEP", "Cepheid", "deltaCep", "RVA", "PulsV", "CW"),
    "eclipsing": ("E", "W_Uma", "IB", "detached"),
    "long-period": ("M", "SR", "L", "long_periodic"),
    "young star": ("YSO", "TTau", "CTTS", "IN", "EXOR"),
    "rotator": ("BY", "RS", "ROT", "multi_periodic"),
    "cataclysmic": ("UG", "AM", "Cataclysmic", "DQ", "NL", "WD"),
    "flare star": ("UV",),
    "X-ray, Be": ("HMXB", "BE", "XM"),
    "symbiotic": ("ZAND", "Symbiotic"),
    "superluminous": ("SLSN",),
    "type II": ("SN II",),
    "type Ib, Ic": ("SN I",),
}
EXACT = {"EXOR": "young star", "SN Ia": "type Ia", "MISC|SR": "long-period"}
CORE_PX, WIDE_PX = 1.6, 5.0  # radii about the position of the source
HISTORY_DAYS = 30.0  # that a packet of ZTF holds
PERCENT = (5, 25, 50, 75, 95)


@dataclass(frozen=True, slots=True)
class Row:
    """What one alert looks like, in measures that real and simulated stamps share."""

    label: str
    kind: str
    features: Mapping[str, float]


def kind_of(label: str, subclass: str) -> str:
    """Group a catalogue's abbreviation."""
    if label == "AGN":
        return "AGN"
    if subclass in EXACT:
        return EXACT[subclass]
    for kind, prefixes in KINDS.items():
        if subclass.startswith(prefixes):
            return kind
    return "other"


def features(pixels_CHW: NDArray, flux_njy: float, flux_error_njy: float, band: int) -> dict[str, float]:
    """Brightness of the change, of what was there before, and how point-like that is; nJy in, magnitudes and ratios."""
    template_HW = pixels_CHW[STAMP_KINDS.index("template")]
    size = template_HW.shape[0]
    y, x = np.indices(template_HW.shape) - size // 2
    border = np.maximum(np.abs(x), np.abs(y)) >= size // 2 - 2
    template_HW = template_HW - np.nanmedian(template_HW[border])
    core, wide = (float(np.nansum(template_HW[np.hypot(x, y) <= radius])) for radius in (CORE_PX, WIDE_PX))
    scatter = MAD_TO_SIGMA * float(np.nanmedian(np.abs(template_HW[border])))
    noise = max(scatter, 1e-3) * np.sqrt((np.hypot(x, y) <= CORE_PX).sum())
    return {
        "change, mag": float(ab_mag(abs(flux_njy))),
        "change, S/N": abs(flux_njy) / flux_error_njy,
        "brighter than template": float(flux_njy > 0),
        "template centre, S/N": core / noise,
        "template centre, mag": float(ab_mag(core)) if core > 3 * noise else float("nan"),
        "template seen": float(core > 5 * noise),
        "change / template centre": flux_njy / core if core > 3 * noise else float("nan"),
        "template core / wide": core / wide if core > 3 * noise and wide > 0 else float("nan"),
        "band is r": float(BANDS[band] == "r"),
    }


def real_rows(data: Path) -> Iterator[tuple[str, Row]]:
    """The labelled real alerts, with their object's name."""
    with (data / "alerts" / "manifest_ztf.csv").open(newline="") as file:
        table = {int(row["candid"]): row for row in csv.DictReader(file) if row["label_conf"] in CONFIDENCES}
    schemas = Schemas()
    for message in read_messages([data / "alerts" / "ztf"]):
        if not isinstance(message, Message):
            continue
        for alert in read_alerts(message, schemas):
            if not isinstance(alert, Alert) or alert.alert_id not in table:
                continue
            try:
                seen = observe(alert, STAMP_KINDS, 24, BANDS)
            except NotClassifiedError:
                continue
            known = table[alert.alert_id]
            label = LABELS.get(known["coarse"], known["coarse"])
            pixels_CHW = seen.pixels.astype(np.float64) * seen.scale_njy[:, None, None]
            measures = features(pixels_CHW, seen.flux_njy, seen.flux_error_njy, seen.band)
            measures["detections before (30 d)"] = float(known["n_prv_det"] or 0)
            yield alert.object_id, Row(label, kind_of(label, known["subclass"]), measures)


def simulated_rows(folder: Path, per_class: int, seed: int = 0) -> Iterator[Row]:
    """Alerts of simulated objects, each as often as it alerts: an archive is drawn by alert, not by object."""
    dataset, rng = Dataset.open(folder), np.random.default_rng(seed)
    truth = dataset.truth()
    mode, subtype = truth["label_mode"].to_pylist(), truth["subtype"].to_pylist()
    alerts: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for row in range(len(dataset)):
        if mode[row] == "physical":
            alerts[int(dataset.labels[row])] += [(row, t) for t in range(len(dataset.series(row)))]
    chosen = [
        (label, *measures[i])
        for label, measures in sorted(alerts.items())
        for i in rng.choice(len(measures), min(per_class, len(measures)), replace=False)
    ]
    for label, row, t in chosen:
        series = dataset.series(row)
        pixels_CHW = series.pixels_TCHW[t].astype(np.float64) * series.scale_TC[t][:, None, None]
        measures = features(pixels_CHW, float(series.flux_T[t]), float(series.flux_error_T[t]), int(series.band_T[t]))
        age_T = series.time_T[t] - series.time_T[:t]
        measures["detections before (30 d)"] = float((age_T < HISTORY_DAYS).sum())
        yield Row(dataset.classes[label], str(subtype[row]), measures)


def compared(real: Sequence[Row], simulated: Sequence[Row]) -> dict[str, dict[str, float | list[float]]]:
    """Quantiles of every feature in both skies, and the distance of Kolmogorov and Smirnov."""
    measures: dict[str, dict[str, float | list[float]]] = {}
    for name in real[0].features if real else ():
        values = [np.array([row.features[name] for row in rows]) for rows in (real, simulated)]
        values = [value[np.isfinite(value)] for value in values]
        if min(map(len, values)) == 0:
            continue
        real_q, simulated_q = (np.round(np.percentile(v, PERCENT), 3).tolist() for v in values)
        test = ks_2samp(*values)
        measures[name] = {
            "real": real_q,
            "simulated": simulated_q,
            "real_mean": float(values[0].mean()),
            "simulated_mean": float(values[1].mean()),
            "ks": float(test.statistic),
            "p": float(test.pvalue),
        }
    return measures


def main(argv: Sequence[str] | None = None) -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--simulated", type=Path, help="a data set of ictc-simulate, survey ztf")
    parser.add_argument("--weights", default="ztf", help="shipped or own weights, or 'none': compare the skies only")
    parser.add_argument("--per-class", type=int, default=200)
    parser.add_argument("--out", type=Path, help="write the numbers as JSON, too")
    options = parser.parse_args(argv)
    data = shared_data()
    if data is None:
        print("no real alerts here: set ICTC_SHARED_DATA to their folder; nothing was compared")
        return 0
    rows_of_object = defaultdict(list)
    for name, row in real_rows(data):
        rows_of_object[name].append(row)
    result: dict[str, object] = {}
    if options.weights != "none":
        result["taken_for"] = _confusions(data, options.weights, rows_of_object)
    if options.simulated is not None:
        simulated = list(simulated_rows(options.simulated, options.per_class))
        result["skies"] = _skies([rows[-1] for rows in rows_of_object.values()], simulated)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    return 0


def _skies(real: Sequence[Row], simulated: Sequence[Row]) -> dict[str, Any]:
    """Print and return the comparison of every class."""
    skies = {}
    for label in LABELS.values():
        ours, theirs = ([row for row in rows if row.label == label] for rows in (real, simulated))
        skies[label] = compared(ours, theirs)
        print(f"\n{label}: {len(ours)} real objects; {PERCENT} % of real | of simulated; distance of KS")
        for name, line in skies[label].items():
            columns = ("  ".join(f"{q:8.2f}" for q in np.atleast_1d(line[sky])) for sky in ("real", "simulated"))
            print(f"  {name:<26} {' | '.join(columns)}   {line['ks']:.2f}")
    return skies


def _confusions(data: Path, name: str, rows_of_object: Mapping[str, Sequence[Row]]) -> dict[str, dict[str, int]]:
    """Real kind -> class that its last alert is taken for -> objects."""
    card = load_card(name)
    with tempfile.TemporaryDirectory() as folder:
        measures = answers(replay(data / "alerts" / "ztf", name, Path(folder) / "out.jsonl"), card.classes)
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for object_id, rows in rows_of_object.items():
        if object_id in measures:
            counts[rows[-1].label, rows[-1].kind][card.classes[int(measures[object_id][-1]["p"].argmax())]] += 1
    print(f"{'real kind':<34}" + "".join(f"{name:>10}" for name in card.classes))
    for (label, kind), taken in sorted(counts.items()):
        print(f"{label + ': ' + kind:<34}" + "".join(f"{taken[name]:>10}" for name in card.classes))
    return {f"{label}: {kind}": dict(taken) for (label, kind), taken in sorted(counts.items())}


if __name__ == "__main__":
    sys.exit(main())
