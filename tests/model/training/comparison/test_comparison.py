"""Tables of many runs: pooled folds, intervals over seeds, rankings; the runs are written by hand."""

import dataclasses
import json

import numpy as np
import pytest
from toy_sky import write_toy

from model.data.dataset import Dataset
from model.simulation.datasets.draw import write_dataset
from model.simulation.datasets.plan import DatasetRequest, load_recipe, parse_recipe
from model.simulation.surveys import SDSS
from model.training.comparison import compare, run
from model.training.comparison.pairs import pairs_of, published, recipe_of_run
from model.training.comparison.pooling import (
    FOLDS,
    SPLIT,
    differences_over_seeds,
    intervals_over_seeds,
    kept_by_night,
    mean_answers,
    pools_of,
)
from model.training.comparison.system_table import RunError, rank_agreement, read_runs, write_tables
from model.training.evaluation.scoring import score
from model.training.evaluation.weighted import SCORES, weighted_scores
from model.training.learning.recipe import RecipeError
from model.training.learning.recipe import load_recipe as load_training_recipe

CLASSES = ("a", "b", "c")
TAXONOMY = ("AGN", "SNIa", "Variable", "SNOther")


def answers(rows, right, seed):
    """Labels of rows and probabilities of which a share is right."""
    rng = np.random.default_rng([seed, int(1000 * right)])
    label = rows % len(CLASSES)
    chosen = np.where(rng.random(len(rows)) < right, label, rng.integers(0, len(CLASSES), len(rows)))
    probability = 0.1 + 0.7 * np.eye(len(CLASSES))[chosen]
    return label, probability.astype(np.float32)


def write_run(folder, system, fold, seed, right, rows, mode=None, nights=(), **facts):
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
        **facts,
    }
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    path = folder / "runs" / f"{system}-{'split' if fold is None else f'fold{fold}'}-seed{seed}.json"
    path.write_text(json.dumps(entry))
    arrays = {} if mode is None else {"mode": mode}
    if nights:
        early = [answers(rows, right * night / (night + 1), seed)[1] for night in nights]
        arrays |= kept_by_night(np.stack(early), nights)
    np.savez(path.with_suffix(".npz"), row=rows, label=label, probability=probability, **arrays)


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
    even, uneven = (intervals_over_seeds(pools_of(runs[name]))["macro_f1"] for name in ("even", "uneven"))
    assert even.low < even.value < even.high
    assert uneven.high - uneven.low > 2 * (even.high - even.low)
    once = pools_of(runs["even"])[:1]
    alone, thrice = (intervals_over_seeds(pools)["macro_f1"] for pools in (once, once * 3))
    assert thrice.high - thrice.low == pytest.approx(alone.high - alone.low, rel=0.01)


def test_paired_differences_use_the_same_objects(tmp_path):
    """A system is no better than itself, and better than one that is right less often."""
    for seed in range(2):
        for system, right in (("good", 0.9), ("poor", 0.5)):
            write_run(tmp_path, system, None, seed, right, np.arange(300))
    good, poor = (pools_of(read_runs(tmp_path)[name]) for name in ("good", "poor"))
    same, p_same = differences_over_seeds(good, good)
    for name in SCORES:
        assert (same[name].low, same[name].value, same[name].high, p_same[name]) == (0, 0, 0, 1)
    more, p_more = differences_over_seeds(good, poor)
    assert more["macro_f1"].low > 0.1 and p_more["macro_f1"] < 0.01
    assert more["log_loss"].high < 0 and more["auc"].low > 0


def test_two_seeds_that_disagree_show_nothing(tmp_path):
    """Where one seed of two is ahead and the other behind, the p of their mean is that of a coin."""
    for seed, (right, other) in enumerate(((0.9, 0.5), (0.5, 0.7))):
        write_run(tmp_path, "first", None, seed, right, np.arange(300))
        write_run(tmp_path, "second", None, seed, other, np.arange(300))
    first, second = (pools_of(read_runs(tmp_path)[name]) for name in ("first", "second"))
    difference, p = differences_over_seeds(first, second)
    assert difference["macro_f1"].value > 0.05 and p["macro_f1"] > 0.9


