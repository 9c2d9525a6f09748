"""Unit tests of definitions: rows and instants in, feature values out, checked by the oracle on the way."""

from __future__ import annotations

import copy
import tempfile
import warnings
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
    FrameSource,
    OnDemandView,
    StateView,
)
from asof.definitions.missing import INDICATOR
from asof.errors import InputError, RejectedRowsWarning, UnsupportedOperationError, did_you_mean
from asof.interfaces.scanner import ColumnRequest, ScanRequest
from asof.plan.selected import has_indicator
from asof.plan.specs import column_name
from asof.services import unregistered
from asof.services.functions import FunctionLoader
from asof.services.history import STATUS, STATUS_NAMES, HistoryReader
from asof.services.missing import STATUS_SUFFIX, refuse_missing, refuse_status_names
from asof.services.spine import EVENT_TIMESTAMP, Spine, make_spine
from asof.testing import oracle
from asof.testing.comparison import agrees
from asof.testing.rows import TIME, derived_names, instant_us, predicates_of, source_table, table_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from asof.definitions import Source
    from asof.plan.selected import SelectedFeature
    from asof.plan.selection import Selection, ViewGroup
    from asof.plan.specs import FunctionSpec, SourceSpec, ViewSpec
    from asof.services.history import ViewColumns

    Row = Mapping[str, Any]
    Rows = Sequence[Row] | Mapping[str, Sequence[Row]]
    Features = FeatureView | FeatureSelection | FeatureService | Sequence[FeatureView | FeatureSelection]
    Instant = datetime | str

_MEMORY_BYTES = 2**28
_ROW = "__row"


