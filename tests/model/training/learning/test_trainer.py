"""Training: it lowers the loss, goes on exactly after a kill, and its control on permuted labels stays at chance."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from full_disk import little_room
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from toy_sky import write_toy

from model.data.dataset import Dataset
from model.networks import convention, registry
from model.networks.layers import fused
from model.serving.card import WeightsError
from model.serving.predictor import Predictor
from model.serving.weights import load, save
from model.training.data.augment import Augmentation
from model.training.data.dataset_facts import measure
from model.training.data.loader import Loader
from model.training.data.splits import divide
from model.training.evaluation.predict import predict
from model.training.evaluation.scoring import macro_f1
from model.training.learning import losses, trainer
from model.training.learning.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from model.training.learning.execution import ExecutionSettings
from model.training.learning.losses import ldam_margins
from model.training.learning.parameters import head_parameters, renew
from model.training.learning.progress import Progress
from model.training.learning.recipe import Ict, Recipe, RecipeError, Stage, load_recipe, recipe_of
from model.training.learning.trainer import Training, learning_rate, views
from model.training.setup import make_card, make_loaders, make_network
from model.training.train import main, names_of_head, start_from

Spoil = Callable[[dict[str, Tensor], dict[str, Any]], object]

CPU = torch.device("cpu")
PLAINLY = ExecutionSettings(CPU)
PLAIN = Recipe(
    name="plain",
    network={"network": "convention", "width": 0.125, "dropout": 0.1},
    stages=(Stage(epochs=6, learning_rate=3e-3),),
    augmentation=Augmentation(drop_frames=0.2, rotation_deg=15.0, noise_probability=0.5, noise_factor=1.5),
    batch_size=40,
)
TWO_STAGES = dataclasses.replace(
    PLAIN,
    name="two-stages",
    stages=(
        Stage("pretrain", epochs=2),
        Stage("train", epochs=2, sampler="weighted", freeze_backbone=True, renew_head=True),
    ),
    ict=Ict(pull="cosine", projection_width=16),
    average_momentum=0.9,
)


def prepare(
    recipe: Recipe, data: Dataset, folder: Path | None = None, seed: int = 3, engine: ExecutionSettings = PLAINLY
) -> Training:
    splits = divide(data)
    network = make_network(recipe, measure(data, splits.train), seed)
    loaders = make_loaders(data, splits, recipe, network, CPU)
    return Training(recipe, network, loaders, len(data.classes), seed, engine, Progress(None, quiet=True), folder)


def test_training_on_two_hundred_objects_lowers_the_loss(toy: Dataset):
    """Six epochs bring the loss well down, and the validation set above chance."""
    history = prepare(PLAIN, toy, seed=4).run()
    assert len(history) == 6
    assert history[-1]["loss"] < 0.85 * history[0]["loss"]
    assert max(entry["validation_macro_f1"] for entry in history) > 0.3


@pytest.mark.parametrize("recipe", [PLAIN, TWO_STAGES], ids=lambda recipe: recipe.name)
def test_a_killed_training_goes_on_to_the_same_weights(toy: Dataset, tmp_path: Path, recipe: Recipe):
    """Stopped in the middle of an epoch and resumed by another process's objects, it ends in the same bits."""
    recipe = dataclasses.replace(recipe, stages=tuple(dataclasses.replace(s, epochs=2) for s in recipe.stages))
    whole = prepare(recipe, toy)
    expected = whole.run()
    prepare(recipe, toy, tmp_path).run(stop_after_steps=4)
    again = prepare(recipe, toy, tmp_path)
    torch.manual_seed(999)
    history = again.run(resume=True)
    without_times = [{k: v for k, v in entry.items() if k != "seconds"} for entry in history]
    assert without_times == [{k: v for k, v in entry.items() if k != "seconds"} for entry in expected]
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name]), name


def test_an_interrupted_training_goes_on_to_the_same_weights(toy: Dataset, tmp_path: Path):
    """Asked to stop, it saves a checkpoint of that very step; gone on with, it ends in the same bits."""
    recipe = dataclasses.replace(PLAIN, stages=(Stage(epochs=2),))
    whole = prepare(recipe, toy)
    whole.run()
    stops = iter([False, False, True])
    stopped = prepare(recipe, toy, tmp_path)
    stopped.interrupted = lambda: next(stops)
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    assert stopped.place.step == 3
    assert stopped.place.seconds > 0
    stopped.place.seconds = 1000.0
    stopped._save()
    again = prepare(recipe, toy, tmp_path)
    first, second = again.run(resume=True)
    assert first["seconds"] > 1000 > second["seconds"]  # an epoch takes what it took before the stop, too
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name]), name


