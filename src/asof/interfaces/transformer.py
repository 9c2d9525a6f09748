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

    def publish(self, interval: Interval, record: Callable[[int], None]) -> None:
        """Run one interval over the rows that could be known at its end + delay, and replace what it published before.

        With a lookback it sees of these only the ones that `plan.batch.seen` tells. The rows are there whole or not at
        all. Equal inputs give equal bytes.

        Args:
            interval: Lies within the span that the inputs were opened for.
            record: Called with the number of rows when they are written, just before they are there to be read; what
                it raises is raised, and nothing is published.

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

    def open(
        self, source: SourceSpec, function: Function | None, within: Interval
    ) -> AbstractContextManager[BatchInputs]:
        """Read what runs of intervals within a span can see of the inputs of a batch source.

        Args:
            source: The batch source.
            function: What its spec refers to, if it does.
            within: From the start of the first interval to the end of the last.
        """
        ...
