"""Shipped weights on real ZTF alerts: scores against labels, and SN 2021rhu drawn.

``python -m benchmarks.real_ztf [--weights ztf] [--against OTHER] [--out DIR] [--simulated DIR]``. Needs the folder of
real data. Labels of confidence ``spec`` and ``catalog`` only; none of them ever trained, tuned or chose anything:
weights are chosen by ``--gate``, which reads the simulation alone. Half of the objects, by the hash of their names, may
be opened and looked at; their errors are listed with their files. The other half is scored and never opened. Every set
of weights that was ever scored is in ``scored_weights.json``.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.parser import parser_of
from benchmarks.real_ztf import peers, simulated
from benchmarks.real_ztf.alerts import PLANE_DEG, Facts, labels_of, may_be_opened, repaired_copy
from benchmarks.real_ztf.rises import ia_without_rise
from benchmarks.real_ztf.scores import (
    at_threshold,
    binary,
    honest_error,
    ia_share_of,
    paired,
    scored,
    supernova_of,
)
from benchmarks.setting import REPO_ROOT, describe, shared_data
from model.data.dataset import Dataset
from model.serving.card import PredictionSets, load_card
from model.taxonomy import SUPERNOVAE
from model.training.evaluation.calibrate import unknown_scores
from model.training.evaluation.evaluation_report import draw_history

DRAWN = "ZTF21abiuvdk"  # SN 2021rhu, type Ia, 34 alerts
PEAK_MJD = 59_410.0  # of SN 2021rhu in r, within a few days; only a line in the picture
EVERY_SET = "scored_weights.json"
Answer = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """One alert of each labelled object, and what the weights say of it."""

    label_N: NDArray[np.int64]
    p_NK: NDArray[np.float64]
    facts: tuple[Facts, ...]
    classes: tuple[str, ...]

    @property
    def supernovae(self) -> NDArray[np.bool_]:
        """Which are supernovae."""
        return np.isin(self.label_N, [self.classes.index(name) for name in SUPERNOVAE])

    @property
    def type_ia(self) -> NDArray[np.bool_]:
        """Which are of type Ia."""
        return self.label_N == self.classes.index("SNIa")

    def of(self, keep_N: NDArray[np.bool_]) -> "Seen":
        """Some of the objects."""
        facts = tuple(one for one, is_kept in zip(self.facts, keep_N, strict=True) if is_kept)
        return Seen(self.label_N[keep_N], self.p_NK[keep_N], facts, self.classes)


def replay(folder: Path, name: str, out: Path) -> list[dict[str, Any]]:
    """Every classification that ``ictc-replay`` gives for the alerts of a folder."""
    command = [sys.executable, "-m", "broker_filter.archive.replay", str(folder), "--weights", name]
    subprocess.run([*command, "--output", str(out), "--summary", str(out) + ".summary"], check=True)
    return [json.loads(line) for line in out.read_text("utf-8").splitlines()]


def answers(records: list[dict[str, Any]], classes: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Alerts that the network answered, by object, in time order: an array of probabilities, given each is real."""
    by_object = defaultdict(list)
    for record in records:
        if record["nObservations"]:
            p = np.array([record["probabilities"][name] for name in classes])
            if (real := p.sum()) > 0:  # less than 1 of an alert that its survey doubts, 0 of one it is sure is bogus
                by_object[record["objectId"]].append({**record, "p": p / real})
    return {name: sorted(answers_of, key=lambda r: (r["mjd"], r["alertId"])) for name, answers_of in by_object.items()}


def seen_of(
    known: Mapping[str, Answer], truth: Mapping[str, str], facts: Mapping[int, Facts], classes: tuple[str, ...]
) -> Seen:
    """The objects of which one answer each is given."""
    return Seen(
        np.array([classes.index(truth[name]) for name in known]),
        np.stack([answer["p"] for answer in known.values()]),
        tuple(facts[answer["alertId"]] for answer in known.values()),
        classes,
    )


