"""The pages of the service over HTTP: starlette routes them, uvicorn serves them in a thread of its own.

Only GET and HEAD. Health is answered in the server's own loop, whatever else happens: slow connections hold no thread
and are cut off, a new one always gets in, and pages that take time are made elsewhere, a few at a time.
"""

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import h11
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from broker_filter.errors import ConfigurationError
from broker_filter.logs import logger

REQUEST_TIMEOUT_S = 10.0  # for all of a request: a client that sends a byte now and then is cut off
ANSWER_TIMEOUT_S = 60.0  # for a request and its answer: so is one that does not read
KEEP_ALIVE_S = 30  # without a request; Prometheus comes each 15 s
REQUEST_LIMIT_BYTES = 16 * 1024  # request line and headers together
CONNECTION_LIMIT = 256  # at a time; one more ends the one that has waited longest
PAGE_THREADS = 4  # pages that are made at a time
WAITING_LIMIT = 64  # requests for such pages; one more is told to come again
START_LIMIT_S = 20.0
BACKLOG = 512
# What a page may do in a browser, unless it says otherwise: run the service's own scripts, which ask the service alone.
# Nothing inline runs, and nothing is loaded from elsewhere.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
}
log = logger("http")


@dataclass(frozen=True, slots=True)
class Page:
    """What one request is answered with."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: int = HTTPStatus.OK


Routes = Mapping[str, Callable[[], Page]]


def application(
    pages: Routes, quick: Routes | None = None, more: Sequence[BaseRoute] = (), host_names: Sequence[str] | None = None
) -> Starlette:
    """The routes of a server.

    Parameters
    ----------
    pages
        By path: functions that make a page, in one of a few threads.
    quick
        By path: functions that never wait, answered in the server's loop; health.
    more
        Routes and mounted applications of other rooms.
    host_names
        Names under which the server may be asked besides those of loopback; None: any name. A page on loopback that
        answers to every name can be read by any page in the same browser, by way of a name that points here.
    """
    threads = _Threads()
    routes: list[BaseRoute] = [Route(path, partial(_answer_at_once, make)) for path, make in (quick or {}).items()]
    routes += [Route(path, partial(threads.answer, make)) for path, make in pages.items()]
    middleware = [Middleware(_OurHeaders)]
    if host_names is not None:
        middleware.append(Middleware(_OurNames, names=host_names))
    app = Starlette(routes=[*routes, *more], middleware=middleware, exception_handlers={Exception: _failed})
    app.router.redirect_slashes = False
    return app


async def _answer_at_once(make: Callable[[], Page], _: Request) -> Response:
    return _response(make())


class _Threads:
    """A few threads for pages that take time; made within the server's loop."""

    def __init__(self) -> None:
        self._limiter: anyio.CapacityLimiter | None = None

    async def answer(self, make: Callable[[], Page], _: Request) -> Response:
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(PAGE_THREADS)
        if self._limiter.statistics().tasks_waiting >= WAITING_LIMIT:
            return PlainTextResponse(
                "too many requests at a time\n", HTTPStatus.SERVICE_UNAVAILABLE, headers={"Retry-After": "5"}
            )
        return _response(await anyio.to_thread.run_sync(make, limiter=self._limiter))


def _response(page: Page) -> Response:
    return Response(page.body, page.status, headers={"Content-Type": page.content_type})


async def _failed(_: Request, error: Exception) -> Response:
    log.error("a page failed", exc_info=error)
    return PlainTextResponse("this page failed: see the log\n", HTTPStatus.INTERNAL_SERVER_ERROR, headers=dict(HEADERS))


