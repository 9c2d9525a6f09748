"""What the registry needs of a database, whichever product it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import sqlalchemy as sa


class Database(Protocol):
    """Connections to one database, and what its errors mean to a user."""

    @property
    def name(self) -> str:
        """Names it in messages."""
        ...

    @property
    def shared(self) -> bool:
        """Whether other projects can reach it."""
        ...

    def transaction(self, *, writes: bool = False, flushed: bool = True) -> AbstractContextManager[sa.Connection]:
        """Run the body in one transaction, committed at its end and rolled back on any error; maps driver errors.

        Args:
            writes: Whether it writes. Those that do follow one another; those that do not see one instant.
            flushed: Whether it must outlive a power failure the moment it ends, not only the death of this process.

        Raises:
            ConflictError: a row is there already.
            StoreError, StoreFullError, CorruptDataError, ConfigError: what the database refused.
        """
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...