def strata(seen: Seen) -> dict[str, NDArray[np.bool_]]:
    """Which objects count, by name: those not in flight are left out of supernovae, what else is cut of all alike."""
    facts, is_sn_N = seen.facts, seen.supernovae
    in_flight_N = np.array([one.in_flight for one in facts]) | ~is_sn_N
    strata_N = {"all": np.ones(len(facts), bool), "in flight": in_flight_N}
    strata_N["in flight, without repacked packets"] = in_flight_N & np.array([not one.repacked for one in facts])
    strata_N["positive differences only"] = in_flight_N & np.array([one.positive for one in facts])
    for name in ("1 detection", "2-3 detections", "4-8 detections", "> 8 detections"):
        strata_N[f"in flight, {name}"] = in_flight_N & np.array([one.by_detections == name for one in facts])
    latitude_N = np.abs([one.latitude_deg for one in facts])
    strata_N[f"in flight, |b| < {PLANE_DEG:.0f}"] = in_flight_N & (latitude_N < PLANE_DEG)
    strata_N[f"in flight, |b| > {PLANE_DEG:.0f}"] = in_flight_N & (latitude_N > PLANE_DEG)
    return strata_N


def of_strata(seen: Seen) -> dict[str, dict[str, Any]]:
    """Class mix, supernova or not, and type Ia among supernovae, stratum by stratum."""
    scores = {}
    for name, keep_N in strata(seen).items():
        some = seen.of(keep_N)
        is_sn_N = some.supernovae
        scores[name] = {
            "classes": {c: int((some.label_N == k).sum()) for k, c in enumerate(some.classes)},
            "supernova": binary(supernova_of(some.p_NK, some.classes), is_sn_N),
            "ia_among_supernovae": binary(
                ia_share_of(some.p_NK, some.classes)[is_sn_N], some.type_ia[is_sn_N], ("auc",)
            ),
        }
    return scores


def of_peers(seen: Seen, folder: Path) -> dict[str, Any]:
    """Other brokers' networks on the same last alerts; where ACAI's features are complete, too."""
    rows = peers.read_peers(folder)
    if not rows:
        return {}
    keep = {"all": np.ones(len(seen.facts), bool), "in flight": strata(seen)["in flight"]}
    keep["in flight, ACAI complete"] = keep["in flight"] & np.array(
        [peers.complete(rows[f.alert_id]) for f in seen.facts]
    )
    scores: dict[str, Any] = {}
    for name, keep_N in keep.items():
        some = seen.of(keep_N)
        theirs, is_sn_N = [rows[one.alert_id] for one in some.facts], some.supernovae
        ours_N, share_N = supernova_of(some.p_NK, some.classes), ia_share_of(some.p_NK, some.classes)
        of_sn = [row for row, is_sn in zip(theirs, is_sn_N, strict=True) if is_sn]
        scores[name] = {
            "supernova": peers.beside(ours_N, is_sn_N, theirs, peers.SUPERNOVA_SCORES, ("auc", "p10")),
            "ia_among_supernovae": peers.beside(
                share_N[is_sn_N], some.type_ia[is_sn_N], of_sn, peers.IA_SCORES, ("auc",)
            ),
        }
    return scores


def of_other_weights(seen: Seen, other: Seen) -> dict[str, Any]:
    """These weights less others on the same last alerts."""
    scores = {}
    for name in ("all", "in flight"):
        keep_N = strata(seen)[name]
        ours, theirs = seen.of(keep_N), other.of(keep_N)
        is_sn_N, is_ia_N = ours.supernovae, ours.type_ia
        supernova, of_other = (supernova_of(one.p_NK, one.classes) for one in (ours, theirs))
        ia_share, ia_of_other = (ia_share_of(one.p_NK, one.classes)[is_sn_N] for one in (ours, theirs))
        scores[name] = {
            "supernova": {score: paired(supernova, of_other, is_sn_N, score) for score in ("auc", "p10")},
            "ia_among_supernovae": {"auc": paired(ia_share, ia_of_other, is_ia_N[is_sn_N], "auc")},
        }
    return scores


