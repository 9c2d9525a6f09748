"""`asof import-feast`: a project from a Feast feature repository, and what it could not carry over."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from asof.cli.session import Session, json_option, pass_session

if TYPE_CHECKING:
    from asof.migrate.findings import Finding

_DIRECTORY = click.Path(file_okay=False, path_type=Path)


@click.command("import-feast")
@click.argument("directory", type=_DIRECTORY)
@click.option(
    "--out", type=_DIRECTORY, default=Path(), help="Where to write the project. Default: the working directory."
)
@click.option("--handover", metavar="INSTANT", help="From when on rows come by pushes and topics. Default: this hour.")
@click.option("--overwrite", is_flag=True, help="Replace asof.toml and features.py where they are.")
@click.option("--dry-run", is_flag=True, help="Write nothing, only say what would not be carried over.")
@json_option
@pass_session
def command(session: Session, directory: Path, out: Path, handover: str | None, overwrite: bool, dry_run: bool) -> None:
    """Turn a Feast feature repository into a project.

    Reads feature_store.yaml and the Python files of DIRECTORY without running them, writes asof.toml and features.py,
    and says line by line what was not carried over, or has another meaning.

    \b
        asof import-feast shop/feature_repo --out shop-asof
        asof --project shop-asof plan
    """
    from asof.migrate.feast import read_feast, write_project

    imported = read_feast(directory, out, now_us=session.clock.now_us(), handover=handover)
    if not dry_run:
        write_project(imported, overwrite=overwrite)
    counts = {one.kind: {"found": one.found, "carried": one.carried} for one in imported.counts}
    session.emit(
        {
            "out": str(out),
            "written": not dry_run,
            "files": imported.files,
            "counts": counts,
            "findings": imported.findings,
        }
    )
    for name in imported.files:
        session.say(f"{'would write' if dry_run else 'wrote'} {out / name}")
    session.say()
    session.table(
        ["", "found", "carried over"], [(one.kind, one.found, one.carried) for one in imported.counts if one.found]
    )
    if not any(one.carried for one in imported.counts):
        session.say("Nothing was carried over, so there is nothing to plan or apply yet.", "bold yellow")
    _show(session, "Not carried over:", [one for one in imported.findings if one.kind == "dropped"])
    _show(session, "Carried over, with a difference:", [one for one in imported.findings if one.kind == "differs"])


def _show(session: Session, heading: str, findings: list[Finding]) -> None:
    if not findings:
        return
    session.say(f"\n{heading}", "bold")
    for one in findings:
        session.say(f"  {one.file}:{one.line}  {one.what}", "yellow")
        session.say(f"      why:     {one.why}")
        session.say(f"      instead: {one.instead}")
