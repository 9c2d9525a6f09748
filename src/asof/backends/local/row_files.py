"""Rows to push, from files and pipes, in batches: memory holds one batch at a time."""

from __future__ import annotations

import csv
import os
import select
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from asof.dtypes import FLOATS, INTEGERS
from asof.errors import AsofError, InputError, NotFoundError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

T = TypeVar("T")

_FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".arrow": "arrow",
}
_BOOLS = {"true": True, "false": False}
_CHUNK_BYTES = 2**20


def read_tables(path: Path, size: int) -> Iterator[pa.Table]:
    """Yield the rows of a Parquet or Arrow IPC file, at most `size` at a time.

    Raises:
        SourceError: it cannot be parsed.
    """
    with _explained(path):
        if format_of(path) == "parquet":
            import pyarrow.parquet as pq

            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(size):
                    yield pa.Table.from_batches([batch])
            return
        with pa.memory_map(str(path)) as mapped:
            try:
                file = pa.ipc.open_file(mapped)
                batches = (file.get_batch(number) for number in range(file.num_record_batches))
            except pa.ArrowInvalid:  # a stream, which has no footer
                mapped.seek(0)
                batches = iter(pa.ipc.open_stream(mapped))
            for batch in batches:
                for start in range(0, batch.num_rows, size):
                    yield pa.Table.from_batches([batch.slice(start, size)])


def read_lines(path: Path, size: int) -> Iterator[list[bytes]]:
    """Yield the lines of an NDJSON file that are not blank, at most `size` at a time."""
    with _explained(path), path.open("rb") as file:
        yield from _batched((line for raw in file if (line := raw.strip())), size)


def read_pipe(descriptor: int, size: int) -> Iterator[list[bytes]]:
    """Yield the lines that come through a pipe, as soon as no more are waiting or there are `size` of them."""
    rest = b""
    waiting: list[bytes] = []
    while chunk := os.read(descriptor, _CHUNK_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        waiting += [line for raw in lines if (line := raw.strip())]
        while len(waiting) >= size:
            yield waiting[:size]
            waiting = waiting[size:]
        if waiting and not select.select([descriptor], [], [], 0)[0]:
            yield waiting
            waiting = []
    if last := rest.strip():
        waiting.append(last)
    if waiting:
        yield waiting


def read_csv(path: Path, types: Mapping[str, str], size: int) -> Iterator[tuple[list[Any], dict[int, str]]]:
    """Yield the rows of a CSV file with a header, at most `size` at a time, and why some are none, by their position.

    An empty field is null. Numbers and bools are read as such where the column is; a field that cannot be read stays
    text.

    Args:
        path: The file, in UTF-8.
        types: The dtypes of columns, by name.
        size: How many rows at most.

    Raises:
        SourceError: it cannot be parsed.
    """
    with _explained(path), path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        names = next(reader, [])
        for found in _batched((fields for fields in reader if fields), size):
            refused = {
                row: f"the row has {len(fields)} fields, and the header {len(names)}"
                for row, fields in enumerate(found)
                if len(fields) != len(names)
            }
            yield [_record(names, fields, types) for fields in found], refused


def format_of(path: Path) -> str:
    """Return the format that a file's ending names.

    Raises:
        InputError: it names none.
    """
    if path.suffix.lower() not in _FORMATS:
        raise InputError(
            f"There is no format for {path.name!r}",
            fix="Give a .parquet, .csv, .ndjson or .arrow file, or - for stdin.",
        )
    return _FORMATS[path.suffix.lower()]


def _record(names: list[str], fields: list[str], types: Mapping[str, str]) -> dict[str, Any]:
    return {name: _value(text, types.get(name, "string")) for name, text in zip(names, fields, strict=False)}


def _value(text: str, dtype: str) -> Any:
    if not text:
        return None
    if dtype == "bool":
        return _BOOLS.get(text.strip().lower(), text)
    if (dtype not in INTEGERS and dtype not in FLOATS) or "_" in text:
        return text
    try:
        return int(text) if dtype in INTEGERS else float(text)
    except ValueError:
        return text


def _batched(items: Iterator[T], size: int) -> Iterator[list[T]]:
    return iter(lambda: list(islice(items, size)), [])


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no file {path}", fix="Check the path.") from error
    except AsofError:
        raise
    except (pa.ArrowException, OSError, csv.Error, UnicodeDecodeError) as error:
        raise SourceError(
            f"{path} cannot be read", why=str(error).splitlines()[0], fix="Check that the file is whole."
        ) from error