def errors(seen: Seen) -> list[dict[str, Any]]:
    """Objects of the half that may be opened whose class is wrong, the surest first."""
    wrong = []
    for label, p_K, one in zip(seen.label_N, seen.p_NK, seen.facts, strict=True):
        if p_K.argmax() != label and may_be_opened(one.object_id):
            p = dict(zip(seen.classes, np.round(p_K, 3).tolist(), strict=True))
            answer, file = seen.classes[int(p_K.argmax())], one.path
            wrong.append({"object": one.object_id, "is": seen.classes[label], "said": answer, "file": file, "p": p})
    return sorted(wrong, key=lambda row: -max(row["p"].values()))


def brightest(manifest_mag: float, folder: Path) -> dict[str, float]:
    """AB magnitudes: the brightest alert of the drawn object, and the brightest frame of any simulated supernova."""
    dataset = Dataset.open(folder)
    kinds = [dataset.classes.index(name) for name in SUPERNOVAE]
    rows = np.flatnonzero(np.isin(dataset.labels, kinds))
    largest = max(float(np.nanmax(dataset.series(int(row)).flux_T)) for row in rows)
    return {DRAWN: manifest_mag, "simulated": 31.4 - 2.5 * float(np.log10(largest)), "simulated_supernovae": len(rows)}


def draw(records: list[dict[str, Any]], classes: tuple[str, ...], path: Path) -> None:
    """The probability history of one object."""
    time_T = np.array([record["mjd"] for record in records])
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    draw_history(axes, time_T - time_T[0], np.stack([record["p"] for record in records]), classes)
    axes.axvline(PEAK_MJD - time_T[0], color="lightgray", linestyle="--")
    axes.set_xlabel(f"days since the first alert (MJD {time_T[0]:.1f}); dashed: near peak light")
    axes.set_title(f"{DRAWN} (SN 2021rhu, type Ia), {len(records)} alerts", fontsize=10)
    figure.savefig(path, dpi=100)


def remember(path: Path, table: Mapping[str, Any]) -> None:
    """Enter these weights among all that were ever scored."""
    every = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    flight, all_of_them = table["strata_last_alert"]["in flight"], table["last_alert"]
    every[table["weights"]["version"]] = {
        "macro_f1": round(all_of_them["macro_f1"], 3),
        "balanced_accuracy": round(all_of_them["balanced_accuracy"], 3),
        "supernova_auc": round(all_of_them["supernova_auroc"], 3),
        "p10_in_flight": round(flight["supernova"]["p10"]["value"], 3),
        "ia_auc_in_flight": round(flight["ia_among_supernovae"]["auc"]["value"], 3),
    }
    path.write_text(json.dumps(every, indent=1) + "\n", "utf-8")


