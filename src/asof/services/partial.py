"""Partial answers: reads what can be read of a request's views, and answers `error` for what depends on the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from asof import _native
from asof.definitions.missing import INDICATOR
from asof.errors import CorruptDataError, StoreError
from asof.plan.specs import column_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from asof.errors import AsofError
    from asof.interfaces.online import Read, Requests, ViewRead
    from asof.plan.selection import Selection
    from asof.services.online_missing import OnlineMissing

    Pick = tuple[int, int]
    Failure = StoreError | CorruptDataError

_ERROR = 5
_TRIES = 3


class Parts:
    """Reads views of a store, and notes those that fail where a partial answer is allowed; else it raises.

    Attributes:
        failed: Why, by the position of the view among all that the request reads. What is in it is not read any more.
    """

    def __init__(self, read: Read, *, partial: bool) -> None:
        """Read through `read`, whose calls may raise."""
        self._read = read
        self._partial = partial
        self.failed: dict[int, Failure] = {}

    def read(self, requests: Requests, needed: Iterable[int] | None = None) -> list[ViewRead | None]:
        """Return what the store holds, all of it as of one instant; None for views that failed.

        Args:
            requests: One for every view.
            needed: The positions whose values this call is about; all by default. They fail where the store does.

        Raises:
            StoreError: the store failed, and a partial answer is not allowed.
            CorruptDataError: a view's values are damaged or gone, likewise.
        """
        if not self._partial:
            return list(self._read(requests))
        answers: list[ViewRead | None] = [None] * len(requests)
        wanted = range(len(requests)) if needed is None else tuple(needed)
        for left in reversed(range(_TRIES)):
            open_ = [position for position in range(len(requests)) if position not in self.failed]
            try:
                found = self._read([requests[position] for position in open_]) if open_ else []
            except StoreError as error:
                self._fail(wanted, error)
                return answers
            except CorruptDataError as error:
                if not self._tell_apart(requests, open_) and not left:
                    self._fail(wanted, error)
                    return answers
                continue
            for position, one in zip(open_, found, strict=True):
                answers[position] = one
            return answers
        self._fail(wanted, StoreError("The views kept failing while they were read", fix="Read again."))
        return answers

    def fail(self, position: int, error: Failure) -> None:
        """Note that a view cannot be answered, or raise that where a partial answer is not allowed."""
        if not self._partial:
            raise error
        self.failed.setdefault(position, error)

    def _fail(self, positions: Iterable[int], error: Failure) -> None:
        for position in positions:
            self.failed.setdefault(position, error)

    def _tell_apart(self, requests: Requests, positions: Sequence[int]) -> bool:
        """Read each view for itself, and note those that fail; return whether there are any."""
        before = len(self.failed)
        for position in positions:
            try:
                self._read([requests[position]])
            except (StoreError, CorruptDataError) as error:
                self.failed[position] = error
        return len(self.failed) > before


@dataclass(frozen=True)
class PartialAnswer:
    """How a read plan's answers look where some of its views failed.

    Attributes:
        names: Of the blocks.
        picks: Block and position of every column of the answer, in order.
        views: By column that is stored, or tells whether such a one is missing, the position of its view.
        computed: By column that is computed, likewise, the key of its on-demand view.
        required: By column that the service refuses to answer without a value, its name in messages.
    """

    names: tuple[str, ...]
    picks: tuple[tuple[int, int, str], ...]
    views: Mapping[str, int] = field(default_factory=dict)
    computed: Mapping[str, str] = field(default_factory=dict)
    required: frozenset[str] = frozenset()

    def columns(self, failed: Mapping[int, Failure], computed: frozenset[str]) -> set[str]:
        """Return the columns that cannot be answered, from the views that failed and the keys of computed ones.

        Raises:
            StoreError: the service refuses to answer one of them without a value.
            CorruptDataError: likewise.
        """
        found = {column for column, view in self.views.items() if view in failed}
        found |= {column for column, view in self.computed.items() if view in computed}
        if not found.isdisjoint(self.required):
            raise next(iter(failed.values()))
        return found

    def answer(
        self, blocks: Sequence[_native.Block], types: pa.Schema, failed: Mapping[int, Failure], columns: set[str]
    ) -> _native.Answer:
        """Return the answer with these columns null, their status `error`, whatever their defaults."""
        first, rows = min(failed), len(blocks[min(failed)])
        names = [name for _, _, name in self.picks if name in columns]
        empty = pa.schema([types.field(name) for name in names])
        held = [*blocks[:first], error_block(empty, rows), *blocks[first + 1 :]]
        picks = [
            (first, names.index(name), name) if name in columns else (block, at, name) for block, at, name in self.picks
        ]
        return _native.AnswerPlan(list(self.names), picks).answer(held)


def error_block(schema: pa.Schema, rows: int) -> _native.Block:
    """Return a block of nulls with status `error`: unlike a default they cannot pass for an answer."""
    batch = pa.RecordBatch.from_arrays([pa.nulls(rows, one.type) for one in schema], names=schema.names)
    if not schema.names:
        batch = pa.RecordBatch.from_arrays([pa.nulls(rows)], names=[" "])
    return _native.Block.from_arrow(batch, pa.array(np.full(rows, _ERROR, np.uint8)))


def described(error: AsofError) -> dict[str, str]:
    """Return what answers say of a view that could not be read."""
    return {"code": error.code, "what": error.what, "why": error.why, "fix": error.fix}


def partial_answer(
    selection: Selection,
    views: Mapping[str, int],
    names: Sequence[str],
    picks: Mapping[str, Pick],
    missing: OnlineMissing | None,
) -> PartialAnswer:
    """Compile what answers to a read look like where some views failed.

    Args:
        selection: The features that are read.
        views: The positions of the stored views' blocks, by their group's key.
        names: Of all blocks.
        picks: Block and position of every column.
        missing: What is done about missing values.
    """
    stored = {item.column: views[item.group] for item in selection.items}
    computed: dict[str, str] = {}
    if selection.on_demand is not None:
        for view in selection.on_demand.views:
            named = {column_name(view.name, one.name): (view.key, one.name) for one in view.features}
            computed |= {column: view.key for column, pair in named.items() if pair in selection.on_demand.computed}
    for column in missing.indicators if missing is not None else ():
        if column in stored:
            stored[column + INDICATOR] = stored[column]
        else:
            computed[column + INDICATOR] = computed[column]
    return PartialAnswer(
        tuple(names),
        tuple((*picks[column], column) for column in selection.columns()),
        stored,
        computed,
        frozenset() if missing is None else missing.required,
    )
