"""Reads and writes whole tables on local disk; a write goes to a temporary name first, then appears in one step."""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from asof.backends.local.temporary import replacing
from asof.errors import InputError, NotFoundError, SourceError, StoreError, StoreFullError
from asof.frameworks.library import load

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

_EXACT = 2.0**53  # from here on a float64 may stand for several integers


class LocalTableWriter:
    """Writes Parquet, CSV, Arrow IPC files, Delta tables and, where TensorFlow is installed, TFRecord files."""

    def formats(self) -> tuple[str, ...]:
        """Return the names of the formats it can write."""
        return ("parquet", "csv", "arrow", "delta", "tfrecord")

    def write(self, target: Path, chosen: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        """Replace `target` by the batches, atomically and durably."""
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if chosen == "delta":
                _write_delta(target, schema, batches)
            elif chosen == "tfrecord":
                _write_records(target, schema, batches)
            else:
                _write_file(target, chosen, schema, batches)
        except StoreError:
            raise
        except OSError as error:
            raise disk_error(target, error) from error


def read_table(path: Path, texts: Collection[str] = ()) -> pa.Table:
    """Read a Parquet, CSV, NDJSON or Arrow file, or a Delta table, as one table.

    Args:
        path: Where it is; its ending names the format.
        texts: Columns that are text in CSV, whatever they look like: 007 keeps its zeros.

    Raises:
        NotFoundError: there is nothing at `path`.
        InputError: its ending names no format.
        SourceError: it cannot be parsed.
    """
    if not path.exists():
        raise NotFoundError(f"There is no file {path}", fix="Check the path.")
    try:
        if (path / "_delta_log").is_dir():
            from deltalake import DeltaTable

            return DeltaTable(path).to_pyarrow_table()
        if path.suffix in (".parquet", ".pq"):
            import pyarrow.parquet as pq

            return pq.read_table(path)
        if path.suffix == ".csv":
            return _read_csv(path, texts)
        if path.suffix in (".ndjson", ".jsonl"):
            import pyarrow.json as pa_json

            return pa_json.read_json(path)
        if path.suffix == ".arrow":
            return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except (pa.ArrowException, OSError) as error:
        raise SourceError(
            f"{path} cannot be read", why=str(error).splitlines()[0], fix="Check that the file is whole."
        ) from error
    raise InputError(
        f"There is no format for {path.name!r}", fix="Give a .parquet, .csv, .ndjson or .arrow file, or a Delta table."
    )


def _read_csv(path: Path, texts: Collection[str]) -> pa.Table:
    import pyarrow.compute as pc
    import pyarrow.csv as pa_csv

    types = dict.fromkeys(texts, pa.string())
    table = pa_csv.read_csv(path, convert_options=pa_csv.ConvertOptions(column_types=types))
    for field in table.schema:
        if field.type != pa.float64() or not pc.any(pc.greater(pc.abs(table[field.name]), _EXACT)).as_py():
            continue
        options = pa_csv.ConvertOptions(include_columns=[field.name], column_types={field.name: pa.string()})
        written = pa_csv.read_csv(path, convert_options=options)[field.name]
        if pc.any(pc.match_substring_regex(written, r"^\s*[-+]?\d+\s*$")).as_py():
            raise SourceError(
                f"Column {field.name!r} of {path} holds integers that neither int64 nor float64 keeps exactly",
                fix="Write the column as text, in quotes, or as Parquet.",
            )
    return table


def _write_file(target: Path, chosen: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    with replacing(target) as temporary, temporary.open("wb") as sink:
        with _open_writer(sink, chosen, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        sink.flush()
        os.fsync(sink.fileno())


def _open_writer(sink: Any, chosen: str, schema: pa.Schema) -> Any:
    if chosen == "parquet":
        import pyarrow.parquet as pq

        return pq.ParquetWriter(sink, schema)
    if chosen == "csv":
        import pyarrow.csv as pa_csv

        _refuse_nested(schema)
        return pa_csv.CSVWriter(sink, schema)
    return pa.ipc.new_file(sink, schema)


def _write_records(target: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    records = load("tfrecord")
    with replacing(target) as temporary:
        records.write(temporary, schema, batches)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())


def _refuse_nested(schema: pa.Schema) -> None:
    for field in schema:
        if pa.types.is_nested(field.type):
            raise InputError(
                f"CSV has no form for column {field.name!r}, which is {field.type}",
                fix="Write Parquet, Arrow or Delta, or leave the column out.",
            )


def _write_delta(target: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    from deltalake import write_deltalake
    from deltalake.exceptions import DeltaError

    fresh = not target.exists()
    reader = pa.RecordBatchReader.from_batches(schema, batches)
    try:
        write_deltalake(str(target), reader, mode="overwrite", schema_mode="overwrite")
    except BaseException as error:
        if fresh:
            shutil.rmtree(target, ignore_errors=True)
        if isinstance(error, DeltaError):
            raise disk_error(target, OSError(_errno_of(str(error)), str(error))) from error
        raise


def _errno_of(message: str) -> int:
    full = any(text in message for text in ("No space left", "File too large", "quota exceeded"))
    return errno.ENOSPC if full else errno.EIO


def disk_error(target: Path, error: OSError) -> StoreError:
    """Return the user's error for a failed write; nothing that was there before is lost."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StoreFullError(
            f"There is no room to write {target}",
            why=str(error),
            fix="Free some space and run it again; what was there before is still there.",
        )
    return StoreError(f"{target} cannot be written", why=str(error), fix="Check the path and its permissions.")
