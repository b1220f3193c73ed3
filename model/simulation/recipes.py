"""A recipe's name in, the list of objects to draw out: which class, split, fold and label. Draws no sky itself.

A recipe is a small JSON file: groups of objects with counts per class, stamps per survey, which labels are noisy.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from model.simulation.labels import EXTENSIONS, SUBTYPES_OF_SNOTHER
from model.taxonomy import load_taxonomy

SURVEYS = ("sdss", "ztf", "lsst")
MODES = ("physical", "sdss_label", "deconfounded")
LABELS = ("spectroscopic", "photometric")
SURVEY_MODE = {"sdss": "sdss_label", "ztf": "physical", "lsst": "physical"}  # what the survey's own labels would be
NOISY_LEVEL = 4
CLASSES = load_taxonomy().classes
SUPERNOVAE = ("SNIa", "SNOther")  # the classes that SDSS labelled by photometry too
REQUIRED = {"name", "about", "level", "frames_at_most", "stamps", "groups", "folds"}
OPTIONAL = {"photometric_labels", "bands", "classes"}
KNOWN = (*CLASSES, *SUBTYPES_OF_SNOTHER, *EXTENSIONS)


class RecipeError(ValueError):
    """A recipe that cannot be cooked; the message names the file, the key and what is allowed."""


@dataclass(frozen=True, slots=True)
class Group:
    """Objects of one split whose labels come from one source."""

    split: str
    counts: Mapping[str, int]  # label -> objects
    photometric: bool
    mode: str | None  # label mode; None: the survey's own


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a data set is to hold."""

    name: str
    about: str
    level: int  # realism 0-4
    frames_at_most: int  # longer series keep their first frames
    channels: Mapping[str, tuple[str, ...]]  # per survey
    size_px: Mapping[str, int]  # per survey
    bands: Mapping[str, str]  # per survey; absent: all
    classes: tuple[str, ...]  # of the data set; others than the taxonomy's show a network what it never learnt
    groups: tuple[Group, ...]
    fold_count: int
    fold_splits: tuple[str, ...]
    truth_of_label: Mapping[str, Mapping[str, float]]  # photometric label -> true class -> probability
    source: Mapping[str, Any]  # the JSON, for the manifest


@dataclass(frozen=True, slots=True)
class Order:
    """One object to draw."""

    object_id: int
    label: str  # what the data set will say
    true_class: str  # what is drawn
    split: str
    fold: int | None
    mode: str
    photometric: bool  # drawn from the fainter sample that nobody took spectra of


def shipped_recipes() -> tuple[str, ...]:
    folder = resources.files("model.simulation").joinpath("recipes")
    return tuple(sorted(entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name.endswith(".json")))


def load_recipe(name_or_path: str) -> Recipe:
    """Read a shipped recipe by its name, or any recipe by its path.

    Raises
    ------
    RecipeError
        When there is none, or it is malformed.
    """
    if name_or_path in shipped_recipes():
        where = resources.files("model.simulation").joinpath("recipes", f"{name_or_path}.json")
        text, origin = where.read_text("utf-8"), f"recipe {name_or_path}"
    else:
        path = Path(name_or_path)
        if not path.is_file():
            raise RecipeError(f"no recipe {name_or_path!r}: give a file or one of {', '.join(shipped_recipes())}")
        text, origin = path.read_text("utf-8"), str(path)
    try:
        table = json.loads(text)
    except ValueError as exc:
        raise RecipeError(f"{origin} is not JSON: {exc}") from exc
    return parse_recipe(table, origin)


def parse_recipe(table: Any, origin: str) -> Recipe:
    """Check a recipe's table and make it a record.

    Raises
    ------
    RecipeError
        Naming the key that is missing, unknown or out of range.
    """
    if not isinstance(table, dict):
        raise RecipeError(f"{origin} holds {type(table).__name__}, not an object")
    if missing := REQUIRED - table.keys():
        raise RecipeError(f"{origin} lacks {', '.join(sorted(missing))}")
    if unknown := table.keys() - REQUIRED - OPTIONAL:
        raise RecipeError(f"{origin} has unknown keys {', '.join(sorted(unknown))}")
    try:
        classes = tuple(table.get("classes", CLASSES))
        if unknown := set(classes) - set(KNOWN):
            raise RecipeError(f"{origin}: classes {', '.join(sorted(unknown))} are none of {', '.join(KNOWN)}")
        folds = table["folds"] or {"count": 0, "splits": []}
        recipe = Recipe(
            name=str(table["name"]),
            about=str(table["about"]),
            level=int(table["level"]),
            frames_at_most=int(table["frames_at_most"]),
            channels={survey: tuple(stamp["channels"]) for survey, stamp in table["stamps"].items()},
            size_px={survey: int(stamp["size_px"]) for survey, stamp in table["stamps"].items()},
            bands=dict(table.get("bands", {})),
            classes=classes,
            groups=tuple(_parse_group(group, classes, origin) for group in table["groups"]),
            fold_count=int(folds["count"]),
            fold_splits=tuple(folds["splits"]),
            truth_of_label={
                label: _mix(parts, f"{origin}: photometric_labels.{label}")
                for label, parts in table.get("photometric_labels", {}).items()
            },
            source=table,
        )
    except (KeyError, TypeError, AttributeError) as exc:
        raise RecipeError(f"{origin} is malformed: {type(exc).__name__} {exc}") from exc
    except ValueError as exc:
        raise exc if isinstance(exc, RecipeError) else RecipeError(f"{origin}: {exc}") from exc
    if not 0 <= recipe.level <= NOISY_LEVEL:
        raise RecipeError(f"{origin}: level is {recipe.level}, allowed are 0 to {NOISY_LEVEL}")
    if recipe.frames_at_most < 1 or any(size < 1 for size in recipe.size_px.values()):
        raise RecipeError(f"{origin}: frames_at_most and size_px must be at least 1")
    if recipe.fold_count == 1 or recipe.fold_count < 0 or recipe.fold_count > np.iinfo(np.int8).max:
        raise RecipeError(f"{origin}: folds.count is {recipe.fold_count}, allowed are 2 to 127, or folds: null")
    if unknown := (recipe.channels.keys() | recipe.bands.keys()) - set(SURVEYS):
        raise RecipeError(f"{origin}: unknown surveys {', '.join(sorted(unknown))}, allowed are {', '.join(SURVEYS)}")
    return recipe


