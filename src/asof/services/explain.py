"""Explaining one value: its window, its rows and why the others are outside, and the value from both paths."""

from __future__ import annotations

import struct
from collections import defaultdict
from typing import TYPE_CHECKING, Any, get_args

from asof import _native
from asof.clock import FIRST_US, LAST_US, from_us
from asof.errors import FeatureValueError, InputError, NotMaterializedError, UnsupportedOperationError
from asof.interfaces.online import ViewKey
from asof.interfaces.scanner import ScanRequest
from asof.kernel.programs import compile_events, compile_states
from asof.plan.phrases import definition
from asof.plan.references import parse_feature
from asof.plan.specs import column_name
from asof.services.causes import Cause, event_causes, state_causes, traced
from asof.services.explanation import ExplainedRow, Explanation, OfflineValue, OnlineValue, Outside, Tile, Window
from asof.services.history import STATUS
from asof.services.single import one_entity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from asof.interfaces import OnlineStore, Scanner
    from asof.plan.selection import Selection
    from asof.plan.specs import FeatureSpec, ViewSpec
    from asof.services.catalog import Catalog
    from asof.services.causes import TracedRow
    from asof.services.history import HistoryReader
    from asof.services.online import OnlineReader
    from asof.services.spine import Spine

_CAUSES: tuple[Cause, ...] = get_args(Cause)
_BATCH_ROWS = 16_384


class Explainer:
    """Explains values of one project through the same history and online reads that training and serving use."""

    def __init__(
        self, scanner: Scanner, history: HistoryReader, reader: OnlineReader, store: OnlineStore, *, project: str
    ) -> None:
        """Trace rows with `scanner`; take values from `history` and `reader`, the sizes of states from `store`."""
        self._scanner = scanner
        self._history = history
        self._reader = reader
        self._store = store
        self._project = project

    def explain(
        self,
        view: ViewSpec,
        feature: FeatureSpec,
        keys: Mapping[str, Any],
        at_us: int,
        *,
        rows: int,
        now_us: int | None = None,
    ) -> Explanation:
        """Return why the feature has its value at `at_us`.

        Args:
            view: A registered view.
            feature: One of its features.
            keys: One value per join key.
            at_us: The instant.
            rows: How many rows to list per cause; all are counted.
            now_us: The clock, for the source's `max_skew`.

        Raises:
            InputError: keys missing, unknown or of the wrong type; `rows` below zero.
            SourceError, SchemaError: the source cannot be read as it was defined.
        """
        if rows < 0:
            raise InputError(f"{rows} rows cannot be listed", fix="Give zero or more.")
        spine = one_entity(view.entity, keys, at_us)
        found = self._trace(view, feature, spine, now_us)
        start_us = _start_us(feature, at_us)
        if view.kind == "event":
            causes = event_causes(found, at_us, start_us)
        else:
            causes = state_causes(found, at_us, view.ttl_us)
        online = self._online(view, feature, spine, at_us)
        offline = self._offline(view, feature, spine)
        by = feature.aggregate.by if feature.aggregate else None
        groups = _groups(found, causes, rows, online.instant, grouped=by is not None)
        inside = groups.pop(("inside", ""), Outside("inside", "", 0, ()))
        return Explanation(
            feature=f"{view.key}:{feature.name}",
            definition=definition(view, feature),
            dtype=feature.dtype,
            column=feature.aggregate.column if feature.aggregate else feature.column or feature.name,
            kind=view.kind,
            keys={name: values[0] for name, values in _columns(view, spine).items()},
            at=from_us(at_us),
            window=None if view.kind == "state" else Window(_instant(start_us), from_us(at_us)),
            inside=inside.count,
            rows=inside.rows,
            outside=tuple(groups.values()),
            offline=offline,
            online=online,
            agree=_agree(offline, online),
            by=by,
        )

    def _trace(self, view: ViewSpec, feature: FeatureSpec, spine: Spine, now_us: int | None) -> list[TracedRow]:
        program = compile_events(view, [feature]) if view.kind == "event" else compile_states(view, [feature])
        request = ScanRequest(
            source=view.source,
            derived=view.derived,
            keys=view.entity.join_keys,
            columns=program.columns,
            where=view.where,
            events=view.kind == "event",
            now_us=now_us,
        )
        key = [values[0] for values in _columns(view, spine).values()]
        batches = self._scanner.trace(request, key).to_batches(_BATCH_ROWS)
        aggregate = feature.aggregate
        # The value's lane comes first, if there is one, and the secondary key's last.
        counts_rows = aggregate is not None and aggregate.column is None and aggregate.where is None
        column = None if counts_rows else program.columns[0].name
        by = program.columns[-1].name if aggregate is not None and aggregate.by is not None else None
        return [row for batch in batches for row in traced(batch.to_pylist(), column, by)]

    def _offline(self, view: ViewSpec, feature: FeatureSpec, spine: Spine) -> OfflineValue:
        try:
            row = self._history.read(view, [feature], spine, statuses=True).slice(0, 1)
        except FeatureValueError as error:
            return OfflineValue(None, "error", error.what)
        value = row.column(feature.name)[0].as_py(maps_as_pydicts="strict")
        return OfflineValue(value, row.column(feature.name + STATUS)[0].as_py(), "")

    def _online(self, view: ViewSpec, feature: FeatureSpec, spine: Spine, at_us: int) -> OnlineValue:
        keys = _columns(view, spine)
        encoded = _native.encode_keys(spine.keys(view.entity))[0].as_py()
        stored = self._store.read([(ViewKey(self._project, view.name, view.version), [encoded])])[0]
        generation, state = stored.generation, stored.values[0] if stored.generation else None
        value, status, error, code = None, "unavailable", "", ""
        try:
            answer = self._reader.read([f"{view.key}:{feature.name}"], keys, at_us)
            column = column_name(view.name, feature.name)
            value, status = answer.to_dict()[column][0], answer.statuses[column][0]
        except NotMaterializedError as refused:
            error, code = refused.what, refused.code
        except FeatureValueError as refused:
            status, error, code = "error", refused.what, refused.code
        return OnlineValue(
            value=value,
            status=status,
            error=error,
            code=code,
            generation=None if generation is None else generation.number,
            instant=None if generation is None else from_us(generation.instant_us),
            size_bytes=None if state is None else len(state),
            tiles=() if state is None or error or view.kind == "state" else _tiles(view, feature, state, at_us),
        )


