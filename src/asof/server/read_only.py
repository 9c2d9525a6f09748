"""A registry and an online store that can only be read, whatever stands behind them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec

from asof.errors import UnsupportedOperationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asof.interfaces import OnlineStore, Registry
    from asof.interfaces.access import AccessStore, AuditRecord

_audit = logging.getLogger("asof.audit")

_STORE = frozenset({"read", "in_snapshot", "converse", "generations", "close", "in_process", "circuit"})
_REGISTRY = frozenset({"revision", "snapshot", "revisions", "runs", "close"})


class ReadOnly:
    """Passes what reads on to another object, and refuses the rest."""

    access: Callable[[], Any]

    def __init__(self, behind: OnlineStore | Registry, allowed: frozenset[str], what: str) -> None:
        """Stand before an object.

        Args:
            behind: The object.
            allowed: The names of what reads.
            what: Names it in messages.
        """
        self._behind = behind
        self._what = what
        for name in allowed:
            if hasattr(behind, name):
                setattr(self, name, getattr(behind, name))

    def __getattr__(self, name: str) -> Any:
        """Refuse what does not read.

        Raises:
            UnsupportedOperationError: the object behind can do that, but here nobody may.
            AttributeError: it cannot either.
        """
        if name.startswith("_") or not hasattr(self._behind, name):
            raise AttributeError(name)
        raise UnsupportedOperationError(
            f"{self._what} was opened to be read only",
            why=f"{name} would write",
            fix="Start the server without --read-only.",
        )


class LoggedAudit:
    """The keys of a registry that is not written, for whose audit log records become lines of the process's own log."""

    def __init__(self, behind: AccessStore) -> None:
        """Read keys from `behind`."""
        self.all_keys = behind.all_keys
        _audit.setLevel(logging.INFO)

    def append(self, records: Sequence[AuditRecord]) -> None:
        """Log records, a JSON object each."""
        for record in records:
            _audit.info(msgspec.json.encode(record).decode())


def read_only_registry(registry: Registry) -> Any:
    """Return a registry that refuses to be written; what its audit log would hold is logged by `asof.audit`."""
    guarded = ReadOnly(registry, _REGISTRY, "The registry")
    guarded.access = lambda: LoggedAudit(registry.access())
    return guarded


def read_only_store(store: OnlineStore) -> Any:
    """Return an online store that refuses to be written."""
    return ReadOnly(store, _STORE, "The online store")
