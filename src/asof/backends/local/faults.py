"""What DuckDB's errors mean to a user: one table, and the words for each row of it."""

from __future__ import annotations

import errno
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from asof.errors import AsofError, SchemaError, SourceError, StoreFullError

if TYPE_CHECKING:
    from collections.abc import Iterator

LOSSY = "asof-lossy"
_LINE = re.compile(r"on Line: (\d+)")
_FILE = re.compile(r'(?:file|File|path:?) ["\']([^"\']+)["\']')
_LOSSY = re.compile(LOSSY + r"\|(?P<column>.*?)\|(?P<have>.*?)\|(?P<want>.*?)\|(?P<value>.*)", re.DOTALL)
# DuckDB counts the lines of NDJSON wrongly, so its number is left out.
_WRONG_LINE = re.compile(r", at byte \d+ in line \d+")
_KIND = re.compile(r"^[A-Z][A-Za-z ]* Error: ")
_FULL = re.compile(r"No space left|max_temp_directory_size|failed to offload", re.IGNORECASE)

_REPAIR = "Repair or replace the file, or leave it out of the source's path."
_TABLE: tuple[tuple[str, type[AsofError], str, str], ...] = (
    ("No magic bytes|too small to be a Parquet", SourceError, "is not a Parquet file, or was cut off", _REPAIR),
    (
        "TProtocol|Snappy|ZSTD|decompress|corrupt|Invalid data|gzip|know what type",
        SourceError,
        "holds damaged data",
        _REPAIR,
    ),
    ("Expected Number of Columns", SourceError, "has a line with another number of columns than its header", _REPAIR),
    ("Malformed JSON|unexpected end of data", SourceError, "has a line that is not JSON", _REPAIR),
    ("utf-?8|unicode|encoding", SourceError, "is not UTF-8 text", "Convert it to UTF-8."),
    ("No files found", SourceError, "is gone", "Put the file back, or run the command again."),
    ("Permission denied|Cannot open file", SourceError, "cannot be opened", "Let this user read it: chmod +r."),
    (
        "Could not convert Timestamp",
        SourceError,
        "holds a time outside the years 290308 BC to 294247",
        "Correct the time, or write it in microseconds, where such rows can be set apart one by one.",
    ),
    (
        "Error when converting column|Could not convert|Failed to cast|Conversion Error",
        SourceError,
        "holds a value that does not have its column's type",
        "Correct the value, or make the column text in every row of its source.",
    ),
    ("unterminated quote|unquoted value|quote", SourceError, "has a line with unbalanced quotes", _REPAIR),
    ("Out of Memory|could not allocate|failed to pin", StoreFullError, "does not fit the memory budget", ""),
)


@contextmanager
def translated(source: str, where: str = "") -> Iterator[None]:
    """Turn errors of DuckDB, Arrow and the file system inside the block into Asof's.

    Args:
        source: The source that is read.
        where: The file or path in question, when the error itself does not say.
    """
    try:
        yield
    except AsofError:
        raise
    except duckdb.InterruptException as exc:
        raise KeyboardInterrupt from exc
    except (duckdb.Error, pa.ArrowException) as exc:
        raise _meaning(exc, source, where) from exc
    except OSError as exc:
        # What DuckDB says while a stream runs comes through Arrow as an OSError without a number.
        raise (_meaning if exc.errno is None else _of_os)(exc, source, where) from exc


def _meaning(exc: Exception, source: str, where: str) -> AsofError:
    text = _WRONG_LINE.sub("", str(exc))
    if found := _LOSSY.search(text):
        return lossy(source, found["column"], found["have"], found["want"], f"{found['value']} cannot be held by it")
    if _FULL.search(text):
        return StoreFullError(
            f"The disk is full, or the memory budget too small, while reading source {source!r}",
            why=_first_line(text),
            fix="Free space beside the project (.asof/tmp), or raise memory_budget in asof.toml.",
        )
    place = _place(text, source, where)
    for pattern, kind, what, fix in _TABLE:
        if re.search(pattern, text, re.IGNORECASE):
            return kind(f"{place} {what}", why=_first_line(text), fix=fix or "Raise memory_budget in asof.toml.")
    if isinstance(exc, duckdb.BinderException | duckdb.CatalogException):
        return SchemaError(f"{place} does not fit what is asked of it", why=_first_line(text))
    return SourceError(f"{place} cannot be read", why=_first_line(text), fix=_REPAIR)


def _of_os(exc: Any, source: str, where: str) -> AsofError:
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFullError("The disk is full", why=str(exc), fix="Free some space, then run it again.")
    place = _place(f"file '{exc.filename}'" if exc.filename else str(exc), source, where)
    if isinstance(exc, PermissionError):
        return SourceError(f"{place} cannot be opened", why="Permission denied", fix="Let this user read it: chmod +r.")
    return SourceError(f"{place} cannot be read", why=str(exc), fix=_REPAIR)


def lossy(source: str, column: str, have: str, want: str, why: str) -> SchemaError:
    """Return the error for a column that holds a value its declared type cannot."""
    return SchemaError(
        f"Column {column!r} of source {source!r} is {have} and cannot be read as {want} without loss",
        why=why[:1].upper() + why[1:],
        fix=f"Write the column as {want}, or declare it as what it is.",
    )


def _place(text: str, source: str, where: str) -> str:
    file = _FILE.search(text)
    line = _LINE.search(text)
    path = where or (file[1] if file else "")
    parts = [f"Source {source!r}:"]
    if path:
        parts.append(f"file {path}")
    if line:
        parts.append(f"line {line[1]}")
    return " ".join(parts) if len(parts) > 1 else f"Source {source!r}"


def _first_line(text: str) -> str:
    kept = [line.strip() for line in text.split("LINE 1:")[0].splitlines() if line.strip()][:3]
    return _KIND.sub("", "; ".join(kept)).removesuffix(":")[:400]
