"""A schema registry that refuses, fails, redirects, asks for a login or goes away."""

import contextlib
import itertools
import json
import socket
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from packets import ztf_schema
from pydantic import SecretStr

from broker_filter.config import RegistrySettings
from broker_filter.errors import ConfigurationError, RejectedAlertError, Rejection, RetryableError
from broker_filter.kafka.schema_registry import GIVE_UP_AFTER_S, REFERENCES_LIMIT, Registry

Answer = tuple[int, object, dict[str, str]]  # status, JSON or text, headers


class Server:
    """A registry of our own: answers by path, and remembers what it was asked."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.paths: dict[str, Answer] = {"/subjects": (200, ["alerts-value"], {})}
        self.otherwise: Answer = (404, {"error_code": 40403, "message": "Schema not found"}, {})
        self.requests: list[tuple[str, str | None]] = []
        self.posted: list[object] = []
        self.encodings: set[str | None] = set()  # that were asked for

    def has(self, schema_id: int, **more: object) -> None:
        self.paths[f"/schemas/ids/{schema_id}"] = (200, {"schema": json.dumps(ztf_schema()), **more}, {})

    def answers(self, schema_id: int, status: int, body: object = None, **headers: str) -> None:
        answer = {"error_code": status, "message": "as the test wants it"} if body is None else body
        self.paths[f"/schemas/ids/{schema_id}"] = (status, answer, headers)


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            registry.requests.append((self.path, self.headers["Authorization"]))
            registry.encodings.add(self.headers["Accept-Encoding"])
            status, body, headers = registry.paths.get(self.path.partition("?")[0], registry.otherwise)
            content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            kind = "text/html" if isinstance(body, str) and body.startswith("<") else "application/json"
            for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            registry.posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    registry = Server(served.server_port)
    thread = Thread(target=served.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield registry
    served.shutdown()
    served.server_close()
    thread.join()


class Seconds:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def connect() -> Iterator[Callable[..., Registry]]:
    """Clients, closed afterwards."""
    opened: list[Registry] = []

    def connect(server: Server, path: str = "", **more: Any) -> Registry:
        clock = more.pop("clock", Seconds())
        failures = more.pop("failures", [])
        opened.append(Registry(RegistrySettings(url=server.url + path, timeout_s=5, **more), failures.append, clock))
        return opened[-1]

    yield connect
    for one in opened:
        one.close()


@pytest.mark.parametrize("status", [400, 403, 404, 405, 410, 422])
@pytest.mark.parametrize("first", [True, False])
def test_a_refusal_of_one_id_concerns_one_id(server, connect, status, first):
    """Whatever the registry says of one id, others are read, also when that one is the first that is asked for."""
    failures: list[str] = []
    registry = connect(server, failures=failures)
    server.has(1)
    server.answers(2, status)
    if not first:
        registry.schema(1)
    with pytest.raises(RejectedAlertError, match="schema id 2") as caught:
        registry.schema(2)
    assert caught.value.reason == Rejection.UNKNOWN_SCHEMA_ID
    assert json.loads(registry.schema(1).text) == ztf_schema()
    assert failures == ["unknown" if status == 404 else "refused"]


@pytest.mark.parametrize("status", [401, 407])
def test_wrong_credentials_are_the_operators(server, connect, status):
    """Wrong credentials stop the service and name the settings, without showing them."""
    server.answers(1, status)
    with pytest.raises(ConfigurationError, match=r"refuses us .*registry\.username") as caught:
        connect(server, username="me", password=SecretStr("hunter22")).schema(1)
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize(
    "otherwise", [(404, "<html>no such page</html>", {}), (404, {"error_code": 404}, {}), (403, {}, {})]
)
def test_a_wrong_address_is_the_operators(server, connect, otherwise):
    """A server that is no registry, or lets us see nothing at all, stops the service with the setting's name."""
    server.paths.clear()
    server.otherwise = otherwise
    with pytest.raises(ConfigurationError, match=r"registry\.url"):
        connect(server, "/wrong/path").schema(1)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_failures_that_pass_are_retried(server, connect, status):
    """A registry that is overloaded or broken is asked again, and counted."""
    failures: list[str] = []
    registry = connect(server, failures=failures)
    server.answers(1, status)
    server.has(2)
    with pytest.raises(RetryableError, match=str(status)):
        registry.schema(1)
    registry.schema(2)
    server.has(1)
    assert registry.schema(1)
    assert failures == ["retry"]


