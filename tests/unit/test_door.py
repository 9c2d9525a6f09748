"""The door of a stream source takes every kind of frame, and costs little where few rows of many do not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from asof.clock import parse_instant
from asof.plan.specs import Column, SourceSpec, StreamSpec
from asof.services import door
from asof.services.door import admit

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = parse_instant("2026-01-31")
SOURCE = SourceSpec(
    name="orders",
    kind="stream",
    event_time="ts",
    stream=StreamSpec(),
    columns=(
        Column(name="n", dtype="int64"),
        Column(name="ts", dtype="timestamp"),
        Column(name="text", dtype="string"),
        Column(name="bytes", dtype="binary"),
    ),
)
TIMES = ["2026-01-30T23:00:00Z", "2026-01-30T22:00:00Z"]
ROWS = {"n": [1, 2], "ts": TIMES, "text": ["a", "b"], "bytes": [b"a", b"b"]}
MAKERS: dict[str, Callable[[], Any]] = {
    "arrow": lambda: pa.table(ROWS),
    "polars": lambda: pl.DataFrame(ROWS),
    "polars categories": lambda: pl.DataFrame(ROWS).with_columns(pl.col("text").cast(pl.Categorical)),
    "pandas": lambda: pd.DataFrame(ROWS),
    "pandas categories": lambda: pd.DataFrame({**ROWS, "text": pd.Categorical(["a", "b"])}),
    "views": lambda: pa.table(
        {**ROWS, "text": pa.array(["a", "b"], pa.string_view()), "bytes": pa.array([b"a", b"b"], pa.binary_view())}
    ),
    "dictionaries": lambda: pa.table({**ROWS, "n": pa.array([1, 2]).dictionary_encode()}),
    "chunks": lambda: pa.concat_tables([pa.table(ROWS).slice(0, 1), pa.table(ROWS).slice(1), pa.table(ROWS).slice(2)]),
}


@pytest.mark.parametrize("made", MAKERS)
def test_every_kind_of_frame_gives_the_same_rows(made: str) -> None:
    admitted = admit(SOURCE, pa.table(MAKERS[made]()), NOW)
    assert admitted.refused == {}
    found = admitted.rows.to_pydict()
    assert (found["n"], found["text"], found["bytes"]) == (ROWS["n"], ROWS["text"], ROWS["bytes"])
    assert [time.isoformat() for time in found["ts"]] == [time.replace("Z", "+00:00") for time in TIMES]


def test_rows_that_do_not_fit_are_found_among_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """In every chunk, by their position in the whole, with few tries."""
    count, tries = 4096, 0
    cast = door._cast

    def counting(values: pa.Array, wanted: pa.DataType) -> pa.Array:
        nonlocal tries
        tries += 1
        return cast(values, wanted)

    monkeypatch.setattr(door, "_cast", counting)
    numbers = [float(n) for n in range(count)]
    numbers[7], numbers[3000] = 7.5, 1e300
    half = count // 2
    rows = pa.table(
        {
            "n": pa.chunked_array([pa.array(numbers[:half]), pa.array(numbers[half:])]),
            "ts": pa.array([NOW] * count, pa.timestamp("us", "UTC")),
        }
    )
    admitted = admit(SOURCE, rows, NOW)
    assert sorted(admitted.refused) == [7, 3000]
    assert all("column 'n' is no int64" in why for why in admitted.refused.values())
    assert admitted.rows.num_rows == admitted.index[-1].as_py() - 1 == count - 2
    assert tries < 60


def test_a_frame_without_rows_or_columns_is_no_rows() -> None:
    for empty in (pa.table({}), pa.table(ROWS).slice(0, 0), pa.table({"n": pa.chunked_array([], pa.string())})):
        assert admit(SOURCE, empty, NOW).rows.num_rows == 0
