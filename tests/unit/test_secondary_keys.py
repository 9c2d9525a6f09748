"""Aggregates by a secondary key: maps from definition to answer, in every form that a value takes."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asof import (
    Aggregate,
    Count,
    CountDistinct,
    Entity,
    EventView,
    FeatureService,
    FeatureStore,
    FileSource,
    First,
    Last,
    LastN,
    Max,
    Mean,
    Min,
    OnDemandView,
    Percentile,
    RowTransform,
    Stddev,
    Sum,
    TopK,
    Variance,
)
from asof.clock import FixedClock, parse_instant
from asof.errors import DefinitionError, InputError, SchemaError
from asof.kernel.content_hash import table_hash
from asof.testing import feature_table, feature_values

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = "2026-01-05T00:00"
ORDERS = """\
id,customer_id,ts,amount,shop,code,gift,day
1,7,2026-01-01T00:00:00Z,2.5,b,1,true,2026-01-01
2,7,2026-01-02T00:00:00Z,4.0,a,2,false,2026-01-02
3,7,2026-01-04T12:00:00Z,1.0,b,1,false,2026-01-04
4,7,2026-01-04T13:00:00Z,,"q""z",3,false,2026-01-04
5,7,2026-01-04T14:00:00Z,8.0,,3,false,2026-01-04
6,8,2026-01-04T14:00:00Z,8.0,,,,
"""
customer = Entity("customer", join_key="customer_id")
orders = FileSource("orders", path="orders.csv", event_time="ts", event_id="id")
spend = EventView(
    "spend",
    entity=customer,
    source=orders,
    features=[
        Sum("amount", windows=["30d", "1d"], by="shop"),
        Count(windows=["1d"], where="amount > 1 OR amount IS NULL", by="shop"),
        Last("amount", by="code"),
        Max("shop", windows=["30d"], by="gift"),
        Mean("code", windows=["30d"], by="day", name="code_by_day"),
        Sum("amount", windows=["30d"]),
    ],
)
fraud = FeatureService("fraud", features=[spend])
SUM = "spend__amount_sum_by_shop_30d"


def order(ts: str, **values: Any) -> dict[str, Any]:
    return {"id": ts, "customer_id": 7, "ts": ts, **values}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """Return the project applied, materialized, with its clock at the fifth."""
    (tmp_path / "orders.csv").write_text(ORDERS, encoding="utf-8")
    (tmp_path / "asof.toml").write_text('project = "shop"\ndefinitions = []\n', encoding="utf-8")
    with FeatureStore(tmp_path, clock=FixedClock(parse_instant(NOW))) as opened:
        opened.apply(opened.plan([spend, fraud]))
        opened.materialize()
        yield opened


def spine() -> pa.Table:
    instants = pa.array([datetime(2026, 1, 5, tzinfo=UTC)] * 3, pa.timestamp("us", "UTC"))
    return pa.table({"customer_id": [7, 8, 9], "event_timestamp": instants})


def test_names_and_types_say_the_key() -> None:
    """The column that groups stands before the window, or the given name replaces it with the rest."""
    assert spend.feature_names() == (
        "amount_sum_by_shop_30d",
        "amount_sum_by_shop_1d",
        "count_by_shop_1d",
        "amount_last_by_code_lifetime",
        "shop_max_by_gift_30d",
        "code_by_day_30d",
        "amount_sum_30d",
    )


def test_types_are_maps_of_keys_to_what_the_aggregate_gives(store: FeatureStore) -> None:
    """Keys have the types that join keys are compared as."""
    assert {f.name: f.dtype for f in store.catalog().select(["spend"]).items[0].view.features} == {
        "amount_sum_by_shop_30d": "map<string, float64>",
        "amount_sum_by_shop_1d": "map<string, float64>",
        "count_by_shop_1d": "map<string, int64>",
        "amount_last_by_code_lifetime": "map<int64, float64>",
        "shop_max_by_gift_30d": "map<bool, string>",
        "code_by_day_30d": "map<date, float64>",
        "amount_sum_30d": "float64",
    }


def test_groups_have_their_own_values_and_null_keys_do_not_count() -> None:
    """Entries are ascending by key; a group whose inputs are all null or outside is absent."""
    view = EventView(
        "spend",
        entity=customer,
        source=orders,
        features=[
            *(make("amount", windows=["1d"], by="shop") for make in (Sum, Mean, Min, Max, Stddev, Variance)),
            First("amount", windows=["1d"], by="shop"),
            Last("amount", windows=["1d"], by="shop"),
            Count(windows=["1d"], by="shop"),
            Count("amount", windows=["1d"], by="shop"),
        ],
    )
    rows = [
        order("2026-01-04T01:00", amount=2.0, shop="b"),
        order("2026-01-04T02:00", amount=4.0, shop="b"),
        order("2026-01-04T03:00", amount=1.0, shop="a"),
        order("2026-01-04T04:00", amount=None, shop="c"),
        order("2026-01-04T05:00", amount=9.0, shop=None),
        order("2026-01-01T05:00", amount=9.0, shop="z"),
    ]
    found = feature_values(view, rows, keys={"customer_id": 7}, at="2026-01-05")
    assert found == {
        "amount_sum_by_shop_1d": {"a": 1.0, "b": 6.0},
        "amount_mean_by_shop_1d": {"a": 1.0, "b": 3.0},
        "amount_min_by_shop_1d": {"a": 1.0, "b": 2.0},
        "amount_max_by_shop_1d": {"a": 1.0, "b": 4.0},
        "amount_stddev_by_shop_1d": {"a": None, "b": 2.0**0.5},
        "amount_variance_by_shop_1d": {"a": None, "b": 2.0},
        "amount_first_by_shop_1d": {"a": 1.0, "b": 2.0},
        "amount_last_by_shop_1d": {"a": 1.0, "b": 4.0},
        "count_by_shop_1d": {"a": 1, "b": 2, "c": 1},
        "amount_count_by_shop_1d": {"a": 1, "b": 2},
    }
    assert list(found["amount_sum_by_shop_1d"]) == ["a", "b"]


def test_no_group_is_null_but_for_counts() -> None:
    """A count without groups is a map without entries, also of an entity that was never seen."""
    view = EventView(
        "v",
        entity=customer,
        source=orders,
        features=[Sum("amount", windows=["1d"], by="shop"), Count(windows=["1d"], by="shop")],
    )
    rows = [order("2026-01-04T01:00", amount=1.0, shop=None)]
    asked = [{"customer_id": key, "event_timestamp": "2026-01-05"} for key in (7, 8)]
    assert feature_table(view, rows, asked, statuses=True) == [
        {
            "amount_sum_by_shop_1d": None,
            "amount_sum_by_shop_1d__status": status,
            "count_by_shop_1d": {},
            "count_by_shop_1d__status": of_count,
        }
        for status, of_count in (("null", "present"), ("missing", "missing"))
    ]


@pytest.mark.parametrize(
    ("define", "why"),
    [
        (lambda: CountDistinct("amount", windows=["1d"], by="shop"), "cannot be grouped"),
        (lambda: TopK("amount", 2, windows=["1d"], by="shop"), "cannot be grouped"),
        (lambda: LastN("amount", 2, by="shop"), "cannot be grouped"),
        (lambda: Percentile("amount", 0.5, windows=["1d"], by="shop"), "cannot be grouped"),
        (lambda: Sum("amount", windows=["1d"], by="shop", default=0.0), "has a default"),
        (lambda: Sum("amount", windows=["1d"], by=""), "grouped by ''"),
        (lambda: Sum("amount", windows=["1d"], by=3), "grouped by 3"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_grouped_is_refused_when_it_is_defined(define: Any, why: str) -> None:
    """The error names the aggregate and says which ones can."""
    with pytest.raises(DefinitionError, match=why):
        define()


def defined(tmp_path: Path, *features: Aggregate, **more: Any) -> Any:
    (tmp_path / "orders.csv").write_text(ORDERS, encoding="utf-8")
    (tmp_path / "asof.toml").write_text('project = "shop"\ndefinitions = []\n', encoding="utf-8")
    view = EventView("v", entity=customer, source=orders, features=features, **more)
    with FeatureStore(tmp_path) as opened:
        return opened.plan([view])


def test_keys_are_of_the_types_of_join_keys(tmp_path: Path) -> None:
    """Floats are no keys; a column that `select` makes of them is."""
    with pytest.raises(SchemaError, match="groups by column 'amount', which is float64"):
        defined(tmp_path, Count(windows=["1d"], by="amount"))
    with pytest.raises(SchemaError, match="nope"):
        defined(tmp_path, Count(windows=["1d"], by="nope"))
    defined(tmp_path, Count(windows=["1d"], by="whole"), select={"whole": "CAST(amount AS BIGINT)"})


def nothing(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch


def test_maps_are_features_only(tmp_path: Path, store: FeatureStore) -> None:
    """On-demand views read none, and no function or request brings one."""
    reading = OnDemandView("o", inputs=[spend["amount_sum_by_shop_1d"]], function=nothing, outputs={"x": "int64"})
    with pytest.raises(SchemaError, match=r"spend:amount_sum_by_shop_1d, which is map<string, float64>"):
        store.plan([spend, reading])
    giving = OnDemandView(
        "o", inputs=[spend["amount_sum_30d"]], function=nothing, outputs={"x": "map<string, float64>"}
    )
    with pytest.raises(DefinitionError, match="A column cannot be map"):
        store.plan([spend, giving])
    transform = RowTransform(nothing, outputs={"x": "map<string, float64>"})
    with pytest.raises(DefinitionError, match="which is no type"):
        defined(tmp_path, Count(windows=["1d"]), transform=transform)


def test_history_gives_arrow_maps_and_rows_of_them(store: FeatureStore) -> None:
    """One row per entry, others repeated, none where there is no entry."""
    with store.get_historical_features("fraud", spine()) as found:
        table = found.to_arrow()
        assert table.schema.field(SUM).type == pa.map_(pa.string(), pa.float64())
        assert table[SUM].to_pylist() == [[("a", 4.0), ("b", 3.5)], None, None]
        rows = found.map_rows(SUM)
        assert rows.select(["customer_id", f"{SUM}__key", f"{SUM}__value"]).to_pydict() == {
            "customer_id": [7, 7],
            f"{SUM}__key": ["a", "b"],
            f"{SUM}__value": [4.0, 3.5],
        }
        assert rows.column_names[:4] == ["customer_id", "event_timestamp", f"{SUM}__key", f"{SUM}__value"]
        counts = found.map_rows("spend__count_by_shop_1d")
        assert counts["spend__count_by_shop_1d__key"].to_pylist() == ['q"z']
        with pytest.raises(InputError, match="is int64"):
            found.map_rows("customer_id")
        with pytest.raises(InputError, match=f"Did you mean {SUM}"):
            found.map_rows(SUM + "s")


def test_online_gives_dicts_and_json_objects(store: FeatureStore) -> None:
    """Keys keep their types in Python and are text in JSON; Arrow is as offline."""
    answer = store.get_online_features("fraud", {"customer_id": [7, 8, 9]})
    values = answer.to_dict()
    assert values[SUM] == [{"a": 4.0, "b": 3.5}, None, None]
    assert values["spend__count_by_shop_1d"] == [{'q"z': 1}, {}, {}]
    assert values["spend__amount_last_by_code_lifetime"][0] == {1: 1.0, 2: 4.0, 3: 8.0}
    assert values["spend__shop_max_by_gift_30d"][0] == {False: 'q"z', True: "b"}
    assert values["spend__code_by_day_30d"][0] == {
        date(2026, 1, 1): 1.0,
        date(2026, 1, 2): 2.0,
        date(2026, 1, 4): 7.0 / 3.0,
    }
    results = json.loads(answer.to_json())["results"]
    assert [result["values"][:5] for result in results] == [
        [
            {"a": 4.0, "b": 3.5},
            {"b": 1.0},
            {'q"z': 1},
            {"1": 1.0, "2": 4.0, "3": 8.0},
            {"false": 'q"z', "true": "b"},
        ],
        [None, None, {}, None, None],
        [None, None, {}, None, None],
    ]
    with store.get_historical_features("fraud", spine()) as trained:
        assert answer.to_arrow()[SUM].to_pylist() == trained.to_arrow()[SUM].to_pylist()
        assert answer.to_arrow().schema.field(SUM).type == trained.schema.field(SUM).type


def test_files_keep_maps_and_csv_refuses_them(store: FeatureStore, tmp_path: Path) -> None:
    """Parquet, Arrow and Delta hold what was joined; CSV says which column it has no form for."""
    with store.get_historical_features("fraud", spine()) as found:
        exact = found.to_arrow()
        found.write(tmp_path / "out.parquet")
        assert pq.read_table(tmp_path / "out.parquet").equals(exact)
        found.write(tmp_path / "out.arrow")
        with pa.memory_map(str(tmp_path / "out.arrow")) as file:
            assert pa.ipc.open_file(file).read_all().equals(exact)
        found.write(tmp_path / "out.delta")
        with pytest.raises(InputError, match=f"CSV has no form for column '{SUM}'"):
            found.write(tmp_path / "out.csv")
        assert not (tmp_path / "out.csv").exists()


def test_training_sets_keep_maps_and_rebuild_them(store: FeatureStore) -> None:
    """The rows, their hash and the statistics are those of the join; Parquet's own field names do not show."""
    made = store.create_training_set("t", "fraud", spine())
    rows = made.read()
    assert rows.to_arrow()[SUM].to_pylist() == [[("a", 4.0), ("b", 3.5)], None, None]
    assert rows.map_rows(SUM).num_rows == 2
    shown = {one.name: one for one in made.manifest.statistics}[SUM]
    assert (shown.type, shown.rows, shown.nulls) == ("map<string, double>", 3, 2)
    assert store.rebuild_training_set("t").read().to_arrow().equals(rows.to_arrow())


