"""A real Redis Cluster of three masters, one of them with a replica, whose nodes can be killed and given slots."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import redis
from redis.crc import key_slot

from tests.servers.processes import free_ports
from tests.servers.redis import RedisServer, serving

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

_PATIENCE_S = 60.0
_LAST = 16383


@dataclass(frozen=True)
class Node:
    """A node that runs, or ran."""

    server: RedisServer
    bus: int
    process: subprocess.Popen[bytes]
    tls: int | None = None

    def ask(self, *command: Any) -> Any:
        """Return the answer to a command."""
        with redis.Redis(self.server.host, self.server.port, protocol=2, socket_timeout=10) as client:
            return client.execute_command(*command)

    @property
    def id(self) -> str:
        """How the others call it."""
        return bytes(self.ask("CLUSTER", "MYID")).decode()


class RedisCluster:
    """Three masters; the one that has project `shop` has a replica, which takes its place when it dies."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes
        self.slot = key_slot(b"asof:{shop}:views")
        third = self.slot * 3 // (_LAST + 1)
        self.owner, self.replica = nodes[third], nodes[3]
        self.others = [node for node in nodes[:3] if node is not self.owner]

    @property
    def url(self) -> str:
        """Its URL as an online store: two nodes that do not have the project."""
        named = ",".join(f"{node.server.host}:{node.tls or node.server.port}" for node in self.others)
        return f"{'redis' if self.owner.tls is None else 'rediss'}://{named}/?cluster=true&budget=20s"

    def join(self) -> None:
        """Make one cluster of the nodes, and wait until all of them know it."""
        for number, node in enumerate(self.nodes[:3]):
            lowest, last = -(-number * (_LAST + 1) // 3), -(-(number + 1) * (_LAST + 1) // 3) - 1
            node.ask("CLUSTER", "ADDSLOTSRANGE", lowest, last)
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            first = self.nodes[0]
            node.ask("CLUSTER", "MEET", first.server.host, first.tls or first.server.port, first.bus)
        until(lambda: all(b"cluster_known_nodes:4" in info(node) for node in self.nodes))
        owner = self.owner.id
        until(lambda: owner.encode() in self.replica.ask("CLUSTER", "NODES"))
        self.replica.ask("CLUSTER", "REPLICATE", owner)
        until(lambda: all(b"cluster_state:ok" in info(node) for node in self.nodes))
        until(self.is_replicated)

    def is_replicated(self) -> bool:
        """Return whether the replica follows its master, and all nodes know that it does."""
        owner = self.owner.id
        return self.replica.ask("ROLE")[3] == b"connected" and all(
            len(node.ask("CLUSTER", "REPLICAS", owner)) == 1 for node in self.nodes
        )

    def clear(self) -> None:
        """Forget all keys."""
        for node in self.nodes[:3]:
            node.ask("FLUSHALL")

    def keys(self, node: Node) -> list[bytes]:
        """Return the project's keys that a node has."""
        found: list[bytes] = node.ask("CLUSTER", "GETKEYSINSLOT", self.slot, 10_000)
        return found

    def begin_move(self, source: Node, target: Node) -> None:
        """Begin to give the project's slot away."""
        target.ask("CLUSTER", "SETSLOT", self.slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", self.slot, "MIGRATING", target.id)

    def move(self, source: Node, target: Node, keys: list[bytes]) -> None:
        """Move keys."""
        source.ask("MIGRATE", target.server.host, target.server.port, "", 0, 10_000, "KEYS", *keys)

    def end_move(self, target: Node) -> None:
        """Let the slot be the other node's."""
        for node in (target, *(node for node in self.nodes[:3] if node is not target)):
            node.ask("CLUSTER", "SETSLOT", self.slot, "NODE", target.id)


def info(node: Node) -> bytes:
    """Return what a node says of the cluster."""
    found: bytes = node.ask("CLUSTER", "INFO")
    return found if isinstance(found, bytes) else "\r\n".join(f"{k}:{v}" for k, v in found.items()).encode()


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    until_s = time.monotonic() + _PATIENCE_S
    while not holds():
        assert time.monotonic() < until_s, "the cluster did not come to that"
        time.sleep(0.02)


@contextmanager
def redis_cluster_processes(
    directory: Path, timeout_ms: int, certificate: tuple[str, str] | None = None
) -> Iterator[RedisCluster]:
    """Run a cluster of four nodes.

    Args:
        directory: Where they may write.
        timeout_ms: They take one for dead that is silent for so long.
        certificate: That of all nodes, which signs itself, and its key; then they speak TLS with each other, too.
    """
    ports = free_ports(12)
    with ExitStack() as running:
        nodes = []
        for port, bus, tls in zip(ports[:4], ports[4:8], ports[8:], strict=True):
            home = directory / str(port)
            home.mkdir()
            server = RedisServer("127.0.0.1", port)
            options = {
                "cluster-enabled": "yes",
                "cluster-port": str(bus),
                "cluster-node-timeout": str(timeout_ms),
                "cluster-replica-validity-factor": "0",
                "cluster-allow-replica-migration": "no",
                "repl-diskless-sync-delay": "0",
            }
            if certificate is not None:
                crt, key = certificate
                options |= {"tls-port": str(tls), "tls-cluster": "yes", "tls-replication": "yes"}
                options |= {"tls-cert-file": crt, "tls-key-file": key, "tls-ca-cert-file": crt}
                options |= {"tls-auth-clients": "no"}
            flags = [part for name, value in options.items() for part in (f"--{name}", value)]
            process = running.enter_context(serving(server, home, *flags))
            nodes.append(Node(server, bus, process, tls if certificate else None))
        cluster = RedisCluster(nodes)
        cluster.join()
        yield cluster
