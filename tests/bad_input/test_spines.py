"""Spines as people have them: each gives the specified answer, or an error that says what, why and how to fix it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from asof import Count, Entity, EventView, FrameSource
from asof.errors import AsofError, InputError, NotFoundError, SourceError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bad_input.conftest import Notebook

DAY = datetime(2026, 1, 3)
SPINE = pd.DataFrame({"customer_id": [1, 2, 3], "event_timestamp": pd.to_datetime([DAY] * 3)})
COUNTS = [2, 1, 0]


def at(*times: Any, kind: pa.DataType | None = None) -> pa.Table:
    """Return a spine of customer 1 at the given times."""
    return pa.table({"customer_id": [1] * len(times), "event_timestamp": pa.array(times, kind)})


@pytest.mark.parametrize(
    "keys",
    [
        pd.Series([1.0, np.nan, 3.0]),
        pd.Series([1, None, 3], dtype=object),
        pd.array([1, None, 3], dtype="Int64"),
        pd.Categorical([1, None, 3]),
        np.array([1, np.nan, 3], dtype=np.float32),
    ],
    ids=["float for NaN", "object", "Int64", "categorical", "float32"],
)
def test_integer_keys_with_a_null_are_integers_in_every_form_that_pandas_gives_them(
    notebook: Notebook, keys: Any
) -> None:
    spine = SPINE.assign(customer_id=keys)
    found = notebook.store.get_historical_features([notebook.spend], spine).to_arrow()
    assert found["spend__count_7d"].to_pylist() == [2, 0, 0]
    assert found["spend__amount_sum_7d"].to_pylist() == [3.0, None, None]
    assert found["customer_id"].null_count == 1


@pytest.mark.parametrize("kind", [pl.UInt64, pl.Int8, pl.Float32, pl.UInt32])
def test_numbers_of_any_width_are_the_same_keys(notebook: Notebook, kind: Any) -> None:
    spine = pl.from_pandas(SPINE).with_columns(pl.col("customer_id").cast(kind))
    assert notebook.counts(spine) == COUNTS


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ([1.5, 2.0, 3.0], "holds values that are not int64"),
        ([2.0**53 + 2, 1.0, 2.0], "beyond 9,007,199,254,740,992"),
        ([float("inf"), 1.0, 2.0], "beyond 9,007"),
        (np.array([2.0**24 + 2, 1, 2], dtype=np.float32), "beyond 16,777,216"),
        (["1", "2", "3"], "is large_string, but the join key of entity 'customer' is int64"),
        (pd.Categorical(["1", "2", "3"]), "string, but the join key"),
        ([True, False, True], "is bool, but the join key"),
        (pl.Series([2**63 + 1, 1, 2], dtype=pl.UInt64).to_numpy(), "holds values that are not int64"),
        (pd.to_datetime([DAY] * 3), "is timestamp.*but the join key"),
    ],
)
def test_keys_of_another_type_or_value_are_refused_by_name(notebook: Notebook, keys: Any, says: str) -> None:
    """A float beyond 2**53 may stand for its neighbour: joining it could show another customer's values."""
    with pytest.raises(InputError, match=f"'customer_id' .*{says}") as caught:
        notebook.counts(SPINE.assign(customer_id=keys), event_time="event_timestamp")
    assert caught.value.fix


def test_text_keys_may_be_categorical_in_polars(notebook: Notebook) -> None:
    """Polars sends categories as views, which Arrow cannot take apart by itself."""
    spine = pl.from_pandas(SPINE).with_columns(pl.Series("customer_id", ["1", "2", None], dtype=pl.Categorical))
    with pytest.raises(InputError, match="is string, but the join key"):
        notebook.counts(spine)


def test_the_index_of_a_pandas_frame_is_neither_a_column_nor_an_order(notebook: Notebook) -> None:
    shuffled = SPINE.iloc[[2, 0, 1]]
    found = notebook.store.get_historical_features([notebook.spend["count_7d"]], shuffled).to_pandas()
    assert found["spend__count_7d"].tolist() == [0, 2, 1]
    assert found.index.tolist() == [0, 1, 2]
    with pytest.raises(InputError, match="There is no column 'customer_id'"):
        notebook.counts(SPINE.set_index("customer_id"))


def test_zones_are_one_time_line_and_naive_is_utc(notebook: Notebook) -> None:
    """Order 1 is at midnight UTC of the first: at 00:30 in Amsterdam it is not there yet."""
    amsterdam = pd.Timestamp("2026-01-01T00:30", tz="Europe/Amsterdam")
    for time, count in ((amsterdam, 0), (amsterdam + pd.Timedelta("1h"), 1), (pd.Timestamp("2026-01-01T00:30"), 1)):
        assert notebook.counts(pd.DataFrame({"customer_id": [1], "event_timestamp": [time]})) == [count]
    mixed = [amsterdam, pd.Timestamp("2026-01-01T00:30", tz="UTC"), pd.Timestamp("2026-01-01T00:30")]
    spine = pd.DataFrame({"customer_id": [1] * 3, "event_timestamp": pd.Series(mixed, dtype=object)})
    assert notebook.counts(spine) == [0, 1, 1]