def test_an_epoch_of_several_passes_takes_every_object_as_often(toy: Dataset, monkeypatch: pytest.MonkeyPatch):
    """Three passes are three times the steps, each pass in an order of its own; less than one pass is refused."""
    recipe = dataclasses.replace(PLAIN, stages=(Stage(epochs=1, passes=3),), batch_size=20)
    training, shown = prepare(recipe, toy), []

    def noted(recipe: Recipe, loader: Loader, index: torch.Tensor, seed: int):
        shown.append(index)
        return views(recipe, loader, index, seed)

    monkeypatch.setattr(trainer, "views", noted)
    training.run()
    first, second, third = torch.cat(shown).chunk(3)
    assert len(first) == len(training.loaders["train"]) // 20 * 20
    assert len(set(first.tolist())) == len(set(second.tolist())) == len(set(third.tolist())) == len(first)
    assert not torch.equal(first, second)
    with pytest.raises(RecipeError, match=r"stages\[0\].passes is 0: it must be from 1"):
        recipe_of({**recipe.as_json(), "stages": [{"passes": 0}]})


def test_what_begins_like_another_training_goes_on_from_its_first_stage(toy: Dataset, tmp_path: Path):
    """A recipe that differs in its second stage alone ends in the bits of a training of its own, without the first."""
    first, second = TWO_STAGES.stages
    other = dataclasses.replace(
        TWO_STAGES, name="other", stages=(first, dataclasses.replace(second, sampler="shuffle"))
    )
    whole = prepare(other, toy)
    whole.run()
    began = prepare(TWO_STAGES, toy)
    began.stage_ends = tmp_path / "stages"  # made by the training
    history = began.run()
    again = prepare(other, toy)
    again.stage_ends = tmp_path / "stages"
    assert again.run(resume=True)[:2] == history[:2]  # with the seconds that it took
    assert len(again.log) == 4
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name]), name


def test_a_full_disk_keeps_the_checkpoint_that_was_there(toy: Dataset, tmp_path: Path):
    """A checkpoint that cannot be written is an error; the one before it stays, and nothing half-written."""
    prepare(PLAIN, toy, tmp_path).run(stop_after_steps=1)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    with little_room(10_000), pytest.raises(CheckpointError, match="make room"):
        prepare(PLAIN, toy, tmp_path).run(resume=True, stop_after_steps=1)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.safetensors"]


def test_a_finished_training_resumes_to_what_it_was(toy: Dataset, tmp_path: Path):
    """Resuming after the end changes nothing."""
    recipe = dataclasses.replace(PLAIN, stages=(Stage(epochs=1),))
    first = prepare(recipe, toy, tmp_path)
    first.run()
    second = prepare(recipe, toy, tmp_path)
    second.run(resume=True)
    for name, tensor in first.network.state_dict().items():
        assert torch.equal(tensor, second.network.state_dict()[name]), name


def test_a_checkpoint_of_another_recipe_is_refused(toy: Dataset, tmp_path: Path):
    """Changing the recipe between two runs into one folder is an error that says so."""
    prepare(PLAIN, toy, tmp_path).run(stop_after_steps=1)
    with pytest.raises(CheckpointError, match="batch_size 40, not 20"):
        prepare(dataclasses.replace(PLAIN, batch_size=20), toy, tmp_path).run(resume=True)


def test_a_checkpoint_from_before_a_setting_was_there_is_gone_on_from(toy: Dataset, tmp_path: Path):
    """What a checkpoint does not know of recipe and network is as its default: it goes on to the same weights."""
    recipe = dataclasses.replace(PLAIN, stages=(Stage(epochs=1),))
    whole = prepare(recipe, toy)
    whole.run()
    prepare(recipe, toy, tmp_path).run(stop_after_steps=2)
    tensors, state = load_checkpoint(tmp_path / "checkpoint.safetensors")
    del state["identity"]["recipe"]["augmentation"]["single_alerts"]
    del state["identity"]["network"]["attention"]
    save_checkpoint(tmp_path / "checkpoint.safetensors", tensors, state)
    again = prepare(recipe, toy, tmp_path)
    again.run(resume=True)
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name]), name


