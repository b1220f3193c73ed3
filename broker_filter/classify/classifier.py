"""Embeddings of groups of frames, and class probabilities of embedded series. The only room that touches torch.

A device out of memory splits the batch and goes on. That passes are bounded whatever is asked, and that a row's bits do
not depend on its company in the deterministic mode, are the predictor's promises.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from broker_filter.alerts import survey
from broker_filter.classify.light_curve_age import age_of
from broker_filter.errors import ConfigurationError, RetryableError
from model.past_photometry import NO_HISTORY, History
from model.series import Photometry, Series
from model.serving import predictor
from model.serving.card import ModelCard, WeightsError
from model.serving.engine import EngineName, EngineUnavailableError

Row = TypeVar("Row")
Result = TypeVar("Result")


class Predicted(Protocol):
    """What a predictor returns for B series."""

    @property
    def probabilities(self) -> NDArray[np.float64]: ...  # [B, K], rows sum to 1
    @property
    def unknown(self) -> NDArray[np.float64] | None: ...  # [B]


class Predicts(Protocol):
    """What this room asks of model.serving.predictor.Predictor."""

    @property
    def card(self) -> ModelCard: ...
    def embed(self, groups: Sequence[Series]) -> NDArray[np.float32]: ...
    def classify(
        self,
        embeddings: Sequence[NDArray[np.float32]],
        curves: Sequence[Photometry | Series],
        histories: Sequence[History] | None = None,
    ) -> Predicted: ...
    def warm_up(self) -> None: ...


class Verdict(NamedTuple):
    """The classifier's answer for one series."""

    probabilities: NDArray[np.float64]  # [K], sums to 1
    unknown_score: float | None
    history_count: int = 0  # epochs without stamp that were read
    broad_probabilities: Mapping[str, float] | None = None  # of the first level; None: sums over the taxonomy's groups
    prediction_set: tuple[str, ...] | None = None  # classes that hold the true one with probability ``coverage``
    coverage: float | None = None


class StreamClassifier:
    """A predictor behind bounded batches."""

    def __init__(self, predictor: Predicts) -> None:
        self._predictor = predictor
        self.card = predictor.card

    def warm_up(self) -> None:
        """Compute once at the largest shapes, so that the first alert does not wait for it."""
        self._predictor.warm_up()

    def embed(self, groups: Sequence[Series]) -> list[NDArray[np.float32]]:
        """One embedding per group of up to ``card.group_size`` frames."""
        return _split_on_memory(lambda rows: list(self._predictor.embed(rows)), groups)

    def classify(
        self,
        embeddings: Sequence[NDArray[np.float32]],
        curves: Sequence[Photometry | Series],
        histories: Sequence[History] | None = None,
    ) -> list[Verdict]:
        """Probabilities of series.

        Parameters
        ----------
        embeddings
            [G, D...] of each series.
        curves
            Their light curves.
        histories
            What else is known of each; None: the network reads none.
        """
        pasts = [NO_HISTORY] * len(curves) if histories is None else histories
        return _split_on_memory(self._classify, list(zip(embeddings, curves, pasts, strict=True)))

    def _classify(self, rows: Sequence[tuple[NDArray[np.float32], Photometry | Series, History]]) -> list[Verdict]:
        embeddings, curves, histories = [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]
        read = histories if self.card.history_limit > 0 else None
        prediction = self._predictor.classify(embeddings, curves, read)
        unknown = [None] * len(rows) if prediction.unknown is None else [float(u) for u in prediction.unknown]
        counts = [len(history) for history in histories]
        sets = self._sets(prediction.probabilities, curves, histories)
        return [
            Verdict(p_K, score, count, prediction_set=classes, coverage=self._coverage)
            for p_K, score, count, classes in zip(prediction.probabilities, unknown, counts, sets, strict=True)
        ]

    @property
    def _coverage(self) -> float | None:
        return None if self.card.sets is None else self.card.sets.coverage

    def _sets(
        self, p_BK: NDArray[np.float64], curves: Sequence[Photometry | Series], histories: Sequence[History]
    ) -> list[tuple[str, ...] | None]:
        """The classes that stay possible for each series; None where the card has no such sets."""
        if self.card.sets is None:
            return [None] * len(p_BK)
        age_B = None
        if self.card.sets.least_by_age:
            pairs = zip(curves, histories, strict=True)
            age_B = np.array([age_of(curve, history).days_since_first for curve, history in pairs])
        return [
            tuple(name for name, is_in_set in zip(self.card.classes, kept_K, strict=True) if is_in_set)
            for kept_K in self.card.sets.of(p_BK, age_B)
        ]


