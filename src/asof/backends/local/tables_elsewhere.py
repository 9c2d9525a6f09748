"""Records which rows a table of another system had, and tells in words what of them is gone or has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from asof.backends.local import elsewhere
from asof.clock import iso
from asof.errors import AsofError
from asof.interfaces.inputs import SourceInput
from asof.plan.specs import address_of, place_of

if TYPE_CHECKING:
    from pathlib import Path

    from asof.plan.specs import SourceSpec


def record(root: Path, source: SourceSpec, until_us: int | None) -> SourceInput:
    """Return the snapshot of an Iceberg table; of PostgreSQL, which keeps none, how many rows there are and their hash.

    Raises:
        SourceError, SchemaError, ConfigError: the table cannot be read.
    """
    if source.kind == "iceberg":
        found = elsewhere.iceberg().identify(root, source)
        return SourceInput(
            name=source.name,
            kind="iceberg",
            path=place_of(source),
            table_version=found.snapshot,
            newest=source.table_version is None,
            table_id=found.table_id,
            source=source,
        )
    content = elsewhere.postgres().content(source, until_us)
    return SourceInput(
        name=source.name,
        kind="postgres",
        path=place_of(source),
        rows=content.rows,
        rows_hash=content.hash,
        until_us=until_us,
        snapshot=content.snapshot,
        source=source,
    )


def problems(root: Path, recorded: SourceInput, *, quick: bool) -> list[str]:
    """Return in words what of a recorded table is gone or has changed.

    PostgreSQL's rows are read again, also when it should be quick: nothing else would tell.
    """
    if recorded.source is None:
        return [f"source {recorded.name}: the record does not say which table was read"]
    if recorded.kind == "postgres":
        return _rows_problems(recorded, recorded.source)
    return [] if quick else _snapshot_problems(root, recorded, recorded.source)


def _rows_problems(recorded: SourceInput, source: SourceSpec) -> list[str]:
    place = f"source {recorded.name}: {address_of(source)}"
    try:
        found = elsewhere.postgres().content(source, recorded.until_us)
    except AsofError as error:
        return [f"{place} cannot be read ({error})"]
    until = "" if recorded.until_us is None else f" until {iso(recorded.until_us)}"
    if found.rows != recorded.rows:
        return [f"{place} changed: it has {found.rows} rows{until} instead of {recorded.rows}"]
    return [] if found.hash == recorded.rows_hash else [f"{place} changed: it has other values{until}"]


def _snapshot_problems(root: Path, recorded: SourceInput, source: SourceSpec) -> list[str]:
    place = f"source {recorded.name}: Iceberg table {source.table or source.path}"
    snapshot = recorded.table_version
    try:
        found = elsewhere.iceberg().identify(root, msgspec.structs.replace(source, table_version=snapshot))
    except AsofError as error:
        return [f"{place}, snapshot {snapshot} is gone ({error.why or error.what})"]
    if found.table_id != recorded.table_id:
        return [f"{place} was replaced by another table"]
    if found.missing:
        return [f"{place}, snapshot {snapshot} is not whole: file {found.missing[0]} is gone"]
    return []
