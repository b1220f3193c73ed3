"""The server of pages."""

import http.client
import logging
import socket
import threading
import time
from collections.abc import Sequence

import pytest

from broker_filter.errors import ConfigurationError
from broker_filter.monitoring import http as server_of_pages
from broker_filter.monitoring.http import (
    CONNECTION_LIMIT,
    PAGE_THREADS,
    REQUEST_LIMIT_BYTES,
    WAITING_LIMIT,
    HttpServer,
    Page,
    application,
)


@pytest.fixture
def server():
    """Two pages on a free port of loopback, one of them answered at once."""
    quick = {"/broken": lambda: Page(b"no\n", status=503)}
    with HttpServer("127.0.0.1", 0, application({"/hello": lambda: Page(b"hello\n")}, quick, host_names=())) as server:
        yield server


def ask(server: HttpServer, method: str, path: str, **headers: str) -> tuple[int, bytes, dict]:
    connection = http.client.HTTPConnection(server.address.removeprefix("http://"), timeout=5)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body, dict(answer.getheaders())


def test_pages_are_found_with_and_without_query(server):
    """A page answers at its path, whatever stands behind the question mark."""
    assert ask(server, "GET", "/hello")[:2] == (200, b"hello\n")
    assert ask(server, "GET", "/hello?x=1")[:2] == (200, b"hello\n")
    assert ask(server, "GET", "/broken")[:2] == (503, b"no\n")


def test_head_has_the_length_without_the_body(server):
    """HEAD tells what GET would."""
    status, body, headers = ask(server, "HEAD", "/hello")
    assert (status, body, headers["content-length"]) == (200, b"", "6")


@pytest.mark.parametrize("path", ["/", "/../etc/passwd", "/hello/", "/%2e%2e/x"])
def test_other_paths_are_not_found(server, path):
    """Nothing but the routes is served."""
    assert ask(server, "GET", path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "<b>"])
def test_only_reading_is_possible(server, method):
    """The server changes nothing, so it takes nothing."""
    assert ask(server, method, "/hello")[0] in (400, 404, 405)


def test_rubbish_and_hang_ups_do_not_stop_it(server):
    """A client that talks nonsense, or leaves, harms nobody."""
    host, port = server.address.removeprefix("http://").split(":")
    for rubbish in (b"", b"\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"GET /hello HTTP/1.1\r\nX: " + b"a" * 70_000):
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(rubbish)
    assert ask(server, "GET", "/hello")[0] == 200


def raw(server: HttpServer, *pieces: bytes, wait_s: float = 0.0) -> bytes:
    """What comes back when these bytes are sent one after the other."""
    host, port = server.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(wait_s)
        answer = b""
        while some := connection.recv(4096):
            answer += some
    return answer


CHUNKED = b" HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ((b"POST /hello" + CHUNKED + b"5\r\n", b"a" * 8), b"405"),  # it breaks when the answer is given
        ((b"GET /hello" + CHUNKED + b"no size\r\n",), b"400"),  # while the page is made
        ((b"GET /broken" + CHUNKED + b"no size\r\n",), b"400"),
    ],
)
def test_a_body_that_breaks_writes_nothing_into_the_log(server, caplog, monkeypatch, pieces, status):
    """A request whose body is none is answered once, and its connection closed."""
    monkeypatch.setattr(logging.getLogger("ictc"), "propagate", True)
    assert raw(server, *pieces, wait_s=0.2).split()[1] == status
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("start", [b"GET /", b"GET /hello HTTP/1.1\r\nX: "])
def test_a_request_has_a_largest_size(server, start):
    """Neither the address nor the headers may go on and on."""
    assert raw(server, start + b"a" * (REQUEST_LIMIT_BYTES + 1 - len(start))).split()[1] == b"400"


def test_a_request_takes_no_longer_than_its_limit(server, monkeypatch):
    """A client that sends a byte now and then is left, although each byte comes in time."""
    monkeypatch.setattr(server_of_pages, "REQUEST_TIMEOUT_S", 0.5)
    with pytest.raises(OSError):  # while it sends: reset or broken pipe, as the kernel chooses
        raw(server, *[b"x"] * 40, wait_s=0.1)
    assert ask(server, "GET", "/hello")[0] == 200


def connect(server: HttpServer, count: int) -> list[socket.socket]:
    host, port = server.address.removeprefix("http://").split(":")
    return [socket.create_connection((host, int(port)), timeout=5) for _ in range(count)]


def hang_up(connections: Sequence[socket.socket]) -> None:
    for connection in connections:
        connection.close()


def test_slow_clients_close_nothing(server):
    """Forty clients that send a byte now and then keep nobody from health or from a page."""
    slow = connect(server, 40)
    for n in range(20):
        for connection in slow:
            connection.sendall(b"GET /hello HTTP/1.1\r\n"[n : n + 1])
        assert ask(server, "GET", "/broken")[:2] == (503, b"no\n")
        assert ask(server, "GET", "/hello")[0] == 200
    hang_up(slow)