def test_a_checkpoint_with_a_damaged_state_is_refused(tmp_path: Path):
    """Text that is no JSON, or too deep to be followed, is told with the file and the remedy."""
    for text in ("{", "[" * 100_000):
        save_file({"a": torch.zeros(1)}, tmp_path / "c", metadata={"state": text})
        with pytest.raises(CheckpointError, match=r"damaged state: .*; remove it to start anew"):
            load_checkpoint(tmp_path / "c")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda tensors, state: state["place"].update(epoch="two"),
        lambda tensors, state: state["place"].update(stage=7),
        lambda tensors, state: state.update(place=[]),
        lambda tensors, state: state.update(history=3),
        lambda tensors, state: state.update(identity=[]),
        lambda tensors, state: state["identity"].pop("network"),
        lambda tensors, state: tensors.pop(next(name for name in tensors if name.startswith("objective."))),
        lambda tensors, state: tensors.update({name: torch.zeros(3, 3, 3, 3, 3) for name in tensors}),
    ],
)
def test_a_whole_checkpoint_of_parts_that_do_not_fit_is_refused(toy: Dataset, tmp_path: Path, spoil: Spoil):
    """A file that can be read, with a place, a log or weights that no training left, is told with the remedy."""
    prepare(PLAIN, toy, tmp_path).run(stop_after_steps=1)
    path = tmp_path / "checkpoint.safetensors"
    tensors, state = load_checkpoint(path)
    spoil(tensors, state)
    save_checkpoint(path, tensors, state)
    with pytest.raises(CheckpointError, match=r"does not fit this training \(.+\); remove it to start anew"):
        prepare(PLAIN, toy, tmp_path).run(resume=True)


def test_a_checkpoint_of_another_data_set_is_refused(toy: Dataset, tmp_path: Path):
    """A checkpoint of other data, or of another fold of the same, is not gone on from, and the error says which."""
    begun = prepare(PLAIN, toy, tmp_path)
    begun.origin = {"data set": {"seed": 1, "sha256": "a"}, "fold": None}
    begun.run(stop_after_steps=1)
    for origin, words in (
        ({"data set": {"seed": 2, "sha256": "b"}, "fold": None}, "data set .seed 1, not 2, sha256 'a', not 'b'."),
        ({"data set": {"seed": 1, "sha256": "a"}, "fold": 3}, "fold None, not 3"),
    ):
        other = prepare(PLAIN, toy, tmp_path)
        other.origin = origin
        with pytest.raises(CheckpointError, match=words):
            other.run(resume=True)


def test_a_checkpoint_begun_at_other_weights_or_labels_is_refused(toy: Dataset, tmp_path: Path):
    """One that tells neither, of an earlier version, is of all labels and of weights as drawn."""
    plain = {"labels": 1.0, "started_from": None}
    for begun_as, goes_on, words in (
        ({}, plain, None),
        ({}, {"labels": 0.5, "started_from": None}, "labels 1, not 0.5"),
        (plain, {"labels": 1.0, "started_from": "a"}, "started_from None, not 'a'"),
        ({"labels": 0.5, "started_from": "a"}, plain, "labels 0.5, not 1.0, started_from 'a', not None"),
    ):
        begun, other = prepare(PLAIN, toy, tmp_path), prepare(PLAIN, toy, tmp_path)
        begun.origin, other.origin = begun_as, goes_on
        begun.run(stop_after_steps=1)
        if words is None:
            other.run(resume=True, stop_after_steps=1)
        else:
            with pytest.raises(CheckpointError, match=words):
                other.run(resume=True)


def test_a_training_that_breaks_is_told_with_its_epoch(toy: Dataset, monkeypatch: pytest.MonkeyPatch):
    """A loss that is no number, and weights that the last step broke, end the epoch with what to change."""
    training = prepare(dataclasses.replace(PLAIN, batch_size=200), toy)

    def broken() -> bool:
        training.network.state_dict()["output.bias"].fill_(torch.nan)
        return False

    training.interrupted = broken
    with pytest.raises(RecipeError, match=r"stages\[0\], epoch 0: some weights are not finite; lower the learning"):
        training.run()
    monkeypatch.setitem(losses.CLASS_LOSSES, "cross_entropy", lambda logits, *others: logits.sum(1) * torch.nan)
    with pytest.raises(RecipeError, match=r"stages\[0\], epoch 0: the loss is nan; lower the learning_rate"):
        prepare(PLAIN, toy).run()


@pytest.mark.parametrize(
    "ict",
    [
        Ict("cosine", predictor=False),
        Ict("cosine", momentum=None, class_positive=True),
        Ict("dino"),
        Ict("supervised_contrastive"),
        Ict("balanced_contrastive"),
    ],
    ids=["no-predictor", "no-momentum", "dino", "supervised", "balanced"],
)
def test_every_way_to_pull_views_together_trains(toy: Dataset, ict: Ict):
    """One epoch of each gives a finite loss and leaves the target network without gradients."""
    recipe = dataclasses.replace(PLAIN, stages=(Stage("pretrain", epochs=1),), ict=ict, batch_size=20)
    training = prepare(recipe, toy)
    history = training.run()
    assert np.isfinite(history[0]["loss"])
    if training.objective.target is not None:
        assert all(parameter.grad is None for parameter in training.objective.target.parameters())


