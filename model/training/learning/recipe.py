"""A training recipe as one frozen object, read from a named JSON file; knows nothing of how it is carried out."""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from model.json_text import parse_json
from model.training.data.augment import Augmentation
from model.training.data.input_form import FORMS
from model.training.learning.losses import CLASS_LOSSES
from model.training.training_options import recipe_names

PARTS = ("pretrain", "train", "all")
PULLS = ("none", "cosine", "dino", "supervised_contrastive", "balanced_contrastive")
PREFIXES = ("none", "all")
KEEPS = ("last", "best_f1", "best_loss")
SAMPLERS = ("shuffle", "weighted")
SCHEDULES = ("constant", "cosine")
HEADS = ("last", "dense")
CLASS_WEIGHTS = ("none", "balanced", "as_listed")
WEIGHTED_LOSSES = ("focal_of_mean",)
RESTORE = "restore"  # a loss that needs no labels: see denoising.Restorer
NONE = "none"  # no loss of classes: two views are pulled together, and no label is looked at
PULLS_WITHOUT_LABELS = ("cosine", "dino")  # towards what a target network says of the other view
# What ``loss_options`` may hold, by loss; the others take none.
LOSS_OPTIONS = {
    "cross_entropy": ("smoothing",),
    "focal": ("gamma",),
    "focal_of_mean": ("gamma",),
    "class_balanced_focal": ("beta", "gamma"),
    "logit_adjusted": ("tau", "smoothing"),
    RESTORE: ("rate", "largest"),
}
SHARE = (0.0, 1.0)
MOMENTUM = (0.0, 0.999999)  # at 1 a mean would never move
WEIGHT = (0.0, 1e6)
# The least and the most that each number of a recipe may be, by its key: far beyond use, and within what is computed.
RANGES: Mapping[str, tuple[float, float]] = {
    "epochs": (1, 10_000),
    "passes": (1, 1_000),
    "learning_rate": (1e-9, 10.0),
    "warm_up": SHARE,
    "listed_weights": (1e-6, 1e6),
    "smoothing": SHARE,
    "gamma": (0.0, 100.0),
    "beta": MOMENTUM,
    "tau": (-100.0, 100.0),
    "rate": SHARE,
    "largest": (0.0, 1e6),
    "weight": WEIGHT,
    "momentum": MOMENTUM,
    "projection_width": (1, 8_192),
    "divergence_weight": WEIGHT,
    "physics_weight": WEIGHT,
    "batch_size": (2, 65_536),  # batch normalisation needs two
    "weight_decay": (0.0, 10.0),
    "clip_norm": (1e-6, 1e6),
    "average_momentum": MOMENTUM,
    "rotation_deg": (0.0, 180.0),
    "rotation_probability": SHARE,
    "draw_runs": (0, 65_536),
    "drop_frames": SHARE,
    "truncate_probability": SHARE,
    "late_probability": SHARE,
    "without_history": SHARE,
    "short_history": SHARE,
    "noise_probability": SHARE,
    "noise_factor": (1.0, 1_000.0),
    "single_alerts": SHARE,
    "colour_shift_mag": (0.0, 10.0),
}


class RecipeError(Exception):
    """A recipe cannot be carried out: the message names the key, its value and what is allowed."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One pass of training over one part of a data set, with that part's own class prior."""

    part: str = "train"  # "pretrain": photometric labels; "train": spectroscopic labels; "all": both
    epochs: int = 30
    passes: int = 1  # through the objects in an epoch: more where few of them have labels
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    warm_up: float = 0.05  # fraction of the stage's steps
    sampler: str = "shuffle"  # "weighted": with replacement, every class as often
    loss: str = "cross_entropy"  # key of losses.CLASS_LOSSES, or "restore"
    loss_options: Mapping[str, float] = field(default_factory=dict)  # see LOSS_OPTIONS
    class_weights: str = "none"  # "balanced": in the loss, by the objects of the part; "as_listed": listed_weights
    listed_weights: tuple[float, ...] | None = None  # in the order of the data set's classes
    freeze_backbone: bool = False
    frozen_statistics: bool = True  # False: batch norms of a frozen backbone, and dropout, act as in training
    renew_head: bool = False
    head: str = "last"  # what of the network is its head: "last" layer, or "dense": all that follows pooling

    @property
    def restores(self) -> bool:
        """Whether it learns no classes, but what disturbed nights were."""
        return self.loss == RESTORE

    @property
    def without_labels(self) -> bool:
        """Whether it learns no classes, but that two views show one object."""
        return self.loss == NONE


