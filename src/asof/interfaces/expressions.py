"""What evaluates the SQL expressions of on-demand views, for training rows and for requests alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa


class ExpressionEngine(Protocol):
    """Evaluates SQL expressions that `Scanner.check_expression` accepted. Safe to share between threads."""

    def evaluate(self, batch: pa.RecordBatch, expressions: Sequence[str]) -> list[pa.Array]:
        """Return one array per expression, a value per row of the batch, in its order.

        Raises:
            FeatureValueError: a value that an expression cannot take.
        """
        ...
