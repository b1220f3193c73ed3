"""Weights on disk: a pair of files that fit each other, or an error that says why not."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from full_disk import little_room
from safetensors.torch import load_file, save_file

from model.networks import registry
from model.networks.layers.class_distance import ClassDistance
from model.past_photometry import NO_HISTORY
from model.serving import weights
from model.serving.card import SHIPPED_SURVEYS, ModelCard, UnknownScore, WeightsError, shipped_names
from model.serving.export import random_series
from model.serving.predictor import Predictor, untrained

SETTINGS = {"filters": 4, "size": 21, "frame_limit": 12}


@pytest.fixture
def pair():
    return untrained("lsst", "vigil", 1, **SETTINGS)


def test_round_trip(pair, tmp_path):
    """Every tensor and every word of the card come back as they were written."""
    network, card = pair
    card = dataclasses.replace(
        card,
        trained=True,
        temperature=1.5,
        unknown=UnknownScore(scale=2.0),
        provenance={"scores": {"f1": 1}},
    )
    written = weights.save(tmp_path / "deep" / "w.safetensors", network, card)
    again, read = weights.load(tmp_path / "deep" / "w.json")
    assert read == written == ModelCard.from_json(json.dumps(written.to_json()))
    assert read.unknown == card.unknown
    assert not again.training
    assert len({(tmp_path / "deep" / name).stat().st_mode for name in ("w.json", "w.safetensors")}) == 1
    for name, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


def test_the_memory_of_training_objects_comes_back(pair, tmp_path):
    """Weights that remember their training objects measure strangeness alike when read again, and not without them."""
    network, card = pair
    torch.manual_seed(0)
    features_NF, label_N = torch.randn(60, network.feature_width), torch.arange(60) % 4
    network.familiar = ClassDistance.of(features_NF, label_N, 4)
    card = dataclasses.replace(card, trained=True, unknown=UnknownScore("energy_and_distance"))
    weights.save(tmp_path / "w", network, card)
    again, _ = weights.load(tmp_path / "w")
    assert again.familiar is not None
    assert torch.equal(again.familiar(features_NF), network.familiar(features_NF))
    network.familiar = None
    weights.save(tmp_path / "w", network, card)
    with pytest.raises(WeightsError, match="lacks"):
        weights.load(tmp_path / "w")


def test_half_precision_halves_the_file(pair, tmp_path):
    """Stored as float16 the file is little more than half, and tensors differ by float16's rounding only."""
    network, card = pair
    weights.save(tmp_path / "full", network, card)
    weights.save(tmp_path / "half", network, card, half=True)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("full", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    again, _ = weights.load(tmp_path / "half")
    for name, value in network.state_dict().items():
        assert again.state_dict()[name].dtype == value.dtype
        assert torch.allclose(again.state_dict()[name], value, atol=1e-3, rtol=1e-3)


def test_version_follows_what_changes_answers(pair, tmp_path):
    """Tensors and calibration make the version, that of the unknown score too; what evaluation adds does not."""
    network, card = pair
    card = dataclasses.replace(card, unknown=UnknownScore())
    one = weights.save(tmp_path / "a", network, card)
    for change in ({"provenance": {"x": 1}}, {"unknown": UnknownScore(auroc=0.9)}):
        assert one.version == weights.save(tmp_path / "b", network, dataclasses.replace(card, **change)).version
    for change in ({"temperature": 2.0}, {"unknown": UnknownScore(scale=2.0)}):
        assert one.version != weights.save(tmp_path / "c", network, dataclasses.replace(card, **change)).version
    with torch.no_grad():
        network.output.bias.add_(1)
    assert one.version != weights.save(tmp_path / "d", network, card).version


def test_tampered_tensors_are_refused(pair, tmp_path):
    """Tensors that are not those of the card are refused by their hash."""
    network, card = pair
    weights.save(tmp_path / "a", network, card)
    with torch.no_grad():
        network.output.bias.add_(1)
    weights.save(tmp_path / "b", network, card)
    (tmp_path / "b.safetensors").replace(tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match="SHA-256"):
        weights.load(tmp_path / "a")


def rewrite(path, change):
    """Change the card beside some tensors, and nothing else."""
    card = path.with_suffix(".json")
    card.write_text(json.dumps(json.loads(card.read_text()) | change))


@pytest.mark.parametrize(
    "change",
    [
        {"classes": ["SNOther", "Variable", "SNIa", "AGN"]},
        {"logit_offset": [5.0, 0.0, 0.0, 0.0]},
        {"temperature": 2.0},
        {"survey": "ztf"},
        {"bands": "gr"},
        {"trained": True},
        {"version": "lsst-0123456789"},
        {"network": {"network": "vigil", "class_count": 4, "filters": 8}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_card_changed_by_hand_is_refused(pair, tmp_path, change):
    """What changes an answer cannot be edited behind the version's back; notes on provenance can."""
    weights.save(tmp_path / "a", *pair)
    rewrite(tmp_path / "a", {"provenance": {"note": "seen"}})
    assert weights.load(tmp_path / "a")[1].provenance == {"note": "seen"}
    rewrite(tmp_path / "a", change)
    with pytest.raises(WeightsError, match="changed after it was written"):
        weights.load(tmp_path / "a")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ["AGN", "SNIa"]}, "2 classes"),
        ({"classes": ["AGN", "SNIa", "Variable", "AGN"]}, "each once"),
        ({"classes": ["AGN", "SNIa", "Variable", "SN\x1b[31m"]}, r"'SN.x1b\[31m' is no name of a class"),
        ({"groups": {"a\nb": ["AGN"]}}, "'a.nb' is no name of a class"),
        ({"classes": [1, 2, 3, 4]}, r"classes\.0: .*string"),
        ({"colour": "red"}, "colour: Unexpected"),
        ({"temperature": 0}, "temperature is 0.0: it must be from 0.001"),
        ({"temperature": 1e-310}, "temperature is 1e-310"),
        ({"temperature": 1.7e308}, "temperature is 1.7e"),
        ({"logit_offset": [1e308, -1e308, 1e308, 0.0]}, "logit_offset is 1e.308: it must be from -100 to 100"),
        ({"temperature": float("inf")}, "temperature: .*finite"),
        ({"temperature": "warm"}, "temperature: .*number"),
        ({"logit_offset": [1.0]}, "1 logit offsets"),
        ({"logit_offset": [float("nan"), 0, 0, 0]}, "logit_offset.0: .*finite"),
        ({"survey": "2mass"}, "survey is '2mass'"),
        ({"survey": 7}, "survey: .*string"),
        ({"bands": "xyz"}, "bands are"),
        ({"channels": []}, "channels are"),
        ({"size_px": 4096}, "size_px is 4096"),
        ({"frame_limit": -1}, "frame_limit is -1"),
        ({"trained": "yes"}, "trained: .*boolean"),
        ({"network": None}, "network: "),
        ({"unknown": {"kind": "smell"}}, "kind 'smell'"),
        ({"unknown": {"scale": 0.0}}, "scale of the unknown score is 0.0"),
        ({"unknown": {"distance_scale": 5e-324}}, "distance_scale of the unknown score is 5e-324"),
        ({"unknown": {"temperature": 1e-310}}, "temperature of the unknown score is 1e-310"),
        ({"unknown": {"location": 1e308}}, "location of the unknown score is 1e.308"),
    ],
)
def test_an_impossible_card_is_refused(pair, tmp_path, change, message):
    """A card that contradicts itself, or holds what no network can use, is refused with the key and its value."""
    weights.save(tmp_path / "a", *pair)
    rewrite(tmp_path / "a", change)
    with pytest.raises(WeightsError, match=message) as caught:
        weights.load(tmp_path / "a")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"filters": 8}, "does not fit"),
        ({"filterz": 8}, "no setting filterz"),
        ({"filters": -8}, "filters is -8"),
        ({"filters": 10**12}, "filters is 1000000000000"),
        ({"token_width": 65536}, "cannot be built .* it takes more than the [0-9]+ values"),
        ({"feature_width": 65536, "summary_width": 65536}, "cannot be built .* it takes more than the [0-9]+ values"),
        ({"layers": 65536}, "layers is 65536: it must be from 1 to 64"),
        ({"size": 65536}, "size is 65536"),
        ({"size": 31}, "3 channels and 30 pixels, but vigil reads 3 channels and 31"),
        ({"channels": 1}, "3 channels and 30 pixels, but vigil reads 1 channels"),
        ({"filters": "many"}, "filters: .*integer"),
        ({"heads": 0}, "'heads': 0"),
        ({"size": 0}, "size is 0"),
        ({"network": "vigilante"}, "choose one of"),
        ({"network": ["vigil"]}, "choose one of"),
        ({"frame_limit": 13}, "says vigil of 12 frames"),
    ],
)
def test_a_network_that_cannot_be_is_refused(pair, tmp_path, network, message):
    """Also where the version was made anew for the change, a network of impossible settings is not built."""
    card = weights.save(tmp_path / "a", *pair)
    card = dataclasses.replace(card, network={**card.network, **network})
    card = weights.stamped(card, load_file(tmp_path / "a.safetensors"))
    (tmp_path / "a.json").write_text(json.dumps(card.to_json()))
    with pytest.raises(WeightsError, match=message) as caught:
        weights.load(tmp_path / "a")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [{"size_px": 20}, {"channels": ("science",)}])
