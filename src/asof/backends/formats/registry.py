"""A client of a schema registry: schemas by id, each fetched once."""

from __future__ import annotations

import base64
import json
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from asof.errors import ConfigError, StreamError, StreamRefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMEOUT_S = 10.0
_HEADER_BYTES = 5
_FIX = "Check the registry's URL, and that it is up and can be reached from here."


class UnreadableMessageError(Exception):
    """One message cannot be read: its bytes, or the schema that it names, are of no use."""


class SchemaRegistry:
    """Answers by id; ids stand for one schema for ever, so none is fetched twice."""

    def __init__(self, url: str, environment: Mapping[str, str]) -> None:
        """Keep the address.

        Raises:
            ConfigError: the URL is none, or holds a password.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ConfigError("The URL does not name a schema registry", fix='Write "http://registry:8081".')
        if "@" in parts.netloc:
            raise ConfigError(
                "The URL of a schema registry holds no user or password",
                why="Definitions and settings are meant to be shared",
                fix="Set ASOF_SCHEMA_REGISTRY_USERNAME and ASOF_SCHEMA_REGISTRY_PASSWORD.",
            )
        self._url = url.rstrip("/")
        self._headers = {"Accept": "application/vnd.schemaregistry.v1+json, application/json"}
        if user := environment.get("ASOF_SCHEMA_REGISTRY_USERNAME"):
            secret = f"{user}:{environment.get('ASOF_SCHEMA_REGISTRY_PASSWORD', '')}".encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(secret).decode()}"
        self._known: dict[str, str] = {}
        self._useless: dict[str, UnreadableMessageError] = {}

    def begin(self) -> None:
        """Begin a batch: a schema that was not there, or of no use, is asked for once more."""
        self._useless.clear()

    def schema(self, schema_id: int, kind: str, *, serialized: bool = False) -> str:
        """Return the text of a schema.

        Args:
            schema_id: From a message's header.
            kind: AVRO or PROTOBUF.
            serialized: Ask for a Protobuf schema as a FileDescriptorProto in base64, instead of its source.

        Raises:
            UnreadableMessageError: there is none of that id and kind.
            StreamError: the registry cannot be reached or refuses the request.
        """
        path = f"/schemas/ids/{schema_id}" + ("?format=serialized" if serialized else "")
        if path in self._useless:
            raise self._useless[path]
        if path not in self._known:
            try:
                self._known[path] = self._checked(self._get(path, schema_id), schema_id, kind)
            except UnreadableMessageError as error:
                self._useless[path] = error
                raise
        return self._known[path]

    def _get(self, path: str, schema_id: int) -> dict[str, Any]:
        request = Request(self._url + path, headers=self._headers)  # noqa: S310 - http or https, checked above
        what = f"Schema {schema_id} cannot be fetched from {self._url}"
        try:
            with urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310 - likewise
                body: dict[str, Any] = json.load(response)
                return body
        except HTTPError as error:
            with error:
                if error.code == 404:
                    raise UnreadableMessageError(f"The registry has no schema {schema_id}") from error
                if error.code in (401, 403):
                    fix = "Check ASOF_SCHEMA_REGISTRY_USERNAME and ASOF_SCHEMA_REGISTRY_PASSWORD."
                    raise StreamRefusedError(what, why=f"HTTP {error.code}", fix=fix) from error
                raise StreamError(what, why=f"HTTP {error.code}", fix=_FIX) from error
        except URLError as error:
            raise StreamError(what, why=str(error.reason), fix=_FIX) from error
        except (OSError, ValueError, HTTPException) as error:
            raise StreamError(what, why=str(error), fix=_FIX) from error

    def _checked(self, body: dict[str, Any], schema_id: int, kind: str) -> str:
        found = body.get("schemaType", "AVRO")
        if found != kind:
            raise UnreadableMessageError(f"Schema {schema_id} is {found}, not {kind}")
        if body.get("references"):
            raise UnreadableMessageError(f"Schema {schema_id} refers to other schemas, which is not supported")
        return str(body.get("schema", ""))


def split_header(value: bytes) -> tuple[int, bytes]:
    """Return the schema's id and what follows the header.

    Raises:
        UnreadableMessageError: the message has no such header.
    """
    if len(value) < _HEADER_BYTES or value[0] != 0:
        raise UnreadableMessageError("The message does not begin with a schema registry's header")
    return int.from_bytes(value[1:_HEADER_BYTES]), value[_HEADER_BYTES:]
