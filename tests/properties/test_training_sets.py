"""Training sets against plain Python: labels, splits, statistics, hashes, and rebuilds."""

from __future__ import annotations

import math
import statistics as plain
import tempfile
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asof import (
    Count,
    Entity,
    EventView,
    FeatureService,
    FeatureStore,
    FileSource,
    GroupSplit,
    Label,
    RandomSplit,
    TimeSplit,
)
from asof.clock import FixedClock, from_us
from asof.definitions.training import LABEL_AGGREGATES, Split
from asof.errors import FeatureValueError
from asof.kernel.content_hash import table_hash
from asof.services.spine import make_spine
from asof.services.splits import assign
from asof.services.statistics import describe_column

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Row = dict[str, Any]
KEYS = st.sampled_from([1, 1, 1, 2, 3, None])
INSTANTS = st.integers(0, 6)
SPINES = st.lists(st.tuples(KEYS, INSTANTS), max_size=8)
NAMES = ("train", "test", "other")
FRACTIONS = st.sampled_from([{"train": 0.5, "test": 0.5}, {"train": 0.6, "test": 0.3, "other": 0.1}, {"train": 1.0}])


@st.composite
def source_rows(draw: st.DrawFn, integers: bool) -> list[Row]:
    """Return events of two keys at seven instants, with ids that repeat, delays, nulls and extremes."""
    values = [0, 1, -2, None, 2**62, 2**63 - 1, -(2**63)] if integers else [0.0, 0.5, -1.5, None, math.inf, -math.inf]
    weighted = st.sampled_from(values[:4] * 3 + values)
    fields = {"k": st.sampled_from([1, 1, 2]), "t": INSTANTS, "v": weighted, "late": st.sampled_from([0, 0, 1, 5])}
    rows: list[Row] = draw(st.lists(st.fixed_dictionaries(fields), min_size=1, max_size=8))
    return rows


def spine_table(spine: Sequence[tuple[int | None, int]]) -> pa.Table:
    """Return keys and instants as a table with the row's number."""
    return pa.table(
        {
            "k": pa.array([key for key, _ in spine], pa.int64()),
            "at": pa.array([from_us(t) for _, t in spine], pa.timestamp("us", "UTC")),
            "n": pa.array(range(len(spine)), pa.int32()),
        }
    )


def oracle(label: Label, rows: list[Row], key: int | None, t: int, now: int) -> Any:
    """Return one label with nested loops."""
    order = sorted(range(len(rows)), key=lambda i: rows[i]["t"])
    seen = [
        rows[i]
        for i in order
        if rows[i]["k"] == key and t < rows[i]["t"] <= t + label.window_us and rows[i]["t"] + rows[i]["late"] <= now
    ]
    if label.where is not None:
        seen = [row for row in seen if row["v"] is not None and row["v"] > 0]
    if label.aggregate == "exists":
        return bool(seen)
    if label.column is None:
        return len(seen)
    values = [row["v"] for row in seen if row["v"] is not None]
    if label.aggregate == "count":
        return len(values)
    if not values:
        return None
    functions: dict[str, Callable[[list[Any]], Any]] = {
        "sum": sum,
        "mean": lambda found: sum(found) / len(found),
        "min": min,
        "max": max,
        "first": lambda found: found[0],
        "last": lambda found: found[-1],
    }
    found = functions[str(label.aggregate)](values)
    return None if isinstance(found, float) and math.isnan(found) else found