def test_weighted_scores_are_those_of_objects_that_often():
    """Scores under whole weights are the scores of the objects repeated so often; weights of 1 give the plain ones."""
    rng = np.random.default_rng(0)
    label, probability_NK = rng.integers(0, 3, 90), rng.dirichlet(np.ones(3), 90).round(1)
    weight_RN = np.stack([np.ones(90), rng.integers(0, 4, 90)]).astype(np.float32)
    score_of = weighted_scores(label, probability_NK, weight_RN)
    for r, weight_N in enumerate(weight_RN):
        at = np.repeat(np.arange(90), weight_N.astype(int))
        expected = score(label[at], probability_NK[at], CLASSES)
        for name in SCORES:
            assert score_of[name][r] == pytest.approx(getattr(expected, name), abs=1e-5)


def test_early_answers_are_scored_from_what_runs_keep(tmp_path):
    """Curves, intervals and paired differences by night come from the answers kept; old runs have what they told."""
    for seed in range(2):
        for system, right in (("ict-convention-mini", 0.9), ("convention-mini", 0.5)):
            write_run(tmp_path, system, None, seed, right, np.arange(300), nights=(1, 3, 8))
        write_run(tmp_path, "lstm", None, seed, 0.6, np.arange(300), macro_f1_by_night={"1": 0.25, "3": 0.5})
    table, text = table_of(tmp_path)
    lines = {line["system"]: line for line in table["systems"]}
    ours = lines["ict-convention-mini"]
    pools = pools_of(read_runs(tmp_path)["ict-convention-mini"])
    expected = [score(pool.label_N, pool.at_night[3], CLASSES) for pool in pools]
    for name in ("macro_f1", "balanced_accuracy", "auc", "log_loss", "ece"):
        assert ours[f"{name}_by_night"]["3"] == pytest.approx(np.mean([getattr(one, name) for one in expected]))
    for name in SCORES:
        interval = ours["intervals_by_night"]["3"][name]
        assert interval["low"] < interval["value"] < interval["high"]
        assert interval["value"] == pytest.approx(ours[f"{name}_by_night"]["3"], abs=1e-5)
    assert lines["lstm"]["macro_f1_by_night"] == {"1": 0.25, "3": 0.5}
    assert lines["lstm"]["intervals_by_night"] == {} and lines["lstm"]["ece_by_night"] is None
    (test,) = table["pairs"]
    assert set(test["differences_by_night"]) == {"1", "3", "8"}
    assert test["differences_by_night"]["8"]["macro_f1"]["low"] > 0
    assert "| ict-convention-mini − convention-mini | 2 | +" in text


def test_kept_answers_keep_small_probabilities(tmp_path):
    """A probability of one in a billion is not 0 after it was kept as a half float, and rows still sum to 1."""
    probability_VNK = np.array([[[1e-9, 0.25, 0.75 - 1e-9]]])
    entry = {"system": "lstm", "fold": None, "seed": 0}
    answer = {"row": np.zeros(1, int), "label": np.zeros(1, int), "probability": probability_VNK[0]}
    (pool,) = pools_of([(entry, answer | kept_by_night(probability_VNK, (5,)))])
    assert pool.at_night[5][0] == pytest.approx(probability_VNK[0, 0], rel=0.01)
    assert pool.at_night[5].sum() == pytest.approx(1)


def test_mcnemar_counts_an_object_once(tmp_path):
    """The test of right and wrong is on the mean answer of the seeds; seeds of one split have no corrected t-test."""
    for seed in range(3):
        write_run(tmp_path, "ict-convention-mini", None, seed, 0.8, np.arange(300))
        write_run(tmp_path, "convention-mini", None, seed, 0.5, np.arange(300))
    for fold in range(2):
        write_run(tmp_path, "ict-convention-mini", fold, 0, 0.8, np.arange(fold, 300, 2))
        write_run(tmp_path, "convention-mini", fold, 0, 0.5, np.arange(fold, 300, 2))
    table, _ = table_of(tmp_path)
    split, folds = (next(test for test in table["pairs"] if test["protocol"] == of) for of in (SPLIT, FOLDS))
    label_N, mean_NK = mean_answers([pool for pool in pools_of(read_runs(tmp_path)["convention-mini"])][1:])
    assert len(label_N) == 300 and mean_NK.sum(1) == pytest.approx(1, abs=1e-5)
    counted = split["mcnemar_of_mean_answers"]
    assert counted["only_first"] + counted["only_second"] < 300
    assert split["p_nadeau_bengio"] is None
    assert 0 < folds["p_nadeau_bengio"] < 1


