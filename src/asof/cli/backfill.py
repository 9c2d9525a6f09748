"""`asof backfill`: run the intervals of a batch source."""

from __future__ import annotations

import rich_click as click

from asof.cli.format import count
from asof.cli.session import Session, json_option, pass_session


@click.command("backfill")
@click.argument("name", metavar="VIEW")
@click.option("--start", metavar="INSTANT", required=True, help="ISO 8601, UTC where no zone is given.")
@click.option("--end", metavar="INSTANT", default=None, help="ISO 8601. Default: now.")
@click.option("--workers", type=click.IntRange(min=1), default=None, help="Intervals at once. Default: the cores.")
@click.option("--force", is_flag=True, help="Run again what was done.")
@json_option
@pass_session
def command(session: Session, name: str, start: str, end: str | None, workers: int | None, force: bool) -> None:
    """Run the intervals of a batch view or batch source.

    Those that touch the range, have ended by its end and are due. What was done before is skipped, so after an
    interruption the same command goes on; each interval's rows are there whole or not at all.

    \b
        asof backfill daily_spend --start 2026-01-01 --end 2026-02-01
        asof backfill daily_spend@2 --start 2026-01-01 --force
    """
    with session.errors.status("Backfilling", spinner="dots") as shown:
        done = session.store.backfill(
            name,
            start,
            end,
            workers=workers,
            force=force,
            progress=lambda source, ran, total: shown.update(f"Backfilling {source}: {ran} of {total} intervals"),
        )
    session.emit(done)
    session.say(
        f"{done.source}: {count(done.intervals, 'interval')} run, {done.skipped:,} done before, "
        f"{count(done.rows, 'row')}, {done.seconds:.2f} s"
    )
