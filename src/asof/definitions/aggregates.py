"""Aggregates over windows of events, as constructors that all give one frozen record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asof.definitions.names import check_name, check_tags
from asof.definitions.windows import LIFETIME, Window, as_window
from asof.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta

    Windows = Iterable[str | timedelta | Window]

NUMERIC_INPUT = frozenset({"sum", "mean", "stddev", "variance", "percentile"})
COUNTS = frozenset({"count", "count_distinct", "approx_count_distinct"})
LISTS = frozenset({"first_n", "last_n", "top_k"})
GROUPED = frozenset({"count", "sum", "mean", "stddev", "variance", "min", "max", "first", "last"})
_MAX_N = 1000


@dataclass(frozen=True)
class Aggregate:
    """One aggregate over one column, for one or more windows; each window becomes a feature.

    Attributes:
        function: The aggregate's name in semantics and names: sum, count_distinct, last_n, …
        column: The input column; None counts rows.
        windows: At least one.
        where: A SQL predicate on the source's columns; rows where it is not true do not count.
        default: Replaces null.
        name: Replaces `<column>_<function>` in the feature's name.
        n: How many values first_n, last_n and top_k give.
        quantile: Which quantile percentile gives, between 0 and 1.
        by: A column of the source, the secondary key: the feature is a map from each of its values that has an input
            in the window to the aggregate of those events, ascending by key. Events whose `by` is null do not count.
        description: For people.
        tags: Free labels; those of personal data mask the features.
    """

    function: str
    column: str | None
    windows: tuple[Window, ...]
    where: str | None = None
    default: Any = None
    name: str | None = None
    n: int | None = None
    quantile: float | None = None
    description: str = ""
    by: str | None = None
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "tags", check_tags("aggregate", self.function, self.tags))
        what = f"{self.function} of {self.column}" if self.column else self.function
        if not self.windows:
            raise DefinitionError(f"The aggregate {what} has no window", fix='Write windows=["1h", "30d"].')
        if len(set(self.windows)) != len(self.windows):
            raise DefinitionError(f"The aggregate {what} names a window twice", fix="Name each window once.")
        if self.where is not None and not self.where.strip():
            raise DefinitionError(f"The aggregate {what} has an empty where", fix="Write a predicate or leave it out.")
        if self.name is not None:
            check_name("Feature", self.name)
        if self.n is not None and not 1 <= self.n <= _MAX_N:
            raise DefinitionError(f"The aggregate {what} has n={self.n}", fix=f"Give n from 1 to {_MAX_N}.")
        if self.quantile is not None and not 0 <= self.quantile <= 1:
            raise DefinitionError(
                f"The aggregate {what} has quantile {self.quantile}", fix="Give a quantile from 0 to 1, as 0.95."
            )
        if self.by is not None:
            self._check_by(what)

    def _check_by(self, what: str) -> None:
        if not isinstance(self.by, str) or not self.by:
            raise DefinitionError(f"The aggregate {what} is grouped by {self.by!r}", fix="Name a column of the source.")
        if self.function not in GROUPED:
            raise DefinitionError(
                f"The aggregate {what} cannot be grouped by {self.by!r}",
                why=f"By a secondary key there are {', '.join(sorted(GROUPED))}",
                fix="Use one of these, or make the column a join key of an entity of its own.",
            )
        if self.default is not None:
            raise DefinitionError(
                f"The aggregate {what} by {self.by!r} has a default",
                why="Its values are maps, and maps take no default",
                fix="Leave the default out; an empty window is null, of a count an empty map.",
            )

    def feature_name(self, window: Window) -> str:
        """Return the name of the feature that this aggregate gives over `window`: amount_sum_30d, count_by_shop_1h."""
        return f"{self.name or self._base_name()}_{window.label}"

    def _base_name(self) -> str:
        function = self.function
        if self.n is not None:
            function = {"first_n": "first", "last_n": "last", "top_k": "top"}[function] + str(self.n)
        elif self.quantile is not None:
            function = f"p{self.quantile * 100:g}".replace(".", "_")
        whole = f"{self.column}_{function}" if self.column else function
        return whole if self.by is None else f"{whole}_by_{self.by}"


def _aggregate(
    function: str, column: str | None, windows: Windows | str | timedelta | Window, **rest: Any
) -> Aggregate:
    if column is not None and (not isinstance(column, str) or not column):
        raise DefinitionError(f"The aggregate {function} has column {column!r}", fix="Name a column of the source.")
    many = [windows] if isinstance(windows, str | Window) or not hasattr(windows, "__iter__") else list(windows)
    return Aggregate(function, column, tuple(as_window(window) for window in many), **rest)


def Count(
    column: str | None = None,
    *,
    windows: Windows,
    where: str | None = None,
    default: Any = None,
    name: str | None = None,
    description: str = "",
    tags: Iterable[str] = (),
    by: str | None = None,
) -> Aggregate:
    """Events in the window; with a column, those where it is not null. Empty window: 0."""
    return _aggregate(
        "count", column, windows, where=where, default=default, name=name, description=description, tags=tags, by=by
    )


def Sum(
    column: str,
    *,
    windows: Windows,
    where: str | None = None,
    default: Any = None,
    name: str | None = None,
    description: str = "",
    tags: Iterable[str] = (),
    by: str | None = None,
) -> Aggregate:
    """Sum: exact, floats rounded once; an integer sum beyond 64 bits is an error. Empty window: null."""
    return _aggregate(
        "sum", column, windows, where=where, default=default, name=name, description=description, tags=tags, by=by
    )


def Mean(
    column: str,
    *,
    windows: Windows,
    where: str | None = None,
    default: Any = None,
    name: str | None = None,
    description: str = "",
    tags: Iterable[str] = (),
    by: str | None = None,
) -> Aggregate:
    """Arithmetic mean, as float64. Empty window: null."""
    return _aggregate(
        "mean", column, windows, where=where, default=default, name=name, description=description, tags=tags, by=by
    )


def Min(
    column: str,
    *,
    windows: Windows,
    where: str | None = None,
    default: Any = None,
    name: str | None = None,
    description: str = "",
    tags: Iterable[str] = (),
    by: str | None = None,
) -> Aggregate:
    """Smallest value. Empty window: null."""
    return _aggregate(
        "min", column, windows, where=where, default=default, name=name, description=description, tags=tags, by=by
    )


def Max(
    column: str,
    *,
    windows: Windows,
    where: str | None = None,
    default: Any = None,
    name: str | None = None,
    description: str = "",
    tags: Iterable[str] = (),
    by: str | None = None,
) -> Aggregate:
    """Largest value. Empty window: null."""
    return _aggregate(
        "max", column, windows, where=where, default=default, name=name, description=description, tags=tags, by=by
    )


def Stddev(
    column: str,
    *,
    windows: Windows,
    where: str | None = None,
    default: Any = None,
    name: str | None = None,
    description: str = "",
    tags: Iterable[str] = (),
    by: str | None = None,
) -> Aggregate:
    """Sample standard deviation. Fewer than two values: null."""
    return _aggregate(
        "stddev", column, windows, where=where, default=default, name=name, description=description, tags=tags, by=by
    )


def Variance(
    column: str,
    *,
    windows: Windows,
    where: str | None = None,
    default: Any = None,
    name: str | None = None,
    description: str = "",
    tags: Iterable[str] = (),
    by: str | None = None,
) -> Aggregate:
    """Sample variance. Fewer than two values: null."""
    return _aggregate(
        "variance", column, windows, where=where, default=default, name=name, description=description, tags=tags, by=by
    )


def First(
    column: str,
    *,
    windows: Windows = (LIFETIME,),
    where: str | None = None,
    default: Any = None,
    name: str | None = None,
    description: str = "",
    tags: Iterable[str] = (),
    by: str | None = None,
) -> Aggregate:
    """Earliest value by (event time, ingest order). Empty window: null."""
    return _aggregate(
        "first", column, windows, where=where, default=default, name=name, description=description, tags=tags, by=by
    )


def Last(
    column: str,
    *,
    windows: Windows = (LIFETIME,),
    where: str | None = None,
    default: Any = None,
    name: str | None = None,
    description: str = "",
    tags: Iterable[str] = (),
    by: str | None = None,
) -> Aggregate:
    """Latest value by (event time, ingest order). Empty window: null."""
    return _aggregate(
        "last", column, windows, where=where, default=default, name=name, description=description, tags=tags, by=by
    )


def FirstN(
    column: str,
    n: int,
    *,
    windows: Windows = (LIFETIME,),
    where: str | None = None,
    default: Any = None,
    name: str | None = None,
    description: str = "",
    tags: Iterable[str] = (),
    by: str | None = None,
) -> Aggregate:
    """The `n` earliest values, earliest first, as a list. Empty window: null."""
    return _aggregate(
        "first_n",
        column,
        windows,
        where=where,
        default=default,
        name=name,
        description=description,
        tags=tags,
        n=n,
        by=by,
    )


def LastN(
    column: str,
    n: int,
    *,
    windows: Windows = (LIFETIME,),
    where: str | None = None,
    default: Any = None,
    name: str | None = None,
    description: str = "",
    tags: Iterable[str] = (),
    by: str | None = None,
) -> Aggregate:
    """The `n` latest values, oldest first, as a list. Empty window: null."""
    return _aggregate(
        "last_n",
        column,
        windows,
        where=where,
        default=default,
        name=name,
        description=description,
        tags=tags,
        n=n,
        by=by,
    )


def CountDistinct(
    column: str,
    *,
    windows: Windows,
    where: str | None = None,
    default: Any = None,
    name: str | None = None,
    description: str = "",
    tags: Iterable[str] = (),
    by: str | None = None,
) -> Aggregate:
    """Distinct non-null values, exactly. Empty window: 0."""
    return _aggregate(
        "count_distinct",
        column,
        windows,
        where=where,
        default=default,
        name=name,
        description=description,
        tags=tags,
        by=by,
    )


def ApproxCountDistinct(
    column: str,
    *,
    windows: Windows,
    where: str | None = None,
    default: Any = None,
    name: str | None = None,
    description: str = "",
    tags: Iterable[str] = (),
    by: str | None = None,
) -> Aggregate:
    """Distinct non-null values by HyperLogLog, standard error 1.6%. Empty window: 0."""
    return _aggregate(
        "approx_count_distinct",
        column,
        windows,
        where=where,
        default=default,
        name=name,
        description=description,
        tags=tags,
        by=by,
    )


def Percentile(
    column: str,
    quantile: float,
    *,
    windows: Windows,
    where: str | None = None,
    default: Any = None,
    name: str | None = None,
    description: str = "",
    tags: Iterable[str] = (),
    by: str | None = None,
) -> Aggregate:
    """The value at `quantile`, within 1/128 of its magnitude. Empty window: null."""
    return _aggregate(
        "percentile",
        column,
        windows,
        where=where,
        default=default,
        name=name,
        description=description,
        tags=tags,
        quantile=quantile,
        by=by,
    )


def TopK(
    column: str,
    n: int,
    *,
    windows: Windows,
    where: str | None = None,
    default: Any = None,
    name: str | None = None,
    description: str = "",
    tags: Iterable[str] = (),
    by: str | None = None,
) -> Aggregate:
    """The `n` most frequent values as a list, ties by value, ascending. Empty window: null."""
    return _aggregate(
        "top_k",
        column,
        windows,
        where=where,
        default=default,
        name=name,
        description=description,
        tags=tags,
        n=n,
        by=by,
    )
