"""Turns a Redis URL and the environment into the client's options and those of the streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from asof.durations import parse_duration
from asof.errors import ConfigError, DefinitionError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PATHS = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
_SECRETS = ("username", "password", "ssl_password")
_SHAPE = 'Write "redis://host:6379/0".'


@dataclass(frozen=True)
class Settings:
    """What the URL and the environment say.

    Attributes:
        url: For the client, without options of ours and without secrets.
        username: For an ACL user.
        password: For it, or for the default user.
        partitions: How many keys a topic has: itself, or `topic.0`, `topic.1` and so on.
        lease_ms: How long a member keeps its partitions without a sign of life.
    """

    url: str
    username: str | None
    password: str | None
    partitions: int
    lease_ms: int


def parse(url: str, root: Path, environment: Mapping[str, str]) -> Settings:
    """Return the settings for `url`.

    Raises:
        ConfigError: it names no server, holds a secret or a wrong option.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname or parts.fragment:
        raise ConfigError("The URL does not name a Redis server", fix=_SHAPE)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "@" in parts.netloc or not options.keys().isdisjoint(_SECRETS):
        raise ConfigError(
            "The URL of a Redis stream holds no user or password",
            why="Definitions and settings are meant to be shared",
            fix="Set the environment variables ASOF_REDIS_USERNAME and ASOF_REDIS_PASSWORD.",
        )
    partitions = options.pop("partitions", "1")
    if not partitions.isdecimal() or not 1 <= int(partitions) <= 1024:
        raise ConfigError(f"partitions in a Redis URL is {partitions!r}", fix="Write a number from 1 to 1024.")
    lease_ms = _lease(options.pop("lease", "30s"))
    options = {name: str(root / value) if name in _PATHS else value for name, value in options.items()}
    return Settings(
        url=urlunsplit(parts._replace(query=urlencode(options))),
        username=environment.get("ASOF_REDIS_USERNAME") or None,
        password=environment.get("ASOF_REDIS_PASSWORD") or None,
        partitions=int(partitions),
        lease_ms=lease_ms,
    )


def _lease(text: str) -> int:
    try:
        lease_ms = parse_duration(text, "lease") // 1000
    except DefinitionError as error:
        raise ConfigError("lease in a Redis URL is no duration", why=str(error), fix='Write "30s".') from error
    if lease_ms < 1000:
        raise ConfigError(f"lease in a Redis URL is {text!r}", why="It is at least one second", fix='Write "30s".')
    return lease_ms