@pytest.mark.parametrize("dropout", [True, False])
def test_the_target_drops_features_only_where_asked(toy: Dataset, dropout: bool):
    """Without it the target says the same of a view every time; its batch norms stay those of the batch at hand."""
    ict = Ict("cosine", projection_width=16, target_dropout=dropout)
    training = prepare(dataclasses.replace(PLAIN, network={**PLAIN.network, "dropout": 0.5}, ict=ict), toy)
    objective = training.objective.eval().train()
    first, *_ = views(training.recipe, training.loaders["train"], torch.arange(20), seed=1)
    assert objective.target is not None
    once, again = objective.target(first), objective.target(first)
    assert torch.equal(once, again) is not dropout
    kinds = {type(module).__name__: module.training for module in objective.target.modules()}
    assert kinds["Dropout"] is dropout and all(on for name, on in kinds.items() if "Norm" in name)


def test_the_log_tells_the_pull_apart_from_the_loss(toy: Dataset):
    """Its mean over an epoch's steps, before its weight."""
    once = dataclasses.replace(PLAIN, stages=(Stage(epochs=1),))
    entry = prepare(dataclasses.replace(once, ict=Ict("cosine", projection_width=16)), toy).run()[0]
    assert 0 < entry["pull"] <= 8  # both views, each 0 to 4
    assert "pull" not in prepare(once, toy).run()[0]


def test_a_pull_of_weight_nothing_is_two_views(toy: Dataset):
    """Both views have their class loss, as beside a pull, and nothing is pulled or followed."""
    ict = Ict("cosine", projection_width=16, weight=0.0)
    training = prepare(dataclasses.replace(PLAIN, stages=(Stage(epochs=1),), ict=ict), toy)
    assert training.objective.target is None and training.objective.projector is None
    loader, stage = training.loaders["train"], training.recipe.stages[0]
    first, second, label_B = views(training.recipe, loader, torch.arange(20), seed=1)
    training.objective.eval()
    parts = training.objective(first, second, label_B, loader.counts(4), stage, 0.0)
    alone = [training.objective(view, None, label_B, loader.counts(4), stage, 0.0)["loss"] for view in (first, second)]
    assert parts["loss"].item() == pytest.approx(sum(loss.item() for loss in alone), rel=1e-5)
    assert "pull" not in parts and "pull" not in training.run()[0]


@pytest.mark.parametrize("own", [False, True])
def test_two_views_show_the_same_frames_or_each_its_own(toy: Dataset, own: bool):
    """The second view has the first one's frames, unless the recipe draws its own; then it has others of them."""
    ict = Ict("cosine", projection_width=16, own_frames=own)
    augmentation = Augmentation(draw_runs=1)
    training = prepare(dataclasses.replace(PLAIN, ict=ict, augmentation=augmentation), toy)
    first, second, _ = views(training.recipe, training.loaders["train"], torch.arange(20), seed=1)
    assert second is not None
    same = [torch.equal(*times) for times in zip(first.curve.time_BT, second.curve.time_BT, strict=True)]
    assert all(same) if not own else sum(same) < 15  # of 20: short series have few others


def test_two_views_are_pulled_together_beside_a_loss_on_prefixes(toy: Dataset):
    """ICT for Vigil: the loss is that of the prefixes of both views and the pull, and the target learns nothing."""
    recipe = load_recipe("vigil-ict-mini")
    recipe = dataclasses.replace(recipe, network={**recipe.network, "size": 15}, batch_size=20)
    training = prepare(recipe, toy)
    loader = training.loaders["train"]
    first, second, label_B = views(recipe, loader, torch.arange(20), seed=1)
    stage, counts_K = recipe.stages[0], loader.counts(4)
    torch.manual_seed(0)
    both = training.objective(first, second, label_B, counts_K, stage, 0.0)
    torch.manual_seed(0)
    alone = training.objective(first, None, label_B, counts_K, stage, 0.0)
    loss, pull = both["loss"], both["pull"].item()
    assert pull > 0
    assert both["whole"].item() == pytest.approx(alone["whole"].item(), rel=1e-5)
    assert loss.item() > alone["loss"].item() + pull
    loss.backward()
    assert training.objective.target is not None
    assert all(parameter.grad is None for parameter in training.objective.target.parameters())


