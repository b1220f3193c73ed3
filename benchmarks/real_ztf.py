"""Real ZTF alerts in, what the shipped weights make of them out: scores against labels, and SN 2021rhu drawn.

``python -m benchmarks.real_ztf [--weights ztf] [--out benchmarks/results/real_ztf] [--simulated DIR]``. Needs the
folder of real data. Labels of confidence ``spec`` and ``catalog`` only; none of them ever trained or tuned anything.
"""

import argparse
import csv
import dataclasses
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.setting import REPO_ROOT, describe, shared_data
from model.data.dataset import Dataset
from model.serving import weights
from model.serving.card import load_card
from model.training.data.augment import one_frame
from model.training.data.loader import shelf_for
from model.training.evaluation.calibrate import unknown_scores
from model.training.evaluation.early import in_mix
from model.training.evaluation.intervals import bootstrap, drawn_weights, macro_f1_interval, range_of, wilson
from model.training.evaluation.metrics import balanced_accuracy, score
from model.training.evaluation.report import draw_history
from model.training.evaluation.weighted import weighted_auc, weighted_scores

LABELS = {"AGN": "AGN", "SNIa": "SNIa", "VS": "Variable", "SNother": "SNOther"}
CONFIDENCES = ("spec", "catalog")
DRAWN = "ZTF21abiuvdk"  # SN 2021rhu, type Ia, 34 alerts
PEAK_MJD = 59_410.0  # of SN 2021rhu in r, within a few days; only a line in the picture
SIMULATED = ("simulated_single_alerts", "simulated_single_alerts_real_mix", "simulated_single_stamps")
SUPERNOVAE = ("SNIa", "SNOther")


def labels_of(manifest: Path) -> dict[str, str]:
    """Object id -> our class, or "TDE", where somebody knows it from a spectrum or a catalogue."""
    found = {}
    with manifest.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["label_conf"] in CONFIDENCES:
                found[row["objectId"]] = LABELS.get(row["coarse"], row["coarse"])
    return found


def replay(folder: Path, name: str, out: Path) -> list[dict[str, Any]]:
    """Every classification that ``ictc-replay`` gives for the alerts of a folder."""
    command = [
        sys.executable,
        "-m",
        "broker_filter.archive.replay",
        str(folder),
        "--weights",
        name,
        "--output",
        str(out),
    ]
    subprocess.run([*command, "--summary", str(out) + ".summary"], check=True)
    return [json.loads(line) for line in out.read_text("utf-8").splitlines()]


