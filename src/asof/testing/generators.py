"""Hypothesis strategies for whole cases (source, views, rows, questions) over domains so tiny that everything collides.

Two or three keys, seven instants and windows of a few microseconds: nearly every row meets a window's edge, a tie, a
duplicate or a retraction, which larger domains almost never do. Needs hypothesis, which the library itself does not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from asof.clock import from_us
from asof.definitions import Aggregate, Entity, EventView, Feature, FileSource, Source, StateView, Window
from asof.definitions.aggregates import GROUPED
from asof.definitions.windows import LIFETIME

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pyarrow as pa

    from asof.definitions import FeatureView

    Row = dict[str, Any]
    Question = tuple[tuple[Any, ...], int]

ORIGINS = (0, 1_700_000_000_000_000, -86_400_000_000)
"""Where the seven instants lie: around the epoch (so before it, too), in 2023, in 1969."""

PREDICATES: Mapping[str, Callable[[Mapping[str, Any]], object]] = {
    "i > 0": lambda row: None if row["i"] is None else row["i"] > 0,
    "s = 'a'": lambda row: None if row["s"] is None else row["s"] == "a",
    "f < 2": lambda row: None if row["f"] is None else row["f"] < 2,
    "f >= 0": lambda row: None if row["f"] is None else row["f"] >= 0,
    "s IS NOT NULL AND NOT b": lambda row: row["s"] is not None and row["b"] is False,
}
"""Predicates in SQL, and in Python: true, false, or None for unknown."""

DERIVED_PREDICATES: Mapping[str, Callable[[Mapping[str, Any]], object]] = {
    "x > 0": lambda row: None if row["x"] is None else row["x"] > 0,
    "y <> 'aa' AND z": lambda row: row["z"] and (None if row["y"] is None else row["y"] != "aa"),
}
"""Predicates over the columns of SELECTED."""

SELECTS: Mapping[str, Callable[[Mapping[str, Any]], object]] = {
    "CASE WHEN b THEN -f ELSE f END": lambda row: None if row["f"] is None else -row["f"] if row["b"] else row["f"],
    "s || 'a'": lambda row: None if row["s"] is None else row["s"] + "a",
    "coalesce(i, 0) % 2 = 0": lambda row: (row["i"] or 0) % 2 == 0,
}
"""Expressions in SQL, and in Python; the columns x, y and z that a case's views may select, in this order."""

SELECTED = dict(zip("xyz", SELECTS, strict=True))
"""The columns that views with a select add, with their expressions."""

EXPRESSIONS = {**PREDICATES, **DERIVED_PREDICATES, **SELECTS}
"""All SQL that cases with a select may hold."""

_ASKED = (*range(-4, 8), *range(0, 5), 60)
_ASKED = (*range(-4, 8), *range(-1, 5), *range(0, 4), 60)
_KEYS = (1, 1, 1, 1, 1, 1, 1, 2, 2, 3, None)
_PALETTES: dict[str, tuple[tuple[Any, ...], ...]] = {
    "f": (
        (0.1, 0.2, 0.3, float("nan")),
        (0.0, -0.0),
        (float("inf"), float("-inf"), 1.0),
        (1e308, -1e308, 1e16, 1.0, 5e-324),
    ),
    "i": ((0, 1, 2, -1), (7, 7, 7, 3), (2**63 - 1, 2**63 - 1, -(2**63), 5)),
    "d": ((Decimal("0.00"), Decimal("0.01"), Decimal("-3.05")), (Decimal("99999999.99"), Decimal("1.10"))),
    "s": (("", "a", "b"), ("a", "aa", "é")),
    "b": ((True, False),),
    "w": ((from_us(0), from_us(1)), (from_us(1_700_000_000_000_000), from_us(-5), from_us(0))),
}
_NUMBERS = ("f", "i", "d", "b")
_SECONDARY_KEYS = ("s", "s", "s", "i", "b", "w", "g")
_DEFAULTS: dict[str, Any] = {
    "f": 0.5,
    "i": -9,
    "d": Decimal("7.00"),
    "s": "none",
    "b": True,
    "w": from_us(5),
}
_FUNCTIONS = (
    *("count", "sum", "mean", "min", "max", "stddev", "variance", "first", "last", "first_n", "last_n"),
    *("count_distinct", "approx_count_distinct", "percentile", "top_k"),
)
_NUMERIC = frozenset({"sum", "mean", "stddev", "variance", "percentile"})
_WINDOWS = (
    *(Window("1us", hop="1us"), Window("2us", hop="1us"), Window("2us", hop="2us"), Window("3us", hop="3us")),
    *(Window("4us", hop="2us"), Window("6us", hop="3us"), Window("6us", hop="2us"), Window("5us", hop="5us")),
)