def test_a_new_client_gets_in_when_connections_are_full(server):
    """Beyond the limit the connection that has waited longest is ended, not the new one refused."""
    idle = connect(server, CONNECTION_LIMIT + 5)
    assert ask(server, "GET", "/broken")[0] == 503
    ended = []
    for connection in idle[:10]:
        connection.settimeout(0.2)
        try:
            ended.append(connection.recv(1) == b"")
        except ConnectionResetError:
            ended.append(True)
        except TimeoutError:
            ended.append(False)
    hang_up(idle)
    assert ended[:5] == [True] * 5
    assert not any(ended[6:])


def test_health_answers_while_pages_hang():
    """However many requests wait for a page that hangs, health is answered; the rest are told to come again."""
    go_on = threading.Event()

    def hang() -> Page:
        go_on.wait(30)
        return Page(b"late\n")

    with HttpServer("127.0.0.1", 0, application({"/": hang}, {"/healthz": lambda: Page(b"ok\n")})) as server:
        waiting = connect(server, PAGE_THREADS + WAITING_LIMIT)
        for connection in waiting:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        deadline_s = time.monotonic() + 10
        while (status := ask_quickly(server, "/")) != 503 and time.monotonic() < deadline_s:
            time.sleep(0.05)
        assert status == 503
        assert ask(server, "GET", "/healthz")[:2] == (200, b"ok\n")
        go_on.set()
        assert waiting[0].recv(4096).startswith(b"HTTP/1.1 200")
        hang_up(waiting)


def ask_quickly(server: HttpServer, path: str) -> int | None:
    """The status of an answer that comes at once; None when it does not."""
    connection = http.client.HTTPConnection(server.address.removeprefix("http://"), timeout=0.5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except TimeoutError:
        return None
    finally:
        connection.close()


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "192.0.2.1", "a@b[", "localhost.evil"])
def test_a_server_on_loopback_knows_its_names(server, host):
    """A page in a browser cannot read ours by way of a name that points to loopback."""
    status, body, headers = ask(server, "GET", "/hello", Host=host)
    assert status == 421
    assert b"http.host_names" in body
    assert headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.9.9.9:1", "[::1]:8080", "x.localhost"]
)
def test_names_of_loopback_are_its_own(server, host):
    """Whatever name of loopback is asked for, the page comes."""
    assert ask(server, "GET", "/hello", Host=host)[0] == 200


def test_further_names_can_be_given():
    """Names of a proxy are accepted when they are configured; elsewhere than on loopback every name is."""
    pages = {"/hello": lambda: Page(b"hello\n")}
    with HttpServer("127.0.0.1", 0, application(pages, host_names=("Proxy.example",))) as server:
        assert ask(server, "GET", "/hello", Host="proxy.example")[0] == 200
        assert ask(server, "GET", "/hello", Host="evil.example")[0] == 421
    with HttpServer("127.0.0.1", 0, application(pages, host_names=None)) as server:
        assert ask(server, "GET", "/hello", Host="any.example")[0] == 200


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_it_serves_on_the_sixth_version_too(host):
    """An address of IPv6 is an address, with brackets or without."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"no IPv6 on this machine: {error}")
    with HttpServer(host, 0, application({"/hello": lambda: Page(b"hello\n")}, host_names=())) as server:
        assert server.address.startswith("http://[::1]:")
        connection = http.client.HTTPConnection("::1", int(server.address.rpartition(":")[2]), timeout=5)
        connection.request("GET", "/hello")
        assert connection.getresponse().read() == b"hello\n"
        connection.close()


def test_it_listens_where_it_is_told(server):
    """On one address of loopback it does not answer on another."""
    port = int(server.address.rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=5)


def test_a_page_that_fails_is_logged(caplog, monkeypatch):
    """A mistake of ours in a page stands in the log, and the server goes on."""

    def broken() -> Page:
        raise LookupError("no such number")

    monkeypatch.setattr(logging.getLogger("ictc"), "propagate", True)
    pages = {"/broken": broken, "/hello": lambda: Page(b"hello\n")}
    with HttpServer("127.0.0.1", 0, application(pages)) as server:
        status, body, headers = ask(server, "GET", "/broken")
        assert status == 500
        assert b"no such number" not in body
        assert headers["x-content-type-options"] == "nosniff"
        assert ask(server, "GET", "/hello")[0] == 200
    assert "a page failed" in caplog.text
    assert "no such number" in caplog.text


def test_a_page_may_do_nothing_in_a_browser(server):
    """Only the service's own scripts run, none inline; no frame, no request elsewhere."""
    headers = ask(server, "GET", "/hello")[2]
    policy = dict(rule.strip().split(" ", 1) for rule in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'" and policy["script-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'" and "unsafe-eval" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_a_taken_port_is_said_so(server):
    """The message names the address and the remedy."""
    port = int(server.address.rpartition(":")[2])
    with pytest.raises(ConfigurationError, match=rf"127\.0\.0\.1:{port}.*http\.port"):
        HttpServer("127.0.0.1", port, application({}))
