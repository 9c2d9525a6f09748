"""Computes on-demand views over what a read fetched: the same code for a batch of training rows and for one request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from asof import dtypes
from asof.definitions.on_demand import INSTANT
from asof.definitions.roles import prefixed
from asof.errors import AsofError, FeatureValueError
from asof.kernel.on_demand import compile_call
from asof.kernel.programs import defaults_row
from asof.plan.specs import FeatureSpec, column_name
from asof.services.history import INDICATOR, STATUS, STATUS_NAMES
from asof.services.missing import STATUS_SUFFIX, defaults_of, refuse_rows
from asof.services.request import from_table

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from asof.interfaces import ExpressionEngine
    from asof.plan.on_demand import OnDemandRead
    from asof.plan.specs import InputSpec, OnDemandSpec
    from asof.services.functions import FunctionLoader
    from asof.services.history import ViewColumns
    from asof.services.spine import Spine

    Columns = Mapping[str, pa.Array]
    Source = tuple[bool, str, str]  # whether of an on-demand view, the key of the view or of its group, the feature

ON_DEMAND = "on-demand"
_TIME = pa.timestamp("us", "UTC")


class OnDemandProgram:
    """The on-demand views of one read, compiled; safe to share between threads.

    Attributes:
        read: What it computes.
        types: The Arrow type of every computed column of the answer by its name.
        instant: Whether the instants are read at all.
    """

    def __init__(self, read: OnDemandRead, loader: FunctionLoader, engine: ExpressionEngine) -> None:
        """Compile the views' calls and import their functions.

        Raises:
            DefinitionError: a function cannot be imported, or is no longer the one that was applied.
        """
        self.read = read
        self._views = [_View(view, loader, engine) for view in read.views]
        self._chosen = [
            [one for one in view.outputs if (view.spec.key, one[0]) in read.computed] for view in self._views
        ]
        self.instant = any(view.instant for view in read.views)
        self.types = {name: arrow for one in self._chosen for _, name, arrow in one}

    @property
    def blocks(self) -> list[tuple[str, list[str]]]:
        """Per view with columns in the answer its name, and these columns in order."""
        chosen = [
            (view.spec.name, [name for _, name, _ in one]) for view, one in zip(self._views, self._chosen, strict=True)
        ]
        return [(name, columns) for name, columns in chosen if columns]

    def depending(self, groups: Collection[str]) -> frozenset[str]:
        """Return the keys of the views that read stored views of these groups, through other views or not."""
        found: set[str] = set()
        for view in self._views:
            if any(place in (found if computed else groups) for computed, place, _ in view.sources):
                found.add(view.spec.key)
        return frozenset(found)

    def compute(
        self,
        stored: Mapping[Source, pa.Array],
        request: Mapping[str, pa.Array | None],
        instants: pa.Array | None,
        rows: int,
        without: frozenset[str] = frozenset(),
    ) -> list[pa.RecordBatch]:
        """Return a batch per view with columns in the answer, as `blocks` lists them.

        Args:
            stored: The inputs, by where they come from.
            request: The request fields; None where the default stands in.
            instants: The instant of every row, timestamp[us, UTC]; may be None where `instant` is false.
            rows: How many rows there are.
            without: The keys of views that are not computed, but null.

        Raises:
            FeatureValueError: a user's function fails, or does not give what it declares.
        """
        known = dict(stored)
        batches = []
        for view, chosen in zip(self._views, self._chosen, strict=True):
            if view.spec.key in without:
                found = {name: pa.nulls(rows, arrow) for name, _, arrow in view.outputs}
            else:
                found = view.run(known, request, instants, rows)
            if chosen:
                batches.append(
                    pa.RecordBatch.from_arrays([found[one] for one, _, _ in chosen], [name for _, name, _ in chosen])
                )
            known.update({(True, view.spec.key, name): array for name, array in found.items()})
        return batches


class _View:
    """One on-demand view, compiled."""

    def __init__(self, spec: OnDemandSpec, loader: FunctionLoader, engine: ExpressionEngine) -> None:
        self.spec = spec
        self._engine = engine
        self.outputs = [(f.name, column_name(spec.name, f.name), dtypes.to_arrow(f.dtype)) for f in spec.features]
        self._sources = [(i.column, (i.on_demand, _place(i), i.feature)) for i in spec.inputs]
        fields = [FeatureSpec(name=r.name, dtype=r.dtype, default=r.default) for r in spec.request]
        defaults = defaults_row(fields)
        self._defaults = {f.name: defaults.column(i) for i, f in enumerate(fields)}
        calls = [(f.name, f.call) for f in spec.features if f.call is not None]
        self._calls = [(name, compile_call(call)) for name, call in calls if call.function != "sql"]
        self._sql = {name: str(call.parameters["expression"]) for name, call in calls if call.function == "sql"}
        self._function: Callable[..., object] | None = None
        if spec.function is not None:
            self._function = loader.load(spec.function, f"On-demand view {spec.name!r}")

    @property
    def sources(self) -> list[Source]:
        """Where its inputs come from."""
        return [source for _, source in self._sources]

    def run(
        self,
        known: Mapping[Source, pa.Array],
        request: Mapping[str, pa.Array | None],
        instants: pa.Array | None,
        rows: int,
    ) -> dict[str, pa.Array]:
        columns = {name: known[source] for name, source in self._sources}
        for name, default in self._defaults.items():
            columns[name] = _filled(request[name], default, rows)
        if self.spec.instant:
            columns[INSTANT] = instants
        if self._function is None:
            found = {name: call(columns) for name, call in self._calls}
            if self._sql:
                batch = pa.RecordBatch.from_arrays([*columns.values()], [*columns])
                arrays = dict(zip(self._sql, self._engine.evaluate(batch, list(self._sql.values())), strict=True))
                found |= {
                    name: self._typed(name, arrays[name], arrow, rows)
                    for name, _, arrow in self.outputs
                    if name in arrays
                }
            return found
        return self._called(self._function, columns, rows)

    def _called(self, function: Callable[..., object], columns: Columns, rows: int) -> dict[str, pa.Array]:
        batch = pa.RecordBatch.from_arrays([*columns.values()], [*columns])
        try:
            found = function(batch)
        except AsofError:
            raise
        except Exception as error:
            raise self._failed(f"raised {type(error).__name__}", str(error)) from error
        if not isinstance(found, Mapping) or set(found) != {name for name, _, _ in self.outputs}:
            shown = ", ".join(map(str, found)) if isinstance(found, Mapping) else type(found).__name__
            raise self._failed(f"gave {shown or 'nothing'}", f"It declares {', '.join(n for n, _, _ in self.outputs)}")
        return {name: self._typed(name, found[name], arrow, rows) for name, _, arrow in self.outputs}

    def _typed(self, name: str, values: Any, arrow: pa.DataType, rows: int) -> pa.Array:
        try:
            array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
            array = array if isinstance(array, pa.Array) else pa.array(array)
            array = array if array.type == arrow else array.cast(arrow)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise self._failed(f"gave {name} in a form that is not {arrow}", str(error).split("\n")[0]) from error
        if len(array) != rows:
            raise self._failed(f"gave {len(array)} values of {name} for {rows} rows", "Each row has one value")
        if pa.types.is_floating(arrow) and np.isnan(array.to_numpy(zero_copy_only=False)).any():
            array = pc.if_else(pc.is_nan(array), pa.scalar(None, arrow), array)
        return array

    def _failed(self, what: str, why: str) -> FeatureValueError:
        path = self.spec.function.path if self.spec.function else ""
        return FeatureValueError(
            f"The function {path} of on-demand view {self.spec.key} {what}",
            why=why,
            fix="It takes a record batch of the declared inputs and returns {name: array}, one value per row; "
            "inputs may be null.",
        )


def _place(used: InputSpec) -> str:
    return prefixed(used.as_role, f"{used.view}@{used.view_version}")


def _filled(values: pa.Array | None, default: pa.Array, rows: int) -> pa.Array:
    if values is None:
        return default.take(pa.array(np.zeros(rows, np.int64)))
    if not values.null_count or default.null_count:
        return values
    both = pa.concat_arrays([values, default])
    return both.take(pc.if_else(values.is_valid(), pa.array(np.arange(rows)), pa.scalar(rows, pa.int64())))


class ComputedColumns:
    """The on-demand columns of a training set, computed slice by slice from the views' columns and the spine's."""

    def __init__(self, program: OnDemandProgram, spine: Spine, keys: Sequence[str], *, statuses: bool) -> None:
        """Take the request inputs from the spine, before any source is read; `keys` are its columns of join keys.

        Raises:
            InputError: the spine lacks a request input, or has it in another type.
        """
        self._program = program
        self._request = from_table(spine.table, program.read.request)
        self._instants = spine.instants.cast(_TIME)
        self._statuses = statuses
        self._views: Mapping[str, ViewColumns | ComputedColumns] = {}
        self._spine, self._keys = spine, keys
        self._missing = program.read.missing
        defaults = defaults_of(self._missing, program.types)
        self._defaults = {name: defaults.column(name) for name in defaults.schema.names}
        fields = [(name, program.types[name]) for _, names in program.blocks for name in names]
        extra = [(name + STATUS, pa.string()) for name, _ in fields] if statuses else []
        for name, how in self._missing.items():
            if how.indicator:
                extra.append((name + INDICATOR, pa.bool_()))
                extra += [(name + INDICATOR + STATUS, pa.string())] if statuses else []
        self.schema: pa.Schema = pa.schema([*fields, *extra])

    def over(self, views: Mapping[str, ViewColumns]) -> ComputedColumns:
        """Set the views' columns, by key, and return itself."""
        self._views = views
        return self

    def slice(self, start: int, stop: int) -> pa.Table:
        """Return spine rows `start` to `stop`, in spine order.

        Raises:
            FeatureValueError: a user's function fails.
            MissingValueError: a value is null although the service says that there must be one.
        """
        inputs = self._program.read.inputs
        parts = {group: self._views[group].slice(start, stop) for group in {one.group for one in inputs}}
        stored = {
            (False, one.group, one.feature.name): _one(parts[one.group].column(one.feature.name)) for one in inputs
        }
        request = {n: None if a is None else a.slice(start, stop - start) for n, a in self._request.items()}
        batches = self._program.compute(stored, request, self._instants.slice(start, stop - start), stop - start)
        columns = {
            name: array for batch in batches for name, array in zip(batch.schema.names, batch.columns, strict=True)
        }
        if self._statuses:
            names = pa.array(STATUS_NAMES[:2])
            columns |= {n + STATUS: names.take(array.is_null().cast(pa.int8())) for n, array in columns.items()}
        for name, how in self._missing.items():
            array = columns[name]
            if how.error:
                self._refuse(name, array, start)
            if how.indicator:
                columns[name + INDICATOR] = array.is_null()
                columns[name + INDICATOR + STATUS] = pa.repeat(STATUS_NAMES[0], len(array))
            columns[name] = _filled(array, self._defaults[name], len(array))
        return pa.Table.from_arrays([columns[name] for name in self.schema.names], schema=self.schema)

    def _refuse(self, name: str, array: pa.Array, start: int) -> None:
        rows = start + np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))
        statuses = pa.repeat(STATUS_NAMES[1], len(rows))
        refuse_rows(name.replace("__", ":", 1), rows, statuses, self._keys, self._spine)


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def assemble(
    outputs: Sequence[str], stored: Mapping[str, tuple[str, str]], *, statuses: bool
) -> list[tuple[str, str, str]]:
    """Return where every column of a training set comes from: its name, the view's key, the view's column.

    Args:
        outputs: The features' columns, in order.
        stored: Key and feature of those that are not computed features.
        statuses: Whether a status follows each feature.
    """
    columns = [(name, *stored.get(name, (ON_DEMAND, name))) for name in outputs]
    if not statuses:
        return columns
    return [c for name, key, f in columns for c in ((name, key, f), (name + STATUS_SUFFIX, key, f + STATUS))]
