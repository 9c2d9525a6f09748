"""Parquet footers: the columns that a source's files agree on, and what their statistics prove."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from asof import dtypes
from asof.backends.local.columns import literal
from asof.backends.local.faults import translated
from asof.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asof.backends.local.files import Files

_INT_FOR_DOUBLE = {"int8", "int16", "int32", "uint8", "uint16", "uint32"}


@dataclass(frozen=True)
class Footers:
    """The footers of a source's files.

    Attributes:
        schema: All columns, in order of first appearance, each as wide as its widest file needs.
        same: Whether every file has exactly these columns.
        paths: The files, in order.
        files: Their footers.
    """

    schema: pa.Schema
    same: bool
    paths: tuple[str, ...]
    files: tuple[pq.FileMetaData, ...]

    def no_nulls(self, column: str) -> bool:
        """Return whether statistics prove that a column has no nulls."""
        return all(s is not None and s.has_null_count and s.null_count == 0 for s in self._statistics(column))

    def range_us(self, column: str) -> tuple[int, int] | None:
        """Return bounds of a microsecond time column, in microseconds, or None where statistics do not give them."""
        field = self.schema.field(column)
        if not pa.types.is_timestamp(field.type) or field.type.unit != "us" or not self.same:
            return None
        found = list(self._statistics(column))
        if not all(s is not None and s.has_min_max and s.physical_type == "INT64" for s in found):
            return None
        return (min(s.min_raw for s in found), max(s.max_raw for s in found)) if found else (0, 0)

    def _statistics(self, column: str) -> list[Any]:
        found: list[Any] = []
        for file in self.files:
            at = next((i for i in range(file.num_columns) if file.schema.column(i).path == column), None)
            for group in range(file.num_row_groups):
                if file.row_group(group).num_rows:
                    found.append(None if at is None else file.row_group(group).column(at).statistics)
        return found


def read_footers(source: str, paths: Sequence[str]) -> Footers:
    """Read the footer of every file.

    Raises:
        SourceError: a file is no Parquet file, or cut off.
        SchemaError: two files have types for one column that no type holds without loss.
    """
    files: list[pq.FileMetaData] = []
    schemas: list[pa.Schema] = []
    for path in paths:
        with translated(source, path):
            files.append(pq.read_metadata(path))
            schemas.append(files[-1].schema.to_arrow_schema().remove_metadata())
    same = all(schema.equals(schemas[0]) for schema in schemas)
    return Footers(schemas[0] if same else _merged(source, paths, schemas), same, tuple(paths), tuple(files))


def reader(files: Files, footers: Footers) -> str:
    """Return the SQL table function that reads the files, in order."""
    paths = ", ".join(literal(path) for path in files.paths)
    return f"read_parquet([{paths}], union_by_name = {not footers.same}, hive_partitioning = {files.hive})"


def _merged(source: str, paths: Sequence[str], schemas: Sequence[pa.Schema]) -> pa.Schema:
    merged: dict[str, tuple[pa.DataType, str]] = {}
    for path, schema in zip(paths, schemas, strict=True):
        for field in schema:
            if field.name not in merged:
                merged[field.name] = (field.type, path)
                continue
            before, first = merged[field.name]
            wide = widened(before, field.type)
            if wide is None:
                raise drift(source, field.name, (first, str(before)), (path, str(field.type)))
            merged[field.name] = (wide, first if wide == before else path)
    return pa.schema([(name, wide) for name, (wide, _) in merged.items()])


def drift(source: str, column: str, one: tuple[str, str], other: tuple[str, str]) -> SchemaError:
    """Return the error for two files, each with its type, that no common type holds."""
    return SchemaError(
        f"Column {column!r} of source {source!r} is {one[1]} in {one[0]} and {other[1]} in {other[0]}",
        why="No type holds both without loss",
        fix="Rewrite one of the files with the other's type.",
    )


def widened(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Return the type that holds both without loss, or None."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    names = (dtypes.from_arrow(one), dtypes.from_arrow(other))
    if None in names:
        return None
    kinds = {str(name) for name in names}
    if kinds <= dtypes.INTEGERS:
        return pa.int64()
    if kinds <= dtypes.FLOATS or (kinds & dtypes.FLOATS and kinds <= dtypes.FLOATS | _INT_FOR_DOUBLE):
        return pa.float64()
    if kinds == {"timestamp"} or kinds == {"timestamp", "date"}:
        return pa.timestamp("us", "UTC")
    if all(dtypes.is_decimal(kind) for kind in kinds):
        return _wider_decimal(one, other)
    return one if len(kinds) == 1 else None


def _wider_decimal(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    scale = max(one.scale, other.scale)
    precision = max(one.precision - one.scale, other.precision - other.scale) + scale
    return pa.decimal128(precision, scale) if precision <= 38 else None