def test_a_registry_that_asks_to_wait_is_not_asked_before(server, connect):
    """What Retry-After says is kept to, up to a minute."""
    clock = Seconds()
    registry = connect(server, clock=clock)
    server.answers(1, 429, Retry_After="30")
    for _ in range(3):
        with pytest.raises(RetryableError):
            registry.schema(1)
    assert len(server.requests) == 1
    server.has(1)
    clock.now += 31
    assert registry.schema(1)


def test_an_id_that_fails_for_ever_is_given_up(server, connect):
    """An id for which the registry fails for long is refused when it answers for others, not in an outage."""
    clock = Seconds()
    registry = connect(server, clock=clock)
    server.answers(1, 500)
    subjects = server.paths.pop("/subjects")
    server.otherwise = (503, {}, {})
    for _ in range(2):
        with pytest.raises(RetryableError):
            registry.schema(1)
        clock.now += GIVE_UP_AFTER_S + 1
    server.paths["/subjects"] = subjects
    with pytest.raises(RejectedAlertError, match=r"fails for it for 300 s, and answers others"):
        registry.schema(1)


def test_a_registry_that_is_gone_is_retried(server, connect):
    """No answer at all is worth another try."""
    registry = Registry(RegistrySettings(url="http://127.0.0.1:9", timeout_s=1))
    with pytest.raises(RetryableError, match="does not answer"):
        registry.schema(1)
    registry.close()


def test_references_are_fetched(server, connect):
    """Schemas that a schema names are fetched, the innermost first, each once."""
    inner = {"type": "record", "name": "a.Inner", "fields": []}
    middle = {"type": "record", "name": "a.Middle", "fields": [{"name": "i", "type": "a.Inner"}]}
    to_inner = {"name": "a.Inner", "subject": "in/ner", "version": 3}
    server.paths["/subjects/in%2Fner/versions/3"] = (200, {"schema": json.dumps(inner)}, {})
    server.paths["/subjects/middle/versions/1"] = (200, {"schema": json.dumps(middle), "references": [to_inner]}, {})
    server.has(1, references=[{"name": "a.Middle", "subject": "middle", "version": 1}, to_inner])
    registered = connect(server).schema(1)
    assert [json.loads(text) for text in registered.named] == [inner, middle]
    assert len(server.requests) == 3


def test_references_are_bounded(server, connect):
    """A schema that names itself, or ever more, is refused."""
    for n in range(REFERENCES_LIMIT + 2):
        more = [{"name": "x", "subject": f"s{n + 1}", "version": 1}]
        server.paths[f"/subjects/s{n}/versions/1"] = (200, {"schema": "{}", "references": more}, {})
    server.has(1, references=[{"name": "x", "subject": "s0", "version": 1}])
    server.has(2, references=["nonsense"])
    server.paths["/subjects/self/versions/1"] = (
        200,
        {"schema": "{}", "references": [{"name": "x", "subject": "self", "version": 1}]},
        {},
    )
    server.has(3, references=[{"name": "x", "subject": "self", "version": 1}])
    for schema_id, reason in ((1, Rejection.TOO_LARGE), (2, Rejection.BAD_SCHEMA), (3, Rejection.TOO_LARGE)):
        with pytest.raises(RejectedAlertError) as caught:
            connect(server).schema(schema_id)
        assert caught.value.reason == reason


def test_redirects_on_the_same_host_are_followed(server, connect):
    """A registry that moved on its own host is followed, credentials go along."""
    server.paths["/old/schemas/ids/1"] = (301, {}, {"Location": "/schemas/ids/1"})
    server.has(1)
    assert connect(server, "/old", username="me", password=SecretStr("hunter22")).schema(1)
    assert server.requests[-1][1] is not None


