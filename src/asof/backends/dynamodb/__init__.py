"""The online store on Amazon DynamoDB: `dynamodb://table?region=eu-west-1`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from asof.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from asof.backends.dynamodb.store import DynamoStore

__all__ = ["open_store"]

_TABLE = re.compile(r"[A-Za-z0-9_.-]{3,255}")
_OPTIONS = ("region", "endpoint", "create", "timeout")
_TIMEOUT_S = 5.0
_TRUE = {"true": True, "false": False}


def open_store(url: str, root: Path) -> DynamoStore:
    """Open the table that `url` names; nothing is connected before the first call.

    Args:
        url: `dynamodb://table`, with the options `region`, `endpoint` (the URL of another server that speaks DynamoDB's
            protocol), `create=true` (make the table where there is none, paid per request) and `timeout` (seconds that
            one request may take; default: 5). Credentials are found where AWS's own tools find them: the environment,
            a role of the machine or the container.
        root: The project's directory.

    Raises:
        ConfigError: the URL or an option cannot be used, or the client library is not installed.
    """
    del root
    try:
        from asof.backends.dynamodb.connection import Connection
        from asof.backends.dynamodb.store import DynamoStore
    except ModuleNotFoundError as error:
        if error.name not in ("boto3", "botocore"):
            raise
        raise ConfigError(
            "DynamoDB's client library is not installed", fix='Run `pip install "asof[dynamodb]"`.'
        ) from error
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "@" in parts.netloc:
        raise ConfigError(
            "The URL of a DynamoDB store holds a login",
            why="Settings are meant to be shared",
            fix="Set the environment variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.",
        )
    if parts.scheme != "dynamodb" or not _TABLE.fullmatch(parts.netloc) or parts.path or parts.fragment:
        raise ConfigError(f"{url!r} does not name a DynamoDB table", fix='Write "dynamodb://table?region=eu-west-1".')
    unknown = sorted(options.keys() - set(_OPTIONS))
    if unknown:
        raise ConfigError(f"The DynamoDB URL has no option {unknown[0]!r}", fix=f"Options are {', '.join(_OPTIONS)}.")
    try:
        create, timeout_s = _TRUE[options.get("create", "false")], float(options.get("timeout", _TIMEOUT_S))
    except (KeyError, ValueError) as error:
        raise ConfigError(
            "An option of the DynamoDB URL cannot be used",
            why=f"create is {options.get('create')!r}, timeout is {options.get('timeout')!r}",
            fix="Give create=true or create=false, and timeout in seconds.",
        ) from error
    if not 0 < timeout_s <= 3600:
        raise ConfigError("The timeout of the DynamoDB URL is no time to wait", fix="Give seconds, as timeout=5.")
    connection = Connection(
        parts.netloc,
        region=options.get("region") or None,
        endpoint=options.get("endpoint") or None,
        create=create,
        timeout_s=timeout_s,
    )
    return DynamoStore(connection)
