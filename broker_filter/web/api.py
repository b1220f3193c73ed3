"""The query interface under ``/api``: JSON, read-only, paged, at a limited rate, described by OpenAPI."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from broker_filter.output.formats import as_json
from broker_filter.records import Accounts
from broker_filter.web.objects import Lobby, NotThereYetError, Objects, ObjectView, summary_json
from broker_filter.web.openapi import description, page_of
from broker_filter.web.query import AlertQuery, ObjectQuery
from broker_filter.web.rate_limit import RateLimit

REQUESTS_PER_SECOND, BURST = 10.0, 40  # of one client
THREADS = 2  # that search at a time, so that the stream keeps its processor
JSON, HTML = "application/json", "text/html; charset=utf-8"
Query = TypeVar("Query", bound=BaseModel)


class _RequestError(Exception):
    """A request that cannot be answered, with the status and what to say."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


class Api:
    """The routes of the query interface.

    Parameters
    ----------
    accounts
        What became of all alerts so far.
    """

    def __init__(self, lobby: Lobby, accounts: Callable[[], Accounts], limit: RateLimit | None = None) -> None:
        self._lobby, self._accounts = lobby, accounts
        self._limit = limit or RateLimit(REQUESTS_PER_SECOND, BURST)
        self._threads: anyio.CapacityLimiter | None = None  # made within the server's loop

    @property
    def _objects(self) -> Objects:
        return self._lobby.objects

    def routes(self) -> list[BaseRoute]:
        """For the server."""
        answers: Mapping[str, Callable[[Request], Any]] = {
            "/api/objects": self._list,
            "/api/objects/{object_id}": self._object,
            "/api/objects/{object_id}/stamps/{alert_id:alert}": self._stamps,
            "/api/alerts": self._alerts,
            "/api/accounts": self._account,
            "/api/openapi.json": lambda _: description(),
        }
        made: list[BaseRoute] = [Route(path, partial(self._answer, make)) for path, make in answers.items()]
        return [*made, Route("/api", _page)]

    async def _answer(self, make: Callable[[Request], Any], request: Request) -> Response:
        wait_s = self._limit.wait_s("" if request.client is None else request.client.host)
        if wait_s > 0:
            detail = f"more than {REQUESTS_PER_SECOND:g} requests a second: wait {wait_s:.1f} s"
            after = {"Retry-After": str(math.ceil(wait_s))}
            return _json(HTTPStatus.TOO_MANY_REQUESTS, {"error": detail}, after)
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(THREADS)
        try:
            content = await anyio.to_thread.run_sync(make, request, limiter=self._threads)
        except _RequestError as error:
            return _json(error.status, {"error": error.detail})
        except NotThereYetError as error:
            return _json(HTTPStatus.SERVICE_UNAVAILABLE, {"error": str(error)}, {"Retry-After": "5"})
        return _json(HTTPStatus.OK, content)

    def _list(self, request: Request) -> dict[str, Any]:
        query = _query_of(ObjectQuery, request)
        where, values = query.condition()
        summaries = self._objects.index.select(where, values, query.order_in_sql, query.limit, query.offset)
        total = self._objects.index.count(where, values)
        following = query.offset + len(summaries)
        return {
            "total": total,
            "offset": query.offset,
            "next": str(request.url.include_query_params(offset=following)) if following < total else None,
            "objects": [summary_json(one) for one in summaries],
        }

    def _alerts(self, request: Request) -> dict[str, Any]:
        classifications = self._objects.index.answers_to(_query_of(AlertQuery, request).alert_ids)
        return {"classifications": [as_json(one) for one in classifications]}

    def _object(self, request: Request) -> dict[str, Any]:
        return self._objects.as_json(self._found(request))

    def _stamps(self, request: Request) -> dict[str, Any]:
        view, alert_id = self._found(request), request.path_params["alert_id"]
        stamps = self._objects.stamps(view, alert_id)
        if stamps is None:
            detail = f"the store holds no stamps of alert {alert_id} of {view.summary.object_id}"
            raise _RequestError(HTTPStatus.NOT_FOUND, detail)
        return stamps

    def _found(self, request: Request) -> ObjectView:
        view = self._objects.find(request.path_params["object_id"])
        if view is None:
            raise _RequestError(HTTPStatus.NOT_FOUND, "this service has not seen that object, or has forgotten it")
        return view

    def _account(self, _: Request) -> dict[str, Any]:
        accounts = self._accounts()
        return {
            "read": accounts.read,
            "classified": accounts.classified,
            "notClassified": accounts.not_classified,
            "rejected": accounts.rejected,
            "revisions": accounts.revisions,
            "objectsInIndex": self._objects.index.count(),
        }


def _query_of(form: type[Query], request: Request) -> Query:
    try:
        return form.model_validate(dict(request.query_params))
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(map(str, fault["loc"])) or "the request"
        detail = f"{name}: {fault['msg'].removeprefix('Value error, ')}; see /api"
        raise _RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, detail) from error


async def _page(_: Request) -> Response:
    return Response(page_of(description()), headers={"Content-Type": HTML})


def _json(status: int, content: Any, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers={"Content-Type": JSON, **(headers or {})})
