"""Streams from Redis or Valkey: `redis://host:port/db?partitions=4`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from asof.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from asof.interfaces import StreamBackend

__all__ = ["open_stream"]


def open_stream(url: str, root: Path) -> StreamBackend:
    """Open the server at `url`; nothing is connected before a topic is consumed.

    Args:
        url: `redis://host:port/db`, or `rediss://` for TLS, with options of redis-py and of Asof: `partitions`, the
            number of keys of each topic, and `lease`, how long a member may be silent. User and password are taken
            from `ASOF_REDIS_USERNAME` and `ASOF_REDIS_PASSWORD`.
        root: The project's directory; paths in options (`ssl_ca_certs`) are below it.

    Raises:
        ConfigError: the URL or an option cannot be used, or the client library is not installed.
    """
    try:
        from asof.backends.redis_streams.settings import parse
        from asof.backends.redis_streams.stream import RedisStream
    except ModuleNotFoundError as error:
        if error.name != "redis":
            raise
        raise ConfigError("Redis's client library is not installed", fix='Run `pip install "asof[redis]"`.') from error
    return RedisStream(parse(url, root, os.environ))
