"""On-demand views in unit tests: computed from inputs that a test gives, or that are read from its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from asof import dtypes
from asof.backends.local.expressions import LocalExpressions
from asof.definitions import EventView, OnDemandView, StateView
from asof.definitions.roles import prefixed
from asof.errors import InputError, did_you_mean
from asof.plan.specs import RequestSpec
from asof.services.history import ViewColumns
from asof.services.on_demand import ComputedColumns, OnDemandProgram
from asof.services.request import from_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from asof.definitions import FeatureSelection, FeatureView
    from asof.definitions.roles import Role
    from asof.plan.on_demand import OnDemandRead
    from asof.services.functions import FunctionLoader
    from asof.services.spine import Spine

    Input = tuple[FeatureView, str, Role | None]

_SAME_TYPE = frozenset({"sum", "min", "max", "first", "last"})
_LISTS = frozenset({"first_n", "last_n", "top_k"})


def inputs_of(selections: Iterable[FeatureSelection]) -> dict[str, Input]:
    """Return the stored inputs of all on-demand views among selections, by column."""
    return {
        prefixed(role, f"{view.name}__{name}"): (view, name, role)
        for one in selections
        if isinstance(one.view, OnDemandView)
        for view, name, role in _inputs(one.view)
    }


def _inputs(view: OnDemandView) -> Iterator[Input]:
    for used, name, role in view.inputs:
        if isinstance(used, OnDemandView):
            yield from _inputs(used)
        else:
            yield used, name, role


def fields_of(selections: Iterable[FeatureSelection]) -> set[str]:
    """Return the names of the request fields of all on-demand views among selections."""
    waiting = [one.view for one in selections if isinstance(one.view, OnDemandView)]
    found: set[str] = set()
    while waiting:
        view = waiting.pop()
        found |= {field.name for field in view.request}
        waiting += [used for used, _, _ in view.inputs if isinstance(used, OnDemandView)]
    return found


def refuse_unknown(what: str, given: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuse a given value that nothing takes.

    Raises:
        InputError: names the first of them.
    """
    names = sorted(known)
    for name in given:
        if name not in names:
            raise InputError(
                f"There is no {what} {name!r} in these features",
                why=did_you_mean(str(name), names),
                fix=f"They take {', '.join(names)}." if names else "They take none.",
            )


def types_from_inputs(inputs: Mapping[str, Input], questions: pa.Table) -> dict[str, dict[str, pa.DataType]]:
    """Return by source what given inputs tell about the types of its columns."""
    found: dict[str, dict[str, pa.DataType]] = {}
    for column, (view, name, _) in inputs.items():
        if column not in questions.column_names or pa.types.is_null(questions.schema.field(column).type):
            continue
        given = questions.schema.field(column).type
        read, arrow = _read_by(view, name, given)
        if read is not None:
            found.setdefault(view.source.name, {})[read] = arrow
    return found


def _read_by(view: FeatureView, name: str, given: pa.DataType) -> tuple[str | None, pa.DataType]:
    """Return the column that a feature shows or aggregates, and its type where the feature's own is `given`."""
    if isinstance(view, StateView):
        return next(one.column or one.name for one in view.features if one.name == name), given
    for aggregate in view.aggregates if isinstance(view, EventView) else ():
        if name in {aggregate.feature_name(window) for window in aggregate.windows}:
            if aggregate.function in _SAME_TYPE:
                return aggregate.column, given
            if aggregate.function in _LISTS and pa.types.is_list(given):
                return aggregate.column, given.value_type
    return None, given


class Computed:
    """The on-demand columns of a test's questions."""

    def __init__(self, read: OnDemandRead, spine: Spine, keys: Sequence[str], functions: FunctionLoader) -> None:
        """Take request fields and given inputs from the questions, whose columns of join keys are `keys`.

        Raises:
            InputError: a request field is missing, or a value is of the wrong type.
        """
        program = OnDemandProgram(read, functions, LocalExpressions())
        self._columns = ComputedColumns(program, spine, keys, statuses=True)
        self._read = read
        self._rows = spine.table.num_rows
        given = {one.column: one for one in read.inputs if one.column in spine.table.column_names}
        fields = {name: RequestSpec(name=name, dtype=one.feature.dtype) for name, one in given.items()}
        arrays = from_table(spine.table, fields)
        self._given = {(one.group, one.feature.name): arrays[name] for name, one in given.items()}

    @property
    def given(self) -> set[tuple[str, str]]:
        """The inputs that need not be read, as group and feature."""
        return set(self._given)

    def over(self, views: Mapping[str, ViewColumns]) -> dict[str, list[Any]]:
        """Return values and statuses by column, from given inputs and from what was read."""
        known: dict[str, ViewColumns] = {}
        for group in dict.fromkeys(one.group for one in self._read.inputs):
            features = {one.feature.name: one.feature.dtype for one in self._read.inputs if one.group == group}
            table = views[group].slice(0, self._rows) if group in views else None
            arrays = {}
            for name, dtype in features.items():
                given = self._given.get((group, name))
                found = given if given is not None or table is None else table.column(name)
                arrays[name] = pa.nulls(self._rows, dtypes.to_arrow(dtype)) if found is None else found
            whole = pa.table(arrays)
            known[group] = ViewColumns(whole.schema, [(_numbers(self._rows), whole)])
        found_columns: dict[str, list[Any]] = (
            self._columns.over(known).slice(0, self._rows).to_pydict(maps_as_pydicts="strict")
        )
        return found_columns


def _numbers(rows: int) -> Any:
    return pa.array(range(rows), pa.int64()).to_numpy()