def _parse_group(group: Mapping[str, Any], classes: tuple[str, ...], origin: str) -> Group:
    if unknown := group.keys() - {"split", "labels", "mode", "counts"}:
        raise RecipeError(f"{origin}: unknown keys in a group: {', '.join(sorted(unknown))}")
    counts = dict(group["counts"])
    for label, count in counts.items():
        if label not in classes:
            raise RecipeError(f"{origin}: class {label!r} is none of {', '.join(classes)}")
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise RecipeError(f"{origin}: {group['split']}.{label} is {count!r}, not a number of objects")
    if group["labels"] not in LABELS:
        raise RecipeError(f"{origin}: labels are {group['labels']!r}, allowed are {', '.join(LABELS)}")
    mode = group.get("mode")
    if mode not in (None, "survey", *MODES):
        raise RecipeError(f"{origin}: mode is {mode!r}, allowed are survey, {', '.join(MODES)}")
    return Group(str(group["split"]), counts, group["labels"] == "photometric", None if mode == "survey" else mode)


def _mix(parts: list[Mapping[str, Any]], where: str) -> dict[str, float]:
    """P(true class | label) of a label that stands for several populations."""
    mixed: dict[str, float] = {}
    for part in parts:
        total = sum(part["truth"].values())
        if unknown := part["truth"].keys() - set(CLASSES):
            raise RecipeError(f"{where}: unknown classes {', '.join(sorted(unknown))}")
        if abs(total - 1) > 1e-6:
            raise RecipeError(f"{where}: the probabilities of a part sum to {total:.4f}, not 1")
        for name, probability in part["truth"].items():
            mixed[name] = mixed.get(name, 0.0) + part["share"] * probability
    if abs(sum(mixed.values()) - 1) > 1e-6:
        raise RecipeError(f"{where}: the shares sum to {sum(mixed.values()):.4f}, not 1")
    return mixed


def plan(recipe: Recipe, survey: str, seed: int, mode: str | None = None, level: int | None = None) -> list[Order]:
    """Every object of a data set in file order, which does not depend on the class.

    Parameters
    ----------
    mode
        Replaces the label mode of every group.
    level
        Replaces the recipe's; below 4 the photometric labels are right.

    Raises
    ------
    RecipeError
        When the recipe has no stamps for this survey.
    """
    if survey not in recipe.channels:
        raise RecipeError(f"recipe {recipe.name} has no stamps for {survey!r}: {', '.join(recipe.channels)}")
    rng = np.random.default_rng([seed, 0x5EED])  # not of the survey: the same objects under all of them
    noisy = (recipe.level if level is None else level) >= NOISY_LEVEL
    drawn = [
        (group, label, true_class)
        for group in recipe.groups
        for label in recipe.classes
        for true_class in _true_classes(recipe, group, label, noisy, rng)
    ]
    order = rng.permutation(len(drawn))
    folds = _stratified_folds(recipe, [drawn[i][:2] for i in order], rng)
    return [
        Order(
            object_id=row,
            label=drawn[i][1],
            true_class=drawn[i][2],
            split=drawn[i][0].split,
            fold=folds[row],
            mode=mode or drawn[i][0].mode or SURVEY_MODE[survey],
            photometric=drawn[i][0].photometric and drawn[i][1] in SUPERNOVAE,
        )
        for row, i in enumerate(order)
    ]


def _true_classes(recipe: Recipe, group: Group, label: str, noisy: bool, rng: np.random.Generator) -> Iterator[str]:
    count = group.counts.get(label, 0)
    truth = recipe.truth_of_label.get(label)
    if not (noisy and group.photometric and truth):
        yield from [label] * count
        return
    yield from rng.choice(list(truth), size=count, p=np.array(list(truth.values())) / sum(truth.values())).tolist()


def _stratified_folds(recipe: Recipe, rows: list[tuple[Group, str]], rng: np.random.Generator) -> list[int | None]:
    """Deal the objects of each class out to the folds in turn, starting anywhere."""
    folds: list[int | None] = [None] * len(rows)
    if recipe.fold_count:
        for label in recipe.classes:
            start = int(rng.integers(recipe.fold_count))
            chosen = [i for i, (g, name) in enumerate(rows) if name == label and g.split in recipe.fold_splits]
            for k, i in enumerate(chosen):
                folds[i] = (start + k) % recipe.fold_count
    return folds
