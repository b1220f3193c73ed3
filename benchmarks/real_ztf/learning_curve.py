"""What more simulated objects bring: weights of trainings on ever more of them, on single alerts of the same others.

``python -m benchmarks.real_ztf.learning_curve --data DIR WEIGHTS ...``, weights in order of what they were trained on
(the card's ``trained_on``). All are scored on the split ``test`` of ``DIR``, five alerts of each object. Each step has
its difference from the one before on the same alerts, with an interval over the objects; training anew with another
seed is not in it. Writes ``curve.json`` and ``curve.png``.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.parser import parser_of
from benchmarks.real_ztf import simulated
from benchmarks.setting import REPO_ROOT, describe
from model.serving.card import load_card
from model.training.comparison.markdown import value_and_range

NAMES = {
    "macro_f1": "macro-F1, four classes",
    "ia_among_supernovae": "Ia among supernovae, AUC",
    "supernova_recall_at_1_percent": "supernovae found at 1 % false",
    "against_agn_alone": "the same against AGN alone",
}
OUT = REPO_ROOT / "benchmarks" / "results" / "real_ztf"


def measure(names: Sequence[str], folder: Path) -> dict[str, Any]:
    """Scores of each set of weights, and what it is ahead of the one before."""
    steps: list[dict[str, Any]] = []
    before = None
    for name in names:
        card, singles = load_card(name), simulated.singles(name, folder)
        made = card.provenance
        step = {
            "version": card.version,
            "trained_on": made["trained_on"],
            "epochs": made["epochs"],
            "scores": simulated.with_intervals(singles),
        }
        if before is not None:
            step["less_the_one_before"] = simulated.with_intervals(singles, before)
        steps.append(step)
        before = singles
        print(f"{step['version']}: trained on {step['trained_on']} objects, {step['epochs']} epochs")
        tell(step["scores"], step.get("less_the_one_before"), "gained")
    return {
        "alerts": len(singles.label_N),
        "objects": singles.once,
        "setting": describe("torch", "numpy"),
        "steps": steps,
    }


def tell(scores: Mapping[str, Any], ahead: Mapping[str, Any] | None, of_what: str) -> None:
    """A line a score, with what it is ahead of that of other weights."""
    for score, scored in scores.items():
        more = "" if ahead is None else f"   {of_what} {value_and_range(ahead[score])}"
        print(f"  {NAMES[score]:<32} {value_and_range(scored)}{more}", flush=True)


def whiskers(scored: Sequence[Mapping[str, float]]) -> list[list[float]]:
    """How far intervals reach below and above their values, as ``errorbar`` takes them."""
    return [[one["value"] - one["low"] for one in scored], [one["high"] - one["value"] for one in scored]]


def dress(axes: Axes, title: str) -> None:
    """A panel's title, small numbers and no frame."""
    axes.set_title(title, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def draw(steps: Sequence[Mapping[str, Any]], path: Path) -> None:
    """One panel a score."""
    figure = Figure(figsize=(12, 3), layout="constrained")
    for axes, (score, title) in zip(figure.subplots(1, len(NAMES)), NAMES.items(), strict=True):
        size = [step["trained_on"] for step in steps]
        scored = [step["scores"][score] for step in steps]
        value = [one["value"] for one in scored]
        axes.errorbar(size, value, whiskers(scored), marker="o", capsize=3, color="#1a936f")
        axes.set_xscale("log")
        axes.set_xticks(size, [f"{of:,}" for of in size], rotation=30)
        axes.minorticks_off()
        axes.set_xlabel("objects trained on", fontsize=8)
        dress(axes, title)
    figure.savefig(path, dpi=110)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = parser_of(__doc__)
    parser.add_argument("weights", nargs="+", help="paths of weights, or a shipped survey")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR")
    options = parser.parse_args(argv)
    table = measure(options.weights, options.data)
    (options.out / "curve.json").write_text(json.dumps(table, indent=1) + "\n", "utf-8")
    draw(table["steps"], options.out / "curve.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
