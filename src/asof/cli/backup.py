"""`asof backup` and `asof restore`: a project's stores in a directory, as of one moment, and back."""

from __future__ import annotations

import rich_click as click

from asof.cli.copy import progress, report
from asof.cli.session import Session, json_option, pass_session


@click.command("backup")
@click.argument("directory", metavar="DIR")
@json_option
@pass_session
def command(session: Session, directory: str) -> None:
    """Copy registry, files and values into a directory, as of one moment.

    The project serves meanwhile. Into a directory that holds a backup already, what changed since is copied. Your
    definitions and source files are not part of it.

    \b
        asof backup /backups/shop
    """
    with progress(session, "Backing up") as tell:
        done = session.store.backup(directory, progress=tell)
    session.emit(done)
    report(session, done, "backed up and equal")


@click.command("restore")
@click.argument("directory", metavar="DIR")
@click.option("--overwrite", is_flag=True, help="Give up what the project's stores hold.")
@json_option
@pass_session
def restore(session: Session, directory: str, overwrite: bool) -> None:
    """Copy a backup back into the stores that asof.toml names.

    They may be other ones than those it was made of. Stop servers and workers before.

    \b
        asof restore /backups/shop
    """
    with progress(session, "Restoring") as tell:
        done = session.store.restore(directory, overwrite=overwrite, progress=tell)
    session.emit(done)
    report(session, done, "restored and equal")
