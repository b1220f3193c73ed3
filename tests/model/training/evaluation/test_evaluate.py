"""Scoring weights and comparing systems, as a user does it: by commands, on the toy sky."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_sky import toy_series, write_toy

from model.data.dataset import Dataset
from model.networks import registry
from model.networks.contract import collate
from model.serving import weights
from model.serving.card import WeightsError, load_card
from model.training import train
from model.training.comparison import compare, run
from model.training.comparison.baselines import (
    BASELINES,
    baseline_answers,
    baseline_probabilities,
    light_curve_features,
    photometry_features,
)
from model.training.data.dataset_facts import measure
from model.training.data.input_form import FORMS
from model.training.data.loader import Loader
from model.training.data.splits import divide
from model.training.evaluation import evaluate, recalibrate, seen_objects
from model.training.evaluation.calibrated_card import calibrated
from model.training.evaluation.prefix_predictions import first_frames, predict_prefixes, prefix_answers
from model.training.evaluation.scoring import log_loss, macro_f1
from model.training.learning.execution import ExecutionSettings
from model.training.learning.recipe import load_recipe
from model.training.setup import make_card

CPU = torch.device("cpu")
TINY = {
    "vigil": {
        "network": "vigil",
        "filters": 4,
        "embedding_width": 8,
        "token_width": 8,
        "feature_width": 8,
        "layers": 1,
    },
    "convention": {"network": "convention", "width": 0.05, "frame_limit": 9},
}


def tiny(name: str, data: Dataset, seed: int = 0):
    facts = measure(data, divide(data).train)
    torch.manual_seed(seed)
    settings = registry.accepted(name, facts.settings())
    return facts, registry.build({**settings, **TINY[name]}).eval()


@pytest.fixture(scope="module")
def some_weights(toy: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that nothing trained, calibrated on the toy sky."""
    facts, network = tiny("vigil", toy)
    splits = divide(toy)
    card = calibrated(make_card(toy, facts, network, {"recipe": "none"}), network, toy, splits, True)
    path = tmp_path_factory.mktemp("weights") / "weights"
    weights.save(path, network, card)
    return path


@pytest.mark.parametrize("name", sorted(TINY))
def test_a_history_holds_what_each_prefix_alone_would_get(toy: Dataset, name: str):
    """Row t of a history equals the network's answer to the first t + 1 frames, with nothing later in sight."""
    _, network = tiny(name, toy)
    rng = np.random.default_rng(4)
    series = [toy_series(k, rng, 7 - k % 2) for k in range(4)]
    frames = collate(series)
    logits, _ = prefix_answers(network, frames)
    for row, one in enumerate(series):
        for t in range(len(one)):
            with torch.inference_mode():
                alone = network(collate([one[: t + 1]]))[0]
            torch.testing.assert_close(logits[row, t], alone, rtol=1e-4, atol=1e-4)


def test_histories_know_lengths_and_times(toy: Dataset):
    """Probabilities sum to 1 on real frames and are missing beyond them."""
    _, network = tiny("vigil", toy)
    loader = Loader(toy, divide(toy).test, network.frame_limit, CPU)
    histories = predict_prefixes(network, toy, loader)
    real = np.isfinite(histories.time_NT)
    assert np.allclose(histories.probability_NTK[real].sum(1), 1)
    assert np.isnan(histories.probability_NTK[~real]).all()
    assert (histories.last_frame + 1 == loader.length_N.numpy()).all()
    assert (histories.detected_N <= histories.last_frame).all()


