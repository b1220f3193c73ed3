"""Pages for people: lists of objects with search and filters, and one page for each object."""

from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

import anyio
import anyio.to_thread
import orjson
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from broker_filter.page_templates import static_file, template
from broker_filter.records import PACKET_CLASSES, STRANGE_SCORE
from broker_filter.web.objects import Lobby, NotThereYetError, Objects, ObjectView
from broker_filter.web.query import NEW_DAYS, ObjectQuery
from model.pictures.colours import BAND_COLOURS, UNNAMED_COLOUR, colours_of_classes
from model.printable import printable_json

THREADS = 2  # pages that are made at a time, so that the stream keeps its processor
PAGE_SIZE = 24
TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
HTML, JSON, PNG = "text/html; charset=utf-8", "application/json", "image/png"
STATIC_FILES = ("pages.css", "object.js", "status.js")
ORDER_WORDS = {
    "seen": "seen last",
    "probability": "most probable",
    "unknown": "strangest",
    "magnitude": "brightest",
    "alerts": "most alerts",
}


class Pages:
    """The routes of the pages."""

    def __init__(self, lobby: Lobby) -> None:
        self._lobby = lobby
        self._threads: anyio.CapacityLimiter | None = None  # made within the server's loop

    @property
    def _objects(self) -> Objects:
        return self._lobby.objects

    @property
    def _colours(self) -> dict[str, str]:
        return colours_of_classes([*self._objects.classes, *PACKET_CLASSES])

    def routes(self) -> list[BaseRoute]:
        """For the server."""
        made: Mapping[str, Callable[[Request], Response]] = {
            "/objects": self._list,
            "/object/{object_id}": self._object,
            "/object/{object_id}/data": self._data,
            "/object/{object_id}/stamps/{alert_id:alert}/{kind}.png": self._stamp,
        }
        routes: list[BaseRoute] = [Route(path, partial(self._answer, make)) for path, make in made.items()]
        return [*routes, *(Route(f"/static/{name}", partial(_static, name)) for name in STATIC_FILES)]

    async def _answer(self, make: Callable[[Request], Response], request: Request) -> Response:
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(THREADS)
        try:
            return await anyio.to_thread.run_sync(make, request, limiter=self._threads)
        except NotThereYetError as error:
            return Response(f"{error}\n", HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": "5"})

    def _list(self, request: Request) -> Response:
        parameters = {name: value for name, value in request.query_params.items() if value}
        query, fault = _query_of(parameters)
        where, values = query.condition()
        total = self._objects.index.count(where, values)
        summaries = self._objects.index.select(where, values, query.order_in_sql, query.limit, query.offset)
        if query.id and total == 1 and [one.object_id for one in summaries] == [query.id]:
            return RedirectResponse(f"/object/{quote(query.id, safe='')}", HTTPStatus.SEE_OTHER)
        page = template("objects.html").render(
            query=query,
            parameters=parameters,
            fault=fault,
            total=total,
            objects=summaries,
            colours=self._colours,
            unnamed=UNNAMED_COLOUR,
            group_of=self._objects.taxonomy.group_of,
            orders=ORDER_WORDS,
            strange=STRANGE_SCORE,
            new_days=NEW_DAYS,
            earlier=_address(parameters, max(query.offset - query.limit, 0)) if query.offset else None,
            later=_address(parameters, query.offset + query.limit) if query.offset + query.limit < total else None,
        )
        return Response(page, HTTPStatus.UNPROCESSABLE_ENTITY if fault else HTTPStatus.OK, {"Content-Type": HTML})

    def _object(self, request: Request) -> Response:
        object_id = request.path_params["object_id"]
        view = self._objects.find(object_id)
        if view is None:
            page = template("no_object.html").render(object_id=object_id)
            return Response(page, HTTPStatus.NOT_FOUND, {"Content-Type": HTML})
        content = self._content(view)
        classified = [answer for answer in view.answers if answer.probabilities]
        page = template("object.html").render(
            view=view,
            newest=view.answers[-1],
            last=classified[-1] if classified else None,
            content=content,
            answers=content["classifications"],
            data=printable_json(orjson.dumps(content).decode()).replace("<", "\\u003c"),
            colours=self._colours,
            unnamed=UNNAMED_COLOUR,
            group_of=self._objects.taxonomy.group_of,
            strange=STRANGE_SCORE,
        )
        return Response(page, headers={"Content-Type": HTML})

    def _data(self, request: Request) -> Response:
        view = self._objects.find(request.path_params["object_id"])
        if view is None:
            return Response(b"{}", HTTPStatus.NOT_FOUND, {"Content-Type": JSON})
        return Response(orjson.dumps(self._content(view)), headers={"Content-Type": JSON})

    def _content(self, view: ObjectView) -> dict[str, Any]:
        """What the page's script draws; ids are text, because a browser's numbers have 53 bits."""
        content = self._objects.as_json(view)
        for one in [*content["classifications"], *content["lightCurve"]]:
            one["alertId"] = None if one["alertId"] is None else str(one["alertId"])
        content["stamps"] = [str(alert_id) for alert_id in content["stamps"]]
        return content | {"classColours": self._colours, "bandColours": BAND_COLOURS, "strange": STRANGE_SCORE}

    def _stamp(self, request: Request) -> Response:
        view = self._objects.find(request.path_params["object_id"])
        alert_id, kind = request.path_params["alert_id"], request.path_params["kind"]
        png = None if view is None else self._objects.picture(view, alert_id, kind)
        if png is None:
            return Response(b"no such stamp\n", HTTPStatus.NOT_FOUND, {"Content-Type": "text/plain"})
        return Response(png, headers={"Content-Type": PNG, "Cache-Control": "private, max-age=3600"})


def _query_of(parameters: Mapping[str, str]) -> tuple[ObjectQuery, str]:
    """The query of a form, and what is wrong with it: then all objects are shown."""
    try:
        return ObjectQuery.model_validate({"limit": PAGE_SIZE} | dict(parameters)), ""
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(map(str, fault["loc"])) or "search"
        return ObjectQuery(limit=PAGE_SIZE), f"{name}: {fault['msg'].removeprefix('Value error, ')}"


def _address(parameters: Mapping[str, str], offset: int) -> str:
    return "/objects?" + urlencode(dict(parameters) | {"offset": str(offset)})


async def _static(name: str, _: Request) -> Response:
    kind = TYPES[name[name.rindex(".") :]]
    return Response(static_file(name), headers={"Content-Type": kind, "Cache-Control": "no-cache"})