def open_store(root: Path, rows: list[Row], now: int, integers: bool) -> FeatureStore:
    """Return a project with one view over the rows, applied."""
    (root / "asof.toml").write_text('project = "case"\ndefinitions = []\n', encoding="utf-8")
    times = {
        name: [from_us(row["t"] + (row["late"] if name == "known" else 0)) for row in rows] for name in ("t", "known")
    }
    table = pa.table(
        {
            "k": pa.array([row["k"] for row in rows], pa.int64()),
            **{name: pa.array(found, pa.timestamp("us", "UTC")) for name, found in times.items()},
            "v": pa.array([row["v"] for row in rows], pa.int64() if integers else pa.float64()),
        }
    )
    pq.write_table(table, root / "rows.parquet")
    source = FileSource("rows", path="rows.parquet", event_time="t", available_at="known")
    window = timedelta(microseconds=3)
    view = EventView("view", entity=Entity("one", join_key="k"), source=source, features=[Count(windows=[window])])
    store = FeatureStore(root, clock=FixedClock(now))
    store.apply(store.plan([view, FeatureService("service", features=[view])]), who="test")
    return store


@pytest.mark.slow
@settings(max_examples=60)
@given(data=st.data(), integers=st.booleans(), spine=SPINES, now=st.sampled_from([3, 6, 9, 30]))
def test_labels_are_those_of_nested_loops_and_a_rebuild_is_the_same_to_the_byte(
    data: st.DataObject, integers: bool, spine: list[tuple[int | None, int]], now: int
) -> None:
    """With every aggregate, maturity, late rows, predicates and splits; immature rows are left out and counted."""
    rows = data.draw(source_rows(integers))
    function = data.draw(st.sampled_from(LABEL_AGGREGATES))
    column = None if function == "exists" or (function == "count" and data.draw(st.booleans())) else "v"
    window, maturity = data.draw(st.integers(1, 4)), data.draw(st.integers(0, 3))
    label = Label(
        "rows",
        column,
        window=timedelta(microseconds=window),
        aggregate=function,  # type: ignore[arg-type]  # one of the literals
        where=data.draw(st.sampled_from([None, "v > 0"])),
        maturity=timedelta(microseconds=maturity),
    )
    split = data.draw(st.sampled_from([None, RandomSplit(), GroupSplit("k"), TimeSplit([from_us(3)])]))
    table = spine_table(spine)
    mature = [(n, key, t) for n, (key, t) in enumerate(spine) if t + window + maturity <= now]
    expected = [oracle(label, rows, key, t, now) for _, key, t in mature]
    with tempfile.TemporaryDirectory() as directory, open_store(Path(directory), rows, now, integers) as store:
        if any(isinstance(value, int) and not -(2**63) <= value < 2**63 for value in expected):
            with pytest.raises(FeatureValueError):
                store.create_training_set("made", "service", table, split=split, label=label, event_time="at")
            return
        made = store.create_training_set("made", "service", table, split=split, label=label, event_time="at")
        found = made.to_arrow()
        assert found["n"].to_pylist() == [n for n, _, _ in mature]
        assert made.manifest.immature_rows == len(spine) - len(mature)
        values = found["label"].to_pylist()
        if function == "mean" or (function == "sum" and not integers):
            assert [v if v is None else pytest.approx(v, rel=1e-9) for v in values] == expected
        else:
            assert values == expected
        whole = store.get_historical_features("service", table, event_time="at").to_arrow()
        kept = whole.take(pa.array([n for n, _, _ in mature], pa.int64()))
        assert found.select(kept.column_names).equals(kept)
        if split is not None:
            names = assign(split, make_spine(table, "at"))
            assert found["split"].to_pylist() == [names[n].as_py() for n, _, _ in mature]
        before = (made.path / "data.parquet").read_bytes()
        again = store.rebuild_training_set("made")
        assert (again.path / "data.parquet").read_bytes() == before
        assert again.manifest == made.manifest


@given(spine=st.lists(st.tuples(KEYS, INSTANTS), max_size=30), fractions=FRACTIONS, seed=st.integers(0, 5))
def test_no_group_is_in_two_splits(spine: list[tuple[int | None, int]], fractions: dict[str, float], seed: int) -> None:
    """Nulls are one group; a group's split does not depend on the rows around it."""
    split = GroupSplit("k", fractions, seed=seed)
    found = assign(split, make_spine(spine_table(spine), "at")).to_pylist()
    of: dict[int | None, str] = {}
    for (key, t), name in zip(spine, found, strict=True):
        assert of.setdefault(key, name) == name
        assert name in fractions
        assert assign(split, make_spine(spine_table([(key, t)]), "at")).to_pylist() == [name]


