"""Requests in, pages out: a small router on the standard library's server. Knows nothing of what the pages say.

Only GET and HEAD; a page is a function without arguments.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from broker_filter.errors import ConfigurationError

REQUEST_TIMEOUT_S = 10  # a client that sends nothing does not hold a thread for ever


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

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is not news."""


def _handler_of(routes: Routes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_TIMEOUT_S
        server_version = "ictc"
        sys_version = ""

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def _answer(self, with_body: bool) -> None:
            path = self.path.partition("?")[0]
            make = routes.get(path)
            page = Page(b"not found\n", status=HTTPStatus.NOT_FOUND) if make is None else make()
            self.send_response(page.status)
            self.send_header("Content-Type", page.content_type)
            self.send_header("Content-Length", str(len(page.body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            if with_body:
                self.wfile.write(page.body)

        def log_message(self, format: str, *args: object) -> None:
            """Scrapes every few seconds would drown the log."""

    return Handler
