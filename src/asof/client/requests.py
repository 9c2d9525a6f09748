"""Requests as the bytes that go over the wire, and the reading of what comes back; no I/O."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from asof.client.answers import json_answer, pushed_answer, service_answer
from asof.client.arrow import ArrowFeatures, as_stream
from asof.clock import iso, to_us
from asof.errors import InputError, UnsupportedOperationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from asof.client.settings import Settings
    from asof.clock import Instant

    Columns = Mapping[str, Any] | Sequence[Mapping[str, Any]]

ARROW = "application/vnd.apache.arrow.stream"
_POST = "Content-Type: application/json\r\n"
_INFINITE = (float("inf"), float("-inf"))


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the server.

    Attributes:
        message: What is sent.
        request_id: What logs know it by, on both sides.
        safe: Whether sending it twice does no more than sending it once.
        read: Makes the answer's body into what the call returns.
    """

    message: bytes
    request_id: str
    safe: bool
    read: Callable[[bytes], Any]


def online_call(
    settings: Settings,
    features: str | Sequence[str],
    keys: Columns,
    *,
    at: Instant | None,
    request: Columns | None,
    metadata: bool,
    consistency: str | None,
    partial: bool,
    arrow: bool,
    request_id: str | None,
) -> Call:
    """Return a read of online features.

    Raises:
        InputError: the features are no names, or keys or request inputs cannot be sent.
    """
    body: dict[str, Any] = {"keys": _columns(keys, "Keys"), "metadata": metadata}
    if isinstance(features, str) and ":" not in features:
        body["service"] = features
    else:
        body["features"] = [features] if isinstance(features, str) else list(features)
    if partial:
        body["partial"] = True
    if not arrow:
        body["types"] = True
    if at is not None:
        body["at"] = iso(to_us(at)) if isinstance(at, datetime) else at
    if request is not None:
        body["request"] = {name: _finite(values) for name, values in _columns(request, "The request").items()}
    if consistency is not None:
        body["consistency"] = consistency
    sent = request_id or os.urandom(16).hex()
    head = f"{_POST}Accept: {ARROW}\r\n" if arrow else _POST
    read = (
        functools.partial(ArrowFeatures, request_id=sent, metadata=metadata)
        if arrow
        else functools.partial(json_answer, request_id=sent)
    )
    return Call(_message(settings, "POST", "/v1/online-features", head, _encoded(body), sent), sent, True, read)


def push_call(settings: Settings, source: str, rows: Any, request_id: str | None) -> Call:
    """Return a push of rows: dicts as JSON, whatever Arrow reads as Arrow.

    Raises:
        InputError: the rows cannot be sent.
    """
    sent = request_id or os.urandom(16).hex()
    path, head = "/v1/push", _POST
    if isinstance(rows, list):
        body = _encoded({"source": source, "rows": rows})
    else:
        path, head = f"/v1/push?source={quote(source, safe='')}", f"Content-Type: {ARROW}\r\n"
        body = as_stream(rows)
    return Call(_message(settings, "POST", path, head, body, sent), sent, False, pushed_answer)


def service_call(settings: Settings, name: str, request_id: str | None) -> Call:
    """Return the call that describes a service, as "fraud" or "fraud@2"."""
    base, _, version = name.partition("@")
    query = f"?version={quote(version, safe='')}" if version else ""
    return _get(settings, f"/v1/registry/services/{quote(base, safe='')}{query}", request_id, service_answer)


def services_call(settings: Settings, request_id: str | None) -> Call:
    """Return the call that lists the services."""
    return _get(settings, "/v1/registry/services", request_id, _names)


def ready_call(settings: Settings, request_id: str | None) -> Call:
    """Return the call that says whether the server can answer."""
    return _get(settings, "/ready", request_id, msgspec.json.decode)


def _names(body: bytes) -> dict[str, int]:
    return {one["name"]: one["version"] for one in msgspec.json.decode(body)}


def _get(settings: Settings, path: str, request_id: str | None, read: Callable[[bytes], Any]) -> Call:
    sent = request_id or os.urandom(16).hex()
    return Call(_message(settings, "GET", path, "", b"", sent), sent, True, read)


def _message(settings: Settings, method: str, path: str, head: str, body: bytes, request_id: str) -> bytes:
    if not request_id.isascii() or not request_id.isprintable() or len(request_id) > 128:
        raise InputError("The request id is not usable", fix="Give up to 128 printable ASCII characters.")
    line = f"{method} {settings.prefix}{path} HTTP/1.1\r\n{head}X-Request-Id: {request_id}\r\n"
    return b"%s%sContent-Length: %d\r\n\r\n%s" % (line.encode(), settings.head, len(body), body)


def _columns(given: Columns, what: str) -> dict[str, Any]:
    """Return per name a list of values; rows are turned into columns as the library does."""
    if hasattr(given, "items"):
        return {name: values if type(values) is list else _listed(values) for name, values in given.items()}
    rows = list(given) if hasattr(given, "__iter__") and not isinstance(given, str) else []
    if not rows or not all(hasattr(row, "items") for row in rows):
        raise InputError(
            f"{what} are a {type(given).__name__}",
            fix='Give {"customer_id": [17, 42]}, or a list of rows: [{"customer_id": 17}].',
        )
    return {name: [row.get(name) for row in rows] for name in dict.fromkeys(name for row in rows for name in row)}


def _listed(values: Any) -> Any:
    convert = getattr(values, "to_pylist", None) or getattr(values, "tolist", None)
    if convert is not None:
        return convert()
    return list(values) if hasattr(values, "__iter__") and not isinstance(values, str | bytes) else values


def _finite(values: Any) -> Any:
    """Return a column with the texts that stand for infinities, which JSON does not have."""
    if isinstance(values, list) and any(one in values for one in _INFINITE):
        return [("Infinity" if one > 0 else "-Infinity") if one in _INFINITE else one for one in values]
    return values


def _encoded(body: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(body, enc_hook=_plain)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InputError("The request cannot be sent as JSON", why=str(error), fix="Give plain values.") from error


def _plain(value: Any) -> Any:
    convert = getattr(value, "item", None) or getattr(value, "tolist", None)
    if convert is None:
        raise UnsupportedOperationError(
            f"A {type(value).__name__} cannot be sent", fix="Give numbers, text, bytes, dates or times."
        )
    return convert()
