"""`asof audit`: who read or changed what."""

from __future__ import annotations

from dataclasses import asdict

import rich_click as click

from asof.cli.format import count, instant
from asof.cli.session import Session, json_option, pass_session


@click.command("audit")
@click.option("--who", metavar="TEXT", help="A part of the name of whoever did it.")
@click.option("--what", metavar="TEXT", help="A part of what it was done to, as service:fraud.")
@click.option("--since", metavar="INSTANT", help="From this instant on, ISO 8601.")
@click.option("--limit", default=50, show_default=True, help="How many records, newest first.")
@click.option("--verify", is_flag=True, help="Check that no record was changed or removed.")
@click.option("--head", metavar="HASH", help="With --verify: what it printed earlier, which must still be there.")
@json_option
@pass_session
def command(
    session: Session, who: str | None, what: str | None, since: str | None, limit: int, verify: bool, head: str | None
) -> None:
    """Show who read or changed what, newest first.

    Changes are recorded one by one before they are made; reads, and attempts that were denied, are summed up for
    seconds. Records cannot be changed or removed here, and --verify tells whether that was done in the database.

    \b
        asof audit --who ada --since 2026-01-01
        asof audit --verify
    """
    if verify or head:
        found = session.store.access.verify_audit(head)
        session.emit(asdict(found))
        session.say(f"{count(found.records, 'record')}, each as it was written. Head: {found.head or 'none'}")
        return
    records = session.store.access.audit(who=who, what=what, since=since, limit=limit)
    session.emit([{"number": one.number, **asdict(one.record), "hash": one.hash} for one in records])
    rows = [
        (instant(r.at_us), r.who, r.action, r.what, r.outcome, r.count, r.keys or "", r.detail)
        for r in (one.record for one in records)
    ]
    session.table(("when", "who", "action", "what", "outcome", "times", "keys", "detail"), rows)
