"""The HTTP protocol of a connection, with limits to how slowly and how long-winded a client may ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from asof.server.answers import error_body
from asof.server.refusals import HeadersTooLargeError, SlowRequestError

if TYPE_CHECKING:
    import asyncio

    from starlette.types import Scope

    from asof.errors import AsofError
    from asof.server.app import App


class Protocol(HttpToolsProtocol):
    """What the server speaks. A request has to be here whole, headers and body, within a time of its first byte."""

    app: App  # served without middleware
    _slow: asyncio.TimerHandle | None = None
    _headers_bytes = 0
    _reading = False
    _head = True

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._slow = self.loop.call_later(self.app.limits.body_timeout_s, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._not_slow()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in a part of a request, or several of them."""
        if self._head:
            self._headers_bytes += len(data)
        super().data_received(data)
        if not self._reading:
            return
        if self._head and self._headers_bytes > self.app.limits.header_bytes:
            self._refuse(_too_large(self.app.limits.header_bytes))
        elif self._slow is None:
            self._slow = self.loop.call_later(self.app.limits.body_timeout_s, self._too_slow)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._reading = self._head = True

    def on_headers_complete(self) -> None:
        """The headers are here: the request may be looked at, while its body may be still on its way."""
        if self.transport.is_closing():
            return
        limit = self.app.limits.header_bytes
        if self._headers_bytes > limit and len(self.url) + sum(len(n) + len(v) + 4 for n, v in self.headers) > limit:
            self._refuse(_too_large(limit))
            return
        self._head = False
        self._headers_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body is here."""
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here whole."""
        self._reading = False
        self._head = True
        self._not_slow()
        if self.transport.is_closing():
            return
        super().on_message_complete()
        if not self.cycle.response_complete and not self.pipeline:
            self.app.arrived(cast("Scope", self.cycle.scope))

    def _not_slow(self) -> None:
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None

    def _too_slow(self) -> None:
        self._slow = None
        if not self._reading:
            self.transport.close()  # it never asked for anything
            return
        timeout_s = self.app.limits.body_timeout_s
        self._refuse(
            SlowRequestError(
                f"The request was not here whole within {timeout_s:g} s",
                fix="Send it without pauses, or raise --body-timeout.",
            )
        )

    def _refuse(self, error: AsofError) -> None:
        """Answer what the application will not, and hang up."""
        if self.transport.is_closing():
            return
        status, code, body = error_body(error)
        self.app.refused(code)
        cycle = self.cycle
        if self._head:  # another request may still wait for its answer
            may_answer = cycle is None or cycle.response_complete
        else:
            may_answer = not cycle.response_started and not self.pipeline
        if may_answer:
            head = b"%scontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            self.transport.write(head % (STATUS_LINE[status], len(body)) + body)
        self.transport.close()


def _too_large(limit: int) -> HeadersTooLargeError:
    return HeadersTooLargeError(f"The headers are longer than {limit} bytes", fix="Send fewer or shorter headers.")
