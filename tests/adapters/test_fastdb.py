"""BrokerMessage 10.0.0: written from the survey's schemas, read by fastavro as FASTDB does."""

import io
from dataclasses import replace

import fastavro
import pytest
from published import classification

from broker_filter.errors import NotClassified
from ictc import ConfigurationError, load_taxonomy
from ictc.adapters import fastdb
from model.simulation.alerts.night import write_night


@pytest.fixture(scope="module")
def alerts() -> list[tuple[bytes, int]]:
    """Packets of a simulated LSST night, with the ids of their alerts."""
    return [(packet, truth["alert_id"]) for packet, truth in write_night("lsst", 4, 2, seed=3)]


def of_alert(alert_id: int) -> object:
    """Our answer to an LSST alert."""
    return replace(classification(2, "3139634051326935"), survey="lsst", alert_id=alert_id)


def test_schema_has_the_fields_of_the_field_list() -> None:
    """Twelve fields of the alert, then broker, classifier, version and classifications."""
    schema = fastdb.broker_message_schema()
    names = [field["name"] for field in schema["fields"]]
    assert schema["name"] == "fastdb.v10_0_0.BrokerMessage"
    assert names[:12] == [field["name"] for field in fastdb.alert_schema()["fields"]]
    assert names[12:] == ["brokerName", "classifierName", "classifierVersion", "classifications"]


def test_a_message_is_the_alert_with_our_answer(alerts: list[tuple[bytes, int]]) -> None:
    """Read back as a bare datum, every field of the alert is as the survey sent it, classes have ELAsTiCC's codes."""
    codes = load_taxonomy().codes
    for packet, alert_id in alerts:
        answer = of_alert(alert_id)
        datum = fastdb.write_datum(fastdb.broker_message(packet, answer, "ICTC"))  # type: ignore[arg-type]
        read = fastavro.schemaless_reader(io.BytesIO(datum), fastdb.broker_message_schema(), None)
        sent = fastavro.schemaless_reader(io.BytesIO(packet[5:]), fastdb.alert_schema(), None)
        assert isinstance(read, dict)
        assert {name: read[name] for name in fastdb.OF_ALERT} == sent
        assert read["brokerName"] == "ICTC"
        of_class = {one["classId"]: one["probability"] for one in read["classifications"]}
        assert of_class[codes["SNIa"]] == pytest.approx(answer.probabilities["SNIa"])  # type: ignore[attr-defined]
        assert sum(of_class.values()) == pytest.approx(1)
    assert len(alerts) > 3


def test_the_first_level_is_a_classifier_of_its_own(alerts: list[tuple[bytes, int]]) -> None:
    """Probabilities of supernovae of any type have their own message, whose probabilities sum to 1."""
    packet, number = alerts[0]
    answer = replace(of_alert(number), broad_probabilities={"SN": 0.75, "AGN": 0.25})  # type: ignore[type-var]
    message = fastdb.broker_message(packet, answer, "ICTC", first_level=True)
    assert message["classifierName"].endswith(" first level")
    codes = load_taxonomy().codes
    assert message["classifications"] == [
        {"classId": codes["SN"], "probability": 0.75},
        {"classId": codes["AGN"], "probability": 0.25},
    ]


def test_containers_hold_their_schema(alerts: list[tuple[bytes, int]]) -> None:
    """Several messages in one container are read without a schema of one's own."""
    messages = [fastdb.broker_message(packet, of_alert(number), "ICTC") for packet, number in alerts]  # type: ignore[arg-type]
    read = list(fastavro.reader(io.BytesIO(fastdb.write_container(messages))))
    assert [one["diaSourceId"] for one in read] == [number for _, number in alerts]  # type: ignore[index]


def test_an_alert_without_class_is_not_classified(alerts: list[tuple[bytes, int]]) -> None:
    """Its one class is the taxonomy's code for that, with probability 1."""
    packet, number = alerts[0]
    nothing = replace(of_alert(number), probabilities={}, reason=NotClassified.NO_STAMPS)  # type: ignore[type-var]
    message = fastdb.broker_message(packet, nothing, "ICTC")
    assert message["classifications"] == [{"classId": load_taxonomy().not_classified_code, "probability": 1.0}]


def test_wrong_packets_are_refused(alerts: list[tuple[bytes, int]]) -> None:
    """Another alert, another schema, broken bytes and classes without a code each have their message."""
    packet, number = alerts[0]
    answer = of_alert(number)
    with pytest.raises(ValueError, match="with the class of alert 7"):
        fastdb.broker_message(packet, replace(answer, alert_id=7), "ICTC")  # type: ignore[type-var]
    with pytest.raises(ValueError, match="schema id 900"):
        fastdb.broker_message(b"\0" + (900).to_bytes(4, "big") + packet[5:], answer, "ICTC")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no LSST alert"):
        fastdb.broker_message(packet[:200], answer, "ICTC")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="Nova"):
        fastdb.broker_message(packet, replace(answer, probabilities={"Nova": 1.0}), "ICTC")  # type: ignore[type-var]
