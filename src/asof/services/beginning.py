"""The beginning of a log whose source has an archive: from which position of each partition on rows are the log's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from asof.definitions.streams import ARRIVED_AT
from asof.interfaces.log import PARTITION, POSITION
from asof.plan.streams import row_schema, stream_of

if TYPE_CHECKING:
    from asof.clock import Clock
    from asof.interfaces import OfflineLog, OnlineStore, Scanner
    from asof.plan.specs import SourceSpec

_COLUMNS = ((ARRIVED_AT, pa.timestamp("us", "UTC")), (PARTITION, pa.string()), (POSITION, pa.int64()))


def begin_log(
    source: SourceSpec, *, scanner: Scanner, log: OfflineLog, store: OnlineStore, project: str, clock: Clock
) -> bool:
    """Let the log of a source with an archive begin after the newest position there; return whether it did just now.

    Its first entry has no rows, only these positions: `LogHead.positions` then tells a worker where to start, and what
    the archive gets from there on, which the log gets as well, is left out of it. Values built before are of another
    extent of the archive.
    """
    if stream_of(source).positions is None:
        return False
    with store.exclusive(project, source.name):
        own = log.of(source.name)
        head = own.head()
        if head.sequence:
            return False
        schema = row_schema(source)
        for name, arrow in _COLUMNS:
            schema = schema.append(pa.field(name, arrow))
        own.append(head, schema.empty_table(), scanner.archive_positions(source), max(clock.now_us(), head.last_us + 1))
        return True
