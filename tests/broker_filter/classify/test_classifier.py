"""The classifier's room: bounded batches, a device without memory, and which weights are refused."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import fake_stream as fake
import numpy as np
import pytest
import torch

from broker_filter.classify.classifier import StreamClassifier, load_classifiers
from broker_filter.errors import ConfigurationError, RetryableError
from model.past_photometry import NO_HISTORY, History
from model.series import Series
from model.serving.card import PredictionSets
from model.serving.predictor import Prediction


def groups(count: int) -> list[Series]:
    frames = [fake.observation(i) for i in range(count)]
    return [
        Series(
            f.pixels[None],
            f.scale_njy[None],
            np.array([f.band], np.int8),
            np.array([f.time_mjd]),
            np.ones(1, np.float32),
            np.ones(1, np.float32),
        )
        for f in frames
    ]


class SmallDevice(fake.FakePredictor):
    """A predictor on a device that holds a few rows at a time."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity, self.largest = capacity, 0

    def _fit(self, rows: int) -> None:
        if rows > self.capacity:
            raise torch.OutOfMemoryError(f"{rows} rows, {self.capacity} fit")
        self.largest = max(self.largest, rows)

    def embed(self, groups: Sequence[Series]) -> np.ndarray:
        self._fit(len(groups))
        return super().embed(groups)

    def classify(
        self,
        embeddings: Sequence[np.ndarray],
        curves: Sequence[Series],
        histories: Sequence[History] | None = None,
    ) -> Prediction:
        self._fit(len(curves))
        return super().classify(embeddings, curves, histories)


def test_device_without_memory_gets_smaller_batches() -> None:
    """A batch that does not fit the device is halved until it does, with the same results in the same order."""
    series = groups(11)
    expected = StreamClassifier(fake.FakePredictor()).embed(series)
    np.testing.assert_array_equal(StreamClassifier(SmallDevice(3)).embed(series), expected)
    verdicts = StreamClassifier(SmallDevice(2)).classify([e[None] for e in expected], series)
    assert len(verdicts) == 11
    assert verdicts[0].probabilities.sum() == pytest.approx(1)


def test_a_card_with_prediction_sets_gives_each_answer_its_classes() -> None:
    """Classes that reach their least probability are named, the most probable one always; without sets nothing is."""
    predictor = fake.FakePredictor()
    series = groups(3)
    vectors = [e[None] for e in StreamClassifier(predictor).embed(series)]
    assert StreamClassifier(predictor).classify(vectors, series)[0].prediction_set is None
    few = (1.0,) * len(predictor.card.classes)
    predictor = fake.FakePredictor(replace(predictor.card, sets=PredictionSets(0.9, (0.0, *few[1:]))))
    for verdict in StreamClassifier(predictor).classify(vectors, series):
        best = predictor.card.classes[int(verdict.probabilities.argmax())]
        assert set(verdict.prediction_set or ()) == {predictor.card.classes[0], best}
        assert verdict.coverage == 0.9


def test_prediction_sets_follow_the_age_of_the_light_curve() -> None:
    """What is younger than the edge of the card's ages has the limits of the young."""
    card = fake.FakePredictor().card
    every, none = (0.0,) * len(card.classes), (1.0,) * len(card.classes)
    predictor = fake.FakePredictor(replace(card, sets=PredictionSets(0.9, none, (5.0,), (every, none))))
    series = groups(2)
    one = np.ones(1, np.float32)
    before = History(series[1].time_T - 10.0, series[1].band_T, 9 * one, one)  # a detection of which its packet tells
    vectors = [e[None] for e in StreamClassifier(predictor).embed(series)]
    first, second = StreamClassifier(predictor).classify(vectors, series, [NO_HISTORY, before])
    assert first.prediction_set == card.classes
    assert len(second.prediction_set or ()) == 1


def test_device_without_room_for_one_series_is_retryable() -> None:
    """When not even one row fits, the batch is to be tried again, and the message says what helps."""
    with pytest.raises(RetryableError, match="device"):
        StreamClassifier(SmallDevice(0)).embed(groups(2))


def test_nothing_asked_is_nothing_computed() -> None:
    """A batch without groups never reaches the device."""
    device = SmallDevice(0)
    assert StreamClassifier(device).embed([]) == []
    assert StreamClassifier(device).classify([], []) == []


def test_untrained_weights_need_consent(tmp_path: Path) -> None:
    """Random networks are refused unless they are asked for, and then say that they are untrained."""
    with pytest.raises(ConfigurationError):
        load_classifiers([tmp_path / "absent.safetensors"])
    loaded = load_classifiers(["ztf", "lsst"], allow_untrained=True)
    assert set(loaded) == {"ztf", "lsst"}


@pytest.mark.parametrize("name", ["sdss", "ict-convention-sdss"])
def test_weights_of_a_survey_without_alerts_are_refused(name: str) -> None:
    """No alert could ever reach them: every one would be rejected as another survey's."""
    with pytest.raises(ConfigurationError, match=f"weights {name} are for sdss, which sends no alerts: .* ztf, lsst"):
        load_classifiers([name])


def test_absent_device_is_refused() -> None:
    """A device that the machine lacks is an error of configuration, never another device."""
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigurationError, match="cuda"):
        load_classifiers(["ztf"], device="cuda", allow_untrained=True)
