"""Which files a source has, and what their headers and footers say: names, types, order, statistics."""

from __future__ import annotations

import csv
import glob
import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from asof.backends.local.faults import translated
from asof.errors import SchemaError, SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from asof.plan.specs import SourceSpec

ENDINGS = {
    "parquet": (".parquet", ".pq"),
    "csv": (".csv", ".csv.gz", ".tsv", ".tsv.gz"),
    "ndjson": (".ndjson", ".jsonl", ".json", ".ndjson.gz", ".jsonl.gz", ".json.gz"),
}
"""By format how the names of its files end."""
_DELIMITERS = (",", "\t", ";", "|")


@dataclass(frozen=True)
class Files:
    """The files of one source.

    Attributes:
        paths: Absolute, sorted by path: the ingest order of their rows.
        hive: Whether `key=value` folders below the source's path are columns.
    """

    paths: tuple[str, ...]
    hive: bool

    @property
    def size_bytes(self) -> int:
        """The bytes that the files take."""
        return sum(Path(path).stat().st_size for path in self.paths)


def find_files(root: Path, source: SourceSpec, only: Collection[str] | None = None) -> Files:
    """Return the files that a source's path means now: a file, a glob's matches, or all of its format in a directory.

    Names that begin with a dot or an underscore are skipped in directories and globs, and with `only` every file that
    is not in it.

    Raises:
        SourceError: nothing is there, a directory holds no file of the format, or a file is empty (0 bytes).
    """
    pattern = root / source.path
    with translated(source.name, str(pattern)):
        if pattern.is_dir():
            found = _below(pattern, source)
        elif pattern.is_file():
            found = [pattern]
        else:
            found = _matches(pattern, source)
        if only is not None:
            found = [path for path in found if str(path) in only]
        for path in found:
            if path.stat().st_size == 0:
                raise SourceError(
                    f"Source {source.name!r}: file {path} is empty (0 bytes)",
                    why="Even a file without rows has a header; a writer probably failed",
                    fix="Write the file again, or remove it.",
                )
    base = pattern if pattern.is_dir() else _fixed_part(pattern)
    hive = any("=" in part for path in found for part in path.relative_to(base).parts[:-1])
    return Files(tuple(str(path) for path in found), hive)


def _below(directory: Path, source: SourceSpec) -> list[Path]:
    endings = ENDINGS[source.format]
    found = [path for path in directory.rglob("*") if path.name.lower().endswith(endings) and path.is_file()]
    kept = sorted((p for p in found if _visible(p.relative_to(directory))), key=str)
    if not kept:
        raise SourceError(
            f"Source {source.name!r}: directory {directory} holds no {source.format} file",
            why=f"Files ending in {', '.join(endings)} are read",
            fix="Put the files there, or correct path= or format= of the source.",
        )
    return kept


def _matches(pattern: Path, source: SourceSpec) -> list[Path]:
    if not glob.has_magic(str(pattern)):
        raise SourceError(
            f"Source {source.name!r}: there is no file {pattern}",
            fix="Correct path= of the source, or put the file there. Paths are relative to the project's root.",
        )
    base = _fixed_part(pattern)
    found = list(base.glob(str(pattern.relative_to(base))))
    kept = sorted((p for p in found if p.is_file() and _visible(p.relative_to(base))), key=str)
    if not kept:
        raise SourceError(
            f"Source {source.name!r}: no file matches {pattern}",
            fix="Correct path= of the source, or put the files there. Paths are relative to the project's root.",
        )
    return kept


def _fixed_part(pattern: Path) -> Path:
    plain = pattern.parent
    while glob.has_magic(str(plain)):
        plain = plain.parent
    return plain


def _visible(relative: Path) -> bool:
    return not any(part.startswith((".", "_")) for part in relative.parts)


def opener(path: str) -> Callable[..., IO[Any]]:
    """Return what opens a file that may be compressed."""
    return gzip.open if path.endswith(".gz") else open


@dataclass(frozen=True)
class CsvHeader:
    """The first line of a CSV file: its delimiter and its column names."""

    delimiter: str
    names: tuple[str, ...]


def csv_header(source: str, path: str) -> CsvHeader:
    """Read the header of a CSV file; the delimiter is the most frequent of comma, tab, semicolon and bar in it.

    Raises:
        SourceError: the file cannot be read as text.
        SchemaError: a column has no name, or two have the same one (SQL names do not differ by case).
    """
    try:
        with translated(source, path), opener(path)(path, "rt", encoding="utf-8-sig", newline="") as file:
            first = file.readline()
    except (UnicodeDecodeError, EOFError) as exc:
        raise SourceError(
            f"Source {source!r}: file {path} is not UTF-8 text", why=str(exc), fix="Convert it to UTF-8."
        ) from exc
    delimiter = max(_DELIMITERS, key=first.count)
    names = tuple(next(csv.reader([first.rstrip("\r\n")], delimiter=delimiter), []))
    lowered = [name.lower() for name in names]
    if not all(name.strip() for name in names) or len(set(lowered)) < len(names):
        raise SchemaError(
            f"Source {source!r}: file {path} has a header with an unnamed or repeated column",
            why=f"Its first line is {first.strip()!r}",
            fix="Give every column a name of its own; the first line of a CSV file names the columns.",
        )
    return CsvHeader(delimiter, names)
