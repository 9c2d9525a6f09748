"""`asof get-historical-features`: training sets."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from asof.cli.session import Session, json_option, pass_session
from asof.errors import InputError


@click.command("get-historical-features")
@click.argument("features", nargs=-1, required=True)
@click.option("--spine", metavar="PATH", type=click.Path(path_type=Path), help="Examples: a file, or a Delta table.")
@click.option("--instants", metavar="INSTANT", multiple=True, help="Instead of a spine: ask about every entity then.")
@click.option("--out", metavar="PATH", required=True, type=click.Path(path_type=Path), help="Where to write them.")
@click.option("--event-time", metavar="COLUMN", help="The spine's column of instants. Default: event_timestamp.")
@click.option("--statuses", is_flag=True, help="Add a column per feature: present, null, missing or expired.")
@click.option("--memory-budget", metavar="SIZE", help='As "2GB" or "25%". Default: the project\'s.')
@json_option
@pass_session
def command(
    session: Session,
    features: tuple[str, ...],
    spine: Path | None,
    instants: tuple[str, ...],
    out: Path,
    event_time: str | None,
    statuses: bool,
    memory_budget: str | None,
) -> None:
    """Join features to examples, each as it was known then.

    FEATURES are one service, or views and features. The output has the spine's rows in its order, its columns first;
    its format is that of the path's ending: .parquet, .csv, .arrow, .delta or .tfrecord.

    \b
        asof get-historical-features fraud --spine labels.parquet --out training.parquet
        asof get-historical-features spend:count_1h profile --spine labels.csv --out training.csv
        asof get-historical-features fraud --instants 2026-01-01 --instants 2026-02-01 --out grid.parquet
    """
    if (spine is None) == (not instants):
        raise InputError("There must be either a spine or instants", fix="Give --spine PATH, or --instants.")
    result = session.store.get_historical_features(
        as_features(features),
        spine,
        event_time=event_time,
        instants=list(instants) or None,
        memory_budget=memory_budget,
        statuses=statuses,
    )
    with result:
        rows, columns = result.write(out), result.schema.names
    session.emit({"rows": rows, "columns": columns, "path": str(out)})
    session.say(f"Wrote {rows:,} rows and {len(columns)} columns to {out}.")


def as_features(features: tuple[str, ...]) -> str | list[str]:
    """Return a single service as it is, and everything else as a list."""
    return features[0] if len(features) == 1 and ":" not in features[0] else list(features)
