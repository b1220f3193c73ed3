"""Scores against sklearn, intervals and tests against known values, early curves on made-up histories."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from model.training.evaluation import early, intervals, scoring
from model.training.evaluation.calibrate import (
    energy,
    fit_bias_and_temperature,
    fit_sets,
    fit_temperature,
    fit_unknown,
    unknown_scores,
)
from model.training.evaluation.predict import softmax

CLASSES = ("AGN", "SNIa", "Variable", "SNOther")


def answers(count: int = 400, skill: float = 1.5, seed: int = 0):
    rng = np.random.default_rng(seed)
    label = rng.choice(4, count, p=[0.2, 0.1, 0.6, 0.1])
    logits = rng.normal(size=(count, 4)) + skill * np.eye(4)[label]
    return label, logits


def test_scores_are_those_of_sklearn():
    """Every score that sklearn knows has sklearn's value."""
    label, logits = answers()
    p = softmax(logits)
    chosen = p.argmax(1)
    s = scoring.score(label, p, CLASSES)
    assert s.macro_f1 == pytest.approx(sk.f1_score(label, chosen, average="macro"))
    assert s.balanced_accuracy == pytest.approx(sk.balanced_accuracy_score(label, chosen))
    assert list(s.recall.values()) == pytest.approx(sk.recall_score(label, chosen, average=None))
    assert list(s.precision.values()) == pytest.approx(sk.precision_score(label, chosen, average=None))
    assert s.auc == pytest.approx(sk.roc_auc_score(label, p, multi_class="ovr", average="macro"))
    assert s.log_loss == pytest.approx(sk.log_loss(label, p))
    assert s.mcc == pytest.approx(sk.matthews_corrcoef(label, chosen))
    assert s.confusion == sk.confusion_matrix(label, chosen).tolist()
    assert s.brier == pytest.approx(sum(sk.brier_score_loss(label == k, p[:, k]) for k in range(4)))


def test_a_class_that_is_absent_breaks_no_score():
    """Without any object of one class the scores are those of the others."""
    label, logits = answers()
    keep = label != 3
    s = scoring.score(label[keep], softmax(logits[keep]), CLASSES)
    assert np.isfinite(s.balanced_accuracy)
    assert np.isnan(s.recall["SNOther"])
    assert np.isfinite(s.auc)


def test_the_majority_class_gives_the_published_floor():
    """Always answering Variable on the published test counts gives 68.4 % accuracy and 20.3 % macro-F1."""
    label = np.repeat([0, 1, 2, 3], [182, 99, 645, 17])
    s = scoring.score(label, np.tile([0.0, 0.0, 1.0, 0.0], (943, 1)), CLASSES)
    assert s.accuracy == pytest.approx(0.684, abs=5e-4)
    assert s.macro_f1 == pytest.approx(0.203, abs=5e-4)


def test_perfect_confidence_is_calibrated_and_overconfidence_is_not():
    """Answers drawn from their own probabilities have nearly no calibration error; sharpened ones have."""
    rng = np.random.default_rng(1)
    p = softmax(rng.normal(size=(20_000, 4)) * 2)
    label = (p.cumsum(1) > rng.random((20_000, 1))).argmax(1)
    sharp = softmax(np.log(p), 0.4)
    right = p.argmax(1) == label
    assert scoring.calibration_error(p.max(1), right) < 0.015
    assert scoring.calibration_error(sharp.max(1), right) > 0.1


def test_the_temperature_undoes_a_sharpening():
    """Logits of honest probabilities, multiplied by three, get the temperature three."""
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(8000, 4)) * 2
    label = (softmax(logits).cumsum(1) > rng.random((8000, 1))).argmax(1)
    assert fit_temperature(3 * logits, label, balanced=False) == pytest.approx(3.0, rel=0.05)


def test_the_unknown_score_is_centred_on_the_known():
    """Its zero and unit are the known objects' own, and weak answers score higher."""
    _, logits = answers(skill=5.0)
    fitted = fit_unknown(logits, None, np.ones(len(logits)))
    known = (energy(logits) - fitted.location) / fitted.scale
    assert np.median(known) == pytest.approx(0, abs=0.01)
    weak = (energy(0.2 * logits) - fitted.location) / fitted.scale
    assert unknown_scores(known, weak).auroc > 0.8


