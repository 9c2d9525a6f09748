"""The order in which rows are visited, by epoch and by worker, and batches of a fixed size from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from asof.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from asof.frameworks.columns import Array, Encoding


class Groups(Protocol):
    """Rows in a fixed order that can be read in groups, in any order of the groups."""

    schema: pa.Schema

    def __len__(self) -> int: ...

    def group_count(self) -> int:
        """Return how many groups there are."""
        ...

    def read_groups(self, order: Sequence[int], columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield the groups of these numbers, one at a time, with these columns or all; a group may be empty."""
        ...

    def null_columns(self, columns: Sequence[str]) -> Collection[str]:
        """Return which of the columns hold a null."""
        ...


@dataclass(frozen=True)
class Visit:
    """Which rows one worker visits in one epoch, and in which order.

    Attributes:
        seed: Decides the order. None: the order of the rows.
        worker: The number of the worker, from 0.
        workers: How many there are. Each row is visited by one of them.
        mix: How many groups are shuffled together, and are in memory, at a time.
    """

    seed: int | None = None
    worker: int = 0
    workers: int = 1
    mix: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.worker < self.workers:
            raise InputError(f"There is no worker {self.worker} of {self.workers}", fix="Count workers from 0.")
        if self.mix < 1:
            raise InputError(f"{self.mix} groups cannot be mixed", fix="Give mix=1 or more.")
        if self.seed is not None and self.seed < 0:
            raise InputError(f"A seed of {self.seed} is none", fix="Give a seed of 0 or more.")

    def tables(self, source: Groups, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield the rows, `mix` groups at a time where they are shuffled.

        Workers divide the groups among them or, where there are fewer groups than workers, the rows of each.
        """
        count = source.group_count()
        order = np.arange(count) if self.seed is None else np.random.default_rng(self.seed).permutation(count)
        by_row = count < self.workers
        mine = order if by_row else order[self.worker :: self.workers]
        step = 1 if self.seed is None else self.mix
        seen = 0
        read = source.read_groups(mine.tolist(), columns)
        for start in range(0, len(mine), step):
            parts = [next(read) for _ in mine[start : start + step]]
            rows = parts[0] if len(parts) == 1 else pa.concat_tables(parts)
            places = np.arange(rows.num_rows)
            if self.seed is not None:
                places = np.random.default_rng((self.seed, int(mine[start]))).permutation(rows.num_rows)
            if by_row:
                places = places[(self.worker - seen) % self.workers :: self.workers]
                seen += rows.num_rows
            yield rows if self.seed is None and not by_row else rows.take(pa.array(places))


def batches(source: Groups, encoding: Encoding, rows: int, visit: Visit) -> Iterator[dict[str, Array]]:
    """Yield arrays by column, of exactly `rows` rows but for the last; they share no memory with anything.

    Raises:
        InputError: fewer than one row is asked for, or a value cannot be encoded.
    """
    refuse_rows(rows)
    held: dict[str, Array] = {}
    filled = 0
    for table in visit.tables(source, encoding.names):
        arrays = {one.name: one.array(table.column(one.name)) for one in encoding.columns}
        start = 0
        while start < table.num_rows:
            if not filled:
                held = {one.name: np.empty((rows, *one.shape), one.dtype) for one in encoding.columns}
            taken = min(rows - filled, table.num_rows - start)
            for name, values in arrays.items():
                held[name][filled : filled + taken] = values[start : start + taken]
            start, filled = start + taken, filled + taken
            if filled == rows:
                yield held
                held, filled = {}, 0
    if filled:
        yield {name: values[:filled] for name, values in held.items()}


def elements(source: Groups, encoding: Encoding, rows: int, visit: Visit) -> Iterator[Any]:
    """Yield `batches` as (features, label), or features alone where there is no label."""
    return (encoding.element(arrays) for arrays in batches(source, encoding, rows, visit))


def refuse_rows(rows: int) -> int:
    """Return how many rows a batch is to have.

    Raises:
        InputError: fewer than one.
    """
    if rows < 1:
        raise InputError(f"A batch cannot have {rows} rows", fix="Give 1 or more.")
    return rows
