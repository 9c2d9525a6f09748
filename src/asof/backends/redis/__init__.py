"""The online store on Redis or Valkey: `redis://host:port/db`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from asof.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from asof.backends.redis.store import RedisStore

__all__ = ["open_store"]

_PATHS = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
_SECRETS = ("username", "password", "ssl_password")
_CONNECT_S = "5"
_REPLY_S = "5"


def open_store(url: str, root: Path) -> RedisStore:
    """Open the server at `url`; nothing is connected before the first call.

    Args:
        url: `redis://host:port/db`, or `rediss://` for TLS, with options of redis-py. User and password are taken from
            `ASOF_REDIS_USERNAME` and `ASOF_REDIS_PASSWORD`.
        root: The project's directory; paths in options (`ssl_ca_certs`) are below it.

    Raises:
        ConfigError: the URL or an option cannot be used, or the client library is not installed.
    """
    try:
        from redis import Redis

        from asof.backends.redis.store import RedisStore
    except ModuleNotFoundError as error:
        if error.name != "redis":
            raise
        raise ConfigError("Redis's client library is not installed", fix='Run `pip install "asof[redis]"`.') from error
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.scheme not in ("redis", "rediss") or not parts.hostname or parts.fragment:
        raise ConfigError("The URL does not name a Redis server", fix='Write "redis://host:6379/0".')
    if "@" in parts.netloc or not options.keys().isdisjoint(_SECRETS):
        raise ConfigError(
            "The URL of a Redis store holds a user or password",
            why="Settings are meant to be shared",
            fix="Set the environment variables ASOF_REDIS_USERNAME and ASOF_REDIS_PASSWORD.",
        )
    options = {name: str(root / value) if name in _PATHS else value for name, value in options.items()}
    options.setdefault("socket_connect_timeout", _CONNECT_S)
    options.setdefault("socket_timeout", _REPLY_S)
    try:
        client = Redis.from_url(
            urlunsplit(parts._replace(query=urlencode(options))),
            username=os.environ.get("ASOF_REDIS_USERNAME") or None,
            password=os.environ.get("ASOF_REDIS_PASSWORD") or None,
        )
    except (TypeError, ValueError) as error:
        raise ConfigError(
            "An option of the Redis URL cannot be used", why=str(error), fix="Use options of redis-py."
        ) from error
    return RedisStore(client, f"{parts.hostname}:{parts.port or 6379}")
