"""The small server of pages."""

import http.client
import logging
import socket
import time

import pytest

from broker_filter.errors import ConfigurationError
from broker_filter.monitoring import http as small_server
from broker_filter.monitoring.http import CONNECTION_LIMIT, REQUEST_LIMIT_BYTES, HttpServer, Page


@pytest.fixture
def server():
    """Two pages on a free port of loopback."""
    routes = {"/hello": lambda: Page(b"hello\n"), "/broken": lambda: Page(b"no\n", status=503)}
    with HttpServer("127.0.0.1", 0, routes) as server:
        yield server


def ask(server: HttpServer, method: str, path: str) -> tuple[int, bytes, dict]:
    connection = http.client.HTTPConnection(server.address.removeprefix("http://"), timeout=5)
    connection.request(method, path)
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
    assert (status, body, headers["Content-Length"]) == (200, b"", "6")


@pytest.mark.parametrize("path", ["/", "/../etc/passwd", "/hello/", "/%2e%2e/x"])
def test_other_paths_are_not_found(server, path):
    """Nothing but the routes is served."""
    assert ask(server, "GET", path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "<b>"])
def test_only_reading_is_possible(server, method):
    """The server changes nothing, so it takes nothing."""
    assert ask(server, method, "/hello")[0] == 501


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


@pytest.mark.parametrize("start", [b"GET /", b"GET /hello HTTP/1.1\r\nX: "])
def test_a_request_has_a_largest_size(server, start):
    """Neither the address nor the headers may go on and on."""
    assert raw(server, start + b"a" * (REQUEST_LIMIT_BYTES - len(start))).split()[1] in (b"414", b"431")


def test_a_request_takes_no_longer_than_its_limit(server, monkeypatch):
    """A client that sends a byte now and then is left, although each byte comes in time."""
    monkeypatch.setattr(small_server, "REQUEST_TIMEOUT_S", 0.5)
    begun_s = time.monotonic()
    with pytest.raises(OSError):  # reset or broken pipe, as the kernel chooses
        raw(server, *[b"x"] * 40, wait_s=0.1)
    assert time.monotonic() - begun_s < 3.5
    assert ask(server, "GET", "/hello")[0] == 200


def test_connections_are_bounded(server):
    """More clients than may come at a time are sent away, and the first ones are served nevertheless."""
    host, port = server.address.removeprefix("http://").split(":")
    idle = [socket.create_connection((host, int(port)), timeout=5) for _ in range(CONNECTION_LIMIT)]
    deadline_s = time.monotonic() + 10
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        while time.monotonic() < deadline_s:  # until all of them were accepted
            ask(server, "GET", "/hello")
    idle[0].sendall(b"GET /hello HTTP/1.0\r\n\r\n")
    assert idle[0].recv(4096).startswith(b"HTTP/1.0 200")
    for connection in idle:
        connection.close()
    deadline_s = time.monotonic() + 5
    while time.monotonic() < deadline_s:
        try:
            assert ask(server, "GET", "/hello")[0] == 200
            break
        except (http.client.RemoteDisconnected, ConnectionResetError):
            time.sleep(0.05)
    else:
        pytest.fail("the server does not recover")


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
    with HttpServer("127.0.0.1", 0, {"/broken": broken, "/hello": lambda: Page(b"hello\n")}) as server:
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            ask(server, "GET", "/broken")
        assert ask(server, "GET", "/hello")[0] == 200
    assert "a page failed" in caplog.text
    assert "no such number" in caplog.text


def test_a_page_may_do_nothing_in_a_browser(server):
    """No script, no frame, no request elsewhere, whatever a page were made to say."""
    headers = ask(server, "GET", "/hello")[2]
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "script" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_taken_port_is_said_so(server):
    """The message names the address and the remedy."""
    port = int(server.address.rpartition(":")[2])
    with pytest.raises(ConfigurationError, match=rf"127\.0\.0\.1:{port}.*http\.port"):
        HttpServer("127.0.0.1", port, {})
