"""The hot route: `POST /v1/online-features` without a framework in between."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from asof.server.access import note_read, reading
from asof.server.answers import JSON, arrow_bytes
from asof.server.budgets import client_of
from asof.server.deadlines import Deadline
from asof.server.limits import Limits, MethodNotAllowedError, read_body, too_many_keys
from asof.server.observe import KEY, MODEL_LENGTH
from asof.server.reads import Asked
from asof.server.requests import (
    ARROW,
    arrow_columns,
    consistency,
    decoded_inputs,
    decoded_keys,
    from_arrow,
    from_json,
    instant,
    wanted,
)

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

    from asof.server.budgets import Budgets
    from asof.server.gate import Gate
    from asof.server.observe import RequestWatch
    from asof.server.reads import Reads
    from asof.server.requests import OnlineRequest
    from asof.server.serving import Serving
    from asof.services.guard import Allowed

PATH = "/v1/online-features"
_FEWER = "Ask for fewer keys per request, or raise --max-body."


class OnlineRoute:
    """Answers requests for online features."""

    def __init__(self, serving: Serving, limits: Limits, reads: Reads, budgets: Budgets, gate: Gate) -> None:
        """Answer from `serving` by `reads`, within limits and budgets, and when the gate lets a request in."""
        self._serving = serving
        self._limits = limits
        self._reads = reads
        self._budgets = budgets
        self._gate = gate

    async def answer(self, scope: Scope, receive: Receive) -> tuple[bytes, bytes]:
        """Return the body and its media type.

        Raises:
            AsofError: the request cannot be answered.
        """
        if scope["method"] != "POST":
            raise MethodNotAllowedError(f"{PATH} does not take {scope['method']}", fix="Use POST.")
        deadline = Deadline(self._limits.timeout_s)
        sends_arrow = wants_arrow = False
        for name, value in scope["headers"]:
            if name == b"content-type":
                sends_arrow = value.startswith(ARROW)
            elif name == b"accept":
                wants_arrow = ARROW in value
        body = await read_body(scope, receive, self._limits.body_bytes, _FEWER)
        watch: RequestWatch = scope[KEY]
        watch.received = time.perf_counter()
        if (turn := self._gate.enter(scope)) is not None:
            await self._gate.wait(turn, deadline)
        try:
            request = from_arrow(body, scope["query_string"]) if sends_arrow else from_json(body)
            deadline.shorten(request.timeout_ms)
            asked, allowed, count = self._asked(scope, request, sends_arrow=sends_arrow)
            if request.model is not None:
                watch.model = request.model[:MODEL_LENGTH]
            watch.decoded = time.perf_counter()
            answer = self._reads.at_once(asked, deadline)
            if answer is None:
                answer = await self._reads.read(asked, deadline)
            watch.read(asked.plan, answer, asked.keys, asked.request, count)
            note_read(scope, allowed, count)
            if wants_arrow:
                encoded, media_type = arrow_bytes(answer, statuses=request.metadata), ARROW
            else:
                encoded, media_type = answer.to_json(metadata=request.metadata, types=request.types), JSON
            watch.encoded = time.perf_counter()
            deadline.check()
        finally:
            self._gate.leave()
        return encoded, media_type

    def _asked(self, scope: Scope, request: OnlineRequest, *, sends_arrow: bool) -> tuple[Asked, Allowed, int]:
        """Return what is asked for, what of it is allowed, and for how many keys."""
        features = wanted(request)
        reader = self._serving.current_reader()
        allowed = reading(scope, features, reader.catalog)
        plan = reader.plan(features, allowed.masked)
        if sends_arrow:
            keys, given = arrow_columns(plan, request.keys)
        else:
            keys, given = decoded_keys(plan, request.keys), decoded_inputs(plan, request.request)
        count = max(map(len, request.keys.values()), default=1)
        if given:
            count = max(count, *map(len, given.values()))
        if count > self._limits.keys:
            raise too_many_keys(count, self._limits.keys)
        if self._budgets.limited:
            self._budgets.keys(client_of(scope), count)
        how = consistency(request) or plan.consistency
        asked = Asked(reader, plan, features, keys, instant(request), given, how, request.partial, allowed.masked)
        return asked, allowed, count
