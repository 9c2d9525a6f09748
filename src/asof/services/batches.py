"""Which batch sources a project has, by name or definition, and what of them is due."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asof.definitions.batch import BatchSource
from asof.definitions.collection import Definitions
from asof.definitions.views import FeatureView
from asof.errors import AsofError, InputError, NotFoundError
from asof.plan.batch import batch_of, due_next_us, due_until_us, in_order, intervals, needed, newest_due
from asof.plan.functions import function_spec
from asof.plan.references import parse_object
from asof.plan.specs import meaning_hash
from asof.services.materialize import choose_views
from asof.services.resolve import resolve_definitions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from asof.interfaces import Scanner
    from asof.interfaces.transformer import Transformer
    from asof.plan.batch import Interval
    from asof.plan.specs import FunctionSpec, SourceSpec
    from asof.services.backfill import Backfilled, Backfiller
    from asof.services.catalog import Catalog
    from asof.services.materialize import Materialized


@dataclass(frozen=True)
class Due:
    """What one pass over all that is due did.

    Attributes:
        backfilled: Per batch source that had something to run.
        materialized: The views over them.
        next_us: When the next interval becomes due, in microseconds since the epoch; None without batch sources.
    """

    backfilled: Sequence[Backfilled]
    materialized: Sequence[Materialized]
    next_us: int | None


def find_batch(catalog: Catalog, name: str) -> SourceSpec:
    """Return the batch source of that name, or the one that a view of that name reads: "daily", "spend@2".

    Raises:
        NotFoundError: there is no such source or view.
        DefinitionError: it is there, and no batch source.
    """
    reference = parse_object(name)
    if reference.version is None and any(source.name == reference.name for source in catalog.sources()):
        found = catalog.source(reference.name)
    elif catalog.entries("view", reference.name):
        found = catalog.view(reference.name, reference.version).source
    else:
        raise NotFoundError(
            f"There is no batch source or view {name!r} in the registry",
            fix="Correct the name, or run `asof apply` if it is defined and not applied yet.",
        )
    batch_of(found)
    return found


def resolve_batch(
    batch: BatchSource | FeatureView, scanner: Scanner
) -> tuple[SourceSpec, Mapping[FunctionSpec, Callable[..., Any]]]:
    """Return the spec of a definition that no registry need hold, and the functions that it uses.

    Raises:
        InputError: it is neither a batch source nor a view over one.
        SourceError, SchemaError, DefinitionError: as an apply of it would raise.
    """
    source = batch.source if isinstance(batch, FeatureView) else batch
    if not isinstance(source, BatchSource):
        raise InputError(f"{batch!r} is no batch source, and no view over one", fix="Give a BatchSource or BatchView.")
    definitions = Definitions.of([("the batch given", source)])
    found = resolve_definitions(definitions, scanner).sources[-1]
    functions = [one.function for one in definitions.sources if isinstance(one, BatchSource) and one.function]
    return found, {function_spec(one, f"Batch source {source.name!r}"): one for one in functions}


def all_batches(catalog: Catalog) -> list[SourceSpec]:
    """Return every batch source that something reads or may read, inputs before what reads them.

    Those are the newest ones, and those of every view version that a service pins.
    """
    return in_order([*catalog.sources(), *(view.source for view in choose_views(catalog, None))])


def run_due(
    sources: Sequence[SourceSpec],
    transformer: Transformer,
    backfiller: Backfiller,
    now_us: int,
    *,
    workers: int,
    failed: Callable[[AsofError], None],
) -> list[Backfilled]:
    """Run every interval that is due and not done, from each source's first published one on, in the given order.

    A source of which nothing is published runs its newest interval. Earlier ones run too where a run of what reads the
    source expects them to be there. `failed` is told the error of a source that could not run all; if it returns, the
    others go on.

    Args:
        sources: Batch sources, inputs before what reads them.
        transformer: Knows what is published.
        backfiller: Runs intervals.
        now_us: The present, in microseconds since the epoch.
        workers: Intervals that run at once.
        failed: Told every error.
    """
    done = []
    starts = _starts(sources, transformer, now_us)
    for source in sources:
        start_us, end_us = starts[meaning_hash(source)], due_until_us(source, now_us)
        if _lacking(source, transformer, start_us, now_us):
            try:
                done.append(backfiller.run(source, start_us, end_us, workers=workers))
            except AsofError as error:
                failed(error)
    return done


def _starts(sources: Sequence[SourceSpec], transformer: Transformer, now_us: int) -> dict[str, int]:
    """Return per meaning from where on its intervals are to be there, so that what reads the source can run too."""
    starts: dict[str, int] = {}
    for source in reversed(sources):
        published = transformer.published(source)
        own_us = published[0] if published else newest_due(source, now_us).start_us
        start_us = starts[meaning_hash(source)] = min(own_us, starts.get(meaning_hash(source), own_us))
        lacking = _lacking(source, transformer, start_us, now_us)
        for one in batch_of(source).inputs if lacking else ():
            if one.batch is not None and (expected := needed(source, lacking[0], one)):
                starts[meaning_hash(one)] = min(expected[0].start_us, starts.get(meaning_hash(one), now_us))
    return starts


def _lacking(source: SourceSpec, transformer: Transformer, start_us: int, now_us: int) -> list[Interval]:
    published = set(transformer.published(source))
    wanted = intervals(batch_of(source), start_us, due_until_us(source, now_us))
    return [one for one in wanted if one.start_us not in published]


def next_due_us(sources: Sequence[SourceSpec], now_us: int) -> int | None:
    """Return the next instant after now at which an interval becomes due; None without batch sources."""
    return min((due_next_us(one, now_us) for one in sources), default=None)


def views_over(catalog: Catalog, done: Sequence[Backfilled]) -> list[str]:
    """Return the view versions that read what was just run, as "spend@3"."""
    names = {one.source for one in done if one.intervals}
    changed = {meaning_hash(source) for source in all_batches(catalog) if source.name in names}
    return [view.key for view in choose_views(catalog, None) if meaning_hash(view.source) in changed]
