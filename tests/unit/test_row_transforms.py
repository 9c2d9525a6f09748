"""Columns that views compute: SQL and Python, as features, join keys and predicates, offline and online."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from asof import Count, Entity, EventView, FeatureStore, FileSource, FrameSource, RowTransform, StateView, Sum
from asof.clock import FixedClock, parse_instant
from asof.errors import DefinitionError, SchemaError
from asof.testing import feature_values

if TYPE_CHECKING:
    from pathlib import Path

ROWS = {
    "customer": [1, 1, 2, 2],
    "ts": [parse_instant(f"2024-01-0{day}T00:00:00Z") for day in (1, 2, 1, 3)],
    "amount": [10.0, 20.0, 5.0, None],
    "fee": [1.0, float("nan"), 0.5, 0.5],
}
KEYS = Entity("customer", join_key="customer_id")
NOW = parse_instant("2024-01-10T00:00:00Z")


def rows() -> pa.Table:
    """Return payments."""
    return pa.table(ROWS).set_column(1, "ts", pa.array(ROWS["ts"]).cast(pa.timestamp("us", "UTC")))


def net_arrow(batch: pa.Table) -> dict[str, Any]:
    """Return the amount without the fee."""
    return {"net": pc.subtract(batch["amount"], pc.fill_null(batch["fee"], 0.0))}


def net_polars(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the amount without the fee."""
    return frame.select(net=pl.col("amount") - pl.col("fee").fill_null(0.0))


def sized_arrow(batch: pa.Table) -> dict[str, Any]:
    """Return a size as a dictionary."""
    sizes = pc.if_else(pc.greater(batch["amount"], 7.0), "large", "small")
    return {"size": sizes.dictionary_encode()}