@dataclass(frozen=True)
class StateDraft:
    """A state view without its source."""

    name: str
    features: tuple[Feature, ...]
    ttl: timedelta | None
    where: str | None
    select: Mapping[str, str] | None = None

    def build(self, entity: Entity, source: Source) -> StateView:
        """Return the view over `source`."""
        return StateView(
            self.name,
            entity=entity,
            source=source,
            features=self.features,
            ttl=self.ttl,
            where=self.where,
            select=self.select,
        )


@dataclass(frozen=True)
class EventDraft:
    """An event view without its source."""

    name: str
    aggregates: tuple[Aggregate, ...]
    where: str | None
    select: Mapping[str, str] | None = None

    def build(self, entity: Entity, source: Source) -> EventView:
        """Return the view over `source`."""
        return EventView(
            self.name, entity=entity, source=source, features=self.aggregates, where=self.where, select=self.select
        )


@dataclass(frozen=True)
class Case:
    """One source, the views on it, and questions about them.

    Attributes:
        entity: Keyed by the column k, or by k and g.
        roles: Keyword arguments of a source: which column is which.
        drafts: State views and event views, with distinct names.
        rows: In ingest order, with the columns of `row_schema`.
        questions: Join key values and instant in microseconds; any order, with repeats and unknown keys.
        materialized_at: An instant at or before which some rows are known.
    """

    entity: Entity
    roles: dict[str, Any]
    drafts: tuple[StateDraft | EventDraft, ...]
    rows: list[Row]
    questions: list[Question]
    materialized_at: int

    def source(self, path: str = "rows.parquet") -> FileSource:
        """Return the source, its rows in a file."""
        return FileSource("rows", path=path, **self.roles)

    def views(self, source: Source | None = None) -> list[FeatureView]:
        """Return the views over `source`, by default the one of `source()`."""
        chosen = source or self.source()
        return [draft.build(self.entity, chosen) for draft in self.drafts]

    def later_questions(self) -> list[Question]:
        """Return the questions, those before `materialized_at` moved to that instant."""
        return [(key, max(t, self.materialized_at)) for key, t in self.questions]


def row_schema() -> pa.Schema:
    """Return the Arrow schema of a case's rows."""
    import pyarrow as pa

    time = pa.timestamp("us", "UTC")
    columns = {"k": pa.int64(), "g": pa.string(), "ts": time, "known": time, "id": pa.int64(), "gone": pa.bool_()}
    values = {"f": pa.float64(), "i": pa.int64(), "d": pa.decimal128(10, 2), "s": pa.string(), "b": pa.bool_()}
    return pa.schema({**columns, **values, "w": time})


def rows_table(rows: list[Row]) -> pa.Table:
    """Return rows as an Arrow table."""
    import pyarrow as pa

    return pa.Table.from_pylist(rows, schema=row_schema())


