"""Spines made of every entity at every instant, for those who have no examples yet."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from asof.clock import parse_instant, to_us
from asof.errors import InputError
from asof.services.spine import EVENT_TIMESTAMP, to_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asof.interfaces import Scanner
    from asof.plan.selection import Selection

    Instants = Iterable[datetime | str]


def every(step: timedelta, *, start: datetime, end: datetime) -> list[datetime]:
    """Return the instants from `start` to `end`, both included, `step` apart.

    Raises:
        InputError: the step is not positive, or the end lies before the start.
    """
    if step <= timedelta(0) or end < start:
        raise InputError("There are no instants in that range", fix="Give a positive step and an end after the start.")
    return [start + step * number for number in range((end - start) // step + 1)]


def grid_spine(entities: Any, instants: Instants) -> pa.Table:
    """Return every entity at every instant: entities in their order, the instants of each in theirs.

    Args:
        entities: A table of join keys; repeated rows stay. Without columns it is the one entity that has none.
        instants: Datetimes, or ISO 8601 texts; naive ones are UTC.

    Returns:
        The columns of `entities` and `event_timestamp`.

    Raises:
        InputError: no instants, or a value that is none.
    """
    table = to_table(entities, "The entities")
    times = np.array([_instant_us(instant) for instant in instants], dtype=np.int64)
    if not len(times):
        raise InputError("There are no instants", fix="Give at least one.")
    if not table.num_columns:  # features about everything: one entity, which has no key
        return pa.table({EVENT_TIMESTAMP: pa.array(times).cast(pa.timestamp("us", "UTC"))})
    rows = pa.array(np.repeat(np.arange(table.num_rows), len(times)))
    column = pa.array(np.tile(times, table.num_rows)).cast(pa.timestamp("us", "UTC"))
    return table.take(rows).append_column(EVENT_TIMESTAMP, column)


def known_entities(scanner: Scanner, selection: Selection) -> pa.Table:
    """Return the distinct join keys in the views' sources.

    Raises:
        InputError: the views are about different entities or are read under roles, so there is no one list of them;
            those whose join keys are all looked up do not count.
    """
    if role := next(
        (item.role for item in selection.stored() if item.role and (item.role.name or item.role.keys)), None
    ):
        raise InputError(
            f"Which entities meet in role {role.name!r} cannot be read from the sources",
            fix="Give entities=, a table with all their key columns, or a spine.",
        )
    groups = selection.groups()
    views = list({g.view.key: g.view for g in groups if not g.lookups and g.view.entity.join_keys}.values())
    entities = {view.entity.join_keys for view in views}
    asked = {key for group in groups for key in group.asked_keys()}
    if not asked:
        return pa.table({})
    if len(entities) != 1 or asked != {key.name for key in views[0].entity.join_keys}:
        raise InputError(
            "These features are about several entities",
            fix="Give entities=, a table with all their join keys.",
        )
    tables = [scanner.key_values(view.source, view.entity.join_keys, view.where, view.derived) for view in views]
    merged = pa.concat_tables(tables)
    return merged.group_by(merged.column_names, use_threads=False).aggregate([])


def _instant_us(instant: datetime | str) -> int:
    try:
        return parse_instant(instant) if isinstance(instant, str) else to_us(instant)
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(
            f"{instant!r} is not an instant", fix='Give datetimes, or ISO 8601 texts as "2013-06-01T12:00".'
        ) from error