def test_calibrating_again_keeps_the_network(toy: Dataset, some_weights: Path, tmp_path: Path, capsys):
    """``ictc-calibrate`` on other objects changes probabilities and the unknown score, and no tensor of the network."""
    other = write_toy(tmp_path / "other", {"train": 60, "validation": 40, "test": 20}, seed=9)
    out = tmp_path / "again"
    assert recalibrate.main([str(some_weights), "--data", str(other.folder), "--out", str(out)]) == 0
    (before, old), (after, new) = weights.load(some_weights), weights.load(out)
    assert old.version != new.version
    assert new.provenance["calibrated"]["on"] == 40
    assert (old.temperature, old.unknown) != (new.temperature, new.unknown)
    untouched = {name: tensor for name, tensor in after.state_dict().items() if not name.startswith("familiar")}
    assert all(torch.equal(tensor, before.state_dict()[name]) for name, tensor in untouched.items())
    arguments = [str(some_weights), "--data", str(other.folder), "--out", str(tmp_path / "energy")]
    assert recalibrate.main([*arguments, "--unknown-score", "energy"]) == 0
    without_memory, card = weights.load(tmp_path / "energy")
    assert without_memory.familiar is None
    assert card.unknown is not None and card.unknown.kind == "energy"
    assert (card.temperature, card.logit_offset) == (new.temperature, new.logit_offset)
    assert recalibrate.main(["none", "--data", str(other.folder), "--out", str(out)]) == 2
    assert capsys.readouterr().err.startswith("ictc-calibrate: ")


def test_evaluation_writes_scores_tables_and_a_page(toy: Dataset, some_weights: Path, tmp_path: Path, capsys):
    """``ictc-evaluate`` leaves JSON, text, predictions and one page that needs nothing else."""
    strange = write_toy(tmp_path / "strange", {"test": 60}, seed=1, classes=("TDE", "KN", "Flare", "Bogus"))
    out = tmp_path / "out"
    arguments = [str(some_weights), "--data", str(toy.folder), "--out", str(out), "--unknown", str(strange.folder)]
    arguments += ["--copy-to", str(tmp_path / "copy"), "--half"]
    assert evaluate.main(arguments) == 0
    assert "macro-F1" in capsys.readouterr().out
    table = json.loads((out / "scores.json").read_text())
    assert table["scores"]["objects"] == 60
    assert {"by_night", "by_day", "area_under_macro_f1"} <= set(table["early"])
    assert 0.35 < table["unknown"]["auroc"] < 0.65  # by other names, but of the same kinds
    assert set(table["unknown"]["auroc_by_class"]) == {"TDE", "KN", "Flare", "Bogus"}
    assert set(table["unknown"]["by_night"]) == {"1", "2", "3", "5", "8", "12", "20"}
    assert [rule["alerts_in_a_row"] for rule in table["decisions"]] == [1, 2]
    assert table["classes"] == {"objects": dict.fromkeys(toy.classes, 15), "balanced": True}
    assert table["natural_mix"]["objects"]["Variable"] == 3225
    assert table["natural_mix"]["before_peak_purity_snia"] != table["before_peak_purity_snia"]
    before, copied = load_card(some_weights), load_card(tmp_path / "copy")
    assert copied.provenance["test_scores"]["macro_f1"] == table["scores"]["macro_f1"]
    assert copied.unknown.auroc == table["unknown"]["auroc"]
    assert copied.temperature == before.temperature
    assert any("a balanced test set" in words for words in copied.provenance["limits"])
    with np.load(out / "predictions.npz") as arrays:
        reached = macro_f1(arrays["label"], arrays["probability"].argmax(1), 4)
    assert reached == pytest.approx(table["scores"]["macro_f1"])
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 5 + 8
    for words in (
        "on 2 alerts in a row",
        "as here: balanced",
        "as the survey labelled",
        "<td>Flare</td>",
        "Before beli",
    ):
        assert words in page
    assert all(word not in page for word in ("<script", "<link", "https://", "http://"))


