"""Where the server is and how it is asked: address, headers, TLS, the time a call may take, and when to try again."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from asof.errors import ConfigError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

FIRST_PAUSE_S = 0.025
LONGEST_PAUSE_S = 1.0
TRIED_AGAIN = frozenset({429, 502, 503, 504})
"""HTTP statuses that say that the server, or what is in front of it, could not answer just now."""


@dataclass(frozen=True)
class Settings:
    """How one client asks.

    Attributes:
        url: The server's, for messages.
        prefix: What goes before every path.
        context: For TLS; None without.
        head: Header lines that every request has, each with its line end.
        timeout_s: How long one call may take, all tries and pauses together.
        connect_timeout_s: How long one try may take to connect.
        retries: How often a read is tried again.
        idle: How many idle connections are kept.
    """

    url: str
    host: str
    port: int
    prefix: str
    context: ssl.SSLContext | None
    head: bytes
    timeout_s: float
    connect_timeout_s: float
    retries: int
    idle: int

    @classmethod
    def make(
        cls,
        url: str,
        *,
        api_key: str | None,
        headers: Mapping[str, str] | None,
        timeout_s: float,
        connect_timeout_s: float,
        retries: int,
        idle: int,
        tls: ssl.SSLContext | None,
        ca_file: str | None,
    ) -> Settings:
        """Return the settings of a client.

        Raises:
            ConfigError: the URL, a header or a number is not usable.
        """
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError as error:
            raise _no_url(url, str(error)) from error
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise _no_url(url, "It is not the http:// or https:// address of a server")
        if parts.username is not None or parts.password is not None:
            raise _no_url(parts.scheme + "://…", "It holds a password, which would end up in logs")
        if not (timeout_s > 0 and connect_timeout_s > 0 and retries >= 0 and idle >= 0):
            raise ConfigError(
                "A timeout or a number of tries is not usable", fix="Give timeouts above 0, numbers from 0."
            )
        key = os.environ.get("ASOF_API_KEY", "") if api_key is None else api_key
        lines = {"Host": parts.netloc, "User-Agent": "asof", **(headers or {})}
        if key:
            lines["Authorization"] = f"Bearer {key}"
        secure = parts.scheme == "https"
        return cls(
            url.rstrip("/"),
            parts.hostname,
            port or (443 if secure else 80),
            parts.path.rstrip("/"),
            _context(tls, ca_file) if secure else None,
            b"".join(_line(name, text) for name, text in lines.items()),
            timeout_s,
            connect_timeout_s,
            retries,
            idle,
        )

    @staticmethod
    def pause_s(tries: int, asked_s: float) -> float:
        """Return how long to wait after so many failed tries: at random, so that clients do not come back together.

        Args:
            tries: How many failed.
            asked_s: What the server asked for; never less than that.
        """
        longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (tries - 1))
        return asked_s + random.uniform(0, longest)  # noqa: S311 - no secret


def _context(tls: ssl.SSLContext | None, ca_file: str | None) -> ssl.SSLContext:
    if tls is not None:
        return tls
    import ssl

    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise ConfigError(
            f"The certificates in {ca_file!r} cannot be read", why=str(error), fix="Give a file in PEM format."
        ) from error


def _line(name: str, text: str) -> bytes:
    if not (name and text.isascii() and name.isascii()) or any(c < " " or c == "\x7f" for c in name + text):
        # The text may be a secret, so it is not shown.
        raise ConfigError(f"The header {name!r} is not usable", fix="Write printable ASCII on one line.")
    return f"{name}: {text}\r\n".encode()


def _no_url(url: str, why: str) -> ConfigError:
    return ConfigError(f"{url!r} is no server's address", why=why, fix='Write "http://features.internal:6566".')
