"""A card's limits follow from its facts: survey, mix of classes, seed, unknown score, controls."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.data.dataset import DatasetError
from model.serving.predictor import untrained
from model.training.evaluation.card_limits import limits, read_controls
from model.training.evaluation.intervals import Interval
from model.training.evaluation.scorecard import (
    ClassCounts,
    Confidence,
    Decisions,
    EarlyCurves,
    EarlyScores,
    FollowUp,
    Scorecard,
    ScoredData,
    ScoredWeights,
    ScoreIntervals,
    Strangers,
    StrangersAtNight,
)
from model.training.evaluation.scoring import score

HOST_LINES = [
    {
        "control": control,
        "mode": mode,
        "macro_f1": {"value": value, "low": value - 0.05},
        "recall": dict.fromkeys("abcd"),
    }
    for mode, unchanged, host in (("sdss_label", 0.78, 0.61), ("deconfounded", 0.74, 0.18), ("all", 0.76, 0.41))
    for control, value in (("unchanged", unchanged), ("host only", host))
]


COUNTS = ClassCounts({"AGN": 150, "SNIa": 150, "Variable": 150, "SNOther": 150}, balanced=True)
LABEL_N = np.repeat(np.arange(4), 150)
EARLY = {night: EarlyScores(f1, f1, 0.9, 0.5, 0.5, 0.05) for night, f1 in ((1, 0.692), (20, 0.87))}
STRANGERS = Strangers(0.91, 0.9, 0.3, known=600, unknown=90, auroc_by_class={"TDE": 0.83, "KN": 0.78})


def scorecard(**changes: Any) -> Scorecard:
    """What an evaluation finds of answers with a macro-F1 of 0.88; the limits do not read all of it."""
    range_of = Interval(0.883, 0.85, 0.9)
    card = Scorecard(
        ScoredWeights("vigil", "x-1", "ztf"),
        ScoredData("sky", "smoke", 1, simulated=True),
        COUNTS,
        replace(score(LABEL_N, np.eye(4)[LABEL_N], tuple(COUNTS.objects)), macro_f1=0.883),
        ScoreIntervals(range_of, range_of, dict.fromkeys(COUNTS.objects, range_of)),
        [[0.9, 0.88, 600]],
        EarlyCurves(EARLY, EARLY, EARLY[20], 0.8, 5.0, 10.0),
        Confidence(0.8, 0.7, 5.0, 0.95, 0.5, 0.4, 0.7),
        [Decisions(0.8, 1, 0.8, 4.0, 0.9, 0.2, 0.1)],
        FollowUp(0.9, 20.0),
        None,
    )
    return replace(card, **changes)


def limits_of(survey: str, card: Scorecard, controls: dict[str, Any] | None = None) -> str:
    return "\n".join(limits(untrained(survey, "vigil", 3)[1], card, controls))


def test_only_a_survey_with_labelled_real_alerts_is_said_to_score_lower_on_them():
    """ZTF's weights were tried on the sky, the others never; of a real data set nothing is said of simulations."""
    assert "on labelled real alerts" in limits_of("ztf", scorecard())
    for survey in ("lsst", "sdss"):
        assert f"no real one of {survey.upper()} with a known class was ever classified" in limits_of(
            survey, scorecard()
        )
    assert "simulated" not in limits_of("sdss", scorecard(data=ScoredData("stripe", None, None, simulated=False)))


def test_mix_seed_and_first_night_are_told():
    """The test set's classes, one seed, and how weak the first answers are."""
    words = limits_of("ztf", scorecard())
    assert "a balanced test set (AGN 150, SNIa 150" in words
    assert "of seed 3" in words
    assert "macro-F1 0.69 after the first night, 0.88 at the last alert" in words
    assert "an unbalanced test set" in limits_of(
        "ztf", scorecard(classes=ClassCounts({"AGN": 364, "SNOther": 34}, balanced=False))
    )


def test_how_well_unknown_classes_are_told_is_said_as_far_as_it_was_measured():
    """Not at all, at the last alert only, or after the first night too."""
    assert "was not measured." in limits_of("ztf", scorecard())
    words = limits_of("ztf", scorecard(unknown=STRANGERS))
    assert "0.91 at the last alert (worst KN: 0.78); at the first alerts it was not measured" in words
    by_night = {night: StrangersAtNight(auroc, 0.0) for night, auroc in ((1, 0.58), (3, 0.7))}
    grown = replace(STRANGERS, by_night=by_night)
    assert "(worst KN: 0.78) and 0.58 after the first night" in limits_of("ztf", scorecard(unknown=grown))


@pytest.mark.parametrize("leans", [True, False])
def test_hosts_are_spoken_of_where_controls_asked(leans: bool):
    """Where the host alone beats chance the weights lean on it; without controls nothing is said of hosts."""
    assert "host" not in limits_of("sdss", scorecard())
    lines = HOST_LINES if leans else HOST_LINES[2:4]
    words = limits_of("sdss", scorecard(), {"weights": {"version": "sdss-1"}, "controls": lines})
    leaning = "they lean on the host, which alone gives much of the score (sdss_label: macro-F1 0.61 of 0.78)"
    assert (leaning in words) == leans
    assert "do not lean on the host where it tells no class (deconfounded: macro-F1 0.18 of 0.74)" in words


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ({}, "weights: Field required"),
        ([], "weights: Field required"),
        ({"controls": "x"}, "weights: Field required"),
        ({"weights": {"version": "1"}, "controls": "x"}, "controls: Input should be a valid list"),
        ({"weights": {"version": "1"}, "controls": []}, "controls: List should have at least 1 item"),
        ({"weights": {"version": "1"}, "controls": [{"control": "host only"}]}, "controls: 0: mode: Field required"),
        ({"weights": {"version": "1"}, "controls": [{**HOST_LINES[0], "recall": {}}]}, "recall: Dictionary should"),
        (
            {"weights": {"version": "1"}, "controls": [HOST_LINES[1]]},
            "Value error, mode sdss_label has 'host only' and no 'unch",
        ),
    ],
)
def test_controls_are_those_of_the_benchmark(tmp_path: Path, content: Any, fault: str):
    """What another program wrote is refused when it is read, with the place in it."""
    path = tmp_path / "controls.json"
    path.write_text(json.dumps({"weights": {"version": "1"}, "controls": HOST_LINES}))
    assert len(read_controls(path)["controls"]) == len(HOST_LINES)
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=f"controls.json is not the JSON of controls, make it with .*: {fault}"):
        read_controls(path)