def sized_polars(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a size as a category."""
    sizes = pl.when(pl.col("amount") > 7.0).then(pl.lit("large")).when(pl.col("amount") <= 7.0).then(pl.lit("small"))
    return frame.select(size=sizes.cast(pl.Categorical))


def too_short(batch: pa.Table) -> dict[str, Any]:
    """Forget a row."""
    return {"net": batch["amount"].slice(1)}


def failing(batch: pa.Table) -> dict[str, Any]:
    """Fail."""
    raise ZeroDivisionError("no")


SQL = {"select": {"net": "amount - coalesce(fee, 0)", "customer_id": "customer"}}


def python(function: Any, frame: Any = "arrow") -> dict[str, Any]:
    """Return the arguments of a view whose net is computed by a function."""
    return {
        "select": {"customer_id": "customer"},
        "transform": RowTransform(function, outputs={"net": "float64"}, frame=frame),
    }


def paid(source: Any, how: dict[str, Any]) -> EventView:
    """Return sums over a derived column, by a derived key."""
    features = [Sum("net", windows=["30d"]), Count(windows=["30d"], where="net > 5", name="large")]
    return EventView("paid", entity=KEYS, source=source, features=features, where="net IS NOT NULL", **how)


@pytest.mark.parametrize("how", [SQL, python(net_arrow), python(net_polars, "polars")], ids=["sql", "arrow", "polars"])
def test_history_materialize_and_online_see_the_same_columns(tmp_path: Path, how: dict[str, Any]) -> None:
    """The same view gives the same values over a frame, over files, and online after an apply."""
    pq.write_table(rows(), tmp_path / "rows.parquet")
    (tmp_path / "asof.toml").write_text('project = "p"\ndefinitions = []\n', encoding="utf-8")
    spine = {"customer_id": [1, 2, 3], "event_timestamp": pa.array([NOW] * 3).cast(pa.timestamp("us", "UTC"))}
    wanted = {"paid__net_sum_30d": [29.0, 4.5, None], "paid__large_30d": [2, 0, 0]}
    with FeatureStore(tmp_path, clock=FixedClock(NOW)) as store:
        frame = paid(FrameSource("payments", event_time="ts", frame=rows()), how)
        over_frame = store.get_historical_features([frame], pa.table(spine)).to_arrow()
        view = paid(FileSource("payments", path="rows.parquet", event_time="ts"), how)
        store.apply(store.plan([view]))
        over_files = store.get_historical_features(["paid"], pa.table(spine)).to_arrow()
        store.materialize()
        served = store.get_online_features(["paid"], {"customer_id": [1, 2, 3]}).to_dict()
        known = store.get_historical_features(["paid"], instants=["2024-01-10"]).to_arrow()
    for name, values in wanted.items():
        assert over_frame[name].to_pylist() == over_files[name].to_pylist() == served[name] == values
    assert known["customer_id"].to_pylist() == [1, 2]


@pytest.mark.parametrize("how", [SQL, python(net_arrow)], ids=["sql", "arrow"])
def test_unit_tests_of_views_compute_them_too(how: dict[str, Any]) -> None:
    """A user's rows need the source's columns only."""
    view = paid(FileSource("payments", path="nowhere.parquet", event_time="ts"), how)
    given = [{"customer": 1, "ts": "2024-01-01", "amount": 10.0}, {"customer": 1, "ts": "2024-01-02", "amount": 4.5}]
    values = feature_values(view, [{**row, "fee": 1.0} for row in given], keys={"customer_id": 1}, at="2024-01-05")
    assert values == {"net_sum_30d": 12.5, "large_30d": 1}


def test_explain_and_lineage_go_down_to_the_sources_columns(tmp_path: Path) -> None:
    """A derived column is explained by its values and traced to what it is computed from."""
    pq.write_table(rows(), tmp_path / "rows.parquet")
    (tmp_path / "asof.toml").write_text('project = "p"\ndefinitions = []\n', encoding="utf-8")
    with FeatureStore(tmp_path, clock=FixedClock(NOW)) as store:
        view = paid(FileSource("payments", path="rows.parquet", event_time="ts"), SQL)
        store.apply(store.plan([view]))
        found = store.explain("paid:net_sum_30d", {"customer_id": 1}, at="2024-01-10")
        links = store.lineage("paid:net_sum_30d").upstream
    assert sorted(row.value for row in found.rows) == [9.0, 20.0]
    assert found.offline.value == 29.0
    read = {link.used.name for link in links if link.user.kind == "feature" and link.used.kind == "column"}
    assert read == {"payments.amount", "payments.fee"}
    keys = {link.used.name for link in links if "join key" in link.roles}
    assert keys == {"payments.customer"}


def test_times_are_computed_in_utc() -> None:
    """Calendar parts and differences of times work on aware columns, whatever the machine's zone."""
    view = StateView(
        "v",
        entity=Entity("customer"),
        source=FrameSource("payments", event_time="ts", frame=rows()),
        select={
            "hour": "hour(ts + INTERVAL 90 MINUTE)",
            "days": "date_diff('day', TIMESTAMPTZ '2023-12-31 00:00+00', ts)",
        },
        features=["hour", "days"],
    )
    with FeatureStore.temporary() as store:
        found = store.get_historical_features([view], instants=["2024-01-05"]).to_arrow()
    assert found.select(["customer", "v__hour", "v__days"]).to_pydict() == {
        "customer": [1, 2],
        "v__hour": [1, 1],
        "v__days": [2, 3],
    }


def test_a_changed_expression_or_body_is_a_new_version(tmp_path: Path) -> None:
    """The plan says in words what changed."""
    pq.write_table(rows(), tmp_path / "rows.parquet")
    (tmp_path / "asof.toml").write_text('project = "p"\ndefinitions = []\n', encoding="utf-8")
    source = FileSource("payments", path="rows.parquet", event_time="ts")
    with FeatureStore(tmp_path) as store:
        store.apply(store.plan([paid(source, SQL)]))
        assert not store.plan([paid(source, SQL)])
        other = {"select": {**SQL["select"], "net": "amount"}}
        (change,) = store.plan([paid(source, other)]).effective()
        assert (change.action, change.version) == ("new_version", 2)
        assert change.details == ("select net: sql changed: amount - coalesce(fee, 0) -> amount",)
        store.apply(store.plan([paid(source, python(net_arrow))]))
        (change,) = store.plan([paid(source, python(too_short))]).effective()
        assert change.action == "new_version"
        assert "net_arrow" in change.details[0]
        assert "too_short" in change.details[0]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"select": {"net": "random()"}}, "not a function whose answer depends on its arguments"),
        ({"select": {"net": "(SELECT 1)"}}, "subquery"),
        ({"select": {"amount": "fee"}}, "is there already"),
        ({"select": {"net": "sum(amount)"}}, "sum"),
        ({"select": {"age": "now() - ts"}}, "now"),
        ({"select": {"net": "amounts"}}, "amounts"),
        ({"transform": RowTransform(net_arrow, outputs={"fee": "float64"})}, "which its source has"),
        ({"transform": RowTransform(net_arrow, outputs={"Fee": "float64"})}, "which its source has"),
        ({"transform": RowTransform(net_arrow, outputs={"net": "float64", "Net": "int64"})}, "gives already"),
        ({"transform": RowTransform(net_arrow, outputs={"net": "decimals"})}, "decimals"),
        ({"transform": RowTransform(lambda b: b, outputs={"net": "float64"})}, "not a function at the top"),
    ],
)
def test_what_cannot_be_computed_the_same_everywhere_is_refused(how: dict[str, Any], words: str) -> None:
    """Before any row is read, with the view's name or the expression."""
    view = StateView(
        "v",
        entity=Entity("customer"),
        source=FrameSource("payments", event_time="ts", frame=rows()),
        features=["amount"],
        **how,
    )
    with FeatureStore.temporary() as store, pytest.raises(DefinitionError, match=words.replace("(", r"\(")):
        store.get_historical_features([view], instants=["2024-01-05"])