def test_redirects_without_end_or_elsewhere_are_refused(server, connect):
    """Who is sent in circles, or to another host, is told so, and credentials go nowhere else."""
    server.answers(1, 302, {}, Location=f"{server.url}/schemas/ids/1")
    with pytest.raises(ConfigurationError, match="redirects more than"):
        connect(server).schema(1)
    server.answers(1, 302, {}, Location="http://login.example/?next=1")
    with pytest.raises(ConfigurationError, match=r"sends us to http://login\.example: a login page"):
        connect(server).schema(1)


def test_a_login_page_is_named(server, connect):
    """A web page in place of an answer is called one."""
    server.answers(1, 200, "<html>Please log in</html>")
    with pytest.raises(ConfigurationError, match="a web page, perhaps a login"):
        connect(server).schema(1)


@pytest.mark.parametrize("body", ["nonsense", "[" * 50_000, {}, {"schema": 5}, ["schema"]])
def test_answers_that_are_no_schema_concern_one_id(server, connect, body):
    """An answer without a schema rejects the messages of its id."""
    server.answers(1, 200, body)
    with pytest.raises(RejectedAlertError):
        connect(server).schema(1)


def test_other_kinds_of_schemas_are_refused(server, connect):
    """Only Avro is read."""
    server.has(1, schemaType="PROTOBUF")
    with pytest.raises(RejectedAlertError, match="PROTOBUF"):
        connect(server).schema(1)


def test_an_answer_without_end_is_cut_off(server, connect):
    """An answer beyond any schema's size is not read to its end."""
    server.answers(1, 200, "x" * 5_000_000)
    with pytest.raises(RejectedAlertError, match="over 2097152 bytes"):
        connect(server).schema(1)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "br", "gzip, gzip", "nonsense"])
def test_encoded_answers_are_not_inflated(server, connect, encoding):
    """Answers are asked for as they are; one that is encoded nevertheless is refused unread, for its id alone."""
    server.has(1)
    server.answers(2, 200, {"schema": "{}"}, Content_Encoding=encoding)
    registry = connect(server)
    with pytest.raises(RejectedAlertError, match=f"encoded as '{encoding}', unasked"):
        registry.schema(2)
    assert registry.schema(1)
    assert server.encodings == {"identity"}


@pytest.mark.parametrize("encoding", ["identity", "Identity", "", "identity, IDENTITY"])
def test_an_answer_may_say_that_it_is_not_encoded(server, connect, encoding):
    """Names of codings have letters of any case, and none at all is none."""
    server.answers(1, 200, {"schema": json.dumps(ztf_schema())}, Content_Encoding=encoding)
    assert connect(server).schema(1)


@pytest.mark.parametrize("wait", ["²", "٣", "①", "-5", "1e999", "", "Fri, 31 Dec 1999 23:59:59 GMT", "5, 6"])
def test_a_wait_of_no_number_is_passed_over(server, connect, wait):
    """What Retry-After says is believed where it is a number of seconds."""
    server.answers(1, 429, Retry_After=wait.encode().decode("latin-1"))
    registry = connect(server)
    for _ in range(2):
        with pytest.raises(RetryableError, match="429"):
            registry.schema(1)
    assert len(server.requests) == 2


@pytest.mark.parametrize("target", ["http://[::1", "ftp://127.0.0.1/x", "file:///etc/passwd", "http://127.0.0.1:abc/"])
def test_redirects_to_no_address_are_the_operators(server, connect, target):
    """A redirect to what is no address of a registry stops the service in words."""
    server.answers(1, 302, {}, Location=target)
    with pytest.raises(ConfigurationError, match=r"registry\.url"):
        connect(server).schema(1)


@pytest.mark.parametrize("subject", ["\ud800", "a" * 500_000])
def test_a_reference_to_no_subject(server, connect, subject):
    """A subject that no address can hold is that id's matter, and is told in few words."""
    server.has(1, references=[{"name": "x", "subject": subject, "version": 1}])
    with pytest.raises(RejectedAlertError, match="without subject or version") as caught:
        connect(server).schema(1)
    assert caught.value.reason == Rejection.BAD_SCHEMA
    assert len(caught.value.detail) < 300


