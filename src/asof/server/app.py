"""The ASGI application of one worker: dispatches, measures, and follows the registry."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import time
from typing import TYPE_CHECKING

import msgspec

from asof.server.answers import JSON, error_body
from asof.server.budgets import Budgets, client_of
from asof.server.deadlines import Deadline
from asof.server.gate import Gate
from asof.server.limits import Limits
from asof.server.metrics import Metrics
from asof.server.online import PATH, OnlineRoute
from asof.server.push import PATH as PUSH
from asof.server.push import PushRoute
from asof.server.reads import Reads
from asof.server.refusals import RefusedError
from asof.server.routes import make_routes
from asof.server.serving import Serving

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

    from asof.server.project import Project
    from asof.store import FeatureStore

POLL_S = 0.3
_GARBAGE = 20_000
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
    ) -> None:
        """Serve a project.

        Args:
            project: Its stores.
            limits: Of requests.
            pushed_to: The same project, where rows may be pushed; the application closes it.
            access_log: Whether to write a JSON line per request.
        """
        self.limits = limits or Limits()
        self.gate = Gate(self.limits.at_once, self.limits.waiting)
        self._budgets = Budgets(self.limits.client_requests, self.limits.client_keys)
        self._metrics = Metrics()
        self._serving = Serving(project, self._metrics)
        self._reads = Reads(project.online, project.clock, self.limits.cache)
        self._online = OnlineRoute(self._serving, self._metrics, self.limits, self._reads, self._budgets, self.gate)
        self._push = PushRoute(pushed_to, self._metrics, self.limits)
        self._rest = make_routes(self._serving, self._metrics)
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection event, as ASGI 3 defines it."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            started = time.perf_counter()
            if scope["path"] == PATH:
                route, status = PATH, await self._answer_direct(self._online, scope, receive, send)
            elif scope["path"] == PUSH:
                route, status = PUSH, await self._answer_direct(self._push, scope, receive, send)
            else:
                route, status = await self._answer_rest(scope, receive, send)
            seconds = time.perf_counter() - started
            self._metrics.answered(route, status, seconds)
            self.gate.forget(scope)
            if self._access_log:
                self._log(scope, status, seconds)

    def arrived(self, scope: Scope) -> None:
        """Count a request that is here whole and waits to be looked at; pushes wait elsewhere."""
        if scope["path"] != PUSH:
            self.gate.arrive(scope)

    def refused(self, code: str) -> None:
        """Count a request that was refused before it came here."""
        self._metrics.refused(code)

    async def _answer_direct(self, route: OnlineRoute | PushRoute, scope: Scope, receive: Receive, send: Send) -> int:
        headers: list[tuple[bytes, bytes]] = []
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
            headers += _retry_after(error)
        headers += [(b"content-type", media_type), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return status

    async def _answer_rest(self, scope: Scope, receive: Receive, send: Send) -> tuple[str, int]:
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._answer_others(scope, receive, watch)
        except Exception as error:
            if status:
                raise
            status, code, body = error_body(error)
            self._metrics.refused(code)
            headers = [(b"content-type", JSON), (b"content-length", b"%d" % len(body)), *_retry_after(error)]
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

    def _log(self, scope: Scope, status: int, seconds: float) -> None:
        line = {
            "time": time.time(),
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "seconds": round(seconds, 6),
            "client": scope["client"][0] if scope["client"] else None,
        }
        _access.info(msgspec.json.encode(line).decode())

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
        self._serving.project.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await asyncio.to_thread(self._serving.refresh)
            except Exception:  # noqa: BLE001 - a defect here must not end the following for good
                _log.exception("a new revision could not be compiled; the last one is served on")


def _retry_after(error: Exception) -> list[tuple[bytes, bytes]]:
    return [(b"retry-after", b"%d" % error.retry_after_s)] if isinstance(error, RefusedError) else []
