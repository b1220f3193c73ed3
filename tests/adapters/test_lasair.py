"""Lasair's own client against a local server that speaks its API."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from lasair import lasair_client
from published import classification
from streams import broker_or_skip, create, publish

from broker_filter.errors import FatalError, NotClassified
from broker_filter.kafka.local_broker import QUICK_GROUP
from broker_filter.output.formats import container_encoder
from ictc.adapters import lasair as adapter
from ictc.adapters.lasair import Annotator, annotation_of, main

TOKEN = "4607a33defa78fa20bef98791680574b6cc13b23"
TOPIC = "ictc"


class LasairApi:
    """What the real server does with ``annotatelist``: checks the token and the fields, keeps the annotations.

    ``answers`` are statuses to give, one a request, before it works as it should.
    """

    def __init__(self) -> None:
        self.annotations: list[dict[str, Any]] = []
        self.request_count = 0
        self.answers: list[int] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, answer = api.answer(self.path, self.headers.get("Authorization"), body)
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                """Tests print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}/api"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, path: str, authorization: str | None, body: bytes) -> tuple[int, Any]:
        """Status and JSON of one request."""
        self.request_count += 1
        if self.answers and (status := self.answers.pop(0)) != 200:
            return status, {"error": f"told to answer {status}"}
        if authorization != f"Token {TOKEN}":
            return 401, {"detail": "Invalid token."}
        if path != "/api/annotatelist/":
            return 404, {"detail": path}
        annotations = json.loads(body)["annotations"]
        for one in annotations:
            if one["topic"] != TOPIC or not one["classification"] or len(one["version"]) > 16:
                return 400, {"error": f"annotation of {one['objectId']} is wrong"}
            json.loads(one["classdict"])
        self.annotations += annotations
        return 200, {"status": "success", "count": len(annotations)}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def api() -> Iterator[LasairApi]:
    """A server on loopback."""
    server = LasairApi()
    yield server
    server.close()


@pytest.fixture
def waits() -> list[float]:
    """How long the annotator would have slept."""
    return []


@pytest.fixture
def annotator(api: LasairApi, waits: list[float]) -> Annotator:
    """The annotator under test, which notes its waits instead of sleeping."""
    client = lasair_client(TOKEN, endpoint=api.endpoint)
    return Annotator(client, TOPIC, requests_per_hour=1e9, sleep=waits.append)


def test_annotation_says_class_probabilities_and_version() -> None:
    """An annotation holds the best class, all probabilities, and a page with the object's name."""
    annotation = annotation_of(classification(3), TOPIC, "https://example.org/{object_id}")
    assert annotation["classification"] == "SNIa"
    assert annotation["classdict"]["SNIa"] == pytest.approx(0.875)
    assert annotation["classdict"]["alertId"] == "1000000000000003"
    assert annotation["url"] == "https://example.org/ZTF24aaaaaaa"
    assert "4 stamps" in annotation["explanation"]


def test_the_newest_word_on_each_object_arrives(api: LasairApi, annotator: Annotator) -> None:
    """Of several alerts of an object the last is sent, a revised one rather than the first; unclassified ones never."""
    revised = replace(classification(2), known_count=9, revision=True)
    unclassified = classification(1, "ZTF24cccccc", probabilities={}, reason=NotClassified.NO_STAMPS)
    annotator.annotate([classification(0), revised, classification(2), classification(1, "ZTF24bbbbbb"), unclassified])
    assert {one["objectId"] for one in api.annotations} == {"ZTF24aaaaaaa", "ZTF24bbbbbb"}
    assert json.loads(api.annotations[0]["classdict"])["mjd"] == revised.time_mjd
    assert annotator.sent_count == 2


def test_many_go_in_batches(api: LasairApi, annotator: Annotator) -> None:
    """450 objects take three requests of at most 200."""
    annotator.annotate(classification(0, f"ZTF24{n:07d}") for n in range(450))
    assert api.request_count == 3
    assert len(api.annotations) == 450


