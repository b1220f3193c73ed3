"""Tables of many runs: pooled folds, intervals over seeds, rankings; the runs are written by hand."""

import json

import numpy as np
import pytest

from model.dataset import Dataset
from model.simulation.datasets import write_dataset
from model.simulation.recipes import load_recipe, parse_recipe
from model.training import compare
from model.training.comparison import rank_agreement, read_runs, write_tables
from model.training.metrics import score
from model.training.pools import FOLDS, SPLIT, difference_over_seeds, macro_f1_over_seeds, pools_of

CLASSES = ("a", "b", "c")
TAXONOMY = ("AGN", "SNIa", "Variable", "SNOther")


def answers(rows, right, seed):
    """Labels of rows and probabilities of which a share is right."""
    rng = np.random.default_rng([seed, int(1000 * right)])
    label = rows % len(CLASSES)
    chosen = np.where(rng.random(len(rows)) < right, label, rng.integers(0, len(CLASSES), len(rows)))
    probability = 0.1 + 0.7 * np.eye(len(CLASSES))[chosen]
    return label, probability.astype(np.float32)


def write_run(folder, system, fold, seed, right, rows, mode=None, **told):
    label, probability = answers(rows, right, seed)
    reached = score(label, probability.astype(float), CLASSES)
    entry = {
        "system": system,
        "fold": fold,
        "seed": seed,
        "data": {"recipe": "by hand"},
        "train_objects": 100,
        "scores": {"macro_f1": reached.macro_f1},
        "by_label_mode": {"physical": {"macro_f1": reached.macro_f1}},
        **told,
    }
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    path = folder / "runs" / f"{system}-{'split' if fold is None else f'fold{fold}'}-seed{seed}.json"
    path.write_text(json.dumps(entry))
    kept = {} if mode is None else {"mode": mode}
    np.savez(path.with_suffix(".npz"), row=rows, label=label, probability=probability, **kept)


def table_of(folder):
    write_tables(folder, CLASSES)
    return json.loads((folder / "table.json").read_text()), (folder / "table.md").read_text()


def test_the_folds_of_a_seed_are_one_answer_out_of_fold(tmp_path):
    """Predictions of all folds of a seed are scored together, not fold by fold, in a table of their own."""
    rows = np.arange(300)
    for seed in (0, 1):
        for fold in range(3):
            write_run(tmp_path, "vigil-mini", fold, seed, 0.2 + 0.3 * fold, rows[fold::3][rows[fold::3] % 9 != fold])
    write_run(tmp_path, "vigil-mini", None, 0, 0.7, rows)
    table, text = table_of(tmp_path)
    lines = {line["protocol"]: line for line in table["systems"]}
    whole = [
        score(pool.label_N, pool.probability_NK.astype(float), CLASSES).macro_f1
        for pool in pools_of(read_runs(tmp_path)["vigil-mini"])
        if pool.protocol == FOLDS
    ]
    assert lines[FOLDS]["macro_f1"] == pytest.approx(np.mean(whole))
    by_fold = [
        entry["scores"]["macro_f1"] for entry, _ in read_runs(tmp_path)["vigil-mini"] if entry["fold"] is not None
    ]
    assert lines[FOLDS]["macro_f1"] != pytest.approx(np.mean(by_fold), abs=1e-4)
    assert (lines[FOLDS]["runs"], lines[FOLDS]["seeds"], lines[SPLIT]["runs"]) == (6, 2, 1)
    assert "Out of fold:" in text and "Test split:" in text


def test_intervals_hold_objects_and_seeds(tmp_path):
    """Seeds that disagree widen the interval; the same answers again do not narrow it."""
    rows = np.arange(300)
    for seed in range(3):
        write_run(tmp_path, "even", None, seed, 0.7, rows)
        write_run(tmp_path, "uneven", None, seed, (0.4, 0.7, 1.0)[seed], rows)
    runs = read_runs(tmp_path)
    even, uneven = (macro_f1_over_seeds(pools_of(runs[name]), 3) for name in ("even", "uneven"))
    assert even.low < even.value < even.high
    assert uneven.high - uneven.low > 2 * (even.high - even.low)
    once = pools_of(runs["even"])[:1]
    alone, thrice = macro_f1_over_seeds(once, 3), macro_f1_over_seeds(once * 3, 3)
    assert thrice.high - thrice.low == pytest.approx(alone.high - alone.low, rel=0.01)


