"""`asof status`: the project at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click

from asof.cli.format import age, count, instant
from asof.cli.session import Session, json_option, pass_session
from asof.durations import format_duration
from asof.plan.registered import NOUNS

if TYPE_CHECKING:
    from asof.services.overview import ViewStatus
    from asof.services.standing import SourceStatus, ViewFreshness, WorkerStatus


@click.command("status")
@json_option
@pass_session
def command(session: Session) -> None:
    """Show how fresh every view is online, and how far every stream source has come.

    \b
        asof status
    """
    status = session.store.status()
    session.emit(status)
    counts = ", ".join(
        f"{count} {NOUNS[kind][count != 1]}" for kind, count in status.counts.items() if count or kind != "on_demand"
    )
    session.say(f"Project {status.project}, revision {status.revision}: {counts}", "bold")
    if status.views:
        session.say()
    session.table(
        ["view", "", "services", "online as of", "age", "keys"],
        [
            (
                f"{view.view}@{view.version}",
                "newest" if view.newest else "pinned",
                ", ".join(view.services),
                "not materialized" if view.generation is None else instant(view.generation.instant_us),
                None if view.age_us is None else age(view.age_us),
                None if view.generation is None else f"{view.generation.keys:,}",
            )
            for view in status.views
        ],
    )
    fresh = [row for view in status.views if (row := _fresh_row(view)) is not None]
    if fresh:
        session.say()
        session.table(["view", "freshness", "newest event", "updated", "behind the log", "generation of"], fresh)
    if status.sources:
        session.say()
        headings = ["source", "log", "rows", "last arrival", "lag", "dead letters", "workers"]
        session.table(headings, [_source_row(source) for source in status.sources])
    for source in status.sources:
        for worker in source.workers:
            if worker.record.problem is not None and worker.state != "silent":
                session.say(f"\n{source.source}, {worker.record.member}: {worker.record.problem}", "yellow")
    if any(view.generation is None for view in status.views):
        session.say("\nNext: asof materialize")


def _fresh_row(view: ViewStatus) -> tuple[object, ...] | None:
    """Return what there is to say of a view that takes arrivals or has an objective, None of another."""
    found = view.freshness
    if found is None or (found.entries_behind is None and found.objective_us is None):
        return None
    return (
        f"{view.view}@{view.version}",
        _objective(found),
        None if found.watermark_us is None else instant(found.watermark_us),
        None if found.updated_at_us is None else instant(found.updated_at_us),
        _behind(found),
        instant(found.written_at_us),
    )


def _objective(found: ViewFreshness) -> str:
    if found.objective_us is None:
        return "stale" if found.stale else "any"
    within = format_duration(found.objective_us)
    return (
        f"stale, over {within}" if found.stale and not found.stuck else "stale" if found.stale else f"within {within}"
    )


def _behind(found: ViewFreshness) -> str | None:
    if found.entries_behind is None:
        return None
    noun = "entry" if found.entries_behind == 1 else "entries"
    parts = [f"{found.entries_behind:,} {noun}"] if found.entries_behind else []
    if found.pending_us is not None:
        parts.append(f"{'stuck' if found.stuck else 'rows on their way'} since {instant(found.pending_us)}")
    return ", ".join(parts) or "no"


def _source_row(source: SourceStatus) -> tuple[object, ...]:
    lag = "unknown" if source.workers else None
    if source.lag is not None:
        lag = f"{count(source.lag, 'message')}, {source.lag_s or 0:.1f} s" if source.lag else "none"
    return (
        source.source,
        f"entry {source.entries:,}" if source.entries else "empty",
        f"{source.rows:,}",
        None if source.last_us is None else instant(source.last_us),
        lag,
        f"{source.dead_letters:,}" if source.dead_letters else None,
        ", ".join(_worker(one) for one in source.workers),
    )


def _worker(one: WorkerStatus) -> str:
    if one.state == "running":
        stalled = " with a problem" if one.record.problem is not None else ""
        return f"{one.record.member} at {one.record.rows_per_s:,.0f} rows/s{stalled}"
    return f"{one.record.member} {one.state} for {age(max(0, one.silent_us))}"
