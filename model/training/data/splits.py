"""Row numbers to pretrain, train, validate and test on, by data set and fold; no row is in two of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from model.data.dataset import Dataset

LABELLED = ("train", "validation")  # parts that a network which tells classes is trained and calibrated on
VALIDATION_FRACTION = 0.15  # of the training rows, where the data set has no validation split of its own


class SplitsError(Exception):
    """The data set cannot be divided as asked: the message says which splits or folds it has."""


@dataclass(frozen=True, slots=True)
class Splits:
    """Row numbers of a data set, disjoint."""

    pretrain: NDArray[np.int64]  # photometric labels; may be empty
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]

    @property
    def all(self) -> NDArray[np.int64]:
        """Every object to learn from, whatever its label is made of."""
        return np.sort(np.concatenate([self.pretrain, self.train]))


def with_fewer_labels(splits: Splits, label_N: NDArray[np.int64], share: float, seed: int = 0) -> Splits:
    """Splits with a share of the training objects: of each class as large a part, at least one.

    Smaller shares are parts of larger ones; validation and test stay whole.

    Raises
    ------
    SplitsError
        When the share is not more than 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise SplitsError(f"the share of labels is {share:g}: it must be more than 0 and at most 1")
    rng = np.random.default_rng(seed)
    order = rng.permutation(splits.train)
    chosen = []
    for label in np.unique(label_N[splits.train]):
        members = order[label_N[order] == label]
        chosen.append(members[: max(1, round(share * len(members)))])
    return replace(splits, train=np.sort(np.concatenate(chosen)))


def refuse_absent_classes(dataset: Dataset, splits: Splits, parts: Sequence[str] = LABELLED) -> None:
    """Refuse parts without objects of some class: nothing learns that class from them, nor how often to tell it.

    Raises
    ------
    SplitsError
        Naming the part and the classes.
    """
    for part in parts:
        counts_K = np.bincount(dataset.labels[getattr(splits, part)], minlength=len(dataset.classes))
        if absent := [name for name, count in zip(dataset.classes, counts_K, strict=True) if count == 0]:
            raise SplitsError(
                f"{dataset.folder} has no objects of class {', '.join(absent)} in part {part!r}: each class needs some "
                "to train and to calibrate with"
            )


def divide(dataset: Dataset, fold: int | None = None, seed: int = 0) -> Splits:
    """Divide by the data set's own splits, or by one of its folds.

    Parameters
    ----------
    fold
        Test on this fold and train on the others; None: test on the split ``test``.
    seed
        Of the inner validation cut, where the data set has no split ``validation``.

    Raises
    ------
    SplitsError
        When there is no such fold, no rows to train or test on, or too few to cut some for validation.
    """
    splits = dataset.splits
    none = np.empty(0, np.int64)
    pretrain = splits.get("pretrain", none)
    if fold is None:
        train = np.concatenate([splits.get("train", none), splits.get("finetune", none)])
        test = splits.get("test", none)
    else:
        if dataset.folds is None or fold < 0 or fold not in dataset.folds:
            have = [] if dataset.folds is None else sorted(set(dataset.folds[dataset.folds >= 0].tolist()))
            raise SplitsError(f"the data set has no fold {fold}; it has {have}")
        test = np.flatnonzero(dataset.folds == fold)
        train = np.flatnonzero((dataset.folds >= 0) & (dataset.folds != fold))
        pretrain = np.setdiff1d(pretrain, np.flatnonzero(dataset.folds >= 0))
    validation = np.setdiff1d(splits.get("validation", none), test)
    train = np.setdiff1d(train, validation)
    if len(train) == 0 or len(test) == 0:
        raise SplitsError(f"nothing to train or to test on: the data set has splits {', '.join(splits)}")
    if len(validation) == 0:
        try:
            train, validation = train_test_split(
                train, test_size=VALIDATION_FRACTION, random_state=seed, stratify=dataset.labels[train]
            )
        except ValueError as error:
            raise SplitsError(
                f"{dataset.folder} has no split 'validation', and too few training objects to cut one: {error}"
            ) from error
    return Splits(np.sort(pretrain), np.sort(train), np.sort(validation), np.sort(test))