def test_a_content_hash_sees_keys_values_and_where_maps_end() -> None:
    """Whatever slices or field names the maps have."""
    type_ = pa.map_(pa.string(), pa.int64())
    maps = [[[("a", 1)], [("b", 2)]], [[("a", 1), ("b", 2)], []], [[("a", 2)], [("b", 1)]], [[("b", 1)], [("a", 2)]]]
    hashes = [table_hash(pa.table({"m": pa.array(one, type_)})) for one in maps]
    assert len(set(hashes)) == len(hashes)
    longer = pa.table({"m": pa.array([[("x", 9)], *maps[0]], type_)}).slice(1)
    renamed = pa.map_(pa.field("k", pa.string(), nullable=False), pa.field("v", pa.int64()))
    assert table_hash(longer) == hashes[0] == table_hash(pa.table({"m": pa.array(maps[0], type_).cast(renamed)}))


def test_explain_shows_each_rows_group(store: FeatureStore) -> None:
    """Rows without a key are null inputs; both paths agree."""
    found = store.explain("spend:amount_sum_by_shop_30d", {"customer_id": 7}, NOW)
    assert found.definition.startswith("sum of amount by shop over 30d")
    assert (found.dtype, found.column, found.by) == ("map<string, float64>", "amount", "shop")
    assert [(row.group, row.value) for row in found.rows] == [("b", 1.0), ("a", 4.0), ("b", 2.5)]
    assert [(one.cause, [row.event_id for row in one.rows]) for one in found.outside] == [("null_input", ["5", "4"])]
    assert found.offline.value == found.online.value == {"a": 4.0, "b": 3.5}
    assert found.agree is True
    counted = store.explain("spend:count_by_shop_1d", {"customer_id": 7}, NOW)
    assert (counted.column, counted.inside, counted.agree) == (None, 1, True)


def test_lineage_and_plans_name_the_secondary_key(store: FeatureStore) -> None:
    """A changed key is a changed meaning."""
    assert "secondary key" in str(store.lineage("spend:amount_sum_by_shop_30d"))
    changed = EventView(
        "spend", entity=customer, source=orders, features=[Sum("amount", windows=["30d"], by="code", name="amount_sum")]
    )
    before = EventView(
        "spend", entity=customer, source=orders, features=[Sum("amount", windows=["30d"], by="shop", name="amount_sum")]
    )
    store.apply(store.plan([before]))
    [change] = [one for one in store.plan([changed]).changes if one.kind == "view"]
    assert change.action == "new_version"
    assert "feature amount_sum_30d: by changed: shop -> code" in change.details
