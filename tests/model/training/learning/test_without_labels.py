"""Learning without labels: two views alone teach a network, and its weights are a start for one that sees labels."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_sky import write_toy

from model.data.dataset import Dataset
from model.serving.weights import load
from model.training.data.augment import Augmentation
from model.training.data.dataset_facts import measure
from model.training.data.splits import SplitsError, divide, with_fewer_labels
from model.training.learning.execution import ExecutionSettings
from model.training.learning.progress import Progress
from model.training.learning.recipe import PULLS_WITHOUT_LABELS, Ict, Recipe, RecipeError, Stage, load_recipe, recipe_of
from model.training.learning.trainer import Training
from model.training.setup import learned_objects, make_loaders, make_network, rows_of
from model.training.train import main

CPU = torch.device("cpu")
NETWORK = {"network": "convention", "width": 0.1, "size": 15, "dropout": 0.1}
ALONE = Recipe(
    name="alone",
    network=NETWORK,
    stages=(Stage("pretrain", epochs=1, loss="none"),),
    ict=Ict(pull="cosine", projection_width=16),
    batch_size=20,
)


def trained(recipe: Recipe, data: Dataset, labels_shuffled: bool = False) -> dict[str, torch.Tensor]:
    splits = divide(data)
    network = make_network(recipe, measure(data, splits.train), 1)
    loaders = make_loaders(data, splits, recipe, network, CPU)
    if labels_shuffled:
        loader = loaders["pretrain"]
        loader.label_N = loader.label_N[torch.randperm(len(loader), generator=torch.Generator().manual_seed(5))]
    Training(recipe, network, loaders, len(data.classes), 1, ExecutionSettings(CPU), Progress(None, quiet=True)).run()
    return network.state_dict()


@pytest.mark.parametrize("pull", PULLS_WITHOUT_LABELS)
def test_labels_are_not_looked_at(toy: Dataset, pull: str):
    """Labels dealt out anew lead to the same weights, to the bit; and the backbone has moved."""
    recipe = dataclasses.replace(ALONE, ict=dataclasses.replace(ALONE.ict, pull=pull))
    labelled, shuffled = trained(recipe, toy), trained(recipe, toy, labels_shuffled=True)
    assert all(torch.equal(labelled[name], shuffled[name]) for name in labelled)
    fresh = make_network(recipe, measure(toy, divide(toy).train), 1).state_dict()
    assert not torch.equal(labelled["stem.convolutions.1.weight"], fresh["stem.convolutions.1.weight"])
    assert torch.equal(labelled["output.weight"], fresh["output.weight"])


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"ict": {"pull": "none"}}, "ict.pull"),
        ({"ict": {"pull": "supervised_contrastive"}}, "ict.pull"),
        ({"ict": {"pull": "cosine", "class_positive": True}}, "class_positive"),
        ({"ict": {"pull": "cosine", "weight": 0.0}}, "with a weight"),
        ({"keep": "best_f1"}, "keep is 'best_f1'"),
        ({"stages": [{"loss": "none", "sampler": "weighted"}]}, "sampler"),
    ],
)
def test_recipes_that_would_need_labels_are_refused(changed: dict, what: str):
    """A loss without labels beside anything that asks for them is refused, with what to change."""
    table = {"name": "x", "network": NETWORK, "ict": {"pull": "cosine"}, "stages": [{"loss": "none"}]}
    assert recipe_of(table).stages[0].without_labels
    with pytest.raises(RecipeError, match=what):
        recipe_of(table | changed)


def test_a_network_of_prefixes_learns_without_labels(toy: Dataset):
    """Vigil's views are pulled together by what is known of whole series, as its classes are not asked for."""
    recipe = load_recipe("vigil-ict-mini")
    network = {**recipe.network, "size": 15}
    recipe = dataclasses.replace(recipe, network=network, stages=ALONE.stages, keep="last", batch_size=20)
    before = make_network(recipe, measure(toy, divide(toy).train), 1).state_dict()
    after = trained(recipe, toy)
    assert any(not torch.equal(after[name], before[name]) for name in after)
    assert all(torch.equal(after[name], before[name]) for name in after if name.startswith("output."))