@st.composite
def cases(draw: st.DrawFn, *, quarantine: bool = False, select: bool = False, by: bool = False) -> Case:
    """Draw a case.

    Args:
        draw: Given by hypothesis.
        quarantine: Whether some rows lack a time, an id or a key.
        select: Whether some views compute columns of their own; the oracle then needs EXPRESSIONS.
        by: Whether some aggregates are grouped by a secondary key.
    """
    origin = draw(st.sampled_from(ORIGINS))
    composite = draw(st.integers(0, 2)) == 2
    palette = {column: draw(st.sampled_from(choices)) for column, choices in _PALETTES.items()}
    row = _rows(origin, palette, quarantine)
    key = st.tuples(st.sampled_from(_KEYS), st.sampled_from(("a", "a", "a", "a", "a", "b", "b", None)))
    instant = st.sampled_from(_ASKED).map(origin.__add__)
    asked = st.tuples(key.map(lambda pair: pair if composite else pair[:1]), instant)
    events = _event_drafts()
    if by:
        events = events.flatmap(_grouping)
    one_view = st.one_of(events, events, _state_drafts())
    if select:
        one_view = st.one_of(one_view, one_view.flatmap(_selecting))
    drafts = draw(st.lists(one_view, min_size=1, max_size=3))
    return Case(
        Entity("thing", join_keys={"k": "int64", "g": "string"} if composite else {"k": "int64"}),
        draw(_roles()),
        tuple(replace(draft, name=f"v{number}") for number, draft in enumerate(drafts)),
        draw(_many(row, 16)),
        draw(_many(asked, 12)),
        origin + draw(st.sampled_from((5, *range(-3, 5)))),
    )


