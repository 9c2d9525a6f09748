"""The end of writing a generation over a stream source: what arrived meanwhile is taken in, then it is switched in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from asof.interfaces.online import Progress, ViewKey
from asof.plan.specs import meaning_hash
from asof.plan.streams import stream_of
from asof.services.arrivals import arrived_us, newest_us, none
from asof.services.moved import refuse_marked

if TYPE_CHECKING:
    from asof.clock import Clock
    from asof.interfaces.log import LogHead, OfflineLog
    from asof.interfaces.online import Generation, GenerationWriter, OnlineStore
    from asof.plan.specs import ViewSpec
    from asof.services.arrivals import Arrivals

_ROUNDS = 8


@dataclass
class Filling:
    """A generation that holds the log up to an entry.

    Attributes:
        head: Where the log ended when the rows were read.
        newest_us: The newest event time among them.
        due_us: When the first of those that were not known yet will be.
    """

    writer: GenerationWriter
    view: ViewSpec
    head: LogHead
    newest_us: int | None
    due_us: int | None
    log: OfflineLog
    store: OnlineStore
    project: str

    def finish(self, arrivals: Arrivals, instant_us: int, clock: Clock) -> Generation:
        """Take in what has arrived since, first beside those who go on taking arrivals in, then alone, and switch."""
        log = self.log.of(self.view.source.name)
        for _ in range(_ROUNDS):
            now = log.head()
            if now.sequence == self.head.sequence:
                break
            self._take_in(arrivals, now, instant_us)
        with self.store.exclusive(self.project, self.view.source.name):
            refuse_marked(self.store, self.project, self.store.generations(self.project))
            self._take_in(arrivals, log.head(), instant_us)
            now_us = clock.now_us()
            checked_us = self._checked_at_us(now_us)
            progress = Progress(self.head.sequence, now_us, checked_us, self.newest_us, due_us=self.due_us)
            return self.writer.commit(max(instant_us, self.head.last_us), now_us, meaning_hash(self.view), progress)

    def _checked_at_us(self, now_us: int) -> int:
        """Return when nothing was left to arrive: of a topic only who reads it knows, and that stays as it was."""
        before = self.store.generations(self.project).get(ViewKey(self.project, self.view.name, self.view.version))
        known = None if before is None or before.progress is None else before.progress.checked_at_us
        return now_us if known is None or stream_of(self.view.source).topic is None else known

    def _take_in(self, arrivals: Arrivals, until: LogHead, instant_us: int) -> None:
        source = self.view.source
        for entry, rows in self.log.of(source.name).read(self.head.sequence, until.sequence):
            if not rows.num_rows:
                continue
            arrived = arrived_us(rows)
            at_us = instant_us if arrived is None else max(instant_us, arrived)
            if self.view.kind == "event" and source.event_id is not None:
                # What is known of their ids belongs to a later moment by now, so their entities are counted anew.
                known = source.event_id in rows.column_names  # else the source has other ids by now
                ids = pc.unique(rows.column(source.event_id).combine_chunks()) if known else None
                pairs = none() if ids is None else arrivals.recount(ids, entry, at_us)
            else:
                pairs = arrivals.take_in(rows, self.writer.get, at_us)
            self.writer.replace(pairs.keys, pairs.values)
            newest = newest_us(rows, source)
            if newest is not None:
                self.newest_us = newest if self.newest_us is None else max(self.newest_us, newest)
        self.head = until
