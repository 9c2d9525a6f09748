"""The client for asyncio: any number of tasks may share one, over a bounded number of connections."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import httptools

from asof.client.attempts import Attempts
from asof.client.requests import online_call, push_call, ready_call, service_call, services_call
from asof.client.responses import Response
from asof.client.settings import Settings

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping, Sequence

    from asof.client.answers import Pushed, RemoteFeatures, Service
    from asof.client.arrow import ArrowFeatures
    from asof.client.requests import Call, Columns
    from asof.clock import Instant
    from asof.definitions.services import Consistency


class _Connection(asyncio.Protocol):
    """A connection of one loop; it carries one request at a time."""

    def __init__(self) -> None:
        self.fresh = True
        self.open = False
        self._response = Response()
        self._waiting: asyncio.Future[Response] | None = None
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self.open = transport, True

    def data_received(self, data: bytes) -> None:
        waiting = self._waiting
        if waiting is None or waiting.done():
            self.close()  # nobody asked
            return
        try:
            self._response.feed(data)
        except httptools.HttpParserError as error:
            waiting.set_exception(error)
            return
        if self._response.complete:
            waiting.set_result(self._response)

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionResetError("The server hung up"))

    async def exchange(self, message: bytes, deadline: float) -> Response:
        loop = asyncio.get_running_loop()
        if not self.open:
            raise ConnectionResetError("The server hung up")
        self._response = Response()
        self._waiting = waiting = loop.create_future()
        timer = loop.call_later(max(0.0, deadline - time.monotonic()), _time_over, waiting)
        try:
            self._transport.write(message)
            response: Response = await waiting
        finally:
            timer.cancel()
            self._waiting = None
        self.fresh = False
        return response

    def close(self) -> None:
        self.open = False
        self._transport.abort()


def _time_over(waiting: asyncio.Future[Response]) -> None:
    if not waiting.done():
        waiting.set_exception(TimeoutError("The time of the call is over"))


class AsyncClient:
    """What `Client` is, for asyncio; it belongs to the event loop that calls it, and another loop starts afresh."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 5.0,
        connect_timeout_s: float = 1.0,
        retries: int = 2,
        connections: int = 64,
        tls: ssl.SSLContext | None = None,
        ca_file: str | None = None,
    ) -> None:
        """Make a client; it connects with its first call.

        Args:
            url: The server's, as "http://features.internal:6566"; a path goes before every path that is asked for.
            api_key: Sent as `Authorization: Bearer …`. Default: the environment variable ASOF_API_KEY, if set.
            headers: More headers for every request.
            timeout_s: How long one call may take, all tries together, and waiting for a connection.
            connect_timeout_s: How long one try may take to connect.
            retries: How often a read is tried again.
            connections: Most connections at once; further calls wait for one.
            tls: For https, instead of the system's trust: your own context, as with a client certificate.
            ca_file: For https: a file with the certificates to trust, in PEM format.

        Raises:
            ConfigError: the URL, a header, a number or the file is not usable.
        """
        self._settings = Settings.make(
            url,
            api_key=api_key,
            headers=headers,
            timeout_s=timeout_s,
            connect_timeout_s=connect_timeout_s,
            retries=retries,
            idle=connections,
            tls=tls,
            ca_file=ca_file,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: deque[_Connection] = deque()
        self._slots = asyncio.Semaphore(connections)

    async def get_online_features(
        self,
        features: str | Sequence[str],
        keys: Columns,
        *,
        at: Instant | None = None,
        request: Columns | None = None,
        consistency: Consistency | None = None,
        partial: bool = False,
        metadata: bool = False,
        arrow: bool = False,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> RemoteFeatures | ArrowFeatures:
        """Return the features of entities; see `Client.get_online_features`."""
        call = online_call(
            self._settings,
            features,
            keys,
            at=at,
            request=request,
            metadata=metadata,
            consistency=consistency,
            partial=partial,
            arrow=arrow,
            request_id=request_id,
        )
        found: RemoteFeatures | ArrowFeatures = await self._do(call, timeout_s)
        return found

    async def push(
        self, source: str, rows: Any, *, timeout_s: float | None = None, request_id: str | None = None
    ) -> Pushed:
        """Take rows of a stream source in; see `Client.push`."""
        found: Pushed = await self._do(push_call(self._settings, source, rows, request_id), timeout_s)
        return found

    async def services(self, *, timeout_s: float | None = None, request_id: str | None = None) -> dict[str, int]:
        """Return the names of all services with their newest versions."""
        found: dict[str, int] = await self._do(services_call(self._settings, request_id), timeout_s)
        return found

    async def service(self, name: str, *, timeout_s: float | None = None, request_id: str | None = None) -> Service:
        """Return what a service ("fraud", "fraud@2") reads; see `Client.service`."""
        found: Service = await self._do(service_call(self._settings, name, request_id), timeout_s)
        return found

    async def ready(self, *, timeout_s: float | None = None, request_id: str | None = None) -> dict[str, Any]:
        """Return the registry's revision that is served; see `Client.ready`."""
        found: dict[str, Any] = await self._do(ready_call(self._settings, request_id), timeout_s)
        return found

    async def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()
        await asyncio.sleep(0)  # transports close with the loop's next turn

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _do(self, call: Call, timeout_s: float | None) -> Any:
        attempts = Attempts(self._settings, call, timeout_s)
        self._belong()
        while True:
            response = None
            await self._slot(attempts)
            try:
                connection = None
                try:
                    connection = await self._take(attempts.left_s())
                    response = await connection.exchange(call.message, attempts.deadline)
                except (OSError, httptools.HttpParserError) as error:
                    if connection is not None:
                        connection.close()
                        if not connection.fresh and call.safe and not isinstance(error, TimeoutError):
                            continue  # the server had closed an idle connection
                    pause = attempts.pause_after_loss(error, sent=connection is not None)
                except BaseException:
                    if connection is not None:
                        connection.close()  # an answer may still be on its way
                    raise
                else:
                    if response.keep_alive and connection.open:
                        self._idle.append(connection)
                    else:
                        connection.close()
            finally:
                self._slots.release()
            if response is not None:
                if response.status == 200:
                    return attempts.result(response)
                pause = attempts.pause_after(response)
            await asyncio.sleep(pause)

    def _belong(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # of another loop, or of a forked child
            self._loop, self._idle = loop, deque()
            self._slots = asyncio.Semaphore(self._settings.idle)

    async def _slot(self, attempts: Attempts) -> None:
        if not self._slots.locked():
            await self._slots.acquire()
            return
        try:
            await asyncio.wait_for(self._slots.acquire(), attempts.left_s())
        except TimeoutError as error:
            raise attempts.timed_out() from error

    async def _take(self, left_s: float) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.open:
                return connection
        settings = self._settings
        async with asyncio.timeout(min(left_s, settings.connect_timeout_s)):
            _, made = await asyncio.get_running_loop().create_connection(
                _Connection, settings.host, settings.port, ssl=settings.context
            )
        return made
