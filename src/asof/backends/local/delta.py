"""Delta Lake tables as Arrow datasets whose files come in the order in which they were written."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

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

    table = _table(root, source.name, source.path, source.table_version)
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
    return int(_table(root, source.name, source.path, source.table_version).version())


def size_bytes(root: Path, source: SourceSpec) -> int:
    """Return the bytes of a table version's files."""
    import pyarrow as pa

    table = _table(root, source.name, source.path, source.table_version)
    actions = pa.table(table.get_add_actions(flatten=True))
    return sum(actions["size_bytes"].to_pylist())


@dataclass(frozen=True)
class Identity:
    """Which table version a source reads.

    Attributes:
        version: Its number.
        table_id: What tells this table from another one that was put in its place.
        missing: Files of the version that are not there any more, as after a vacuum; known of local tables only.
    """

    version: int
    table_id: str
    missing: tuple[str, ...]


def identify(root: Path, name: str, path: str, version: int | None) -> Identity:
    """Return the identity of a table version; None is the newest.

    Raises:
        SourceError: there is no such table or version.
    """
    table = _table(root, name, path, version)
    listed = () if "://" in path else sorted(_actions(table))
    missing = tuple(file for file in listed if not (root / path / unquote(file)).exists())
    return Identity(int(table.version()), str(table.metadata().id), missing)


def _table(root: Path, name: str, path: str, version: int | None) -> Any:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    uri = path if "://" in path else str(root / path)
    try:
        return DeltaTable(uri, version=version, storage_options=_options(uri))
    except (DeltaError, OSError, ValueError) as exc:
        suffix = "" if version is None else f", version {version}"
        raise SourceError(
            f"Source {name!r}: there is no readable Delta table at {uri}{suffix}",
            why=str(exc).splitlines()[0],
            fix="Correct path= or version= of the source. Paths are relative to the project's root.",
        ) from exc


def _options(uri: str) -> dict[str, str] | None:
    """Return what the table's client needs besides the environment: the word that an endpoint without TLS is meant."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
    return {"allow_http": "true"} if uri.startswith("s3://") and endpoint.startswith("http://") else None


def _actions(table: Any) -> dict[str, int]:
    import pyarrow as pa

    actions = pa.table(table.get_add_actions(flatten=True))
    return dict(zip(actions["path"].to_pylist(), actions["modification_time"].to_pylist(), strict=True))