def test_the_spines_own_times_come_back_in_their_zone_and_unit(notebook: Notebook) -> None:
    for kind in (pa.timestamp("s", "Asia/Tokyo"), pa.timestamp("ns"), pa.date32()):
        spine = at(DAY, kind=kind)
        found = notebook.store.get_historical_features([notebook.spend], spine)
        assert found.to_arrow()["event_timestamp"].equals(spine["event_timestamp"])


@pytest.mark.parametrize(
    ("spine", "says"),
    [
        (at("2026-01-03"), "is string, not a timestamp. Text is not guessed at"),
        (at(1, 2), "is int64, not a timestamp"),
        (at(DAY, None, DAY), "is null in 1 rows, first in row 1"),
        (at(1, kind=pa.timestamp("ns")), "between two microseconds"),
        (at(2**62, kind=pa.timestamp("s")), "outside the years 1 to 9999"),
        (at(-(2**63), 2**63 - 1, kind=pa.timestamp("us")), "outside the years 1 to 9999"),
        (at(2**59, kind=pa.timestamp("us")), "outside the years 1 to 9999"),
    ],
)
def test_what_is_not_an_instant_is_refused_with_the_columns_name(
    notebook: Notebook, spine: pa.Table, says: str
) -> None:
    with pytest.raises(InputError, match=f"'event_timestamp' .*{says}") as caught:
        notebook.counts(spine)
    assert caught.value.fix


def test_the_first_and_the_last_year_are_instants(notebook: Notebook) -> None:
    spine = at(datetime.min, datetime.max, DAY, kind=pa.timestamp("us"))
    found = notebook.store.get_historical_features([notebook.spend, notebook.profile], spine).to_arrow()
    assert found["spend__count_7d"].to_pylist() == [0, 0, 2]
    assert found["profile__country"].to_pylist() == [None, None, "BE"]


@pytest.mark.parametrize(
    ("spine", "options", "says"),
    [
        (SPINE[["customer_id"]], {}, "does not say which column holds its instants. It has no timestamp column"),
        (SPINE.rename(columns={"event_timestamp": "a"}).assign(b=DAY), {}, "several timestamp columns: a, b"),
        (SPINE, {"event_time": "event_timestmp"}, "no column 'event_timestmp'. Did you mean event_timestamp"),
        (SPINE[["event_timestamp"]], {}, "There is no column 'customer_id'"),
        (SPINE.rename(columns={"customer_id": "custmer_id"}), {}, "Did you mean custmer_id"),
        (SPINE.assign(spend__count_7d=1), {}, "already has a column 'spend__count_7d'"),
        (pd.concat([SPINE, SPINE[["customer_id"]]], axis=1), {}, "cannot be read as a table. Duplicate column names"),
        (pa.table([[1], [1], [DAY]], names=["customer_id", "customer_id", "t"]), {}, "two columns named 'customer_id'"),
        (SPINE.assign(note=pd.Series([1, "a", None], dtype=object)), {}, "column note with type object"),
        ({"customer_id": [1, 2], "event_timestamp": [DAY]}, {}, "cannot be read as a table.*length 2 but got length 1"),
        (pd.DataFrame(), {}, "no timestamp column"),
        ([], {}, "no timestamp column"),
        (SPINE["customer_id"], {}, "cannot be read as a table"),
        (pl.from_pandas(SPINE).lazy(), {}, "is a LazyFrame, not a table"),
        (np.array([1, 2]), {}, "is a ndarray, not a table"),
    ],
)
def test_a_spine_that_cannot_be_used_is_refused_with_its_fix(
    notebook: Notebook, spine: Any, options: dict[str, str], says: str
) -> None:
    with pytest.raises(InputError, match=says) as caught:
        notebook.counts(spine, **options)
    assert caught.value.fix


@pytest.mark.parametrize(
    "spine",
    [
        SPINE.iloc[:0],
        pl.from_pandas(SPINE).head(0),
        pd.DataFrame({"customer_id": [], "event_timestamp": []}),
        {"customer_id": [], "event_timestamp": []},
        at(kind=pa.timestamp("us", "UTC")),
    ],
    ids=["pandas", "polars", "pandas without types", "dict", "arrow"],
)
def test_an_empty_spine_gives_an_empty_answer_with_its_columns(notebook: Notebook, spine: Any) -> None:
    found = notebook.store.get_historical_features([notebook.spend, notebook.profile], spine, statuses=True)
    table = found.to_arrow()
    assert table.num_rows == 0
    assert table.schema.field("spend__count_7d").type == pa.int64()
    assert table.column_names[:2] == ["customer_id", "event_timestamp"]
    assert table.column_names[-1] == "profile__country__status"


