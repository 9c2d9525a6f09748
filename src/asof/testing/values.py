"""Unit tests of definitions: rows and instants in, feature values out, checked by the oracle on the way."""

from __future__ import annotations

import copy
import tempfile
import warnings
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa

from asof.backends.local.executor import LocalExecutor
from asof.backends.local.predicates import check_over_schema
from asof.backends.local.scanner import LocalScanner
from asof.definitions import (
    EventView,
    FeatureSelection,
    FeatureService,
    FeatureView,
    OnDemandView,
    StateView,
)
from asof.definitions.missing import INDICATOR as SUFFIX
from asof.errors import InputError, RejectedRowsWarning, did_you_mean
from asof.interfaces.scanner import ColumnRequest, ScanRequest
from asof.plan.selected import has_indicator
from asof.plan.specs import column_name
from asof.services import unregistered
from asof.services.functions import FunctionLoader
from asof.services.history import INDICATOR, STATUS, STATUS_NAMES, HistoryReader
from asof.services.lookups import in_steps
from asof.services.missing import STATUS_SUFFIX, refuse_missing, refuse_status_names
from asof.services.spine import EVENT_TIMESTAMP, Spine, key_array, make_spine
from asof.testing import oracle
from asof.testing.comparison import agrees
from asof.testing.computed import Computed, fields_of, inputs_of, refuse_unknown, types_from_inputs
from asof.testing.replaced import OverRows, stored_views
from asof.testing.rows import TIME, derived_names, instant_us, predicates_of, source_table, table_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from asof.plan.selected import SelectedFeature
    from asof.plan.selection import Selection, ViewGroup
    from asof.plan.specs import FunctionSpec, SourceSpec, ViewSpec

    Row = Mapping[str, Any]
    Rows = Sequence[Row] | Mapping[str, Sequence[Row]]
    _View = FeatureView | OnDemandView | FeatureSelection
    Features = _View | FeatureService | Sequence[_View]
    Instant = datetime | str

_MEMORY_BYTES = 2**28
_ROW = "__row"


def feature_values(
    features: Features,
    rows: Rows = (),
    *,
    keys: Row | None = None,
    at: Instant,
    request: Row | None = None,
    inputs: Row | None = None,
    statuses: bool = False,
    now: Instant | None = None,
) -> dict[str, Any]:
    """Return the features of one entity at one instant, over rows given here; see `feature_table`.

    Args:
        features: A view, a selection, a service, or a list of views and selections; their sources are not read.
        rows: Of the one source, in ingest order; or a mapping of source name to rows.
        keys: The value of every join key that is not looked up.
        at: The instant.
        request: The value of every request field of on-demand views.
        inputs: Values by `view__feature` that on-demand views take instead of those of the rows.
        statuses: Add `<feature>__status` per feature: present, null, missing or expired.
        now: The clock, which a source's `max_skew` compares with.

    Returns:
        Feature to value, for one view or selection by the feature's name, else by `view__feature`.
    """
    listed = _selections(features)
    refuse_unknown("request field", request or {}, fields_of(listed))
    refuse_unknown("input", inputs or {}, inputs_of(listed))
    spine = [{**(keys or {}), **(request or {}), **(inputs or {}), EVENT_TIMESTAMP: at}]
    return feature_table(features, rows, spine, statuses=statuses, now=now)[0]