@dataclass(frozen=True, slots=True)
class Ict:
    """The second branch: two views of an object, and how their projections are pulled together."""

    pull: str = "none"
    weight: float = 1.0  # of the pull against the class loss; 0: two views with a class loss each, and no pull
    predictor: bool = True  # after the projection of "cosine"; the others have none
    momentum: float | None = 0.99  # of the target network; None: the online network is its own target (SimSiam)
    class_positive: bool = False  # the second view is of another object of the same class
    own_frames: bool = False  # each view has frames of its own drawn and dropped; else both show the same
    projection_width: int = 128
    target_dropout: bool = True  # the target drops features as the online network does; false: none, as in BYOL


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a training but the data, the seed and the device."""

    name: str
    network: Mapping[str, Any]  # what model.networks.registry.build takes
    stages: tuple[Stage, ...]
    ict: Ict = Ict()
    augmentation: Augmentation = Augmentation()  # noqa: RUF009  frozen
    divergence_weight: float = 1.0  # of a Bayesian network's divergence from its prior, which is shared among objects
    physics_weight: float = 0.0  # of redshift, luminosity and age of supernovae, learnt beside the classes
    prefix: str = "none"  # "all": the loss is averaged over every prefix of a series
    form: str = "series"  # in which objects are shown: see forms.FORMS
    batch_size: int = 64
    like_lengths: bool = False  # batches of series of like length: less padding to compute
    weight_decay: float = 0.05
    amsgrad: bool = False
    clip_norm: float | None = 1.0
    average_momentum: float | None = None  # keep a running mean of the weights, and hand that out
    keep: str = "last"
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """The recipe as JSON gives it back: what ``recipe_of`` takes, with every default written out."""
        return dict(json.loads(json.dumps(dataclasses.asdict(self))))


def _build(kind: type, table: Any, where: str) -> Any:
    """Make dataclass ``kind`` of a JSON table, refusing unknown keys and wrong types."""
    if not isinstance(table, Mapping):
        raise RecipeError(f"{where} is {table!r}: it must be a table of {kind.__name__}")
    hints = typing.get_type_hints(kind)
    if unknown := sorted(set(table) - set(hints)):
        raise RecipeError(f"{where} has unknown keys {', '.join(unknown)}; known: {', '.join(hints)}")
    values = {key: _value(hints[key], value, f"{where}.{key}", key) for key, value in table.items()}
    try:
        return kind(**values)
    except TypeError as exc:
        raise RecipeError(f"{where}: {exc}") from exc


def _value(hint: Any, value: Any, where: str, key: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, where)
    origin = typing.get_origin(hint)
    if origin is tuple:
        if not isinstance(value, list) or not value:
            raise RecipeError(f"{where} is {value!r}: it must be a list with at least one entry")
        inner = typing.get_args(hint)[0]
        return tuple(_value(inner, entry, f"{where}[{i}]", key) for i, entry in enumerate(value))
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _value(typing.get_args(hint)[0], value, where, key)
    if origin is not None:  # Mapping[...]
        if not isinstance(value, Mapping):
            raise RecipeError(f"{where} is {value!r}: it must be a table")
        return dict(value)
    if hint in (int, float):
        return _number(hint, value, where, key)
    if not isinstance(value, hint):
        raise RecipeError(f"{where} is {value!r}: it must be of type {hint.__name__}")
    return value


def _number(kind: type, value: Any, where: str, key: str) -> Any:
    """A number of a kind, which whole numbers are too, within its range."""
    if type(value) not in (int, kind):
        raise RecipeError(f"{where} is {value!r}: it must be of type {kind.__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise RecipeError(f"{where} is {value!r}: it must be a finite number")
    least, most = RANGES[key]
    if not least <= value <= most:
        raise RecipeError(f"{where} is {value!r}: it must be from {least} to {most}")
    return kind(value)


def _check(recipe: Recipe) -> Recipe:
    choices: list[tuple[str, str, tuple[str, ...]]] = [
        ("ict.pull", recipe.ict.pull, PULLS),
        ("prefix", recipe.prefix, PREFIXES),
        ("keep", recipe.keep, KEEPS),
        ("form", recipe.form, tuple(FORMS)),
    ]
    for i, stage in enumerate(recipe.stages):
        choices += [
            (f"stages[{i}].part", stage.part, PARTS),
            (f"stages[{i}].sampler", stage.sampler, SAMPLERS),
            (f"stages[{i}].schedule", stage.schedule, SCHEDULES),
            (f"stages[{i}].loss", stage.loss, (*CLASS_LOSSES, RESTORE, NONE)),
            (f"stages[{i}].head", stage.head, HEADS),
            (f"stages[{i}].class_weights", stage.class_weights, CLASS_WEIGHTS),
        ]
        _check_stage(recipe, i, stage)
    if recipe.stages[-1].restores:
        raise RecipeError(f"the last stage has loss {RESTORE!r}: it must have one that learns classes")
    if recipe.stages[-1].without_labels and recipe.keep != "last":
        raise RecipeError(f"keep is {recipe.keep!r}, which needs labels: where the last stage has none, use 'last'")
    for where, value, allowed in choices:
        if value not in allowed:
            raise RecipeError(f"{where} is {value!r}: it must be one of {', '.join(allowed)}")
    return recipe


def _check_stage(recipe: Recipe, i: int, stage: Stage) -> None:
    """Refuse a stage whose settings do not go with each other, or with the recipe's."""
    if stage.class_weights != "none" and stage.loss not in WEIGHTED_LOSSES:
        raise RecipeError(
            f"stages[{i}].class_weights is {stage.class_weights!r}, which loss {stage.loss!r} cannot take: "
            f"use one of {', '.join(WEIGHTED_LOSSES)}, or 'none'"
        )
    if (stage.class_weights == "as_listed") != (stage.listed_weights is not None):
        raise RecipeError(f"stages[{i}] needs listed_weights, and class_weights 'as_listed': both or neither")
    if stage.sampler == "weighted" and stage.loss in ("logit_adjusted", "balanced_softmax"):
        raise RecipeError(
            f"stages[{i}] corrects the class prior twice: sampler 'weighted' makes it uniform already, "
            f"so use loss 'cross_entropy', or sampler 'shuffle'"
        )
    pulls_by_itself = recipe.ict.pull in PULLS_WITHOUT_LABELS and recipe.ict.weight and not recipe.ict.class_positive
    if stage.without_labels and not pulls_by_itself:
        raise RecipeError(
            f"stages[{i}].loss is {NONE!r}, which needs two views of each object and no labels: set ict.pull to "
            f"one of {', '.join(PULLS_WITHOUT_LABELS)}, with a weight, and ict.class_positive to false"
        )
    if stage.without_labels and stage.sampler == "weighted":
        raise RecipeError(f"stages[{i}].sampler is 'weighted', which needs labels: with loss {NONE!r} use 'shuffle'")
    if stage.loss == "focal_of_mean" and recipe.prefix == "all":
        raise RecipeError(
            f"stages[{i}].loss is 'focal_of_mean', one number for a whole batch, and prefix 'all' needs one for each "
            "frame: use loss 'focal', or prefix 'none'"
        )
    options = LOSS_OPTIONS.get(stage.loss, ())
    for option, value in stage.loss_options.items():
        where = f"stages[{i}].loss_options.{option}"
        if option not in options:
            raise RecipeError(f"{where} is {value!r}: loss {stage.loss!r} takes {', '.join(options) or 'no options'}")
        _number(float, value, where, option)


