"""Which objects of a data set weights have seen, by what their card says of the training."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model.data.dataset import Dataset
from model.serving.card import ModelCard, WeightsError
from model.training.data.dataset_identity import identity_of
from model.training.data.splits import Splits, divide, with_fewer_labels

TO_LEARN_FROM = ("pretrain", "finetune", "train", "validation")  # splits that are seen where there are no folds


class _Data(BaseModel):
    model_config = ConfigDict(strict=True)
    sha256: str


class _Division(BaseModel):
    """What a training divided and how; the rest of a card's provenance is for people."""

    model_config = ConfigDict(strict=True)
    data: _Data
    fold: int | None
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    share_of_labels: Annotated[float, Field(gt=0, le=1)] = 1.0


def _division_of(card: ModelCard, dataset: Dataset) -> _Division | None:
    try:
        division = _Division.model_validate(dict(card.provenance))
    except ValidationError:
        return None
    return division if division.data.sha256 == identity_of(dataset)["sha256"] else None


def splits_of_training(card: ModelCard, dataset: Dataset) -> Splits | None:
    """Rows as the training of the weights divided them; None for a data set other than the one that the card names.

    Raises
    ------
    SplitsError
        When the card names a fold that the data set lacks.
    """
    division = _division_of(card, dataset)
    if division is None:
        return None
    splits = divide(dataset, division.fold, division.seed)
    return with_fewer_labels(splits, dataset.labels, division.share_of_labels, division.seed)


def count_seen(card: ModelCard, dataset: Dataset, rows: NDArray[np.int64]) -> int:
    """How many of these rows the weights were trained on or chosen by."""
    splits = splits_of_training(card, dataset)
    return 0 if splits is None else int(np.isin(rows, np.concatenate([splits.all, splits.validation])).sum())


def check_unseen(card: ModelCard, dataset: Dataset, rows: NDArray[np.int64]) -> None:
    """Refuse to score weights on objects that they were trained on or chosen by.

    Raises
    ------
    WeightsError
        Saying how many there are, and what to score instead.
    """
    if seen := count_seen(card, dataset, rows):
        fold = card.provenance["fold"]
        others = "--split test without --fold" if fold is None else f"--fold {fold}"
        raise WeightsError(f"the weights were trained on or chosen by {seen} of these {len(rows)} objects of "
                           f"{dataset.folder}: score them on the others, by {others}")  # fmt: skip
