"""The hot route: `POST /v1/online-features` without a framework in between."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from asof.definitions.services import LATEST
from asof.server.answers import JSON, arrow_bytes
from asof.server.limits import Limits, MethodNotAllowedError, read_body, too_many_keys
from asof.server.requests import ARROW, arrow_columns, consistency, decoded_keys, from_arrow, from_json, instant, wanted

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

    from asof.server.metrics import Metrics
    from asof.server.serving import Serving

PATH = "/v1/online-features"
_FEWER = "Ask for fewer keys per request, or raise --max-body."


class OnlineRoute:
    """Answers requests for online features."""

    def __init__(self, serving: Serving, metrics: Metrics, limits: Limits) -> None:
        """Answer from `serving`, within `limits`."""
        self._serving = serving
        self._metrics = metrics
        self._limits = limits

    async def answer(self, scope: Scope, receive: Receive) -> tuple[bytes, bytes]:
        """Return the body and its media type.

        Raises:
            AsofError: the request cannot be answered.
        """
        if scope["method"] != "POST":
            raise MethodNotAllowedError(f"{PATH} does not take {scope['method']}", fix="Use POST.")
        sends_arrow = wants_arrow = False
        for name, value in scope["headers"]:
            if name == b"content-type":
                sends_arrow = value.startswith(ARROW)
            elif name == b"accept":
                wants_arrow = ARROW in value
        body = await read_body(scope, receive, self._limits.body_bytes, _FEWER)
        request = from_arrow(body, scope["query_string"]) if sends_arrow else from_json(body)
        features = wanted(request)
        reader = self._serving.current_reader()
        plan = reader.plan(features)
        if sends_arrow:
            keys, given = arrow_columns(plan, request.keys)
        else:
            keys, given = decoded_keys(plan, request.keys), request.request
        count = max(map(len, request.keys.values()), default=1)
        if given:
            count = max(count, *map(len, given.values()))
        if count > self._limits.keys:
            raise too_many_keys(count, self._limits.keys)
        how = consistency(request) or plan.consistency
        if how == LATEST:
            answer = reader.read(features, keys, instant(request), given, consistency=how, partial=request.partial)
        else:  # which may wait
            read = partial(reader.read, consistency=how, partial=request.partial)
            answer = await asyncio.to_thread(read, features, keys, instant(request), given)
        self._metrics.read(count)
        if wants_arrow:
            return arrow_bytes(answer, statuses=request.metadata), ARROW
        return answer.to_json(metadata=request.metadata), JSON
