"""`asof push`: rows of a stream source from a file or a pipe."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click
from click.exceptions import Exit

from asof.cli.format import count
from asof.cli.session import Session, json_option, pass_session
from asof.clock import iso
from asof.errors import AsofError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asof.services.ingest import Ingested
    from asof.services.writer import SourceWriter

_LISTED = 100
_SHOWN = 10


@dataclass
class Pushed:
    """What became of the rows so far."""

    taken: int = 0
    repeated: int = 0
    refused: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    rows: list[dict[str, object]] = field(default_factory=list)
    last: Ingested | None = None

    def add(self, done: Ingested) -> None:
        """Count a batch."""
        before = self.taken + self.repeated + self.refused
        self.taken += done.taken
        self.repeated += done.repeated
        self.refused += len(done.refused)
        self.reasons.update(done.refused.values())
        for row in sorted(done.refused)[: _LISTED - len(self.rows)]:
            self.rows.append({"row": before + row, "reason": done.refused[row]})
        self.last = done


@click.command("push")
@click.argument("source")
@click.argument("file", type=click.Path(allow_dash=True, path_type=Path))
@click.option("--batch-size", type=click.IntRange(1), default=10_000, show_default=True, help="Rows taken in at once.")
@click.option("--strict", is_flag=True, help="End with exit status 1 if rows were refused.")
@json_option
@pass_session
def command(session: Session, source: str, file: Path, batch_size: int, strict: bool) -> None:
    """Take the rows of a file into a stream source.

    FILE is a Parquet, CSV, NDJSON or Arrow file, or - for NDJSON on standard input, whose rows are taken in as they
    come. What is taken in is durable, and reads show it. Rows that cannot be taken in are kept as dead letters, with
    the reason, and do not hold up the others.

    \b
        asof push transactions today.parquet
        tail -f events.ndjson | asof push transactions -
    """
    store, pushed = session.store, Pushed()
    try:
        with (
            store.caller.pushes(source, store.catalog(), file.name),
            session.errors.status("Pushing", spinner="dots") as shown,
        ):
            for done in _push(store.ingestor(source), file, batch_size):
                pushed.add(done)
                shown.update(f"Pushing: {count(pushed.taken, 'row')} taken in")
    except AsofError:
        if pushed.taken:
            session.errors.print(f"{count(pushed.taken, 'row')} of {source} had been taken in before.")
        raise
    _show(session, source, pushed)
    if strict and pushed.refused:
        raise Exit(1)


def _push(writer: SourceWriter, file: Path, size: int) -> Iterator[Ingested]:
    from asof.backends.local import row_files  # loads Arrow, which --help does not need

    if str(file) == "-":
        for lines in row_files.read_pipe(sys.stdin.fileno(), size):
            yield writer.push_lines(lines)
        return
    form = row_files.format_of(file)
    if form == "ndjson":
        for lines in row_files.read_lines(file, size):
            yield writer.push_lines(lines)
    elif form == "csv":
        types = {column.name: column.dtype for column in writer.ingestor.source.columns}
        for records, refused in row_files.read_csv(file, types, size):
            yield writer.push_json(records, refused)
    else:
        for table in row_files.read_tables(file, size):
            yield writer.push(table)


def _show(session: Session, source: str, pushed: Pushed) -> None:
    last = pushed.last
    behind = {} if last is None else last.behind
    session.emit(
        {
            "source": source,
            "taken": pushed.taken,
            "repeated": pushed.repeated,
            "refused": pushed.refused,
            "reasons": dict(pushed.reasons.most_common()),
            "rows": pushed.rows,
            "entry": last and last.entry,
            "at": iso(last.at_us) if last is not None and last.entry else None,
            "behind": {view: str(error) for view, error in behind.items()},
        }
    )
    repeated = f", {pushed.repeated:,} repeated" if pushed.repeated else ""
    refused = f", {pushed.refused:,} refused" if pushed.refused else ""
    session.say(f"{source}: {count(pushed.taken, 'row')} taken in{repeated}{refused}.")
    for reason, number in pushed.reasons.most_common(_SHOWN):
        session.say(f"  {number:,} x {reason}", "yellow")
    if len(pushed.reasons) > _SHOWN:
        session.say(f"  and {count(len(pushed.reasons) - _SHOWN, 'other reason')}", "yellow")
    for view, error in behind.items():
        session.say(f"  View {view} is behind: {error}", "red")
    if pushed.refused:
        session.say(f"\nNext: asof deadletter list {source}")
