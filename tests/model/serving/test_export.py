"""ONNX files: they answer like torch for any number of objects, ignore padding, and say how to feed them."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from model.networks.layers.class_distance import ClassDistance
from model.serving import weights
from model.serving.card import UnknownScore
from model.serving.export import (
    HISTORY_INPUTS,
    INPUTS,
    ExportError,
    arrays,
    export_network,
    main,
    random_histories,
    random_series,
)
from model.serving.export_notes import inputs
from model.serving.predictor import Predictor, untrained

onnxruntime = pytest.importorskip("onnxruntime", reason="pip install '.[export]'")
SMALL_VIGIL = {"filters": 2, "size": 16, "token_width": 16, "layers": 1, "frame_limit": 9}
SMALL_CNN = {"width": 0.125, "size": 16, "vector_width": 16, "recurrent_width": 8, "frame_limit": 9}
SMALL_CONVENTION = {"width": 0.05, "size": 16, "frame_limit": 9, "layers": 1}
SETTINGS = {
    "vigil": SMALL_VIGIL,
    "vigil with histories": SMALL_VIGIL | {"history_limit": 12},
    "cnn_rnn of gru": SMALL_CNN | {"cell": "gru"},
    "cnn_rnn of lstm": SMALL_CNN | {"cell": "lstm"},
    "convention": SMALL_CONVENTION,
    "convention with cosine head": SMALL_CONVENTION | {"head": "cosine"},
}


@pytest.fixture(scope="module", params=sorted(SETTINGS))
def written(request, tmp_path_factory):
    """An exported network with a calibration, its predictor and a session on the file."""
    network, card = untrained("sdss", request.param.split()[0], 3, **SETTINGS[request.param])
    card = dataclasses.replace(card, temperature=1.7, logit_offset=(0.5, 0.0, -0.5, 0.1))
    if "histories" in request.param:
        feature_NF = torch.randn(32, network.feature_width, generator=torch.Generator().manual_seed(5))
        network.familiar = ClassDistance.of(feature_NF, torch.arange(32) % 4, 4)
        card = dataclasses.replace(card, unknown=UnknownScore("energy_and_distance", 1.5, -1.0, 0.9, 4.0, 0.5))
    elif request.param == "vigil":
        card = dataclasses.replace(card, unknown=UnknownScore("energy", 1.5, -1.0, 0.9))
    folder = tmp_path_factory.mktemp("onnx")
    weights.save(folder / "w", network, card)
    assert main([str(folder / "w.json"), "--out", str(folder / "out.onnx")]) == 0
    session = onnxruntime.InferenceSession(str(folder / "out.onnx"), providers=["CPUExecutionProvider"])
    return Predictor.load(folder / "w"), session


def run(session, feed: dict[str, np.ndarray], output: str = "probs") -> np.ndarray:
    names = {entry.name for entry in session.get_inputs()}
    return session.run([output], {name: value for name, value in feed.items() if name in names})[0]


def test_answers_equal_torch(written):
    """Probabilities and unknown score equal the predictor's to 1e-4 for one object and for many."""
    predictor, session = written
    card = predictor.card
    for count in (1, 5):
        batch = [random_series(card, 1 + (3 * row) % 9, 50 + row) for row in range(count)]
        histories = random_histories(card, batch)
        expected, feed = predictor.predict(batch, histories), arrays(batch, histories, 9)
        assert np.allclose(run(session, feed), expected.probabilities, atol=1e-4)
        if card.unknown is not None:
            assert np.allclose(run(session, feed, "unknown"), expected.unknown, atol=1e-4)


def test_padding_is_ignored(written):
    """Whatever a caller leaves in padded frames, NaN included, does not matter."""
    predictor, session = written
    batch = [random_series(predictor.card, 4, 7)]
    feed = arrays(batch, random_histories(predictor.card, batch), 9)
    before = run(session, feed)
    for name in INPUTS:
        if feed[name].dtype == np.float32:
            feed[name] = feed[name].copy()
            feed[name][:, 4:] = np.nan
    assert np.array_equal(run(session, feed), before)


