"""`asof erase`: delete what a project holds about an entity, and prove it by searching again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click

from asof.cli.format import count
from asof.cli.online import key_value
from asof.cli.session import Session, json_option, pass_session
from asof.errors import InputError

if TYPE_CHECKING:
    from asof.plan.specs import EntitySpec
    from asof.services.erase import Erased

_LEFT = 1


@click.command("erase")
@click.option(
    "--entity",
    "entities",
    metavar="NAME=KEY",
    multiple=True,
    required=True,
    help="Whom: customer=42; with several join keys trip=card_id=7,device_id=x. Repeat for more of the same entity.",
)
@click.option("--dry-run", is_flag=True, help="Only search, and erase nothing.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
@click.pass_context
@pass_session
def command(session: Session, context: click.Context, entities: tuple[str, ...], dry_run: bool, yes: bool) -> None:
    """Erase what the project holds about an entity.

    Out of the online store, the logs of stream sources, the rows of batch sources, training sets, quarantine, dead
    letters and the serving log. Then everything is searched again; ends with 1 if something is found. Your own files,
    tables and topics are named, and left alone. Run again after a crash, it finishes.

    \b
        asof erase --entity customer=42 --dry-run
        asof erase --entity customer=42 --entity customer=43 --yes
    """
    names = {text.partition("=")[0] for text in entities}
    if len(names) != 1:
        raise InputError("Several kinds of entities are named", fix="Erase one kind at a time.")
    entity = session.store.catalog().entity(names.pop())
    keys = [_keys(entity, text.partition("=")[2]) for text in entities]
    if not dry_run and not yes:
        found = session.store.erase(keys, entity=entity.name, dry_run=True)
        _show(session, found)
        if not session.asks:
            raise InputError(
                "Nothing was erased",
                why="Erasing wants a confirmation, and there is no terminal to ask on",
                fix="Repeat with --yes.",
            )
        if not click.confirm("\nErase for good?"):
            session.say("Nothing was erased.")
            return
    done = session.store.erase(keys, entity=entity.name, dry_run=dry_run)
    session.emit({"remaining": done.remaining, "erasure": done})
    _show(session, done)
    if not dry_run and done.remaining:
        context.exit(_LEFT)


def _keys(entity: EntitySpec, text: str) -> dict[str, object]:
    """Return the join keys that a text gives: one value, or name=value with commas between."""
    types = {key.name: key.dtype for key in entity.join_keys}
    if len(types) == 1:
        [(name, dtype)] = types.items()
        return {name: key_value(text, text.removeprefix(f"{name}="), dtype)}
    parts = [part.partition("=") for part in text.split(",")]
    if {name for name, _, _ in parts} != {*types} or len(parts) != len(types):
        raise InputError(
            f"{text!r} does not give the join keys of entity {entity.name}",
            fix=f"Write {entity.name}=" + ",".join(f"{name}=…" for name in types),
        )
    return {name: key_value(value, value, types[name]) for name, _, value in parts}


def _show(session: Session, done: Erased) -> None:
    session.table(
        ["place", "name", "found", "erased", "left"],
        [
            (place.kind, place.name, place.before, "" if done.dry_run else place.erased, place.after)
            for place in done.places
            if place.before or place.after
        ],
    )
    searched = count(len(done.places), "place")
    whom = f"{done.entities:,} of entity {done.entity}"
    if done.dry_run:
        session.say(f"Found {done.found:,} in {searched} about {whom}. Nothing was erased.", "bold")
    elif done.remaining:
        session.say(f"{done.remaining:,} left in {searched} about {whom}: run it again.", "bold red")
    else:
        session.say(f"Erasure {done.id}: nothing is left in {searched} about {whom}.", "bold green")
    for source in done.yours:
        session.say(f"Not erased, yours: {source}", "yellow")
    for note in done.notes:
        session.say(f"Note: {note}")
