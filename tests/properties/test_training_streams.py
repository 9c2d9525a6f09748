"""Batches for frameworks: whatever the groups, workers, seeds and sizes, each row comes once, with its own values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from asof.frameworks.columns import encode
from asof.frameworks.streams import Visit, batches

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

SCHEMA = pa.schema({"row": pa.int64(), "value": pa.int16(), "pair": pa.list_(pa.float32(), 2)})


class InMemory:
    """Groups of rows of these sizes, and a count of those that were read."""

    schema = SCHEMA

    def __init__(self, sizes: list[int], nulls: set[int]) -> None:
        numbers = list(range(sum(sizes)))
        values = [None if n in nulls else n % 100 for n in numbers]
        pairs = [None if n in nulls else [n, n / 2] for n in numbers]
        table = pa.table({"row": numbers, "value": values, "pair": pairs}, schema=SCHEMA)
        starts = np.cumsum([0, *sizes])
        self.groups = [table.slice(start, size) for start, size in zip(starts, sizes, strict=False)]
        self.nulls = {"value"} if table["value"].null_count else set()
        self.read = 0

    def __len__(self) -> int:
        return sum(group.num_rows for group in self.groups)

    def group_count(self) -> int:
        return len(self.groups)

    def read_groups(self, order: Sequence[int], columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        for group in order:
            self.read += 1
            yield self.groups[group].select(columns or SCHEMA.names)

    def null_columns(self, columns: Sequence[str]) -> Collection[str]:
        return self.nulls & set(columns)


sources = st.builds(InMemory, st.lists(st.integers(0, 4), max_size=5), st.sets(st.integers(0, 9), max_size=3))


@given(
    source=sources,
    rows=st.integers(1, 6),
    seed=st.none() | st.integers(0, 3),
    workers=st.integers(1, 7),
    mix=st.integers(1, 3),
)
def test_workers_visit_each_row_once_with_its_values(
    source: InMemory, rows: int, seed: int | None, workers: int, mix: int
) -> None:
    """In full batches but for each one's last; a seed gives one order; without one it is the rows' own."""
    encoding = encode(SCHEMA, SCHEMA.names, None, source.nulls)

    def visited(worker: int) -> list[dict[str, Any]]:
        return list(batches(source, encoding, rows, Visit(seed, worker, workers, mix)))

    parts = [visited(worker) for worker in range(workers)]
    assert all(len(batch["row"]) == rows for part in parts for batch in part[:-1])
    order = [[n for batch in part for n in batch["row"].tolist()] for part in parts]
    assert sorted(n for part in order for n in part) == list(range(len(source)))
    assert order == [[n for batch in visited(w) for n in batch["row"].tolist()] for w in range(workers)]
    if seed is None:
        assert all(part == sorted(part) for part in order)
    if len(source.groups) < workers:
        assert max(map(len, order)) - min(map(len, order)) <= 1
    whole = pa.concat_tables([SCHEMA.empty_table(), *source.groups])
    for batch in (batch for part in parts for batch in part):
        assert [batch[name].dtype for name in SCHEMA.names] == [one.dtype for one in encoding.features]
        for place, row in enumerate(batch["row"].tolist()):
            wanted = whole.slice(row, 1).to_pylist()[0]
            value, pair = wanted["value"], wanted["pair"]
            np.testing.assert_array_equal(batch["value"][place], np.nan if value is None else value)
            np.testing.assert_array_equal(batch["pair"][place], [np.nan] * 2 if pair is None else pair)


@given(sizes=st.lists(st.integers(1, 4), max_size=7), mix=st.integers(1, 3), seed=st.integers(0, 3))
def test_no_more_groups_are_read_than_are_mixed(sizes: list[int], mix: int, seed: int) -> None:
    """Those of a row come when the rows of the groups before are used up."""
    source = InMemory(sizes, set())
    group_of = {row: place for place, group in enumerate(source.groups) for row in group["row"].to_pylist()}
    seen: set[int] = set()
    for batch in batches(source, encode(SCHEMA, ["row"], None, ()), 1, Visit(seed, mix=mix)):
        seen.add(group_of[int(batch["row"][0])])
        assert source.read == min(mix * -(-len(seen) // mix), len(sizes))