def test_metadata_says_how_to_feed_it(written):
    """Classes in order, inputs, units, pixel scale and calibration can be read from the file."""
    predictor, session = written
    notes = session.get_modelmeta().custom_metadata_map
    assert tuple(json.loads(notes["classes"])) == predictor.card.classes
    assert notes["model_version"] == predictor.card.version
    assert json.loads(notes["calibration"])["temperature"] == 1.7
    assert float(notes["pixel_scale_arcsec"]) == 0.396
    assert json.loads(notes["bands"])["r"] == 2
    assert "nJy" in notes["normalisation"]
    assert {entry.name for entry in session.get_inputs()} <= set(json.loads(notes["inputs"]))
    assert [entry.name for entry in session.get_outputs()] == list(json.loads(notes["outputs"]))
    assert ("unknown" in json.loads(notes["outputs"])) == (predictor.card.unknown is not None)


def test_inputs_are_explained_as_the_survey_means_them():
    """Sign, zero point, padding and the past are told of an alert survey; of SDSS that its flux is no difference."""
    described = inputs(untrained("ztf", "vigil", 1, history_limit=12)[1])
    assert set(described) == {*INPUTS, *HISTORY_INPUTS}
    assert "science minus template; negative" in described["flux"]
    assert "31.4 - 2.5 log10" in described["flux"]
    assert "0 on padding" in described["band"]
    assert "of the last 30 days" in described["history_t"]
    described = inputs(untrained("sdss", "vigil", 1)[1])
    assert set(described) == set(INPUTS)
    assert "light of its host too" in described["flux"]


def test_networks_that_read_nights_are_refused(tmp_path, capsys):
    """They cannot be exported: an error says which networks can, and the command fails with it."""
    network, card = untrained("sdss", "lstm", 1)
    with pytest.raises(ExportError, match="only convention, vigil, cnn_rnn"):
        export_network(network, card, tmp_path / "x.onnx")
    weights.save(tmp_path / "w", network, card)
    assert main([str(tmp_path / "w"), "--out", str(tmp_path / "x.onnx")]) == 2
    assert "lstm" in capsys.readouterr().err
    assert main([str(tmp_path / "missing"), "--out", str(tmp_path / "x.onnx")]) == 2


@pytest.mark.parametrize("opset", [-1, 3, 18, 99])
def test_operator_sets_that_are_not_supported_are_refused(tmp_path, capsys, opset):
    """The error says which are, and no file is written."""
    weights.save(tmp_path / "w", *untrained("sdss", "vigil", 1, **SMALL_VIGIL))
    assert main([str(tmp_path / "w"), "--out", str(tmp_path / "x.onnx"), "--opset", str(opset)]) == 2
    assert capsys.readouterr().err == (
        f"ictc-export: operator set {opset} is not supported: choose one from 20 to 25\n"
    )
    assert not (tmp_path / "x.onnx").exists()


def test_a_folder_is_no_file_to_write(tmp_path, capsys):
    """Asked to write to a folder, the command says so before it works."""
    assert main(["sdss", "--out", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["sdss", "--out", str(tmp_path / "file" / "x.onnx")]) == 2
    assert capsys.readouterr().err == f"ictc-export: {tmp_path}/file: File exists\n"


def test_a_file_of_another_kind_is_not_written_over(tmp_path, capsys):
    """What does not end in .onnx stays as it is."""
    (tmp_path / "r.json").write_text("{}")
    assert main(["sdss", "--out", str(tmp_path / "r.json")]) == 2
    assert f"does not end in .onnx: give --out {tmp_path}/r.json.onnx" in capsys.readouterr().err
    assert (tmp_path / "r.json").read_text() == "{}"


def test_a_place_that_cannot_be_written_is_told_before_the_work(tmp_path, capsys, monkeypatch):
    """A folder without leave to write ends the command before any weights are read."""
    monkeypatch.setattr("os.access", lambda *_: False)  # whoever runs the tests may be allowed everything
    assert main(["no-such", "--out", str(tmp_path / "x.onnx")]) == 2
    assert capsys.readouterr().err == f"ictc-export: {tmp_path}: Permission denied\n"
