"""A card's limits follow from its facts: survey, mix of classes, seed, unknown score, controls."""

from typing import Any

import pytest

from model.serving.predictor import untrained
from model.training.evaluation.card_limits import limits

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


def evaluation_table(**changes: Any) -> dict[str, Any]:
    """What an evaluation finds, as far as the limits read it."""
    return {
        "classes": {"objects": {"AGN": 150, "SNIa": 150, "Variable": 150, "SNOther": 150}},
        "data": {"folder": "sky", "simulated": True},
        "scores": {"macro_f1": 0.883},
        "early": {"by_night": {1: {"macro_f1": 0.692}, 20: {"macro_f1": 0.87}}},
        **changes,
    }


def limits_of(survey: str, table: dict[str, Any], controls: dict[str, Any] | None = None) -> str:
    return "\n".join(limits(untrained(survey, "vigil", 3)[1], table, controls))


def test_only_a_survey_with_labelled_real_alerts_is_said_to_score_lower_on_them():
    """ZTF's weights were tried on the sky, the others never; of a real data set nothing is said of simulations."""
    assert "on labelled real alerts" in limits_of("ztf", evaluation_table())
    for survey in ("lsst", "sdss"):
        assert f"no real one of {survey.upper()} with a known class was ever classified" in limits_of(
            survey, evaluation_table()
        )
    assert "simulated" not in limits_of("sdss", evaluation_table(data={"folder": "stripe", "simulated": False}))


def test_mix_seed_and_first_night_are_told():
    """The test set's classes, one seed, and how weak the first answers are."""
    words = limits_of("ztf", evaluation_table())
    assert "a balanced test set (AGN 150, SNIa 150" in words
    assert "of seed 3" in words
    assert "macro-F1 0.69 after the first night, 0.88 at the last alert" in words
    assert "an unbalanced test set" in limits_of(
        "ztf", evaluation_table(classes={"objects": {"AGN": 364, "SNOther": 34}})
    )


def test_how_well_unknown_classes_are_told_is_said_as_far_as_it_was_measured():
    """Not at all, at the last alert only, or after the first night too."""
    assert "was not measured." in limits_of("ztf", evaluation_table())
    unknown: dict[str, Any] = {"auroc": 0.91, "auroc_by_class": {"TDE": 0.83, "KN": 0.78}}
    words = limits_of("ztf", evaluation_table(unknown=unknown))
    assert "0.91 at the last alert (worst KN: 0.78); at the first alerts it was not measured" in words
    unknown["by_night"] = {night: {"auroc": auroc} for night, auroc in ((1, 0.58), (3, 0.7))}
    assert "(worst KN: 0.78) and 0.58 after the first night" in limits_of("ztf", evaluation_table(unknown=unknown))


@pytest.mark.parametrize("leans", [True, False])
def test_hosts_are_spoken_of_where_controls_asked(leans: bool):
    """Where the host alone beats chance the weights lean on it; without controls nothing is said of hosts."""
    assert "host" not in limits_of("sdss", evaluation_table())
    lines = HOST_LINES if leans else HOST_LINES[2:4]
    words = limits_of("sdss", evaluation_table(), {"weights": {"version": "sdss-1"}, "controls": lines})
    leaning = "they lean on the host, which alone gives much of the score (sdss_label: macro-F1 0.61 of 0.78)"
    assert (leaning in words) == leans
    assert "do not lean on the host where it tells no class (deconfounded: macro-F1 0.18 of 0.74)" in words