def test_unsure_objects_are_left_alone(api: LasairApi, annotator: Annotator) -> None:
    """Below the least probability nothing is sent."""
    annotator.least_probability = 0.8
    annotator.annotate([classification(0), classification(5, "ZTF24bbbbbb")])
    assert [one["objectId"] for one in api.annotations] == ["ZTF24bbbbbb"]


def test_a_busy_server_is_asked_again(api: LasairApi, annotator: Annotator, waits: list[float]) -> None:
    """After 'limit exceeded' and a server error the same batch is sent again, each wait twice the one before."""
    api.answers = [429, 500, 429]
    annotator.annotate([classification(0)])
    assert len(api.annotations) == 1
    assert waits[:3] == [2.0, 4.0, 8.0]
    assert annotator.retry_count == 3


def test_a_server_that_is_away_is_given_up(api: LasairApi, annotator: Annotator) -> None:
    """When every attempt fails the error says how many there were, and nothing counts as sent."""
    api.close()
    annotator.retry_limit = 3
    with pytest.raises(FatalError, match="in 3 attempts"):
        annotator.annotate([classification(0)])
    assert annotator.sent_count == 0


@pytest.mark.parametrize(("token", "topic", "words"), [("wrong", TOPIC, "Unauthorized"), (TOKEN, "other", "is wrong")])
def test_a_lasting_refusal_is_not_repeated(api: LasairApi, token: str, topic: str, words: str) -> None:
    """A wrong token or topic ends at once with Lasair's words."""
    with pytest.raises(FatalError, match=words):
        Annotator(lasair_client(token, endpoint=api.endpoint), topic).annotate([classification(0)])
    assert api.request_count == 1


def test_requests_keep_to_the_rate(api: LasairApi) -> None:
    """Ten requests at 3600 an hour take nine seconds of the annotator's clock."""
    now_s = [0.0]

    def sleep(seconds: float) -> None:
        now_s[0] += seconds

    client = lasair_client(TOKEN, endpoint=api.endpoint)
    limited = Annotator(client, TOPIC, batch_limit=1, requests_per_hour=3600.0, sleep=sleep, clock=lambda: now_s[0])
    limited.annotate(classification(0, f"ZTF24{n:07d}") for n in range(10))
    assert now_s[0] == pytest.approx(9.0)


def test_dry_run_sends_nothing(api: LasairApi) -> None:
    """Without a client the annotations are made and counted."""
    dry = Annotator(None, TOPIC)
    assert len(dry.annotate([classification(0), classification(1, "ZTF24bbbbbb")])) == 2
    assert api.request_count == 0


def test_without_token_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The program names the variable that it needs and ends with status 2."""
    monkeypatch.delenv(adapter.TOKEN_VARIABLE, raising=False)
    assert main(["--topic", "out", "--annotator", TOPIC]) == 2
    assert "LASAIR_TOKEN" in capsys.readouterr().err


@pytest.fixture
def brokers() -> Iterator[str]:
    """The address of a broker."""
    with broker_or_skip() as address:
        yield address


def test_a_topic_is_annotated_to_its_end(
    api: LasairApi, brokers: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program reads our output topic, annotates, skips what is no classification, and goes on where it ended."""
    monkeypatch.setenv(adapter.TOKEN_VARIABLE, TOKEN)
    reader_of = adapter.TopicReader
    monkeypatch.setattr(
        adapter, "TopicReader", lambda brokers, topics, group: reader_of(brokers, topics, group, QUICK_GROUP)
    )
    create(brokers, "out")
    encode = container_encoder()
    words = ["--brokers", brokers, "--topic", "out", "--annotator", TOPIC, "--endpoint", api.endpoint]
    words += ["--wait-s", "1", "--idle-exit-s", "3"]
    publish(brokers, "out", [*(encode(classification(n, f"ZTF24{n % 4:07d}")) for n in range(8)), b"rubbish"])
    assert main(words) == 0
    assert {one["objectId"] for one in api.annotations} == {f"ZTF24{n:07d}" for n in range(4)}
    assert "1 unreadable" in capsys.readouterr().err
    api.annotations.clear()
    publish(brokers, "out", [encode(classification(9))])
    assert main(words) == 0
    assert [one["objectId"] for one in api.annotations] == ["ZTF24aaaaaaa"]
