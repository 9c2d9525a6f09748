"""`asof training-set`: training sets that are kept with a manifest, and made again from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from asof.cli.format import count, size
from asof.cli.session import Session, json_option, pass_session
from asof.definitions import GroupSplit, Label, RandomSplit, TimeSplit
from asof.definitions.training import LABEL_AGGREGATES
from asof.errors import InputError

if TYPE_CHECKING:
    from asof.definitions.training import Split
    from asof.interfaces.inputs import SourceInput
    from asof.services.manifest import Manifest
    from asof.services.statistics import ColumnStatistics
    from asof.services.training_set import TrainingSet

_SPLITS = "Write random:train=0.8,test=0.2, group:COLUMN:train=0.8,test=0.2, or time:2026-01-01,2026-02-01."
_SHOWN = 3


@click.group("training-set")
def command() -> None:
    """Make, list, show, rebuild and delete training sets.

    A training set is kept with its spine and a manifest: the versions, files and table versions that it was made from.

    \b
        asof training-set create march --service fraud --spine labels.parquet --split random:train=0.8,test=0.2
        asof training-set rebuild march
    """


@command.command("create")
@click.argument("name")
@click.option("--service", metavar="SERVICE", required=True, help='As "fraud", or pinned "fraud@2".')
@click.option("--spine", metavar="PATH", required=True, type=click.Path(path_type=Path), help="Examples.")
@click.option("--event-time", metavar="COLUMN", help="The spine's column of instants. Default: event_timestamp.")
@click.option("--split", metavar="SPLIT", help=_SPLITS)
@click.option("--seed", type=int, default=0, help="Of a random or group split. Default: 0.")
@click.option("--label-source", metavar="SOURCE", help="Compute the label from this source, after each instant.")
@click.option("--label-column", metavar="COLUMN", help="What is aggregated. Default: whether there is a row.")
@click.option("--label-aggregate", type=click.Choice(LABEL_AGGREGATES), help="Default: exists; with a column last.")
@click.option("--label-window", metavar="DURATION", help='How far the label looks ahead, as "30d".')
@click.option("--label-where", metavar="SQL", help="Rows of the source that count. Default: all.")
@click.option("--label-maturity", metavar="DURATION", help="How long after the window outcomes are known. Default: 0.")
@json_option
@pass_session
def create(
    session: Session,
    name: str,
    service: str,
    spine: Path,
    event_time: str | None,
    split: str | None,
    seed: int,
    label_source: str | None,
    label_column: str | None,
    label_aggregate: str | None,
    label_window: str | None,
    label_where: str | None,
    label_maturity: str | None,
) -> None:
    """Join a service's features to examples and keep them as NAME.

    Rows whose label cannot be known yet are left out, and counted.

    \b
        asof training-set create march --service fraud --spine labels.parquet --split time:2026-02-01
        asof training-set create churn --service fraud --spine visits.csv --label-source orders --label-window 30d
    """
    label = None
    if label_source is None:
        if any((label_column, label_aggregate, label_window, label_where, label_maturity)):
            raise InputError("There is no source for the label", fix="Name it: --label-source SOURCE.")
    elif label_window is None:
        raise InputError("The label has no window", fix='Say how far it looks ahead: --label-window "30d".')
    else:
        label = Label(
            label_source,
            label_column,
            window=label_window,
            aggregate=label_aggregate,  # type: ignore[arg-type]  # click lets these through only
            where=label_where,
            maturity=label_maturity,
        )
    chosen = None if split is None else parse_split(split, seed)
    made = session.store.create_training_set(name, service, spine, split=chosen, label=label, event_time=event_time)
    session.emit(made.manifest)
    session.say(f"Made {name} of {made.manifest.service}: {_rows(made.manifest)}, in {made.path}.")


@command.command("list")
@json_option
@pass_session
def list_(session: Session) -> None:
    """List all training sets, with those that are damaged and why."""
    damaged: dict[str, str] = {}
    found = session.store.training_sets(lambda name, error: damaged.update({name: f"{error.what}: {error.why}"}))
    session.emit([*map(_summary, found), *({"name": name, "damaged": why} for name, why in damaged.items())])
    if not found and not damaged:
        session.say("There is no training set. Make one with `asof training-set create`.")
        return
    headings = ["name", "service", "rows", "immature", "splits", "size", "created"]
    if found:
        session.table(headings, [list(_summary(one, text=True).values()) for one in found])
    for name, why in damaged.items():
        session.say(f"{name} is damaged. {why}", "red")


@command.command("describe")
@click.argument("name")
@json_option
@pass_session
def describe(session: Session, name: str) -> None:
    """Show what a training set was made from, and its columns.

    With --json the whole manifest.
    """
    found = session.store.training_set(name)
    manifest = found.manifest
    session.emit(manifest)
    session.say(f"training set {name}", "bold")
    facts = [
        ("rows", _rows(manifest)),
        ("service", manifest.service),
        ("views", ", ".join(one.view for one in manifest.views)),
        ("created", f"{manifest.created_at}, by Asof {manifest.library_version}"),
        ("data", f"{found.path}, {size(manifest.data_bytes)}"),
        ("sha256", manifest.data_sha256),
    ]
    for one in manifest.inputs:
        facts += [("source", _input(read)) for read in (one, *one.history)]
    for label, text in facts:
        session.say(f"  {label:<12} {text}")
    session.say()
    session.table(
        ["column", "type", "nulls", "mean", "stddev", "min", "max", "most frequent"],
        [_statistics_row(one) for one in manifest.statistics],
    )


def _input(one: SourceInput) -> str:
    if one.kind == "stream":
        return f"{one.name}: {count(one.rows, 'row')} that arrived, up to entry {one.entry} of its log"
    if one.source is not None:
        where = one.source.table or one.source.path or "a query"
        what = f"snapshot {one.table_version}" if one.kind == "iceberg" else f"{count(one.rows, 'row')} by their hash"
        return f"{one.name}: {where}, {what}"
    what = f"version {one.table_version}" if one.kind == "delta" else f"{len(one.files)} files"
    return f"{one.name}: {one.path}, {what}"


@command.command("rebuild")
@click.argument("name")
@json_option
@pass_session
def rebuild(session: Session, name: str) -> None:
    """Make a training set's data again: the same rows, values and order.

    Reads the spine that was kept, the pinned versions, and the files, table versions and log entries of the manifest.
    Says which of them is gone or has changed, if any.
    """
    made = session.store.rebuild_training_set(name)
    session.emit(made.manifest)
    session.say(f"Rebuilt {name}: {_rows(made.manifest)}, the same as before.")


@command.command("delete")
@click.argument("name")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
@pass_session
def delete(session: Session, name: str, yes: bool) -> None:
    """Delete a training set, its spine and its manifest."""
    if not yes:
        if not session.asks:
            raise InputError(
                "Nothing was deleted",
                why="Deleting wants a confirmation, and there is no terminal to ask on",
                fix="Repeat with --yes.",
            )
        if not click.confirm(f"Delete {name}?"):
            session.say("Nothing was deleted.")
            return
    session.store.delete_training_set(name)
    session.emit({"deleted": name})
    session.say(f"Deleted {name}.")


def parse_split(text: str, seed: int) -> Split:
    """Return the split that a text stands for, as "random:train=0.8,test=0.2".

    Raises:
        InputError: it stands for none.
        DefinitionError: its fractions or instants are wrong.
    """
    kind, _, rest = text.partition(":")
    if kind == "time" and rest:
        return TimeSplit(rest.split(","))
    if kind == "random":
        return RandomSplit(_fractions(rest, text), seed=seed) if rest else RandomSplit(seed=seed)
    if kind == "group" and rest:
        column, _, shares = rest.partition(":")
        return GroupSplit(column, _fractions(shares, text), seed=seed) if shares else GroupSplit(column, seed=seed)
    raise InputError(f"{text!r} is not a split", fix=_SPLITS)


def _fractions(text: str, whole: str) -> dict[str, float]:
    pairs = [part.partition("=") for part in text.split(",")]
    try:
        return {name.strip(): float(share) for name, _, share in pairs}
    except ValueError as error:
        raise InputError(f"{whole!r} is not a split", why=str(error), fix=_SPLITS) from error


def _rows(manifest: Manifest) -> str:
    text = f"{manifest.rows:,} rows"
    if manifest.splits:
        text += f" ({_splits(manifest)})"
    return text + (f", {manifest.immature_rows:,} left out as immature" if manifest.immature_rows else "")


def _splits(manifest: Manifest) -> str:
    return ", ".join(f"{name} {rows:,}" for name, rows in manifest.splits.items())


def _summary(found: TrainingSet, *, text: bool = False) -> dict[str, object]:
    manifest = found.manifest
    return {
        "name": found.name,
        "service": manifest.service,
        "rows": f"{manifest.rows:,}" if text else manifest.rows,
        "immature_rows": manifest.immature_rows,
        "splits": _splits(manifest) if text else manifest.splits,
        "data_bytes": size(manifest.data_bytes) if text else manifest.data_bytes,
        "created_at": manifest.created_at,
    }


def _statistics_row(one: ColumnStatistics) -> list[object]:
    numbers = [f"{value:.6g}" if isinstance(value, float) else value for value in (one.mean, one.stddev)]
    bounds = [f"{value:.6g}" if isinstance(value, float) else value for value in (one.min, one.max)]
    frequent = ", ".join(f"{value} ({rows:,})" for value, rows in one.top[:_SHOWN])
    return [one.name, one.type, f"{one.nulls:,}", *numbers, *bounds, frequent]