@pytest.mark.parametrize("other", ["own_frames", "class_positive"])
def test_views_of_other_lengths_are_each_judged_by_their_own_prefixes(toy: Dataset, other: str):
    """A second view with other frames, or of another object, costs what it would cost alone."""
    recipe = load_recipe("vigil-ict-mini")
    recipe = dataclasses.replace(
        recipe,
        network={**recipe.network, "size": 15},
        ict=dataclasses.replace(recipe.ict, **{other: True}),
        augmentation=Augmentation(truncate_probability=0.8),
        batch_size=20,
    )
    training = prepare(recipe, toy)
    objective, loader = training.objective.eval(), training.loaders["train"]
    first, second, label_B = views(recipe, loader, torch.arange(20), seed=1)
    assert second is not None
    assert first.curve.mask_BT.sum(1).tolist() != second.curve.mask_BT.sum(1).tolist()
    stage, counts_K = recipe.stages[0], loader.counts(4)
    both = objective(first, second, label_B, counts_K, stage, 0.0)
    alone = [objective(view, None, label_B, counts_K, stage, 0.0)["loss"] for view in (first, second)]
    expected = sum(alone) + recipe.ict.weight * both["pull"]
    assert both["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("name", ["ict-convention", "cnn-gru", "sits-bert", "supernnova-bayesian", "scone", "vigil"])
def test_half_precision_trains_alike(toy: Dataset, name: str):
    """A step with products in bfloat16 has the loss of one in float32 to 2 %, and moves the weights as far."""
    recipe = load_recipe(name)
    narrow = {"width": 0.125} if recipe.network["network"] in ("convention", "cnn_rnn") else {}
    recipe = dataclasses.replace(recipe, network={**recipe.network, **narrow}, batch_size=20)
    summed, moves = [], []
    for precision in ("float32", "bfloat16"):
        training = prepare(recipe, toy, engine=ExecutionSettings(CPU, precision))
        before = [parameter.detach().clone() for parameter in training.network.parameters()]
        training.run(stop_after_steps=1)
        after = [parameter.detach() for parameter in training.network.parameters()]
        summed.append(training.place.loss_sum)
        moves.append(sum(float((b - a).abs().sum()) for b, a in zip(before, after, strict=True)))
    assert summed[1] == pytest.approx(summed[0], rel=0.02)
    assert summed[1] != summed[0]
    assert moves[1] == pytest.approx(moves[0], rel=0.05)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch's own, while it traces
@pytest.mark.parametrize("spectra", [False, True])  # a GPU's way and a processor's
def test_a_compiled_step_is_the_same_step(spectra: bool, toy: Dataset, monkeypatch: pytest.MonkeyPatch):
    """Traced for compilation, as a whole or between products of spectra, two steps lead to the same weights."""
    monkeypatch.setattr(convention, "SPECTRA_ON_PROCESSORS", spectra)  # which no compiler of a whole step sees
    monkeypatch.setattr(convention.Stem, "by_rows", lambda stem, x: False)  # nor this: a GPU's way
    monkeypatch.setattr(fused, "BACKEND", "aot_eager")  # without generating code
    plain, compiled = prepare(PLAIN, toy), prepare(PLAIN, toy)
    plain.run(stop_after_steps=2)
    if spectra:
        monkeypatch.setattr(fused, "_compiling", True)
    else:
        compiled.runner = torch.compile(compiled.objective, backend="aot_eager")
    compiled.run(stop_after_steps=2)
    for name, tensor in plain.network.state_dict().items():
        assert torch.allclose(tensor, compiled.network.state_dict()[name], atol=1e-5), name


def test_a_frozen_backbone_does_not_move(toy: Dataset):
    """With the backbone frozen only the head's parameters change, running statistics included."""
    recipe = dataclasses.replace(PLAIN, stages=(Stage("pretrain", epochs=1, freeze_backbone=True),), batch_size=20)
    training = prepare(recipe, toy)
    before = {name: tensor.clone() for name, tensor in training.network.state_dict().items()}
    training.run()
    moved = {name for name, tensor in training.network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {"output.weight", "output.bias"}


def test_a_frozen_backbone_of_the_authors_keeps_its_statistics_moving(toy: Dataset):
    """Their new head has both dense layers; the backbone's weights stay, its batch norms go on."""
    stage = Stage(
        epochs=1, freeze_backbone=True, frozen_statistics=False, renew_head=True, head="dense",
        loss="focal_of_mean", class_weights="balanced", sampler="weighted",
    )  # fmt: skip
    training = prepare(dataclasses.replace(PLAIN, stages=(stage,), batch_size=20), toy)
    before = {name: tensor.clone() for name, tensor in training.network.state_dict().items()}
    training.run()
    moved = {name for name, tensor in training.network.state_dict().items() if not torch.equal(tensor, before[name])}
    statistics = {name for name in moved if name.endswith(("running_mean", "running_var", "num_batches_tracked"))}
    assert moved - statistics == {"dense.weight", "dense.bias", "output.weight", "output.bias"}
    assert any(name.startswith("stem.") for name in statistics)


def test_weights_of_classes_are_those_of_the_split():
    """Balanced weights of the published mix are the ones worked out by hand, whatever the sampler draws."""
    pretraining = losses.balanced_weights(torch.tensor([362.0, 1448, 1290, 2041]))
    torch.testing.assert_close(pretraining, torch.tensor([3.550, 0.888, 0.996, 0.630]), rtol=1e-3, atol=1e-3)
    tuning = losses.balanced_weights(torch.tensor([362.0, 400, 1290, 72]))
    torch.testing.assert_close(tuning, torch.tensor([1.467, 1.328, 0.412, 7.375]), rtol=1e-3, atol=1e-3)
    logits, label = torch.randn(12, 4), torch.arange(12) % 4
    counts = torch.full((4,), 3.0)
    plain = losses.focal_of_mean(logits, label, counts)
    torch.testing.assert_close(losses.focal_of_mean(logits, label, counts, weight_K=torch.full((4,), 7.0)), plain)
    assert not torch.allclose(losses.focal_of_mean(logits, label, counts, weight_K=tuning), plain)


def test_only_a_network_with_a_dense_head_trains_it_alone(toy: Dataset):
    """Asked of another network, the recipe is refused with the remedy."""
    stage = Stage(epochs=1, freeze_backbone=True, head="dense")
    recipe = dataclasses.replace(PLAIN, network={"network": "lstm"}, stages=(stage,))
    with pytest.raises(RecipeError, match="head 'last'"):
        prepare(recipe, toy).run()


def test_only_a_network_of_prefixes_learns_from_them(toy: Dataset):
    """Asked of another network, the recipe is refused with the remedy."""
    with pytest.raises(RecipeError, match="prefix 'all', and convention knows no prefixes: use prefix 'none'"):
        prepare(dataclasses.replace(PLAIN, prefix="all"), toy)


def test_every_epoch_tells_how_far_the_classes_lie_apart(toy: Dataset):
    """The history holds scatter within and between the classes and the silhouette, beside the scores."""
    recipe = dataclasses.replace(PLAIN, stages=(Stage(epochs=1),))
    (entry,) = prepare(recipe, toy).run()
    assert entry["validation_within"] > 0
    assert entry["validation_between"] >= 0
    assert -1 <= entry["validation_silhouette"] <= 1


def test_one_validation_object_a_class_has_no_silhouette(tmp_path: Path):
    """The epoch is scored all the same."""
    few = write_toy(tmp_path / "few", {"train": 40, "validation": 4, "test": 8})
    (entry,) = prepare(dataclasses.replace(PLAIN, stages=(Stage(epochs=1),)), few).run()
    assert np.isfinite(entry["validation_log_loss"])
    assert "validation_silhouette" not in entry


def test_permuted_labels_teach_nothing(toy: Dataset):
    """Trained on shuffled labels, the network stays near chance on the test split: no object leaks."""
    splits = divide(toy)
    training = prepare(PLAIN, toy)
    loader = training.loaders["train"]
    loader.label_N = loader.label_N[torch.randperm(len(loader), generator=torch.Generator().manual_seed(1))]
    training.run()
    test = Loader(toy, splits.test, training.network.frame_limit, CPU)
    chosen = predict(training.network, test).argmax(1)
    assert macro_f1(test.label_N.numpy(), chosen, 4) < 0.42


@pytest.mark.parametrize(
    ("head", "expected"), [("linear", {"output.weight", "output.bias"}), ("cosine", {"output.weight"})]
)
def test_the_head_is_what_acts_after_the_features(head: str, expected: set[str]):
    """Of ConvEntion that is its last layer, which can be drawn anew."""
    network = registry.build({"network": "convention", "size": 15, "width": 0.1, "frame_limit": 6, "head": head})
    before = {name: parameter.clone() for name, parameter in network.named_parameters()}
    of_head = head_parameters(network)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    assert {names[id(p)] for p in of_head} == expected
    renew(network, of_head)
    assert {name for name, p in network.named_parameters() if not torch.equal(p, before[name])} == expected


def test_margins_are_in_the_units_of_the_head(toy: Dataset):
    """The recipe of LDAM takes thirty times its margins off the logits of a cosine head, and teaches classes."""
    shipped = load_recipe("convention-ldam-drw")
    recipe = dataclasses.replace(
        PLAIN,
        network={**PLAIN.network, "head": shipped.network["head"]},
        stages=(Stage(epochs=9, learning_rate=3e-3, loss="ldam"),),
    )
    training = prepare(recipe, toy)
    frames, label = training.loaders["train"].batch(torch.arange(8))
    counts = torch.tensor([400.0, 100.0, 50.0, 10.0])
    training.objective.eval()
    with torch.no_grad():
        expected = training.network(frames)
        expected[torch.arange(8), label] -= 30 * ldam_margins(counts)[label]
        loss = training.objective(frames, None, label, counts, recipe.stages[0], 0.0)["loss"]
    torch.testing.assert_close(loss, functional.cross_entropy(expected, label))
    history = training.run()
    assert history[-1]["loss"] < history[0]["loss"] - 0.5
    assert max(entry["validation_macro_f1"] for entry in history) > 0.3


def test_the_learning_rate_rises_then_falls():
    """It climbs linearly over the warm-up, and half a cosine takes it to nearly nothing."""
    stage = Stage(learning_rate=1.0, warm_up=0.1)
    rates = [learning_rate(stage, step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert rates[10] == 1.0
    assert 0 < rates[-1] < 0.01


def test_the_command_writes_weights_that_can_be_read(toy: Dataset, tmp_path: Path):
    """``ictc-train`` ends with status 0 and weights whose card says what trained them."""
    recipe = tmp_path / "short.json"
    recipe.write_text('{"like": "convention-mini", "stages": [{"epochs": 1}], "network": {"width": 0.125, "size": 15}}')
    out = tmp_path / "out"
    arguments = [str(recipe), "--data", str(toy.folder), "--out", str(out), "--quiet", "--half"]
    assert main(arguments) == 0
    network, card = load(out / "weights")
    assert card.trained
    assert card.form == "compressed"
    with pytest.raises(WeightsError, match="train with form 'series'"):
        Predictor.load(out / "weights")
    assert card.provenance["recipe"]["name"] == "short"
    assert card.provenance["validation_scores"]["objects"] == 60
    assert card.provenance["trained_on"] == 200  # no stage reads part "pretrain"
    assert network.config.width == 0.125
    assert (out / "history.jsonl").read_text().count("\n") == 1
    assert main([*arguments, "--resume"]) == 0


def test_the_command_measures_strangeness_as_asked(toy: Dataset, tmp_path: Path):
    """With ``--unknown-score energy`` no memory of the training objects is made, nor kept in the weights."""
    recipe = tmp_path / "short.json"
    recipe.write_text('{"like": "lstm", "stages": [{"epochs": 1}]}')
    arguments = [str(recipe), "--data", str(toy.folder), "--out", str(tmp_path / "out"), "--quiet"]
    kept = []
    for more in ([], ["--resume", "--unknown-score", "energy"]):
        assert main([*arguments, *more]) == 0
        network, card = load(tmp_path / "out" / "weights")
        assert card.unknown is not None
        kept.append((card.unknown.kind, network.familiar is not None))
    assert kept == [("energy_and_distance", True), ("energy", False)]


def test_the_command_goes_on_only_with_what_it_began(toy: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A folder that holds a training is left alone without --resume, and with it for other data, folds or seeds."""
    recipe = tmp_path / "short.json"
    recipe.write_text('{"like": "lstm", "stages": [{"epochs": 1}]}')
    out = tmp_path / "out"
    other = write_toy(tmp_path / "other", {"train": 40, "validation": 20, "test": 20}, seed=2)
    arguments = [str(recipe), "--out", str(out), "--quiet", "--data"]
    assert main([*arguments, str(toy.folder)]) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    for more, words in (
        ([str(toy.folder)], "holds a training already (checkpoint.safetensors, weights.safetensors, weights.json)"),
        ([str(other.folder), "--resume"], "seed 1, not 2"),
        ([str(toy.folder), "--resume", "--fold", "1"], "fold None, not 1"),
        ([str(toy.folder), "--resume", "--seed", "1"], "seed 0, not 1"),
        ([str(toy.folder), "--resume", "--labels", "0.5"], "labels 1.0, not 0.5"),
        ([str(toy.folder), "--resume", "--start-from", str(out / "weights")], "started_from None, not 'sdss-"),
    ):
        assert main([*arguments, *more]) == 2
        errors = capsys.readouterr().err
        assert words in errors
        assert errors.count("\n") == 1
        assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before
    (out / "checkpoint.safetensors").unlink()
    assert main([*arguments, str(toy.folder), "--resume"]) == 2
    assert "no checkpoint to resume" in capsys.readouterr().err


@pytest.fixture
def lstm_weights(toy: Dataset, tmp_path: Path) -> Path:
    """Weights of an LSTM as drawn, which say that they were trained."""
    recipe = dataclasses.replace(PLAIN, network={"network": "lstm"})
    facts = measure(toy, divide(toy).train)
    network = make_network(recipe, facts, 1)
    save(tmp_path / "lstm", network, make_card(toy, facts, network, {}))
    return tmp_path / "lstm"


@pytest.mark.parametrize(
    ("network", "freeze", "words"),
    [
        ({"network": "supernnova"}, False, "holds lstm, the recipe trains supernnova"),
        ({"network": "lstm", "hidden": 32}, True, "tensors of the backbone .* recipe plain freezes it as drawn"),
    ],
)
def test_weights_that_are_no_start_are_refused(
    toy: Dataset, lstm_weights: Path, network: dict[str, Any], freeze: bool, words: str
):
    """Those of another network, and those that leave a part of a frozen backbone as it was drawn."""
    recipe = dataclasses.replace(PLAIN, network=network, stages=(Stage(freeze_backbone=freeze),))
    fresh = make_network(recipe, measure(toy, divide(toy).train), 2)
    with pytest.raises(WeightsError, match=words):
        start_from(fresh, str(lstm_weights), recipe, toy.classes, quiet=True)


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_head_that_was_told_other_classes_is_not_taken_over(
    toy: Dataset, lstm_weights: Path, told: bool, reverse: bool, capsys: pytest.CaptureFixture[str]
):
    """The others are, of weights that were told none too; how many is printed."""
    trained, card = load(lstm_weights)
    save(lstm_weights, trained, dataclasses.replace(card, trained=told))
    recipe = dataclasses.replace(PLAIN, network={"network": "lstm"}, stages=(Stage(freeze_backbone=True),))
    fresh = make_network(recipe, measure(toy, divide(toy).train), 2)
    drawn = names_of_head(fresh) if told and reverse else set()
    start_from(fresh, str(lstm_weights), recipe, toy.classes[::-1] if reverse else toy.classes, quiet=False)
    state, held = fresh.state_dict(), trained.state_dict()
    assert {name for name in state if not torch.equal(state[name], held[name])} == drawn
    assert f"{len(state) - len(drawn)} of {len(state)} tensors are taken over" in capsys.readouterr().out


def test_too_few_objects_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A class without objects of a part, and a set too small to cut validation rows from, end with status 2."""
    for splits, words in (
        ({"train": 3, "validation": 8, "test": 8}, "no objects of class SNOther in part 'train'"),
        ({"train": 40, "validation": 3, "test": 8}, "no objects of class SNOther in part 'validation'"),
        ({"train": 5, "test": 8}, "too few training objects"),
    ):
        folder = write_toy(tmp_path / words, splits).folder
        assert main(["lstm", "--data", str(folder), "--out", str(tmp_path / "out"), "--quiet"]) == 2
        assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"like": "\xff"}', "not JSON"),
        (b"[]", "must be a table"),
        (b'{"like": 5}', "is like 5"),
        (b'{"like": "SELF"}', "like itself"),
        (b'{"like": "lstm", "weight_decay": NaN}', "finite number"),
        (b"[" * 100_000, "nested more than 100 deep"),
        (b'{"like": "lstm", "note": ' + b"[" * 101 + b"]" * 101 + b"}", "nested more than 100 deep"),
        (b'{"like": "lstm", "batch_size": 8, "batch_size": 4096}', "'batch_size' stands there twice"),
    ],
)
def test_broken_recipes_are_refused(tmp_path: Path, text: bytes, words: str):
    """A recipe that is no text, no table, like nothing or like itself says so."""
    path = tmp_path / "r.json"
    path.write_bytes(text.replace(b"SELF", str(path).encode()))
    with pytest.raises(RecipeError, match=words):
        load_recipe(path)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"network": {"network": "vigil", "size": 64}}, "vigil reads 1 channels and 64 pixels"),
        ({"network": {"network": "nonsense"}}, "network is 'nonsense'"),
        ({"network": {"size": 17}}, "network is ''"),
        ({"network": {"network": "lstm", "class_count": 3}}, "class_count is 3: the data set has 4 classes"),
        ({"ict": {"pull": "cosine", "own_frames": True}}, "ict.own_frames true, and nothing chooses"),
        (
            {"stages": [{"loss": "focal_of_mean", "class_weights": "as_listed", "listed_weights": [1.0, 2.0]}]},
            "listed_weights has 2 entries: the data set has 4 classes",
        ),
    ],
)
def test_recipes_for_other_data_leave_no_folder(
    toy: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, Any], words: str
):
    """What does not go with the data set is told in one line before anything is written."""
    recipe = tmp_path / "r.json"
    recipe.write_text(json.dumps({"network": {"network": "lstm"}, "stages": [{"epochs": 1}], **changed}))
    assert main([str(recipe), "--data", str(toy.folder), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    errors = capsys.readouterr().err
    assert words in errors and errors.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_command_explains_what_is_wrong(toy: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """An unknown recipe, a missing data set and a missing fold end with status 2 and one line each."""
    for arguments, words in (
        (["nonsense", "--data", str(toy.folder)], "no recipe 'nonsense'"),
        (["convention-mini", "--data", str(tmp_path / "none")], "no data set"),
        (["convention-mini", "--data", str(toy.folder), "--fold", "9"], "no fold 9"),
        (["convention-mini", "--data", str(toy.folder), "--fold", "-1"], "no fold -1"),
    ):
        assert main([*arguments, "--out", str(tmp_path / "o"), "--quiet"]) == 2
        assert words in capsys.readouterr().err
