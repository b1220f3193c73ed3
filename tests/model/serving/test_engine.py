"""Two engines compute one network: torch, and ONNX Runtime from a shipped graph that the weights fill."""

import sys
import zipfile

import numpy as np
import pytest
import torch

from model.networks import registry
from model.networks.contract import Frames, LightCurve, collate, collate_curve
from model.networks.layers.class_distance import ClassDistance
from model.past_photometry import NO_HISTORY
from model.serving import graph, weights
from model.serving.engine import EngineUnavailableError, open_engine
from model.serving.export import random_histories, random_series
from model.serving.predictor import Predictor, untrained
from model.serving.transfer import each_of_frames, each_of_series, frames_to, series_to, transferred

SURVEYS = ("ztf", "lsst", "sdss")
AGREE = 1e-5  # of probabilities


def some_series(card, seed: int):
    """Series from one frame to the limit, with and without a told past."""
    lengths = [1, 1, 2, 5, card.frame_limit // 2, card.frame_limit]
    series = [random_series(card, length, seed + n) for n, length in enumerate(lengths)]
    histories = random_histories(card, series)
    if histories is not None:
        histories[1] = histories[3] = NO_HISTORY
    return series, histories


@pytest.mark.parametrize("survey", SURVEYS)
def test_engines_agree_on_shipped_weights(survey):
    """The graph of every shipped network is that of today's code: answers agree for series of any length."""
    ours, theirs = (Predictor.load(survey, engine=engine) for engine in ("onnxruntime", "torch"))
    assert (ours.engine, theirs.engine) == ("onnxruntime", "torch")
    series, histories = some_series(ours.card, 1)
    answer, expected = ours.predict(series, histories), theirs.predict(series, histories)
    assert np.abs(answer.probabilities - expected.probabilities).max() <= AGREE
    assert answer.unknown is not None
    assert expected.unknown is not None
    assert np.abs(answer.unknown - expected.unknown).max() <= 10 * AGREE


def test_a_graph_serves_all_weights_of_its_configuration():
    """New weights of the shipped configuration need no new graph: the file has none, and takes those it is given."""
    _, card = weights.load("ztf")
    torch.manual_seed(5)
    network = registry.build(card.network)
    network.familiar = ClassDistance(len(card.classes), network.feature_width)
    path = graph.file_of(network)
    assert path.stat().st_size < 100_000 < sum(p.numel() for p in network.parameters())
    with zipfile.ZipFile(path) as file:
        assert all(member.file_size < 400_000 for member in file.infolist())
    series, histories = some_series(card, 2)
    answers = [
        Predictor(network, card, engine=engine).predict(series, histories).probabilities
        for engine in ("torch", "onnxruntime")
    ]
    assert np.abs(answers[0] - answers[1]).max() <= AGREE
    assert np.abs(answers[0] - Predictor.load("ztf").predict(series, histories).probabilities).max() > 0.01


def test_a_row_does_not_depend_on_its_company():
    """In the deterministic mode the bits of an answer are the same alone and in a batch, with either engine."""
    predictor = Predictor.load("ztf", deterministic=True)
    assert predictor.engine == "onnxruntime"
    series, histories = some_series(predictor.card, 3)
    together = predictor.predict(series, histories).probabilities
    alone = [predictor.predict([s], [h]).probabilities[0] for s, h in zip(series, histories, strict=True)]
    assert np.array_equal(together, np.stack(alone))


def test_without_the_library_torch_computes(monkeypatch):
    """Where ONNX Runtime is absent, auto takes torch; who asks for it is told what to install."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert Predictor.load("ztf").engine == "torch"
    with pytest.raises(EngineUnavailableError, match="pip install onnxruntime"):
        Predictor.load("ztf", engine="onnxruntime")


def test_without_a_graph_torch_computes():
    """A network of another configuration goes to torch; who asks for ONNX Runtime is told how a graph is made."""
    network, card = untrained("ztf", "vigil", 1, filters=4, size=21)
    assert Predictor(network, card, engine="auto").engine == "torch"
    with pytest.raises(EngineUnavailableError, match=r"python -m model\.serving\.make_graph"):
        Predictor(network, card, engine="onnxruntime")
    with pytest.raises(EngineUnavailableError, match="choose one of auto, torch, onnxruntime"):
        Predictor(network, card, engine="openvino")


def test_a_card_is_not_for_onnxruntime():
    """On a card torch computes; who asks for both is told so before anything is moved there."""
    network, _ = untrained("ztf", "vigil", 1, filters=4, size=21)
    with pytest.raises(EngineUnavailableError, match="set the device to cpu"):
        open_engine("onnxruntime", network, torch.device("cuda"))


def test_one_buffer_brings_every_tensor_over():
    """What goes to a card in one transfer arrives as it was: values, types, shapes, histories, and nothing shared."""
    _, card = untrained("ztf", "vigil", 1, filters=4, size=21, history_limit=9)
    series = [random_series(card, length, length) for length in (1, 3)]
    frames = collate(series, histories=random_histories(card, series))
    pair = (torch.rand(2, 3, 5), collate_curve(series))
    cpu = torch.device("cpu")
    assert frames_to(frames, cpu) is frames
    assert series_to(pair, cpu) is pair
    copied = transferred(frames, each_of_frames, cpu, pinned=False)
    embeddings, curve = transferred(pair, each_of_series, cpu, pinned=False)
    pairs = zip(
        [*tensors_of(frames), pair[0], *tensors_of(pair[1])],
        [*tensors_of(copied), embeddings, *tensors_of(curve)],
        strict=True,
    )
    for before, after in pairs:
        assert before.dtype == after.dtype
        assert torch.equal(before, after)
        assert before.data_ptr() != after.data_ptr()


def tensors_of(thing: Frames | LightCurve) -> list[torch.Tensor]:
    """Every tensor of it."""
    if isinstance(thing, Frames):
        return [thing.pixels_BTCHW, thing.pixel_mask_BTCHW, thing.scale_BTC, *tensors_of(thing.curve)]
    history = [] if thing.history is None else tensors_of(thing.history)
    return [*graph.columns(thing), *history]
