"""Feast's HTTP API over this project: its requests mapped onto reads and pushes, its answers from ours."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from asof.deadline import waiting_until
from asof.errors import InputError, UnsupportedOperationError
from asof.server.access import note_read, reading
from asof.server.answers import JSON
from asof.server.budgets import client_of
from asof.server.deadlines import Deadline
from asof.server.limits import Limits, MethodNotAllowedError, read_body, too_many_keys
from asof.server.observe import KEY
from asof.server.push import PushRequest
from asof.server.requests import decoded_inputs, decoded_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from starlette.types import Receive, Scope

    from asof.server.budgets import Budgets
    from asof.server.gate import Gate
    from asof.server.observe import RequestWatch
    from asof.server.push import PushRoute
    from asof.server.serving import Serving
    from asof.services.online import OnlineFeatures

READ = "/get-online-features"
PUSH = "/push"
REFUSED = {
    "/write-to-online-store": "Asof computes what it serves; push the rows to a stream source, at /push",
    "/materialize": "Run `asof materialize` beside the server",
    "/materialize-incremental": "Run `asof materialize` beside the server",
    "/retrieve-online-documents": "Asof has no search by vectors",
    "/search": "Asof has no search by vectors",
}
PATHS = frozenset({READ, PUSH, *REFUSED})
_FEWER = "Send less per request, or raise --max-body."
_STATUSES = {
    "present": "PRESENT",
    "stale": "PRESENT",
    "null": "NULL_VALUE",
    "missing": "NOT_FOUND",
    "expired": "OUTSIDE_MAX_AGE",
    "masked": "NULL_VALUE",
}
_EPOCH = "1970-01-01T00:00:00Z"


class _Read(msgspec.Struct):
    entities: dict[str, list[Any]]
    feature_service: str | None = None
    features: list[str] = []
    full_feature_names: bool = False


class _Push(msgspec.Struct):
    push_source_name: str
    df: dict[str, list[Any]]
    to: str = "online"


class _Row(msgspec.Struct):
    values: list[Any]
    statuses: list[str]
    event_times: dict[str, str | None]


class _Answer(msgspec.Struct):
    features: list[str]
    types: list[str]
    results: list[_Row]


class FeastRoute:
    """Answers what a Feast feature server answers, as far as it means the same here."""

    def __init__(self, serving: Serving, push: PushRoute, limits: Limits, budgets: Budgets, gate: Gate) -> None:
        """Read from `serving` and push through `push`, within limits and budgets, and when the gate lets a read in."""
        self._serving = serving
        self._budgets = budgets
        self._gate = gate
        self._push = push
        self._limits = limits

    async def answer(self, scope: Scope, receive: Receive) -> tuple[bytes, bytes]:
        """Return the body and its media type.

        Raises:
            UnsupportedOperationError: it is a part of Feast's API that has no meaning here.
            AsofError: the request cannot be answered.
        """
        path = scope["path"]
        if scope["method"] != "POST":
            raise MethodNotAllowedError(f"{path} does not take {scope['method']}", fix="Use POST.")
        if path in REFUSED:
            raise UnsupportedOperationError(f"{path} of Feast's API has no counterpart here", fix=REFUSED[path] + ".")
        body = await read_body(scope, receive, self._limits.body_bytes, _FEWER)
        if path == PUSH:
            return await self._push.take(_pushed(_decoded(body, _Push)), scope)
        deadline = Deadline(self._limits.timeout_s)
        if (turn := self._gate.enter(scope)) is not None:
            await self._gate.wait(turn, deadline)
        try:
            answer = asyncio.to_thread(self._read, _decoded(body, _Read), scope, deadline)
            return await deadline.wait(asyncio.ensure_future(answer)), JSON
        finally:
            self._gate.leave()

    def _read(self, request: _Read, scope: Scope, deadline: Deadline) -> bytes:
        watch: RequestWatch = scope[KEY]
        features = _wanted(request)
        reader = self._serving.current_reader()
        allowed = reading(scope, features, reader.catalog)
        plan = reader.plan(features, allowed.masked)
        rows = max(map(len, request.entities.values()), default=0)
        if rows > self._limits.keys:
            raise too_many_keys(rows, self._limits.keys)
        if self._budgets.limited:
            self._budgets.keys(client_of(scope), rows)
        known = {key.name for entity in self._serving.current_catalog().entities() for key in entity.join_keys}
        given = {name: column for name, column in request.entities.items() if name in plan.request}
        # A row of a Feast request may bring keys that only other features need.
        keys = {
            name: column
            for name, column in request.entities.items()
            if name in plan.key_names or (name not in known and name not in given)
        }
        asked, inputs = decoded_keys(plan, keys), decoded_inputs(plan, given or None)
        with waiting_until(deadline.until_s):
            answer = reader.read(features, asked, None, inputs, masked=allowed.masked)
        watch.read(plan, answer, asked, inputs, rows)
        note_read(scope, allowed, rows)
        return msgspec.json.encode(_shaped(answer, request))


def _wanted(request: _Read) -> str | list[str]:
    if (request.feature_service is None) == (not request.features):
        raise InputError(
            "A request names either a feature service or features",
            fix='Give "feature_service": "fraud", or "features": ["spend:count_1h"].',
        )
    return request.features if request.feature_service is None else request.feature_service


def _shaped(answer: OnlineFeatures, request: _Read) -> dict[str, Any]:
    """Return an answer column by column, entities first, as Feast does."""
    ours = msgspec.json.decode(answer.to_json(metadata=True, types=True), type=_Answer)
    owners = [_view_of(name, ours.results[0].event_times) if ours.results else None for name in ours.features]
    short = [
        name.partition("__")[2] if view is None else name[len(view) + 2 :]
        for name, view in zip(ours.features, owners, strict=True)
    ]
    names = [*request.entities, *(ours.features if request.full_feature_names else short)]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"Two columns of the answer are called {repeated}", fix='Ask with "full_feature_names": true.')
    results = [
        _column(values, ["PRESENT"] * len(values), [_EPOCH] * len(values)) for values in request.entities.values()
    ]
    for position, (view, dtype) in enumerate(zip(owners, ours.types, strict=True)):
        to_feast = _to_feast(dtype)
        results.append(
            _column(
                [None if (value := row.values[position]) is None else to_feast(value) for row in ours.results],
                [_STATUSES.get(row.statuses[position], "INVALID") for row in ours.results],
                [(row.event_times.get(view) if view else None) or _EPOCH for row in ours.results],
            )
        )
    return {"metadata": {"feature_names": names}, "results": results, "status": True}


def _column(values: Sequence[Any], statuses: Sequence[str], times: Sequence[str]) -> dict[str, Sequence[Any]]:
    return {"values": values, "statuses": statuses, "event_timestamps": times}


def _view_of(column: str, views: Iterable[str]) -> str | None:
    """Return which of the views a column is of, the longest name that it begins with, or None."""
    return max((view for view in views if column.startswith(view + "__")), key=len, default=None)


def _to_feast(dtype: str) -> Callable[[Any], Any]:
    """Return what makes a value of ours Feast's: times are whole seconds since 1970 there."""
    if dtype == "timestamp":
        return _seconds
    if dtype == "list<timestamp>":
        return lambda times: [None if time is None else _seconds(time) for time in times]
    return lambda value: value


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() // 1)


def _pushed(request: _Push) -> PushRequest:
    if request.to not in ("online", "online_and_offline"):
        raise InputError(
            f"A push to {request.to!r} cannot be taken",
            why="Rows that Asof keeps are history and are served",
            fix='Push to "online_and_offline", or to "online", which means the same here.',
        )
    columns: Mapping[str, list[Any]] = request.df
    if len(set(map(len, columns.values()))) != 1:
        raise InputError("The columns of df are not of one length", fix="Send per column one value per row.")
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return PushRequest(source=request.push_source_name, rows=rows)


def _decoded(body: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(
            "The body is not a request of Feast's API", why=str(error), fix="The page on Feast shows what is answered."
        ) from error
