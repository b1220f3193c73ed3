"""Models that are trained on what must tell nothing: dates, positions, wrong labels.

Boosted trees throughout: they find whatever is there. A network that never saw a date or a position cannot be asked.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from benchmarks.controls.cases import Case
from benchmarks.controls.scores import ALL, ControlAnswers
from model.data.dataset import Dataset
from model.training.comparison.baselines import baseline_probabilities, metadata_features, spread

SEED = 0
COLUMNS = {"date only": ("first_mjd",), "position only": ("ra_deg", "dec_deg")}


def answers(dataset: Dataset, cases: Sequence[Case]) -> Iterator[ControlAnswers]:
    """Trees that were trained on the training rows of a label mode, asked about test objects of that mode."""
    truth, train = dataset.truth(), dataset.splits["train"]
    mode_N = np.array(truth["label_mode"].to_pylist())
    of_rows = [metadata_features(dataset.series(int(row))) for row in train]
    for mode in sorted({case.mode for case in cases}):
        tested = [case for case in cases if case.mode == mode]
        label_N = np.array([case.label for case in tested])
        here_N = mode_N[train] == mode
        rows = train[here_N]
        if len(np.unique(dataset.labels[rows])) < len(dataset.classes):
            continue
        for control, names in COLUMNS.items():
            train_NX = np.stack([column(truth[name])[rows] for name in names], 1)
            test_NX = np.array([[case.truth[name] for name in names] for case in tested], float)
            yield ControlAnswers(
                control, mode, label_N, probabilities(train_NX, dataset.labels[rows], test_NX, len(dataset.classes))
            )
        train_NX = np.array(of_rows)[here_N]
        test_NX = np.array([metadata_features(case.series) for case in tested])
        probability_NK = probabilities(train_NX, dataset.labels[rows], test_NX, len(dataset.classes))
        yield ControlAnswers("number and times only", mode, label_N, probability_NK)


def probabilities(train_NX: NDArray, label_N: NDArray, test_NX: NDArray, classes: int) -> NDArray[np.float64]:
    trees = HistGradientBoostingClassifier(max_iter=100, class_weight="balanced", random_state=SEED)
    varied_X = np.array([len(np.unique(values)) > 1 for values in train_NX.T])
    trees.fit(train_NX[:, varied_X], label_N)
    return spread(trees.predict_proba(test_NX[:, varied_X]), trees.classes_, classes)


def column(values: pa.ChunkedArray) -> NDArray[np.float64]:
    return np.array(values.to_pylist(), float)


def permuted_labels(dataset: Dataset) -> ControlAnswers:
    """Trees on forced photometry that were trained on shuffled labels, asked about the test split."""
    train, test = dataset.splits["train"], dataset.splits["test"]
    wrong = Dataset.open(dataset.folder)
    wrong.labels[train] = np.random.default_rng(SEED).permutation(wrong.labels[train])
    probability_NK = baseline_probabilities("photometry-trees", wrong, train, test, SEED)
    return ControlAnswers("label permutation", ALL, dataset.labels[test], probability_NK)
