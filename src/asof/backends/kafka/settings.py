"""Turns a Kafka URL and the environment into the client's properties."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from asof.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ENVIRONMENT = "ASOF_KAFKA_"
_SERVER = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\])(?::\d{1,5})?")
_SECRET = re.compile(r"password|secret|\.pem$|sasl\.username|sasl\.oauthbearer\.config|client\.assertion")
_PATHS = re.compile(r"\.location$|\.keytab$")
_OURS = {
    "enable.auto.commit": "false",
    "enable.auto.offset.store": "false",
    "auto.offset.reset": "error",
    "enable.partition.eof": "true",
    "partition.assignment.strategy": "cooperative-sticky",
    "isolation.level": "read_committed",
    "allow.auto.create.topics": "false",
}
_REFUSED = frozenset({*_OURS, "bootstrap.servers", "metadata.broker.list", "group.id", "group.protocol"})
# What was fetched ahead of a poll waits in the client: 32 MiB instead of 64 MiB, and new partitions are seen in 30 s
# instead of 5 minutes.
_DEFAULTS = {
    "client.id": "asof",
    "queued.max.messages.kbytes": "32768",
    "fetch.max.bytes": "16777216",
    "topic.metadata.refresh.interval.ms": "30000",
}


def parse(url: str, root: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the properties of librdkafka for `url`, without a group; those in the environment replace those in it.

    Raises:
        ConfigError: it names no servers, holds a secret, or an option that Asof sets itself.
    """
    parts = urlsplit(url)
    servers = [server for server in parts.netloc.split(",") if server]
    if parts.scheme != "kafka" or not servers or parts.path not in ("", "/") or parts.fragment:
        raise ConfigError("The URL does not name Kafka servers", fix='Write "kafka://host:9092,host:9092".')
    if "@" in parts.netloc:
        raise ConfigError(
            "A Kafka URL holds no user or password",
            why="Definitions and settings are meant to be shared",
            fix=f"Set the environment variables {ENVIRONMENT}SASL_USERNAME and {ENVIRONMENT}SASL_PASSWORD.",
        )
    for server in servers:
        if not _SERVER.fullmatch(server):
            raise ConfigError(f"{server!r} is no Kafka server", fix='Write "kafka://host:9092,host:9092".')
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options:
        if _SECRET.search(name):
            raise ConfigError(
                f"{name} stands in a Kafka URL",
                why="Definitions and settings are meant to be shared",
                fix=f"Set the environment variable {ENVIRONMENT}{name.upper().replace('.', '_')}.",
            )
    given = options | _from_environment(environment)
    for name in given.keys() & _REFUSED:
        raise ConfigError(
            f"The Kafka option {name} is not yours to set",
            why="Positions are kept with the state that they produced, never with the broker",
            fix="Leave it out.",
        )
    located = {name: str(root / value) if _PATHS.search(name) else value for name, value in given.items()}
    return {**_DEFAULTS, **located, **_OURS, "bootstrap.servers": ",".join(servers)}


def _from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name.removeprefix(ENVIRONMENT).lower().replace("_", "."): value
        for name, value in environment.items()
        if name.startswith(ENVIRONMENT) and value
    }
