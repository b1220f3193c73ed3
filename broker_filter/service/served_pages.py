"""What the service answers by HTTP: its state for people, Prometheus and probes, and the pages of objects."""

from http import HTTPStatus

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.routing import BaseRoute

from broker_filter.config import HttpSettings
from broker_filter.monitoring.health import Health, HealthState
from broker_filter.monitoring.http import HttpServer, Page, Routes, application, is_loopback
from broker_filter.monitoring.ledger import Ledger
from broker_filter.monitoring.metrics import Metrics
from broker_filter.monitoring.status import StatusPage
from broker_filter.secret import conceal
from broker_filter.web.api import Api
from broker_filter.web.objects import Lobby
from broker_filter.web.pages import Pages


def page_server(
    http: HttpSettings, port: int, routes: tuple[Routes, Routes], lobby: Lobby, ledger: Ledger
) -> HttpServer:
    """The server of all pages at this port; not yet listening."""
    names = http.host_names if is_loopback(http.host) else None
    return HttpServer(http.host, port, application(*routes, object_routes(http, lobby, ledger), host_names=names))


def routes_of(metrics: Metrics, health: Health, status: StatusPage, ledger: Ledger) -> tuple[Routes, Routes]:
    """The pages that take time to make, for people and for Prometheus, and those that must always answer."""
    pages: Routes = {
        "/": lambda: Page(status.page(), "text/html; charset=utf-8"),
        "/accounts.json": lambda: Page(orjson.dumps(ledger.as_json()), "application/json"),
        "/metrics": lambda: Page(generate_latest(metrics.registry), CONTENT_TYPE_LATEST),
    }
    return pages, {"/healthz": lambda: _page_of(health.alive()), "/readyz": lambda: _page_of(health.able())}


def object_routes(settings: HttpSettings, lobby: Lobby, ledger: Ledger) -> list[BaseRoute]:
    """The pages of objects and, where it is wanted, the query interface."""
    if not settings.objects:
        return []
    return [*Pages(lobby).routes(), *(Api(lobby, ledger.total).routes() if settings.api else ())]


def _page_of(verdict: HealthState) -> Page:
    status = HTTPStatus.OK if verdict.good else HTTPStatus.SERVICE_UNAVAILABLE
    return Page(f"{conceal(verdict.text)}\n".encode(), status=status)