def measure(options: argparse.Namespace, data: Path) -> dict[str, Any]:
    """Everything that stands in ``scores.json``; the picture is drawn on the way."""
    card = load_card(options.weights)
    truth = labels_of(data / "alerts" / "manifest_ztf.csv")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "alerts"
        folder.mkdir()
        facts = repaired_copy(data / "alerts" / "ztf", folder)
        records = replay(folder, options.weights, Path(scratch) / "out.jsonl")
        others = replay(folder, options.against, Path(scratch) / "other.jsonl") if options.against else None
        as_given = replay(data / "alerts" / "ztf", options.weights, Path(scratch) / "given.jsonl")
    by_object = answers(records, card.classes)
    known = {name: answers_of for name, answers_of in by_object.items() if truth.get(name) in card.classes}
    last, first = (
        seen_of({name: answers_of[i] for name, answers_of in known.items()}, truth, facts, card.classes)
        for i in (-1, 0)
    )
    given = answers(as_given, card.classes)
    table: dict[str, Any] = {
        "weights": {"name": card.name, "version": card.version},
        "setting": describe("torch", "numpy"),
        "alerts": len(records),
        "clocks_repaired": sum(one.repacked for one in facts.values()),
        "labelled_objects": {c: int((last.label_N == k).sum()) for k, c in enumerate(card.classes)},
        "alerts_per_object": float(np.mean([len(answers_of) for answers_of in known.values()])),
        "last_alert": scored(last.label_N, last.p_NK, card.classes),
        "first_alert": scored(first.label_N, first.p_NK, card.classes),
        "last_alert_clocks_as_given": scored(
            last.label_N, np.stack([given[name][-1]["p"] for name in known]), card.classes
        ),
        "honest_calibration_error": honest_error(last.p_NK),
        "strata_last_alert": of_strata(last),
        "strata_first_alert": of_strata(first),
        "ia_without_rise": ia_without_rise(
            last.label_N, last.p_NK, np.array([one.rises for one in last.facts]), card.classes
        ),
        "peers": of_peers(last, data / "peers"),
        "errors_that_may_be_opened": errors(last),
    }
    if card.sets is not None:
        age_N = np.array([answers_of[-1]["daysSinceFirst"] for answers_of in known.values()])
        table["prediction_sets"] = of_sets(card.sets, last, age_N)
    if others is not None:
        by_others = answers(others, card.classes)
        other = seen_of({name: by_others[name][-1] for name in known}, truth, facts, card.classes)
        table["against"] = {"weights": load_card(options.against).version, **of_other_weights(last, other)}
    several_N = np.array([len(answers_of) > 1 for answers_of in known.values()])
    if several_N.any():
        table["objects_with_several_alerts"] = scored(last.label_N[several_N], last.p_NK[several_N], card.classes)
    if card.unknown is not None:
        strange = {name: some for name, some in by_object.items() if truth.get(name) == "TDE"}
        table["unknown"] = of_unknown(known, strange)
    if options.simulated is not None:
        table |= of_simulation(options, last)
        mags = [record["magnitude"] for record in by_object[DRAWN] if (record["flux"] or 0) > 0]
        table["brightest_mag"] = brightest(min(mags, default=float("nan")), options.simulated)
    options.out.mkdir(parents=True, exist_ok=True)
    if DRAWN in by_object:
        draw(by_object[DRAWN], card.classes, options.out / "sn2021rhu.png")
    return table


def of_unknown(known: Mapping[str, Sequence[Answer]], strange: Mapping[str, Sequence[Answer]]) -> dict[str, Any]:
    """Unknown scores of the last alerts of known classes, and how well they part strangers (tidal disruptions)."""
    familiar, of_strangers = (
        np.array([answers_of[-1]["unknownScore"] for answers_of in some.values()]) for some in (known, strange)
    )
    table: dict[str, Any] = {"median_of_known": float(np.median(familiar))}
    if len(of_strangers):
        table["tidal_disruptions"] = asdict(unknown_scores(familiar, of_strangers))
    return table


def of_sets(sets: PredictionSets, last: Seen, age_N: NDArray) -> dict[str, float]:
    """Share of last alerts whose prediction set holds the true class, beside what was promised."""
    kept_NK, right_N = sets.of(last.p_NK, age_N), np.arange(len(last.label_N))
    covered_N = kept_NK[right_N, last.label_N]
    return {
        "promised": sets.coverage,
        "covered": float(covered_N.mean()),
        "of_supernovae": float(covered_N[last.supernovae].mean()),
        "mean_size": float(kept_NK.sum(1).mean()),
    }


