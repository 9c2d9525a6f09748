"""Rows pushed from files and pipes, and dead letters, from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asof.backends.local.row_files import read_pipe

if TYPE_CHECKING:
    from tests.cli.conftest import Project

FEATURES = """\
from asof import Count, Entity, EventView, StreamSource, Sum

customer = Entity("customer", join_key="customer_id")
types = {"customer_id": "int64", "amount": "float64", "big": "bool", "ts": "timestamp"}
orders = StreamSource("orders", schema=types, event_time="ts")
spend = EventView("spend", entity=customer, source=orders, features=[Count(windows=["lifetime"])])
"""
TIME = "2026-01-01T00:00:00Z"


@pytest.fixture
def applied(project: Project) -> Project:
    project.write("features.py", FEATURES)
    assert project.run("apply").code == 0
    return project


def push(project: Project, name: str, *options: str) -> Any:
    done = project.run("push", "orders", str(project.root / name), *options, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def counted(project: Project, customer: int) -> Any:
    done = project.run("get-online-features", "spend:count_lifetime", "--key", f"customer_id={customer}", "--json")
    return json.loads(done.out)["results"][0]["values"][0]


@pytest.mark.parametrize("name", ["o.parquet", "o.arrow", "stream.arrow", "o.csv", "o.ndjson"])
def test_rows_are_taken_in_from_every_format_in_batches(applied: Project, name: str) -> None:
    rows = [{"customer_id": 7, "amount": i / 2, "big": i > 2, "ts": TIME, "more": "x"} for i in range(7)]
    target = applied.root / name
    table = pa.Table.from_pylist(rows)
    if name.endswith(".parquet"):
        pq.write_table(table, target)
    elif name == "o.arrow":
        with pa.ipc.new_file(target, table.schema) as file:
            file.write_table(table)
    elif name == "stream.arrow":
        with pa.ipc.new_stream(target, table.schema) as stream:
            stream.write_table(table)
    elif name == "o.csv":
        lines = [",".join(str(value) for value in row.values()) for row in rows]
        target.write_text("\ufeffcustomer_id,amount,big,ts,more\n" + "\n\n".join(lines), encoding="utf-8")
    else:
        target.write_text("\n \n".join(map(json.dumps, rows)), encoding="utf-8")
    done = push(applied, name, "--batch-size", "3")
    assert (done["taken"], done["repeated"], done["refused"], done["entry"]) == (7, 0, 0, 3)
    assert counted(applied, 7) == 7


def test_refused_rows_are_reported_listed_and_shown(applied: Project) -> None:
    """By their place in the file; the exit status tells only with --strict."""
    applied.write("o.csv", f"customer_id,amount,ts\n1,2.5,{TIME}\nx,1,{TIME}\n1,,\n1,3,{TIME},9\n1,1_0,{TIME}\n")
    done = push(applied, "o.csv", "--batch-size", "2")
    assert (done["taken"], done["refused"]) == (1, 4)
    assert [one["row"] for one in done["rows"]] == [1, 2, 3, 4]
    assert "the row has 4 fields, and the header 3" in done["reasons"]
    shown = applied.run("push", "orders", str(applied.root / "o.csv"), "--strict")
    assert shown.code == 1
    assert "orders: 1 row taken in, 4 refused." in shown.out
    assert "1 x event time is null" in shown.out
    listed = applied.run("deadletter", "list", "orders")
    assert "orders: 8 dead letters" in listed.out
    assert "2 x event time is null" in listed.out
    found = json.loads(applied.run("deadletter", "list", "orders", "--limit", "1", "--json").out)
    assert (found["total"], len(found["letters"])) == (8, 1)
    letter = applied.run("deadletter", "show", "orders", "1-0")
    assert (letter.code, letter.err) == (0, "")
    assert "From: push" in letter.out
    assert json.loads(letter.out.splitlines()[-1]) == {"customer_id": "x", "amount": 1.0, "ts": TIME}


def test_lines_that_are_no_json_are_kept_to_the_byte(applied: Project) -> None:
    line = b'{"customer_id": 1, "amount": \xff}'
    (applied.root / "o.ndjson").write_bytes(b"[1]\n" + line + b"\n")
    assert push(applied, "o.ndjson")["refused"] == 2
    assert "5b" not in applied.run("deadletter", "show", "orders", "1-0").out
    assert line.hex(" ") in applied.run("deadletter", "show", "orders", "1-1").out
    assert json.loads(applied.run("deadletter", "show", "orders", "1-0", "--json").out)["value"] == "[1]"
    command = [sys.executable, "-m", "asof.cli", "--project", str(applied.root)]
    raw = subprocess.run([*command, "deadletter", "show", "orders", "1-1", "--raw"], capture_output=True, check=True)
    assert raw.stdout == line


def test_a_replay_takes_in_what_fits_by_now(applied: Project) -> None:
    applied.write("o.csv", f"customer_id,amount,ts\nx,1,{TIME}\n3,none,{TIME}\n")
    push(applied, "o.csv")
    applied.edit('"amount": "float64", ', "")
    assert applied.run("apply").code == 0
    assert applied.run("deadletter", "replay", "orders", "--id", "4-4").code == 6
    done = applied.run("deadletter", "replay", "orders", "--strict")
    assert (done.code, done.out.splitlines()[0]) == (1, "orders: 1 row taken in, 1 dead letter left.")
    assert counted(applied, 3) == 1
    done = applied.run("deadletter", "replay", "orders", "--id", "1-0", "--json")
    assert (done.code, json.loads(done.out)["taken"]) == (0, 0)


def test_a_source_without_dead_letters_says_so(applied: Project) -> None:
    assert applied.run("deadletter", "list", "orders").out == "orders has no dead letters.\n"
    assert applied.run("deadletter", "list", "oders").code == 6
    assert applied.run("deadletter", "replay", "orders").out == "orders: 0 rows taken in, 0 dead letters left.\n"


@pytest.mark.parametrize(
    ("source", "name", "text", "code"),
    [
        ("oders", "o.csv", "ts\n", 6),
        ("orders", "none.csv", None, 6),
        ("orders", "o.txt", "", 5),
        ("orders", "o.parquet", "", 9),
        ("orders", "o.arrow", "torn", 9),
        ("orders", "o.csv", 'ts\n"open', 9),
    ],
)
def test_what_cannot_be_pushed_is_explained(
    applied: Project, source: str, name: str, text: str | None, code: int
) -> None:
    if text is not None:
        applied.write(name, text)
    done = applied.run("push", source, str(applied.root / name))
    assert (done.code, "Traceback" in done.err) == (code, False), done.err


def test_rows_come_through_standard_input(applied: Project) -> None:
    rows = "".join(json.dumps({"customer_id": 9, "amount": 1, "ts": TIME}) + "\n" for _ in range(50))
    command = [sys.executable, "-m", "asof.cli", "--project", str(applied.root), "push", "orders", "-", "--json"]
    done = subprocess.run(command, input=(rows + "{").encode(), capture_output=True, check=True)
    assert (json.loads(done.stdout)["taken"], json.loads(done.stdout)["refused"]) == (50, 1)
    assert counted(applied, 9) == 50


def test_a_pipe_is_read_as_far_as_it_goes(applied: Project) -> None:
    """Lines are passed on as they come; one that is not whole waits for its end."""
    read, write = os.pipe()
    try:
        batches = read_pipe(read, 2)
        os.write(write, b"a\nb\nc\nd")
        assert next(batches) == [b"a", b"b"]
        assert next(batches) == [b"c"]
        os.write(write, b"e\n\n")
        assert next(batches) == [b"de"]
        os.write(write, b"f")
        os.close(write)
        assert list(batches) == [[b"f"]]
    finally:
        os.close(read)
