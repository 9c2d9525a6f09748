"""`asof list`: what the registry holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import rich_click as click

from asof.cli.session import Session, json_option, pass_session
from asof.plan.registered import NOUNS

if TYPE_CHECKING:
    from asof.plan.registered import Kind

_KINDS = {
    "entities": "entity",
    "sources": "source",
    "views": "view",
    "on-demand-views": "on_demand",
    "services": "service",
}


@click.command("list")
@click.argument("kind", required=False, type=click.Choice(list(_KINDS)))
@json_option
@pass_session
def command(session: Session, kind: str | None) -> None:
    """List what the registry holds.

    Entities, sources, views, on-demand views and services: the newest version of each.

    \b
        asof list
        asof list views --json
    """
    found = session.store.list(cast("Kind", _KINDS[kind]) if kind else None)
    session.emit(found)
    if not found:
        session.say("The registry is empty. Define features and run `asof apply`.")
        return
    session.table(
        ["kind", "name", "version", "what", "owner", "description"],
        [(NOUNS[one.kind][0], one.name, one.version, one.about, one.owner, one.description) for one in found],
    )
