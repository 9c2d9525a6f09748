"""A registry and an online store that can only be read, whatever stands behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asof.errors import UnsupportedOperationError

if TYPE_CHECKING:
    from asof.interfaces import OnlineStore, Registry

_STORE = frozenset({"read", "in_snapshot", "converse", "generations", "close", "in_process", "circuit"})
_REGISTRY = frozenset({"revision", "snapshot", "revisions", "runs", "close"})


class ReadOnly:
    """Passes what reads on to another object, and refuses the rest."""

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


def read_only_registry(registry: Registry) -> Any:
    """Return a registry that refuses to be written."""
    return ReadOnly(registry, _REGISTRY, "The registry")


def read_only_store(store: OnlineStore) -> Any:
    """Return an online store that refuses to be written."""
    return ReadOnly(store, _STORE, "The online store")