def _many(one: st.SearchStrategy[Any], most: int) -> st.SearchStrategy[list[Any]]:
    """Return lists that are rarely empty; hypothesis itself prefers short ones."""
    sizes = st.sampled_from((*range(most // 2, most), *range(most)))
    return sizes.flatmap(lambda size: st.lists(one, min_size=size, max_size=size))


@st.composite
def _roles(draw: st.DrawFn) -> dict[str, Any]:
    roles: dict[str, Any] = {"event_time": "ts"}
    known = draw(st.sampled_from(("column", "column", "delay", "event time")))
    if known == "column":
        roles["available_at"] = "known"
    elif known == "delay":
        roles["delay"] = timedelta(microseconds=draw(st.integers(1, 3)))
    identity = draw(st.sampled_from(("none", "id", "id and deleted", "id and deleted")))
    if identity != "none":
        roles["event_id"] = "id"
    if identity == "id and deleted":
        roles["deleted"] = "gone"
    return roles


@st.composite
def _rows(draw: st.DrawFn, origin: int, palette: dict[str, tuple[Any, ...]], quarantine: bool) -> Row:
    ts = draw(st.integers(-3, 3))
    row: Row = {
        "k": draw(st.sampled_from((1, 1, 1, 1, 1, 2))),
        "g": draw(st.sampled_from(("a", "a", "a", "a", "a", "b"))),
        "ts": from_us(origin + ts),
        "known": from_us(origin + ts + draw(st.sampled_from((0, 0, 1, 1, 2, 3, 5, -1, -3)))),
        "id": draw(st.integers(0, 9)),
        "gone": draw(st.sampled_from((*[False] * 8, True, None))),
    }
    for column, values in palette.items():
        row[column] = draw(st.sampled_from((*values, *values, None)))
    if quarantine and draw(st.booleans()):
        row[draw(st.sampled_from(("k", "g", "ts", "known", "id")))] = None
    return row


@st.composite
def _state_drafts(draw: st.DrawFn) -> StateDraft:
    columns = draw(st.lists(st.sampled_from(sorted(_PALETTES)), min_size=1, max_size=4, unique=True))
    features = tuple(
        Feature(f"{column}_now", column, default=_DEFAULTS[column] if draw(st.booleans()) else None)
        for column in columns
    )
    ttl = draw(st.sampled_from((None, *(timedelta(microseconds=age) for age in (1, 2, 4)))))
    return StateDraft("s", features, ttl, draw(_predicates(2)))


@st.composite
def _event_drafts(draw: st.DrawFn) -> EventDraft:
    """Draw a few aggregates over any columns, or every aggregate that one column can have."""
    if draw(st.integers(0, 2)):
        column = draw(st.sampled_from(("f", "f", "f", "i", *_PALETTES)))
        numeric = column in _NUMBERS
        pairs: list[tuple[str, str | None]] = [(f, column) for f in _FUNCTIONS if numeric or f not in _NUMERIC]
        windows = (*draw(_window_sets(2)), Window(LIFETIME))
        pairs.append(("count", None))
        aggregates = [draw(_aggregates(f, c, f if c else "rows", windows)) for f, c in pairs]
    else:
        aggregates = []
        for number in range(draw(st.integers(1, 5))):
            function = draw(st.sampled_from(_FUNCTIONS))
            columns = _NUMBERS if function in _NUMERIC else tuple(_PALETTES)
            column_or_rows = draw(st.sampled_from((None, *columns, None) if function == "count" else columns))
            windows = (*draw(_window_sets(2)), Window(LIFETIME))
            aggregates.append(draw(_aggregates(function, column_or_rows, f"a{number}", windows)))
    return EventDraft("e", tuple(aggregates), draw(_predicates(2)))


@st.composite
def _selecting(draw: st.DrawFn, draft: StateDraft | EventDraft) -> StateDraft | EventDraft:
    """Draw the draft with derived columns that its features and predicates use."""
    where = draw(st.sampled_from((draft.where, *sorted(DERIVED_PREDICATES))))
    if isinstance(draft, StateDraft):
        features = (*draft.features, *(Feature(f"{name}_now", name) for name in SELECTED))
        return replace(draft, features=features, where=where, select=SELECTED)
    windows = (*draw(_window_sets(1)), Window(LIFETIME))
    own = draw(st.sampled_from((None, *sorted(DERIVED_PREDICATES))))
    aggregates = tuple(
        Aggregate(function, column, windows, where=own, name=f"derived_{function}")
        for function, column in (("sum", "x"), ("last", "y"), ("count", "z"))
    )
    return replace(draft, aggregates=(*draft.aggregates, *aggregates), where=where, select=SELECTED)


@st.composite
def _grouping(draw: st.DrawFn, draft: EventDraft) -> EventDraft:
    """Draw the draft with aggregates by secondary keys beside its own."""
    aggregates = list(draft.aggregates)
    for number in range(draw(st.integers(0, 4))):
        function = draw(st.sampled_from(sorted(GROUPED)))
        columns: tuple[str | None, ...] = _NUMBERS if function in _NUMERIC else tuple(_PALETTES)
        aggregates.append(
            Aggregate(
                function,
                draw(st.sampled_from((None, *columns) if function == "count" else columns)),
                (*draw(_window_sets(2)), Window(LIFETIME)),
                where=draw(_predicates(3)),
                name=f"g{number}",
                by=draw(st.sampled_from(_SECONDARY_KEYS)),
            )
        )
    return replace(draft, aggregates=tuple(aggregates))


def _window_sets(most: int) -> st.SearchStrategy[tuple[Window, ...]]:
    unique = st.lists(st.sampled_from(_WINDOWS), min_size=1, max_size=most, unique_by=lambda w: w.length_us)
    return unique.map(tuple)


@st.composite
def _aggregates(
    draw: st.DrawFn, function: str, column: str | None, name: str, windows: tuple[Window, ...]
) -> Aggregate:
    listed = function in ("first_n", "last_n", "top_k")
    return Aggregate(
        function,
        column,
        windows,
        where=draw(_predicates(5)),
        default=_default(function, column) if draw(st.booleans()) else None,
        name=name,
        n=draw(st.integers(1, 3)) if listed else None,
        quantile=draw(st.sampled_from((0.0, 0.25, 0.5, 0.9, 1.0))) if function == "percentile" else None,
    )


def _default(function: str, column: str | None) -> Any:
    if function in ("count", "count_distinct", "approx_count_distinct"):
        return -1
    if function in ("mean", "stddev", "variance", "percentile"):
        return -0.5
    value = -1 if function == "sum" and column == "b" else _DEFAULTS[column or "i"]
    return [value] if function in ("first_n", "last_n", "top_k") else value


def _predicates(one_in: int) -> st.SearchStrategy[str | None]:
    known = sorted(PREDICATES)
    return st.sampled_from((*[None] * len(known) * (one_in - 1), *known))
