"""Recipes, and the list of objects that one asks for: class, split, fold and label of each. Draws no sky itself.

A recipe is a small JSON file: groups of objects with counts per class, stamps per survey, which labels are noisy.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from model.json_text import parse_json
from model.simulation.datasets.recipe_schema import MOST_OBJECTS, GroupTable, Part, RecipeTable, what_is_wrong
from model.simulation.sky.labels import CLASSES, EXTENSIONS, SUBTYPES_OF_SNOTHER
from model.simulation.surveys import SURVEYS, Survey
from model.taxonomy import Taxonomy

SURVEY_MODE = {"sdss": "sdss_label", "ztf": "physical", "lsst": "physical"}  # what the survey's own labels would be
NOISY_LEVEL = 4
SUM_TOLERANCE = 1e-6
SUPERNOVAE = ("SNIa", "SNOther")  # the classes that SDSS labelled by photometry too
KNOWN = (*CLASSES, *SUBTYPES_OF_SNOTHER, *EXTENSIONS)


class DatasetRecipeError(ValueError):
    """A recipe that cannot be cooked; the message names the file, the key and what is allowed."""


class UnseenError(RuntimeError):
    """An object that the survey never detects however often it is drawn; the message says what to change."""


@dataclass(frozen=True, slots=True)
class LabelledGroup:
    """Objects of one split whose labels come from one source."""

    split: str
    counts: Mapping[str, int]  # label -> objects
    photometric: bool
    mode: str | None  # label mode; None: the survey's own


@dataclass(frozen=True, slots=True)
class DatasetRecipe:
    """What a data set is to hold."""

    name: str
    about: str
    level: int  # realism 0-4
    frames_at_most: int  # longer series keep their first frames
    channels: Mapping[str, tuple[str, ...]]  # per survey
    size_px: Mapping[str, int]  # per survey
    bands: Mapping[str, str]  # per survey; absent: all
    classes: tuple[str, ...]  # of the data set; others than the taxonomy's show a network what it never learnt
    groups: tuple[LabelledGroup, ...]
    fold_count: int
    fold_splits: tuple[str, ...]
    truth_of_label: Mapping[str, Mapping[str, float]]  # photometric label -> true class -> probability
    source: Mapping[str, Any]  # the JSON, for the manifest


@dataclass(frozen=True, slots=True)
class DatasetRequest:
    """A recipe under one survey, and what is asked for otherwise than the recipe says."""

    recipe: DatasetRecipe
    survey: Survey
    seed: int
    _: KW_ONLY
    mode: str | None = None  # replaces the label mode of every group
    level: int | None = None  # replaces the recipe's; below 4 the photometric labels are right
    size_px: int | None = None  # replaces the recipe's
    templates: Path | None = None  # folder of spectral templates to draw supernovae from
    taxonomy: Taxonomy | None = None  # whose classes the recipe was read with; None: the package's own
    only: int | None = None  # this object of the plan alone, with the bytes that it has in the whole data set


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


def load_recipe(name_or_path: str, taxonomy: Taxonomy | None = None) -> DatasetRecipe:
    """Read a shipped recipe by its name, or any recipe by its path.

    Parameters
    ----------
    taxonomy
        Whose classes a recipe without ``classes`` has; the one that the package ships when None.

    Raises
    ------
    DatasetRecipeError
        When there is none, or it is malformed.
    """
    if name_or_path in shipped_recipes():
        where = resources.files("model.simulation").joinpath("recipes", f"{name_or_path}.json")
        content, origin = where.read_bytes(), f"recipe {name_or_path}"
    else:
        path = Path(name_or_path)
        if not path.is_file():
            raise DatasetRecipeError(
                f"no recipe {name_or_path!r}: give a file or one of {', '.join(shipped_recipes())}"
            )
        try:
            content, origin = path.read_bytes(), str(path)
        except OSError as exc:
            raise DatasetRecipeError(f"recipe {path} cannot be read: {exc.strerror}") from exc
    try:
        table = parse_json(content)
    except ValueError as exc:
        raise DatasetRecipeError(f"{origin} is not JSON: {exc}") from exc
    return parse_recipe(table, origin, taxonomy)


def parse_recipe(table: Any, origin: str, taxonomy: Taxonomy | None = None) -> DatasetRecipe:
    """Check a recipe's table and make it a record.

    Raises
    ------
    DatasetRecipeError
        Naming the key that is missing, unknown or out of range.
    """
    try:
        checked = RecipeTable.model_validate(table)
        _check_together(checked, taxonomy)
    except ValidationError as exc:
        raise DatasetRecipeError(f"{origin}: {what_is_wrong(exc)}") from exc
    except DatasetRecipeError as exc:
        raise DatasetRecipeError(f"{origin}: {exc}") from exc
    folds = checked.folds
    return DatasetRecipe(
        name=checked.name,
        about=checked.about,
        level=checked.level,
        frames_at_most=checked.frames_at_most,
        channels={survey: tuple(stamps.channels) for survey, stamps in checked.stamps.items()},
        size_px={survey: stamps.size_px for survey, stamps in checked.stamps.items()},
        bands={survey: bands for survey, bands in checked.bands.items()},
        classes=_classes(checked, taxonomy),
        groups=tuple(_group(group) for group in checked.groups),
        fold_count=0 if folds is None else folds.count,
        fold_splits=() if folds is None else tuple(folds.splits),
        truth_of_label={label: _mix(parts) for label, parts in checked.photometric_labels.items()},
        source=table,
    )


def _classes(table: RecipeTable, taxonomy: Taxonomy | None) -> tuple[str, ...]:
    if table.classes is not None:
        return tuple(table.classes)
    return CLASSES if taxonomy is None else taxonomy.classes


def _check_together(table: RecipeTable, taxonomy: Taxonomy | None) -> None:
    """Check what no key can know alone."""
    classes = _classes(table, taxonomy)
    _check_names("classes", classes, KNOWN)
    for number, group in enumerate(table.groups):
        _check_names(f"groups.{number}.counts", group.counts, classes)
    total = sum(sum(group.counts.values()) for group in table.groups)
    if not 1 <= total <= MOST_OBJECTS:
        raise DatasetRecipeError(f"the groups count {total} objects: ask for 1 to {MOST_OBJECTS}")
    if table.folds is not None:
        _check_names("folds.splits", table.folds.splits, list(dict.fromkeys(group.split for group in table.groups)))
    for survey, stamps in table.stamps.items():
        _check_names(f"stamps.{survey}.channels", stamps.channels, SURVEYS[survey].products)
    for survey, bands in table.bands.items():
        _check_names(f"bands.{survey}", bands, SURVEYS[survey].bands)
    for label, parts in table.photometric_labels.items():
        where = f"photometric_labels.{label}"
        _check_names("photometric_labels", [label], classes)
        for part in parts:
            _check_names(f"{where}.truth", part.truth, CLASSES)
            _check_sum(f"{where}: the probabilities of a part", part.truth.values())
        _check_sum(f"{where}: the shares", [part.share for part in parts])


def _check_names(where: str, names: Iterable[str], allowed: Iterable[str]) -> None:
    """Refuse names that are not allowed, and names that come twice."""
    names, allowed = list(names), list(allowed)
    if unknown := [name for name in dict.fromkeys(names) if name not in allowed]:
        raise DatasetRecipeError(f"{where}: {', '.join(map(repr, unknown))} is none of {', '.join(allowed)}")
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise DatasetRecipeError(f"{where} names {', '.join(twice)} more than once")


def _check_sum(what: str, probabilities: Iterable[float]) -> None:
    if abs((total := sum(probabilities)) - 1) > SUM_TOLERANCE:
        raise DatasetRecipeError(f"{what} sum to {total:.4f}, not 1")


def _group(table: GroupTable) -> LabelledGroup:
    mode = None if table.mode == "survey" else table.mode
    return LabelledGroup(table.split, dict(table.counts), table.labels == "photometric", mode)


def _mix(parts: Sequence[Part]) -> dict[str, float]:
    """P(true class | label) of a label that stands for several populations."""
    mixed: dict[str, float] = {}
    for part in parts:
        for name, probability in part.truth.items():
            mixed[name] = mixed.get(name, 0.0) + part.share * probability
    return mixed


def plan(request: DatasetRequest) -> list[Order]:
    """Every object of a data set in file order, which does not depend on the class.

    Raises
    ------
    DatasetRecipeError
        When the recipe has no stamps for this survey.
    """
    recipe, survey = request.recipe, request.survey.name
    if survey not in recipe.channels:
        raise DatasetRecipeError(f"recipe {recipe.name} has no stamps for {survey!r}: {', '.join(recipe.channels)}")
    rng = np.random.default_rng([request.seed, 0x5EED])  # not of the survey: the same objects under all of them
    noisy = (recipe.level if request.level is None else request.level) >= NOISY_LEVEL
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
            mode=request.mode or drawn[i][0].mode or SURVEY_MODE[survey],
            photometric=drawn[i][0].photometric and drawn[i][1] in SUPERNOVAE,
        )
        for row, i in enumerate(order)
    ]


def _true_classes(
    recipe: DatasetRecipe, group: LabelledGroup, label: str, noisy: bool, rng: np.random.Generator
) -> Iterator[str]:
    count = group.counts.get(label, 0)
    truth = recipe.truth_of_label.get(label)
    if not (noisy and group.photometric and truth):
        yield from [label] * count
        return
    yield from rng.choice(list(truth), size=count, p=np.array(list(truth.values())) / sum(truth.values())).tolist()


def _stratified_folds(
    recipe: DatasetRecipe, rows: list[tuple[LabelledGroup, str]], rng: np.random.Generator
) -> list[int | None]:
    """Deal the objects of each class out to the folds in turn, starting anywhere."""
    folds: list[int | None] = [None] * len(rows)
    if recipe.fold_count:
        for label in recipe.classes:
            start = int(rng.integers(recipe.fold_count))
            chosen = [i for i, (g, name) in enumerate(rows) if name == label and g.split in recipe.fold_splits]
            for k, i in enumerate(chosen):
                folds[i] = (start + k) % recipe.fold_count
    return folds
