"""`asof materialize`: write values to the online store."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import rich_click as click

from asof.cli.session import Session, json_option, pass_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@click.command("materialize")
@click.argument("views", nargs=-1, metavar="[VIEW]...")
@click.option("--at", metavar="INSTANT", default=None, help="ISO 8601, UTC where no zone is given. Default: now.")
@json_option
@pass_session
def command(session: Session, views: tuple[str, ...], at: str | None) -> None:
    """Write every entity's values to the online store.

    As they were known at one instant, view by view, each switched in at once. Without names: every view version
    that reads may ask for.

    \b
        asof materialize
        asof materialize spend profile@2 --at 2026-01-31T12:00
    """
    with _progress(session) as progress:
        done = session.store.materialize(list(views) or None, at=at, progress=progress)
    session.emit(done)
    session.table(
        ["view", "generation", "as of", "keys", "rows read", "seconds"],
        [
            (
                f"{one.view}@{one.version}",
                one.generation,
                f"{one.instant:%Y-%m-%dT%H:%M:%SZ}",
                f"{one.keys:,}",
                f"{one.rows:,}",
                f"{one.seconds:.2f}",
            )
            for one in done
        ],
    )
    if not done:
        session.say("There is no view to materialize. Define one and run `asof apply`.")


@contextmanager
def _progress(session: Session) -> Iterator[Callable[[str, int], None]]:
    """Show rows as they are read, where there is a terminal to show them on."""
    with session.errors.status("Materializing", spinner="dots") as shown:
        yield lambda view, rows: shown.update(f"Materializing {view}: {rows:,} rows read")