def test_every_object_counts_alike_for_the_unknown_score():
    """Objects with many answers do not move its zero: weights make an object's answers one."""
    _, logits = answers(skill=5.0)
    once = fit_unknown(logits, None, np.ones(len(logits)))
    strange = np.repeat(0.1 * logits[:20], 200, axis=0)  # twenty objects that are asked two hundred times each
    mixed = np.concatenate([logits, strange])
    weights = np.concatenate([np.ones(len(logits)), np.full(len(strange), 1 / 200)])
    assert fit_unknown(mixed, None, weights).location == pytest.approx(once.location, abs=0.1)
    assert fit_unknown(mixed, None, np.ones(len(mixed))).location > once.location + 0.3


def test_a_class_that_is_answered_too_often_is_put_right():
    """Offsets undo a bias of the logits, whatever the numbers of the classes; the temperature undoes a scale."""
    label, logits = answers(4000)
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    honest_offset, honest_temperature = fit_bias_and_temperature(log_p, label, np.ones(len(label)))
    wrong = 2.5 * log_p + np.array([1.0, 0.0, -2.0, 1.0])
    offset, temperature = fit_bias_and_temperature(wrong, label, np.full(len(label), 0.3))
    assert temperature == pytest.approx(2.5 * honest_temperature, rel=0.02)
    assert np.array(offset) == pytest.approx(2.5 * np.array(honest_offset) - [1.0, 0.0, -2.0, 1.0], abs=0.03)
    assert sum(offset) == pytest.approx(0)


def test_wilson_is_scipys():
    """Shares of few trials have scipy's Wilson interval."""
    expected = stats.binomtest(12, 17).proportion_ci(method="wilson")
    measured = intervals.wilson(12, 17)
    assert (measured.low, measured.high) == pytest.approx((expected.low, expected.high))


def test_the_bootstrap_of_the_published_test_set_has_its_known_width():
    """On 943 objects the standard deviation of macro-F1 is about 0.024, as the protocol says."""
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1, 2, 3], [182, 99, 645, 17])
    wrong = rng.random(943) < 0.2
    chosen = np.where(wrong, rng.integers(0, 4, 943), label)
    sd = intervals.f1_of(intervals.resampled_tables(label, chosen, 4)).std()
    assert 0.015 < sd < 0.035
    by_objects = intervals.bootstrap(label, lambda rows: scoring.macro_f1(label[rows], chosen[rows], 4), resamples=300)
    by_tables = intervals.macro_f1_interval(label, chosen, 4)
    assert by_objects.value == pytest.approx(by_tables.value)
    assert by_objects.low == pytest.approx(by_tables.low, abs=0.01)


def test_paired_comparison_sees_a_difference_and_no_difference():
    """The same answers have p 1; answers with fifty more right ones differ, and McNemar is scipy's binomial test."""
    label, logits = answers(600)
    chosen = logits.argmax(1)
    same = intervals.compare_pair(label, chosen, chosen, 4)
    assert same.difference.value == 0
    assert same.p_bootstrap == same.p_mcnemar == 1.0
    better = chosen.copy()
    better[np.flatnonzero(chosen != label)[:50]] = label[np.flatnonzero(chosen != label)[:50]]
    measured = intervals.compare_pair(label, better, chosen, 4)
    assert (measured.only_first, measured.only_second) == (50, 0)
    assert measured.p_mcnemar == pytest.approx(2 * 0.5**50)
    assert measured.p_bootstrap < 0.01
    assert measured.difference.low > 0


def test_corrections_have_their_known_values():
    """Holm's step-down and the corrected t-test give hand-computed values."""
    assert intervals.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    difference = [0.02, 0.03, 0.01, 0.02, 0.04]
    t = 0.024 / np.sqrt((1 / 5 + 1 / 4) * np.var(difference, ddof=1))
    assert intervals.nadeau_bengio(difference, 800, 200) == pytest.approx(2 * stats.t.sf(t, 4))


