"""Masked columns of point-in-time joins: nulls of the column's type, and the status that says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from asof.plan.masks import MASKED
from asof.services.missing import STATUS_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Places = list[tuple[str, str, str]]

GROUP = "masked"


class _Columns(Protocol):
    @property
    def schema(self) -> pa.Schema: ...


class MaskedColumns:
    """Nulls for any rows, in place of the columns of a group."""

    def __init__(self, schema: pa.Schema) -> None:
        """Stand for columns of these names and types; those of statuses are told."""
        self.schema = schema

    def slice(self, start: int, stop: int) -> pa.Table:
        """Return spine rows `start` to `stop`."""
        rows = stop - start
        arrays = [
            pa.repeat(MASKED, rows) if field.name.endswith(STATUS_SUFFIX) else pa.nulls(rows, field.type)
            for field in self.schema
        ]
        return pa.Table.from_arrays(arrays, schema=self.schema)


def mask(
    columns: Sequence[tuple[str, str, str]], answers: Mapping[str, _Columns], masked: frozenset[str]
) -> tuple[Places, MaskedColumns]:
    """Return where columns are found once some are masked, and what stands for these.

    Args:
        columns: (output name, key of the group, column of the group); statuses follow their features.
        answers: The groups.
        masked: Output names.
    """
    hidden = masked | {name + STATUS_SUFFIX for name in masked}
    fields = [pa.field(name, answers[key].schema.field(column).type) for name, key, column in columns if name in hidden]
    places = [(name, GROUP, name) if name in hidden else (name, key, column) for name, key, column in columns]
    return places, MaskedColumns(pa.schema(fields))
