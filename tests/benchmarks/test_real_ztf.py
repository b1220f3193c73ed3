"""Scores of simulated objects in the class mix of other ones; labels and probabilities are drawn by hand."""

import numpy as np
import pytest

from benchmarks.real_ztf.scores import scored, scored_in_mix
from model.training.evaluation.intervals import bootstrap
from model.training.evaluation.scoring import macro_f1, score

CLASSES = ("AGN", "SNIa", "Variable", "SNOther")
TIMES_K = np.array([1, 3, 14, 2])


def answers(of_class=150, seed=0):
    """Labels [N] of so many objects of each class, probabilities [N, K] of which three quarters are right."""
    rng = np.random.default_rng(seed)
    label_N = np.repeat(np.arange(4), of_class)
    chosen_N = np.where(rng.random(len(label_N)) < 0.7, label_N, rng.integers(0, 4, len(label_N)))
    p_NK = rng.dirichlet(np.ones(4), len(label_N)) + 2 * np.eye(4)[chosen_N]
    return label_N, p_NK / p_NK.sum(1, keepdims=True)


def test_a_mix_scores_as_if_classes_came_in_its_shares():
    """Weighting 1 : 3 : 14 : 2 gives the scores of each object repeated as often, and leaves recalls alone."""
    label_N, p_NK = answers()
    in_mix = scored_in_mix(label_N, p_NK, CLASSES, TIMES_K)
    often = np.repeat(np.arange(len(label_N)), TIMES_K[label_N])
    expected = score(label_N[often], p_NK[often], CLASSES)
    for name in ("macro_f1", "balanced_accuracy", "auc", "log_loss"):
        assert in_mix[name] == pytest.approx(getattr(expected, name), abs=1e-6)
    assert in_mix["supernova_auroc"] == pytest.approx(scored(label_N[often], p_NK[often], CLASSES)["supernova_auroc"])
    plain = scored(label_N, p_NK, CLASSES)
    assert in_mix["objects"] == 600
    assert in_mix["recall_interval"] == plain["recall_interval"]
    assert in_mix["balanced_accuracy"] == pytest.approx(plain["balanced_accuracy"])
    assert in_mix["macro_f1"] < plain["macro_f1"] - 0.05


def test_the_interval_of_a_mix_is_that_of_its_objects():
    """Resamples are of the objects that there are, so the interval is as wide as over new draws of as many."""
    label_N, p_NK = answers()
    often = np.repeat(np.arange(len(label_N)), TIMES_K[label_N])

    def reached(p_NK):
        return macro_f1(label_N[often], p_NK[often].argmax(1), 4)

    of_others = [reached(answers(seed=seed)[1]) for seed in range(1, 41)]
    interval = scored_in_mix(label_N, p_NK, CLASSES, TIMES_K)["macro_f1_interval"]
    width = interval["high"] - interval["low"]
    assert width == pytest.approx(2 * 1.96 * np.std(of_others), rel=0.3)
    label, chosen = label_N[often], p_NK[often].argmax(1)
    repeated = bootstrap(label, lambda rows: macro_f1(label[rows], chosen[rows], 4), resamples=100)
    assert repeated.high - repeated.low < 0.8 * width
