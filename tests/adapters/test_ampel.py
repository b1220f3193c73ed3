"""The units made and run by AMPEL's own classes, with a Kafka-protocol broker on loopback."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import orjson
import pytest
from ampel.abstract.AbsAlertSupplier import AbsAlertSupplier
from ampel.abstract.AbsLightCurveT2Unit import AbsLightCurveT2Unit
from ampel.enum.DocumentCode import DocumentCode
from ampel.log.AmpelLogger import AmpelLogger
from ampel.protocol.AmpelAlertProtocol import AmpelAlertProtocol
from ampel.struct.UnitResult import UnitResult
from ampel.view.LightCurve import LightCurve
from published import classification
from streams import broker_or_skip, create, publish

from broker_filter.errors import NotClassified
from broker_filter.kafka.local_broker import QUICK_GROUP
from broker_filter.output.formats import as_json, container_encoder
from ictc.adapters.ampel import ClassificationSupplier, T2ImageSequenceClass, T2StoredSequenceClass

pytestmark = pytest.mark.filterwarnings("default")  # AMPEL's own
encode = container_encoder()


@pytest.fixture(scope="module")
def brokers() -> Iterator[str]:
    """The address of a broker."""
    with broker_or_skip() as address:
        yield address


def unit(brokers: str, topic: str, **parameters: Any) -> T2ImageSequenceClass:
    """A unit as AMPEL's loader makes it."""
    made = T2ImageSequenceClass(
        logger=AmpelLogger.get_logger(), brokers=brokers, topics=[topic], kafka=QUICK_GROUP, **parameters
    )
    made.post_init()
    return made


def state(*numbers: int) -> LightCurve:
    """A compound of an object's first detections and an upper limit, as AMPEL builds light curves."""
    points: list[Any] = [
        {"id": classification(n).alert_id, "channel": [], "meta": [], "body": {"jd": 2_460_500.75 + n, "magpsf": 18.0}}
        for n in numbers
    ]
    limit = {"id": -5, "channel": [], "meta": [], "body": {"jd": 2_460_499.0, "diffmaglim": 20.1}}
    compound: Any = {"link": 17, "stock": 4_000_123, "dps": []}
    return AbsLightCurveT2Unit.build(compound, [*points, limit])


def test_the_answer_is_that_of_the_state(brokers: str) -> None:
    """A compound gets the class of its own newest photopoint, though the topic knows later alerts."""
    create(brokers, "states")
    publish(brokers, "states", [encode(classification(n)) for n in range(4)])
    made = unit(brokers, "states", wait_s=20.0)
    for numbers in ((0,), (0, 1), (0, 1, 2, 3)):
        result = made.process(state(*numbers))
        assert isinstance(result, UnitResult)
        body: Any = result.body
        assert body["alert_id"] == classification(numbers[-1]).alert_id
        assert body["probabilities"]["SNIa"] == pytest.approx(classification(numbers[-1]).probabilities["SNIa"])
        assert result.tag == "ICTC_SNIA"
    made.close()


def test_a_revision_takes_the_first_words_place(brokers: str) -> None:
    """Of several answers to one alert that with most observations counts."""
    create(brokers, "revised")
    revised = replace(classification(1), known_count=5, revision=True, observation_count=5)
    publish(brokers, "revised", [encode(classification(1))])
    publish(brokers, "revised", [encode(revised)])
    made = unit(brokers, "revised", wait_s=5.0, group="t2-revised")
    deadline = 40
    while (result := made.process(state(1))) is None or result.body["n_observations"] != 5:  # type: ignore[union-attr,index,call-overload]
        deadline -= 1
        assert deadline > 0
    made.close()


def test_without_an_answer_the_document_is_tried_again(brokers: str) -> None:
    """An alert that the topic does not have yet, and a state without photopoints, have a code of AMPEL's."""
    create(brokers, "empty")
    made = unit(brokers, "empty", group="t2-empty")
    again, nothing = made.process(state(7)), made.process(state())
    assert isinstance(again, UnitResult)
    assert again.code == DocumentCode.RERUN_REQUESTED
    assert isinstance(nothing, UnitResult)
    assert nothing.code == DocumentCode.T2_MISSING_INFO
    made.close()


def test_an_unclassified_alert_says_why(brokers: str) -> None:
    """The body has no class but the reason."""
    create(brokers, "reasons")
    publish(brokers, "reasons", [encode(classification(2, probabilities={}, reason=NotClassified.NO_STAMPS))])
    made = unit(brokers, "reasons", wait_s=20.0, group="t2-reasons")
    body: Any = made.process(state(2))
    assert (body["class"], body["reason"]) == (None, "no_stamps")
    made.close()


