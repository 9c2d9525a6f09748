"""The hot route: `POST /v1/online-features` without a framework in between."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

from asof.definitions.services import LATEST
from asof.server.access import note_read, reading
from asof.server.answers import JSON, arrow_bytes
from asof.server.limits import Limits, MethodNotAllowedError, read_body, too_many_keys
from asof.server.observe import KEY, MODEL_LENGTH
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

    from asof.server.observe import RequestWatch
    from asof.server.serving import Serving

PATH = "/v1/online-features"
_FEWER = "Ask for fewer keys per request, or raise --max-body."


class OnlineRoute:
    """Answers requests for online features."""

    def __init__(self, serving: Serving, limits: Limits) -> None:
        """Answer from `serving`, within `limits`."""
        self._serving = serving
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
        watch: RequestWatch = scope[KEY]
        watch.received = time.perf_counter()
        request = from_arrow(body, scope["query_string"]) if sends_arrow else from_json(body)
        features = wanted(request)
        reader = self._serving.current_reader()
        allowed = reading(scope, features, reader.catalog)
        plan, masked = reader.plan(features, allowed.masked), allowed.masked
        if sends_arrow:
            keys, given = arrow_columns(plan, request.keys)
        else:
            keys, given = decoded_keys(plan, request.keys), decoded_inputs(plan, request.request)
        count = max(map(len, request.keys.values()), default=1)
        if given:
            count = max(count, *map(len, given.values()))
        if count > self._limits.keys:
            raise too_many_keys(count, self._limits.keys)
        how = consistency(request) or plan.consistency
        if request.model is not None:
            watch.model = request.model[:MODEL_LENGTH]
        watch.decoded = time.perf_counter()
        if how == LATEST:
            answer = reader.read(
                features, keys, instant(request), given, consistency=how, partial=request.partial, masked=masked
            )
        else:  # which may wait
            read = partial(reader.read, consistency=how, partial=request.partial, masked=masked)
            answer = await asyncio.to_thread(read, features, keys, instant(request), given)
        watch.read(plan, answer, keys, given, count)
        note_read(scope, allowed, count)
        if wants_arrow:
            encoded, media_type = arrow_bytes(answer, statuses=request.metadata), ARROW
        else:
            encoded, media_type = answer.to_json(metadata=request.metadata, types=request.types), JSON
        watch.encoded = time.perf_counter()
        return encoded, media_type
