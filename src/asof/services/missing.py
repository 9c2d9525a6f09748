"""Refuses reads that meet a missing value where a service must have one, and knows the defaults of what is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from asof import dtypes
from asof.errors import InputError, MissingValueError
from asof.kernel.programs import defaults_row
from asof.plan.specs import FeatureSpec
from asof.services.history import STATUS, STATUS_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asof.plan.selected import SelectedFeature
    from asof.plan.selection import Selection
    from asof.plan.specs import MissingSpec
    from asof.services.history import ViewColumns
    from asof.services.spine import Spine

    Rows = np.ndarray[Any, np.dtype[np.int64]]

STATUS_SUFFIX = "__status"
"""Ends the name of the column of a feature's statuses in what callers get."""

SHOWN = 3
"""How many places an error lists."""


def refuse_status_names(columns: Sequence[str]) -> None:
    """Refuse columns of which one is named as the statuses of another would be.

    Raises:
        InputError: names both.
    """
    names = set(columns)
    if clash := next((name for name in columns if name + STATUS_SUFFIX in names), None):
        raise InputError(
            f"The statuses of {clash} cannot be shown",
            why=f"Their column would be {clash}{STATUS_SUFFIX}, which is a feature",
            fix="Ask without statuses, or rename the feature.",
        )


def refuse_missing(selection: Selection, read: Mapping[str, ViewColumns], spine: Spine) -> None:
    """Refuse a join in which a stored feature is not present although the service says that it must be.

    Raises:
        MissingValueError: names the feature, and of a few rows keys, instant and status.
    """
    groups = {group.key: group for group in selection.groups()}
    for item in selection.items:
        if item.missing is None or not item.missing.error:
            continue
        rows: list[Rows] = []
        statuses: list[pa.Array] = []
        for numbers, table in read[item.group].parts:
            column = table.column(item.read.name + STATUS).combine_chunks()
            bad = pc.not_equal(column, STATUS_NAMES[0])
            rows.append(numbers[bad.to_numpy(zero_copy_only=False)])
            statuses.append(column.filter(bad))
        own = [column for column, _ in groups[item.group].asked_keys().values()]
        keys = own if not item.lookups else [*selection.key_types()]
        refuse_rows(label(item), np.concatenate(rows), pa.concat_arrays(statuses), keys, spine)


def refuse_rows(feature: str, rows: Rows, statuses: pa.Array, keys: Sequence[str], spine: Spine) -> None:
    """Refuse rows of a spine, if there are any, in which a feature is not present.

    Args:
        feature: Its name, as view:feature.
        rows: The numbers of the rows.
        statuses: Why it is not present in each of them.
        keys: The spine's columns that hold join keys.
        spine: The spine.

    Raises:
        MissingValueError: there are such rows.
    """
    if not len(rows):
        return
    first = np.argsort(rows, kind="stable")[:SHOWN]
    shown = []
    for place in first:
        row = int(rows[place])
        parts = [f"{key}={spine.table.column(key)[row].as_py()!r}" for key in keys]
        parts.append(f"{spine.event_time}={spine.table.column(spine.event_time)[row]}")
        shown.append(f"{', '.join(parts)}: {statuses[int(place)].as_py()}")
    raise missing_value(feature, shown, len(rows), f"{spine.table.num_rows} rows")


def missing_value(feature: str, shown: Sequence[str], count: int, of: str) -> MissingValueError:
    """Return the error of a feature that is not present although a service says that it must be.

    Args:
        feature: Its name, as view:feature.
        shown: A few of the places, each with its status.
        count: How many places there are.
        of: Among how many.
    """
    more = f"; and {count - len(shown)} more" if count > len(shown) else ""
    return MissingValueError(
        f"Feature {feature} has no value for {count} of {of}",
        why=f"{'; '.join(shown)}{more}. The service reads it with_missing(error=True)",
        fix="Leave these out, bring their data, or let the service give a default.",
    )


def label(item: SelectedFeature) -> str:
    """Return a feature as people name it: weather:wind as destination."""
    name = f"{item.view.name}:{item.feature.name}"
    return name if item.role is None or not item.role.name else f"{name} as {item.role.name}"


def defaults_of(missing: Mapping[str, MissingSpec], types: Mapping[str, pa.DataType]) -> pa.RecordBatch:
    """Return one row with the defaults that a service gives computed columns, null where it gives none.

    Args:
        missing: What is done, by column.
        types: The types of all computed columns.
    """
    specs = []
    for name, arrow in types.items():
        default = missing[name].default if name in missing else None
        specs.append(
            FeatureSpec(
                name=name,
                dtype=dtypes.from_arrow(arrow) or "",
                default=None if default is msgspec.UNSET else default,
            )
        )
    return defaults_row(specs)
