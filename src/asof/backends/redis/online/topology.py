"""Knows which node of a cluster is the master of a slot, and finds it again after moves and failovers."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from redis import exceptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Address = tuple[str, int]

_NODE_S = 1.0
_FIRM = (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.NoPermissionError)


class NotServed(exceptions.ConnectionError):
    """A node refused a command without having run it, or could not be connected to: asking again is always safe."""


class Asked(NotServed):
    """What is asked for is with another node already, which gets the rest of the slot."""

    def __init__(self, text: str, address: Address) -> None:
        """Remember where it is."""
        super().__init__(text)
        self.address = address


class NotACluster(exceptions.RedisError):
    """The server is no node of a cluster."""


class Topology:
    """Who the masters are. It holds no connection and no lock, so that threads and forks may share it."""

    def __init__(self, seeds: Sequence[Address], connection: Callable[[Address, float], Any]) -> None:
        """Begin with what the URL names.

        Args:
            seeds: Nodes to ask first.
            connection: Makes a connection to a node, not opened yet, that gives up after so many seconds.
        """
        self._seeds = tuple(seeds)
        self._connection = connection
        self._nodes: set[Address] = set()
        self._masters: dict[int, Address] = {}
        self._doubted: dict[int, Address] = {}

    def master(self, slot: int, within_s: float) -> Address:
        """Return the master of a slot, as far as is known; nodes are asked if nothing is, or it is in doubt.

        Raises:
            NotServed: no node that answers knows one.
            NotACluster: the server is none of a cluster.
            AuthenticationError: a node refuses the login; likewise the other errors of logins.
        """
        known = self._masters.get(slot)
        if known is None or slot in self._doubted:
            known = self._masters[slot] = self._found(slot, self._doubted.pop(slot, None), within_s)
        return known

    def is_master(self, slot: int, address: Address) -> bool:
        """Return whether this is the master, as far as is known."""
        return self._masters.get(slot) == address and slot not in self._doubted

    def moved(self, slot: int, address: Address) -> None:
        """Take a node's word for it that another one is the master."""
        self._masters[slot] = address
        self._doubted.pop(slot, None)

    def doubt(self, slot: int, address: Address) -> None:
        """Look again before the next connection: this master did not answer, or says that it is none."""
        if self._masters.get(slot) == address:
            self._doubted[slot] = address

    def _found(self, slot: int, doubted: Address | None, within_s: float) -> Address:
        """Return the first answer that differs from who is in doubt, or that one if no node knows better."""
        until_s = time.monotonic() + within_s
        nodes = list({*self._seeds, *self._nodes})
        random.shuffle(nodes)
        nodes.sort(key=lambda node: node == doubted)
        found: Address | None = None
        last: exceptions.RedisError | None = None
        for node in nodes:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                break
            try:
                shards = list(self._shards(node, min(left_s, _NODE_S)))
            except _FIRM:
                raise
            except exceptions.ResponseError as error:
                if "cluster support disabled" in str(error):
                    raise NotACluster(str(error)) from error
                last = error
                continue
            except (exceptions.ConnectionError, exceptions.TimeoutError) as error:
                last = error
                continue
            self._nodes = {address for _, _, addresses in shards for address in addresses}
            masters = [addresses[0] for start, stop, addresses in shards if start <= slot <= stop and addresses]
            found = masters[0] if masters else found
            if found is not None and found != doubted:
                return found
        if found is None:
            raise NotServed(str(last) if last else f"No node knows who serves slot {slot}") from last
        return found

    def _shards(self, node: Address, within_s: float) -> Iterator[tuple[int, int, list[Address]]]:
        """Give what a node knows: first and last slot, and who has them, the master first."""
        connection = self._connection(node, within_s)
        try:
            connection.connect()
            connection.send_command("CLUSTER", "SLOTS")
            answer = connection.read_response(disable_decoding=True)
        finally:
            connection.disconnect()
        for start, stop, *members in answer:
            hosts = [(text(host) or node[0], int(port)) for host, port, *_ in members]
            yield int(start), int(stop), [address for address in hosts if address[0] != "?"]


def text(host: bytes | str | None) -> str:
    """Return the name of a host as a node gives it; empty where it is the one that was asked."""
    return host.decode() if isinstance(host, bytes) else host or ""