def test_memory_is_bounded(brokers: str) -> None:
    """Of more alerts than the limit the longest unasked are forgotten."""
    create(brokers, "many")
    publish(brokers, "many", [encode(classification(n)) for n in range(30)])
    made = unit(brokers, "many", wait_s=0.5, group="t2-many", alert_limit=10)
    answered = 0
    for _ in range(40):
        answers = [made._answers.newest_of([classification(n).alert_id]) for n in range(30)]
        answered = sum(one is not None for one in answers)
        assert answered <= 10
        if answered == 10:
            break
        made.process(state(99))
    assert answered == 10
    made.close()


def supplier(brokers: str, topic: str, **parameters: Any) -> ClassificationSupplier:
    """A supplier as AMPEL's loader makes it."""
    return ClassificationSupplier(brokers=brokers, topics=[topic], kafka=QUICK_GROUP, idle_limit_s=3.0, **parameters)


def test_classifications_are_ampel_alerts(brokers: str) -> None:
    """Each is an alert by AMPEL's own protocol, whose datapoint a filter can read."""
    create(brokers, "alerts")
    publish(brokers, "alerts", [encode(classification(n)) for n in range(3)])
    made = supplier(brokers, "alerts")
    assert isinstance(made, AbsAlertSupplier)
    alerts = list(made)
    assert all(isinstance(alert, AmpelAlertProtocol) for alert in alerts)
    assert {alert.stock for alert in alerts} == {"ZTF24aaaaaaa"}
    sure = [{"attribute": "n_observations", "operator": ">=", "value": 2}]
    assert sorted(len(alert.get_values("class", filters=sure)) for alert in alerts) == [0, 1, 1]


def test_what_is_not_acknowledged_comes_again(brokers: str) -> None:
    """Alerts count as done when AMPEL acknowledges all of a batch, not when they are handed out."""
    create(brokers, "acknowledged")
    publish(brokers, "acknowledged", [encode(classification(n)) for n in range(4)])
    first = list(supplier(brokers, "acknowledged"))
    second = []
    consumer = supplier(brokers, "acknowledged")
    for alert in consumer:
        second.append(alert)
        if len(second) == 4:
            consumer.acknowledge(iter(second))
    assert sorted(alert.id for alert in second) == sorted(alert.id for alert in first)  # partitions come in any order
    assert list(supplier(brokers, "acknowledged")) == []


def test_lsst_objects_have_numbers(brokers: str) -> None:
    """With ``stock: number`` AMPEL's stock is the survey's integer."""
    create(brokers, "numbers")
    publish(brokers, "numbers", [encode(replace(classification(1, "313963405132693599"), survey="lsst"))])
    (alert,) = supplier(brokers, "numbers", stock="number")
    assert alert.stock == 313963405132693599


class Stored(BaseHTTPRequestHandler):
    """The query interface of a service that has seen three alerts."""

    def do_GET(self) -> None:
        """Answer as the service does."""
        path, _, ids = self.path.partition("?ids=")
        assert path == "/api/alerts"
        wanted = {int(one) for one in ids.split(",")}
        answers = [as_json(one) for one in map(classification, range(3)) if one.alert_id in wanted]
        body = orjson.dumps({"classifications": answers})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_service_answers_states_from_its_store() -> None:
    """The class is that of the state's newest photopoint; what the service has not seen yet is asked again."""
    with HTTPServer(("127.0.0.1", 0), Stored) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made = T2StoredSequenceClass(logger=AmpelLogger.get_logger(), service=f"http://127.0.0.1:{server.server_port}")
        made.post_init()
        for numbers in ((0,), (0, 1), (0, 1, 2, 3)):
            result = made.process(state(*numbers))
            assert isinstance(result, UnitResult)
            body: Any = result.body
            assert body["alert_id"] == classification(min(numbers[-1], 2)).alert_id and result.tag == "ICTC_SNIA"
        unseen: Any = AbsLightCurveT2Unit.build(
            {"link": 17, "stock": 5, "dps": []},  # type: ignore[arg-type,typeddict-item]
            [{"id": 7, "channel": [], "meta": [], "body": {"jd": 2_460_500.75, "magpsf": 18.0}}],  # type: ignore[list-item,typeddict-item]
        )
        again = made.process(unseen)
        assert isinstance(again, UnitResult) and again.code == DocumentCode.RERUN_REQUESTED
        server.shutdown()
