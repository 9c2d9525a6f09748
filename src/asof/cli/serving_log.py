"""`asof serving-log`: what services answered, and whether training sees the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click
from click.exceptions import Exit

from asof.cli.format import count, instant
from asof.cli.session import Session, json_option, pass_session
from asof.clock import as_us, from_us, iso
from asof.durations import parse_duration

if TYPE_CHECKING:
    import pyarrow as pa

    from asof.services.serving_audit import ComparedFeature

_DIFFERENT = 1
_since = click.option("--since", metavar="INSTANT", help="Only what was served then or later.")
_until = click.option("--until", metavar="INSTANT", help="Only what was served before then.")


@click.group("serving-log")
def command() -> None:
    """List, show, compare and prune what services answered.

    A server logs a share of its answers with `asof serve --serving-log 0.01`.

    \b
        asof serving-log list
        asof serving-log show fraud --since 2026-11-01
        asof serving-log compare fraud
    """


@command.command("list")
@json_option
@pass_session
def list_(session: Session) -> None:
    """List the service versions that have rows in the log, and of when they are."""
    found = session.store.serving_logs()
    session.emit(found)
    if not found:
        session.say("The serving log is empty.")
        return
    session.table(
        ["service", "files", "first", "last"],
        [(f"{one.service}@{one.version}", one.files, instant(one.first_us), instant(one.last_us)) for one in found],
    )


@command.command("show")
@click.argument("service")
@_since
@_until
@click.option("--output", metavar="FILE", type=click.Path(path_type=Path), help="Write all rows there, as Parquet.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many rows to show.")
@json_option
@pass_session
def show(session: Session, service: str, since: str | None, until: str | None, output: Path | None, limit: int) -> None:
    """Show the newest rows of a service, or write all of them to a file.

    \b
        asof serving-log show fraud@2 --since 2026-11-01 --output served.parquet
    """
    rows = session.store.serving_log(service, since, until)
    if output is not None:
        _write(rows, output)
        session.emit({"rows": len(rows), "output": str(output)})
        session.say(f"{count(len(rows), 'row')} written to {output}.")
        return
    shown = rows.slice(max(len(rows) - limit, 0)).to_pylist()
    session.emit(shown)
    session.table(rows.column_names, [[_cell(value) for value in row.values()] for row in shown])


@command.command("compare")
@click.argument("service")
@_since
@_until
@click.option("--limit", type=click.IntRange(1), help="Only the newest rows of each version.")
@json_option
@pass_session
def compare(session: Session, service: str, since: str | None, until: str | None, limit: int | None) -> None:
    """Compare what was served with what training sees at the same instants, bit for bit.

    Ends with status 1 where a value differs that was not served as stale.

    \b
        asof serving-log compare fraud --limit 10000
    """
    found = session.store.compare_serving(service, since, until, limit=limit)
    session.emit(found)
    session.table(
        ["service", "feature", "equal", "stale", "different"],
        [(one.service, one.feature, one.equal, one.stale, one.different) for one in found.features],
    )
    for one in found.features:
        _say_examples(session, one)
    compared = count(found.rows, "row")
    if found.different:
        session.say(f"\n{compared} compared: {count(found.different, 'value')} differ from training.", "bold red")
        raise Exit(_DIFFERENT)
    session.say(f"\n{compared} compared: training sees what was served.", "bold green")


@command.command("prune")
@click.option("--older-than", required=True, metavar="AGE", help="As 90d: rows that were served before then go.")
@click.argument("service", required=False)
@json_option
@pass_session
def prune(session: Session, older_than: str, service: str | None) -> None:
    """Delete old rows, of one service or of all, file by file.

    \b
        asof serving-log prune --older-than 90d
    """
    before_us = session.clock.now_us() - parse_duration(older_than, "--older-than")
    gone = session.store.prune_serving_log(from_us(before_us), service)
    session.emit({"files": len(gone), "before": iso(before_us)})
    session.say(f"{count(len(gone), 'file')} deleted that {'was' if len(gone) == 1 else 'were'} served before then.")


def _say_examples(session: Session, one: ComparedFeature) -> None:
    for example in one.examples:
        at = instant(as_us(example["at"]))
        session.say(
            f"  {one.feature} in request {example['request_id']}, row {example['row']}, at {at}: "
            f"served {example['served']!r}, trained {example['trained']!r}",
            "yellow",
        )


def _cell(value: object) -> object:
    return value.isoformat() if hasattr(value, "isoformat") else value


def _write(rows: pa.Table, output: Path) -> None:
    from asof.backends.local.tables import LocalTableWriter  # loads Arrow, which --help does not need

    LocalTableWriter().write(output, "parquet", rows.schema, rows.to_batches())
