"""Restoring disturbed nights: what is disturbed, what an answer costs, and that a network learns by it."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from test_trainer import prepare

from model.data.dataset import Dataset
from model.networks import registry
from model.networks.nightly_photometry import Nights
from model.training.data.augment import Augmentation
from model.training.learning.denoising import LARGEST, RATE, Restorer, disturb
from model.training.learning.objective import Objective
from model.training.learning.recipe import Recipe, RecipeError, Stage, load_recipe, recipe_of

RESTORING = Recipe(
    name="restoring",
    network={"network": "sits_bert", "width": 32, "layers": 1},
    stages=(Stage(epochs=1, loss="restore"), Stage(epochs=1)),
    augmentation=Augmentation(dihedral=False),
    batch_size=40,
    form="above_faintest",
)


def some_nights(objects: int = 200, count: int = 50) -> tuple[torch.Tensor, Nights]:
    """Values of three bands, about a third of them and all of the last nights missing."""
    generator = torch.Generator().manual_seed(1)
    shape = (objects, count, 3)
    measured = torch.rand(shape, generator=generator) < 2 / 3
    measured[:, -5:] = False
    values = torch.where(measured, torch.randn(shape, generator=generator), 0.0)
    return values, Nights(values, values, measured, values[..., 0], measured.any(2))


class Answering:
    """A network whose features of a night are the values themselves: the original ones, or those it is shown."""

    feature_width = 3
    config = SimpleNamespace(bands="gri")

    def __init__(self, knows: bool) -> None:
        self.knows = knows
        self.values, self.of = some_nights()

    def nights(self, curve: object) -> tuple[torch.Tensor, Nights]:
        return self.values, self.of

    def read_nights(self, values_BNL: torch.Tensor, nights: Nights) -> torch.Tensor:
        return self.values if self.knows else values_BNL


def loss_of(network: Answering) -> float:
    restorer = Restorer(network)
    with torch.no_grad():
        restorer.decoder.weight.copy_(torch.eye(3))
        restorer.decoder.bias.zero_()
        return restorer(network, None).item()


def test_nights_are_disturbed_as_published():
    """15 % of the nights change, all their bands up or all down, by up to one half; what is missing stays 0."""
    torch.manual_seed(2)
    values, nights = some_nights()
    disturbed, at = disturb(values, nights.measured_BNL, RATE, LARGEST)
    change = disturbed - values
    assert torch.equal(change != 0, at)
    assert not (at & ~nights.measured_BNL).any()
    touched = at.any(2)
    assert touched[nights.mask_BN].float().mean().item() == pytest.approx(0.15, abs=0.015)
    assert torch.equal(at, nights.measured_BNL & touched[..., None])
    assert 0.49 < change.abs().max() <= 0.5
    assert change[at].abs().mean().item() == pytest.approx(0.25, abs=0.01)
    assert not ((change > 0).any(2) & (change < 0).any(2)).any()
    assert (change > 0).any(2)[touched].float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_only_what_was_disturbed_counts():
    """Who knows the original pays nothing; who repeats what is shown pays the disturbance's square, 1/12."""
    torch.manual_seed(3)
    assert loss_of(Answering(knows=True)) == 0
    assert loss_of(Answering(knows=False)) == pytest.approx(1 / 12, rel=0.05)


def test_restoring_is_learnt(toy: Dataset):
    """The error falls over the epochs of the stage, and the labels' head stays as it was drawn."""
    recipe = dataclasses.replace(
        RESTORING, stages=(dataclasses.replace(RESTORING.stages[0], epochs=8, learning_rate=3e-3), RESTORING.stages[1])
    )
    training = prepare(recipe, toy)
    head = training.network.output.weight.clone()
    training.run(stop_after_steps=40)
    losses = [entry["loss"] for entry in training.log]
    assert len(losses) == 8
    assert losses[-1] < 0.6 * losses[0]
    assert torch.equal(training.network.output.weight, head)


@pytest.mark.parametrize("steps", [3, 5, 7], ids=["before", "at", "after"])
def test_a_kill_about_the_end_of_restoring_costs_nothing(toy: Dataset, tmp_path: Path, steps: int):
    """Stopped before, at or after the step from one stage to the next, a training ends in the same bits."""
    whole = prepare(RESTORING, toy)
    whole.run()
    prepare(RESTORING, toy, tmp_path).run(stop_after_steps=steps)
    again = prepare(RESTORING, toy, tmp_path)
    torch.manual_seed(999)
    again.run(resume=True)
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name]), name


def test_the_decoder_is_no_part_of_the_classifier(toy: Dataset):
    """What is handed out has the names of a network that never restored."""
    training = prepare(load_recipe("sits-bert-pretrained"), toy)
    plain = registry.build(registry.describe(training.network))
    assert training.network.state_dict().keys() == plain.state_dict().keys()
    assert {name for name, _ in training.objective.named_parameters() if not name.startswith("network.")} == {
        "restorer.decoder.weight",
        "restorer.decoder.bias",
    }


def test_the_shipped_recipes_restore_first():
    """Each restores, then goes through the stages of the recipe that it is like."""
    for name in ("sits-bert", "sits-bert-two-stage"):
        pretrained = load_recipe(name.replace("sits-bert", "sits-bert-pretrained"))
        plain = load_recipe(name)
        first, *others = pretrained.stages
        assert first.restores
        assert first.part == plain.stages[0].part
        assert tuple(others) == plain.stages


def test_what_cannot_restore_is_refused():
    """A network that reads no nights, and a recipe that would end without a class, are errors that say so."""
    recipe = dataclasses.replace(RESTORING, network={"network": "lstm"})
    with pytest.raises(RecipeError, match="restores nights, which lstm cannot"):
        Objective(registry.build({"network": "lstm"}), recipe, 4)
    with pytest.raises(RecipeError, match="last stage has loss 'restore'"):
        recipe_of({"name": "x", "network": {"network": "sits_bert"}, "stages": [{"loss": "restore"}]})
