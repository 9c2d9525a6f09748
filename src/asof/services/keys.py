"""API keys: how they are made, and who a key stands for."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import TYPE_CHECKING

from asof.errors import UnauthenticatedError
from asof.interfaces.access import KeyRecord
from asof.plan.access import Principal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asof.plan.access import Grant

PREFIX = "asof_"
_SECRET_BYTES = 32
_KEY = re.compile(r"asof_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_NOBODY = "0" * 64


def make_key(name: str, grant: Grant, *, now_us: int, expires_us: int | None, who: str) -> tuple[str, KeyRecord]:
    """Return a new key, which is not kept anywhere, and what is stored of it.

    Its secret has 256 random bits, so one SHA-256 is enough: a slow hash protects what people can remember.
    """
    public = secrets.token_hex(6)
    key = f"{PREFIX}{public}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    return key, KeyRecord(public, name, _digest(key), grant, now_us, who, expires_us)


def verify_key(key: str, known: dict[str, KeyRecord], now_us: int) -> Principal:
    """Return whom a key stands for; a wrong one takes as long as a right one, and all are refused in the same words.

    Raises:
        UnauthenticatedError: it is none, or was revoked, or has expired.
    """
    match = _KEY.fullmatch(key)
    record = known.get(match[1]) if match else None
    right = hmac.compare_digest(_digest(key), record.digest if record is not None else _NOBODY)
    if record is None or not right or not record.valid_at(now_us):
        raise UnauthenticatedError(
            "The API key is not valid",
            why="It is wrong, was revoked, or has expired",
            fix="Ask an administrator of the project for a new one: `asof key create`.",
        )
    return Principal(f"key:{record.id} ({record.name})", (record.grant,), record.expires_us)


def by_id(keys: Iterable[KeyRecord]) -> dict[str, KeyRecord]:
    """Return keys by their public part."""
    return {key.id: key for key in keys}


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
