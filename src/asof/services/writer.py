"""Who writes rows of a stream source: its log, every view over it, and what its ids are known by, made ready."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from asof.errors import AsofError, CorruptDataError, InputError, StoreError, ViewsBehindError
from asof.interfaces.online import ViewKey
from asof.plan.specs import ViewSpec
from asof.plan.streams import stream_of
from asof.services import json_rows
from asof.services.beginning import begin_log
from asof.services.door import table_of
from asof.services.event_ids import fill_ids
from asof.services.ingest import Batch, Ingestor, views_over
from asof.services.materialize import choose_views
from asof.services.moved import refuse_marked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asof.clock import Clock
    from asof.interfaces import DeadLetterStore, Generation, OfflineLog, OnlineStore, Scanner
    from asof.plan.specs import SourceSpec
    from asof.services.arrivals import MakeScanner
    from asof.services.catalog import Catalog
    from asof.services.ingest import Ingested
    from asof.services.materialize import Materialized, Materializer


@dataclass(frozen=True)
class SourceWriter:
    """Takes rows of one source in.

    Attributes:
        ingestor: Does it.
        begun: What was materialized to begin with.
        served: The view versions over the source that reads may ask for.
    """

    ingestor: Ingestor
    begun: tuple[Materialized, ...]
    served: tuple[ViewSpec, ...] = ()

    def push(self, rows: Any, *, readable: bool = False) -> Ingested:
        """Take pushed rows in; see `FeatureStore.push`."""
        found = self.ingestor.take_in(_batch(self.ingestor.source, rows))
        if readable:
            self._require_readable(found)
        return found

    def push_json(self, records: Sequence[Any], refused: Mapping[int, str] | None = None) -> Ingested:
        """Take pushed rows in that were decoded from JSON; see `json_rows.columns_of` for the forms of values.

        Args:
            records: Objects; anything else is refused.
            refused: Rows that are known to be refused, by their position, and why.
        """
        table, unfit = json_rows.columns_of(self.ingestor.source, records, refused)
        return self.ingestor.take_in(Batch(table, refused=unfit, originals=_as_json(records)))

    def push_lines(self, lines: Sequence[bytes]) -> Ingested:
        """Take pushed rows in that are JSON texts; what is none is refused, and kept as it is."""
        records, refused = json_rows.parse(lines)
        table, refused = json_rows.columns_of(self.ingestor.source, records, refused)
        return self.ingestor.take_in(Batch(table, refused=refused, originals=lambda at: [lines[row] for row in at]))

    def _require_readable(self, found: Ingested) -> None:
        behind = {view: str(error) for view, error in found.behind.items()}
        behind |= {view.key: "It was never materialized." for view in self.ingestor.not_begun(self.served)}
        if behind and found.taken:
            name, why = next(iter(behind.items()))
            views = f"view {name!r}" if len(behind) == 1 else f"views {', '.join(map(repr, behind))}"
            rows = "1 row is" if found.taken == 1 else f"{found.taken:,} rows are"
            raise ViewsBehindError(
                f"{rows} in the log of {self.ingestor.source.name!r}, but {views} cannot show them",
                why=why,
                fix="Do not push them again: a view takes them in with the next push once it can, or with "
                f"`asof materialize {name}`.",
            )


def open_writer(
    catalog: Catalog,
    source: str,
    *,
    log: OfflineLog,
    letters: DeadLetterStore,
    store: OnlineStore,
    project: str,
    clock: Clock,
    scanner: Scanner,
    arrivals: MakeScanner,
    materializer: Materializer,
    threads: int,
    with_history: bool = False,
    renew: Callable[[], Ingestor] | None = None,
) -> SourceWriter:
    """Make a source ready to be written.

    Args:
        with_history: Materialize also views over a source with history, which reads all of that.
        renew: Gives the ingestor of the registry as it is now.

    Raises:
        NotFoundError: no such source.
        DefinitionError: it is no stream source.
    """
    spec = catalog.source(source)
    stream = stream_of(spec)
    refuse_marked(store, project, store.generations(project))
    every = [entry.spec for entry in catalog.entries("view") if isinstance(entry.spec, ViewSpec)]
    views = views_over(every, source)
    begin_log(spec, scanner=scanner, log=log, store=store, project=project, clock=clock)
    fill_ids(spec, views, scanner=scanner, log=log, store=store, project=project, clock=clock)
    there = store.generations(project)
    keys = {view.key: ViewKey(project, view.name, view.version) for view in views}
    chosen = [view for view in views_over(choose_views(catalog, None), source) if keys[view.key] not in there]
    if stream.history is not None and not with_history:
        chosen = []
    if stream.positions is not None:  # what was built before the log began holds what the log brings again
        chosen += [view for view in views if (one := there.get(keys[view.key])) and not _entry(one)]
    begun = []
    served = views_over(choose_views(catalog, None), source)
    unbegun: dict[ViewKey, AsofError] = {}
    for view in chosen:
        key = keys[view.key]
        try:
            begun.append(materializer.run(view, clock.now_us()))
        except (StoreError, CorruptDataError):
            raise
        except AsofError as error:  # one view's trouble is not that of the others
            if key in there:  # it would hold rows twice
                raise
            if key not in store.generations(project):  # else somebody else was faster
                unbegun[key] = error
    ingestor = Ingestor(
        spec,
        views,
        log=log,
        letters=letters.of(source),
        store=store,
        project=project,
        clock=clock,
        scanner=arrivals,
        threads=threads,
        unbegun=unbegun,
        known=[ViewKey(project, view.name, view.version) for view in every],
        renew=renew,
    )
    return SourceWriter(ingestor, tuple(begun), tuple(served))


def _entry(generation: Generation) -> int:
    return generation.progress.entry if generation.progress is not None else 0


def _batch(source: SourceSpec, rows: Any) -> Batch:
    if isinstance(rows, Mapping):
        lengths = {len(values) for values in rows.values() if hasattr(values, "__len__")}
        if len(lengths) != 1 or not all(isinstance(values, list | tuple) for values in rows.values()):
            return Batch(_table(rows))
        (n,) = lengths
        rows = [{name: values[i] for name, values in rows.items()} for i in range(n)]
    if not isinstance(rows, list):
        return Batch(_table(rows))
    if wrong := [row for row in rows if not isinstance(row, Mapping)]:
        raise InputError(
            f"A row to push is a {type(wrong[0]).__name__}", fix='Push dicts: [{"customer_id": 17, "amount": 9.5}].'
        )
    table, refused = table_of(source, rows)
    return Batch(table, refused=refused, originals=_as_json(rows))


def _as_json(records: Sequence[Any]) -> Callable[[Sequence[int]], Sequence[bytes]]:
    return lambda at: [json_rows.write(records[row]) for row in at]


def _table(rows: Any) -> pa.Table:
    try:
        if isinstance(rows, Mapping):
            return pa.table(dict(rows))
        return rows if isinstance(rows, pa.Table) else pa.table(rows)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InputError(
            f"Rows to push are a {type(rows).__name__} that cannot be read",
            why=str(error),
            fix="Push a list of dicts, a dict of columns, an Arrow table, a pandas or Polars frame.",
        ) from error
