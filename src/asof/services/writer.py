"""Who writes rows of a stream source: its log, every view over it, and what its ids are known by, made ready."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from asof.errors import InputError, ViewsBehindError
from asof.interfaces.online import ViewKey
from asof.plan.specs import ViewSpec
from asof.plan.streams import stream_of
from asof.services.door import table_of
from asof.services.event_ids import fill_ids
from asof.services.ingest import Batch, Ingestor, views_over
from asof.services.materialize import choose_views

if TYPE_CHECKING:
    from asof.clock import Clock
    from asof.interfaces import OfflineLog, OnlineStore, Scanner
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
        table, refused = _rows(self.ingestor.source, rows)
        found = self.ingestor.take_in(Batch(table, refused=refused))
        if readable:
            self._require_readable(found)
        return found

    def _require_readable(self, found: Ingested) -> None:
        behind = {view: str(error) for view, error in found.behind.items()}
        behind |= {view.name: "It was never materialized." for view in self.ingestor.not_begun(self.served)}
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
    store: OnlineStore,
    project: str,
    clock: Clock,
    scanner: Scanner,
    arrivals: MakeScanner,
    materializer: Materializer,
    threads: int,
    with_history: bool = False,
) -> SourceWriter:
    """Make a source ready to be written.

    Args:
        with_history: Materialize also views over a source with history, which reads all of that.

    Raises:
        NotFoundError: no such source.
        DefinitionError: it is no stream source.
    """
    spec = catalog.source(source)
    stream = stream_of(spec)
    every = [entry.spec for entry in catalog.entries("view") if isinstance(entry.spec, ViewSpec)]
    views = views_over(every, source)
    fill_ids(spec, views, scanner=scanner, log=log, store=store, project=project, clock=clock)
    begun = []
    served = views_over(choose_views(catalog, None), source)
    if with_history or stream.history is None:
        there = store.generations(project)
        for view in served:
            if ViewKey(project, view.name, view.version) not in there:
                begun.append(materializer.run(view, clock.now_us()))
    ingestor = Ingestor(
        spec,
        views,
        log=log,
        store=store,
        project=project,
        clock=clock,
        scanner=arrivals,
        threads=threads,
    )
    return SourceWriter(ingestor, tuple(begun), tuple(served))


def _rows(source: SourceSpec, rows: Any) -> tuple[pa.Table, Mapping[int, str]]:
    if isinstance(rows, list):
        if wrong := [row for row in rows if not isinstance(row, Mapping)]:
            raise InputError(
                f"A row to push is a {type(wrong[0]).__name__}", fix='Push dicts: [{"customer_id": 17, "amount": 9.5}].'
            )
        return table_of(source, rows)
    if isinstance(rows, Mapping):
        lengths = {len(values) for values in rows.values() if hasattr(values, "__len__")}
        if len(lengths) != 1 or not all(isinstance(values, list | tuple) for values in rows.values()):
            return _table(rows), {}
        (n,) = lengths
        return table_of(source, [{name: values[i] for name, values in rows.items()} for i in range(n)])
    return _table(rows), {}


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
