"""Intervals of batch sources as arithmetic, and the order in which batch sources feed each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asof import dtypes
from asof.errors import DefinitionError
from asof.plan.functions import function_spec
from asof.plan.specs import BatchSpec, Column, meaning_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from asof.definitions.batch import BatchSource
    from asof.plan.specs import SourceSpec


@dataclass(frozen=True, order=True)
class Interval:
    """`[start_us, end_us)`, microseconds since the epoch; its run's rows have `end_us` as event time."""

    start_us: int
    end_us: int


def batch_spec(source: BatchSource, inputs: tuple[SourceSpec, ...]) -> BatchSpec:
    """Return what a batch source runs, over the specs of its inputs.

    Raises:
        DefinitionError: its function cannot be referred to.
        SchemaError: a declared column has a dtype that does not exist.
    """
    for _, dtype in source.outputs:
        dtypes.column_type(dtype)
    used_by = f"Batch source {source.name!r}"
    return BatchSpec(
        inputs=inputs,
        sql=source.sql,
        function=None if source.function is None else function_spec(source.function, used_by),
        outputs=tuple(Column(name=name, dtype=dtype) for name, dtype in source.outputs),
        every_us=source.every_us,
    )


def batch_of(source: SourceSpec) -> BatchSpec:
    """Return what a source runs.

    Raises:
        DefinitionError: it is no batch source.
    """
    if source.batch is None:
        raise DefinitionError(
            f"Source {source.name!r} is read where it is, nothing is run for it", fix="Name a batch source or view."
        )
    return source.batch


def intervals(batch: BatchSpec, start_us: int, end_us: int) -> list[Interval]:
    """Return the intervals that touch `[start_us, end_us)` and end by `end_us`, in order."""
    first, last = start_us // batch.every_us, end_us // batch.every_us
    return [Interval(k * batch.every_us, (k + 1) * batch.every_us) for k in range(first, last)]


def due_until_us(source: SourceSpec, now_us: int) -> int:
    """Return the end of the newest interval whose rows may be there at `now_us`."""
    every_us = batch_of(source).every_us
    return (now_us - source.delay_us) // every_us * every_us


def in_order(sources: Iterable[SourceSpec]) -> list[SourceSpec]:
    """Return the batch sources among these and their inputs, each meaning once, inputs before what reads them."""
    found: dict[str, SourceSpec] = {}
    for source in sources:
        for one in _closure(source):
            known = found.setdefault(meaning_hash(one), one)
            if not known.columns:  # as an input has none
                found[meaning_hash(one)] = one
    return list(found.values())


def _closure(source: SourceSpec) -> Iterator[SourceSpec]:
    if source.batch is not None:
        for one in source.batch.inputs:
            yield from _closure(one)
        yield source
