"""Production networks of other brokers beside ours on the same real ZTF alerts: speed of one core, and scores.

``python -m benchmarks.peers --acai DIR --btsbot FILE``. BOOM and Kowalski run five ACAI networks and BTSbot on every
alert; their files are public and not part of this repository (ONNX; ``DIR`` holds ``acai_b.onnx`` and so on). Networks
alone are timed, their inputs lie ready: batches of 1, 16 and 64, processor time of one thread, turn by turn. Scores are
areas under the curve, supernova or not, over the last alert of each object with a label from a spectrum or a catalogue,
of packets with every number that ACAI reads.

References
----------
Duev et al. 2021, arXiv:2111.12142 (ACAI). Rehemtulla et al. 2024, ApJ 972, 7 (BTSbot).
"""

import gzip
import io
import logging
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from astropy.io import fits
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from benchmarks.parser import parser_of
from benchmarks.real_ztf.alerts import labels_of, read
from benchmarks.setting import describe, shared_data
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.errors import NotClassifiedError, RejectedAlertError
from broker_filter.packets import series_of
from model.past_photometry import History
from model.series import Series
from model.serving.predictor import Predictor
from model.taxonomy import SUPERNOVAE

ACAI = "bhnov"  # bogus, hosted, nuclear, orphan, variable star
BATCHES = {1: 40, 16: 6, 64: 3}  # rows -> batches that are timed in each turn
TURNS = 5
SIDE, UNKNOWN = 63, -999.0
PADDING = 1e-9
ACAI_FEATURES = (
    *("drb", "diffmaglim", "ra", "dec", "magpsf", "sigmapsf", "chipsf", "fwhm", "sky", "chinr", "sharpnr"),
    *("sgscore1", "distpsnr1", "sgscore2", "distpsnr2", "sgscore3", "distpsnr3", "ndethist", "ncovhist", "scorr"),
    *("nmtchps", "clrcoeff", "clrcounc", "neargaia", "neargaiabright"),
)
BTSBOT_FEATURES = (
    *("sgscore1", "distpsnr1", "sgscore2", "distpsnr2", "fwhm", "magpsf", "sigmapsf", "chipsf", "ra", "dec"),
    *("diffmaglim", "ndethist", "nmtchps", "age", "days_since_peak", "days_to_peak", "peakmag_so_far", "drb"),
    *("ncovhist", "nnotdet", "chinr", "sharpnr", "scorr", "sky", "maxmag_so_far"),
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """One alert as each network wants it."""

    object_id: str
    jd: float
    triplet: NDArray[np.float32]  # [63, 63, 3]
    acai: NDArray[np.float32]  # [25]
    btsbot: NDArray[np.float32]  # [25]
    series: Series
    history: History
    complete: bool  # its packet has every number that ACAI reads; else brokers give no ACAI score


def numbers(record: Mapping[str, Any], names: tuple[str, ...]) -> NDArray[np.float32]:
    """Features of a packet by name, those of its light curve among them."""
    own = dict(record["candidate"])
    past = [p for p in record["prv_candidates"] or () if p["magpsf"] is not None and p["isdiffpos"] in ("t", "1")]
    seen = sorted([(p["jd"], p["magpsf"]) for p in (*past, own)])
    peak_jd, peak_mag = min(seen, key=lambda epoch: epoch[1])
    own |= {
        "age": own["jd"] - seen[0][0],
        "days_since_peak": own["jd"] - peak_jd,
        "days_to_peak": peak_jd - seen[0][0],
        "peakmag_so_far": peak_mag,
        "maxmag_so_far": max(mag for _, mag in seen),
        "nnotdet": own["ncovhist"] - own["ndethist"],
    }
    values = [own.get(name) for name in names]
    return np.array([UNKNOWN if value is None else value for value in values], np.float32)


def triplet(record: Mapping[str, Any]) -> NDArray[np.float32]:
    """The three stamps, each over its own norm, padded to 63 x 63."""
    out = np.full((SIDE, SIDE, 3), PADDING, np.float32)
    for channel, field in enumerate(("cutoutScience", "cutoutTemplate", "cutoutDifference")):
        with fits.open(io.BytesIO(gzip.decompress(record[field]["stampData"])), ignore_missing_simple=True) as hdus:
            pixels = np.nan_to_num(hdus[0].data.astype(np.float32))
        norm = float(np.linalg.norm(pixels))
        scaled = pixels / norm if 0 < norm < np.inf else np.zeros_like(pixels)
        out[: pixels.shape[0], : pixels.shape[1], channel] = scaled
    return out


def prepared(folder: Path, ours: Predictor) -> Iterator[Prepared]:
    """Alerts that ours classifies, each by itself as it would come first."""
    schemas = Schemas()
    for path, _, record in read(folder):
        try:
            series, history = series_of([path.read_bytes()], ours, schemas)
        except (NotClassifiedError, RejectedAlertError):
            continue
        yield Prepared(
            record["objectId"],
            record["candidate"]["jd"],
            triplet(record),
            numbers(record, ACAI_FEATURES),
            numbers(record, BTSBOT_FEATURES),
            series,
            history,
            all(record["candidate"].get(name) is not None for name in ACAI_FEATURES),
        )


def session(path: Path) -> onnxruntime.InferenceSession:
    """A network of another broker on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


Scores = Callable[[list[Prepared]], NDArray[np.floating]]  # of a supernova, one each


def peers(acai: Path, btsbot: Path) -> dict[str, Scores]:
    """What other brokers run, by name."""
    of_acai = [session(acai / f"acai_{letter}.onnx") for letter in ACAI]
    bts = session(btsbot)

    def score_acai(alerts: list[Prepared]) -> NDArray[np.floating]:
        feed = {"features": np.stack([a.acai for a in alerts]), "triplets": np.stack([a.triplet for a in alerts])}
        score_of = dict(zip(ACAI, (one.run(None, feed)[0][:, 0] for one in of_acai), strict=True))
        return np.maximum(score_of["h"], score_of["o"])

    def score_bts(alerts: list[Prepared]) -> NDArray[np.floating]:
        feed = {"metadata": np.stack([a.btsbot for a in alerts]), "triplet": np.stack([a.triplet for a in alerts])}
        return bts.run(None, feed)[0][:, 0]

    def both(alerts: list[Prepared]) -> NDArray[np.floating]:
        score_acai(alerts)
        return score_bts(alerts)

    return {"five ACAI": score_acai, "BTSbot": score_bts, "five ACAI and BTSbot": both}


def ours_as(predictor: Predictor) -> Scores:
    """The sum of our supernova classes."""
    columns = [predictor.card.classes.index(name) for name in SUPERNOVAE]

    def score(alerts: list[Prepared]) -> NDArray[np.floating]:
        vectors = predictor.embed([a.series for a in alerts])
        histories = [a.history for a in alerts]
        answers = predictor.classify(list(vectors[:, None]), [a.series for a in alerts], histories)
        return answers.probabilities[:, columns].sum(1)

    return score


def milliseconds(networks: Mapping[str, Scores], alerts: list[Prepared]) -> dict[str, dict[int, float]]:
    """Processor time of an alert, by network and batch; the median of turns in which each has its go."""
    rng = np.random.default_rng(0)
    times: dict[tuple[str, int], list[float]] = {}
    for _ in range(TURNS):
        for size, count in BATCHES.items():
            batches = [[alerts[i] for i in rng.choice(len(alerts), size)] for _ in range(count)]
            for name, score in networks.items():
                begun_s = time.process_time()
                for batch in batches:
                    score(batch)
                times.setdefault((name, size), []).append((time.process_time() - begun_s) / (size * count))
    return {name: {size: 1e3 * statistics.median(times[name, size]) for size in BATCHES} for name in networks}


def areas(networks: Mapping[str, Scores], alerts: list[Prepared], labels: Mapping[str, str]) -> dict[str, float]:
    """Area under the curve, supernova or not, of the last alert of each labelled object."""
    wanted = [a for a in alerts if a.object_id in labels and a.complete]
    last = {a.object_id: a for a in sorted(wanted, key=lambda a: a.jd)}
    is_supernova = [labels[name] in SUPERNOVAE for name in last]
    return {name: float(roc_auc_score(is_supernova, score(list(last.values())))) for name, score in networks.items()}


def main() -> int:
    """Time, score, print."""
    parser = parser_of(__doc__)
    parser.add_argument("--acai", type=Path, metavar="DIR", help="folder of acai_{b,h,n,o,v}.onnx")
    parser.add_argument("--btsbot", type=Path, metavar="FILE", help="BTSbot as ONNX")
    options = parser.parse_args()
    console, folder = Console(width=110), shared_data()
    if folder is None or options.acai is None or options.btsbot is None:
        console.print("needs real ZTF alerts (ICTC_SHARED_DATA), --acai and --btsbot: files that others publish")
        return 0
    warnings.simplefilter("ignore")  # astropy has much to say about ZTF's headers
    logging.getLogger("broker_filter.packets").setLevel(logging.ERROR)  # which tells of each asteroid
    torch.set_num_threads(1)
    predictors = {f"Vigil, {engine}": Predictor.load("ztf", engine=engine) for engine in ("onnxruntime", "torch")}
    alerts = list(prepared(folder / "alerts" / "ztf", next(iter(predictors.values()))))
    networks = {**{name: ours_as(one) for name, one in predictors.items()}, **peers(options.acai, options.btsbot)}
    labels = {k: v for k, v in labels_of(folder / "alerts" / "manifest_ztf.csv").items() if v != "TDE"}
    scores, times = areas(networks, alerts, labels), milliseconds(networks, alerts)
    table = Table("network", *(f"ms, batch {size}" for size in BATCHES), "alerts/s at 64", "AUC supernova")
    for name, of_sizes in times.items():
        auc = "" if " and " in name else f"{scores[name]:.3f}"
        table.add_row(name, *(f"{ms:.3f}" for ms in of_sizes.values()), f"{1e3 / of_sizes[64]:,.0f}", auc)
    console.print(describe("onnxruntime", "torch"), highlight=False)
    console.print(f"{len(alerts)} real alerts, one thread, networks alone; ACAI scores as max(hosted, orphan)")
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