def test_evaluation_refuses_what_does_not_fit(toy: Dataset, some_weights: Path, tmp_path: Path, capsys):
    """Missing weights, a missing split and other channels are errors with status 2."""
    for arguments, words in (
        (["no-such", "--data", str(toy.folder)], "no weights"),
        ([str(some_weights), "--data", str(toy.folder), "--split", "nights"], "no split 'nights'"),
    ):
        assert evaluate.main([*arguments, "--out", str(tmp_path)]) == 2
        assert words in capsys.readouterr().err
    card = load_card(some_weights)
    for change, words in (
        ({"channels": ("science", "template", "difference")}, "has the channels science, the weights read"),
        ({"survey": "ztf"}, "is of survey sdss, the weights are for ztf"),
        ({"classes": ("SNIa", "AGN", "Variable", "SNOther")}, "in this order"),
        ({"network": {**card.network, "size": 99}}, "make a data set with --size 99"),
        ({"trained": False}, "told no class, their answers are guesses: go on with them by ictc-train --start-from"),
    ):
        with pytest.raises(WeightsError, match=words):
            evaluate.check_fit(dataclasses.replace(card, **change), toy)


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Objects in five folds, which a split for validation is no part of."""
    return write_toy(tmp_path_factory.mktemp("folded") / "sky", {"train": 80, "test": 40})


def trained(data: Dataset, out: Path, *arguments: str) -> Path:
    """Weights of a training that is over at once."""
    recipe = out.with_suffix(".json")
    recipe.write_text(json.dumps({"network": {"network": "lstm"}, "stages": [{"epochs": 1}], "batch_size": 32}))
    common = [str(recipe), "--data", str(data.folder), "--out", str(out), "--quiet"]
    assert train.main([*common, *arguments]) == 0
    return out / train.WEIGHTS


def test_objects_of_the_training_are_not_scored(folded: Dataset, tmp_path: Path, capsys):
    """What weights were trained on or chosen by is refused with its number and the remedy, unless asked for by name."""
    of_fold, of_split = (trained(folded, tmp_path / name, *fold) for name, fold in (("a", ["--fold", "0"]), ("b", [])))
    asked = {
        (of_fold, "--split", "test"): "by 32 of these 40 objects of .*: score them on the others, by --fold 0$",
        (of_fold, "--fold", "1"): "by 24 of these 24 objects",
        (of_split, "--fold", "0"): "by 16 of these 24 objects .*, by --split test without --fold$",
    }
    capsys.readouterr()
    for (path, *arguments), words in asked.items():
        common = [str(path), "--data", str(folded.folder), "--out", str(tmp_path / "none")]
        assert evaluate.main([*common, *arguments]) == 2
        assert re.search(words, capsys.readouterr().err.strip())
    assert not (tmp_path / "none").exists()
    for path, arguments, told in (
        (of_fold, ("--fold", "0"), ""),
        (of_split, (), ""),
        (of_split, ("--split", "train"), "The weights were trained on or chosen by 80 of these 80 objects.\n"),
    ):
        common = [str(path), "--data", str(folded.folder), "--out", str(tmp_path / "out")]
        assert evaluate.main([*common, *arguments]) == 0
        assert capsys.readouterr().out.endswith(told) and ("chosen by" in told or not told)


def test_calibration_divides_as_the_training_did(folded: Dataset, tmp_path: Path):
    """On the data set of the training the held-out objects are the same ones, on another whatever it holds out."""
    other = write_toy(tmp_path / "other", {"train": 60, "validation": 20, "test": 20}, seed=9)
    for arguments in (["--fold", "0"], ["--seed", "5"], ["--labels", "0.5", "--fold", "1"]):
        path = trained(folded, tmp_path / "-".join(arguments).replace(".", ""), *arguments)
        card = load_card(path)
        splits = seen_objects.splits_of_training(card, folded)
        assert splits is not None and len(splits.train) == card.provenance["trained_on"]
        assert len(splits.validation) == card.provenance["validated_on"]
        assert seen_objects.splits_of_training(card, other) is None
        again = dataclasses.replace(card, temperature=20.0, version="")
        weights.save(tmp_path / "hot", weights.load(path)[0], again)
        for data, same in ((folded, True), (other, False)):
            calibration = ["--data", str(data.folder), "--out", str(tmp_path / "again")]
            assert recalibrate.main([str(tmp_path / "hot"), *calibration]) == 0
            assert (load_card(tmp_path / "again").version == card.version) == same


def test_calibration_needs_every_class(toy: Dataset, some_weights: Path, tmp_path: Path, capsys):
    """A split for validation that lacks a class is refused by name."""
    lacking = write_toy(tmp_path / "lacking", {"train": 40, "validation": 3, "test": 20}, seed=9)
    arguments = [str(some_weights), "--data", str(lacking.folder), "--out", str(tmp_path / "again")]
    assert recalibrate.main(arguments) == 2
    assert f"no objects of class {toy.classes[3]} in part 'validation'" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["", ".", "..", "/"])
def test_a_place_without_a_name_is_refused_before_the_work(toy: Dataset, tmp_path: Path, capsys, path: str):
    """Neither command reads weights before it knows where to write some."""
    common = ["no-such", "--data", str(toy.folder), "--out"]
    assert recalibrate.main([*common, path]) == 2
    assert evaluate.main([*common, str(tmp_path / "out"), "--copy-to", path]) == 2
    assert capsys.readouterr().err.count("names a folder: give the path of the weights to write") == 2


def test_what_is_not_unknown_is_refused(toy: Dataset, some_weights: Path, tmp_path: Path, capsys):
    """A set for the unknown score that is empty, of known classes or of another survey ends with status 2."""
    empty = write_toy(tmp_path / "empty", {"test": 0})
    other = write_toy(tmp_path / "other", {"test": 4}, survey="ztf", classes=("TDE", "KN", "Flare", "Bogus"))
    for folder, words in (
        (empty.folder, "holds no objects"),
        (toy.folder, "objects of AGN, SNIa, Variable, SNOther, which the weights know"),
        (other.folder, "is of survey ztf"),
    ):
        arguments = [str(some_weights), "--data", str(toy.folder), "--unknown", str(folder)]
        assert evaluate.main([*arguments, "--out", str(tmp_path / "out")]) == 2
        errors = capsys.readouterr().err
        assert words in errors
        assert errors.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_results_are_not_written_below_a_file(toy: Dataset, some_weights: Path, tmp_path: Path, capsys):
    """An ``--out`` that is a file ends with status 2 and one line."""
    (tmp_path / "file").write_text("")
    arguments = [str(some_weights), "--data", str(toy.folder), "--out", str(tmp_path / "file")]
    assert evaluate.main(arguments) == 2
    assert capsys.readouterr().err == f"ictc-evaluate: {tmp_path}/file: File exists\n"


def test_floors_are_where_they_must_be(toy: Dataset):
    """The majority and the metadata are near chance on a sky without leaks, forced photometry is far above."""
    splits = divide(toy)
    label = toy.labels[splits.test]
    f1 = {}
    for name in BASELINES[:3]:
        p = baseline_probabilities(name, toy, splits.train, splits.test, 0)
        assert np.allclose(p.sum(1), 1)
        f1[name] = macro_f1(label, p.argmax(1), 4)
    assert f1["majority"] == pytest.approx(0.1)
    assert f1["metadata-trees"] < 0.42
    assert f1["photometry-trees"] > 0.6


def test_trees_are_asked_about_beginnings(toy: Dataset):
    """After n nights trees see what was there; those that were trained on beginnings know more of the first night."""
    splits = divide(toy)
    label, loss = toy.labels[splits.test], {}
    for name in ("photometry-trees", "prefix-trees"):
        p, early_VNK = baseline_answers(name, toy, splits.train, splits.test, 0)
        assert early_VNK.shape == (7, 60, 4)
        np.testing.assert_allclose(early_VNK[-1], p)  # no series is longer than twenty nights
        loss[name] = [log_loss(label, p_NK) for p_NK in early_VNK]
        assert loss[name][0] > loss[name][-1]
    assert loss["prefix-trees"][2] < loss["photometry-trees"][2]
    row = int(splits.test[0])
    series = toy.series(row)[:4]
    alone = light_curve_features(series.time_T, series.band_T, series.flux_T, series.flux_error_T)
    np.testing.assert_array_equal(photometry_features(toy, row, 4), alone)


def test_a_stack_has_one_frame_per_band_and_no_time():
    """The mean of the frames of each band remains; fluxes and times are gone."""
    series = toy_series(0, np.random.default_rng(0))
    mean = FORMS["mean_stack"](series)
    assert mean.band_T.tolist() == sorted(set(series.band_T.tolist()))
    assert (mean.time_T == 0).all()
    assert np.isnan(mean.flux_T).all()
    at = series.band_T == mean.band_T[0]
    expected = (series.pixels_TCHW[at].astype(np.float32) * series.scale_TC[at][..., None, None]).mean(0)
    reached = mean.pixels_TCHW[0].astype(np.float32) * mean.scale_TC[0][:, None, None]
    assert np.abs(reached - expected).max() < 2e-3 * np.abs(expected).max()


def test_light_above_the_faintest_forgets_a_constant_host():
    """Adding a constant to the fluxes of a band changes nothing once its faint level is taken off."""
    series = toy_series(1, np.random.default_rng(0))
    brighter = dataclasses.replace(series, flux_T=series.flux_T + 5000 * (series.band_T == 1))
    shown, same = FORMS["above_faintest"](series), FORMS["above_faintest"](brighter)
    np.testing.assert_allclose(shown.flux_T, same.flux_T, atol=1e-2)


def test_the_faint_level_of_a_prefix_knows_nothing_later():
    """Cutting a series and taking its own faint level off equals showing the cut series in that form."""
    series = toy_series(1, np.random.default_rng(0))
    whole = collate([FORMS["above_faintest"](series)])
    cut = run.zeroed(first_frames(whole, 5).curve)
    alone = collate([FORMS["above_faintest"](series[:5])]).curve
    torch.testing.assert_close(cut.flux_BT[:, :5], alone.flux_BT, rtol=1e-4, atol=0.1)


def test_comparison_is_resumable_and_tabulates(toy: Dataset, tmp_path: Path, capsys):
    """What is done is not done again, a second command adds to the table, and pairs are tested on shared runs."""
    short = {"like": "lstm", "stages": [{"epochs": 2, "learning_rate": 0.002}]}
    for name in ("convention-mini", "ict-convention-mini"):
        (tmp_path / f"{name}.json").write_text(json.dumps(short))
    recipe = tmp_path / "quick.json"
    recipe.write_text(json.dumps(short))
    out = tmp_path / "out"
    common = ["--data", str(toy.folder), "--out", str(out), "--seeds", "0,1"]
    assert compare.main([*common, "--systems", "majority"]) == 0
    first = (out / "runs" / "majority-split-seed0.json").stat().st_mtime_ns
    assert compare.main([*common, "--systems", "majority,photometry-trees"]) == 0
    assert (out / "runs" / "majority-split-seed0.json").stat().st_mtime_ns == first
    table = json.loads((out / "table.json").read_text())
    assert [line["system"] for line in table["systems"]] == ["majority", "photometry-trees"]
    assert table["systems"][0]["macro_f1"] == pytest.approx(0.1)
    assert "photometry-trees" in capsys.readouterr().out
    assert compare.main(["--data", str(toy.folder), "--out", str(tmp_path / "none"), "--tables-only"]) == 2


def test_runs_of_another_data_set_are_refused(toy: Dataset, tmp_path: Path, capsys):
    """One folder holds runs on one data set; old runs are compared in what they tell of theirs."""
    out = tmp_path / "out"
    assert compare.main(["--data", str(toy.folder), "--out", str(out), "--systems", "majority", "--seeds", "0"]) == 0
    again = write_toy(tmp_path / "again", {"train": 8, "validation": 4, "test": 8}, seed=1)
    other = ["--data", str(again.folder), "--out", str(out), "--seeds", "0", "--systems"]
    assert compare.main([*other, "metadata-trees"]) == 2
    assert "objects 360, not 20" in capsys.readouterr().err
    path = out / "runs" / "majority-split-seed0.json"
    entry = json.loads(path.read_text())
    path.write_text(json.dumps({**entry, "data": {"survey": "sdss", "recipe": "toy", "seed": 1}}))
    assert compare.main([*other, "majority"]) == 0
    path.write_text(json.dumps({**entry, "data": {"survey": "sdss", "recipe": "toy", "seed": 7}}))
    assert compare.main([*other, "majority", "--tables-only"]) == 2
    assert "seed 7, not 1" in capsys.readouterr().err
    for text in ("{", "[" * 100_000):
        path.write_text(text)
        assert compare.main([*other, "majority"]) == 2
        assert "is not JSON" in capsys.readouterr().err


def test_systems_may_be_files(toy: Dataset, tmp_path: Path, capsys):
    """A recipe's file gives runs of its name; a name that is taken, and a recipe that changed, are refused."""
    recipe = tmp_path / "folder" / "quick.json"
    recipe.parent.mkdir()
    short = {"like": "lstm", "stages": [{"epochs": 1}], "batch_size": 100}
    recipe.write_text(json.dumps(short))
    out = tmp_path / "out"
    arguments = ["--data", str(toy.folder), "--out", str(out), "--seeds", "0", "--systems"]
    assert compare.main([*arguments, f"majority,{recipe}"]) == 0
    assert sorted(path.name for path in (out / "runs").glob("*.json")) == [
        "majority-split-seed0.json",
        "quick-split-seed0.json",
    ]
    run = json.loads((out / "runs" / "quick-split-seed0.json").read_text())
    assert run["train_objects"] == 200  # the recipe does not read the 40 of part "pretrain"
    assert len(run["data"]["sha256"]) == 16
    assert compare.main([*arguments, str(recipe)]) == 0
    recipe.write_text(json.dumps({**short, "batch_size": 50}))
    assert compare.main([*arguments, str(recipe)]) == 2
    assert "of another recipe of that name" in capsys.readouterr().err
    taken = tmp_path / "lstm.json"
    taken.write_text(json.dumps(short))
    for systems in (str(taken), f"{recipe},{tmp_path / 'quick.json'}"):
        (tmp_path / "quick.json").write_text(json.dumps(short))
        assert compare.main([*arguments, systems]) == 2
        assert "would share its runs' name" in capsys.readouterr().err