def test_query_values_are_sent_and_not_shown(server, connect):
    """A key in the address's query goes along with each question, and into no message."""
    server.has(1)
    registry = connect(server, "/?apikey=hunter22")
    assert registry.schema(1)
    assert server.requests[0][0] == "/schemas/ids/1?apikey=hunter22"
    server.answers(2, 503)
    with pytest.raises(RetryableError) as caught:
        registry.schema(2)
    assert "hunter22" not in str(caught.value)


def test_schemas_are_registered(server, connect):
    """Registering gives the id; a refusal names the remedy."""
    server.paths["/subjects/out-value/versions"] = (200, {"id": 7}, {})
    assert connect(server).register("out-value", "{}") == 7
    assert server.posted == [{"schema": "{}"}]
    server.paths["/subjects/out-value/versions"] = (409, {"error_code": 409, "message": "incompatible"}, {})
    with pytest.raises(ConfigurationError, match=r"incompatible.*output\.schema_id"):
        connect(server).register("out-value", "{}")


@pytest.mark.slow
@pytest.mark.parametrize("slow_part", ["head", "body"])
def test_an_answer_in_drops_is_given_up(slow_part):
    """A byte now and then, each within the time that the next byte has, does not hold the service for ever."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=_drip, args=(listener, slow_part), daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        registry = Registry(RegistrySettings(url=url, timeout_s=0.5), clock=itertools.count(0.0, 10.0).__next__)
        begun_s = time.monotonic()
        for _ in range(2):
            with pytest.raises(RetryableError, match="as a whole"):
                registry.schema(5)
        registry.close()
        assert time.monotonic() - begun_s < 30


def test_many_ids_wait_for_one_timeout():
    """A registry that is silent is not asked for each id in turn, and asked again after a timeout's time."""
    clock = Seconds()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        registry = Registry(RegistrySettings(url=url, timeout_s=0.3), clock=clock)
        begun_s = time.monotonic()
        for schema_id in range(1_000, 1_200):
            with pytest.raises(RetryableError, match="not answer"):
                registry.schema(schema_id)
        assert time.monotonic() - begun_s < 20
        clock.now += 0.4
        with pytest.raises(RetryableError, match="does not answer: ReadTimeout"):
            registry.schema(1_000)
        registry.close()


def test_one_id_without_an_answer_leaves_the_others(server, connect):
    """Where the registry answers to anything else, the ids that it is silent on do not keep the rest waiting."""
    server.has(5)
    server.paths["/schemas/ids/6"] = (200, "", {"Content_Length": "100"})  # breaks off
    registry = connect(server)
    with pytest.raises(RetryableError, match="does not answer"):
        registry.schema(6)
    assert registry.schema(5)


def test_an_id_without_an_answer_is_given_up(server, connect):
    """An id on which the registry is silent for long is refused; each time it is asked for something else once."""
    clock = Seconds()
    registry = connect(server, clock=clock)
    server.paths["/schemas/ids/6"] = (200, "", {"Content_Length": "100"})  # breaks off
    with pytest.raises(RetryableError, match="does not answer"):
        registry.schema(6)
    clock.now += GIVE_UP_AFTER_S + 1
    with pytest.raises(RejectedAlertError, match=r"fails for it for 300 s, and answers others"):
        registry.schema(6)
    assert [path for path, _ in server.requests] == 2 * ["/schemas/ids/6", "/subjects"]


def _drip(listener: socket.socket, slow_part: str) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n"
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(head + (b"\r\n" if slow_part == "body" else b"X: "))
                while True:
                    connection.sendall(b"x")
                    time.sleep(0.1)


def test_a_reference_of_no_version(server, connect):
    """A version that no integer can be is that id's matter."""
    server.answers(5, 200, '{"schema": "{}", "references": [{"subject": "a", "version": 1e999}]}')
    with pytest.raises(RejectedAlertError, match="without subject or version"):
        connect(server).schema(5)
