"""`asof copy`: move a project to other stores while it serves."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import rich_click as click

from asof.cli.format import count, size
from asof.cli.session import Session, json_option, pass_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asof.services.copy_project import Copied


@click.command("copy")
@click.option("--from", "source", metavar="DIR", help="Whose asof.toml names the stores. Default: the project's.")
@click.option("--to", metavar="DIR", help="Whose asof.toml names the stores to copy to.")
@click.option("--registry", metavar="URL", help="Copy the registry to this one.")
@click.option(
    "--offline", metavar="PLACE", help="Copy logs, batches, training sets and dead letters to this directory or bucket."
)
@click.option("--online", metavar="URL", help="Copy the values to this online store.")
@click.option("--switch", is_flag=True, help="Then write the new places into asof.toml; the old ones refuse writers.")
@click.option("--overwrite", is_flag=True, help="Give up what the new stores hold of the project.")
@click.option("--dry-run", is_flag=True, help="Check the new stores, and count what there is to copy.")
@json_option
@pass_session
def command(
    session: Session,
    source: str | None,
    to: str | None,
    registry: str | None,
    offline: str | None,
    online: str | None,
    switch: bool,
    overwrite: bool,
    dry_run: bool,
) -> None:
    """Copy the project to other stores, compare it, and go on there.

    Readers, pushes and streams go on meanwhile; at the end they wait for a moment, in which the rest is copied. A
    copy that was interrupted goes on where it was, and one that was not switched to is brought up to date.

    \b
        asof copy --online redis://cache.internal:6379/0 --dry-run
        asof copy --online redis://cache.internal:6379/0
        asof copy --online redis://cache.internal:6379/0 --switch
    """
    with progress(session, "Copying") as tell:
        done = session.store.copy(
            to,
            registry=registry,
            offline=offline,
            online=online,
            source=source,
            switch=switch,
            overwrite=overwrite,
            dry_run=dry_run,
            progress=tell,
        )
    session.emit(done)
    report(session, done, "to copy" if dry_run else "copied and equal")
    if dry_run:
        return
    if not done.switched:
        session.say("Nothing was switched. Repeat with --switch to go on there; until then the copy takes no changes.")
        return
    if done.variables:
        session.say(
            f"Set {' and '.join(done.variables)} to the new places, which asof.toml cannot hold.", "bold yellow"
        )
    session.say("Switched. Restart servers and workers: the old stores take no changes any more.", "bold green")


@contextmanager
def progress(session: Session, doing: str) -> Iterator[Callable[[str, int], None]]:
    """Show what is copied, where there is a terminal to show it on."""
    with session.errors.status(doing, spinner="dots") as shown:
        yield lambda name, number: shown.update(f"{doing} {name}: {number:,}")


def report(session: Session, done: Copied, what: str) -> None:
    """Show what was compared."""
    rows = []
    if done.registry is not None:
        rows.append(("registry", f"revision {done.registry.revision}, {count(done.registry.rows, 'row')}", ""))
    if done.offline is not None:
        files = f"{count(done.offline.files, 'file')}, {size(done.offline.size_bytes)}"
        rows.append(("offline", files, f"{done.offline.changed:,}"))
    if done.online is not None:
        values = f"{count(done.online.views, 'view version')}, {count(done.online.keys, 'key')}"
        rows.append(("online", values, f"{done.online.changed:,}"))
    session.table(["store", what, "changed meanwhile"], rows)
    session.say(f"Took {done.seconds:.1f} s; streams and pushes waited {done.paused_s:.2f} s of them.")
