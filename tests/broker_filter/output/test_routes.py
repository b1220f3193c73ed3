"""Rules that send classifications to further topics."""

from dataclasses import replace

import pytest

from broker_filter.config import OutputSettings, load
from broker_filter.errors import ConfigurationError, NotClassified
from broker_filter.output.routes import Router, values_of
from broker_filter.records import Classification, Detection
from broker_filter.rules import Decision, Route
from ictc import Classifier
from model.simulation.alerts.night import write_night

EARLY_IA = 'best == "SNIa" and p_SNIa > 0.5 and daysSinceFirst < 20 and daysSinceBrightest == 0 and magnitude < 19.5'


def answer(**changes: object) -> Classification:
    """A bright, rising type Ia supernova, whose class has just changed."""
    one = Classification(
        survey="ztf",
        object_id="ZTF24aaaaaaa",
        alert_id=7,
        time_mjd=60_500.25,
        band="r",
        observation_count=3,
        probabilities={"AGN": 0.05, "SNIa": 0.85, "Variable": 0.0, "SNOther": 0.1},
        classifier="vigil",
        classifier_version="ztf-1",
        taxonomy_version="ictc-1",
        unknown_score=0.2,
        detection=Detection(150.0, 2.0, 90_000.0, 900.0, 0.9),
        previous_class="SNOther",
        days_since_first=4.0,
        days_since_brightest=0.0,
    )
    return replace(one, **changes)  # type: ignore[arg-type]


def decision(rule: str, classification: Classification) -> Decision:
    """What one rule says."""
    ((_, message),) = Router([Route("test", "out", rule)]).decisions(classification)
    return message


@pytest.mark.parametrize(
    ("rule", "changes", "expected"),
    [
        (EARLY_IA, {}, Decision.ROUTED),
        (EARLY_IA, {"days_since_brightest": 3.0}, Decision.NOT_ROUTED),
        (EARLY_IA, {"days_since_first": 40.0}, Decision.NOT_ROUTED),
        (EARLY_IA, {"detection": Detection(150.0, 2.0, 3_000.0, 900.0, 0.9)}, Decision.NOT_ROUTED),
        ("changedMind", {}, Decision.ROUTED),
        ("changedMind", {"previous_class": "SNIa"}, Decision.NOT_ROUTED),
        ("changedMind", {"previous_class": None}, Decision.NOT_ROUTED),
        ("unknownScore > 3 or snr > 50", {}, Decision.ROUTED),
        ("dec > 0 and ra > 149 and ra < 151", {}, Decision.ROUTED),
        ("nObservations <= 3 and p_SNIa + p_SNOther > 0.9", {}, Decision.ROUTED),
        ('"SNIa" in predictionSet', {"prediction_set": ("SNIa", "SNOther")}, Decision.ROUTED),
        ("magnitude == null", {"detection": None}, Decision.ROUTED),
        ("magnitude < 19.5", {"detection": None}, Decision.UNDECIDED),
        ("p_SNIa > 0.5", {"probabilities": {}, "reason": NotClassified.NO_STAMPS}, Decision.UNDECIDED),
        ("p_Nova > 0.5", {}, Decision.UNDECIDED),
    ],
)
def test_a_rule_reads_the_outputs_fields(rule: str, changes: dict[str, object], expected: Decision) -> None:
    """Class, probabilities, magnitude, position, number of stamps and change of mind; unknown values decide nothing."""
    assert decision(rule, answer(**changes)) is expected


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("magnitud < 19.5", "no name 'magnitud': did you mean magnitude?"),
        ("best < 3", "data type mismatch"),
        ("p_SNIa > ", "syntax error"),
        ("p_SNIa + 1", "not true or false"),
        ('__import__("os").system("true")', "no name '__import__'"),
        ("best.__class__ == best", "unknown attribute"),
        ("nan > 1", "cannot be computed: InvalidOperation"),
        (" and ".join(["changedMind"] * 300), "has 4795 characters, at most 2000"),
    ],
)
def test_a_wrong_rule_is_refused_when_settings_are_read(rule: str, message: str) -> None:
    """Unknown names, wrong types, broken grammar and anything of Python are errors that name the route."""
    with pytest.raises(ConfigurationError, match=r"routes\.early\.rule") as caught:
        Route("early", "out", rule)
    assert message in str(caught.value)


def test_a_topic_gets_a_classification_once() -> None:
    """Two routes to one topic send one message."""
    routes = [Route("a", "bright", "magnitude < 19"), Route("b", "bright", "snr > 10"), Route("c", "ia", "p_SNIa > 2")]
    assert Router(routes).topics(answer()) == ("bright",)


def test_routes_come_from_the_configuration(tmp_path) -> None:
    """The file's list of routes is read, and a wrong one is told with its name."""
    path = tmp_path / "broker.yaml"
    path.write_text(f"output:\n  routes:\n    - {{name: early-ia, topic: ia, rule: '{EARLY_IA}'}}\n")
    (route,) = load(["--config", str(path)]).settings.output.routes
    assert (route.name, route.topic) == ("early-ia", "ia")
    path.write_text("output:\n  routes:\n    - {name: early-ia, topic: ia, rule: 'brightness > 3'}\n")
    with pytest.raises(ConfigurationError, match=r"output\.routes\.0: routes\.early-ia\.rule has no name 'brightness'"):
        load(["--config", str(path)])
    path.write_text(f"output:\n  routes:\n    - {{name: early-ia, topic: ia, rule: '{'snr > 3 and ' * 200}snr > 3'}}\n")
    with pytest.raises(ConfigurationError, match=r"routes\.early-ia\.rule has 2407 characters, at most 2000: make sev"):
        load(["--config", str(path)])


def test_two_routes_of_one_name_are_refused() -> None:
    """A name counts one route."""
    route = {"name": "a", "topic": "x", "rule": "snr > 3"}
    with pytest.raises(ValueError, match="two routes are named a"):
        OutputSettings(routes=[route, route])  # type: ignore[arg-type]


@pytest.mark.slow
def test_new_supernovae_before_their_peak_on_a_night() -> None:
    """On simulated nights the route takes what the same words in Python take: Ia at their brightest, above 19.5."""
    night = write_night("ztf", 12, 8, seed=4, mix={"SNIa": 0.7, "Variable": 0.3})
    stories = Classifier.load("ztf").classify(packet for packet, _ in night)
    answers = [one for story in stories for one in story.answers]
    router = Router([Route("early-ia", "ia", EARLY_IA)])
    routed = {one.alert_id for one in answers if router.topics(one)}
    expected = set()
    for one in answers:
        magnitude = values_of(one)["magnitude"]
        sure = one.best == "SNIa" and one.probabilities["SNIa"] > 0.5 and (one.days_since_first or 0.0) < 20
        if sure and one.days_since_brightest == 0 and magnitude is not None and magnitude < 19.5:
            expected.add(one.alert_id)
    assert routed == expected
    assert 0 < len(routed) < len(answers)