def test_a_card_of_other_stamps_than_its_network_is_refused(pair, tmp_path, change):
    """Stamps that the network cannot read are told when the weights are read; larger ones are cropped."""
    network, card = pair
    weights.save(tmp_path / "a", network, dataclasses.replace(card, size_px=31))
    assert weights.load(tmp_path / "a")[1].size_px == 31
    weights.save(tmp_path / "a", network, dataclasses.replace(card, **change))
    with pytest.raises(WeightsError, match="but vigil reads 3 channels and 21 pixels"):
        weights.load(tmp_path / "a")


@pytest.mark.parametrize("name", registry.NETWORKS)
def test_every_network_has_room(name):
    """What a network makes while it is built is well within what its tensors allow."""
    torch.manual_seed(0)
    tensors = registry.build({"network": name}).state_dict()
    torch.manual_seed(0)
    with weights.Room(weights.ROOM_FACTOR * sum(map(torch.numel, tensors.values()))):
        again = registry.build({"network": name}).state_dict()
    assert all(torch.equal(again[name], value) for name, value in tensors.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda value: value.index_fill(0, torch.tensor(1), torch.nan), "not finite, in output.bias"),
        (lambda value: (value.double() + 1).mul(1e300), "not finite, in output.bias"),
        (lambda value: value > 0, r"output.bias is bool \[4\], there it is float32 \[4\]"),
        (lambda value: value.long(), "output.bias is int64"),
        (lambda value: value.to(torch.complex64), "output.bias is complex64"),
        (lambda value: value[:2], r"output.bias is float32 \[2\]"),
    ],
)
def test_tensors_that_are_no_weights_are_refused(pair, tmp_path, change, message):
    """Numbers that are not finite and other types than the network's are told by name, before anything is asked."""
    card = weights.save(tmp_path / "a", *pair)
    tensors = load_file(tmp_path / "a.safetensors")
    tensors["output.bias"] = change(tensors["output.bias"])
    save_file(tensors, tmp_path / "a.safetensors")
    (tmp_path / "a.json").write_text(json.dumps(weights.stamped(card, tensors).to_json()))
    with pytest.raises(WeightsError, match=message) as caught:
        weights.load(tmp_path / "a")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_of_any_width_are_read(pair, tmp_path, kind):
    """What a network computes with is float32, whatever the width of the floats in the file."""
    card = weights.save(tmp_path / "a", *pair)
    tensors = {n: v.to(kind) if v.is_floating_point() else v for n, v in load_file(tmp_path / "a.safetensors").items()}
    save_file(tensors, tmp_path / "a.safetensors")
    (tmp_path / "a.json").write_text(json.dumps(weights.stamped(card, tensors).to_json()))
    network, _ = weights.load(tmp_path / "a")
    assert network.output.weight.dtype == torch.float32


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"7", b'"card"', b"\xff\xfe{", b"[" * 100_000, b"{"])
def test_what_is_no_card_is_refused(pair, tmp_path, text):
    """Text that is no table, no JSON or no UTF-8 is an error that names the file."""
    weights.save(tmp_path / "a", *pair)
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(WeightsError, match=r"a\.json"):
        weights.load(tmp_path / "a")


