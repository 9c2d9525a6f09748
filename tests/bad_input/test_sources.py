"""Files that are damaged, drift or say too much: each is an error with its fix, or a row set apart."""

from __future__ import annotations

import json
import os
import warnings
from contextlib import closing
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asof import Count, Entity, EventView, FeatureStore, FileSource, StateView, Sum
from asof.clock import FixedClock, parse_instant
from asof.errors import AsofError, ConflictError, CorruptDataError, RejectedRowsWarning, SchemaError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GOOD = "customer_id,ts,amount\n1,2026-01-01T00:00:00Z,2\n2,2026-01-02T00:00:00Z,3\n"
SPINE = {"customer_id": [1, 2], "event_timestamp": pa.array([parse_instant("2026-01-03")] * 2, pa.timestamp("us"))}
FEATURES = ["spend", "profile"]


class Shop:
    """A project on one source of orders."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "asof.toml").write_text('project = "shop"\ndefinitions = []\n', encoding="utf-8")
        self.store = FeatureStore(root, clock=FixedClock(parse_instant("2026-01-03")))

    def write(self, name: str, content: str | bytes | pa.Table) -> None:
        """Write a file below the root."""
        target = self.root / name
        target.parent.mkdir(exist_ok=True)
        if isinstance(content, pa.Table):
            pq.write_table(content, target)
        else:
            target.write_bytes(content.encode() if isinstance(content, str) else content)

    def apply(self, path: str = "orders.csv") -> None:
        """Register a view of sums and a view of states on the files at `path`."""
        customer = Entity("customer", join_key="customer_id")
        source = FileSource("orders", path=path, event_time="ts")
        spend = EventView(
            "spend", entity=customer, source=source, features=[Sum("amount", windows=["7d"]), Count(windows=["7d"])]
        )
        profile = StateView("profile", entity=customer, source=source, features=["amount"])
        self.store.apply(self.store.plan([spend, profile]))

    def amounts(self) -> list[object]:
        """Return the sums of both customers."""
        found = self.store.get_historical_features(FEATURES, SPINE).to_arrow()
        sums: list[object] = found["spend__amount_sum_7d"].to_pylist()
        return sums

    def refuses(self, kind: type[AsofError], says: str) -> None:
        """Assert that training and materializing fail alike, with a fix, and that what was served is still served."""
        for action in (self.amounts, self.store.materialize):
            with pytest.raises(kind, match=says) as caught:
                action()
            assert caught.value.fix, caught.value


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    with closing(shop.store):
        yield shop


@pytest.mark.parametrize(
    ("content", "kind", "says"),
    [
        ("", SourceError, r"orders\.csv is empty"),
        (GOOD + "1,2026-01-01T00:00:00Z\n", SourceError, r"orders\.csv line 4 has a line with another number"),
        (GOOD + '1,"2026-01-01T00:00:00Z,4\n', SourceError, r"orders\.csv line 4 has a line with unbalanced quotes"),
        (GOOD + "1,yesterday,4\n", SourceError, r"orders\.csv line 4 holds a value"),
        (GOOD + "x,2026-01-01T00:00:00Z,4\n", SourceError, r"orders\.csv line 4 holds a value"),
        (GOOD.encode() + b"1,2026-01-01T00:00:00Z,\xff\n", SourceError, "UTF-8"),
        (GOOD.encode() + b"\0\0\0\n", SourceError, r"orders\.csv line 4"),
        (GOOD.replace("amount", "amnt"), SchemaError, r"no column 'amount'\. Did you mean amnt"),
        (GOOD.replace("ts,", "t,"), SchemaError, "no column 'ts'"),
        (GOOD + "1,2026-01-01T00:00:00Z,9223372036854775808\n", SourceError, "line 4 holds a value"),
        (GOOD + "1,2026-01-01T00:00:00Z,2.5\n", SchemaError, r"'amount' .*is text .*bigint.*'2\.5' in"),
        (GOOD + "1,2026-01-01T00:00:00Z,5e-1\n", SchemaError, "'5e-1' in"),
        (GOOD + "1,2026-01-01T00:00:00.0000001Z,2\n", SchemaError, r"'ts' .*microseconds.*0000001Z' in"),
    ],
)
def test_a_file_that_went_bad_after_it_was_applied(
    shop: Shop, content: str | bytes, kind: type[AsofError], says: str
) -> None:
    """Nothing is guessed, rounded or cut; what was materialized before is still served."""
    shop.write("orders.csv", GOOD)
    shop.apply()
    shop.store.materialize()
    shop.write("orders.csv", content)
    shop.refuses(kind, says)
    served = shop.store.get_online_features(FEATURES, {"customer_id": [1, 2]}).to_dict()
    assert served["spend__amount_sum_7d"] == [2, 3]
    shop.write("orders.csv", GOOD)
    assert shop.amounts() == [2, 3]


def test_whole_numbers_written_as_floats_and_needless_zeros_are_exact(shop: Shop) -> None:
    """As pandas writes integers beside a null; and as many tools write nanoseconds."""
    shop.write("orders.csv", GOOD)
    shop.apply()
    shop.write("orders.csv", GOOD.replace(",2\n", ",2.0\n").replace("01T00:00:00Z", "01T00:00:00.123456000Z"))
    assert shop.amounts() == [2, 3]


def test_dates_become_times_when_a_later_row_has_one(shop: Shop) -> None:
    """A source that began with days does not lose the time of day, which would date an event before it happened."""
    shop.write("orders.csv", "customer_id,ts,amount\n1,2026-01-01,2\n2,2026-01-02,3\n")
    shop.apply()
    assert shop.amounts() == [2, 3]
    shop.write("orders.csv", "customer_id,ts,amount\n1,2026-01-02T23:30:00-01:00,2\n2,2026-01-02T23:00:00,3\n")
    assert shop.amounts() == [None, 3]


@pytest.mark.parametrize("kind", ["csv", "ndjson"])
def test_zones_may_be_mixed_and_naive_is_utc(shop: Shop, kind: str) -> None:
    times = ["2026-01-02T23:00:00", "2026-01-03T01:00:00+02:00", "2026-01-02T23:00:00-02:00", "2026-01-02"]
    rows = [{"customer_id": 1, "ts": time, "amount": 10**number} for number, time in enumerate(times)]
    lines = (
        ["customer_id,ts,amount", *(",".join(map(str, row.values())) for row in rows)]
        if kind == "csv"
        else map(json.dumps, rows)
    )
    shop.write(f"orders.{kind}", "\n".join(lines) + "\n")
    shop.apply(f"orders.{kind}")
    assert shop.amounts() == [1011, None]


def test_ndjson_times_are_not_cut(shop: Shop) -> None:
    line = '{"customer_id": 1, "ts": "2026-01-01T00:00:00.1234567Z", "amount": 1}\n'
    shop.write("orders.ndjson", line)
    shop.apply("orders.ndjson")
    shop.refuses(SchemaError, "'ts' .*1234567Z' in")
    shop.write("orders.ndjson", line.replace("4567Z", "456Z"))
    assert shop.amounts() == [1, None]


def test_rows_without_key_or_time_or_beyond_the_years_1_to_9999_are_set_apart(shop: Shop) -> None:
    bad = ",2026-01-01,4\n1,,5\n1,0000-12-31,6\n1,10000-01-01,7\n1,infinity,8\n"
    shop.write("orders.csv", GOOD + bad)
    shop.apply()
    with pytest.warns(RejectedRowsWarning, match=r"5 rows .*3 with event time is out of range"):
        assert shop.amounts() == [2, 3]
    files = list((shop.root / ".asof/offline/quarantine").glob("*.parquet"))
    assert files
    assert all(pq.read_table(file)["amount"].to_pylist() == [4, 5, 6, 7, 8] for file in files)
    with pytest.warns(RejectedRowsWarning):
        shop.store.materialize()
    read = shop.store.get_online_features(FEATURES, {"customer_id": [1]})
    assert [times[0].year for times in read.event_times.values() if times[0]] == [2026, 2026]
    shop.write("orders.csv", GOOD)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert shop.amounts() == [2, 3]
    assert not list((shop.root / ".asof/offline/quarantine").glob("*.parquet"))


@pytest.mark.parametrize("kind", [pa.timestamp("us"), pa.timestamp("s", "UTC"), pa.date32(), pa.timestamp("ms")])
def test_times_of_parquet_beyond_the_years_are_set_apart_too(shop: Shop, kind: pa.DataType) -> None:
    """Also where the statistics of the file would let the check be skipped."""
    us = {"s": 1, "ms": 10**3, "us": 10**6}
    day = 1 if kind == pa.date32() else 86_400 * us[kind.unit]
    days = [20454 * day, 2_932_896 * day, 2_932_897 * day, -719_162 * day, -719_163 * day]
    storage = pa.int32() if kind == pa.date32() else pa.int64()
    times = pa.array(days, storage).cast(kind)
    shop.write("o.parquet", pa.table({"customer_id": [1] * 5, "ts": times, "amount": [1, 10, 100, 1000, 10_000]}))
    shop.apply("o.parquet")
    with pytest.warns(RejectedRowsWarning, match=r"2 rows were set apart \(2 with event time is out of range"):
        assert shop.amounts() == [1, None]


def test_parquet_that_was_cut_off_or_drifts_is_named(shop: Shop) -> None:
    ts = pa.array([parse_instant("2026-01-02")], pa.timestamp("us"))
    table = pa.table({"customer_id": [1], "ts": ts, "amount": [2]})
    shop.write("d/a.parquet", table)
    shop.apply("d/*.parquet")
    whole = (shop.root / "d/a.parquet").read_bytes()
    for damaged in (b"", whole[:-10], whole[: len(whole) // 2], whole[:-8] + b"\xff" * 8, b"PAR1"):
        shop.write("d/b.parquet", damaged)
        shop.refuses(SourceError, r"b\.parquet")
    for column, values in (("customer_id", ["1"]), ("amount", ["2"]), ("ts", ["2026-01-02"])):
        shop.write("d/b.parquet", table.set_column(table.column_names.index(column), column, pa.array(values)))
        shop.refuses(SchemaError, rf"'{column}' .*in .*a\.parquet and string in .*b\.parquet")
    shop.write("d/b.parquet", table.set_column(1, "ts", ts.cast(pa.timestamp("ns"))).drop_columns("amount"))
    assert shop.amounts() == [2, None]


def test_a_header_without_rows_cannot_be_applied_but_is_an_empty_source_afterwards(shop: Shop) -> None:
    shop.write("orders.csv", GOOD.splitlines(keepends=True)[0])
    with pytest.raises(SourceError, match="has no rows"):
        shop.apply()
    shop.write("orders.csv", GOOD)
    shop.apply()
    shop.write("orders.csv", GOOD.splitlines(keepends=True)[0])
    assert shop.amounts() == [None, None]


def test_a_source_that_is_gone_says_where_it_was(shop: Shop) -> None:
    shop.write("orders.csv", GOOD)
    shop.apply()
    (shop.root / "orders.csv").unlink()
    shop.refuses(SourceError, r"there is no file .*orders\.csv")
    (shop.root / "orders.csv").mkdir()
    shop.refuses(SourceError, r"holds no csv file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_says_so(shop: Shop) -> None:
    shop.write("orders.csv", GOOD)
    shop.apply()
    (shop.root / "orders.csv").chmod(0)
    shop.refuses(SourceError, "cannot be opened")


def test_an_older_instant_never_replaces_a_newer_one(shop: Shop) -> None:
    shop.write("orders.csv", GOOD)
    shop.apply()
    shop.store.materialize(at="2026-01-03")
    with pytest.raises(ConflictError) as caught:
        shop.store.materialize(at="2026-01-02")
    assert caught.value.fix
    read = shop.store.get_online_features(FEATURES, {"customer_id": [1]}, at="2026-01-03")
    assert read.to_dict()["spend__count_7d"] == [1]


@pytest.mark.parametrize("file", [".asof/registry.db", ".asof/online/data.mdb"])
def test_a_damaged_store_is_named_and_not_overwritten(shop: Shop, file: str) -> None:
    shop.write("orders.csv", GOOD)
    shop.apply()
    shop.store.materialize()
    shop.store.close()
    garbage = b"garbage" * 5000
    shop.write(file, garbage)
    for action in (shop.store.materialize, lambda: shop.store.get_online_features("s", {"customer_id": [1]})):
        with pytest.raises(CorruptDataError) as caught:
            action()
        assert caught.value.fix
    assert (shop.root / file).read_bytes() == garbage
