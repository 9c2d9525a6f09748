"""The blocking client: any number of threads may share one, and it survives a fork."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httptools

from asof.client.attempts import Attempts
from asof.client.connection import Pool
from asof.client.requests import online_call, push_call, ready_call, service_call, services_call
from asof.client.settings import Settings

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping, Sequence

    from asof.client.answers import Pushed, RemoteFeatures, Service
    from asof.client.arrow import ArrowFeatures
    from asof.client.requests import Call, Columns
    from asof.clock import Instant
    from asof.definitions.services import Consistency


class Client:
    """Reads features from a server, pushes rows to it, and says what services it has.

    Reads are tried again after lost connections and answers that say "not now" (429, 502, 503, 504), with jitter
    and within `timeout_s`; a push only where no connection could be made. Errors are those that the library
    raises for the same cause.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 5.0,
        connect_timeout_s: float = 1.0,
        retries: int = 2,
        idle: int = 16,
        tls: ssl.SSLContext | None = None,
        ca_file: str | None = None,
    ) -> None:
        """Make a client; it connects with its first call.

        Args:
            url: The server's, as "http://features.internal:6566"; a path goes before every path that is asked for.
            api_key: Sent as `Authorization: Bearer …`. Default: the environment variable ASOF_API_KEY, if set.
            headers: More headers for every request.
            timeout_s: How long one call may take, all tries together.
            connect_timeout_s: How long one try may take to connect.
            retries: How often a read is tried again.
            idle: How many idle connections are kept.
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
            idle=idle,
            tls=tls,
            ca_file=ca_file,
        )
        self._pool = Pool(self._settings)

    def get_online_features(
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
        """Return the features of entities, as `FeatureStore.get_online_features` does.

        Args:
            features: A service ("fraud", "fraud@2") or references ("spend:count_1h").
            keys: Per join key a list of values, as {"customer_id": [17, 42]}, or one mapping per entity.
            at: The instant of the read, not before the materialized one. Default: now.
            request: What on-demand views need besides, in the form of `keys`.
            consistency: "snapshot" or "latest". Default: the service's.
            partial: Answer although views cannot be read: their features are None, and `failures` says why.
            metadata: Bring statuses, event times and versions, too.
            arrow: Bring an Arrow stream, for thousands of keys; pyarrow is loaded when it is looked at.
            timeout_s: For this call.
            request_id: What logs on both sides know it by. Default: at random.

        Raises:
            AsofError: what the library raises for the same cause.
            ServerError: the server cannot be reached, or hung up.
            ServerTimeoutError: it did not answer in time.
        """
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
        found: RemoteFeatures | ArrowFeatures = self._do(call, timeout_s)
        return found

    def push(self, source: str, rows: Any, *, timeout_s: float | None = None, request_id: str | None = None) -> Pushed:
        """Take rows of a stream source in; when this returns they are durable, and reads show them.

        It is not tried again once the server may have seen it. Of a source with an `event_id` the same rows can be
        pushed again.

        Args:
            source: Its name.
            rows: A list of dicts, sent as JSON; or, sent as Arrow, a dict of columns, an Arrow table, a frame.
            timeout_s: For this call.
            request_id: What logs on both sides know it by. Default: at random.

        Raises:
            AsofError: what the library raises for the same cause.
            InputError: the server takes no rows, or they are no rows.
            ServerError, ServerTimeoutError: no answer; all of the rows were taken or none.
        """
        found: Pushed = self._do(push_call(self._settings, source, rows, request_id), timeout_s)
        return found

    def services(self, *, timeout_s: float | None = None, request_id: str | None = None) -> dict[str, int]:
        """Return the names of all services with their newest versions."""
        found: dict[str, int] = self._do(services_call(self._settings, request_id), timeout_s)
        return found

    def service(self, name: str, *, timeout_s: float | None = None, request_id: str | None = None) -> Service:
        """Return what a service ("fraud", "fraud@2") reads, with the versions that it is pinned to.

        Raises:
            NotFoundError: no such service or version.
        """
        found: Service = self._do(service_call(self._settings, name, request_id), timeout_s)
        return found

    def ready(self, *, timeout_s: float | None = None, request_id: str | None = None) -> dict[str, Any]:
        """Return the registry's revision that is served, and the views that are not materialized.

        Raises:
            AsofError: the registry or the online store does not answer.
        """
        found: dict[str, Any] = self._do(ready_call(self._settings, request_id), timeout_s)
        return found

    def close(self) -> None:
        """Close the idle connections."""
        self._pool.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _do(self, call: Call, timeout_s: float | None) -> Any:
        attempts = Attempts(self._settings, call, timeout_s)
        while True:
            connection = None
            try:
                connection = self._pool.take(attempts.left_s(), look=not call.safe)
                response = connection.exchange(call.message, attempts.deadline)
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
                if response.keep_alive:
                    self._pool.give(connection)
                else:
                    connection.close()
                if response.status == 200:
                    return attempts.result(response)
                pause = attempts.pause_after(response)
            time.sleep(pause)