def feature_table(
    features: Features,
    rows: Rows,
    spine: Sequence[Row],
    *,
    statuses: bool = False,
    now: Instant | None = None,
) -> list[dict[str, Any]]:
    """Return the features of every question, over rows given here: no files, no registry, no server.

    Values come from the kernel, as training sets do, and are compared with the oracle's; on-demand views are computed
    as they are in training and serving. Rows without an event time, a key or an id do not count, as elsewhere. Every
    time may be a datetime (naive means UTC) or ISO 8601 text; columns that rows lack are null.

    Args:
        features: A view, a selection, a service, or a list of views and selections; their sources are not read.
        rows: Of the one source, in ingest order; or a mapping of source name to rows, for sources that are not in it
            there are none.
        spine: One mapping per question: join keys, `event_timestamp`, and of on-demand views the request fields. Where
            it has a column `view__feature`, on-demand views take that and not what the rows say.
        statuses: Add `<feature>__status` per feature: present, null, missing or expired.
        now: The clock, which a source's `max_skew` compares with.

    Returns:
        One mapping per question, in order: feature to value, for one view or selection by the feature's name, else by
        `view__feature`.

    Raises:
        InputError: rows, keys, request fields or instants that cannot be read, or rows of a source that no view reads.
        DefinitionError, SchemaError: the definitions do not fit the rows.
        FeatureValueError: an integer sum beyond 64 bits, or a user's function fails.
        AssertionError: the kernel and the oracle disagree, which is a defect of Asof.
    """
    alone = features.view if isinstance(features, FeatureSelection) and features.role is None else features
    short = f"{alone.name}__" if isinstance(alone, FeatureView | OnDemandView) else ""
    listed = _selections(features)
    views = stored_views(listed)
    if not spine:
        return []
    questions = table_of(spine, {EVENT_TIMESTAMP}, {EVENT_TIMESTAMP: TIME}, "The questions")
    tables = _tables(views, rows, questions, types_from_inputs(inputs_of(listed), questions))
    over = OverRows(tables)
    chosen = [over.selection(one) for one in listed]
    definitions = unregistered.collect(chosen)
    if definitions is None:
        raise InputError("No features are asked for", fix="Give a view, a selection or a service.")
    now_us = None if now is None else instant_us(now)
    with tempfile.TemporaryDirectory(prefix="asof-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", RejectedRowsWarning)
        root, functions = Path(folder), unregistered.functions(definitions)
        scanner = _RowsScanner(root, tables, functions)
        selection = unregistered.select(chosen, definitions, scanner)
        if statuses:
            refuse_status_names(selection.columns())
        treatments = {column_name(one.view.name, name, one.role): one.missing for one in chosen for name in one.names}
        prepared = make_spine(questions, EVENT_TIMESTAMP)
        computed = None
        if selection.on_demand is not None:
            keys = [*selection.key_types()]
            computed = Computed(selection.on_demand, prepared, keys, FunctionLoader(root, [], functions))
        groups = _read_groups(selection, computed)
        reader = HistoryReader(scanner, LocalExecutor(root / "tmp", _MEMORY_BYTES, threads=1), now_us=now_us)
        columns = reader.read_all(groups, prepared, statuses=True)
        read = {key: view.slice(0, len(spine)).to_pydict(maps_as_pydicts="strict") for key, view in columns.items()}
        exact: dict[str, list[oracle.Answer]] = {}
        for group in (group for step in in_steps(groups) for group in step):
            view, table = over.stored(group.view.name), tables[group.view.source.name]
            exact[group.key] = _oracle(view, group, table, scanner, prepared, now_us, exact)
            for item in (one for one in selection.stored() if one.group == group.key and one.read in group.features):
                answers = exact[group.key]
                if item.missing is not None:
                    treated = oracle.treated(view, item.feature.name, treatments.get(item.column))
                    answers = _oracle(treated, group, table, scanner, prepared, now_us, exact)
                _compare(item, answers, read[group.key])
        refuse_missing(selection, columns, prepared)
        found = {} if computed is None else computed.over(columns)
    for item in selection.items:
        found |= {item.column + end: read[item.group][item.read.name + end] for end in ("", STATUS)}
        if has_indicator(item):
            missing = [status != STATUS_NAMES[0] for status in found[item.column + STATUS]]
            found |= {item.column + SUFFIX: missing, item.column + SUFFIX + STATUS: [STATUS_NAMES[0]] * len(spine)}
    for name, how in selection.on_demand.missing.items() if selection.on_demand is not None else ():
        if how.indicator:
            found |= {name + SUFFIX + end: found[name + INDICATOR + end] for end in ("", STATUS)}
    ends = [("", ""), (STATUS, STATUS_SUFFIX)] if statuses else [("", "")]
    names = [(name + end, name.removeprefix(short) + shown) for name in selection.columns() for end, shown in ends]
    return [{shown: found[name][number] for name, shown in names} for number in range(len(spine))]


def _read_groups(selection: Selection, computed: Computed | None) -> list[ViewGroup]:
    """Return the groups that answer the questions; inputs that a test gives need none."""
    if computed is None:
        return list(selection.groups())
    read = selection.on_demand
    inputs = tuple(one for one in read.inputs if (one.group, one.feature.name) not in computed.given) if read else ()
    return list(replace(selection, on_demand=read and replace(read, inputs=inputs)).groups())


class _RowsScanner(LocalScanner):
    """A scanner that opens no engine to learn what is known already: starting one costs more than a test's few rows."""

    def __init__(self, root: Path, tables: Mapping[str, pa.Table], functions: Mapping[FunctionSpec, Any]) -> None:
        load = FunctionLoader(root, [], functions).load
        super().__init__(root, tables, root / "quarantine", _MEMORY_BYTES, threads=1, load=load)
        self._root, self._functions, self._tables = root, functions, tables

    def over(self, tables: Mapping[str, pa.Table]) -> _RowsScanner:
        """Return a scanner of other rows."""
        return _RowsScanner(self._root, tables, self._functions)

    def schema(self, source: SourceSpec) -> pa.Schema:
        return self._tables[source.name].schema

    def check_predicate(self, source: str, schema: pa.Schema, predicate: str) -> None:
        _check_predicate(source, schema, predicate)


@cache
def _check_predicate(source: str, schema: pa.Schema, predicate: str) -> None:
    check_over_schema(source, schema, predicate)


