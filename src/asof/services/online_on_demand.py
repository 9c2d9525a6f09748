"""On-demand views in online reads: from the blocks of stored views and the request to blocks of computed columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from asof import _native
from asof.errors import InputError
from asof.services.on_demand import OnDemandProgram
from asof.services.request import from_request

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from asof.interfaces import ExpressionEngine
    from asof.plan.on_demand import OnDemandRead
    from asof.services.functions import FunctionLoader
    from asof.services.request import Request

_TIME = pa.timestamp("us", "UTC")


class OnlineProgram:
    """The on-demand views of one read plan, compiled.

    Attributes:
        fields: The request inputs by name.
        names: The name of each block that it makes: its view's.
    """

    def __init__(
        self, read: OnDemandRead, functions: FunctionLoader, engine: ExpressionEngine, views: Mapping[str, int]
    ) -> None:
        """Compile a read; `views` are the positions of the stored views' blocks, by their group's key."""
        self._program = OnDemandProgram(read, functions, engine)
        self._views = views
        self.fields = read.request
        self.names = [name for name, _ in self._program.blocks]
        self._sources = [(False, one.group, one.feature.name) for one in read.inputs]
        picks = [
            (views[one.group], one.view.features.index(one.feature), str(position))
            for position, one in enumerate(read.inputs)
        ]
        self._inputs = _native.AnswerPlan(list(views), picks) if picks else None

    def picks(self, first: int) -> dict[str, tuple[int, int]]:
        """Return the block and the position in it of every computed column, where the first block is `first`."""
        return {
            name: (first + block, position)
            for block, (_, names) in enumerate(self._program.blocks)
            for position, name in enumerate(names)
        }

    def depending(self, failed: Collection[int]) -> frozenset[str]:
        """Return the keys of on-demand views that read stored views at these positions, through others or not."""
        return self._program.depending([group for group, position in self._views.items() if position in failed])

    def given(self, request: Request | None, rows: int | None) -> tuple[int, dict[str, pa.Array | None]]:
        """Return how many rows are asked for, and their request inputs.

        Raises:
            InputError: a request input is missing, unknown or of another type; or there are neither keys nor inputs.
        """
        fields = from_request(request, self.fields, rows)
        if rows is None:
            rows = next((len(column) for column in fields.values() if column is not None), None)
        if rows is None:
            raise InputError(
                "Nothing says how many rows to answer",
                why="These features have no join keys",
                fix=f"Give one of {', '.join(self.fields)} in the request.",
            )
        return rows, fields

    def blocks(
        self,
        stored: Sequence[_native.Block],
        given: tuple[int, dict[str, pa.Array | None]],
        instant_us: int,
        without: frozenset[str] = frozenset(),
    ) -> list[_native.Block]:
        """Return the computed blocks over the same keys; columns of the views `without` are null.

        Raises:
            FeatureValueError: a user's function fails.
        """
        rows, request = given
        columns = self._inputs.answer(list(stored)).to_arrow().columns if self._inputs else []
        instants = pa.array(np.full(rows, instant_us, np.int64)).view(_TIME) if self._program.instant else None
        computed = self._program.compute(
            dict(zip(self._sources, columns, strict=True)), request, instants, rows, without
        )
        return [_native.Block.from_arrow(batch) for batch in computed]
