"""The contract of a transformer: runs batch sources over their inputs, and publishes each interval's rows at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from typing import Any

    from asof.interfaces.scanner import Rejected
    from asof.plan.batch import Interval
    from asof.plan.specs import SourceSpec

    Function = Callable[..., Any]


class BatchInputs(Protocol):
    """The inputs of one batch source, read once for all of its intervals; safe to share between threads."""

    @property
    def versions(self) -> Mapping[str, str]:
        """What was read, by input: a table's version, or how many files and a fingerprint of them."""
        ...

    @property
    def rejected(self) -> Mapping[str, Rejected]:
        """The rows of each input that cannot be used."""
        ...

    def publish(self, interval: Interval) -> int:
        """Run one interval over the rows that could be known at its end + delay, and replace what it published before.

        The rows are there whole or not at all. Equal inputs give equal bytes.

        Returns:
            How many rows were published.

        Raises:
            DefinitionError: the function failed.
            SchemaError: the rows do not have the declared columns.
            StoreError: the rows cannot be written, or the function met an error of the system; StoreFullError: the
                disk is full.
        """
        ...

    def cancel(self) -> None:
        """Stop what runs in other threads; their calls end with an error."""
        ...


class Transformer(Protocol):
    """Runs batch sources. Errors: `SourceError`, `SchemaError` where inputs cannot be read."""

    def published(self, source: SourceSpec) -> list[int]:
        """Return the starts of the intervals that are published with this meaning, sorted, in microseconds."""
        ...

    def open(self, source: SourceSpec, function: Function | None) -> AbstractContextManager[BatchInputs]:
        """Read the inputs of a batch source; `function` is what its spec refers to, if it does."""
        ...
