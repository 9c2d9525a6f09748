"""Turns served answers into the rows of the serving log: who asked when, the keys, the inputs, values and statuses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from asof import dtypes
from asof.services.online_keys import normalise
from asof.services.request import from_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from asof.services.online import OnlineFeatures, ReadPlan

_TIME = pa.timestamp("us", "UTC")
REQUEST_ID, ROW, MODEL, SERVICE, VERSION = "_request_id", "_row", "_model", "_service", "_version"
AT, SERVED_AT = "_at", "_served_at"
OWN = (REQUEST_ID, ROW, MODEL, SERVICE, VERSION, AT, SERVED_AT)
"""The columns that every row has; join keys, request inputs, features and their statuses follow."""


@dataclass(frozen=True)
class Served:
    """One answer of a service, as it was given.

    Attributes:
        served_at_us: The clock, when it was given; the answer itself has the instant that its values are of.
        keys: Per join key one value per entity.
        request: Per request input, as the client gave them.
        count: How many entities.
    """

    request_id: str
    model: str | None
    served_at_us: int
    plan: ReadPlan
    answer: OnlineFeatures
    keys: Mapping[str, Sequence[Any]]
    request: Mapping[str, Sequence[Any]] | None
    count: int


def served_tables(
    answers: Sequence[Served], failed: Callable[[int, Exception], None]
) -> Iterator[tuple[str, pa.Table]]:
    """Give per service version, as "fraud@2", a table with one row per answer and key, in the order they were served.

    Args:
        failed: Called with the number of rows and the error of answers that cannot be made into rows.
    """
    groups: dict[int, list[Served]] = {}
    for served in answers:
        groups.setdefault(id(served.plan), []).append(served)
    for group in groups.values():
        service = group[0].plan.service
        if service is None:
            continue
        try:
            yield service.key, _table(group)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other services' rows are not lost with these
            failed(sum(served.count for served in group), error)


def _table(group: Sequence[Served]) -> pa.Table:
    plan = group[0].plan
    counts = [served.count for served in group]
    rows = sum(counts)
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        REQUEST_ID: pa.array(np.repeat(np.array([served.request_id for served in group], object), counts), pa.string()),
        ROW: pa.array(np.concatenate([np.arange(count, dtype=np.int32) for count in counts])),
        MODEL: pa.array(np.repeat(np.array([served.model for served in group], object), counts), pa.string()),
        SERVICE: pa.array([plan.service and plan.service.name] * rows, pa.string()),
        VERSION: pa.array(np.full(rows, plan.service.version if plan.service else 0, np.int32)),
        AT: _times([served.answer.at_us for served in group], counts),
        SERVED_AT: _times([served.served_at_us for served in group], counts),
    }
    for names, types in plan.entities:
        for name, dtype in zip(names, types, strict=True):
            listed = [value for served in group for value in normalise(dtype, served.keys[name])]
            columns[name] = _key_array(listed, dtype)
    for name, field in plan.request.items():
        given = [from_request(served.request, plan.request, served.count)[name] for served in group]
        arrow = dtypes.column_type(field.dtype)
        chunks = [
            pa.nulls(served.count, arrow) if one is None else one.cast(arrow)
            for served, one in zip(group, given, strict=True)
        ]
        columns.setdefault(name, pa.chunked_array(chunks, arrow))
    values = pa.Table.from_batches([served.answer.to_arrow(statuses=True) for served in group])
    for name, column in zip(values.column_names, values.columns, strict=True):
        columns[name] = column
    return pa.table(columns).combine_chunks()


def _times(instants_us: list[int], counts: list[int]) -> pa.Array:
    return pa.array(np.repeat(np.array(instants_us, np.int64), counts)).view(_TIME)


def _key_array(values: list[Any], dtype: str) -> pa.Array:
    if dtype == "timestamp":
        return pa.array(values, pa.int64()).view(_TIME)
    if dtype == "date":
        return pa.array(values, pa.int32()).view(pa.date32())
    return pa.array(values, dtypes.column_type(dtype))
