"""The routes that people and machinery look at: the registry, the project's state, health, metrics and docs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from asof.errors import AsofError, InputError, NotFoundError, did_you_mean
from asof.server.access import challenge, names_hidden, require_seen, sees
from asof.server.answers import error_body
from asof.server.docs import PAGE
from asof.server.limits import MethodNotAllowedError
from asof.server.metrics import CONTENT_TYPE
from asof.server.openapi import document
from asof.services.overview import describe_object, list_objects
from asof.services.resources import listed_resource, object_resource

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from asof.plan.registered import Kind
    from asof.server.metrics import Metrics
    from asof.server.serving import Serving

KINDS: dict[str, Kind] = {
    "entities": "entity",
    "sources": "source",
    "views": "view",
    "on-demand-views": "on_demand",
    "services": "service",
}
_MOST_REVISIONS = 1000


def make_routes(serving: Serving, metrics: Metrics) -> Starlette:
    """Return the application of every route but the online one."""
    page = msgspec.json.encode(document())

    def health(_: Request) -> Response:
        return _json({"status": "ok"})

    def ready(request: Request) -> Response:
        if serving.catalog is not None and serving.problem is not None:
            raise serving.problem
        status = serving.status()
        if names_hidden(request.scope):
            return _json({"status": "ready", "revision": status.revision})
        missing = [f"{view.view}@{view.version}" for view in status.views if view.generation is None]
        return _json({"status": "ready", "revision": status.revision, "not_materialized": missing})

    def status(_: Request) -> Response:
        return _json(serving.status())

    def listing(request: Request) -> Response:
        catalog = serving.current_catalog()
        found = list_objects(catalog, _kind(request))
        return _json([one for one in found if sees(request.scope, listed_resource(catalog, one))])

    def describing(request: Request) -> Response:
        kind, name = _kind(request), request.path_params["name"]
        version = _integer(request, "version", None)
        catalog = serving.current_catalog()
        require_seen(request.scope, object_resource(catalog, kind, name))
        if not any(entry.name == name for entry in catalog.entries(kind)):
            known = {entry.name for entry in catalog.entries(kind) if not entry.hidden}
            raise NotFoundError(
                f"There is no {kind} {name!r} in the registry",
                why=did_you_mean(name, known),
                fix=f"GET /v1/registry/{request.path_params['kind']} lists what there is.",
            )
        project = serving.project
        reference = name if version is None else f"{name}@{version}"
        found = describe_object(catalog, project.online, reference, project=project.name)
        return _json(next(one for one in found if one.kind == kind))

    def revisions(request: Request) -> Response:
        limit = _integer(request, "limit", 20)
        return _json(serving.project.registry.revisions(min(limit or 0, _MOST_REVISIONS)))

    def metrics_text(_: Request) -> Response:
        return Response(metrics.text(serving.collector()), media_type=CONTENT_TYPE)

    def openapi(_: Request) -> Response:
        return Response(page, media_type="application/json")

    def docs(_: Request) -> Response:
        return HTMLResponse(PAGE)

    found: dict[str, Callable[[Request], Response]] = {
        "/health": health,
        "/ready": ready,
        "/v1/status": status,
        "/v1/registry/revisions": revisions,
        "/v1/registry/{kind}": listing,
        "/v1/registry/{kind}/{name}": describing,
        "/metrics": metrics_text,
        "/openapi.json": openapi,
        "/docs": docs,
    }
    return Starlette(
        routes=[Route(path, answer, methods=["GET"]) for path, answer in found.items()],
        exception_handlers={AsofError: _failed(metrics), HTTPException: _refused(metrics)},
    )


def _failed(metrics: Metrics) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(_: Request, error: Exception) -> Response:
        status, code, body = error_body(error)
        metrics.refused(code)
        headers = {name.decode(): value.decode() for name, value in challenge(error)}
        return Response(body, status, headers, media_type="application/json")

    return answer


def _refused(metrics: Metrics) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, error: Exception) -> Response:
        found: AsofError
        if isinstance(error, HTTPException) and error.status_code == 405:
            found = MethodNotAllowedError(f"{request.url.path} does not take {request.method}", fix="Use GET.")
        else:
            found = NotFoundError(f"There is nothing at {request.url.path}", fix="/docs lists what there is.")
        response = await _failed(metrics)(request, found)
        if isinstance(error, HTTPException) and error.headers:
            response.headers.update(error.headers)
        return response

    return answer


def _kind(request: Request) -> Kind:
    name = request.path_params["kind"]
    if name not in KINDS:
        raise NotFoundError(
            f"The registry has no {name!r}", why=did_you_mean(name, KINDS), fix=f"It has {', '.join(KINDS)}, revisions."
        )
    return KINDS[name]


def _integer(request: Request, name: str, default: int | None) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise InputError(f"{name} is {text!r}", fix="Write a whole number.")
    return int(text)


def _json(data: Any) -> Response:
    return Response(msgspec.json.encode(data), media_type="application/json")
