"""The description of the query interface, as OpenAPI 3.1 and as a page."""

from functools import cache
from importlib import metadata
from typing import Any

from pydantic import BaseModel

from broker_filter.output.formats import LEAN_SCHEMA, parsed_schema
from broker_filter.page_templates import template
from broker_filter.web.query import AlertQuery, ObjectQuery

_ID = {"name": "object_id", "in": "path", "required": True, "schema": {"type": "string"}}
_ALERT = {"name": "alert_id", "in": "path", "required": True, "schema": {"type": "integer", "format": "int64"}}


@cache
def description() -> dict[str, Any]:
    """The interface in OpenAPI 3.1."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ICT-ConvEntion",
            "version": metadata.version("ictc"),
            "description": "Objects that this service classified. Read-only; 10 requests a second and client.",
        },
        "paths": {
            "/api/objects": _path(
                "Objects by class, score, age, brightness or position; pages follow next",
                "ObjectList",
                _parameters(ObjectQuery),
            ),
            "/api/objects/{object_id}": _path(
                "One object: answers to its alerts, light curve, links", "Object", [_ID], missing=True
            ),
            "/api/objects/{object_id}/stamps/{alert_id}": _path(
                "Pixels of the stamps of one alert as the network reads them",
                "Stamps",
                [_ID, _ALERT],
                missing=True,
            ),
            "/api/alerts": _path("Answers to alerts by their ids", "AlertList", _parameters(AlertQuery)),
            "/api/accounts": _path("What became of all alerts", "Accounts", []),
        },
        "components": {"schemas": _schemas()},
    }


def _path(summary: str, answer: str, parameters: list[dict[str, Any]], missing: bool = False) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{answer}"}}}
    failed = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    responses: dict[str, Any] = {"200": {"description": "found", "content": content}}
    if missing:
        responses["404"] = {"description": "not seen, or forgotten", "content": failed}
    if parameters and not missing:
        responses["422"] = {"description": "a parameter is wrong", "content": failed}
    responses["429"] = {"description": "too many requests: wait Retry-After seconds", "content": failed}
    return {"get": {"summary": summary, "parameters": parameters, "responses": responses}}


def _parameters(query: type[BaseModel]) -> list[dict[str, Any]]:
    """The fields of a query, each a parameter."""
    whole = query.model_json_schema()
    made = []
    for name, schema in whole["properties"].items():
        plain = {key: value for key, value in schema.items() if key not in ("title", "description")}
        parameter = {"name": name, "in": "query", "description": schema.get("description", ""), "schema": plain}
        made.append(parameter | ({"required": True} if name in whole.get("required", ()) else {}))
    return made


def _schemas() -> dict[str, Any]:
    number, text, integer = {"type": ["number", "null"]}, {"type": "string"}, {"type": "integer"}
    summary = {
        "objectId": text,
        "survey": text,
        "ra": number,
        "dec": number,
        "firstMjd": number,
        "lastMjd": number,
        "nAlerts": integer,
        "class": {"type": ["string", "null"]},
        "probability": number,
        "unknownScore": number,
        "changes": integer,
        "ageDays": number,
        "band": text,
        "magnitude": number,
        "seenTimestamp": integer,
    }
    fields = {one["name"]: {"description": one.get("doc", "")} for one in parsed_schema(LEAN_SCHEMA)["fields"]}
    point = {"mjd": number, "band": text, "flux": number, "fluxError": number, "kind": text, "alertId": integer}
    objects = {"type": "array", "items": _record(summary)}
    answers = {"type": "array", "items": {"$ref": "#/components/schemas/Classification"}}
    following = {"type": ["string", "null"], "description": "address of the next page"}
    return {
        "Error": _record({"error": text}),
        "Classification": _record(fields),
        "ObjectList": _record({"total": integer, "offset": integer, "next": following, "objects": objects}),
        "Object": _record(
            summary
            | {
                "classifications": answers,
                "lightCurve": {"type": "array", "items": _record(point)},
                "stamps": {"type": "array", "items": integer},
                "stampKinds": {"type": "array", "items": text},
                "links": {"type": "array", "items": _record({"name": text, "address": text})},
            }
        ),
        "AlertList": _record({"classifications": answers}),
        "Stamps": _record({"objectId": text, "alertId": integer, "unit": text, "stamps": {"type": "object"}}),
        "Accounts": _record({"read": integer, "classified": integer, "revisions": integer, "objectsInIndex": integer}),
    }


def _record(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def page_of(document: dict[str, Any]) -> bytes:
    """The description as a page."""
    return template("api.html").render(document=document).encode()