def test_recipes_that_changed_are_never_pooled(tmp_path: Path):
    """Runs of one name are of one recipe, asked for or not; notes are free, and so are runs that tell of none."""
    (tmp_path / "runs").mkdir()
    followed = load_recipe("lstm").as_json()

    def write(seed: int, system: str, **facts: Any) -> None:
        entry = {"system": system, "seed": seed, "data": {}, **facts}
        (tmp_path / "runs" / f"{system}-split-seed{seed}.json").write_text(json.dumps(entry))

    write(0, "lstm", recipe=followed)
    write(1, "lstm", recipe={key: followed[key] for key in followed if key != "clip_norm"} | {"note": "other words"})
    write(2, "lstm")
    for systems in ({"lstm": load_recipe("lstm")}, {"majority": None}):
        compare.check_runs(tmp_path, {}, systems)
    write(3, "lstm", recipe={**followed, "batch_size": 7})
    for systems in ({"lstm": load_recipe("lstm")}, {"majority": None}):
        with pytest.raises(compare.RunError, match=r"seed3.json is of another recipe .* batch_size 7, not 64"):
            compare.check_runs(tmp_path, {}, systems)


def test_what_a_data_set_lacks_is_told_before_the_first_training(toy: Dataset, tmp_path: Path, capsys):
    """A fold that is not there, and a part that a recipe trains on, end the comparison at once."""
    arguments = ["--data", str(toy.folder), "--out", str(tmp_path / "out"), "--systems", "majority"]
    for fold in ("0,9", "0,-1"):
        assert compare.main([*arguments, f"--folds={fold}"]) == 2
        assert "has no fold" in capsys.readouterr().err
    assert not (tmp_path / "out" / "runs").exists()


def test_a_network_of_the_comparison_is_trained_and_scored(toy: Dataset, tmp_path: Path):
    """A light-curve network leaves its parameters, its curve by nights and the authors' own habit of scoring."""
    cell = run.SystemRun("lstm", None, 0)
    recipe = dataclasses.replace(compare.load_recipe("lstm"), stages=(compare.load_recipe("lstm").stages[0],))
    recipe = dataclasses.replace(recipe, stages=(dataclasses.replace(recipe.stages[0], epochs=3),))
    measured, (p, early_VNK) = run.train_one(cell, recipe, toy, divide(toy), ExecutionSettings(CPU), tmp_path)
    assert p.shape == (60, 4)
    assert measured["parameters"] > 50_000
    assert measured["epochs"] == 3
    assert early_VNK.shape == (7, 60, 4)
    np.testing.assert_allclose(early_VNK[-1], p, atol=1e-5)  # no series is longer than twenty nights
    assert 0 < measured["authors_habit_macro_f1"] <= 1