def feature_values(
    features: Features,
    rows: Rows,
    *,
    keys: Row,
    at: Instant,
    statuses: bool = False,
    now: Instant | None = None,
) -> dict[str, Any]:
    """Return the features of one entity at one instant, over rows given here; see `feature_table`.

    Args:
        features: A view, a selection, a service, or a list of views and selections; their sources are not read.
        rows: Of the one source, in ingest order; or a mapping of source name to rows.
        keys: The value of every join key.
        at: The instant.
        statuses: Add `<feature>__status` per feature: present, null, missing or expired.
        now: The clock, which a source's `max_skew` compares with.

    Returns:
        Feature to value, for one view or selection by the feature's name, else by `view__feature`.
    """
    spine = [{**keys, EVENT_TIMESTAMP: at}]
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

    Values come from the kernel, as training sets do, and are compared with the oracle's. Rows without an event time,
    a key or an id do not count, as elsewhere. Every time may be a datetime (naive means UTC) or ISO 8601 text;
    columns that rows lack are null.

    Args:
        features: A view, a selection, a service, or a list of views and selections; their sources are not read.
        rows: Of the one source, in ingest order; or a mapping of source name to rows, for sources that are not in it
            there are none.
        spine: One mapping per question: join keys, and `event_timestamp`.
        statuses: Add `<feature>__status` per feature: present, null, missing or expired.
        now: The clock, which a source's `max_skew` compares with.

    Returns:
        One mapping per question, in order: feature to value, for one view or selection by the feature's name, else by
        `view__feature`.

    Raises:
        InputError: rows, keys or instants that cannot be read, or rows of a source that no view reads.
        DefinitionError, SchemaError: the definitions do not fit the rows.
        FeatureValueError: an integer sum beyond 64 bits.
        MissingValueError: a feature has no value where the service says that it must have one.
        AssertionError: the kernel and the oracle disagree, which is a defect of Asof.
    """
    short = isinstance(features, FeatureView) or (isinstance(features, FeatureSelection) and features.role is None)
    listed = _selections(features)
    views = {id(one.view): one.view for one in listed if isinstance(one.view, FeatureView)}.values()
    if not spine:
        return []
    questions = table_of(spine, {EVENT_TIMESTAMP}, {EVENT_TIMESTAMP: TIME}, "The questions")
    tables = _tables([*views], rows, questions)
    sources = {name: _frame_source(view.source, tables[name]) for view in views if (name := view.source.name) in tables}
    replaced = {id(view): _with_source(view, sources[view.source.name]) for view in views}
    chosen = [FeatureSelection(replaced[id(one.view)], one.names, one.role, one.missing) for one in listed]
    definitions = unregistered.collect(chosen)
    if definitions is None:
        raise InputError("No features are asked for", fix="Give a view, a selection or a service.")
    now_us = None if now is None else instant_us(now)
    with tempfile.TemporaryDirectory(prefix="asof-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", RejectedRowsWarning)
        root = Path(folder)
        scanner = _RowsScanner(root, tables, unregistered.functions(definitions))
        selection = unregistered.select(chosen, definitions, scanner)
        if statuses:
            refuse_status_names(selection.columns())
        missing = {column_name(one.view.name, name, one.role): one.missing for one in chosen for name in one.names}
        prepared = make_spine(questions, EVENT_TIMESTAMP)
        reader = HistoryReader(scanner, LocalExecutor(root / "tmp", _MEMORY_BYTES, threads=1), now_us=now_us)
        columns = reader.read_all(selection.groups(), prepared, statuses=True)
        answers = _answers(selection, columns, len(spine))
        for group in selection.groups():
            view = next(one for one in replaced.values() if one.name == group.view.name)
            for item in (one for one in selection.items if one.group == group.key):
                treated = oracle.treated(view, item.feature.name, missing.get(item.column))
                exact = _oracle(treated, group, tables[view.source.name], scanner, prepared, now_us)
                _compare(item, exact, answers)
        refuse_missing(selection, columns, prepared)
    return [_named(selection, answer, short=short, statuses=statuses) for answer in answers]


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
        if isinstance(one, FeatureSelection) and isinstance(one.view, OnDemandView):
            raise UnsupportedOperationError(
                f"On-demand view {one.view.name!r} is computed from other features, and has no rows",
                fix="Test its inputs here, and its function by calling it; or read both through a FeatureStore.",
            )
        if not isinstance(one, FeatureSelection) or not isinstance(one.view, StateView | EventView):
            raise InputError(f"{item!r} is no view", fix='Give views, or selections such as profile["country"].')
        found.append(one)
    return found


def _tables(views: Sequence[FeatureView], rows: Any, questions: pa.Table) -> dict[str, pa.Table]:
    sources = {view.source.name: view.source for view in views}
    if not hasattr(rows, "items"):
        if len(sources) > 1:
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
        name: source_table(source, rows.get(name, []), [v for v in views if v.source.name == name], questions)
        for name, source in sources.items()
    }


def _frame_source(source: Source, table: pa.Table) -> FrameSource:
    return FrameSource(
        source.name,
        frame=table,
        event_time=source.event_time,
        available_at=source.available_at,
        delay=source.delay,
        event_id=source.event_id,
        deleted=source.deleted,
        max_skew=source.max_skew,
    )


def _with_source(view: FeatureView, source: FrameSource) -> FeatureView:
    replaced = copy.copy(view)
    object.__setattr__(replaced, "source", source)
    return replaced


def _answers(selection: Selection, columns: Mapping[str, ViewColumns], count: int) -> list[dict[str, Any]]:
    """Return per question the values and statuses by column and by column with STATUS."""
    tables = {
        key: view.slice(0, count).to_pydict(maps_as_pydicts="strict") if count else {} for key, view in columns.items()
    }
    return [
        {
            item.column + suffix: tables[item.group][item.read.name + suffix][number]
            for item in selection.items
            for suffix in ("", STATUS)
        }
        for number in range(count)
    ]


def _oracle(
    view: FeatureView, group: ViewGroup, table: pa.Table, scanner: _RowsScanner, spine: Spine, now_us: int | None
) -> list[oracle.Answer]:
    keys = [column.to_pylist() for column in spine.keys(group.view.entity, group.role)]
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


def _compare(item: SelectedFeature, exact: Sequence[oracle.Answer], given: Sequence[Row]) -> None:
    """Refuse answers of the kernel that the oracle does not give."""
    feature, column = item.feature, item.column
    function = None if feature.aggregate is None else feature.aggregate.function
    for number, (wanted, row) in enumerate(zip(exact, given, strict=True)):
        value, status = row[column], row[column + STATUS]
        expected = wanted.values[feature.name], wanted.statuses[feature.name]
        if not agrees(function, expected[0], value) or expected[1] != status:
            raise AssertionError(
                f"{column} of question {number} is {value!r} ({status}) from the kernel and {expected[0]!r} "
                f"({expected[1]}) from the oracle. That is a defect of Asof: please report it with these rows."
            )


def _named(selection: Selection, answer: Row, *, short: bool, statuses: bool) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for item in selection.items:
        name = item.feature.name if short else item.column
        shown = {name: (answer[item.column], answer[item.column + STATUS])}
        if has_indicator(item):
            shown[name + INDICATOR] = (answer[item.column + STATUS] != STATUS_NAMES[0], STATUS_NAMES[0])
        for column, (value, status) in shown.items():
            named |= {column: value, **({column + STATUS_SUFFIX: status} if statuses else {})}
    return named
