"""Batch sources that cannot work are refused when they are defined or planned, with what to write instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from asof import BatchSource, BatchView, Entity, EventView, FeatureStore, FileSource, FrameSource, StateView, Sum
from asof.backends.local.queries import query_schema
from asof.errors import DefinitionError, SchemaError
from asof.plan.batch import Interval, batch_of, in_order, intervals
from asof.plan.specs import meaning_hash
from asof.plan.wording import describe_change
from asof.services.batches import resolve_batch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asof.plan.specs import SourceSpec

SQL = "SELECT customer_id, sum(amount) AS total FROM orders WHERE ts >= $start AND ts < $end GROUP BY 1"
customer = Entity("customer", join_key="customer_id")
orders = FileSource("orders", path="orders.csv", event_time="ts")
SCHEMA = pa.schema([("customer_id", pa.int64()), ("ts", pa.timestamp("us", "UTC")), ("amount", pa.int64())])


def one_of_many(inputs: object, start: object, end: object) -> dict[str, Any]:
    """Return nothing."""
    return {}


@pytest.fixture
def store() -> Iterator[FeatureStore]:
    with FeatureStore.temporary() as opened:
        (opened.config.root / "orders.csv").write_text("customer_id,ts,amount\n7,2026-01-01T10:00:00Z,1\n")
        yield opened


def batch(**changes: Any) -> BatchSource:
    return BatchSource("daily", **({"inputs": [orders], "schedule": "1d", "delay": "2h", "sql": SQL} | changes))


def spec(store: FeatureStore, source: BatchSource) -> SourceSpec:
    return resolve_batch(source, store._scanner({}, 2**28, 1))[0]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"inputs": []}, "no inputs"),
    ({"inputs": [orders, FileSource("Orders", path="x.csv", event_time="ts")]}, "same name"),
    ({"inputs": [FrameSource("frame", {}, event_time="ts")]}, "has input"),
    ({"inputs": ["orders"]}, "has input 'orders'"),
    ({"inputs": [FileSource("daily", path="x.csv", event_time="ts")]}, "of its own name"),
    ({"sql": None}, "either a query or a function"),
    ({"sql": " "}, "either a query or a function"),
    ({"function": one_of_many}, "either a query or a function"),
    ({"sql": None, "function": one_of_many}, "without columns"),
    ({"columns": {"x": "int64"}}, "has a query and columns"),
    ({"sql": None, "function": one_of_many, "columns": {"event_time": "timestamp"}}, "declares a column"),
    ({"schedule": "0 25 * * *"}, "is not a cron expression.*hour"),
    ({"schedule": "0 6 * *"}, "4 fields instead of five"),
    ({"schedule": "0 0 31 2 *"}, "is not a cron expression"),
    ({"lookback": "-1d"}, "lookback"),
    ({"schedule": "daily"}, "not a duration"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_a_batch_source_that_cannot_work_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        batch(**changes)


REFUSED = [
    ("SELECT 1 AS a; SELECT 2 AS a", "more than one statement"),
    ("SELECT FROM WHERE", "does not parse"),
    ("DELETE FROM orders", "does not parse|SELECT"),
    ("SELECT * FROM ordrs", "not one of its inputs. Did you mean orders"),
    ("SELECT * FROM 'orders.csv'", "not one of its inputs"),
    ("SELECT * FROM read_csv('orders.csv')", "read_csv"),
    ("SELECT * FROM duckdb_settings()", "duckdb_settings"),
    ("SELECT * FROM information_schema.tables", "not one of its inputs"),
    ("SELECT now() AS a FROM orders", "now is not a function"),
    ("SELECT current_date AS a FROM orders", "current_date depends"),
    ("SELECT current_timestamp AS a FROM orders", "current_timestamp depends"),
    ("SELECT random() AS a FROM orders", "random is not a function"),
    ("SELECT getenv('HOME') AS a FROM orders", "getenv is not a function"),
    ("SELECT amount FROM orders USING SAMPLE 1", "random sample"),
    ("SELECT amount FROM orders TABLESAMPLE 10%", "random sample"),
    ("SELECT amount FROM orders WHERE ts > $now", r"parameter \$now"),
    ("SELECT amount FROM orders WHERE ts > ?", r"parameter \$1"),
    ("SELECT amont FROM orders", "amont"),
]


@pytest.mark.parametrize(("sql", "message"), REFUSED)
def test_a_query_that_could_differ_from_run_to_run_is_refused(sql: str, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        query_schema("daily", sql, {"orders": SCHEMA})


ALLOWED = [
    "WITH big AS (SELECT * FROM orders WHERE amount > 1) SELECT customer_id, count(*) AS n FROM big GROUP BY ALL",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT n FROM r",
    "SELECT o.customer_id, row_number() OVER (ORDER BY o.ts) AS n FROM orders o JOIN orders p USING (customer_id)",
    "SELECT customer_id, amount FROM orders QUALIFY row_number() OVER (PARTITION BY customer_id ORDER BY ts) = 1",
    "SELECT range AS n FROM range(3)",
    "SELECT date_trunc('day', $start) AS day, list(amount ORDER BY ts) AS amounts FROM orders -- a comment",
    "SELECT customer_id FROM orders WHERE ts >= $end - INTERVAL 30 DAY UNION SELECT max(customer_id) FROM orders",
]


@pytest.mark.parametrize("sql", ALLOWED)
def test_a_query_may_use_all_of_sql_over_its_inputs(sql: str) -> None:
    assert query_schema("daily", sql, {"orders": SCHEMA}).names


def test_a_query_s_columns_have_types_that_sources_can_have() -> None:
    """A sum of integers is an int64, refused beyond; what no source can hold is refused by name."""
    found = query_schema("daily", SQL, {"orders": SCHEMA})
    assert found == pa.schema([("customer_id", pa.int64()), ("total", pa.int64())])
    with pytest.raises(SchemaError, match=r"Column 's'.*cannot have"):
        query_schema("daily", "SELECT {'a': 1} AS s FROM orders", {"orders": SCHEMA})
    with pytest.raises(SchemaError, match=r"'event_time'.*AS"):
        query_schema("daily", "SELECT ts AS event_time FROM orders", {"orders": SCHEMA})


def test_intervals_lie_on_the_grid_and_end_within_the_range(store: FeatureStore) -> None:
    """The first is the one that the start lies in, before the epoch too."""
    found = batch_of(spec(store, batch(schedule="1d")))
    day = found.every_us
    assert intervals(found, day // 2, 3 * day - 1) == [Interval(0, day), Interval(day, 2 * day)]
    assert intervals(found, -1, day) == [Interval(-day, 0), Interval(0, day)]
    assert intervals(found, 5, 5) == []


def test_the_meaning_is_query_inputs_schedule_and_delay(store: FeatureStore) -> None:
    """A description changes nothing; each of the others is another meaning, said in words."""
    before = spec(store, batch())
    assert meaning_hash(spec(store, batch(description="Per day."))) == meaning_hash(before)
    changes: dict[str, dict[str, Any]] = {
        "sql changed": {"sql": SQL.replace("sum", "max")},
        "schedule changed: 1d -> 6h": {"schedule": "6h"},
        "delay changed: 2h -> 3h": {"delay": "3h"},
        "input orders: event id changed": {
            "inputs": [FileSource("orders", path="orders.csv", event_time="ts", event_id="customer_id")]
        },
        "function changed: none -> ": {"sql": None, "function": one_of_many, "columns": {"customer_id": "int64"}},
    }
    for words, change in changes.items():
        after = spec(store, batch(**change))
        assert meaning_hash(after) != meaning_hash(before)
        assert words in "; ".join(describe_change(before, after))


def test_other_sources_are_stored_as_they_were_before_there_were_batch_sources(store: FeatureStore) -> None:
    """A registry that knows no batch source keeps its versions."""
    store.apply(store.plan([EventView("v", entity=customer, source=orders, features=[Sum("amount", windows=["1h"])])]))
    assert b"batch" not in store.registry.snapshot().objects["source", "orders", 1].body


def test_inputs_come_before_what_reads_them(store: FeatureStore) -> None:
    daily = batch()
    weekly = BatchSource("weekly", inputs=[daily], schedule="7d", sql="SELECT * EXCLUDE (event_time) FROM daily")
    plan = store.plan([StateView("w", entity=customer, source=weekly, features=["total"])])
    assert [one.source for one in plan.batches] == ["daily", "weekly"]
    assert [s.name for s in in_order([spec(store, weekly), spec(store, daily)])] == ["daily", "weekly"]
    edges = [(used[1], user[1]) for used, user in plan.touched]
    assert edges.index(("orders", "daily")) < edges.index(("daily", "weekly")) < edges.index(("weekly", "w"))


def test_a_type_change_that_breaks_a_reader_is_refused_by_the_plan(store: FeatureStore) -> None:
    """The reader's query no longer fits what its input gives."""
    names = batch(sql="SELECT customer_id, 'x' AS total FROM orders")
    doubled = BatchSource("twice", inputs=[names], schedule="1d", sql="SELECT customer_id, sin(total) AS t FROM daily")
    with pytest.raises((DefinitionError, SchemaError), match="'twice'"):
        store.plan([StateView("w", entity=customer, source=doubled, features=["t"])])


def test_a_batch_view_is_a_state_view_over_a_source_of_its_name(store: FeatureStore) -> None:
    view = BatchView(
        "daily", entity=customer, inputs=[orders], schedule="1d", delay="2h", sql=SQL, features=["total"], ttl="2d"
    )
    other = StateView("daily", entity=customer, source=batch(), features=["total"], ttl="2d")
    assert store.plan([view]).changes == store.plan([other]).changes