def test_groups_that_fill_their_index_type_have_a_place_for_null_beside_them() -> None:
    """128 values behind 8-bit indices."""
    groups = pa.DictionaryArray.from_arrays(pa.array([*range(128), None], pa.int8()), [f"g{n}" for n in range(128)])
    plain_groups = groups.cast(pa.string())
    instants = pa.array([0] * 129, pa.timestamp("us", "UTC"))
    found = [
        assign(GroupSplit("k"), make_spine(pa.table({"k": column, "at": instants}), "at")).to_pylist()
        for column in (groups, plain_groups)
    ]
    assert found[0] == found[1]


@given(spine=SPINES, cuts=st.lists(INSTANTS, min_size=1, max_size=2, unique=True).map(sorted))
def test_time_splits_are_bounded_by_their_instants(spine: list[tuple[int | None, int]], cuts: list[int]) -> None:
    """A row at an instant belongs to the later side."""
    names = ("train", "test") if len(cuts) == 1 else ("train", "validation", "test")
    found = assign(TimeSplit([from_us(cut) for cut in cuts]), make_spine(spine_table(spine), "at")).to_pylist()
    assert found == [names[sum(t >= cut for cut in cuts)] for _, t in spine]


@given(rows=st.integers(0, 50), more=st.integers(0, 20), seed=st.integers(0, 2**63 - 1), fractions=FRACTIONS)
def test_a_row_keeps_its_random_split_when_rows_are_appended(
    rows: int, more: int, seed: int, fractions: dict[str, float]
) -> None:
    """By its number alone."""
    split: Split = RandomSplit(fractions, seed=seed)
    spine = [(1, n) for n in range(rows + more)]
    long, short = (assign(split, make_spine(spine_table(s), "at")).to_pylist() for s in (spine, spine[:rows]))
    assert long[:rows] == short


def test_shares_are_those_asked_for() -> None:
    """Within four standard deviations of independent draws, for rows and for groups, and seeds differ."""
    rows = 20_000
    table = spine_table([(n, n) for n in range(rows)])
    for kind in (RandomSplit, lambda f, seed: GroupSplit("k", f, seed=seed)):
        drawn = [assign(kind({"a": 0.7, "b": 0.3}, seed=s), make_spine(table, "at")).to_pylist() for s in (1, 2)]
        for names in drawn:
            assert abs(names.count("a") - 0.7 * rows) < 4 * math.sqrt(rows * 0.7 * 0.3)
        same = sum(a == b for a, b in zip(*drawn, strict=True))
        assert abs(same - 0.58 * rows) < 4 * math.sqrt(rows * 0.58 * 0.42)


NUMBERS = st.one_of(st.none(), st.sampled_from([0.0, 1.0, -2.5, 7.25, math.nan, math.inf]), st.floats(-1e6, 1e6))


@given(values=st.lists(NUMBERS, max_size=40), parts=st.integers(1, 3))
def test_statistics_of_numbers_are_those_of_plain_python(values: list[float | None], parts: int) -> None:
    """Finite ones only; bins cover everything, also what lies outside."""
    cut = len(values) // parts
    column = pa.chunked_array([values[:cut], values[cut:]], pa.float64())
    found = describe_column("x", column)
    finite = sorted(v for v in values if v is not None and math.isfinite(v))
    assert (found.rows, found.nulls) == (len(values), values.count(None))
    assert found.non_finite == len(values) - found.nulls - len(finite)
    if not finite:
        assert (found.mean, found.min, found.histogram, found.quantiles) == (None, None, None, {})
        return
    assert (found.min, found.max) == (finite[0], finite[-1])
    assert found.mean == pytest.approx(plain.fmean(finite), rel=1e-9, abs=1e-6)
    assert found.stddev == (pytest.approx(plain.stdev(finite), rel=1e-6, abs=1e-6) if len(finite) > 1 else None)
    for share, value in found.quantiles.items():
        assert value == finite[max(math.ceil(float(share) * len(finite) - 1e-9), 1) - 1]
    assert found.histogram is not None
    edges = [-math.inf, *found.histogram.edges, math.inf]
    counted = [sum(low <= v < high for v in finite) for low, high in pairwise(edges)]
    assert list(found.histogram.counts) == counted