def of_simulation(options: argparse.Namespace, last: Seen) -> dict[str, Any]:
    """Simulated single alerts in the mix of the real ones, and what their threshold does to real ones."""
    of_sky = simulated.singles(options.weights, options.simulated)
    mix_K = np.bincount(last.label_N, minlength=len(of_sky.classes)) / len(last.label_N)
    tables = simulated.tables(of_sky, mix_K) | {"simulated_gate": simulated.gate(of_sky)}
    bar = simulated.threshold(of_sky, mix_K)
    groups = {"all": last, "in flight": last.of(strata(last)["in flight"])}
    recall = {
        name: at_threshold(supernova_of(some.p_NK, of_sky.classes), some.supernovae, bar)
        for name, some in groups.items()
    }
    return tables | {"threshold_of_simulation": recall}


def tell(table: Mapping[str, Any]) -> None:
    """The numbers that people ask for first."""
    for what in ("last_alert", "first_alert", "last_alert_clocks_as_given", "objects_with_several_alerts"):
        if what in table:
            line = table[what]
            print(
                f"{what:<28} {line['objects']:>4} objects  macro-F1 {line['macro_f1']:.3f} "
                f"[{line['macro_f1_interval']['low']:.3f}, {line['macro_f1_interval']['high']:.3f}]  "
                f"balanced accuracy {line['balanced_accuracy']:.3f}  ECE {line['ece']:.3f}  recall "
                + "  ".join(f"{name} {value:.2f}" for name, value in line["recall"].items())
            )
    print(f"{'':<40}{'SN':>5} {'rest':>5}  AUC                 p10                 Ia among SN")
    for when in ("strata_last_alert", "strata_first_alert"):
        for name, scores in table[when].items():
            sn, ia = scores["supernova"], scores["ia_among_supernovae"]
            numbers = [with_range(sn.get("auc")), with_range(sn.get("p10")), with_range(ia.get("auc"))]
            print(
                f"{when.split('_')[1] + ', ' + name:<40}{sn['positive']:>5} {sn['negative']:>5}  " + "  ".join(numbers)
            )
    for stratum, scores in table["peers"].items():
        for what, of_peer in scores.items():
            for peer, line in of_peer.items():
                name = "p10" if "p10" in line else "auc"
                less = line["ours_less_theirs"][name]
                value = f"{name} {with_range(line.get(name))}, ours less theirs {with_range(less)}"
                print(f"{stratum}: {what} by {peer}: {value}")
    for name, line in table.get("threshold_of_simulation", {}).items():
        print(
            f"{name}: above {line['threshold']:.3f}: recall {with_range(line['recall'])}, {line['false_objects']} false"
        )


def with_range(interval: Mapping[str, float] | None) -> str:
    if interval is None:
        return f"{'-':<18}"
    return f"{interval['value']:.3f} [{interval['low']:.2f}, {interval['high']:.2f}]"


def main(argv: Sequence[str] | None = None) -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--weights", default="ztf")
    parser.add_argument("--against", help="other weights, for paired differences")
    parser.add_argument("--out", type=Path, default=REPO_ROOT / "benchmarks" / "results" / "real_ztf")
    parser.add_argument("--simulated", type=Path, help="data set whose test split is scored with single alerts")
    parser.add_argument("--gate", type=Path, metavar="DIR", help="score single alerts of this data set, and stop there")
    options = parser.parse_args(argv)
    if options.gate is not None:
        answers_of = partial(simulated.singles, folder=options.gate)
        reached = simulated.gate(ours := answers_of(options.weights))
        if options.against is not None:
            reached["less_the_others"] = simulated.with_intervals(ours, answers_of(options.against))
        print(json.dumps(reached, indent=1))
        return 0
    data = shared_data()
    if data is None:
        print("no real alerts here: set ICTC_SHARED_DATA to their folder; nothing was measured")
        return 0
    table = measure(options, data)
    (options.out / "scores.json").write_text(json.dumps(table, indent=1) + "\n", "utf-8")
    remember(options.out / EVERY_SET, table)
    tell(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