def find_feature(catalog: Catalog, reference: object) -> tuple[ViewSpec, FeatureSpec]:
    """Return the one feature that a reference names.

    Raises:
        InputError: it is not "view:feature" or "view@3:feature".
        NotFoundError: no such view, version or feature.
    """
    if not isinstance(reference, str):
        raise InputError(f"A feature is named by text, not by {type(reference).__name__}", fix='Write "view:feature".')
    parse_feature(reference)
    selection = catalog.select(reference)
    if selection.on_demand is not None:
        raise UnsupportedOperationError(
            f"{reference} is computed when it is read",
            why="It has no rows of its own",
            fix=f"Explain what it is computed from: {', '.join(_inputs(selection))}.",
        )
    [item] = selection.items
    return item.view, item.feature


def _inputs(selection: Selection) -> list[str]:
    return [f"{item.view.key}:{item.feature.name}" for item in selection.stored()]


def _columns(view: ViewSpec, spine: Spine) -> dict[str, list[Any]]:
    """Return the join keys by name, in the entity's order and types."""
    arrays = spine.keys(view.entity)
    return {key.name: array.to_pylist() for key, array in zip(view.entity.join_keys, arrays, strict=True)}


def _start_us(feature: FeatureSpec, at_us: int) -> int | None:
    aggregate = feature.aggregate
    if aggregate is None or aggregate.window_us is None:
        return None
    return _native.window_start(aggregate.window_us, aggregate.hop_us, at_us)


def _tiles(view: ViewSpec, feature: FeatureSpec, state: bytes, at_us: int) -> tuple[Tile, ...]:
    """Return the tiles of a stored state that the feature's window takes together, the newest first."""
    program = compile_events(view, view.features)
    position = view.features.index(feature)
    try:
        starts, block = program.plan.reader(None, [position]).tiles(state)
    except OverflowError:
        return ()
    values = block.to_arrow().column(feature.name).to_pylist(maps_as_pydicts="strict")
    oldest = _start_us(feature, at_us)
    held = zip(starts, values, strict=True)
    inside = [(us, value) for us, value in held if us < at_us and (oldest is None or us >= oldest)]
    return tuple(Tile(from_us(us), value) for us, value in reversed(inside))


def _groups(
    rows: Sequence[TracedRow], causes: Sequence[Cause], shown: int, generation: datetime | None, *, grouped: bool
) -> dict[tuple[Cause, str], Outside]:
    """Return the rows by cause and detail, in the order of causes; the newest `shown` of each, newest first."""
    members: defaultdict[tuple[Cause, str], list[TracedRow]] = defaultdict(list)
    for row, cause in zip(rows, causes, strict=True):
        members[cause, row.rejected or ""].append(row)
    found = {}
    for cause, detail in sorted(members, key=lambda pair: (_CAUSES.index(pair[0]), pair[1])):
        newest = sorted(members[cause, detail], key=lambda row: (row.event_us or 0, row.order), reverse=True)
        listed = tuple(_explained(row, generation, grouped=grouped) for row in newest[:shown])
        found[cause, detail] = Outside(cause, detail, len(newest), listed)
    return found


def _explained(row: TracedRow, generation: datetime | None, *, grouped: bool) -> ExplainedRow:
    available_at = _instant(row.known_us)
    known = None if generation is None or available_at is None else available_at <= generation
    return ExplainedRow(
        event_time=_instant(row.event_us),
        available_at=available_at,
        event_id=row.event_id,
        value=row.value,
        retracted_at=_instant(row.retracted_us),
        known_online=known,
        group=row.group if grouped else None,
    )


def _instant(us: int | None) -> datetime | None:
    """Return an instant; what a delay or a window puts beyond the years 1 to 9999 is shown as their end."""
    return None if us is None else from_us(min(max(us, FIRST_US), LAST_US))


def _agree(offline: OfflineValue, online: OnlineValue) -> bool | None:
    if online.status == "unavailable":
        return None
    return online.status == offline.status and _identical(online.value, offline.value)


def _identical(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return struct.pack("<d", a) == struct.pack("<d", b)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_identical, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return _identical([*a], [*b]) and _identical([*a.values()], [*b.values()])
    return bool(a == b)