@pytest.mark.parametrize(
    ("function", "error", "words"),
    [(too_short, SchemaError, "3 values in column 'net' for 4 rows"), (failing, DefinitionError, "ZeroDivisionError")],
)
def test_a_function_that_does_not_keep_its_promise_fails_the_read(function: Any, error: Any, words: str) -> None:
    """A wrong number of rows, or an exception: never a shifted value."""
    view = paid(FrameSource("payments", event_time="ts", frame=rows()), python(function))
    with FeatureStore.temporary() as store, pytest.raises(error, match=words):
        store.get_historical_features([view], instants=["2024-01-05"])


@pytest.mark.parametrize(
    ("sql", "value"), [("regexp_replace(tag, '[a-c]{1}', 'z')", "z{0}{{}}"), ("tag || '{{}}'", "a{0}{{}}{{}}")]
)
def test_braces_in_an_expression_are_text(sql: str, value: str) -> None:
    """Repetitions in patterns and braces in texts stay what they are."""
    frame = rows().append_column("tag", pa.array(["a{0}{{}}"] * 4))
    view = StateView(
        "v",
        entity=Entity("customer"),
        source=FrameSource("payments", event_time="ts", frame=frame),
        select={"changed": sql},
        features=["changed"],
    )
    with FeatureStore.temporary() as store:
        found = store.get_historical_features([view], instants=["2024-01-05"]).to_arrow()
    assert found["v__changed"].to_pylist() == [value, value]


@pytest.mark.parametrize(("function", "frame"), [(sized_arrow, "arrow"), (sized_polars, "polars")])
def test_categories_are_text(function: Any, frame: Any) -> None:
    """A dictionary stands for its values, nulls included."""
    view = StateView(
        "v",
        entity=Entity("customer"),
        source=FrameSource("payments", event_time="ts", frame=rows()),
        transform=RowTransform(function, outputs={"size": "string"}, frame=frame),
        features=["size"],
    )
    with FeatureStore.temporary() as store:
        found = store.get_historical_features([view], instants=["2024-01-02T12:00:00", "2024-01-05"]).to_arrow()
    assert found["v__size"].to_pylist() == ["large", "large", "small", None]
