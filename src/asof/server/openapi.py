"""The OpenAPI 3.1 description of every route."""

from __future__ import annotations

from typing import Any

from asof import __version__

_ERRORS = {
    "400": "The request cannot be used as it is.",
    "403": "The server was started without --push.",
    "404": "No such service, view or feature.",
    "409": "A view is not materialized, or not for that instant.",
    "408": "The request was not here whole in time.",
    "413": "The body is too long.",
    "429": "The client asks for more than its share; Retry-After says when to try again.",
    "500": "An unexpected error, logged under the id in the body.",
    "503": "The registry or the online store does not answer, no snapshot could be read, or the server has more "
    "requests than it can answer; try again.",
    "504": "The answer was not there in time.",
}
_ARROW = "application/vnd.apache.arrow.stream"


def document() -> dict[str, Any]:
    """Return the document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Asof",
            "version": __version__,
            "description": "Online features of entities, and the registry that defines them.",
        },
        "tags": [{"name": "features"}, {"name": "streams"}, {"name": "registry"}, {"name": "operations"}],
        "paths": {
            "/v1/online-features": {"post": _online()},
            "/v1/push": {"post": _push()},
            "/v1/registry/{kind}": {
                "get": _get("registry", "List the newest version of every object of a kind", "404", _kind())
            },
            "/v1/registry/{kind}/{name}": {
                "get": _get(
                    "registry",
                    "Describe one object, with what uses it",
                    "404",
                    _kind(),
                    _parameter("name", "path", {"type": "string"}, "Its name."),
                    _parameter("version", "query", {"type": "integer"}, "A version. Default: the newest."),
                )
            },
            "/v1/registry/revisions": {
                "get": _get(
                    "registry",
                    "List the newest revisions, newest first",
                    "400",
                    _parameter("limit", "query", {"type": "integer", "default": 20}, "How many."),
                )
            },
            "/v1/status": {"get": _get("operations", "How fresh every view is online", "503")},
            "/health": {"get": _get("operations", "Whether the process answers", None)},
            "/ready": {
                "get": _get(
                    "operations", "Whether registry and online store answer; lists views not materialized", "503"
                )
            },
            "/metrics": {"get": _get("operations", "Metrics in Prometheus's text format", None, media="text/plain")},
            "/openapi.json": {"get": _get("operations", "This document", None)},
            "/docs": {"get": _get("operations", "This document, for people", None, media="text/html")},
        },
        "components": {"schemas": _schemas()},
    }


def _online() -> dict[str, Any]:
    example = {"service": "fraud", "keys": {"customer_id": [17, 42]}, "metadata": False}
    return {
        "tags": ["features"],
        "summary": "Read the features of some entities as they are known now",
        "description": "One result per key, in the keys' order. An entity that was never seen is no error. With an "
        "Arrow body, its columns are the keys and request inputs, and the query string says what to read; ask for an "
        "Arrow answer with the Accept header.",
        "parameters": [
            _parameter("service", "query", {"type": "string"}, "With an Arrow body: the service."),
            _parameter(
                "feature", "query", {"type": "array", "items": {"type": "string"}}, "With an Arrow body: references."
            ),
            _parameter("at", "query", {"type": "string", "format": "date-time"}, "With an Arrow body: the instant."),
            _parameter("metadata", "query", {"type": "boolean"}, "With an Arrow body: add statuses."),
            _parameter("consistency", "query", {"enum": ["latest", "snapshot"]}, "With an Arrow body: as in JSON."),
            _parameter("timeout_ms", "query", {"type": "integer"}, "With an Arrow body: as in JSON."),
            _parameter("partial", "query", {"type": "boolean"}, "With an Arrow body: as in JSON."),
            _parameter("model", "query", {"type": "string"}, "With an Arrow body: which model asks, for logs."),
            _parameter("X-Asof-Model", "header", {"type": "string"}, "Which model asks, for logs."),
            _parameter("X-Request-ID", "header", {"type": "string"}, "Names the request in answers, errors and logs."),
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _reference("OnlineRequest"), "example": example},
                _ARROW: {"schema": {"type": "string", "format": "binary"}},
            },
        },
        "responses": {
            "200": {
                "description": "Values in the order of the features, one result per key.",
                "content": {
                    "application/json": {"schema": _reference("OnlineAnswer")},
                    _ARROW: {"schema": {"type": "string", "format": "binary"}},
                },
            },
            **{status: _error(text) for status, text in _ERRORS.items() if status != "403"},
        },
    }


def _push() -> dict[str, Any]:
    row = {"customer_id": 17, "amount": 9.5, "ts": "2026-01-31T12:00:00Z"}
    return {
        "tags": ["streams"],
        "summary": "Take rows of a stream source in",
        "description": "When it is answered the rows are durable, and reads show them. A row that cannot be taken in "
        "is kept as a dead letter and does not hold up the others. With an Arrow body, the query string names the "
        "source.",
        "parameters": [_parameter("source", "query", {"type": "string"}, "With an Arrow body: the source.")],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _reference("PushRequest"),
                    "example": {"source": "transactions", "rows": [row]},
                },
                _ARROW: {"schema": {"type": "string", "format": "binary"}},
            },
        },
        "responses": {
            "200": {
                "description": "What became of the rows.",
                "content": {"application/json": {"schema": _reference("PushAnswer")}},
            },
            "400": _error("The body is no push, or the source takes none; nothing was taken."),
            "403": _error(_ERRORS["403"]),
            "404": _error("No such source."),
            "413": _error(_ERRORS["413"]),
            "429": _error(_ERRORS["429"]),
            "500": _error(_ERRORS["500"]),
            "503": _error("A store does not answer, or too many pushes wait; nothing was taken, or all of it."),
            "504": _error("It was not the push's turn in time; nothing was taken."),
            "507": _error("A disk or store is full; nothing was taken, or all of it."),
        },
    }


def _get(
    tag: str, summary: str, error: str | None, *parameters: dict[str, Any], media: str = "application/json"
) -> dict[str, Any]:
    responses: dict[str, Any] = {"200": {"description": "OK", "content": {media: {}}}}
    if error is not None:
        responses[error] = _error(_ERRORS[error])
    return {"tags": [tag], "summary": summary, "parameters": list(parameters), "responses": responses}


def _kind() -> dict[str, Any]:
    kinds = {"type": "string", "enum": ["entities", "sources", "views", "on-demand-views", "services"]}
    return _parameter("kind", "path", kinds, "What to look at.")


def _parameter(name: str, place: str, schema: dict[str, Any], text: str) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": schema, "description": text}


def _error(text: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": _reference("Error")}}}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _schemas() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "OnlineRequest": {
            "type": "object",
            "required": ["keys"],
            "additionalProperties": False,
            "properties": {
                "service": {**text, "description": 'A service, as "fraud" or "fraud@2".'},
                "features": {
                    "type": "array",
                    "items": text,
                    "description": 'Instead of a service: references, as "spend:count_1h".',
                },
                "keys": {
                    "type": "object",
                    "additionalProperties": {"type": "array"},
                    "description": "Per join key one value per entity. Dates and timestamps are ISO 8601 text.",
                },
                "request": {
                    "type": "object",
                    "additionalProperties": {"type": "array"},
                    "description": "Per request input of on-demand views one value per entity.",
                },
                "at": {**text, "format": "date-time", "description": "The instant of the read. Default: now."},
                "metadata": {
                    "type": "boolean",
                    "default": False,
                    "description": "Add statuses, event times and the versions read.",
                },
                "model": {"type": "string", "description": "Which model asks, for logs."},
                "types": {
                    "type": "boolean",
                    "default": False,
                    "description": 'Add the features\' types, as "float64" or "list<string>".',
                },
                "consistency": {
                    "enum": ["latest", "snapshot"],
                    "description": "snapshot: all views as of one instant at which each is exact, or a 503 that is "
                    "worth another try. Default: the service's.",
                },
                "timeout_ms": {
                    "type": "integer",
                    "minimum": 1,
                    "description": "In how many milliseconds the answer is wanted; then it is a 504. Default, and the "
                    "most: the server's limit.",
                },
                "partial": {
                    "type": "boolean",
                    "default": False,
                    "description": "Answer although views cannot be read: what depends on them is null, with status "
                    "error.",
                },
            },
        },
        "OnlineAnswer": {
            "type": "object",
            "properties": {
                "service": {**text, "description": "With its version."},
                "at": {**text, "format": "date-time"},
                "features": {"type": "array", "items": text},
                "types": {"type": "array", "items": text, "description": "If asked for: of the features, in order."},
                "results": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "values": {"type": "array"},
                            "statuses": {
                                "type": "array",
                                "items": {"enum": ["present", "null", "missing", "expired", "stale", "error"]},
                            },
                            "event_times": {"type": "object"},
                        },
                    },
                },
                "views": {"type": "object", "description": "With metadata: version, generation and instant per view."},
                "cached": {
                    "type": "boolean",
                    "description": "With metadata, and only where it is true: the values are remembered, and right "
                    "as of the instant of the answer.",
                },
                "age_ms": {"type": "integer", "description": "How long ago the remembered values were read."},
                "errors": {"type": "object", "description": "Of a partial answer: per view why it could not be read."},
            },
        },
        "PushRequest": {
            "type": "object",
            "required": ["source", "rows"],
            "additionalProperties": False,
            "properties": {
                "source": {**text, "description": "A stream source."},
                "rows": {
                    "type": "array",
                    "items": {"type": "object"},
                    "description": "Fields by name. Dates and times are ISO 8601 text, bytes base64.",
                },
            },
        },
        "PushAnswer": {
            "type": "object",
            "properties": {
                "source": text,
                "taken": {"type": "integer", "description": "Rows that are in the log now."},
                "repeated": {"type": "integer", "description": "Rows that were in it already, by their position."},
                "refused": {"type": "integer", "description": "Rows that are dead letters now."},
                "reasons": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"row": {"type": "integer"}, "reason": text}},
                    "description": "Why rows were refused: the first 100.",
                },
                "entry": {"type": "integer", "description": "The newest entry of the source's log."},
                "at": {**text, "format": "date-time", "description": "When the rows arrived."},
                "behind": {"type": "object", "description": "Views that could not take the rows in yet, and why."},
            },
        },
        "Error": {
            "type": "object",
            "properties": {
                "error": {
                    "type": "object",
                    "properties": {"code": text, "what": text, "why": text, "fix": text, "request_id": text},
                }
            },
        },
    }
