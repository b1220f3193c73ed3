"""Recipes: what is asked for is what is planned, and nonsense is refused."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from model.simulation.datasets.plan import (
    DatasetRecipeError,
    DatasetRequest,
    Order,
    load_recipe,
    parse_recipe,
    plan,
    shipped_recipes,
)
from model.simulation.surveys import LSST, SDSS, ZTF, survey_named

CONVENTION = {
    "pretrain": {"AGN": 362, "SNIa": 1448, "Variable": 1290, "SNOther": 2041},
    "finetune": {"AGN": 362, "SNIa": 400, "Variable": 1290, "SNOther": 72},
    "test": {"AGN": 182, "SNIa": 99, "Variable": 645, "SNOther": 17},
}


def count(orders: list[Order]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for (split, label), n in Counter((o.split, o.label) for o in orders).items():
        counts.setdefault(split, {})[label] = n
    return counts


def test_convention_has_the_published_counts() -> None:
    """Each split of the published experiment has its number of objects of each class."""
    assert count(plan(DatasetRequest(load_recipe("convention"), SDSS, 1))) == CONVENTION


def test_folds_are_stratified() -> None:
    """The fine-tuning and test objects of a class are spread over five folds, none differing by more than one."""
    orders = plan(DatasetRequest(load_recipe("convention"), SDSS, 1))
    assert all((o.fold is None) == (o.split == "pretrain") for o in orders)
    for label in CONVENTION["test"]:
        per_fold = Counter(o.fold for o in orders if o.fold is not None and o.label == label)
        assert len(per_fold) == 5 and max(per_fold.values()) - min(per_fold.values()) <= 1


def test_only_photometric_labels_are_noisy() -> None:
    """Pre-training supernovae are wrong as often as photometric labels are; all other labels are right."""
    orders = plan(DatasetRequest(load_recipe("convention"), SDSS, 1))
    assert all(o.label == o.true_class for o in orders if o.split != "pretrain")
    others = [o.true_class for o in orders if o.split == "pretrain" and o.label == "SNOther"]
    assert 0.52 < others.count("AGN") / len(others) < 0.60
    supernovae = [o.true_class for o in orders if o.split == "pretrain" and o.label == "SNIa"]
    assert 0.94 < supernovae.count("SNIa") / len(supernovae) < 0.98
    clean = plan(DatasetRequest(load_recipe("convention"), SDSS, 1, level=3))
    assert all(o.label == o.true_class for o in clean)


def test_file_order_does_not_tell_the_class() -> None:
    """The mean position of each class is that of a shuffled list."""
    orders = plan(DatasetRequest(load_recipe("convention"), SDSS, 1))
    rows = {label: [o.object_id for o in orders if o.label == label] for label in CONVENTION["test"]}
    for places in rows.values():
        expected_error = len(orders) / np.sqrt(12 * len(places))
        assert abs(np.mean(places) - len(orders) / 2) < 4 * expected_error


def test_a_plan_is_a_function_of_its_seed() -> None:
    """The same seed gives the same plan under every survey, another seed another one."""
    recipe = load_recipe("mini")
    planned = [(o.object_id, o.true_class) for o in plan(DatasetRequest(recipe, ZTF, 1))]
    assert planned == [(o.object_id, o.true_class) for o in plan(DatasetRequest(recipe, LSST, 1))]
    assert planned != [(o.object_id, o.true_class) for o in plan(DatasetRequest(recipe, ZTF, 2))]


@pytest.mark.parametrize("name", shipped_recipes())
@pytest.mark.parametrize("survey", ["sdss", "ztf", "lsst"])
def test_every_shipped_recipe_serves_every_survey(name: str, survey: str) -> None:
    """Each recipe plans objects of all its classes for each survey."""
    recipe = load_recipe(name)
    assert {o.label for o in plan(DatasetRequest(recipe, survey_named(survey), 3))} == set(recipe.classes)


def test_unknowns_are_none_of_the_classes() -> None:
    """The recipe for unknown objects shares no class with the taxonomy."""
    assert not set(load_recipe("unknowns").classes) & set(CONVENTION["test"])


def test_mini_keeps_both_halves() -> None:
    """The benchmark is half labelled as the survey would, half deconfounded, unless told otherwise."""
    modes = Counter(o.mode for o in plan(DatasetRequest(load_recipe("mini"), SDSS, 1)))
    assert modes == {"sdss_label": 2100, "deconfounded": 2100}
    assert {o.mode for o in plan(DatasetRequest(load_recipe("mini"), ZTF, 1))} == {"physical", "deconfounded"}
    assert {o.mode for o in plan(DatasetRequest(load_recipe("mini"), SDSS, 1, mode="physical"))} == {"physical"}
    counts = count(plan(DatasetRequest(load_recipe("mini"), SDSS, 1)))
    assert {split: sum(c.values()) for split, c in counts.items()} == {"train": 2400, "validation": 600, "test": 1200}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("groups", [{"split": "a", "labels": "spectroscopic", "counts": {"Quasar": 1}}], "Quasar"),
        (
            "groups",
            [{"split": "a", "labels": "spectroscopic", "counts": {"AGN": -1}}],
            "counts.AGN is -1: input should be greater",
        ),
        ("groups", [{"split": "a", "labels": "spectroscopic", "counts": {"AGN": 10**12}}], "less than or equal"),
        ("groups", [{"split": "a", "labels": "spectroscopic", "counts": {"AGN": 2.5}}], "counts.AGN is 2.5"),
        ("groups", [{"split": "a", "labels": "spectroscopic", "counts": {}}], "0 objects: ask for 1 to"),
        ("groups", [{"split": None, "labels": "spectroscopic", "counts": {"AGN": 1}}], "split is None"),
        ("groups", [], "groups is"),
        ("groups", [{"split": "a", "labels": "guessed", "counts": {"AGN": 1}}], "guessed"),
        ("groups", [{"labels": "spectroscopic", "counts": {"AGN": 1}}], "split"),
        ("classes", ["AGN", "Quark"], "Quark"),
        ("classes", [], "classes is"),
        ("classes", [*CONVENTION["test"], "AGN"], "AGN more than once"),
        ("level", 5, "level is 5"),
        ("level", "high", "high"),
        ("level", float("inf"), "level is inf"),
        ("frames_at_most", 0, "frames_at_most is 0"),
        ("folds", {"count": 1, "splits": []}, "folds.count is 1"),
        ("folds", {"count": 2, "splits": ["tset"]}, "'tset' is none of train, validation, test"),
        ("stamps", {"des": {"channels": ["science"], "size_px": 8}}, "des"),
        ("stamps", {}, "stamps is"),
        ("stamps", {"sdss": {"channels": [], "size_px": 8}}, "channels is"),
        ("stamps", {"sdss": {"channels": "science", "size_px": 8}}, "channels is 'science'"),
        ("stamps", {"sdss": {"channels": ["infrared"], "size_px": 8}}, "channels.0 is 'infrared'"),
        ("stamps", {"sdss": {"channels": ["difference"], "size_px": 8}}, "'difference' is none of science"),
        ("stamps", {"sdss": {"channels": ["science"], "size_px": 1}}, "size_px is 1: "),
        ("stamps", {"sdss": {"channels": ["science"], "size_px": 100_000}}, "size_px is 100000: "),
        ("bands", {"sdss": "xyz"}, "'x', 'y' is none of u, g, r, i, z"),
        ("bands", {"sdss": ""}, "bands.sdss is ''"),
        ("bands", {"ztf": "grr"}, "r more than once"),
        ("photometric_labels", {"SNIa": [{"share": 1, "truth": {"SNIa": 1.5, "AGN": -0.5}}]}, "is 1.5"),
        ("photometric_labels", {"SNIa": [{"share": 0.5, "truth": {"SNIa": 1}}]}, "the shares sum to 0.5"),
        ("photometric_labels", {"Quark": [{"share": 1, "truth": {"SNIa": 1}}]}, "Quark"),
        ("photometric_labels", {"SNIa": [{"share": 1, "truth": {"SNIa": 0.5}}]}, "sum to 0.5"),
        ("oven", 1, "oven is an unknown key"),
    ],
)
def test_a_malformed_recipe_is_refused(tmp_path: Path, key: str, value: object, message: str) -> None:
    """The error names what is wrong with the recipe."""
    table = dict(load_recipe("smoke").source) | {key: value}
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(table))
    with pytest.raises(DatasetRecipeError, match=message):
        load_recipe(str(path))


def test_a_recipe_that_is_no_recipe_is_refused(tmp_path: Path) -> None:
    """A missing file, broken JSON and another kind of JSON are told apart."""
    with pytest.raises(DatasetRecipeError, match="give a file or one of"):
        load_recipe("nonesuch")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(DatasetRecipeError, match="not JSON"):
        load_recipe(str(tmp_path / "a.json"))
    (tmp_path / "a.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(DatasetRecipeError, match="not JSON"):
        load_recipe(str(tmp_path / "a.json"))
    with pytest.raises(DatasetRecipeError, match="not an object"):
        parse_recipe([], "list")
    with pytest.raises(DatasetRecipeError, match="about is missing"):
        parse_recipe({key: value for key, value in load_recipe("smoke").source.items() if key != "about"}, "x")
