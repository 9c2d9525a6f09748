"""The point-in-time join of a selection of features to a spine, as one call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asof.services.history import STATUS, HistoryReader
from asof.services.results import HistoricalFeatures
from asof.services.spine import check_columns

if TYPE_CHECKING:
    from asof.interfaces import Executor, Scanner, TableWriter
    from asof.plan.selection import Selection
    from asof.services.spine import Spine


def join(
    selection: Selection,
    spine: Spine,
    scanner: Scanner,
    executor: Executor,
    writer: TableWriter,
    *,
    now_us: int,
    statuses: bool = False,
) -> HistoricalFeatures:
    """Return the spine's rows with the selection's features, each as it was known at its row's instant.

    Raises:
        InputError: the spine's keys do not fit, or it has a column of a feature's name.
        FeatureValueError: an integer sum beyond 64 bits.
        SourceError, SchemaError: a source cannot be read as it was defined.
    """
    columns = [(item.column, item.group, item.feature.name) for item in selection.items]
    if statuses:
        columns = [c for name, key, f in columns for c in ((name, key, f), (name + STATUS, key, f + STATUS))]
    check_columns(spine, [name for name, _, _ in columns])
    reader = HistoryReader(scanner, executor, now_us=now_us)
    try:
        answers = reader.read_all(selection.groups(), spine, statuses=statuses)
    except BaseException:
        executor.release()
        raise
    return HistoricalFeatures(spine, answers, columns, executor, writer)
