"""The contract of what access needs of a registry: API keys as hashes, and a log to which one can only append."""

from __future__ import annotations

import hashlib
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from asof.plan.access import Grant, Principal


@dataclass(frozen=True)
class KeyRecord:
    """An API key as it is stored; instants are microseconds since the epoch.

    Attributes:
        id: Public part of the key.
        name: What it is for.
        digest: SHA-256 of the whole key, in hex.
        grant: What it allows.
        expires_us: None: never.
        revoked_us: None: it was not revoked.
    """

    id: str
    name: str
    digest: str
    grant: Grant
    created_us: int
    created_by: str
    expires_us: int | None = None
    revoked_us: int | None = None

    def valid_at(self, now_us: int) -> bool:
        """Return whether it was neither revoked nor has expired."""
        return self.revoked_us is None and (self.expires_us is None or now_us < self.expires_us)


@dataclass(frozen=True)
class AuditRecord:
    """What somebody did, or was not allowed to do.

    Attributes:
        at_us: When; of several reads written as one, the first.
        who: The principal.
        action: As `asof.plan.access.Action` has it.
        what: The resource: service:fraud, view:spend, key:3fa9, project.
        outcome: allowed, denied or failed.
        count: How many times; changes are written one by one.
        keys: Entities that were read.
        until_us: Of the last of them.
        detail: In words, or empty.
    """

    at_us: int
    who: str
    action: str
    what: str
    outcome: str = "allowed"
    count: int = 1
    keys: int = 0
    until_us: int = 0
    detail: str = ""


@dataclass(frozen=True)
class Chained:
    """A record as it is in the log.

    Attributes:
        number: 1 for the first record, without gaps.
        hash: SHA-256 over the hash before it, the number and the record, in hex.
    """

    number: int
    record: AuditRecord
    hash: str


def chain_hash(before: str, number: int, record: AuditRecord) -> str:
    """Return the hash of a record that follows one with the hash `before`, "" for the first."""
    return hashlib.sha256(msgspec.json.encode((before, number, *astuple(record)))).hexdigest()


class AccessStore(Protocol):
    """Keys and the audit log of one project. Errors: `StoreError`, `ConflictError`, `CorruptDataError`."""

    def all_keys(self) -> list[KeyRecord]:
        """Return all keys, revoked and expired ones too, in the order of their making."""
        ...

    def add_key(self, key: KeyRecord) -> None:
        """Store a new key.

        Raises:
            ConflictError: there is one of that id.
        """
        ...

    def revoke_key(self, id: str, at_us: int) -> bool:
        """Revoke a key; return whether there is one of that id. One that was revoked before keeps its time."""
        ...

    def append(self, records: Sequence[AuditRecord]) -> None:
        """Append to the log, each record chained to the one before, in one transaction."""
        ...

    def audit(
        self, *, who: str | None = None, what: str | None = None, since_us: int | None = None, limit: int = 100
    ) -> list[Chained]:
        """Return the newest records, newest first; `who` and `what` match a part of the text."""
        ...

    def chain(self) -> Iterator[Chained]:
        """Yield every record, oldest first."""
        ...


class TokenVerifier(Protocol):
    """Checks tokens that somebody else issued."""

    def verify(self, token: str, now_us: int) -> Principal:
        """Return whom a token names, with the grants that rules give to its claims.

        Raises:
            UnauthenticatedError: it is no token, or one that is forged, expired, or meant for another service.
            StoreError: the issuer's keys cannot be had.
        """
        ...
