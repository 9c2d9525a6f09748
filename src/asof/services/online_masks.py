"""Masked columns of online answers: a block of nulls in place of the values, and the status that says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa

from asof import _native, dtypes
from asof.definitions.missing import INDICATOR
from asof.plan.masks import MASKED
from asof.plan.specs import column_name
from asof.services.missing import STATUS_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asof.plan.selection import Selection

    Pick = tuple[int, int]


class OnlineMasks:
    """What one read plan masks. It adds a block after all others, which answers do not name.

    Attributes:
        name: The name of the block.
        picks: Block and position of every masked column.
        columns: The masked columns.
        hidden: The answer's names of views of which nothing is shown; their event times are not shown either.
    """

    name = " masked"

    def __init__(
        self, selection: Selection, masked: frozenset[str], block: int, views: Sequence[tuple[str, str]]
    ) -> None:
        """Compile what a selection masks.

        Args:
            selection: The features that are read.
            masked: Columns of it.
            block: The number of blocks before this one.
            views: Per stored view the key of its group and its name in the answer.
        """
        types = _types(selection)
        self.columns = [name for name in selection.columns() if name in masked]
        self._schema = pa.schema([pa.field(name, types.get(name, pa.bool_())) for name in self.columns])
        self.picks = {name: (block, place) for place, name in enumerate(self.columns)}
        shown = {item.group for item in selection.items if item.column not in masked}
        if selection.on_demand is not None and _computed(selection) - masked:
            shown |= {one.group for one in selection.on_demand.inputs}
        self.hidden = {name for group, name in views if group not in shown}

    def block(self, rows: int) -> _native.Block:
        """Return the block of nulls."""
        arrays = [pa.nulls(rows, field.type) for field in self._schema]
        return _native.Block.from_arrow(pa.RecordBatch.from_arrays(arrays, schema=self._schema))

    def statuses(self, found: dict[str, list[str]]) -> dict[str, list[str]]:
        """Return statuses by column, those of masked ones told."""
        return {name: [MASKED] * len(one) if name in self.picks else one for name, one in found.items()}

    def arrow(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return an answer with statuses, those of masked columns told."""
        told = pa.array([MASKED]).take(pa.array([0] * batch.num_rows, pa.int64()))
        names = {name + STATUS_SUFFIX for name in self.columns}
        arrays = [told if name in names else batch.column(i) for i, name in enumerate(batch.schema.names)]
        return pa.RecordBatch.from_arrays(arrays, schema=batch.schema)

    def json(self, answer: bytes) -> bytes:
        """Return a JSON answer with metadata, where statuses are told and what is hidden left out."""
        body = msgspec.json.decode(answer, type=dict[str, msgspec.Raw])
        features = msgspec.json.decode(body["features"], type=list[str])
        places = [place for place, name in enumerate(features) if name in self.picks]
        results = msgspec.json.decode(body["results"], type=list[dict[str, Any]])
        for result in results:
            for place in places:
                result["statuses"][place] = MASKED
            times = result["event_times"]
            times.pop(self.name, None)
            result["event_times"] = {name: None if name in self.hidden else time for name, time in times.items()}
        return msgspec.json.encode({**body, "results": results})


def _types(selection: Selection) -> dict[str, pa.DataType]:
    found = {item.column: dtypes.to_arrow(item.feature.dtype) for item in selection.items}
    if selection.on_demand is not None:
        for view in selection.on_demand.views:
            found |= {column_name(view.name, one.name): dtypes.to_arrow(one.dtype) for one in view.features}
    return found


def _computed(selection: Selection) -> set[str]:
    stored = {item.column for item in selection.items}
    return {name for name in selection.columns() if name not in stored and not name.endswith(INDICATOR)}
