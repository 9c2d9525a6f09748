"""The ASGI application of one worker: dispatches, measures, and follows the registry."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import time
from typing import TYPE_CHECKING

from asof import tracing
from asof.server.access import challenge
from asof.server.answers import JSON, error_body
from asof.server.budgets import Budgets, client_of
from asof.server.deadlines import Deadline
from asof.server.feast import PATHS as FEAST
from asof.server.feast import PUSH as FEAST_PUSH
from asof.server.feast import FeastRoute
from asof.server.gate import Gate
from asof.server.limits import Limits
from asof.server.metrics import Metrics
from asof.server.observe import KEY as WATCH
from asof.server.observe import REQUEST_ID_HEADER, Observer
from asof.server.online import PATH, OnlineRoute
from asof.server.push import PATH as PUSH
from asof.server.push import PushRoute
from asof.server.reads import Reads
from asof.server.refusals import RefusedError
from asof.server.routes import make_routes
from asof.server.serving import Serving

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Message, Receive, Scope, Send

    from asof.server.access import Door
    from asof.server.project import Project
    from asof.server.serving_queue import ServingQueue
    from asof.server.spans import RequestSpans
    from asof.services.audit import AuditLog
    from asof.store import FeatureStore

POLL_S = 0.3
_GARBAGE = 20_000
_PUSHES = frozenset({PUSH, FEAST_PUSH})
_NEVER_REFUSED = frozenset({"/health", "/ready", "/metrics"})
_log = logging.getLogger("asof.server")
_access = logging.getLogger("asof.access")


class App:
    """Answers HTTP requests for one project.

    Attributes:
        limits: Of requests.
        gate: Counts them.
    """

    def __init__(
        self,
        project: Project,
        limits: Limits | None = None,
        *,
        pushed_to: FeatureStore | None = None,
        access_log: bool = False,
        serving_log: Callable[[Metrics], ServingQueue] | None = None,
        door: Door | None = None,
        audit: AuditLog | None = None,
    ) -> None:
        """Serve a project.

        Args:
            project: Its stores.
            limits: Of requests.
            pushed_to: The same project, where rows may be pushed; the application closes it.
            access_log: Whether to write a JSON line per request.
            serving_log: Opens what takes answers for the serving log, if any.
            door: Asks who they are; None lets everybody in.
            audit: What the door's guard writes to; the application closes it.
        """
        self.limits = limits or Limits()
        self.gate = Gate(self.limits.at_once, self.limits.waiting)
        self._budgets = Budgets(self.limits.client_requests, self.limits.client_keys)
        self._metrics = Metrics()
        self._serving = Serving(project, self._metrics)
        self._reads = Reads(project.online, project.clock, self.limits.cache)
        self._online = OnlineRoute(self._serving, self.limits, self._reads, self._budgets, self.gate)
        self._push = PushRoute(pushed_to, self._metrics, self.limits)
        self._feast = FeastRoute(self._serving, self._push, self.limits, self._budgets, self.gate)
        self._rest = make_routes(self._serving, self._metrics)
        self._observer = Observer(
            self._metrics,
            access_log=_access if access_log else None,
            serving_log=serving_log(self._metrics) if serving_log else None,
            spans=_spans(),
        )
        self._door = door
        self._audit = audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection event, as ASGI 3 defines it."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            started = time.perf_counter()
            watch = self._observer.begin(scope)
            if self._door is not None and (refusal := await self._door.refuse(scope)) is not None:
                route, status = "refused", await self._answer_error(refusal, scope, send)
            elif scope["path"] == PATH:
                route, status = PATH, await self._answer_direct(self._online, scope, receive, send)
            elif scope["path"] == PUSH:
                route, status = PUSH, await self._answer_direct(self._push, scope, receive, send)
            elif scope["path"] in FEAST:
                route, status = scope["path"], await self._answer_direct(self._feast, scope, receive, send)
            else:
                route, status = await self._answer_rest(scope, receive, send)
            self._observer.done(watch, scope, route, status, started)
            self.gate.forget(scope)

    def arrived(self, scope: Scope) -> None:
        """Count a request that is here whole and waits to be looked at; pushes wait elsewhere."""
        if scope["path"] not in _PUSHES:
            self.gate.arrive(scope)

    def refused(self, code: str) -> None:
        """Count a request that was refused before it came here."""
        self._metrics.refused(code)

    async def _answer_direct(
        self, route: OnlineRoute | PushRoute | FeastRoute, scope: Scope, receive: Receive, send: Send
    ) -> int:
        headers: list[tuple[bytes, bytes]] = [(REQUEST_ID_HEADER, scope[WATCH].request_id.encode())]
        try:
            if self._budgets.limited:
                self._budgets.request(client_of(scope))
            body, media_type = await route.answer(scope, receive)
            status = 200
        except Exception as error:  # noqa: BLE001 - the last resort of a request; error_body logs what is unexpected
            status, code, body = error_body(error)
            media_type = JSON
            self._metrics.refused(code)
            if status == 405:
                headers.append((b"allow", b"POST"))
            elif status == 413:
                headers.append((b"connection", b"close"))
            headers += [*challenge(error), *_retry_after(error)]
        headers += [(b"content-type", media_type), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return status

    async def _answer_error(self, error: Exception, scope: Scope, send: Send) -> int:
        status, code, body = error_body(error)
        self._metrics.refused(code)
        headers = [(REQUEST_ID_HEADER, scope[WATCH].request_id.encode()), *challenge(error)]
        headers += [(b"content-type", JSON), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return status

    async def _answer_rest(self, scope: Scope, receive: Receive, send: Send) -> tuple[str, int]:
        status = 0
        identified = (REQUEST_ID_HEADER, scope[WATCH].request_id.encode())

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], identified]
            await send(message)

        try:
            await self._answer_others(scope, receive, watch)
        except Exception as error:
            if status:
                raise
            status, code, body = error_body(error)
            self._metrics.refused(code)
            headers = [identified, (b"content-type", JSON), (b"content-length", b"%d" % len(body))]
            headers += _retry_after(error)
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        route = scope.get("route")
        return getattr(route, "path", "other"), status

    async def _answer_others(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in _NEVER_REFUSED:
            await self._rest(scope, receive, send)
            return
        if self._budgets.limited:
            self._budgets.request(client_of(scope))
        if (turn := self.gate.enter(scope)) is not None:
            await self.gate.wait(turn, Deadline(self.limits.timeout_s))
        try:
            await self._rest(scope, receive, send)
        finally:
            self.gate.leave()

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await asyncio.to_thread(self._serving.refresh)
        gc.collect()
        gc.freeze()  # what is there now stays; looking through it over and over costs more than a request
        gc.set_threshold(_GARBAGE)
        following = asyncio.create_task(self._follow())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
        await asyncio.to_thread(self._push.close)
        await self._reads.close()
        await asyncio.to_thread(self._observer.close)
        if self._door is not None:
            self._door.close()
        if self._audit is not None:
            await asyncio.to_thread(self._audit.close)
        self._serving.project.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            self._metrics.fold()
            try:
                await asyncio.to_thread(self._serving.refresh)
            except Exception:  # noqa: BLE001 - a defect here must not end the following for good
                _log.exception("a new revision could not be compiled; the last one is served on")


def _spans() -> RequestSpans | None:
    tracer = tracing.tracer()
    if tracer is None:
        return None
    from asof.server.spans import RequestSpans  # loads OpenTelemetry

    return RequestSpans(tracer)


def _retry_after(error: Exception) -> list[tuple[bytes, bytes]]:
    return [(b"retry-after", b"%d" % error.retry_after_s)] if isinstance(error, RefusedError) else []