def answers(records: list[dict[str, Any]], classes: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Classified alerts by object, in time order, probabilities as an array."""
    by_object = defaultdict(list)
    for record in records:
        if record["status"] == "classified":
            p = np.array([record["probabilities"][name] for name in classes])
            by_object[record["objectId"]].append({**record, "p": p})
    return {name: sorted(found, key=lambda r: (r["mjd"], r["alertId"])) for name, found in by_object.items()}


def scored(label_N: NDArray, p_NK: NDArray, classes: tuple[str, ...]) -> dict[str, Any]:
    """Scores with intervals, and how well supernovae are told from the rest."""
    count, chosen_N = len(classes), p_NK.argmax(1)
    reached = score(label_N, p_NK, classes)
    hits = np.diagonal(np.array(reached.confusion))
    kinds = [classes.index(name) for name in SUPERNOVAE]
    sn_N, is_sn_N = p_NK[:, kinds].sum(1), np.isin(label_N, kinds)
    return {
        **dataclasses.asdict(reached),
        "macro_f1_interval": dataclasses.asdict(macro_f1_interval(label_N, chosen_N, count)),
        "balanced_accuracy_interval": dataclasses.asdict(
            bootstrap(label_N, lambda rows: balanced_accuracy(label_N[rows], chosen_N[rows], count))
        ),
        "recall_interval": {
            name: dataclasses.asdict(wilson(int(hits[k]), int((label_N == k).sum()))) for k, name in enumerate(classes)
        },
        "supernova_auroc": unknown_scores(sn_N[~is_sn_N], sn_N[is_sn_N])["auroc"],
        "supernova_recall": dataclasses.asdict(wilson(int((sn_N > 0.5)[is_sn_N].sum()), int(is_sn_N.sum()))),
        "false_supernovae": dataclasses.asdict(wilson(int((sn_N > 0.5)[~is_sn_N].sum()), int((~is_sn_N).sum()))),
    }


def scored_in_mix(
    label_N: NDArray, p_NK: NDArray, classes: tuple[str, ...], mix_K: NDArray, seed: int = 0
) -> dict[str, Any]:
    """Scores if the classes came in other shares ``mix_K``: every object counts by its class, and is drawn as one.

    Recalls do not ask how common a class is, and stay what they are; what does is weighted, resamples too.
    """
    weight_N = in_mix(label_N, mix_K)
    once_1N = np.ones((1, len(label_N)))
    weight_RN = np.concatenate([once_1N, drawn_weights(label_N, np.random.default_rng(seed))]) * weight_N
    kinds = [classes.index(name) for name in SUPERNOVAE]
    drawn = weighted_scores(label_N, p_NK, weight_RN)
    drawn["supernova_auroc"] = weighted_auc(p_NK[:, kinds].sum(1), np.isin(label_N, kinds), weight_RN)
    found = {name: range_of(drawn_R[1:], float(drawn_R[0])) for name, drawn_R in drawn.items()}
    plain = scored(label_N, p_NK, classes)
    return {
        "objects": len(label_N),
        "mix": dict(zip(classes, (mix_K / mix_K.sum()).tolist(), strict=True)),
        **{name: plain[name] for name in ("recall", "recall_interval", "worst_recall")},
        **{name: interval.value for name, interval in found.items()},
        **{f"{name}_interval": dataclasses.asdict(interval) for name, interval in found.items()},
    }


def simulated_alone(name: str, folder: Path, mix_K: NDArray, seed: int = 0) -> dict[str, dict[str, Any]]:
    """The same weights on simulated test objects of which one alert, drawn at random, is all that came.

    Most real objects here have one alert, and what its packet tells of the month before: this is what that alone would
    cost. The second table weights the same objects to the class mix of the real ones (``mix_K``, shares). In the third
    the packets tell nothing.
    """
    network, card = weights.load(name)
    dataset = Dataset.open(folder)
    shelf = shelf_for(network, dataset, dataset.splits["test"], torch.device("cpu"))
    rng = np.random.default_rng(seed)
    logits: dict[float, list[torch.Tensor]] = {shelf.history_days: [], 0.0: []}
    for index in torch.arange(len(shelf)).split(64):
        frames, _ = shelf.batch(index)
        length_B = frames.curve.mask_BT.sum(1).numpy()
        chosen_B = torch.from_numpy(rng.integers(0, length_B))
        with torch.inference_mode():
            for days, answers_of_batches in logits.items():
                answers_of_batches.append(network(one_frame(frames, chosen_B, days)))
    p_NK, alone_NK = (card.probabilities(torch.cat(some).numpy()) for some in logits.values())
    label_N = shelf.label_N.numpy()
    return {
        "simulated_single_alerts": scored(label_N, p_NK, card.classes),
        "simulated_single_alerts_real_mix": scored_in_mix(label_N, p_NK, card.classes, mix_K),
        "simulated_single_stamps": scored(label_N, alone_NK, card.classes),
    }


def brightest(manifest: Path, folder: Path) -> dict[str, float]:
    """AB magnitudes: the brightest alert of the drawn object, and the brightest frame of any simulated supernova."""
    with manifest.open(newline="") as file:
        real = min(float(row["magpsf"]) for row in csv.DictReader(file) if row["objectId"] == DRAWN)
    dataset = Dataset.open(folder)
    kinds = [dataset.classes.index(name) for name in SUPERNOVAE]
    rows = np.flatnonzero(np.isin(dataset.labels, kinds))
    largest = max(float(np.nanmax(dataset.series(int(row)).flux_T)) for row in rows)
    return {DRAWN: real, "simulated": 31.4 - 2.5 * float(np.log10(largest)), "simulated_supernovae": len(rows)}


def draw(found: list[dict[str, Any]], classes: tuple[str, ...], path: Path) -> None:
    """The probability history of one object."""
    time_T = np.array([record["mjd"] for record in found])
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    draw_history(axes, time_T - time_T[0], np.stack([record["p"] for record in found]), classes)
    axes.axvline(PEAK_MJD - time_T[0], color="lightgray", linestyle="--")
    axes.set_xlabel(f"days since the first alert (MJD {time_T[0]:.1f}); dashed: near peak light")
    axes.set_title(f"{DRAWN} (SN 2021rhu, type Ia), {len(found)} alerts", fontsize=10)
    figure.savefig(path, dpi=100)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.real_ztf")
    parser.add_argument("--weights", default="ztf")
    parser.add_argument("--out", type=Path, default=REPO_ROOT / "benchmarks" / "results" / "real_ztf")
    parser.add_argument("--simulated", type=Path, help="data set whose test split is scored with single alerts")
    options = parser.parse_args(argv)
    data = shared_data()
    if data is None:
        print("no real alerts here: set ICTC_SHARED_DATA to their folder; nothing was measured")
        return 0
    card = load_card(options.weights)
    truth = labels_of(data / "alerts" / "manifest_ztf.csv")
    with tempfile.TemporaryDirectory() as folder:
        records = replay(data / "alerts" / "ztf", options.weights, Path(folder) / "out.jsonl")
    by_object = answers(records, card.classes)
    known = {name: found for name, found in by_object.items() if truth.get(name) in card.classes}
    label_N = np.array([card.classes.index(truth[name]) for name in known])
    table: dict[str, Any] = {
        "weights": {"name": card.name, "version": card.version},
        "setting": describe("torch", "numpy"),
        "alerts": len(records),
        "labelled_objects": {c: int((label_N == k).sum()) for k, c in enumerate(card.classes)},
        "alerts_per_object": float(np.mean([len(found) for found in known.values()])),
        "last_alert": scored(label_N, np.stack([found[-1]["p"] for found in known.values()]), card.classes),
        "first_alert": scored(label_N, np.stack([found[0]["p"] for found in known.values()]), card.classes),
    }
    several = np.array([len(found) > 1 for found in known.values()])
    if several.any():
        p_NK = np.stack([found[-1]["p"] for found in known.values()])[several]
        table["objects_with_several_alerts"] = scored(label_N[several], p_NK, card.classes)
    if card.unknown is not None:
        strangeness = {name: found[-1]["unknownScore"] for name, found in by_object.items()}
        strange = np.array([strangeness[name] for name in by_object if truth.get(name) == "TDE"])
        familiar = np.array([strangeness[name] for name in known])
        table["unknown"] = {"median_of_known": float(np.median(familiar))}
        if len(strange):
            table["unknown"]["tidal_disruptions"] = unknown_scores(familiar, strange)
    if options.simulated is not None:
        mix_K = np.bincount(label_N, minlength=len(card.classes)) / len(label_N)
        table["brightest_mag"] = brightest(data / "alerts" / "manifest_ztf.csv", options.simulated)
        table |= simulated_alone(options.weights, options.simulated, mix_K)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "scores.json").write_text(json.dumps(table, indent=1) + "\n", "utf-8")
    if DRAWN in by_object:
        draw(by_object[DRAWN], card.classes, options.out / "sn2021rhu.png")
    for what in ("last_alert", "first_alert", "objects_with_several_alerts", *SIMULATED):
        if what in table:
            line = table[what]
            print(
                f"{what:<28} {line['objects']:>4} objects  macro-F1 {line['macro_f1']:.3f} "
                f"[{line['macro_f1_interval']['low']:.3f}, {line['macro_f1_interval']['high']:.3f}]  "
                f"AUC {line['auc']:.3f}  supernova AUROC {line['supernova_auroc']:.3f}  recall "
                + "  ".join(f"{name} {value:.2f}" for name, value in line["recall"].items())
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
