"""The part of a FeatureStore that takes rows in as they arrive: pushes, topics, and what could not be taken."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from asof.backends.loading import open_stream
from asof.plan.access import Action
from asof.plan.streams import stream_of
from asof.services.dead_letters import find_letter, list_letters, replay
from asof.services.resources import object_resource
from asof.services.stream import open_feeds, run_feeds
from asof.services.workers import WorkerBoard, new_member, published
from asof.wiring import Wiring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from asof.interfaces import DeadLetter
    from asof.services.dead_letters import DeadLetters, Replayed
    from asof.services.ingest import Ingested, Ingestor
    from asof.services.stream import StreamProgress
    from asof.services.writer import SourceWriter


class Streaming(Wiring):
    """A project whose stream sources can be written; what users hold is `FeatureStore`."""

    def push(self, source: str, rows: Any, *, readable: bool = False) -> Ingested:
        """Take rows of a stream source in: when this returns they are durable, and reads show them.

        A view that cannot take them in, as for a sum beyond 64 bits, is named in the answer's `behind`: it shows what
        it had, and takes them in once it can.

        Args:
            source: Its name.
            rows: A list of dicts, a dict of columns, an Arrow table, a pandas or Polars frame. Columns that the source
                does not have are ignored; a row that lacks one has null there.
            readable: Fail where a view that reads may ask for does not show the rows when this returns: one that is
                behind, or was never materialized. They are kept all the same.

        Returns:
            How many rows were taken, and why others were refused: those are with the dead letters.

        Raises:
            NotFoundError: no such source.
            DefinitionError: the source is no stream source.
            InputError: `rows` are no rows.
            StoreError, StoreFullError: nothing was kept, or all of it; of a source with an `event_id` the same rows can
                be pushed again.
            ViewsBehindError: `readable`, and a view does not show the rows; they are kept, so do not push them again.
        """
        with self.caller.pushes(source, self.catalog()):
            return self.ingestor(source).push(rows, readable=readable)

    def dead_letters(self, source: str, limit: int = 1000) -> DeadLetters:
        """Return what a stream source could not take in: counts of all, and the newest ones without their values.

        Args:
            source: Its name.
            limit: How many to list.

        Raises:
            NotFoundError: no such source.
            DefinitionError: the source is no stream source.
        """
        self.caller.require(Action.SEE, object_resource(self.catalog(), "source", source))
        stream_of(self.catalog().source(source))
        return list_letters(self._letters().of(source), self.log.of(source), limit)

    def dead_letter(self, source: str, id: str) -> DeadLetter:
        """Return one dead letter with its original bytes, by the id that `dead_letters` lists.

        Raises:
            NotFoundError: no such source or id.
            DefinitionError: the source is no stream source.
        """
        catalog = self.catalog()
        self.caller.require(Action.INSPECT, object_resource(catalog, "source", source))
        stream_of(catalog.source(source))
        for view in catalog.views():  # the bytes of a row show what its views would mask
            if view.source.name == source:
                features = [f"{view.key}:{feature.name}" for feature in view.features]
                self.caller.reads_whole(Action.INSPECT, features, catalog)
        return find_letter(self._letters().of(source), self.log.of(source), source, id)

    def replay_dead_letters(self, source: str, ids: Iterable[str] | None = None) -> Replayed:
        """Decode dead letters again, as the source is defined now, take in what can be, and forget those.

        They arrive now, after all that came before, oldest first. A letter counts once, whatever crashes when.

        Args:
            source: The source's name.
            ids: Which ones. Default: all.

        Raises:
            NotFoundError: no such source or id.
            DefinitionError: the source is no stream source.
            ConflictError: somebody else replays them; what was taken until then stays taken.
            ConfigError: messages cannot be decoded here: a library or the registry of their schemas is missing.
        """
        writer = self.ingestor(source)
        source_spec = writer.ingestor.source
        decoder = self._decoder(source_spec) if stream_of(source_spec).topic is not None else None
        letters, chosen = self._letters().of(source), None if ids is None else list(ids)
        with self.caller.pushes(source, self.catalog(), "replay of dead letters"):
            return replay(writer.ingestor, letters, chosen, decoder=decoder)

    def ingestor(self, source: str, *, with_history: bool = False) -> SourceWriter:
        """Return what takes rows of a stream source in, as of the newest revision; for servers and workers.

        Views over a source without history that were never materialized are begun; of one with history they wait for
        the first `materialize`.

        Args:
            source: Its name.
            with_history: Begin views over a source with history, too, which reads all of that.

        Raises:
            NotFoundError: no such source.
            DefinitionError: the source is no stream source.
        """
        catalog = self.catalog()
        self.caller.may_push(source, catalog)
        found = self._writers.get((source, with_history))
        if found is not None and found[0] is catalog:
            return found[1]
        # Opening may wait for the source's turn, and whoever has that may need the lock of this object.
        with self._opening:
            found = self._writers.get((source, with_history))
            if found is None or found[0] is not catalog:
                writer = self._open_writer(catalog, source, with_history=with_history, renew=self._renewed)
                found = self._writers[source, with_history] = catalog, writer
            return found[1]

    def _renewed(self, source: str) -> Ingestor:
        """Return what takes rows of a source in, as of the registry's newest revision, however fresh that is."""
        with self._lock:
            self._checked_at_s = float("-inf")
        return self.ingestor(source).ingestor

    def stream(
        self,
        sources: str | Sequence[str] | None = None,
        *,
        until_caught_up: bool = False,
        stop: threading.Event | None = None,
        progress: Callable[[StreamProgress], None] | None = None,
    ) -> Sequence[StreamProgress]:
        """Read topics into the log and into every view over them, each message once, until told to stop.

        Views that were never materialized are first. Any number of processes may do this: the partitions of a topic are
        shared among them.

        Args:
            sources: Names of stream sources. Default: all that have a topic.
            until_caught_up: Stop when everything is taken in that was there when reading began.
            stop: Set it, from another thread or a signal handler, to stop when the batch at hand is taken in.
            progress: Called after each batch, and about once a second.

        Returns:
            What was done, per source.

        Raises:
            NotFoundError: no such source.
            ConfigError: there is no setting `stream`, or a source has no topic.
            StreamError: the broker cannot be reached or read, and another try would not help.
        """
        board, member = WorkerBoard(self.online, self.config.project), new_member()
        feeds = open_feeds(
            self.catalog(),
            sources,
            url=self.config.stream,
            backend=lambda: open_stream(self.config.stream, self.config.root),
            decoder=self._decoder,
            writer=lambda name: self.ingestor(name, with_history=True),
            peers=lambda name: board.peers(name, member, self.clock.now_us()),
            project=self.config.project,
            clock=self.clock,
        )
        names = [feed.source.name for feed in feeds]
        with ExitStack() as stack:
            for name in names:
                stack.enter_context(self.caller.pushes(name, self.catalog(), "stream worker"))
            tell = stack.enter_context(published(board, self.clock, member, names))

            def both(done: StreamProgress) -> None:
                tell(done)
                if progress is not None:
                    progress(done)

            return run_feeds(feeds, until_caught_up=until_caught_up, stop=stop or threading.Event(), progress=both)