def test_each_class_is_in_a_table(tmp_path):
    """Recall and F1 of every class are means over seeds, with their deviation, from the worst to the best."""
    for seed in range(2):
        write_run(tmp_path, "lstm", None, seed, 0.7, np.arange(300))
    table, text = table_of(tmp_path)
    reached = [score(pool.label_N, pool.probability_NK, CLASSES) for pool in pools_of(read_runs(tmp_path)["lstm"])]
    (line,) = table["systems"]
    for of in ("recall", "f1"):
        cells = []
        for name in CLASSES:
            values_S = [getattr(one, of)[name] for one in reached]
            assert line[of][name] == pytest.approx(np.mean(values_S))
            cells.append(f"{np.mean(values_S):.3f} ± {np.std(values_S, ddof=1):.3f}")
        ends = f"{min(line[of].values()):.2f} – {max(line[of].values()):.2f}"
        assert f"| lstm | {' | '.join(cells)} | {ends} |" in text


def pairs_among(*systems):
    return set(pairs_of({name: recipe_of_run({"system": name}) for name in systems}))


def test_an_ablation_is_paired_with_what_it_changes_in_one_thing():
    """Ablations that train on whole series are compared with the network that does, not with the whole of it."""
    pairs = pairs_among("vigil-mini", "vigil-whole-series-mini", "vigil-no-mask-mini", "vigil-no-times-mini")
    assert pairs == {
        ("vigil-whole-series-mini", "vigil-mini"),
        ("vigil-no-mask-mini", "vigil-whole-series-mini"),
        ("vigil-no-times-mini", "vigil-mini"),
    }
    assert pairs_among("convention-mini", "cnn-gru-mini", "vigil-mini", "mean-stack-mini") == {
        ("vigil-mini", "convention-mini")
    }
    assert pairs_among("ict-convention", "convention-crt", "convention") == {
        ("ict-convention", "convention"),
        ("convention-crt", "convention"),
    }
    assert pairs_among("ict-dino-mini", "ict-convention-mini", "convention-mini") == {
        ("ict-convention-mini", "convention-mini"),
        ("ict-dino-mini", "convention-mini"),
        ("ict-dino-mini", "ict-convention-mini"),
    }


def test_pairs_that_an_experiment_asks_for_are_tested_once_both_are_there(tmp_path):
    """They stand beside those that recipes tell of; one whose second system has no run yet is left out."""
    for name, right in (("mine", 0.8), ("majority", 0.5)):
        write_run(tmp_path, name, None, 0, right, np.arange(300))
    write_tables(tmp_path, CLASSES, [("mine", "majority"), ("mine", "not-yet")])
    (pair,) = json.loads((tmp_path / "table.json").read_text())["pairs"]
    assert (pair["first"], pair["second"]) == ("mine", "majority")
    assert pair["macro_f1_difference"] > 0.1


def test_a_recipe_that_a_run_tells_is_believed():
    """Runs of a recipe of the user's own are paired by what that recipe changes."""
    recipe = dataclasses.asdict(load_training_recipe("ict-dino-mini"))
    ours = recipe_of_run({"system": "ours", "recipe": json.loads(json.dumps(recipe))})
    pairs = pairs_of({"convention-mini": load_training_recipe("convention-mini"), "ours": ours, "majority": None})
    assert pairs == [("ours", "convention-mini")]


def test_systems_of_the_published_experiment_have_their_pairs():
    """ICT is compared with both versions of its authors' ConvEntion, and with its own stages less the second branch."""
    systems = [f"{name}-reduced" for name in ("ict-convention", "convention", "convention-sampled", "convention-whole")]
    ict, first, last, whole = systems
    assert pairs_among(*systems) >= {(ict, first), (ict, last), (ict, whole), (last, first)}
    assert published(systems) == {"ict-convention": ict, "convention": last}
    assert pairs_among(ict, first, "vigil-two-stage") >= {("vigil-two-stage", ict), ("vigil-two-stage", first)}
    assert pairs_among(ict, "vigil-two-stage-mini", "vigil") == set()