def test_a_full_disk_leaves_the_weights_that_were_there(pair, tmp_path):
    """Where there is no room for new weights, the old ones stay whole and nothing else is left."""
    network, card = pair
    before = weights.save(tmp_path / "a", network, card)
    with little_room(10_000), pytest.raises(WeightsError, match="cannot write"):
        weights.save(tmp_path / "a", network, dataclasses.replace(card, temperature=2.0))
    assert weights.load(tmp_path / "a")[1] == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.safetensors"]


def test_weights_are_not_written_below_a_file(pair, tmp_path):
    """A folder that is a file is an error of one line."""
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match="cannot write"):
        weights.save(tmp_path / "file" / "w", *pair)


@pytest.mark.parametrize("path", [".", "/", "", "..", "out/.."])
def test_weights_need_a_name(pair, tmp_path, monkeypatch, path):
    """A folder is no path of weights: an error that says what to give, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match="names a folder: give the path of the weights to write"):
        weights.save(Path(path), *pair)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    """A folder without leave to write is refused before anything is written there."""
    monkeypatch.setattr("os.access", lambda *_: False)  # whoever runs the tests may be allowed everything
    with pytest.raises(WeightsError, match="may not be written to: choose another path"):
        weights.check_place(tmp_path / "w")


def test_incomplete_or_broken_files_are_refused(pair, tmp_path):
    """A card without its survey, a cut tensor file and text that is no JSON are errors that name the file."""
    network, card = pair
    weights.save(tmp_path / "a", network, card)
    values = card.to_json()
    del values["survey"]
    with pytest.raises(WeightsError, match="survey: "):
        ModelCard.from_json(json.dumps(values))
    tensors = tmp_path / "a.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:1000])
    with pytest.raises(WeightsError, match=r"a\.safetensors"):
        weights.load(tmp_path / "a")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(WeightsError, match=r"a\.json"):
        weights.load(tmp_path / "a")


def test_shipped_weights_are_named_by_survey(monkeypatch, tmp_path, pair):
    """A survey's name means the shipped weights; where none ship, the error says how to get some."""
    monkeypatch.setattr("model.serving.card.SHIPPED_FOLDER", tmp_path)
    with pytest.raises(WeightsError, match="ictc-train"):
        weights.load("lsst")
    network, card = pair
    weights.save(tmp_path / "lsst", network, card)
    assert weights.load("lsst")[1].survey == "lsst"


def test_other_shipped_weights_have_names_too(monkeypatch, tmp_path, pair):
    """Weights beside a survey's first choice are found by their file's name; a wrong name is told which there are."""
    monkeypatch.setattr("model.serving.card.SHIPPED_FOLDER", tmp_path)
    weights.save(tmp_path / "ict-convention-ztf", *pair)
    assert weights.load("ict-convention-ztf")[1].name == pair[1].name
    with pytest.raises(WeightsError, match="ict-convention-ztf"):
        weights.load("ict-convention-lsst")


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_weights_answer(name):
    """What the package ships was trained, for the survey that its name ends in, and answers a series in Python."""
    predictor = Predictor.load(name)
    assert predictor.card.trained
    assert predictor.card.survey == name.rpartition("-")[2]
    assert predictor.card.survey in SHIPPED_SURVEYS
    answer = predictor.predict([random_series(predictor.card, 6, seed=1)], [NO_HISTORY])
    assert answer.probabilities.shape == (1, len(predictor.card.classes))
    assert answer.probabilities.sum() == pytest.approx(1.0, abs=1e-5)
