"""Turns a Redis URL and the environment into what the client is opened with, and what is ours in the URL."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from asof.durations import parse_duration
from asof.errors import ConfigError, DefinitionError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PATHS = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
_SECRETS = ("username", "password", "ssl_password")
_OURS = ("partitions", "lease", "budget", "cluster", "replicas")
_TIMEOUTS = ("socket_timeout", "socket_connect_timeout")
_SHAPE = 'Write "redis://host:6379/0".'


@dataclass(frozen=True)
class Settings:
    """What the URL and the environment say.

    Attributes:
        url: For the client, without options of ours and without secrets.
        where: Names the server in messages.
        username: For an ACL user.
        password: For it, or for the default user.
        partitions: How many keys a topic has: itself, or `topic.0`, `topic.1` and so on.
        lease_ms: How long a member of a group keeps its partitions without a sign of life.
        budget_s: How long a read of the online store may take, with all its tries.
        cluster: Whether the server is a node of a cluster.
        nodes: The nodes that the URL names; one without a cluster.
        replicas: How many replicas have a write to the online store before it is acknowledged.
    """

    url: str
    where: str
    username: str | None
    password: str | None
    partitions: int
    lease_ms: int
    budget_s: float
    cluster: bool
    nodes: tuple[tuple[str, int], ...]
    replicas: int

    def connect(self, *, connect_s: float, reply_s: float) -> Redis:
        """Return a client that tries nothing twice: whether that is safe, only its caller knows.

        Args:
            connect_s: How long it may take to connect, and
            reply_s: how long the server may be silent, unless the URL says otherwise.

        Raises:
            ConfigError: the client refuses an option.
        """
        try:
            client = Redis.from_url(
                self.url,
                username=self.username,
                password=self.password,
                socket_connect_timeout=connect_s,
                socket_timeout=reply_s,
                protocol=2,
                retry=Retry(NoBackoff(), 0),
            )
            new_connection(client)  # it checks the options
        except (TypeError, ValueError) as error:
            raise _refused(str(error)) from error
        return client


def new_connection(client: Redis) -> Any:
    """Return a connection as those of the client, not opened yet, and not counted among them."""
    pool = client.connection_pool
    return pool.connection_class(**pool.connection_kwargs)


def parse(url: str, root: Path, environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings for `url`; paths of certificates in it are below `root`.

    Raises:
        ConfigError: it names no server, holds a secret or a wrong option.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss") or not parts.netloc or parts.fragment:
        raise ConfigError("The URL does not name a Redis server", fix=_SHAPE)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "@" in parts.netloc or not options.keys().isdisjoint(_SECRETS):
        raise ConfigError(
            "A Redis URL holds no user or password",
            why="Definitions and settings are meant to be shared",
            fix="Set the environment variables ASOF_REDIS_USERNAME and ASOF_REDIS_PASSWORD.",
        )
    nodes = tuple(_node(text) for text in parts.netloc.split(","))
    cluster = _is_cluster(options.get("cluster", "false"), parts.path, len(nodes))
    for name in _TIMEOUTS:
        if (text := options.get(name)) is not None and not _seconds(text):
            raise _refused(f"{name} is {text!r}")
    for name in _PATHS:
        if name in options and not (root / options[name]).exists():
            raise ConfigError(
                f"{name} in a Redis URL names no file",
                why=f"There is no {root / options[name]}",
                fix="Correct the path: it is below the project's directory.",
            )
    rest = {
        name: str(root / value) if name in _PATHS else value for name, value in options.items() if name not in _OURS
    }
    return Settings(
        url=urlunsplit(parts._replace(netloc=parts.netloc.split(",")[0], query=urlencode(rest))),
        where=",".join(f"{host}:{port}" for host, port in nodes),
        username=environment.get("ASOF_REDIS_USERNAME") or None,
        password=environment.get("ASOF_REDIS_PASSWORD") or None,
        partitions=_number("partitions", options.get("partitions", "1"), 1, 1024),
        lease_ms=_duration_ms("lease", options.get("lease", "30s"), at_least_ms=1000, example="30s"),
        budget_s=_duration_ms("budget", options.get("budget", "2s"), at_least_ms=1, example="500ms") / 1000,
        cluster=cluster,
        nodes=nodes,
        replicas=_number("replicas", options.get("replicas", "0"), 0, 16),
    )


def _node(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    try:
        host, port = parts.hostname, parts.port or 6379
    except ValueError as error:
        raise ConfigError("The port in a Redis URL is no number", why=str(error), fix=_SHAPE) from error
    if not host:
        raise ConfigError("The URL does not name a Redis server", fix=_SHAPE)
    return host, port


def _is_cluster(text: str, path: str, nodes: int) -> bool:
    if text not in ("true", "false"):
        raise ConfigError(f"cluster in a Redis URL is {text!r}", fix='Write "true", or leave it out.')
    if text == "false" and nodes > 1:
        raise ConfigError(
            f"A Redis URL names {nodes} servers",
            why="Only the nodes of a cluster are several servers that hold one store",
            fix='Write "redis://host:6379,host:6380/?cluster=true", or name one server.',
        )
    if text == "true" and path not in ("", "/", "/0"):
        raise ConfigError(
            f"A Redis URL names database {path[1:]!r} of a cluster",
            why="A cluster has one database, 0",
            fix="Leave it out; projects are apart by their names.",
        )
    return text == "true"


def _number(name: str, text: str, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise ConfigError(f"{name} in a Redis URL is {text!r}", fix=f"Write a number from {least} to {most}.")
    return int(text)


def _duration_ms(name: str, text: str, *, at_least_ms: int, example: str) -> int:
    fix = f'Write "{example}".'
    try:
        found_ms = parse_duration(text, name) // 1000
    except DefinitionError as error:
        raise ConfigError(f"{name} in a Redis URL is no duration", why=str(error), fix=fix) from error
    if found_ms < at_least_ms:
        least = "one second" if at_least_ms == 1000 else f"{at_least_ms} ms"
        raise ConfigError(f"{name} in a Redis URL is {text!r}", why=f"It is at least {least}", fix=fix)
    return found_ms


def _seconds(text: str) -> bool:
    try:
        return 0 < float(text) < float("inf")
    except ValueError:
        return False


def _refused(why: str) -> ConfigError:
    return ConfigError("An option of the Redis URL cannot be used", why=why, fix="Use options of redis-py.")