def made_up() -> early.PrefixPredictions:
    """Two objects of four frames: one right from frame 2 on, one of three frames right from the start."""
    nan = np.nan
    p = np.full((2, 4, 4), nan)
    p[0] = [[0.4, 0.3, 0.2, 0.1], [0.5, 0.4, 0.05, 0.05], [0.1, 0.85, 0.03, 0.02], [0.05, 0.9, 0.03, 0.02]]
    p[1, :3] = [[0.2, 0.1, 0.6, 0.1], [0.1, 0.05, 0.8, 0.05], [0.1, 0.05, 0.8, 0.05]]
    time = np.array([[0.0, 0.01, 3.0, 9.0], [0.0, 5.0, 5.02, nan]])
    return early.PrefixPredictions(np.array([1, 2]), p, time, np.array([0, 0]), np.array([4.0, nan]))


def test_nights_and_days_pick_the_frames_that_were_there():
    """Frames of one night count once, and no frame from after the time in question is used."""
    histories = made_up()
    assert early.frame_after_nights(histories, 1).tolist() == [1, 0]
    assert early.frame_after_nights(histories, 2).tolist() == [2, 2]
    assert early.frame_after_nights(histories, 9).tolist() == [3, 2]
    assert early.frame_after_days(histories, 0).tolist() == [0, 0]
    assert early.frame_after_days(histories, 5.01).tolist() == [2, 1]


def test_confidence_counts_from_when_a_choice_is_kept():
    """The first object decides at its third frame after one flip, the second at its second after none."""
    measured = early.confidence(made_up(), 0.8)
    assert measured.confident_share == 1
    assert measured.flips_per_object == 0.5
    assert measured.median_days == pytest.approx(4.0)
    assert measured.earliness == pytest.approx((3 / 4 + 2 / 3) / 2)
    e = measured.earliness
    assert measured.harmonic_mean == pytest.approx(2 * (1 - e) / (2 - e))


def test_decisions_are_made_without_looking_ahead():
    """The first alert that reaches the threshold decides, right or not; a second in a row decides later."""
    histories = made_up()
    histories.probability_NTK[0, 0] = [0.9, 0.05, 0.03, 0.02]  # sure of the wrong class, which is then left
    at_once = early.decisions(histories, 0.8)
    assert at_once.decided_share == 1
    assert at_once.median_days == pytest.approx(2.5)
    assert at_once.right_share == at_once.changed_share == at_once.revoked_share == 0.5
    in_a_row = early.decisions(histories, 0.8, in_a_row=2)
    assert in_a_row.decided_share == in_a_row.right_share == 1
    assert in_a_row.median_days == pytest.approx((9 + 5.02) / 2)
    assert in_a_row.changed_share == in_a_row.revoked_share == 0
    never = early.decisions(histories, 0.99)
    assert never.decided_share == 0
    assert np.isnan(never.right_share)


def test_another_mix_of_classes_weighs_objects():
    """Members that are rarer in the sky than in the sample make a purer sample less pure, and alarms weigh by class."""
    label = np.array([1, 1, 0, 2])
    weight = early.in_mix(label, [3, 1, 6, 0])
    assert weight.tolist() == pytest.approx([0.2, 0.2, 1.2, 2.4])
    score = np.array([0.9, 0.7, 0.8, 0.1])
    assert early.purity_at(score, label == 1, 1.0) == pytest.approx(2 / 3)
    assert early.purity_at(score, label == 1, 1.0, weight) == pytest.approx(0.4 / 1.6)
    p = np.zeros((2, 1, 4))
    p[0, 0, 1] = p[1, 0, 2] = 1  # an AGN that is called a supernova, a variable that is not
    alerts = early.PrefixPredictions(np.array([0, 2]), p, np.zeros((2, 1)), np.array([0, 0]), np.full(2, np.nan))
    assert early.false_alarms(alerts, (1, 3), (0, 2)) == 500
    assert early.false_alarms(alerts, (1, 3), (0, 2), np.array([0.2, 1.8])) == pytest.approx(100)


