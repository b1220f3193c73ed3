"""Distances of the classes in networks' features: ``python -m benchmarks.ict.embeddings WEIGHTS... --data FOLDER``.

Of each set of weights, on the test objects: scatter within and between the classes on the unit sphere, their ratio, the
silhouette, every class weighing the same, and the scatter within each class. ``--png`` draws t-SNE pictures of the
features side by side; where points lie in them says little about distances, the table does. ``--history NAME=FILE``,
given once or more, adds what a training's ``history.jsonl``, or the file of a comparison's run, says of its
validation objects after each epoch. ``--table`` keeps the table.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from benchmarks.parser import parser_of
from model.data.checked import open_checked
from model.data.dataset import Dataset
from model.serving import weights
from model.training.comparison.markdown import table_of
from model.training.data.loader import loader_for
from model.training.evaluation.evaluate import check_pixels
from model.training.evaluation.predict import predict_features
from model.training.evaluation.separation import separation

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
THROUGH_TRAINING = ("within", "between", "silhouette")


def features_of(path: str, dataset: Dataset, split: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Penultimate features [N, F] and labels [N]."""
    network, card = weights.load(path)
    check_pixels(card, dataset)
    loader = loader_for(network, dataset, dataset.splits[split], torch.device("cpu"), card.form)
    return predict_features(network, loader)[0], loader.label_N.numpy()


def history_of(path: Path) -> dict[str, list[float]]:
    """Scatter within and between the classes, and silhouette, of the validation objects after each epoch."""
    text = path.read_text("utf-8")
    epochs = json.loads(text)["history"] if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]
    return {name: [float(epoch[f"validation_{name}"]) for epoch in epochs] for name in THROUGH_TRAINING}


def picture(
    features: Mapping[str, tuple[NDArray, NDArray]],
    classes: tuple[str, ...],
    histories: Mapping[str, Mapping[str, list[float]]],
    png: Path,
) -> None:
    """The features of each network, brought into a plane; below, how trainings took the classes apart."""
    figure = Figure(figsize=(5 * len(features), 8.5 if histories else 5), layout="constrained")
    upper, *lower = figure.subfigures(2, 1, height_ratios=(5, 3)) if histories else [figure]
    _draw_planes(upper.subplots(1, len(features), squeeze=False)[0], features, classes)
    for of_training in lower:
        _draw_histories(of_training.subplots(1, len(THROUGH_TRAINING), squeeze=False)[0], histories)
    figure.savefig(png, dpi=110)


def _draw_histories(row: NDArray, histories: Mapping[str, Mapping[str, list[float]]]) -> None:
    for axes, measure in zip(row, THROUGH_TRAINING, strict=True):
        for history, colour in zip(histories.values(), COLOURS, strict=False):
            axes.plot(range(1, len(history[measure]) + 1), history[measure], "o-", color=colour, markersize=3)
        axes.set(title=f"{measure}, validation objects", xlabel="epoch")
    row[0].legend(list(histories), fontsize="small")


def _draw_planes(row: NDArray, features: Mapping[str, tuple[NDArray, NDArray]], classes: tuple[str, ...]) -> None:
    for axes, (name, (feature_NF, label_N)) in zip(row, features.items(), strict=True):
        unit_NF = feature_NF / np.maximum(np.linalg.norm(feature_NF, axis=1, keepdims=True), 1e-12)
        perplexity = min(30.0, (len(unit_NF) - 1) / 3)
        plane_N2 = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(unit_NF)
        for k, of_class in enumerate(classes):
            at = label_N == k
            axes.scatter(*plane_N2[at].T, s=6, color=COLOURS[k % len(COLOURS)], label=f"{of_class} ({at.sum()})")
        axes.set(title=name, xticks=[], yticks=[])
    row[0].legend(markerscale=2, fontsize="small")


def named(text: str) -> tuple[str, str]:
    """``NAME=PATH`` as name and path; of a path alone its last part is the name."""
    name, separator, path = text.partition("=")
    return (name, path) if separator else (Path(text).name, text)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("weights", nargs="+", type=named, help="[NAME=]PATH of weights, or names of shipped ones")
    parser.add_argument("--data", type=Path, required=True, help="folder of a data set")
    parser.add_argument("--split", default="test")
    parser.add_argument("--png", type=Path)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--history", action="append", default=[], type=named, metavar="NAME=FILE")
    options = parser.parse_args()
    mpl.use("agg")
    dataset = open_checked(options.data)
    features = {name: features_of(path, dataset, options.split) for name, path in options.weights}
    head = ["weights", "within", "between", "between / within", "silhouette"]
    rows = [head + [f"within {name}" for name in dataset.classes]]
    for name, (feature_NF, label_N) in features.items():
        apart = separation(feature_NF, label_N, len(dataset.classes))
        numbers = (apart.within, apart.between, apart.ratio, apart.silhouette, *apart.within_by_class)
        rows.append([name, *[f"{number:.3f}" for number in numbers]])
    print(table_of(rows), end="")
    if options.table is not None:
        options.table.write_text(table_of(rows), "utf-8")
    if options.png is not None:
        histories = {name: history_of(Path(path)) for name, path in options.history}
        picture(features, dataset.classes, histories, options.png)


if __name__ == "__main__":
    main()
