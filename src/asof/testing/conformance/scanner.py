"""What every scanner must do; subclass `ScannerConformance` and give it a `place` fixture.

`place` takes an Arrow table, puts its rows where the scanner reads, in that order, and returns the scanner with a
source of that place whose event time is the column `ts`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from asof.errors import DefinitionError, SchemaError
from asof.interfaces.scanner import ColumnRequest, Rejected, Scanner, ScanRequest
from asof.plan.specs import Column, SourceSpec

Place = Callable[[pa.Table], tuple[Scanner, SourceSpec]]
KEYS = (Column(name="k", dtype="int64"),)


def us(*values: int | None) -> pa.Array:
    """Return UTC timestamps of these microseconds since the epoch."""
    return pa.array(values, pa.timestamp("us", "UTC"))


def read(
    scanner: Scanner, source: SourceSpec, *columns: ColumnRequest, keys: tuple[Column, ...] = KEYS, **options: Any
) -> tuple[dict[str, list[Any]], Rejected]:
    """Run a scan to its end; return its columns and what it rejected."""
    scan = scanner.scan(ScanRequest(source, keys, columns, **options))
    table = pa.Table.from_batches(list(scan.batches), schema=scan.schema)
    return table.to_pydict(), scan.rejected


def with_roles(source: SourceSpec, **roles: Any) -> SourceSpec:
    """Return the source with other roles for its columns."""
    return msgspec.structs.replace(source, **roles)


class ScannerConformance:
    """Behaviour that services rely on."""

    @pytest.fixture
    def place(self) -> Place:
        """Return a function that stores rows and gives a scanner and a source for them."""
        raise NotImplementedError("give a `place` fixture")

    def test_rows_come_in_ingest_order_with_times_in_microseconds(self, place: Place) -> None:
        """Keys, event times and columns have their own types and the order in which they were stored."""
        table = pa.table({"k": [2, 1, 2], "ts": us(3_000_000, 1, 2), "v": [1.5, None, 3.0], "s": ["a", "b", None]})
        found, rejected = read(*place(table), ColumnRequest("v", "v", "float64"), ColumnRequest("text", "s", "string"))
        assert found == {
            "k": [2, 1, 2],
            "__event_time": [3_000_000, 1, 2],
            "v": [1.5, None, 3.0],
            "text": ["a", "b", None],
        }
        assert rejected == Rejected()

    def test_the_schema_names_every_column(self, place: Place) -> None:
        """It tells the types that features can have."""
        scanner, source = place(pa.table({"k": [1], "ts": us(5), "v": [1.5], "s": ["a"], "b": [True]}))
        schema = scanner.schema(source)
        assert schema.names == ["k", "ts", "v", "s", "b"]
        assert pa.types.is_integer(schema.field("k").type)
        assert pa.types.is_timestamp(schema.field("ts").type)
        assert pa.types.is_floating(schema.field("v").type)
        assert pa.types.is_boolean(schema.field("b").type)

    def test_times_as_values_are_utc_timestamps(self, place: Place) -> None:
        """A time column delivered as a value is an instant, not a number."""
        found, _ = read(*place(pa.table({"k": [1], "ts": us(1_500_000)})), ColumnRequest("t", "ts", "timestamp"))
        assert found["t"] == [datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)]

    def test_no_rows_is_an_empty_scan(self, place: Place) -> None:
        """A source without rows is fine, and its scan has its schema."""
        scanner, source = place(pa.table({"k": pa.array([], pa.int64()), "ts": us()}))
        columns = (Column(name="k", dtype="int64"), Column(name="ts", dtype="timestamp"))
        source = with_roles(source, columns=columns)
        assert read(scanner, source) == ({"k": [], "__event_time": []}, Rejected())

    def test_nothing_is_read_before_the_first_batch(self, place: Place) -> None:
        """An error of the data shows when a batch is taken, not when the scan starts."""
        scanner, source = place(pa.table({"k": [1], "ts": us(1)}))
        scan = scanner.scan(ScanRequest(source, KEYS, (ColumnRequest("x", "nowhere", "int64"),)))
        assert scan.schema.names == ["k", "__event_time", "x"]
        with pytest.raises(SchemaError, match="nowhere"):
            next(scan.batches)

    def test_where_keeps_rows_where_it_is_true_and_null_is_not_true(self, place: Place) -> None:
        """Rows where the predicate is false or null are left out."""
        scanner, source = place(pa.table({"k": [1, 2, 3], "ts": us(1, 2, 3), "v": [1.0, None, -1.0]}))
        assert read(scanner, source, where="v > 0")[0]["k"] == [1]
        assert read(scanner, source, where="NOT v > 0")[0]["k"] == [3]

    def test_a_columns_own_where_nulls_its_values_and_keeps_the_rows(self, place: Place) -> None:
        """Without a column the values are trues, so counting the values that are not null counts the rows."""
        scanner, source = place(pa.table({"k": [1, 2, 3], "ts": us(1, 2, 3), "v": [1.0, None, -1.0]}))
        found, _ = read(
            scanner,
            source,
            ColumnRequest("v", "v", "float64", "v > 0"),
            ColumnRequest("rows", None, "bool", "v > 0"),
            ColumnRequest("all", None, "bool"),
        )
        assert found["v"] == [1.0, None, None]
        assert found["rows"] == [True, None, None]
        assert found["all"] == [True, True, True]

    def test_time_bounds_include_both_ends(self, place: Place) -> None:
        """Rows before the first or after the last instant are left out."""
        scanner, source = place(pa.table({"k": [1, 2, 3, 4], "ts": us(1, 2, 3, 4)}))
        found, _ = read(scanner, source, event_time_from_us=2, event_time_until_us=3)
        assert found["k"] == [2, 3]

    def test_available_at_is_its_column_or_the_delayed_event_time(self, place: Place) -> None:
        """It is absent where it equals the event time."""
        scanner, source = place(pa.table({"k": [1], "ts": us(5), "known": us(9)}))
        assert read(scanner, with_roles(source, available_at="known"))[0]["__available_at"] == [9]
        assert read(scanner, with_roles(source, delay_us=7))[0]["__available_at"] == [12]
        assert "__available_at" not in read(scanner, source)[0]

    def test_an_event_id_counts_once_by_available_at_then_ingest_order(self, place: Place) -> None:
        """The first arrival wins even if it came later in the file, and dedupe comes before `where`."""
        scanner, source = place(
            pa.table({"k": [1, 2, 3, 4], "ts": us(9, 8, 7, 6), "id": ["a", "a", "b", "b"], "known": us(20, 10, 5, 5)})
        )
        source = with_roles(source, event_id="id", available_at="known")
        assert read(scanner, source, events=True)[0]["k"] == [2, 3]
        assert read(scanner, source, events=True, where="k <> 2")[0]["k"] == [3]
        assert read(scanner, source, events=True, event_time_until_us=7)[0]["k"] == [3]

    def test_equal_rows_without_an_event_id_are_several_events(self, place: Place) -> None:
        """Two events in one microsecond are two events."""
        scanner, source = place(pa.table({"k": [1, 1], "ts": us(5, 5)}))
        assert read(scanner, source, events=True)[0]["k"] == [1, 1]

    def test_a_retraction_marks_its_event_before_or_after_it_arrived(self, place: Place) -> None:
        """Deleted rows are not delivered; the earliest retraction of an id counts."""
        rows = {
            "k": [1, 2, 1, 2, 1, 3, 4],
            "ts": us(1, 2, 3, 4, 5, 6, 7),
            "id": ["a", "b", "a", "b", "a", "c", "d"],
            "gone": [None, True, True, False, True, False, True],
        }
        scanner, source = place(pa.table(rows))
        found, _ = read(scanner, with_roles(source, event_id="id", deleted="gone"), events=True)
        assert found == {"k": [1, 2, 3], "__event_time": [1, 4, 6], "__retracted_at": [3, 2, None]}

    def test_events_cannot_be_retracted_without_an_id(self, place: Place) -> None:
        """That is an error when the scan starts."""
        scanner, source = place(pa.table({"k": [1], "ts": us(1), "gone": [True]}))
        with pytest.raises(DefinitionError, match="event_id"):
            read(scanner, with_roles(source, deleted="gone"), events=True)

    def test_states_keep_every_row_and_their_tombstones(self, place: Place) -> None:
        """A null in the deleted column means not deleted."""
        scanner, source = place(pa.table({"k": [1, 1, 1], "ts": us(1, 2, 3), "gone": [False, True, None]}))
        found, _ = read(scanner, with_roles(source, deleted="gone"))
        assert found["__deleted"] == [False, True, False]

    def test_rows_that_cannot_be_used_are_counted_by_reason(self, place: Place) -> None:
        """Good rows go on; each bad row counts once, under its first reason."""
        table = pa.table(
            {
                "k": [1, 2, 3, None, 5, 6],
                "ts": us(1, None, 3, 4, 5, 100),
                "id": ["a", "b", None, "d", "e", "f"],
                "known": us(1, 2, 3, 4, None, 6),
            }
        )
        scanner, source = place(table)
        source = with_roles(source, event_id="id", available_at="known", max_skew_us=10)
        found, rejected = read(scanner, source, events=True, now_us=50)
        assert found["k"] == [1]
        assert rejected.counts == {
            "event time is null": 1,
            "event id is null": 1,
            "join key is null": 1,
            "available at is null": 1,
            "event time is ahead of the clock": 1,
        }
        assert rejected.path is not None

    def test_an_event_exactly_max_skew_ahead_is_kept(self, place: Place) -> None:
        """Only more than that is too much; without a clock nothing is."""
        scanner, source = place(pa.table({"k": [1, 2], "ts": us(60, 61)}))
        source = with_roles(source, max_skew_us=10)
        assert read(scanner, source, now_us=50)[0]["k"] == [1]
        assert read(scanner, source)[0]["k"] == [1, 2]

    def test_a_null_key_matters_to_scans_that_read_the_key(self, place: Place) -> None:
        """Another entity's scan of the same row is not concerned."""
        scanner, source = place(pa.table({"k": [None, 2], "other": [7, 8], "ts": us(1, 2)}))
        assert read(scanner, source, keys=(Column(name="other", dtype="int64"),))[0]["other"] == [7, 8]
        assert read(scanner, source)[1].counts == {"join key is null": 1}

    def test_a_rejected_row_takes_no_part_in_dedupe(self, place: Place) -> None:
        """An id whose first row is unusable is counted by its next one."""
        scanner, source = place(pa.table({"k": [1, 2], "ts": us(None, 5), "id": ["a", "a"]}))
        assert read(scanner, with_roles(source, event_id="id"), events=True)[0]["k"] == [2]

    def test_keys_are_delivered_as_their_declared_type(self, place: Place) -> None:
        """Several keys keep the order of the request."""
        scanner, source = place(pa.table({"k": [1], "ts": us(1), "s": ["x"]}))
        keys = (Column(name="s", dtype="string"), Column(name="k", dtype="int64"))
        found, _ = read(scanner, source, keys=keys)
        assert found == {"s": ["x"], "k": [1], "__event_time": [1]}

    def test_a_conversion_that_loses_something_is_refused_with_the_column(self, place: Place) -> None:
        """Whole floats can be integers; others cannot."""
        scanner, source = place(pa.table({"k": [1, 2], "ts": us(1, 2), "v": [1.5, 2.5], "s": ["x", "y"]}))
        with pytest.raises(SchemaError, match="'v'"):
            read(scanner, source, ColumnRequest("v", "v", "int64"))
        with pytest.raises(SchemaError, match="'s'"):
            read(scanner, source, ColumnRequest("s", "s", "float64"))

    @pytest.mark.parametrize(
        "predicate",
        [
            "now() > ts",
            "current_timestamp > ts",
            "random() > 0.5",
            "age(ts) > INTERVAL 1 DAY",
            "k IN (SELECT 1)",
            "EXISTS (SELECT 1)",
            "k > 1; DROP TABLE src",
            "k > 1) OR (k < 0",
            "k > 1 FROM src",
            "sum(k) > 1",
            "row_number() OVER () > 1",
            "read_text('/etc/hostname') IS NULL",
            "nothing > 1",
            "k",
            "k > $1",
            "k > 1 AS big",
            "",
            "k >",
        ],
    )
    def test_a_predicate_that_is_no_plain_condition_is_refused(self, place: Place, predicate: str) -> None:
        """It may neither read other data nor depend on the moment, when it is checked and when it is used."""
        scanner, source = place(pa.table({"k": [1], "ts": us(1)}))
        with pytest.raises(DefinitionError):
            scanner.check_predicate(source.name, scanner.schema(source), predicate)
        with pytest.raises(DefinitionError):
            read(scanner, source, where=predicate)

    @pytest.mark.parametrize(
        "predicate",
        [
            "k = 1",
            "k BETWEEN 0 AND 2 AND NOT k IN (5, 6)",
            "ts < TIMESTAMPTZ '2024-01-01 00:00:00Z' -- a comment",
            "coalesce(lower(s), '') LIKE 'x%'",
            "CASE WHEN k > 0 THEN true ELSE false END",
            '"k" IS NOT NULL',
        ],
    )
    def test_a_plain_condition_is_accepted(self, place: Place, predicate: str) -> None:
        """What is accepted can be used."""
        scanner, source = place(pa.table({"k": [1], "ts": us(1), "s": ["X"]}))
        scanner.check_predicate(source.name, scanner.schema(source), predicate)
        assert read(scanner, source, where=predicate)[0]["k"] == [1]

    def test_key_values_are_distinct_sorted_and_without_nulls(self, place: Place) -> None:
        """They are the keys of rows where the predicate is true."""
        scanner, source = place(pa.table({"k": [3, 1, None, 3, 2], "ts": us(1, 2, 3, 4, 5), "v": [1, 1, 1, 1, 0]}))
        assert scanner.key_values(source, KEYS, None).to_pydict() == {"k": [1, 2, 3]}
        assert scanner.key_values(source, KEYS, "v = 1").to_pydict() == {"k": [1, 3]}

    def test_a_trace_has_every_row_of_the_key_with_what_became_of_it(self, place: Place) -> None:
        """Repeated, retracted, rejected and filtered rows are there; rows of other keys decide, but are not."""
        scanner, source = place(
            pa.table(
                {
                    "k": [2, 1, 1, 1, 1, 1],
                    "ts": us(1, 2, 3, 4, None, 6),
                    "id": [7, 7, 8, 8, 9, 10],
                    "gone": [False, False, False, True, False, False],
                    "v": [0.5, 1.0, 2.0, 3.0, 4.0, float("nan")],
                }
            )
        )
        source = with_roles(source, event_id="id", deleted="gone", delay_us=10)
        columns = (ColumnRequest("x", "v", "float64", "v > 1"), ColumnRequest("rows", None, "bool"))
        table = scanner.trace(ScanRequest(source, KEYS, columns, where="v < 3", events=True), [1])
        assert table.to_pydict() == {
            "__order": [2, 3, 4, 5, 6],
            "__event_time": [2, 3, 4, None, 6],
            "__available_at": [12, 13, 14, None, 16],
            "__event_id": ["7", "8", "8", "9", "10"],
            "__rejected": [None, None, None, "event time is null", None],
            "__deleted": [False, False, True, False, False],
            "__first": [False, True, False, True, True],
            "__retracted_at": [None, 14, 14, None, None],
            "__where": [True, True, False, False, False],
            "x": [1.0, 2.0, 3.0, None, None],
            "x__where": [False, True, True, False, False],
            "rows": [True, True, True, None, True],
            "rows__where": [True] * 5,
        }

    def test_a_trace_of_states_or_of_an_unknown_key_needs_no_ids(self, place: Place) -> None:
        """Every row of a state counts; a key that no row has gives no rows."""
        scanner, source = place(pa.table({"k": [1, 1], "ts": us(1, 1), "v": [1, 2]}))
        request = ScanRequest(source, KEYS, (ColumnRequest("v", "v", "int64"),))
        assert scanner.trace(request, [1]).select(["__event_id", "__first", "v"]).to_pydict() == {
            "__event_id": [None, None],
            "__first": [True, True],
            "v": [1, 2],
        }
        assert scanner.trace(request, [3]).num_rows == 0

    def test_predicate_columns_are_those_it_reads_whatever_their_case(self, place: Place) -> None:
        """In the source's order, each once."""
        scanner, source = place(pa.table({"k": [1], "ts": us(1), "v": [1.0], "s": ["a"]}))
        columns = tuple(Column(name=name, dtype="string") for name in ("k", "ts", "v", "s"))
        source = with_roles(source, columns=columns)
        assert scanner.predicate_columns(source, "upper(S) = 'v' AND V > 1 OR v IS NULL") == ("v", "s")
        assert scanner.predicate_columns(source, "true") == ()
