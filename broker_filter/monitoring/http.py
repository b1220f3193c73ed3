"""Requests in, pages out: a small router on the standard library's server. Knows nothing of what the pages say.

Only GET and HEAD; a page is a function without arguments.
"""

import io
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from broker_filter.errors import ConfigurationError
from broker_filter.logs import logger

REQUEST_TIMEOUT_S = 10.0  # for all of a request: a client that sends a byte now and then holds no thread for ever
REQUEST_LIMIT_BYTES = 16 * 1024  # request line and headers together
CONNECTION_LIMIT = 32  # at a time; one more is closed, and comes again
# What a page may do in a browser: nothing but look as it looks.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
log = logger("http")


@dataclass(frozen=True, slots=True)
class Page:
    """What one request is answered with."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: int = HTTPStatus.OK


Routes = Mapping[str, Callable[[], Page]]


class HttpServer:
    """Serves pages from threads of its own while it is open."""

    def __init__(self, host: str, port: int, routes: Routes) -> None:
        """``port`` 0 takes a free one.

        Raises
        ------
        ConfigurationError
            When the address cannot be had.
        """
        try:
            self._server = _Server((host, port), _handler_of(dict(routes)))
        except (OSError, OverflowError) as error:
            raise ConfigurationError(
                f"cannot serve metrics on {host}:{port}: {error}; choose another http.port, or null for none"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), name="http", daemon=True)

    @property
    def address(self) -> str:
        """Where to look, e.g. ``http://127.0.0.1:8080``."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = CONNECTION_LIMIT

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._free = threading.BoundedSemaphore(CONNECTION_LIMIT)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own, while there are not too many."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """What that thread does."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is not news; a page that cannot be made is."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            log.error("a page failed", exc_info=error)


class _TooLargeError(OSError):
    """A request that does not end."""


class _BoundedReader(io.RawIOBase):
    """The bytes of one request: at most so many, in at most so many seconds."""

    def __init__(self, connection: socket.socket, limit_bytes: int, limit_s: float) -> None:
        self._connection, self._left_bytes = connection, limit_bytes
        self._deadline_s = time.monotonic() + limit_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        if self._left_bytes == 0:
            raise _TooLargeError
        self._connection.settimeout(left_s)
        count = self._connection.recv_into(buffer, min(len(buffer), self._left_bytes))
        self._left_bytes -= count
        return count


def _handler_of(routes: Routes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        requestline, request_version, command = "", "HTTP/1.0", ""  # of a request that broke off before its first line
        server_version = "ictc"
        sys_version = ""

        def setup(self) -> None:
            super().setup()
            reader = _BoundedReader(self.connection, REQUEST_LIMIT_BYTES, REQUEST_TIMEOUT_S)
            self.rfile.close()
            self.rfile = io.BufferedReader(reader)

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except _TooLargeError:
                self.close_connection = True
                self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def _answer(self, with_body: bool) -> None:
            path = self.path.partition("?")[0]
            make = routes.get(path)
            page = Page(b"not found\n", status=HTTPStatus.NOT_FOUND) if make is None else make()
            self.connection.settimeout(REQUEST_TIMEOUT_S)
            self.send_response(page.status)
            self.send_header("Content-Type", page.content_type)
            self.send_header("Content-Length", str(len(page.body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Content-Security-Policy", POLICY)
            self.send_header("Referrer-Policy", "no-referrer")
            self.end_headers()
            if with_body:
                self.wfile.write(page.body)

        def log_message(self, format: str, *args: object) -> None:
            """Scrapes every few seconds would drown the log."""

    return Handler
