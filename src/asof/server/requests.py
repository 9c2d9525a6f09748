"""Reads the body of an online request, JSON or Arrow, into features, key columns, request inputs and an instant."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec

from asof.clock import parse_instant
from asof.definitions.services import check_consistency
from asof.dtypes import FLOATS
from asof.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asof.definitions.services import Consistency
    from asof.services.online import ReadPlan

ARROW = b"application/vnd.apache.arrow.stream"
_INFINITIES = {"Infinity": float("inf"), "-Infinity": float("-inf")}
_QUERY = ("service", "feature", "at", "metadata", "consistency", "timeout_ms", "partial", "model")


class OnlineRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request for online features, as the body of `POST /v1/online-features`.

    Attributes:
        keys: Per join key one value per entity; None is an entity without a key.
        service: A feature service, as "fraud" or "fraud@2".
        features: Instead of a service: references, as "spend:count_1h".
        at: The instant of the read, ISO 8601; None is now.
        metadata: Whether to answer statuses, event times and versions as well.
        request: Per request input of on-demand views one value per entity.
        consistency: "latest" or "snapshot"; None is the service's.
        types: Whether to answer the features' dtypes as well.
        timeout_ms: In how many milliseconds the answer is wanted; None is the server's limit.
        partial: Whether to answer although views cannot be read.
        model: Which model asks, for logs.
    """

    keys: dict[str, list[Any]]
    service: str | None = None
    features: list[str] | None = None
    at: str | None = None
    metadata: bool = False
    request: dict[str, list[Any]] | None = None
    consistency: str | None = None
    types: bool = False
    timeout_ms: int | None = None
    partial: bool = False
    model: str | None = None


_decode = msgspec.json.Decoder(OnlineRequest).decode


def from_json(body: bytes) -> OnlineRequest:
    """Read a JSON body.

    Raises:
        InputError: it is not JSON, or not such an object.
    """
    try:
        return _decode(body)
    except msgspec.ValidationError as error:
        raise InputError(
            "The body is not a request for online features",
            why=str(error),
            fix='Send {"service": "fraud", "keys": {"customer_id": [17, 42]}}; /docs shows the rest.',
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError("The body is not JSON", why=str(error), fix="Send a JSON object.") from error


def from_arrow(body: bytes, query: bytes) -> OnlineRequest:
    """Read an Arrow IPC stream of key and request columns; what to read is in the query string.

    Raises:
        InputError: the body is no stream of supported columns, or the query has unknown or unusable parameters.
    """
    parameters = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    for name in parameters:
        if name not in _QUERY:
            raise InputError(
                f"There is no parameter {name!r}", why=did_you_mean(name, _QUERY), fix=f"Use {', '.join(_QUERY)}."
            )
    return OnlineRequest(
        keys=_arrow_columns(body),
        service=parameters.get("service", [None])[-1],
        features=parameters.get("feature"),
        at=parameters.get("at", [None])[-1],
        metadata=_flag(parameters, "metadata"),
        consistency=parameters.get("consistency", [None])[-1],
        timeout_ms=_milliseconds(parameters.get("timeout_ms", [None])[-1]),
        partial=_flag(parameters, "partial"),
        model=parameters.get("model", [None])[-1],
    )


def _milliseconds(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise InputError(f"timeout_ms is {text!r}", fix="Write a whole number of milliseconds.")
    return int(text)


def _flag(parameters: Mapping[str, Sequence[str]], name: str) -> bool:
    text = parameters.get(name, ["false"])[-1]
    if text not in ("true", "false"):
        raise InputError(f"{name} is {text!r}", fix="Write true or false.")
    return text == "true"


def _arrow_columns(body: bytes) -> dict[str, list[Any]]:
    import pyarrow as pa
    import pyarrow.types as pt

    try:
        with pa.ipc.open_stream(body) as stream:
            table = stream.read_all()
        columns: dict[str, list[Any]] = {}
        for name, column in zip(table.column_names, table.columns, strict=True):
            if pt.is_timestamp(column.type):
                column = column.cast(pa.timestamp("us", "UTC"))
            columns[name] = column.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            "The body is not an Arrow IPC stream of key columns", why=str(error), fix="Send one column per join key."
        ) from error
    return columns


def wanted(request: OnlineRequest) -> str | list[str]:
    """Return the service or the references that a request names.

    Raises:
        InputError: it names both, or neither.
    """
    if (request.service is None) == (request.features is None):
        raise InputError(
            "A request names either a service or features",
            why="It names both" if request.service is not None else "It names neither",
            fix='Give "service": "fraud", or "features": ["spend:count_1h"].',
        )
    if request.service is not None:
        if ":" in request.service:
            raise InputError(
                f"{request.service!r} is not a service", fix=f'Give "features": ["{request.service}"] instead.'
            )
        return request.service
    return request.features or []


def consistency(request: OnlineRequest) -> Consistency | None:
    """Return the consistency asked for, or None.

    Raises:
        InputError: there is no such consistency.
    """
    return None if request.consistency is None else check_consistency(request.consistency)


def instant(request: OnlineRequest) -> int | None:
    """Return the instant asked for, in microseconds, or None.

    Raises:
        InputError: it is not ISO 8601.
    """
    if request.at is None:
        return None
    try:
        return parse_instant(request.at)
    except ValueError as error:
        raise InputError(
            f"at is {request.at!r}", why="That is not ISO 8601", fix='Write "2026-01-31T12:00:00Z".'
        ) from error


def arrow_columns(
    plan: ReadPlan, columns: Mapping[str, Sequence[Any]]
) -> tuple[Mapping[str, Sequence[Any]], Mapping[str, Sequence[Any]] | None]:
    """Return the columns of an Arrow body parted into keys and request inputs; a name may be both."""
    if not plan.request:
        return columns, None
    keys = {name: column for name, column in columns.items() if name in plan.key_names or name not in plan.request}
    return keys, {name: column for name, column in columns.items() if name in plan.request}


def decoded_inputs(plan: ReadPlan, given: Mapping[str, Sequence[Any]] | None) -> Mapping[str, Sequence[Any]] | None:
    """Return JSON request inputs with the infinities that stand as text where an input is a float."""
    if not given or not plan.request:
        return given
    return {
        name: [_INFINITIES.get(value, value) if type(value) is str else value for value in column]
        if name in plan.request and plan.request[name].dtype in FLOATS
        else column
        for name, column in given.items()
    }


def decoded_keys(plan: ReadPlan, keys: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
    """Return JSON key columns with base64 text decoded where a key is binary.

    Raises:
        InputError: a value is not base64.
    """
    binary = plan.binary_keys
    if not binary:
        return keys
    return {
        name: [_from_base64(name, value) for value in column] if name in binary else column
        for name, column in keys.items()
    }


def _from_base64(name: str, value: Any) -> bytes | None:
    if value is None:
        return None
    try:
        return base64.b64decode(value, validate=True)
    except (ValueError, TypeError) as error:
        raise InputError(f"{value!r} is not base64", why=f"{name} is a binary key", fix="Encode it.") from error