def cards_of(classifiers: Mapping[str, StreamClassifier]) -> dict[str, ModelCard]:
    """The card of each survey's network."""
    return {survey: classifier.card for survey, classifier in classifiers.items()}


def load_classifiers(
    weights: Sequence[Path | str] = (),
    device: str = "cpu",
    deterministic: bool = False,
    allow_untrained: bool = False,
    engine: EngineName = "auto",
) -> dict[str, StreamClassifier]:
    """Classifiers by survey.

    Parameters
    ----------
    weights
        Paths, or names of weights that the package ships; the first choice for each survey when empty.
    allow_untrained
        Accept weights that nothing trained, and make some for surveys without any.

    Raises
    ------
    ConfigurationError
        When weights are missing, broken, untrained, for one survey twice or for one without alerts, or the device is
        absent.
    """
    if deterministic:
        use_threads(1)  # the last bits of a sum depend on how many threads share it
    classifiers: dict[str, StreamClassifier] = {}
    missing = []
    for name in weights or survey.SURVEYS:
        try:
            loaded = predictor.Predictor.load(name, device, deterministic, engine)
        except (predictor.DeviceUnavailableError, EngineUnavailableError) as error:
            raise ConfigurationError(str(error)) from error
        except WeightsError as error:
            if weights and not (allow_untrained and name in survey.SURVEYS):
                raise ConfigurationError(f"weights {name}: {error}") from error
            missing.append(str(name))
            continue
        if loaded.card.survey not in survey.SURVEYS:
            raise ConfigurationError(
                f"weights {name} are for {loaded.card.survey}, which sends no alerts: choose weights for one of "
                f"{', '.join(survey.SURVEYS)}"
            )
        if not loaded.card.trained and not allow_untrained:
            raise ConfigurationError(f"weights {name} are untrained: train them, or say --allow-untrained")
        if loaded.card.survey in classifiers:
            raise ConfigurationError(f"weights {name}: {loaded.card.survey} has others already, give one each")
        classifiers[loaded.card.survey] = StreamClassifier(loaded)
    for name in missing if allow_untrained else ():
        made = predictor.Predictor.untrained(name, device=device, deterministic=deterministic)
        classifiers[name] = StreamClassifier(made)
    if not classifiers:
        raise ConfigurationError(
            f"no trained weights for {', '.join(missing)}: give some with --weights, or accept random ones "
            "with --allow-untrained"
        )
    return classifiers


def use_threads(count: int) -> None:
    """Let the network use so many processor threads."""
    torch.set_num_threads(count)


def _split_on_memory(compute: Callable[[Sequence[Row]], list[Result]], rows: Sequence[Row]) -> list[Result]:
    """Compute, halving the batch as often as the device runs out of memory.

    Raises
    ------
    RetryableError
        When a single row does not fit.
    """
    if not rows:
        return []
    try:
        return compute(rows)
    except torch.OutOfMemoryError as error:
        if len(rows) == 1:
            raise RetryableError(
                f"the device has no memory for one series: {error}; free it or set classifier.device to cpu"
            ) from error
    half = len(rows) // 2
    return _split_on_memory(compute, rows[:half]) + _split_on_memory(compute, rows[half:])