class _OurHeaders:
    """What every answer tells a browser, unless the page itself has said so."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class _OurNames:
    """Refuses requests under a name that is not ours."""

    def __init__(self, app: ASGIApp, names: Sequence[str]) -> None:
        self._app, self._names = app, frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = Headers(scope=scope).get("host") if scope["type"] == "http" else None
        if host is None or self._is_ours(host):  # before HTTP/1.1 no browser is behind it
            await self._app(scope, receive, send)
            return
        text = "this address serves loopback only: ask for localhost, or add the name to http.host_names\n"
        await PlainTextResponse(text, HTTPStatus.MISDIRECTED_REQUEST)(scope, receive, send)

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._names or is_loopback(name)


def is_loopback(host: str) -> bool:
    """True for a name or an address that never leaves the machine."""
    name = host.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class _Connections:
    """Those that are open, the one that has waited longest first."""

    def __init__(self) -> None:
        self._open: dict[_Connection, None] = {}

    def opened(self, connection: "_Connection") -> None:
        self._open[connection] = None
        if len(self._open) > CONNECTION_LIMIT:
            idle = (one for one in self._open if not one.is_answering)
            waited_longest = next(idle, next(iter(self._open)))
            del self._open[waited_longest]  # now: others may come before the loop gets to closing it
            waited_longest.abort()

    def closed(self, connection: "_Connection") -> None:
        self._open.pop(connection, None)

    def abort_idle(self) -> None:
        for connection in [one for one in self._open if not one.is_answering]:
            connection.abort()


class _Connection(H11Protocol):
    """A connection that is given so much time for a request, and no more."""

    everyone: _Connections
    _watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait(REQUEST_TIMEOUT_S)
        self.everyone.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self.everyone.closed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._watch is None:  # the first byte of another request on this connection
            self._wait(REQUEST_TIMEOUT_S)
        super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        if self.is_answering:
            self.cycle.disconnected = True  # the page that is being made has nowhere to go
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:  # the request whose end is broken has its answer, or a part of it, already
            self.abort()

    def on_response_complete(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None  # uvicorn's own watch over idle connections goes on from here
        super().on_response_complete()

    @property
    def is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def abort(self) -> None:
        self.transport.abort()

    def _wait(self, seconds: float) -> None:
        self._watch = self.loop.call_later(seconds, self._expire, seconds)

    def _expire(self, waited_s: float) -> None:
        if self.is_answering and waited_s < ANSWER_TIMEOUT_S - REQUEST_TIMEOUT_S:
            self._wait(ANSWER_TIMEOUT_S - REQUEST_TIMEOUT_S)
        else:
            self.abort()


class HttpServer:
    """Serves an application from a thread of its own while it is open."""

    def __init__(self, host: str, port: int, app: ASGIApp) -> None:
        """``host`` is a name or an address, ``::1`` too; ``port`` 0 takes a free one.

        Raises
        ------
        ConfigurationError
            When the address cannot be had.
        """
        try:
            self._socket = _listen(host.strip("[]"), port)
        except (OSError, OverflowError, UnicodeError) as error:
            raise ConfigurationError(
                f"cannot serve metrics on {host}:{port}: {error}; choose another http.port, or null for none"
            ) from error
        self._connections = _Connections()
        settings = uvicorn.Config(
            app,
            http=type("_OurConnection", (_Connection,), {"everyone": self._connections}),
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            log_level="critical",  # of uvicorn's own words about clients
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=REQUEST_LIMIT_BYTES,
        )
        self._server = uvicorn.Server(settings)
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)

    def _serve(self) -> None:
        asyncio.run(self._serve_until_closed())

    async def _serve_until_closed(self) -> None:
        self._loop = asyncio.get_running_loop()
        serving = asyncio.ensure_future(self._server.serve(sockets=[self._socket]))
        while not self._server.started and not serving.done():
            await asyncio.sleep(0.005)
        self._started.set()
        await serving

    @property
    def address(self) -> str:
        """Where to look, e.g. ``http://127.0.0.1:8080``."""
        host, port = self._socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._started.wait(START_LIMIT_S):
            raise ConfigurationError(f"the server of pages does not start in {START_LIMIT_S:.0f} s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._connections.abort_idle)
        self._thread.join()
        self._socket.close()


def _listen(host: str, port: int) -> socket.socket:
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    both = family == socket.AF_INET6 and host == "::" and socket.has_dualstack_ipv6()
    return socket.create_server(address[:2], family=family, backlog=BACKLOG, dualstack_ipv6=both)
