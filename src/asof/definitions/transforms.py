"""Row transforms: columns that a view computes from its source's, row by row, before anything else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from asof.definitions.names import check_name
from asof.errors import DefinitionError


@dataclass(frozen=True, init=False, eq=False)
class RowTransform:
    """A Python function that adds columns to batches of a source's rows.

    It is called with batches of any size, and must give each row what it would give it alone: same length, same
    order, nothing remembered between calls. It is stored as its import path and a hash of its source, so it must stand
    at the top of a module; another body is a new version of the view.

    Attributes:
        function: Takes a batch with the source's columns, NaN as null; returns a frame or a mapping with the outputs.
        outputs: Name and dtype of every column that it adds.
        frame: What it takes and gives: "arrow" (`pyarrow.Table`) or "polars" (`polars.DataFrame`).
    """

    function: Callable[[Any], Any]
    outputs: tuple[tuple[str, str], ...]
    frame: Literal["arrow", "polars"]

    def __init__(
        self,
        function: Callable[[Any], Any],
        *,
        outputs: Mapping[str, str],
        frame: Literal["arrow", "polars"] = "arrow",
    ) -> None:
        """Wrap a function with the columns that it adds, as {"net": "float64"}.

        Raises:
            DefinitionError: no outputs, a wrong name, or a frame that is neither arrow nor polars.
        """
        if not callable(function):
            raise DefinitionError(f"A row transform is given {function!r}", fix="Give a function of a batch.")
        if not outputs or not isinstance(outputs, Mapping):
            raise DefinitionError(
                "A row transform adds no columns", fix='Name them with their types: outputs={"net": "float64"}.'
            )
        if frame not in ("arrow", "polars"):
            raise DefinitionError(f"A row transform takes frame {frame!r}", fix='Say "arrow" or "polars".')
        object.__setattr__(self, "function", function)
        object.__setattr__(self, "outputs", tuple((check_name("Column", n), dtype) for n, dtype in outputs.items()))
        object.__setattr__(self, "frame", frame)


def check_select(view: str, select: Mapping[str, str] | None, transform: object) -> tuple[tuple[str, str], ...]:
    """Return pairs of column name and SQL expression.

    Raises:
        DefinitionError: not a mapping of names to expressions, or a column that the transform gives as well.
    """
    if transform is not None and not isinstance(transform, RowTransform):
        raise DefinitionError(
            f"View {view!r} has transform {transform!r}",
            fix='Write transform=RowTransform(function, outputs={"net": "float64"}).',
        )
    pairs = select if select is not None else {}
    if not isinstance(pairs, Mapping) or not all(isinstance(sql, str) and sql.strip() for sql in pairs.values()):
        raise DefinitionError(
            f"View {view!r} has a select that is not a mapping of names to SQL expressions",
            fix='Write select={"net": "amount - fee"}.',
        )
    given = {name for name, _ in transform.outputs} if transform is not None else set()
    for name in pairs:
        if check_name("Column", name) in given:
            raise DefinitionError(
                f"View {view!r} computes column {name!r} twice", why="In select and in transform", fix="Rename one."
            )
    return tuple(pairs.items())
