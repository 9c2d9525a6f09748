"""The point-in-time join of a selection of features to a spine, as one call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asof.definitions.missing import INDICATOR as SUFFIX
from asof.plan.masks import without_treatments
from asof.plan.selected import has_indicator
from asof.services.history import INDICATOR, HistoryReader
from asof.services.masked_columns import GROUP, mask
from asof.services.missing import refuse_missing, refuse_status_names
from asof.services.on_demand import ON_DEMAND, ComputedColumns, OnDemandProgram, assemble
from asof.services.results import HistoricalFeatures
from asof.services.spine import check_columns

if TYPE_CHECKING:
    from asof.interfaces import Executor, ExpressionEngine, Scanner, TableWriter
    from asof.plan.selection import Selection
    from asof.services.functions import FunctionLoader
    from asof.services.history import ViewColumns
    from asof.services.masked_columns import MaskedColumns
    from asof.services.spine import Spine


def join(
    selection: Selection,
    spine: Spine,
    scanner: Scanner,
    executor: Executor,
    writer: TableWriter,
    *,
    functions: FunctionLoader,
    expressions: ExpressionEngine,
    now_us: int,
    statuses: bool = False,
    masked: frozenset[str] = frozenset(),
) -> HistoricalFeatures:
    """Return the spine's rows with the selection's features, each as it was known at its row's instant.

    Columns that are `masked` are null.

    Raises:
        InputError: the spine's keys do not fit, it lacks a request input, or it has a column of a feature's name; or
            a feature is named as the statuses of another would be.
        MissingValueError: a stored feature has no value although the service says that it must have one; a computed
            one is refused when its rows are read.
        FeatureValueError: an integer sum beyond 64 bits, or a user's function fails.
        SourceError, SchemaError: a source cannot be read as it was defined.
    """
    selection = without_treatments(selection, masked)
    if statuses:
        refuse_status_names(selection.columns())
    columns = assemble(selection.columns(), _places(selection), statuses=statuses)
    check_columns(spine, [name for name, _, _ in columns])
    computed = None
    if selection.on_demand is not None:
        program = OnDemandProgram(selection.on_demand, functions, expressions)
        computed = ComputedColumns(program, spine, [*selection.key_types()], statuses=statuses)
    reader = HistoryReader(scanner, executor, now_us=now_us)
    try:
        read = reader.read_all(selection.groups(), spine, statuses=statuses)
        refuse_missing(selection, read, spine)
    except BaseException:
        executor.release()
        raise
    answers: dict[str, ViewColumns | ComputedColumns | MaskedColumns] = {**read}
    if computed is not None:
        answers[ON_DEMAND] = computed.over(read)
    if masked:
        columns, answers[GROUP] = mask(columns, answers, masked)
    return HistoricalFeatures(spine, answers, columns, executor, writer)


def _places(selection: Selection) -> dict[str, tuple[str, str]]:
    """Return where columns are found that are not computed features: the key of their group, and their name in it."""
    found: dict[str, tuple[str, str]] = {}
    for item in selection.items:
        found[item.column] = (item.group, item.read.name)
        if has_indicator(item):
            found[item.column + SUFFIX] = (item.group, item.read.name + INDICATOR)
    for name, how in selection.on_demand.missing.items() if selection.on_demand is not None else ():
        if how.indicator:
            found[name + SUFFIX] = (ON_DEMAND, name + INDICATOR)
    return found
