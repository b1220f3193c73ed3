"""What pre-training without labels is worth: ``python -m benchmarks.ict.labels_curve --work FOLDER``.

ConvEntion at the width of ``convention-mini`` is pre-trained on series without labels: by BYOL's loss and by DINO's,
two views of the same frames, and by BYOL's with frames of its own for each view. It is tuned on 1, 5, 20 and 100 % of
the labels of the objects with spectroscopic ones, beside such a tuning from scratch, by the recipes of
``benchmarks/recipes/labels``: each step on 24 of an object's 65 frames. Fewer objects are taken as much more often in
an epoch: a tuning has about as many steps on one label in a hundred as on all. Each run is a file in
``benchmarks/results/labels``; what is there is not done again. ``table.md`` has the curve.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from statistics import mean

import numpy as np
import torch

from benchmarks.experiment import COMPILED
from benchmarks.ict.imbalance import BENCHMARKS, make_mix
from benchmarks.parser import parser_of
from model.data.checked import open_checked
from model.data.dataset import Dataset
from model.files import replacing
from model.serving import weights
from model.training.comparison.markdown import table_of
from model.training.data.loader import loader_for
from model.training.evaluation.predict import predict_features
from model.training.evaluation.scoring import macro_f1
from model.training.evaluation.separation import separation
from model.training.learning.recipe import load_recipe
from model.training.train import main as train

RECIPES = BENCHMARKS / "recipes" / "labels"
PRETRAININGS = ("byol", "dino", "byol-own-frames")
STARTS = {"scratch": None, **{name: RECIPES / f"{name}.json" for name in PRETRAININGS}}
SHARES = (0.01, 0.05, 0.2, 1.0)
TUNE = RECIPES / "tune.json"


def tuning(share: float, work: Path) -> Path:
    """The recipe for a share of the labels, written into ``work``: it takes fewer objects as much more often."""
    recipe = load_recipe(TUNE)
    stages = tuple(replace(stage, passes=round(1 / share)) for stage in recipe.stages)
    path = work / f"tune-{100 * share:g}.json"
    path.write_text(json.dumps(replace(recipe, stages=stages).as_json()), "utf-8")
    return path


def trained(recipe: Path, data: Path, out: Path, seed: int, *more: str) -> Path:
    """Where the weights of a training lie, which is carried out, or gone on with, where it is not done."""
    if not (out / "weights.json").exists():
        command = [str(recipe), "--data", str(data), "--out", str(out), "--seed", str(seed), "--quiet", "--resume"]
        if train([*command, COMPILED, *more]):
            raise SystemExit(f"the training in {out} did not end")
    return out / "weights"


def scored(path: Path, dataset: Dataset) -> dict[str, float]:
    """Macro-F1 on the test objects, and how far their classes lie apart."""
    network, card = weights.load(path)
    test = loader_for(network, dataset, dataset.splits["test"], torch.device("cpu"), card.form)
    label_N = test.label_N.numpy()
    feature_NF, logits_NK = predict_features(network, test)
    chosen_N = np.argmax(logits_NK + np.array(card.logit_offset or 0.0), 1)
    apart = separation(feature_NF, label_N, len(card.classes))
    return {
        "macro_f1": macro_f1(label_N, chosen_N, len(card.classes)),
        "within": apart.within,
        "between": apart.between,
        "silhouette": apart.silhouette,
    }


def curve_of(folder: Path) -> str:
    """The curve: macro-F1 by start and share of the labels, mean over seeds."""
    f1_of: dict[tuple[str, float], list[float]] = {}
    for path in sorted(folder.glob("*.json")):
        run = json.loads(path.read_bytes())
        f1_of.setdefault((run["start"], run["share"]), []).append(run["macro_f1"])
    head = ["start", *[f"{share:.0%} of the labels" for share in SHARES]]
    rows = [head]
    for start in STARTS:
        reached = [f1_of.get((start, share)) for share in SHARES]
        rows.append([start, *["–" if not f1 else f"{mean(f1):.3f} ({len(f1)})" for f1 in reached]])
    return table_of(rows)


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for data and trainings")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--results", type=Path, default=BENCHMARKS / "results" / "labels")
    options = parser.parse_args()
    data = options.work / "mix"
    make_mix(data)
    dataset = open_checked(data)
    options.results.mkdir(parents=True, exist_ok=True)
    for seed in map(int, options.seeds.split(",")):
        for start, recipe in STARTS.items():
            begin: tuple[str, ...] = ()
            for share in SHARES:
                result = options.results / f"{start}-{share:g}-seed{seed}.json"
                if result.exists():
                    continue
                if recipe is not None:
                    begin = ("--start-from", str(trained(recipe, data, options.work / f"{start}-seed{seed}", seed)))
                out = options.work / f"{start}-{share:g}-seed{seed}"
                tuned = trained(tuning(share, options.work), data, out, seed, "--labels", str(share), *begin)
                run_scores = {"start": start, "share": share, "seed": seed, **scored(tuned, dataset)}
                with replacing(result) as partial:
                    partial.write_text(json.dumps(run_scores, indent=1) + "\n", "utf-8")
                (options.results / "table.md").write_text(curve_of(options.results), "utf-8")
    print(curve_of(options.results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
