"""Delta Lake tables as Arrow datasets whose files come in the order in which they were written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.dataset as ds

from asof.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

    from asof.plan.specs import SourceSpec


def open_dataset(root: Path, source: SourceSpec) -> ds.Dataset:
    """Return a table version's rows: files by time written, then path; rows by position.

    Raises:
        SourceError: there is no such table or version, or this machine cannot read it.
    """
    from deltalake.exceptions import DeltaError

    table = _table(root, source)
    try:
        dataset = table.to_pyarrow_dataset()
        written = _actions(table)
    except DeltaError as exc:
        raise SourceError(
            f"Source {source.name!r}: the Delta table at {source.path} cannot be read",
            why=str(exc).splitlines()[0],
            fix="Rewrite the table without the feature named above, or read it from a Parquet copy.",
        ) from exc
    if not isinstance(dataset, ds.FileSystemDataset):
        return dataset
    fragments = sorted(dataset.get_fragments(), key=lambda fragment: (written.get(fragment.path, 0), fragment.path))
    return ds.FileSystemDataset(fragments, dataset.schema, dataset.format, dataset.filesystem)


def table_version(root: Path, source: SourceSpec) -> int:
    """Return the version that a source reads now."""
    return int(_table(root, source).version())


def size_bytes(root: Path, source: SourceSpec) -> int:
    """Return the bytes of a table version's files."""
    import pyarrow as pa

    actions = pa.table(_table(root, source).get_add_actions(flatten=True))
    return sum(actions["size_bytes"].to_pylist())


def _table(root: Path, source: SourceSpec) -> Any:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    uri = source.path if "://" in source.path else str(root / source.path)
    try:
        return DeltaTable(uri, version=source.table_version)
    except (DeltaError, OSError, ValueError) as exc:
        version = "" if source.table_version is None else f", version {source.table_version}"
        raise SourceError(
            f"Source {source.name!r}: there is no readable Delta table at {uri}{version}",
            why=str(exc).splitlines()[0],
            fix="Correct path= or version= of the source. Paths are relative to the project's root.",
        ) from exc


def _actions(table: Any) -> dict[str, int]:
    import pyarrow as pa

    actions = pa.table(table.get_add_actions(flatten=True))
    return dict(zip(actions["path"].to_pylist(), actions["modification_time"].to_pylist(), strict=True))
