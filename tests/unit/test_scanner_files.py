"""Which files the local scanner reads, in which order, how it bears differences, and what it says of bad ones."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import deltalake
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asof.backends.local.disk import DiskFiles
from asof.backends.local.relation import Engine, opened
from asof.backends.local.scanner import LocalScanner
from asof.errors import AsofError, SchemaError, SourceError
from asof.interfaces.scanner import ColumnRequest, ScanRequest
from asof.plan.specs import Column, SourceSpec
from asof.testing.conformance.scanner import read, us, with_roles

GOOD = "k,ts\n1,2024-01-01\n"


@pytest.fixture
def scanner(tmp_path: Path) -> LocalScanner:
    return LocalScanner(tmp_path, {}, tmp_path / "quarantine", 256 * 2**20, 2)


def file(path: str, kind: str = "parquet") -> SourceSpec:
    return SourceSpec(name="events", kind="file", path=path, format=kind, event_time="ts")


def write(path: Path, **columns: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


@pytest.mark.parametrize("threads", [1, 4])
def test_rows_keep_files_by_path_and_position_at_any_number_of_threads(tmp_path: Path, threads: int) -> None:
    """Also with many row groups, and where an event id makes the scan join."""
    rows = 30_000
    for i, name in enumerate(["c", "a", "b"]):
        ids = pa.array([*(f"{n}" for n in range(i * rows, (i + 1) * rows - 1)), "twice"])
        table = pa.table({"k": pa.array(range(i * rows, (i + 1) * rows)), "ts": us(*[5] * rows), "id": ids})
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=1000)
    scanner = LocalScanner(tmp_path, {}, tmp_path / "q", 256 * 2**20, threads)
    expected = [*range(rows, 3 * rows), *range(rows)]
    assert read(scanner, file("*.parquet"))[0]["k"] == expected
    once = [k for k in expected if k not in (3 * rows - 1, rows - 1)]
    assert read(scanner, with_roles(file("*.parquet"), event_id="id"), events=True)[0]["k"] == once


def test_small_row_groups_come_in_large_batches(tmp_path: Path, scanner: LocalScanner) -> None:
    pq.write_table(pa.table({"ts": us(*range(70_000))}), tmp_path / "a.parquet", row_group_size=500)
    sizes = [batch.num_rows for batch in scanner.scan(ScanRequest(file("a.parquet"), (), ())).batches]
    assert sum(sizes) == 70_000
    assert len(sizes) <= 2


def test_a_directory_gives_its_folders_as_columns_and_hidden_files_are_skipped(
    tmp_path: Path, scanner: LocalScanner
) -> None:
    write(tmp_path / "d/day=2024-01-02/r=b/x.parquet", k=[1], ts=us(1))
    write(tmp_path / "d/day=2024-01-01/r=a/x.parquet", k=[2], ts=us(2))
    (tmp_path / "d/_temporary.parquet").write_text("half written")
    (tmp_path / "d/.crc.parquet").write_text("x")
    found, _ = read(
        scanner, file("d"), ColumnRequest("r", "r", "string"), where="day >= DATE '2024-01-01' AND r <> 'b'"
    )
    assert found == {"k": [2], "__event_time": [2], "r": ["a"]}


def test_folders_and_compression_work_for_text(tmp_path: Path, scanner: LocalScanner) -> None:
    (tmp_path / "d/n=2").mkdir(parents=True)
    (tmp_path / "d/n=10").mkdir()
    (tmp_path / "d/n=2/a.csv.gz").write_bytes(gzip.compress(b"k;ts\n1;2024-01-01\n"))
    (tmp_path / "d/n=10/a.csv").write_text("k,ts,z\n2,2024-01-01,007\n")
    found, _ = read(scanner, file("d", "csv"), ColumnRequest("n", "n", "int64"), ColumnRequest("z", "z", "string"))
    assert (found["k"], found["n"], found["z"]) == ([2, 1], [10, 2], ["007", None])
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"k": 1, "ts": "2024-01-01T02:00:00+02:00"}\n'))
    assert read(scanner, file("a.jsonl.gz", "ndjson"))[0]["__event_time"] == [1_704_067_200_000_000]


def test_a_column_added_later_is_null_before_and_integers_widen(tmp_path: Path, scanner: LocalScanner) -> None:
    write(tmp_path / "d/a.parquet", k=[1], ts=us(1), v=pa.array([1], pa.int32()))
    write(tmp_path / "d/b.parquet", k=[2], ts=us(2).cast(pa.timestamp("us")), v=[2**40], w=["x"])
    assert scanner.schema(file("d")).field("v").type == pa.int64()
    found, _ = read(scanner, file("d"), ColumnRequest("v", "v", "int64"), ColumnRequest("w", "w", "string"))
    assert (found["v"], found["w"]) == ([1, 2**40], [None, "x"])


def test_a_type_that_changed_beyond_widening_names_both_files_and_types(tmp_path: Path, scanner: LocalScanner) -> None:
    write(tmp_path / "d/a.parquet", k=[1], ts=us(1), v=[1])
    write(tmp_path / "d/b.parquet", k=[2], ts=us(2), v=["x"])
    with pytest.raises(SchemaError, match=r"'v'.*int64 in .*a\.parquet and string in .*b\.parquet"):
        scanner.schema(file("d"))
    (tmp_path / "c").mkdir()
    (tmp_path / "c/a.csv").write_text("k,ts,v\n1,2024-01-01,1.5\n")
    (tmp_path / "c/b.csv").write_text("k,ts,v\n1,2024-01-01,true\n")
    with pytest.raises(SchemaError, match=r"DOUBLE in .*a\.csv and BOOLEAN in .*b\.csv"):
        scanner.schema(file("c", "csv"))


def test_types_of_text_are_found_over_all_rows(tmp_path: Path, scanner: LocalScanner) -> None:
    """A value far down the file counts, and a number with leading zeros is text."""
    rows = "".join(f"{i},2024-01-01T00:00:00Z,{i},{i}\n" for i in range(30_000))
    (tmp_path / "a.csv").write_text(f"k,ts,v,zip\n{rows}1,2024-01-01,1.5,007\n")
    schema = scanner.schema(file("a.csv", "csv"))
    assert schema.field("v").type == pa.float64()
    assert schema.field("zip").type == pa.string()


def test_csv_keeps_the_types_of_its_spec(tmp_path: Path, scanner: LocalScanner) -> None:
    """Today's file may look like integers; the column is still what it was when it was registered."""
    (tmp_path / "a.csv").write_text("k,ts,code\n1,2024-01-01,12\n")
    columns = (Column(name="k", dtype="int64"), Column(name="ts", dtype="date"), Column(name="code", dtype="string"))
    source = with_roles(file("a.csv", "csv"), columns=columns)
    assert read(scanner, source, ColumnRequest("code", "code", "string"))[0]["code"] == ["12"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.parquet", b"", r"a\.parquet is empty"),
        ("a.csv", b"", r"a\.csv is empty"),
        ("a.parquet", b"PAR1 not really a parquet file, but it ends like one PAR1", r"a\.parquet"),
        ("a.parquet", b"PAR1 cut off in the middle of it", r"a\.parquet .*cut off|a\.parquet .*damaged"),
        ("a.csv", b"k,ts\n1,2024-01-01\n2,2024-01-01,3\n", r"a\.csv line 3 has a line with another number"),
        ("a.csv", b"k,ts\n1,2024-01-01\n2\n", r"a\.csv line 3 has a line with another number"),
        ("a.csv", b"k,ts\n1,2024-01-01\n2,yesterday\n", r"a\.csv line 3 holds a value"),
        ("a.csv", b'k,ts\n1,"2024-01-01\n', r"a\.csv line 2 has a line with unbalanced quotes"),
        ("a.csv", b"k,ts\n\xff\xfe,2024-01-01\n", r"a\.csv is not UTF-8"),
        ("a.csv", b"k,k\n1,2\n", r"a\.csv has a header with an unnamed or repeated column"),
        ("a.csv.gz", gzip.compress(GOOD.encode() * 9999)[:-20], r"a\.csv\.gz"),
        ("a.jsonl", b'{"k": 1, "ts": "2024-01-01"}\n{"k":\n', r"a\.jsonl line 2 is not a JSON object"),
        ("a.jsonl", b"\n", r"columns are not known"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_its_line_and_a_fix(
    tmp_path: Path, scanner: LocalScanner, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    kind = {".parquet": "parquet", ".csv": "csv", ".gz": "csv", ".jsonl": "ndjson"}[Path(name).suffix]
    with pytest.raises(AsofError, match=says) as caught:
        read(scanner, file(name, kind))
    assert isinstance(caught.value, SourceError | SchemaError)
    assert caught.value.fix


def test_a_damaged_file_among_good_ones_is_named(tmp_path: Path, scanner: LocalScanner) -> None:
    for name in "abc":
        write(tmp_path / f"{name}.parquet", k=list(range(1000)), ts=us(*range(1000)))
    whole = (tmp_path / "b.parquet").read_bytes()
    (tmp_path / "b.parquet").write_bytes(whole[:20] + b"\xff" * 400 + whole[420:])
    with pytest.raises(SourceError, match=r"b\.parquet holds damaged data"):
        read(scanner, file("*.parquet"))


@pytest.mark.parametrize("path", ["nothing.parquet", "*.parquet", "empty"])
def test_a_source_without_files_says_where_it_looked(tmp_path: Path, scanner: LocalScanner, path: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=str(tmp_path / path).replace("*", r"\*")):
        scanner.schema(file(path))


def test_a_connection_reads_the_files_of_its_source_and_no_others(tmp_path: Path) -> None:
    """The engine itself refuses other files, whatever a query says."""
    write(tmp_path / "a.parquet", k=[1], ts=us(1))
    write(tmp_path / "secret.parquet", k=[1], ts=us(1))
    engine = Engine(tmp_path, 2**28, 1, DiskFiles(tmp_path / "batch"), DiskFiles(tmp_path / "log"))
    with opened(engine, file("a.parquet"), {}) as relation:
        assert relation.con.execute("SELECT count(*) FROM src").fetchall() == [(1,)]
        with pytest.raises(duckdb.PermissionException):
            relation.con.execute(f"SELECT * FROM read_parquet('{tmp_path}/secret.parquet')")


def test_delta_reads_a_version_in_the_order_of_its_commits(tmp_path: Path, scanner: LocalScanner) -> None:
    source = SourceSpec(name="events", kind="delta", path="t", event_time="ts")
    for i in range(6):
        deltalake.write_deltalake(tmp_path / "t", pa.table({"k": [2 * i, 2 * i + 1], "ts": us(1, 1)}), mode="append")
    assert read(scanner, source)[0]["k"] == list(range(12))
    assert read(scanner, with_roles(source, table_version=1))[0]["k"] == [0, 1, 2, 3]
    assert scanner.size_bytes(source) > 0
    with pytest.raises(SourceError, match="version 99"):
        read(scanner, with_roles(source, table_version=99))
    with pytest.raises(SourceError, match="Delta"):
        scanner.schema(with_roles(source, path="elsewhere"))


def test_quarantine_holds_the_rows_as_they_were_and_goes_when_they_are_repaired(
    tmp_path: Path, scanner: LocalScanner
) -> None:
    write(tmp_path / "a.parquet", k=pa.array([1, None, 3]), ts=us(1, 2, None), note=["x", "y", "z"])
    _, rejected = read(scanner, file("a.parquet"))
    assert rejected.path == str(tmp_path / "quarantine/events.k.parquet")
    rows = pq.read_table(rejected.path).to_pylist()
    assert [(row["k"], row["note"], row["__reason"]) for row in rows] == [
        (None, "y", "join key is null"),
        (3, "z", "event time is null"),
    ]
    write(tmp_path / "a.parquet", k=[1], ts=us(1))
    read(scanner, file("a.parquet"))
    assert list((tmp_path / "quarantine").iterdir()) == []


def test_a_row_without_a_key_is_set_apart_only_where_the_view_wants_it(tmp_path: Path, scanner: LocalScanner) -> None:
    """A predicate that leaves such rows out has dealt with them; they count for nobody either way."""
    write(tmp_path / "a.parquet", k=pa.array([1, None, None]), ts=us(1, 2, 3), note=["x", "y", "z"])
    columns, rejected = read(scanner, file("a.parquet"), where="k IS NOT NULL")
    assert columns["k"] == [1]
    assert rejected.counts == {}
    columns, rejected = read(scanner, file("a.parquet"), where="note <> 'y'")
    assert columns["k"] == [1]
    assert rejected.counts == {"join key is null": 1}


def test_views_of_different_keys_keep_their_own_quarantine(tmp_path: Path, scanner: LocalScanner) -> None:
    """A scan by a key that is always there does not delete what a scan by another key set apart."""
    write(tmp_path / "a.parquet", k=pa.array([1, None]), j=[1, 2], ts=us(1, 2))
    read(scanner, file("a.parquet"))
    scan = scanner.scan(ScanRequest(file("a.parquet"), (Column(name="j", dtype="int64"),), ()))
    assert sum(batch.num_rows for batch in scan.batches) == 2
    assert [found.name for found in (tmp_path / "quarantine").iterdir()] == ["events.k.parquet"]


def test_a_scan_leaves_nothing_behind(tmp_path: Path, scanner: LocalScanner) -> None:
    """Also one that is given up after its first batch, and one that fails."""
    write(tmp_path / "a.parquet", k=[1], ts=us(1))
    batches = scanner.scan(ScanRequest(file("a.parquet"), (), ())).batches
    next(batches)
    del batches
    with pytest.raises(SchemaError):
        read(scanner, file("a.parquet"), ColumnRequest("x", "x", "int64"))
    assert list((tmp_path / ".asof/tmp").iterdir()) == []


def test_size_is_that_of_the_files(tmp_path: Path, scanner: LocalScanner) -> None:
    (tmp_path / "a.csv").write_text(GOOD)
    assert scanner.size_bytes(file("a.csv", "csv")) == len(GOOD)


@pytest.mark.slow
def test_dedupe_spills_within_its_memory_limit_and_keeps_order(tmp_path: Path) -> None:
    """More distinct ids than 64 MiB can hold; every tenth id comes twice."""
    rows = 1_500_000
    ids = [f"a rather long identifier of an event, number {n - 1 if n % 10 == 1 else n}" for n in range(rows)]
    write(tmp_path / "a.parquet", k=list(range(rows)), ts=us(*[5] * rows), id=ids)
    scanner = LocalScanner(tmp_path, {}, tmp_path / "q", 64 * 2**20, 2)
    found, _ = read(scanner, with_roles(file("a.parquet"), event_id="id"), events=True)
    assert found["k"] == [n for n in range(rows) if n % 10 != 1]
    assert list((tmp_path / ".asof/tmp").iterdir()) == []
