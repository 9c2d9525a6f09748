"""Integers in newline-delimited JSON are 64-bit wherever their values are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asof import dtypes
from asof.backends.local.scanner import LocalScanner
from asof.definitions import FileSource
from asof.plan.resolve import source_spec

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["-7", "3"], "int64"),
        (["null", "-9223372036854775808", "9223372036854775807"], "int64"),
        (["-1", "9223372036854775808"], "decimal(38,0)"),
        (["[-1, 2]", "null"], "list<int64>"),
    ],
)
def test_negative_numbers_do_not_widen_a_column(tmp_path: Path, values: list[str], expected: str) -> None:
    """A sign alone makes no decimal; a value beyond 64 bits does, and nothing is lost."""
    lines = [f'{{"ts": "2024-01-01", "x": {value}, "none": null}}\n' for value in values]
    (tmp_path / "rows.ndjson").write_text("".join(lines), encoding="utf-8")
    scanner = LocalScanner(tmp_path, {}, tmp_path / "quarantine", 2**26, 1)
    schema = scanner.schema(source_spec(FileSource("rows", path="rows.ndjson", event_time="ts")))
    assert dtypes.from_arrow(schema.field("x").type) == expected