@given(values=st.lists(st.sampled_from(["a", "b", "", "é", None]), max_size=30), kind=st.sampled_from(["text", "dict"]))
def test_statistics_of_text_count_values(values: list[str | None], kind: str) -> None:
    """The most frequent first, equally frequent ones by value."""
    column = pa.chunked_array([values], pa.string())
    found = describe_column("x", column.dictionary_encode() if kind == "dict" else column)
    present = [v for v in values if v is not None]
    assert found.distinct == len(set(present))
    assert list(found.top) == sorted(((v, present.count(v)) for v in set(present)), key=lambda p: (-p[1], p[0]))


def test_statistics_of_times_are_iso_texts() -> None:
    """UTC whatever the zone and unit; what ISO 8601 cannot write is left out."""
    for type_, value, text in (
        (pa.timestamp("ns"), 1_500, "1970-01-01T00:00:00.000001Z"),
        (pa.timestamp("s", "Europe/Amsterdam"), 3600, "1970-01-01T01:00:00Z"),
        (pa.date32(), 365, "1971-01-01"),
        (pa.timestamp("s"), 2**60, None),
    ):
        found = describe_column("x", pa.chunked_array([pa.array([value, None], type_)]))
        assert (found.min, found.max, found.nulls) == (text, text, 1)


TYPES: list[tuple[pa.DataType, list[Any]]] = [
    (pa.int16(), [1, 2, None]),
    (pa.float32(), [0.0, -0.0, 1.5, math.nan, None]),
    (pa.bool_(), [True, False, None]),
    (pa.string(), ["", "a", "ab", "b", None]),
    (pa.string_view(), ["", "a", "a longer text than fits", None]),
    (pa.binary(2), [b"ab", b"cd", None]),
    (pa.decimal128(5, 1), [1, 2, None]),
    (pa.timestamp("ns"), [0, 1, None]),
    (pa.null(), [None]),
    (pa.dictionary(pa.int8(), pa.string()), ["a", "b", None]),
    (pa.list_(pa.int64()), [[], [1], [1, 2], [None], None]),
    (pa.list_(pa.float32(), 2), [[1.0, 2.0], [3.0, None], None]),
    (pa.map_(pa.string(), pa.int64()), [[("a", 1)], [], [("a", 1), ("b", None)], None]),
    (
        pa.struct([("x", pa.int64()), ("y", pa.list_(pa.string()))]),
        [{"x": 1, "y": ["a"]}, {"x": None, "y": None}, None],
    ),
]


@given(data=st.data())
def test_content_hashes_ignore_batches_and_see_values(data: st.DataObject) -> None:
    """Equal tables have equal hashes however they are cut; another value, order, null, name or type has another."""
    type_, domain = data.draw(st.sampled_from(TYPES))
    values = data.draw(st.lists(st.sampled_from(domain), max_size=8))
    other = data.draw(st.lists(st.sampled_from(domain), max_size=8))
    table = pa.table({"x": pa.array(values, type_)})
    cut = data.draw(st.integers(0, len(values)))
    padded = pa.table({"x": pa.array([domain[0], *values], type_)}).slice(1)
    again = pa.concat_tables([padded.slice(0, cut), table.slice(cut)])
    assert table_hash(again) == table_hash(table)
    same = np.array_equal([repr(v) for v in values], [repr(v) for v in other])
    assert (table_hash(pa.table({"x": pa.array(other, type_)})) == table_hash(table)) is same
    assert table_hash(table.rename_columns(["y"])) != table_hash(table)