def test_paired_differences_use_the_same_objects(tmp_path):
    """A system is no better than itself, and better than one that is right less often."""
    for seed in range(2):
        for system, right in (("good", 0.9), ("poor", 0.5)):
            write_run(tmp_path, system, None, seed, right, np.arange(300))
    good, poor = (pools_of(read_runs(tmp_path)[name]) for name in ("good", "poor"))
    same, p_same = difference_over_seeds(good, good, 3)
    assert (same.low, same.value, same.high, p_same) == (0, 0, 0, 1)
    more, p_more = difference_over_seeds(good, poor, 3)
    assert more.low > 0.1 and p_more < 0.01


def test_label_modes_are_pooled_where_runs_tell_them(tmp_path):
    """Modes are scored over all folds of a seed where predictions carry them."""
    rows, mode = np.arange(120), np.where(np.arange(120) < 60, "physical", "other")
    for fold in range(2):
        write_run(tmp_path, "majority", fold, 0, 0.3 + 0.6 * fold, rows[fold::2], mode[fold::2])
    pool = pools_of(read_runs(tmp_path)["majority"])[0]
    at = pool.mode_N == "physical"
    table, _ = table_of(tmp_path)
    expected = score(pool.label_N[at], pool.probability_NK[at].astype(float), CLASSES).macro_f1
    assert table["systems"][0]["by_label_mode"] == {"physical": pytest.approx(expected)}


def test_the_ranking_is_compared_with_the_published_one(tmp_path):
    """Kendall's tau is 1 for the published order, −1 for its reverse, and nothing is said of two systems."""
    names = ("ict-convention-mini", "convention", "cnn-gru-mini", "lstm", "vigil")
    lines = [{"system": name, "macro_f1": 0.9 - 0.1 * place} for place, name in enumerate(names)]
    assert rank_agreement(lines)["tau"] == 1
    assert rank_agreement(lines)["systems"] == ["cnn-gru", "convention", "ict-convention", "lstm"]
    reverse = [{**line, "macro_f1": -line["macro_f1"]} for line in lines]
    assert rank_agreement(reverse)["tau"] == -1
    assert rank_agreement(lines[:2]) is None
    for name, right in zip(names, (0.9, 0.8, 0.6, 0.4, 0.95), strict=True):
        write_run(tmp_path, name, None, 0, right, np.arange(300), macro_f1_by_night={"1": right})
    table, text = table_of(tmp_path)
    assert table["agreement_with_published_ranking"][SPLIT]["tau"] == 1
    assert "over 4 systems: 1.00" in text
    assert table["systems"][-1]["macro_f1_by_night"] == {"1": 0.95}
    assert table["systems"][-1]["auc_by_night"] is None


def test_runs_keep_the_label_mode_of_each_answer(tmp_path):
    """Predictions on a data set of two label modes say which object has which."""
    counts = {"train": 2, "validation": 1, "test": 1}
    groups = [
        {"split": split, "labels": "spectroscopic", "mode": mode, "counts": dict.fromkeys(TAXONOMY, count)}
        for split, count in counts.items()
        for mode in ("survey", "deconfounded")
    ]
    source = {**load_recipe("smoke").source, "groups": groups, "folds": None}
    write_dataset(parse_recipe(source, "here"), "sdss", 5, tmp_path / "d")
    dataset = Dataset.open(tmp_path / "d")
    kept = compare.kept_answers(dataset, dataset.splits["test"], np.full((8, 4), 0.25))
    mode = np.array(dataset.truth()["label_mode"].to_pylist())[dataset.splits["test"]]
    assert np.array_equal(kept["mode"], mode)
    assert sorted(set(kept["mode"])) == ["deconfounded", "sdss_label"]
