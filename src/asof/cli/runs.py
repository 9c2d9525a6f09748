"""`asof runs`: which intervals of batch sources were run, when, and how that ended."""

from __future__ import annotations

import rich_click as click

from asof.cli.format import instant
from asof.cli.session import Session, json_option, pass_session


@click.command("runs")
@click.argument("name", metavar="[VIEW]", required=False)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(min=1), help="How many, newest first.")
@json_option
@pass_session
def command(session: Session, name: str | None, limit: int) -> None:
    """Show the run ledger of batch views and batch sources.

    Which intervals were run, when, how many rows they gave, why they failed, and what of their inputs was read.

    \b
        asof runs
        asof runs daily_spend --limit 5
    """
    found = session.store.runs(name, limit)
    session.emit(found)
    if not found:
        session.say("Nothing was run yet.")
        return
    session.table(
        ["source", "interval", "until", "run at", "rows", "seconds", "inputs", "error"],
        [
            (
                one.source,
                instant(one.start_us),
                instant(one.end_us),
                instant(one.started_us),
                f"{one.rows:,}",
                f"{one.seconds:.2f}",
                ", ".join(f"{name} {version}" for name, version in one.inputs),
                one.error,
            )
            for one in found
        ],
    )