def test_systems_of_two_stages_have_their_pairs():
    """ICT is compared with its authors' ConvEntion and with its own stages without the second branch."""
    ict, vigil = "ict-convention-two-stage-mini", "vigil-two-stage-mini"
    plain, whole = "convention-two-stage-mini", "convention-whole-two-stage-mini"
    assert pairs_among(ict, vigil, plain, whole, "photometry-trees", "lstm-two-stage") == {
        (ict, plain),
        (ict, whole),
        (vigil, ict),
        (vigil, plain),
        (vigil, "photometry-trees"),
    }


def test_each_published_system_counts_once():
    """Sizes and stages do not hide a system; of two that stand for one the plain one counts."""
    system_of = published(
        [
            "sits-bert-pretrained-two-stage",
            "sits-bert-two-stage",
            "cnn-gru-two-stage-mini",
            "convention-whole-two-stage",
        ]
    )
    assert system_of == {"sits-bert": "sits-bert-two-stage", "cnn-gru": "cnn-gru-two-stage-mini"}
    assert published(["sits-bert-pretrained"]) == {"sits-bert": "sits-bert-pretrained"}
    bayesian = "supernnova-bayesian-two-stage-mini"
    assert published(["supernnova-bayesian-two-stage", bayesian]) == {"supernnova-bayesian": bayesian}


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
    assert rank_agreement(lines)["systems"] == ["cnn-gru-mini", "convention", "ict-convention-mini", "lstm"]
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


@pytest.mark.parametrize("broken", ["empty", "cut off", "one array", "array lacking"])
def test_a_run_whose_answers_are_broken_is_named(tmp_path, broken):
    """The file is told, and what to remove."""
    write_run(tmp_path, "majority", None, 0, 0.5, np.arange(30))
    path = tmp_path / "runs" / "majority-split-seed0.npz"
    if broken == "array lacking":
        np.savez(path, row=np.arange(30))
    elif broken == "one array":
        with path.open("wb") as file:
            np.save(file, np.arange(30))
    else:
        path.write_bytes(b"" if broken == "empty" else path.read_bytes()[:-50])
    with pytest.raises(RunError, match=r"majority-split-seed0.npz.*remove .*seed0.json to do that run again"):
        write_tables(tmp_path, CLASSES)


def test_networks_that_were_told_no_class_are_not_compared():
    """Their answers are guesses."""
    with pytest.raises(RecipeError, match="ict-pretrain ends with loss 'none'"):
        compare.systems_of(["majority", "ict-pretrain"])


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_class_that_a_part_lacks_is_told_before_the_first_run(tmp_path, capsys, part):
    """As in a training alone."""
    folder = write_toy(tmp_path / "sky", {"train": 40, "validation": 16, "test": 16, part: 3}).folder
    arguments = ["--data", str(folder), "--out", str(tmp_path / "out"), "--systems", "majority", "--seeds", "0"]
    assert compare.main(arguments) == 2
    assert f"no objects of class SNOther in part '{part}'" in capsys.readouterr().err
    assert not (tmp_path / "out" / "runs").exists()


def test_runs_keep_the_label_mode_of_each_answer(tmp_path):
    """Predictions on a data set of two label modes say which object has which."""
    counts = {"train": 2, "validation": 1, "test": 1}
    groups = [
        {"split": split, "labels": "spectroscopic", "mode": mode, "counts": dict.fromkeys(TAXONOMY, count)}
        for split, count in counts.items()
        for mode in ("survey", "deconfounded")
    ]
    source = {**load_recipe("smoke").source, "groups": groups, "folds": None}
    write_dataset(DatasetRequest(parse_recipe(source, "here"), SDSS, 5), tmp_path / "d")
    dataset = Dataset.open(tmp_path / "d")
    saved = run.kept_answers(dataset, dataset.splits["test"], np.full((8, 4), 0.25), None)
    mode = np.array(dataset.truth()["label_mode"].to_pylist())[dataset.splits["test"]]
    assert np.array_equal(saved["mode"], mode)
    assert sorted(set(saved["mode"])) == ["deconfounded", "sdss_label"]
