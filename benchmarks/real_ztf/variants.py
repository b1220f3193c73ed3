"""Weights of other trainings, or averages of several, against the first on single simulated alerts.

``python -m benchmarks.real_ztf.variants --data DIR --out FILE FIRST OTHER ... [--average]``. All answer the same
single alerts of the split ``test`` of ``DIR``, five of each object; with ``--average`` also the first with each of the
others, and all together, by the mean of their logarithms of probabilities. Each has its difference from the first on
the same alerts, with an interval over the objects; training anew with another seed is not in it.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.parser import parser_of
from benchmarks.real_ztf import simulated
from benchmarks.real_ztf.learning_curve import tell
from benchmarks.setting import describe
from model.serving.card import load_card

LEAST = 1e-9  # below it a probability's logarithm says no more


def averaged(answers: Sequence[simulated.Singles]) -> simulated.Singles:
    """The first of some answers to the same alerts, with the mean of all: a product of probabilities' roots."""
    p_NK = np.exp(np.mean([np.log(np.maximum(each.p_NK, LEAST)) for each in answers], axis=0))
    return replace(answers[0], p_NK=p_NK / p_NK.sum(1, keepdims=True))


def measure(names: Sequence[str], folder: Path, average: bool) -> dict[str, Any]:
    """Scores of each set of weights, or of averages too, with what each is ahead of the first."""
    answers = [simulated.singles(name, folder) for name in names]
    cards = [load_card(name) for name in names]
    together = [[i] for i in range(len(names))]
    if average:
        together += [[0, i] for i in range(1, len(names))] + ([list(range(len(names)))] if len(names) > 2 else [])
    rows: list[dict[str, Any]] = []
    for chosen in together:
        singles = averaged([answers[i] for i in chosen])
        row = {
            "networks": [cards[i].version for i in chosen],
            "recipes": [cards[i].provenance["recipe"]["name"] for i in chosen],
            "trained_on": [cards[i].provenance["trained_on"] for i in chosen],
            "scores": simulated.with_intervals(singles),
            "less_the_first": simulated.with_intervals(singles, answers[0]),
        }
        rows.append(row)
        print(" + ".join(row["networks"]))
        tell(row["scores"], row["less_the_first"], "less the first")
    first = answers[0]
    return {"alerts": len(first.label_N), "objects": first.once, "setting": describe("torch", "numpy"), "rows": rows}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = parser_of(__doc__)
    parser.add_argument("weights", nargs="+", help="paths of weights, or a shipped survey")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--average", action="store_true")
    options = parser.parse_args(argv)
    table = measure(options.weights, options.data, options.average)
    options.out.write_text(json.dumps(table, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
