"""What PostgreSQL's types become, and which of their values are refused instead of being bent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from asof import Entity, EventView, PostgresSource, StateView, Sum
from asof.errors import DefinitionError, RejectedRowsWarning, SchemaError

if TYPE_CHECKING:
    from asof import FeatureStore
    from tests.servers.postgres import PostgresServer

CUSTOMER = Entity("customer", join_key="k")
SPINE = {"k": [1], "event_timestamp": [datetime(2026, 1, 15, tzinfo=UTC)]}
TS = "timestamptz '2026-01-02 03:04:05.000006+01'"

MAPPED = [
    ("int2 '-7'", "int16", -7),
    ("int4 '7'", "int32", 7),
    ("int8 '9007199254740993'", "int64", 2**53 + 1),
    ("oid '4000000000'", "int64", 4_000_000_000),
    ("float4 '0.1'", "float32", pytest.approx(0.1)),
    ("float8 '0.1'", "float64", 0.1),
    ("float8 'NaN'", "float64", None),
    ("float8 'Infinity'", "float64", float("inf")),
    ("bool 'true'", "bool", True),
    ("text 'ä\nb'", "string", "ä\nb"),
    ("CAST('ab' AS char(4))", "string", "ab"),
    ("CAST(1.25 AS numeric(10,2))", "decimal(10,2)", "1.25"),
    (
        "CAST('-12345678901234567890123456789012345.678' AS numeric(38,3))",
        "decimal(38,3)",
        "-" + "1234567890" * 3 + "12345.678",
    ),
    ("CAST('NaN' AS numeric(10,2))", "decimal(10,2)", None),
    ("uuid '0189C0DE-0000-7000-8000-00000000000a'", "string", "0189c0de-0000-7000-8000-00000000000a"),
    ("""json '{"a": 1}'""", "string", '{"a": 1}'),
    ("""jsonb '{"a":1}'""", "string", '{"a": 1}'),
    ("bytea '\\x00ff'", "binary", b"\x00\xff"),
    ("date '0001-01-01'", "date", "0001-01-01"),
    ("time '12:00:00.000001'", "time", "12:00:00.000001"),
    ("timestamp '2026-01-02 03:04:05'", "timestamp", "2026-01-02 03:04:05+00:00"),
    ("timestamptz '2026-01-02 03:04:05+01'", "timestamp", "2026-01-02 02:04:05+00:00"),
    ("ARRAY[1, NULL, 3]", "list<int32>", [1, None, 3]),
    ("ARRAY['a', NULL]", "list<string>", ["a", None]),
    ("ARRAY[uuid '0189c0de-0000-7000-8000-00000000000a']", "list<string>", ["0189c0de-0000-7000-8000-00000000000a"]),
    ("CAST(ARRAY[] AS float8[])", "list<float64>", []),
    ("CAST(NULL AS int8)", "int64", None),
]


def source(value: str, **options: Any) -> PostgresSource:
    query = f"SELECT 1 AS k, {TS} AS ts, {value} AS v"
    return PostgresSource("rows", connection="warehouse", query=query, event_time="ts", **options)


def state(value: str) -> StateView:
    return StateView("now", entity=CUSTOMER, source=source(value), features=["v"])


@pytest.mark.parametrize(("value", "dtype", "expected"), MAPPED)
def test_a_value_comes_as_it_is(value: str, dtype: str, expected: object, store: FeatureStore, schema: str) -> None:
    """Each type has one that holds it without loss; NaN is null, a time without a zone is UTC."""
    view = state(value)
    table = store.get_historical_features([view], SPINE).to_arrow()
    found = table.column("now__v")[0].as_py()
    shown = str(found) if isinstance(expected, str) and not isinstance(found, str) else found
    assert shown == expected
    store.apply(store.plan([view]), who="test")
    [kept] = store.catalog().sources()
    assert {one.name: one.dtype for one in kept.columns}["v"] == dtype


def test_an_enum_and_a_domain_come_as_what_they_are_made_of(
    store: FeatureStore, schema: str, postgres_server: PostgresServer
) -> None:
    """An enum is text, a domain its base."""
    with postgres_server.connect() as connection:
        connection.execute(f"CREATE TYPE {schema}.mood AS ENUM ('low', 'high')")
        connection.execute(f"CREATE DOMAIN {schema}.positive AS numeric(5,1) CHECK (value > 0)")
    for value, expected in ((f"CAST('low' AS {schema}.mood)", "low"), (f"CAST(1.5 AS {schema}.positive)", "1.5")):
        found = store.get_historical_features([state(value)], SPINE).to_arrow().column("now__v")[0].as_py()
        assert str(found) == expected


REFUSED_TYPES = [
    ("CAST(1.5 AS numeric)", "numeric"),
    ("interval '1 month'", "interval"),
    ("point '(1,2)'", "point"),
    ("CAST(1 AS numeric(60,2))", "numeric"),
    ("ARRAY[timestamp '2026-01-01']", "_timestamp"),
    ("inet '127.0.0.1'", "inet"),
]


@pytest.mark.parametrize(("value", "kind"), REFUSED_TYPES)
def test_a_type_that_nothing_holds_is_refused_where_it_is_used(
    value: str, kind: str, store: FeatureStore, schema: str
) -> None:
    """A plan says which column and why; a view that does not use it is fine."""
    with pytest.raises(SchemaError) as error:
        store.plan([state(value)])
    assert "'v'" in error.value.what
    assert kind in error.value.why
    assert "query=" in error.value.why
    fine = StateView("now", entity=CUSTOMER, source=source(f"5 AS other, {value}"), features=["other"])
    assert store.get_historical_features([fine], SPINE).to_arrow().column("now__other").to_pylist() == [5]


@pytest.mark.parametrize("value", ["timestamptz 'infinity'", "timestamp '-infinity'", "date 'infinity'"])
def test_an_infinite_value_is_refused_instead_of_wrapping_around(value: str, store: FeatureStore, schema: str) -> None:
    """The driver would turn it into another time."""
    with pytest.raises(SchemaError, match="infinite") as error:
        store.get_historical_features([state(value)], SPINE).to_arrow()
    assert "NULLIF" in error.value.fix


def test_an_array_of_arrays_is_refused_instead_of_flattened(store: FeatureStore, schema: str) -> None:
    """The driver would give its items as one list."""
    with pytest.raises(SchemaError, match="arrays of arrays"):
        store.get_historical_features([state("ARRAY[[1,2],[3,4]]")], SPINE).to_arrow()


def test_rows_whose_time_is_none_are_set_apart(
    store: FeatureStore, schema: str, postgres_server: PostgresServer
) -> None:
    """Null and infinite event times are quarantined with their reason, by pruned scans, too."""
    with postgres_server.connect() as connection:
        connection.execute(f"CREATE TABLE {schema}.events (k int, ts timestamptz, v int)")
        rows = "(1, '2026-01-14', 1), (1, NULL, 2), (1, 'infinity', 4), (1, '-infinity', 8), (1, '2025-01-01', 16)"
        connection.execute(f"INSERT INTO {schema}.events VALUES {rows}")
    events = PostgresSource("rows", connection="warehouse", table=f"{schema}.events", event_time="ts")
    view = EventView("sums", entity=CUSTOMER, source=events, features=[Sum("v", windows=["7d"])])
    with pytest.warns(RejectedRowsWarning, match="event time is null.*event time is out of range|out of range.*null"):
        found = store.get_historical_features([view], SPINE).to_arrow()
    assert found.column("sums__v_sum_7d").to_pylist() == [1]


def test_columns_that_differ_by_case_are_refused(store: FeatureStore, schema: str) -> None:
    """Names of columns do not differ by case."""
    with pytest.raises(SchemaError, match="two columns, 'V' and 'v'"):
        store.plan([state('1 AS "V", 2')])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"connection": "postgresql://u:secret@h/db", "table": "t"}, "password"),
        ({"connection": "postgresql://h/db?password=secret", "table": "t"}, "password"),
        ({"connection": "not a name", "table": "t"}, "neither a name"),
        ({"connection": "w"}, "exactly one"),
        ({"connection": "w", "table": "t", "query": "SELECT 1"}, "exactly one"),
        ({"connection": "w", "table": "a.b.c"}, "table"),
        ({"connection": "w", "query": " ; "}, "empty query"),
        ({"connection": "w", "table": "t", "order_by": ("a", "a")}, "order_by"),
    ],
)
def test_a_definition_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    """When it is made, and without repeating what is secret."""
    with pytest.raises(DefinitionError) as error:
        PostgresSource("rows", event_time="ts", **options)
    assert message in str(error.value)
    assert "secret" not in str(error.value)
