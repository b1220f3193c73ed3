"""The small server of pages."""

import http.client
import socket

import pytest

from broker_filter.errors import ConfigurationError
from broker_filter.http import HttpServer, Page


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


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
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


def test_a_taken_port_is_said_so(server):
    """The message names the address and the remedy."""
    port = int(server.address.rpartition(":")[2])
    with pytest.raises(ConfigurationError, match=rf"127\.0\.0\.1:{port}.*http\.port"):
        HttpServer("127.0.0.1", port, {})