def test_early_curves_of_the_made_up_pair():
    """Macro-F1 reaches 1 on the third day, and the alarm and purity numbers are those counted by hand."""
    histories = made_up()
    measured = early.curves(histories)
    assert measured.by_day[0].macro_f1 < 1
    assert measured.by_day[3].macro_f1 == 1
    assert measured.days_to_90_percent == 3
    assert early.false_alarms(histories, (1, 3), (0, 2)) == 0
    assert early.before_peak_purity(histories, 1) == 1


def test_purity_at_half_completeness():
    """Of members at ranks 1, 3 and 4 half are found within the first three: purity two thirds."""
    score = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    member = np.array([True, False, True, True, False])
    assert early.purity_at(score, member, 0.5) == pytest.approx(2 / 3)


def test_detection_is_the_first_significant_frame():
    """Five sigma either way counts; without any the last frame does."""
    assert early.first_detection(np.array([1.0, -6.0, 9.0]), np.ones(3)) == 1
    assert early.first_detection(np.zeros(3), np.ones(3)) == 2


def test_prediction_sets_hold_the_true_class_as_often_as_promised():
    """Of new objects of each class nine in ten have it in their set; sure answers make small sets."""
    rng = np.random.default_rng(3)

    def answers(objects):
        label_N = rng.integers(0, 4, objects)
        logits_NK = 2.0 * np.eye(4)[label_N] + rng.normal(0, 1.2, (objects, 4))
        return softmax(logits_NK), label_N

    p_MK, label_M = answers(4000)
    sets = fit_sets(p_MK, label_M, np.arange(len(label_M)))
    p_NK, label_N = answers(8000)
    kept_NK = sets.of(p_NK)
    for k in range(4):
        assert kept_NK[label_N == k, k].mean() == pytest.approx(0.9, abs=0.02)
    assert kept_NK[p_NK.max(1) > 0.97].sum(1).mean() < kept_NK[p_NK.max(1) < 0.6].sum(1).mean()


def test_few_objects_promise_nothing_they_cannot_keep():
    """With fewer than nine objects of a class nothing shows that any probability is too small for it."""
    p_MK = np.tile([0.7, 0.3], (6, 1))
    assert fit_sets(p_MK, np.zeros(6, np.int64), np.arange(6)).least == (0.0, 0.0)


def test_prediction_sets_keep_their_promise_at_every_age():
    """Where early answers are poorer than late ones each age has its own limits, and its sets hold the true class."""
    rng = np.random.default_rng(4)

    def answers(objects):
        label_N = rng.integers(0, 4, objects).repeat(2)
        age_N = np.tile([0.0, 40.0], objects)
        logits_NK = np.where(age_N[:, None] > 0, 2.0, 0.7) * np.eye(4)[label_N] + rng.normal(0, 1.2, (2 * objects, 4))
        return softmax(logits_NK), label_N, np.arange(objects).repeat(2), age_N

    p_MK, label_M, object_M, age_M = answers(3000)
    by_age, together = fit_sets(p_MK, label_M, object_M, age_M), fit_sets(p_MK, label_M, object_M)
    p_NK, label_N, _, age_N = answers(6000)
    row_N = np.arange(len(label_N))
    for days in (0.0, 40.0):
        of_N = age_N == days
        assert by_age.of(p_NK, age_N)[row_N, label_N][of_N].mean() == pytest.approx(0.9, abs=0.02)
    assert together.of(p_NK, age_N)[row_N, label_N][age_N == 0].mean() < 0.86
    assert (by_age.of(p_NK) == together.of(p_NK)).all()


def test_an_object_with_many_answers_counts_as_one():
    """A hundred poor answers of one object move the limit no more than one of them would."""
    p_MK = np.array([[0.9, 0.1]] * 20 + [[0.2, 0.8]] * 100)
    object_M = np.r_[np.arange(20), np.full(100, 20)]
    assert fit_sets(p_MK, np.zeros(120, np.int64), object_M).least[0] == 0.9
