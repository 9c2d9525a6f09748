"""`asof status`: the project at a glance."""

from __future__ import annotations

import rich_click as click

from asof.cli.format import age, instant
from asof.cli.session import Session, json_option, pass_session
from asof.plan.registered import NOUNS


@click.command("status")
@json_option
@pass_session
def command(session: Session) -> None:
    """Show how fresh every view is online.

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
    if any(view.generation is None for view in status.views):
        session.say("\nNext: asof materialize")