def test_duplicate_unknown_and_null_keys_stay_and_other_columns_come_back_untouched(notebook: Notebook) -> None:
    note = pa.array([{"a": 1}, None, {"a": 2}, {"a": 3}])
    spine = pa.table({"x": note, "customer_id": [1, None, 1, 77], "event_timestamp": [DAY] * 4})
    found = notebook.store.get_historical_features([notebook.spend], spine).to_arrow()
    assert found.select(spine.column_names).equals(spine)
    assert found["spend__count_7d"].to_pylist() == [2, 0, 2, 0]


def test_a_spine_or_instants_but_not_both(notebook: Notebook) -> None:
    read = notebook.store.get_historical_features
    for options in (
        {},
        {"spine": SPINE, "instants": [DAY]},
        {"spine": SPINE, "entities": SPINE[["customer_id"]]},
        {"entities": SPINE},
    ):
        with pytest.raises(InputError, match="either a spine or instants"):
            read([notebook.spend], **options)
    wrong: list[tuple[Any, str]] = [
        ([], "no instants"),
        (["soon"], "'soon' is not"),
        ([None], "None is not an instant"),
    ]
    for instants, says in wrong:
        with pytest.raises(InputError, match=says):
            read([notebook.spend], instants=instants)
    with pytest.raises(InputError, match="no column 'customer_id'"):
        read([notebook.spend], instants=[DAY], entities={"id": [1]})


def test_features_that_do_not_exist_are_named_with_what_is_near(notebook: Notebook) -> None:
    read = notebook.store.get_historical_features
    for features in ("fraud", ["spend:count_7d"], ["spend"], "fraud@2"):
        with pytest.raises(NotFoundError, match="in the registry"):
            read(features, SPINE)
    for text in ("spend:", ":x", "a b", "spend@x:y", ["spend:a:b"]):
        with pytest.raises(InputError, match=r"is not a .*reference"):
            read(text, SPINE)


@pytest.mark.parametrize(
    ("name", "content", "kind", "says"),
    [
        ("nothing.parquet", None, NotFoundError, "There is no file"),
        ("a.parquet", b"", SourceError, "cannot be read"),
        ("a.parquet", b"PAR1 cut off", SourceError, "cannot be read"),
        ("a.csv", b"", SourceError, "cannot be read"),
        ("a.csv", b"customer_id,event_timestamp\n1,2026-01-03,4\n", SourceError, "Expected 2 columns, got 3"),
        ("a.csv", b"customer_id,event_timestamp\n1,yesterday\n", InputError, "is string, not a timestamp"),
        ("a.csv", b"customer_id,event_timestamp\nx,2026-01-03T00:00:00Z\n", InputError, "is string, but the join key"),
        ("a.ndjson", b'{"customer_id": 1,\n', SourceError, "cannot be read"),
        ("a.arrow", b"ARROW1", SourceError, "cannot be read"),
        ("a.xlsx", b"x", InputError, "no format for 'a.xlsx'"),
    ],
)
def test_a_spine_file_that_cannot_be_used_is_named(
    notebook: Notebook, tmp_path: Path, name: str, content: bytes | None, kind: type[AsofError], says: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(kind, match=says) as caught:
        notebook.counts(tmp_path / name)
    assert caught.value.fix


def test_keys_that_are_text_keep_their_zeros_in_a_csv_spine(notebook: Notebook, tmp_path: Path) -> None:
    shops = pa.table({"shop": ["007", "7"], "ts": pa.array([0, 0], pa.timestamp("us"))})
    source = FrameSource("shops", event_time="ts", frame=shops)
    view = EventView("visits", entity=Entity("shop", join_key="shop"), source=source, features=[Count(windows=["1d"])])
    (tmp_path / "a.csv").write_text("shop,t\n007,1970-01-01T01:00:00Z\n08,1970-01-01T01:00:00Z\n", encoding="utf-8")
    found = notebook.store.get_historical_features(view, tmp_path / "a.csv").to_arrow()
    assert found["shop"].to_pylist() == ["007", "08"]
    assert found["visits__count_1d"].to_pylist() == [1, 0]


def test_a_csv_spines_integers_are_exact_or_refused(notebook: Notebook, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for value, fine in (("9223372036854775807", True), ("9223372036854775808", False), ("1e300", True), ("0.5", True)):
        path.write_text(f"customer_id,event_timestamp,n\n1,2026-01-03T00:00:00Z,{value}\n", encoding="utf-8")
        if fine:
            assert notebook.counts(path) == [2]
        else:
            with pytest.raises(SourceError, match=r"'n' .*integers that neither int64 nor float64"):
                notebook.counts(path)
