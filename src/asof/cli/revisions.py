"""`asof revisions`: who applied what, and when."""

from __future__ import annotations

import rich_click as click

from asof.cli.format import instant
from asof.cli.session import Session, json_option, pass_session


@click.command("revisions")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(min=1), help="How many, newest first.")
@json_option
@pass_session
def command(session: Session, limit: int) -> None:
    """Show who applied what, and when.

    \b
        asof revisions --limit 5
    """
    found = session.store.revisions(limit)
    session.emit(found)
    if not found:
        session.say("Nothing was applied yet.")
        return
    session.table(
        ["revision", "at", "who", "summary"],
        [(one.number, instant(one.at_us), one.who, one.summary) for one in found],
    )