def _selections(features: Any) -> list[FeatureSelection]:
    listed: list[Any]
    if isinstance(features, FeatureService):
        pairs = zip(features.features, features.roles, features.missing, strict=True)
        listed = [FeatureSelection(view, (name,), role, missing) for (view, name), role, missing in pairs]
    else:
        single = FeatureView | OnDemandView | FeatureSelection
        listed = [features] if isinstance(features, single) else list(features)
    found = []
    for item in listed:
        one = FeatureSelection(item, item.feature_names()) if isinstance(item, FeatureView | OnDemandView) else item
        if not isinstance(one, FeatureSelection) or not isinstance(one.view, StateView | EventView | OnDemandView):
            raise InputError(f"{item!r} is no view", fix='Give views, or selections such as profile["country"].')
        found.append(one)
    return found


def _tables(
    views: Sequence[FeatureView], rows: Any, questions: pa.Table, known: Mapping[str, Mapping[str, pa.DataType]]
) -> dict[str, pa.Table]:
    sources = {view.source.name: view.source for view in views}
    if not hasattr(rows, "items"):
        if len(sources) > 1 and rows:
            raise InputError(
                f"These features read {len(sources)} sources: {', '.join(sources)}",
                fix="Give rows by source: {source name: [rows]}.",
            )
        rows = dict.fromkeys(sources, rows)
    if unknown := [name for name in rows if name not in sources]:
        raise InputError(
            f"No view reads a source {unknown[0]!r}",
            why=did_you_mean(str(unknown[0]), sources),
            fix=f"Give rows of {', '.join(sources)}.",
        )
    return {
        name: source_table(
            source, rows.get(name, []), [v for v in views if v.source.name == name], questions, known.get(name, {})
        )
        for name, source in sources.items()
    }


def _oracle(
    view: FeatureView,
    group: ViewGroup,
    table: pa.Table,
    scanner: _RowsScanner,
    spine: Spine,
    now_us: int | None,
    known: Mapping[str, Sequence[oracle.Answer]],
) -> list[oracle.Answer]:
    """Return the oracle's answers, keys that are looked up taken from its own answers about other views."""
    asked, lookups = group.asked_keys(), dict(group.lookups)
    keys: list[list[Any]] = []
    for key in group.view.entity.join_keys:
        if key.name in lookups:
            one = lookups[key.name]
            keys.append([answer.values[one.feature.name] for answer in known[one.group]])
        else:
            column, dtype = asked[key.name]
            keys.append(key_array(spine.table, column, dtype, group.view.entity.name).to_pylist())
    instants = spine.instants.to_pylist()
    questions = [(tuple(column[number] for column in keys), t) for number, t in enumerate(instants)]
    rows = [{**row, _ROW: number} for number, row in enumerate(table.to_pylist())]
    wanted, added = predicates_of(view), sorted(derived_names(view))
    predicates: dict[str, Callable[[Row], object]] = {}
    if (wanted or added) and rows:
        by_number = _evaluated(wanted, group.view, table, scanner)
        predicates = {text: partial(_said, by_number, f"p{n}") for n, text in enumerate(wanted)}
        for row in rows:
            row |= {name: by_number.get(row[_ROW], {}).get(name) for name in added}
    plain = copy.copy(view)  # its columns are among the rows now
    object.__setattr__(plain, "select", ())
    return oracle.history(plain, rows, questions, predicates=predicates, now_us=now_us)


def _said(by_number: Mapping[int, Row], predicate: str, row: Row) -> object:
    return by_number.get(row[_ROW], {}).get(predicate) is True


def _evaluated(
    predicates: Sequence[str], view: ViewSpec, table: pa.Table, scanner: _RowsScanner
) -> dict[int, dict[str, Any]]:
    """Return by row number what SQL says of the predicates and the columns that the view adds.

    Rows without an event time are not there.
    """
    numbered = table.append_column(_ROW, pa.array(range(table.num_rows), pa.int64()))
    plain = msgspec.structs.replace(view.source, event_id=None, deleted=None, available_at=None)
    columns = [ColumnRequest(_ROW, _ROW, "int64")]
    columns += [ColumnRequest(f"p{n}", None, "bool", where=text) for n, text in enumerate(predicates)]
    added = view.derived.types() if view.derived is not None else {}
    columns += [ColumnRequest(name, name, dtype) for name, dtype in added.items()]
    request = ScanRequest(source=plain, keys=(), columns=tuple(columns), derived=view.derived)
    scan = scanner.over({view.source.name: numbered}).scan(request)
    return {row[_ROW]: row for batch in scan.batches for row in batch.to_pylist()}


def _compare(item: SelectedFeature, exact: Sequence[oracle.Answer], given: Mapping[str, Sequence[Any]]) -> None:
    """Refuse answers of the kernel that the oracle does not give."""
    feature = item.feature
    function = None if feature.aggregate is None else feature.aggregate.function
    pairs = zip(given[item.read.name], given[item.read.name + STATUS], strict=True)
    for number, (wanted, (value, status)) in enumerate(zip(exact, pairs, strict=True)):
        expected = wanted.values[feature.name], wanted.statuses[feature.name]
        if not agrees(function, expected[0], value) or expected[1] != status:
            raise AssertionError(
                f"{item.column} of question {number} is {value!r} ({status}) from the kernel and {expected[0]!r} "
                f"({expected[1]}) from the oracle. That is a defect of Asof: please report it with these rows."
            )