def recipe_of(table: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """Make a recipe of what its JSON file holds.

    Raises
    ------
    RecipeError
        For unknown keys, wrong types and impossible values.
    """
    return _check(_build(Recipe, table, where))


def load_recipe(name: str | Path) -> Recipe:
    """Read a recipe: the name of one that the package ships, or the path of a JSON file.

    A recipe may say ``"like": NAME``: it then holds only what differs from that recipe.

    Raises
    ------
    RecipeError
        When there is none of that name, or it cannot be carried out.
    """
    return recipe_of({**_read(str(name)), "name": Path(name).stem}, str(name))


def like_of(name: str) -> str | None:
    """The recipe that a recipe says it is like: what it must be compared with to learn what its changes are worth.

    Raises
    ------
    RecipeError
        When there is none of that name, or it cannot be read.
    """
    like = _table(name).get("like")
    if like is not None and not isinstance(like, str):
        raise RecipeError(f"recipe {name} is like {like!r}: it must be the name of a recipe")
    return like


def _read(name: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """The table of a recipe, with what it takes from another; ``above`` are those that took it from this one."""
    if name in above:
        raise RecipeError(f"recipe {name} is like itself, by way of {', '.join(above)}")
    like = like_of(name)
    table = {key: value for key, value in _table(name).items() if key != "like"}
    return table if like is None else _merged(_read(like, (*above, name)), table)


def _table(name: str) -> dict[str, Any]:
    """What the file of a recipe holds."""
    if name.endswith(".json"):
        path = Path(name)
        if not path.is_file():
            raise RecipeError(f"there is no recipe file {path}")
        text = path.read_bytes()
    else:
        if name not in recipe_names():
            raise RecipeError(f"there is no recipe {name!r}; there are {', '.join(recipe_names())}")
        text = resources.files("model.training").joinpath("recipes", f"{name}.json").read_bytes()
    try:
        table = parse_json(text)
    except ValueError as exc:
        raise RecipeError(f"recipe {name} is not JSON: {exc}") from exc
    if not isinstance(table, dict):
        raise RecipeError(f"recipe {name} must be a table")
    return table


def _merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Tables are merged key by key, anything else is replaced."""
    merged = dict(base)
    for key, value in change.items():
        both_tables = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merged(base[key], value) if both_tables else value
    return merged
