"""Redis or Valkey, as an online store and as a stream: `redis://host:port/db`, `rediss://` for TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asof.errors import ConfigError, UnsupportedOperationError

if TYPE_CHECKING:
    from pathlib import Path

    from asof.interfaces import OnlineStore, StreamBackend

__all__ = ["open_store", "open_stream"]


def open_store(url: str, root: Path) -> OnlineStore:
    """Open the server at `url` as an online store; nothing is connected before the first call.

    Args:
        url: `redis://host:port/db`, or `rediss://` for TLS, with options of redis-py and of Asof: `budget`, how long a
            read may take with all its tries; `cluster=true`, where nodes of a cluster are named, one or more with
            commas between; `replicas`, how many of them have a write before it is acknowledged. User and password are
            taken from `ASOF_REDIS_USERNAME` and `ASOF_REDIS_PASSWORD`.
        root: The project's directory; paths in options (`ssl_ca_certs`) are below it.

    Raises:
        ConfigError: the URL or an option cannot be used, or the client library is not installed.
    """
    try:
        from asof.backends.redis.online.store import RedisStore
        from asof.backends.redis.settings import parse
    except ModuleNotFoundError as error:
        raise _not_installed(error) from error
    return RedisStore(parse(url, root))


def open_stream(url: str, root: Path) -> StreamBackend:
    """Open the server at `url` as a stream; nothing is connected before a topic is consumed.

    Args:
        url: As for `open_store`; the options of Asof are `partitions`, the number of keys of each topic, and `lease`,
            how long a member may be silent.
        root: The project's directory; paths in options (`ssl_ca_certs`) are below it.

    Raises:
        ConfigError: the URL or an option cannot be used, or the client library is not installed.
        UnsupportedOperationError: it names a cluster.
    """
    try:
        from asof.backends.redis.settings import parse
        from asof.backends.redis.streams.stream import RedisStream
    except ModuleNotFoundError as error:
        raise _not_installed(error) from error
    settings = parse(url, root)
    if settings.cluster:
        raise UnsupportedOperationError(
            "Redis Streams are not read from a cluster",
            why="The keys of a topic would be with several masters",
            fix="Name a server outside of clusters for the stream; the online store may be a cluster.",
        )
    return RedisStream(settings)


def _not_installed(error: ModuleNotFoundError) -> ConfigError:
    if error.name not in ("redis", "hiredis"):
        raise error
    return ConfigError("Redis's client library is not installed", fix='Run `pip install "asof[redis]"`.')
