"""Connections to whichever node is the master of a project's slot, and a client that waits until there is one."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from redis import Redis, exceptions
from redis.connection import Connection, ConnectionPool, SSLConnection
from redis.crc import key_slot

from asof.backends.redis.online.topology import Asked, NotServed, Topology

if TYPE_CHECKING:
    from asof.backends.redis.online.topology import Address

_PATIENCE_S = 10.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.01, 0.2
_CODES: dict[type[exceptions.RedisError], str] = {
    exceptions.MovedError: "MOVED ",
    exceptions.AskError: "ASK ",
    exceptions.TryAgainError: "TRYAGAIN ",
    exceptions.ClusterDownError: "CLUSTERDOWN ",
    exceptions.MasterDownError: "MASTERDOWN ",
    exceptions.ReadOnlyError: "READONLY ",
    exceptions.BusyLoadingError: "LOADING ",
}
_STAYS = ("ASK ", "TRYAGAIN ")
_ELSEWHERE = ("CLUSTERDOWN ", "MASTERDOWN ", "READONLY ", "LOADING ")
# What scripts run into; each of ours meets it before it has written anything.
_WITHIN = ("non local key", "while the cluster is down")


class _Follows:
    """What both kinds of connections do besides: they connect to the master, and tell when it is another one."""

    topology: Topology
    slot: int
    fixed: Address | None = None
    host: str
    port: int
    socket_connect_timeout: Any

    def __init__(self, *, topology: Topology, slot: int, **options: Any) -> None:
        self.topology = topology
        self.slot = slot
        super().__init__(**options)

    @property
    def is_current(self) -> bool:
        """Whether it leads to the master: another connection may have found out that it is another node by now."""
        return self.fixed is not None or self.topology.is_master(self.slot, (self.host, self.port))

    def connect(self) -> None:
        """Connect, unless it is connected to who is the master."""
        if not self.is_current:
            self.disconnect()  # type: ignore[attr-defined] # it is the connection's
        super().connect()  # type: ignore[misc] # likewise

    def _connect(self) -> Any:
        within_s = self.socket_connect_timeout
        begun_s = time.monotonic()
        self.host, self.port = self.fixed or self.topology.master(self.slot, within_s)
        self.socket_connect_timeout = max(within_s - (time.monotonic() - begun_s), 0.001)
        try:
            return super()._connect()  # type: ignore[misc] # likewise
        except OSError as error:
            self.doubt()
            raise NotServed(f"{self.host}:{self.port} cannot be connected to: {error}") from error
        finally:
            self.socket_connect_timeout = within_s

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Read an answer; a refusal that another node may not give is an error of its own."""
        try:
            return super().read_response(*arguments, **options)  # type: ignore[misc] # likewise
        except (exceptions.ResponseError, exceptions.BusyLoadingError) as error:
            refused = self.refused(_CODES.get(type(error), "") + str(error))
            if refused is None:
                raise
            self.disconnect()  # type: ignore[attr-defined] # likewise
            raise refused from error
        except (exceptions.ConnectionError, exceptions.TimeoutError):
            self.doubt()
            raise

    def doubt(self) -> None:
        """Have it looked up again who the master is."""
        self.topology.doubt(self.slot, (self.host, self.port))

    def refused(self, text: str) -> NotServed | None:
        """Return what a refusal means for the cluster, or None if it is about the command."""
        if text.startswith("MOVED "):
            self.topology.moved(self.slot, self._address(text))
            return NotServed(text)
        if text.startswith("ASK "):
            return Asked(text, self._address(text))
        if text.startswith(_ELSEWHERE):
            self.doubt()
            return NotServed(text)
        if text.startswith(_STAYS) or any(part in text for part in _WITHIN):
            return NotServed(text)
        return None

    def _address(self, text: str) -> Address:
        host, _, port = text.split(" ")[2].rpartition(":")
        return host or self.host, int(port)


class MasterConnection(_Follows, Connection):
    """A connection to the master of a slot."""


class MasterTlsConnection(_Follows, SSLConnection):
    """The same, encrypted."""


class MasterClient(Redis):
    """A client of the master of a slot; it waits some seconds for one that serves."""

    def execute_command(self, *arguments: Any, **options: Any) -> Any:
        """Run a command on whoever is the master."""
        until_s = time.monotonic() + _PATIENCE_S
        tried = 0
        while True:
            try:
                return super().execute_command(*arguments, **options)  # type: ignore[no-untyped-call]
            except NotServed:
                pause_s = pause(tried)
                if time.monotonic() + pause_s >= until_s:
                    raise
                time.sleep(pause_s)
                tried += 1


def pause(tried: int) -> float:
    """Return for how many seconds to wait before the cluster is asked again, by chance."""
    return min(_FIRST_PAUSE_S * 2.0**tried, _LONGEST_PAUSE_S) * random.uniform(0.5, 1.0)  # noqa: S311 # no secret


def topology_of(client: Redis, seeds: tuple[Address, ...]) -> Topology:
    """Return the cluster of these nodes, each to be connected to as `client` would be."""
    kind, options = client.connection_pool.connection_class, client.connection_pool.connection_kwargs

    def connection(node: Address, within_s: float) -> Any:
        changed = {"host": node[0], "port": node[1], "socket_connect_timeout": within_s, "socket_timeout": within_s}
        return kind(**{**options, **changed})

    return Topology(seeds, connection)


def master_client(client: Redis, topology: Topology, key: bytes) -> Redis:
    """Return a client of the master that has a key, connected to as `client` would be."""
    pool = client.connection_pool
    options = {name: value for name, value in pool.connection_kwargs.items() if name not in ("host", "port", "db")}
    tls = issubclass(pool.connection_class, SSLConnection)
    kind = MasterTlsConnection if tls else MasterConnection
    return MasterClient.from_pool(
        ConnectionPool(connection_class=kind, topology=topology, slot=key_slot(key), **options)
    )
