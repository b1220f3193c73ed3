"""Recipes: what cannot be computed is refused with its key, its value and what is allowed."""

import dataclasses
import inspect
from typing import Any

import pytest

from model.training.data.augment import Augmentation
from model.training.learning import losses
from model.training.learning.denoising import Restorer
from model.training.learning.recipe import LOSS_OPTIONS, RANGES, RESTORE, Ict, Recipe, RecipeError, Stage, recipe_of


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"batch_size": 1}, "batch_size is 1: it must be from 2 to 65536"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0"),
        ({"clip_norm": 0.0}, "clip_norm is 0.0"),
        ({"average_momentum": 1}, "average_momentum is 1: it must be from 0.0 to 0.999999"),
        ({"physics_weight": True}, "physics_weight is True: it must be of type float"),
        ({"augmentation": {"drop_frames": 5.0}}, r"augmentation.drop_frames is 5.0: it must be from 0.0 to 1.0"),
        ({"augmentation": {"draw_runs": -1}}, r"augmentation.draw_runs is -1"),
        ({"augmentation": {"noise_factor": -4.0}}, r"augmentation.noise_factor is -4.0"),
        ({"ict": {"momentum": 5.0}}, "ict.momentum is 5.0"),
        ({"ict": {"projection_width": 10**9}}, "ict.projection_width is 1000000000"),
        ({"stages": [{"epochs": 10**30}]}, r"stages\[0\].epochs is 10+: it must be from 1 to 10000"),
        ({"stages": [{"learning_rate": 10**400}]}, r"stages\[0\].learning_rate is 10+: it must be from 1e-09 to 10.0"),
        ({"stages": [{"learning_rate": 0.0}]}, "learning_rate is 0.0"),
        ({"stages": [{"warm_up": -3}]}, "warm_up is -3"),
        ({"stages": [{"loss_options": {"gamma": 2.0}}]}, "gamma is 2.0: loss 'cross_entropy' takes smoothing"),
        ({"stages": [{"loss": "ldam", "loss_options": {"beta": 0.5}}]}, "loss 'ldam' takes no options"),
        ({"stages": [{"loss": "focal", "loss_options": {"gamma": "x"}}]}, "loss_options.gamma is 'x'"),
        ({"stages": [{"loss": "focal", "loss_options": {"gamma": float("nan")}}]}, "gamma is nan: .*finite"),
        ({"prefix": "all", "stages": [{"loss": "focal_of_mean"}]}, "use loss 'focal', or prefix 'none'"),
        (
            {"stages": [{"loss": "focal_of_mean", "class_weights": "as_listed", "listed_weights": [1.0, 0.0]}]},
            r"listed_weights\[1\] is 0.0",
        ),
    ],
)  # fmt: skip
def test_recipes_beyond_what_can_be_computed_are_refused(changed: dict[str, Any], words: str):
    """Every number has a range, every loss its options; what lies outside is told with its key and what is allowed."""
    with pytest.raises(RecipeError, match=words):
        recipe_of({"name": "x", "network": {"network": "lstm"}, "stages": [{}], **changed})


def test_every_number_of_a_recipe_has_a_range():
    """Numbers are named once among the tables of a recipe, and their defaults lie within; so do options of losses."""
    tables = (Recipe("", {}, ()), Stage(), Ict(), Augmentation())
    numbers = [
        (setting.name, getattr(table, setting.name))
        for table in tables
        for setting in dataclasses.fields(table)
        if setting.type in (int, float, float | None)
    ]
    options = {
        option: parameter.default
        for loss, function in {**losses.CLASS_LOSSES, RESTORE: Restorer.forward}.items()
        for option, parameter in inspect.signature(function).parameters.items()
        if isinstance(parameter.default, float) and loss != "ldam"  # whose options are not a recipe's
    }
    assert {option for taken in LOSS_OPTIONS.values() for option in taken} == options.keys()
    names = [name for name, _ in numbers] + ["listed_weights", *options]
    assert sorted(names) == sorted(RANGES)
    for name, value in [*numbers, *options.items()]:
        assert value is None or RANGES[name][0] <= value <= RANGES[name][1]
