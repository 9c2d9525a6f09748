"""`asof prune`: delete what nothing can ask for any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click

from asof.cli.format import count, size
from asof.cli.session import Session, json_option, pass_session
from asof.definitions.streams import IDS_SUFFIX
from asof.errors import InputError

if TYPE_CHECKING:
    from asof.services.prune_batches import PublishedRows


@click.command("prune")
@click.argument("services", nargs=-1, metavar="[SERVICE@VERSION]...")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
@pass_session
def command(session: Session, services: tuple[str, ...], yes: bool) -> None:
    """Delete what nothing can ask for any more.

    Removed objects, old versions that no service pins, their online storage, and rows of batch sources that nothing
    reads, unless a stored training set was made of them. Lists them and asks first. Old versions of services stay,
    because a model may read them; name those that none reads any more, and they go too, with the view versions that
    only they pin. What arrived in stream sources stays in their logs.

    \b
        asof prune
        asof prune fraud@1 fraud@2
    """
    plan = session.store.plan_prune(services)
    for rows in plan.kept:
        session.say(f"Kept: {_rows(rows)}, because {rows.why}.")
    if not plan:
        session.emit({"pruned": False, "revision": None, "plan": plan})
        session.say("There is nothing to prune.")
        return
    session.say("To be deleted for good:", "bold")
    for item in plan.items:
        session.say(f"  - {item.kind:<8} {item.name}@{item.version}  {item.why}", "red")
    for key in plan.storage:
        ids = key.view.endswith(IDS_SUFFIX)
        stored = f"the event ids of {key.view.removesuffix(IDS_SUFFIX)}" if ids else f"{key.view}@{key.version}"
        session.say(f"  - online storage of {stored}", "red")
    for rows in plan.batches:
        session.say(f"  - {_rows(rows)}  {rows.why}", "red")
    if not yes:
        if not session.asks:
            raise InputError(
                "Nothing was pruned",
                why="Deleting wants a confirmation, and there is no terminal to ask on",
                fix="Repeat with --yes.",
            )
        if not click.confirm("\nDelete?"):
            session.say("Nothing was pruned.")
            return
    revision = session.store.prune(plan)
    session.emit({"pruned": True, "revision": revision and revision.number, "plan": plan})
    session.say(f"\nPruned as revision {revision.number}." if revision else "\nPruned.", "bold green")


def _rows(rows: PublishedRows) -> str:
    return f"batch rows {rows.folder}, {count(rows.intervals, 'interval')}, {size(rows.size_bytes)}"