def test_two_views_of_which_nothing_differs_are_refused(toy: Dataset):
    """Stamps that are turned teach no network of light curves, and stamps that are not teach no network at all."""
    light_curves = dataclasses.replace(load_recipe("lstm"), stages=ALONE.stages, ict=ALONE.ict, keep="last")
    still = dataclasses.replace(ALONE, augmentation=Augmentation(dihedral=False))
    facts = measure(toy, divide(toy).train)
    for recipe in (light_curves, still):
        with pytest.raises(RecipeError, match="would read the same in both"):
            make_network(recipe, facts, 1)
        own = dataclasses.replace(
            recipe, ict=dataclasses.replace(recipe.ict, own_frames=True), augmentation=Augmentation(drop_frames=0.3)
        )
        make_network(own, facts, 1)


def test_unlabelled_objects_are_all_that_no_other_part_keeps(toy: Dataset):
    """Part ``all`` is what there is to learn from, also where a data set has no photometric labels."""
    splits = divide(toy)
    assert len(splits.all) == len(splits.pretrain) + len(splits.train)
    recipe = dataclasses.replace(ALONE, stages=(Stage("all", epochs=1, loss="none"),))
    assert learned_objects(recipe, splits) == len(splits.all)
    unlabelled = dataclasses.replace(splits, pretrain=splits.pretrain[:0])
    assert np.array_equal(rows_of(recipe, unlabelled)["all"], splits.train)
    assert {stage.part for name in ("ict-pretrain", "dino-pretrain") for stage in load_recipe(name).stages} == {"all"}


def test_fewer_labels_are_of_every_class(toy: Dataset):
    """A share of the labels has of every class its share, at least one; a smaller share is a part of it."""
    splits = divide(toy)
    few, some = (with_fewer_labels(splits, toy.labels, share, 3) for share in (0.01, 0.2))
    assert set(few.train) <= set(some.train) <= set(splits.train)
    assert set(toy.labels[few.train]) == set(toy.labels[splits.train])
    for label, count in enumerate(np.bincount(toy.labels[splits.train])):
        assert np.sum(toy.labels[some.train] == label) == max(1, round(0.2 * count))
    assert np.array_equal(some.validation, splits.validation)
    with pytest.raises(SplitsError, match="share of labels is 0"):
        with_fewer_labels(splits, toy.labels, 0.0)


def test_a_network_without_labels_is_one_to_start_from(
    toy: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Its card says that it is untrained; tuned on a share of the labels it answers, and tells what it began with."""
    alone, tune = tmp_path / "alone.json", tmp_path / "tune.json"
    table = {"network": NETWORK, "batch_size": 20}
    alone.write_text(
        json.dumps(table | {"ict": {"pull": "cosine"}, "stages": [{"part": "pretrain", "epochs": 1, "loss": "none"}]})
    )
    tune.write_text(json.dumps(table | {"stages": [{"epochs": 1, "renew_head": True}]}))
    common = ["--data", str(toy.folder), "--quiet"]
    assert main([str(alone), *common, "--out", str(tmp_path / "a")]) == 0
    assert "--start-from" in capsys.readouterr().out
    _, card = load(tmp_path / "a" / "weights")
    assert not card.trained
    started = ["--start-from", str(tmp_path / "a" / "weights"), "--labels", "0.2"]
    assert main([str(tune), *common, "--out", str(tmp_path / "b"), *started]) == 0
    _, tuned = load(tmp_path / "b" / "weights")
    assert tuned.trained
    assert tuned.provenance["started_from"] == card.version
    assert tuned.provenance["share_of_labels"] == 0.2


def test_a_network_without_labels_needs_no_class_to_validate_on(tmp_path: Path):
    """What is not calibrated asks for no labels of validation objects."""
    few = write_toy(tmp_path / "few", {"pretrain": 40, "train": 40, "validation": 3, "test": 8})
    recipe = tmp_path / "alone.json"
    recipe.write_text(json.dumps(ALONE.as_json()))
    assert main([str(recipe), "--data", str(few.folder), "--quiet", "--out", str(tmp_path / "out")]) == 0
