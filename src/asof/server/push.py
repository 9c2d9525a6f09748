"""The route that writes: `POST /v1/push`, off the event loop, so that reads go on meanwhile."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec
import pyarrow as pa

from asof.clock import iso
from asof.errors import InputError, did_you_mean, sentence
from asof.server.access import Pusher
from asof.server.answers import JSON
from asof.server.deadlines import Deadline
from asof.server.gate import Gate
from asof.server.limits import Limits, MethodNotAllowedError, PushNotAllowedError, read_body
from asof.server.requests import ARROW

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

    from asof.errors import AsofError
    from asof.server.metrics import Metrics
    from asof.services.ingest import Ingested
    from asof.store import FeatureStore

PATH = "/v1/push"
REASONS = 100
"""How many refused rows an answer lists; all are counted, and are with the dead letters."""
_THREADS = 4
_AT_ONCE = 64
_SWITCH_S = 0.0005
_FEWER = "Push fewer rows per request, or raise --max-body."


class PushRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows to take in, as the body of `POST /v1/push`.

    Attributes:
        source: A stream source.
        rows: Objects, one per row; anything else is refused by itself.
    """

    source: str
    rows: list[Any]


_decode = msgspec.json.Decoder(PushRequest).decode


class PushRoute:
    """Takes pushed rows in; a push is answered once its rows are durable and reads show them."""

    def __init__(self, store: FeatureStore | None, metrics: Metrics, limits: Limits) -> None:
        """Push into the sources of `store`; None allows no pushing."""
        self._store = store
        self._metrics = metrics
        self._limits = limits
        if store is not None:
            self._gate = Gate(_AT_ONCE, limits.waiting)
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="asof-push")
            # A read waits this long at most for a push that computes in Python; the default is ten times as long.
            sys.setswitchinterval(_SWITCH_S)

    async def answer(self, scope: Scope, receive: Receive) -> tuple[bytes, bytes]:
        """Return the body and its media type.

        Raises:
            AsofError: nothing was taken in.
        """
        if scope["method"] != "POST":
            raise MethodNotAllowedError(f"{PATH} does not take {scope['method']}", fix="Use POST.")
        store = self._allowed()
        if (turn := self._gate.enter({})) is not None:
            await self._gate.wait(turn, Deadline(self._limits.timeout_s))
        try:
            body = await read_body(scope, receive, self._limits.body_bytes, _FEWER)
            sends_arrow = any(n == b"content-type" and v.startswith(ARROW) for n, v in scope["headers"])
            work = self._push_arrow if sends_arrow else self._push_json
            loop = asyncio.get_running_loop()
            source, done = await loop.run_in_executor(
                self._threads, copy_context().run, work, store, body, scope["query_string"], Pusher(scope)
            )
        finally:
            self._gate.leave()
        return self._answered(source, done)

    async def take(self, request: PushRequest, scope: Scope) -> tuple[bytes, bytes]:
        """Take rows in that another API brought; return the body and its media type.

        Raises:
            InputError: no row could be taken, or the server takes none.
            AsofError: nothing was taken in.
        """
        store, who = self._allowed(), Pusher(scope)

        def work() -> Ingested:
            who.allow(request.source, store.catalog())
            return store.ingestor(request.source).push_json(request.rows)

        if (turn := self._gate.enter({})) is not None:
            await self._gate.wait(turn, Deadline(self._limits.timeout_s))
        try:
            done = await asyncio.get_running_loop().run_in_executor(self._threads, copy_context().run, work)
        finally:
            self._gate.leave()
        body = self._answered(request.source, done)
        if done.refused and not done.taken and not done.repeated:
            row = min(done.refused)
            raise InputError(
                f"None of the {len(done.refused)} rows could be taken in",
                why=f"Row {row}: {done.refused[row]}",
                fix=f"Correct them; `asof deadletter list {request.source}` shows all.",
            )
        return body

    def _allowed(self) -> FeatureStore:
        if self._store is None:
            raise PushNotAllowedError(
                "This server takes no rows", why="It was started to read only", fix="Start it as `asof serve --push`."
            )
        return self._store

    def _answered(self, source: str, done: Ingested) -> tuple[bytes, bytes]:
        self._metrics.pushed(source, done.taken, done.repeated, len(done.refused))
        return msgspec.json.encode(_answer(source, done)), JSON

    def close(self) -> None:
        """Wait for what is being pushed, and release files."""
        if self._store is not None:
            self._threads.shutdown()
            self._store.close()

    @staticmethod
    def _push_json(store: FeatureStore, body: bytes, _query: bytes, who: Pusher) -> tuple[str, Ingested]:
        request = _from_json(body)
        who.allow(request.source, store.catalog())
        return request.source, store.ingestor(request.source).push_json(request.rows)

    @staticmethod
    def _push_arrow(store: FeatureStore, body: bytes, query: bytes, who: Pusher) -> tuple[str, Ingested]:
        source = _source(query)
        who.allow(source, store.catalog())
        writer = store.ingestor(source)
        try:
            with pa.ipc.open_stream(body) as stream:
                rows = stream.read_all()
                rows.validate(full=True)
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                "The body is not an Arrow IPC stream of rows", why=str(error), fix="Send one column per field."
            ) from error
        return source, writer.push(rows)


def _from_json(body: bytes) -> PushRequest:
    try:
        return _decode(body)
    except msgspec.ValidationError as error:
        raise InputError(
            "The body is not a push",
            why=str(error),
            fix='Send {"source": "transactions", "rows": [{"customer_id": 17, "amount": 9.5}]}.',
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError("The body is not JSON", why=str(error), fix="Send a JSON object.") from error


def _source(query: bytes) -> str:
    parameters = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    for name in parameters:
        if name != "source":
            raise InputError(f"There is no parameter {name!r}", why=did_you_mean(name, ["source"]), fix="Use source.")
    if "source" not in parameters:
        raise InputError("The push names no source", fix="Add it to the URL: /v1/push?source=transactions.")
    return parameters["source"][-1]


def _answer(source: str, done: Ingested) -> dict[str, Any]:
    return {
        "source": source,
        "taken": done.taken,
        "repeated": done.repeated,
        "refused": len(done.refused),
        "reasons": [{"row": row, "reason": done.refused[row]} for row in islice(sorted(done.refused), REASONS)],
        "entry": done.entry,
        "at": iso(done.at_us) if done.entry else None,
        "behind": {view: _error(error) for view, error in done.behind.items()},
    }


def _error(error: AsofError) -> dict[str, str]:
    parts = {"what": error.what, "why": error.why, "fix": error.fix}
    return {"code": error.code, **{name: sentence(text) if text else "" for name, text in parts.items()}}
