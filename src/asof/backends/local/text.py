"""CSV and newline-delimited JSON: finds the columns' types over all rows, then loads the rows once, in file order."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from asof.backends.local.columns import duck_type, literal, quoted
from asof.backends.local.faults import lossy, translated
from asof.backends.local.files import csv_header, opener
from asof.backends.local.parquet import drift
from asof.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asof.backends.local.files import Files
    from asof.plan.specs import SourceSpec

_TIMES = ("DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE")
_INTEGERS = frozenset(
    {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "HUGEINT"}
)
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def load(con: duckdb.DuckDBPyConnection, source: SourceSpec, files: Files, *, rows: bool) -> None:
    """Make the table `raw` with the columns of all files, and fill it with their rows if `rows`.

    Columns that the source's spec knows keep the type it says in CSV; others take the type that holds every value.
    A column that a file lacks is null there; in NDJSON, where nulls are often left out, also one that all files lack.
    Times are ISO 8601 text; a text that is none fails with its line.

    Raises:
        SourceError: a file cannot be parsed; the message names the line where the parser knows it.
        SchemaError: two files have types for one column that no type holds; or a text has more digits after the point
            than its column's type.
    """
    found = [(path, _types(con, source, path)) for path in files.paths]
    folders = _folder_types(files) if files.hive else {}
    table = _merged(source, found) | folders
    if source.format == "ndjson":
        table = _declared(source) | table
    if not table or (source.format == "csv" and not source.columns and not _any_row(con, source, files)):
        raise SourceError(
            f"Source {source.name!r}: {source.path} has no rows, so its columns are not known",
            fix="Add the first row, or take the source out of the definitions until there is one.",
        )
    columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in table.items())
    con.execute(f"CREATE TEMP TABLE raw ({columns})")
    if not rows:
        return
    for path, own in found:
        if not own:
            continue
        types = {name: table[name] if source.format == "csv" or own[name] == '"NULL"' else own[name] for name in own}
        parts = [f"{_folder_literal(v, folders[k])} AS {quoted(k)}" for k, v in _folders(path) if k in folders]
        fields = ", ".join([*(quoted(name) for name in types if name not in folders), *parts])
        with translated(source.name, path):
            con.execute(f"INSERT INTO raw BY NAME SELECT {fields} FROM {_reader(source, path, types)}")
            _refuse_cut(con, source, path, {name: kind for name, kind in types.items() if name not in folders})


def _any_row(con: duckdb.DuckDBPyConnection, source: SourceSpec, files: Files) -> bool:
    for path in files.paths:
        texts = _reader(source, path, dict.fromkeys(csv_header(source.name, path).names, "VARCHAR"))
        with translated(source.name, path):
            if con.execute(f"SELECT 1 FROM {texts} LIMIT 1").fetchone() is not None:
                return True
    return False


def _refuse_cut(con: duckdb.DuckDBPyConnection, source: SourceSpec, path: str, types: dict[str, str]) -> None:
    """Refuse texts of which DuckDB drops a part without a word: of a second, a day, an integer, a decimal.

    Raises:
        SchemaError: names the column and the first such text.
    """
    dropped = {name: pattern for name, kind in types.items() if (pattern := _dropped(source, kind)) is not None}
    if not dropped:
        return
    texts = _reader(source, path, dict.fromkeys(types if source.format == "csv" else dropped, "VARCHAR"))
    cut = ", ".join(
        f"first({quoted(name)}) FILTER (regexp_matches({quoted(name)}, {literal(pattern)}))"
        for name, pattern in dropped.items()
    )
    for name, text in zip(dropped, con.execute(f"SELECT {cut} FROM {texts}").fetchall()[0], strict=True):
        if text is not None:
            kind = "timestamp (microseconds)" if types[name] in _TIMES[1:] else types[name].lower()
            raise lossy(source.name, name, "text", kind, f"{text!r} in {path} has more digits than that")


def _dropped(source: SourceSpec, kind: str) -> str | None:
    """Return a pattern of the texts that a type holds only in part, or None where there are none."""
    if kind in _TIMES[1:] or kind == "TIME":
        return r"[.]\d{6}\d*[1-9]"
    if source.format == "ndjson":  # its numbers are no text, and its types those of all its rows
        return None
    if kind == "DATE":
        return r"[T ].*[1-9]"
    decimal = re.fullmatch(r"DECIMAL\(\d+,\s*(\d+)\)", kind)
    if decimal is None and kind not in _INTEGERS:
        return None
    return rf"[.]\d{{{decimal[1] if decimal else 0}}}\d*[1-9]|[0-9][eE]-"


def _types(con: duckdb.DuckDBPyConnection, source: SourceSpec, path: str) -> dict[str, str]:
    declared = _declared(source)
    if source.format == "csv":
        names = csv_header(source.name, path).names
        if all(name in declared for name in names):
            return _with_roles(source, {name: declared[name] for name in names})
    found = _sniffed(con, source, path)
    if source.format == "csv":
        found |= {name: declared[name] for name in found if name in declared}
    else:
        found = {name: "VARCHAR" if kind == "JSON" else kind for name, kind in found.items()}
        found = _without_needless_width(con, source, path, found)
    return _with_roles(source, found)


def _declared(source: SourceSpec) -> dict[str, str]:
    return {
        column.name: "BIGINT" if column.dtype == "duration" else duck_type(column.dtype)
        for column in source.columns
        if column.dtype != "unsupported"
    }


def _sniffed(con: duckdb.DuckDBPyConnection, source: SourceSpec, path: str) -> dict[str, str]:
    with translated(source.name, path):
        return dict((_sniffed_ndjson if source.format == "ndjson" else _sniffed_csv)(con, source, path))


def _sniffed_ndjson(con: duckdb.DuckDBPyConnection, source: SourceSpec, path: str) -> list[tuple[str, str]]:
    sql = f"DESCRIBE SELECT * FROM read_json([{literal(path)}], format = 'newline_delimited', sample_size = -1)"
    try:
        described = [(row[0], row[1]) for row in con.execute(sql).fetchall()]
        # Of a file without rows DuckDB says that it has one column, json.
        rowless = described == [("json", "JSON")] and con.execute(sql.replace("DESCRIBE", "", 1)).fetchone() is None
        return [] if rowless else described
    except duckdb.InvalidInputException:
        with translated(source.name, path), opener(path)(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip() and not _is_object(line):
                    raise SourceError(
                        f"Source {source.name!r}: file {path} line {number} is not a JSON object",
                        why=f"It is {line[:80]!r}",
                        fix="Repair or remove the line.",
                    ) from None
        raise


def _without_needless_width(
    con: duckdb.DuckDBPyConnection, source: SourceSpec, path: str, found: dict[str, str]
) -> dict[str, str]:
    """Return types with 64-bit integers where all values fit: one negative number makes DuckDB take 128 bits."""
    wide = {name: kind.replace("HUGEINT", "BIGINT") for name, kind in found.items() if kind in ("HUGEINT", "HUGEINT[]")}
    if not wide:
        return found
    fits = ", ".join(
        f"bool_and({quoted(n)} IS NULL OR TRY_CAST({quoted(n)} AS {k}) IS NOT NULL)" for n, k in wide.items()
    )
    with translated(source.name, path):
        answers = (
            con.execute(f"SELECT {fits} FROM {_reader(source, path, {name: found[name] for name in wide})}").fetchone()
            or ()
        )
    return found | {name: kind for (name, kind), fit in zip(wide.items(), answers, strict=True) if fit is not False}


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _sniffed_csv(con: duckdb.DuckDBPyConnection, source: SourceSpec, path: str) -> list[tuple[str, str]]:
    sql = f"DESCRIBE SELECT * FROM read_csv([{literal(path)}], {_dialect(source, path)}, sample_size = -1)"
    names = csv_header(source.name, path).names
    stumbled: duckdb.Error | None = None
    try:
        described = [(row[0], row[1]) for row in con.execute(sql).fetchall()]
        if [name for name, _ in described] == list(names):
            return described
    except duckdb.Error as exc:
        stumbled = exc
    # The sniffer does not say which line it stumbled over; a plain read does.
    plain = _reader(source, path, dict.fromkeys(names, "VARCHAR"))
    con.execute(f"SELECT count(COLUMNS(*)) FROM {plain}").fetchall()
    raise stumbled or SourceError(
        f"Source {source.name!r}: the lines of file {path} do not fit its header",
        why=f"The header names {len(names)} columns",
        fix="Write the file again with one value per column and line.",
    )


def _with_roles(source: SourceSpec, types: dict[str, str]) -> dict[str, str]:
    """Return types with zoned times, naive ones being UTC, and with those that roles ask of columns that have none."""
    times = (source.event_time, source.available_at)
    roles = {**dict.fromkeys(times, _TIMES[-1]), source.deleted: "BOOLEAN"}
    zoned = {name: _TIMES[-1] if kind == "TIMESTAMP" else kind for name, kind in types.items()}
    unsettled = {"VARCHAR", '"NULL"'}
    return {
        name: roles.get(name, kind) if kind in unsettled or (name in times and kind == "DATE") else kind
        for name, kind in zoned.items()
    }


def _merged(source: SourceSpec, found: Iterable[tuple[str, dict[str, str]]]) -> dict[str, str]:
    merged: dict[str, tuple[str, str]] = {}
    for path, types in found:
        for name, kind in types.items():
            if name not in merged or merged[name][0] == '"NULL"':
                merged[name] = (kind, path)
                continue
            before, first = merged[name]
            wide = _wider(before, kind)
            if wide is None:
                raise drift(source.name, name, (first, before), (path, kind))
            merged[name] = (wide, first if wide == before else path)
    return {name: "VARCHAR" if kind == '"NULL"' else kind for name, (kind, _) in merged.items()}


def _wider(one: str, other: str) -> str | None:
    if one == other or other == '"NULL"':
        return one
    kinds = {one, other}
    if kinds <= set(_TIMES):
        return max(kinds, key=_TIMES.index)
    if kinds == {"BIGINT", "DOUBLE"}:
        return "DOUBLE"
    return "VARCHAR" if kinds == {"BIGINT", "VARCHAR"} else None


def _reader(source: SourceSpec, path: str, types: dict[str, str]) -> str:
    columns = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in types.items())
    if source.format == "ndjson":
        return f"read_json([{literal(path)}], format = 'newline_delimited', columns = {{{columns}}})"
    return f"read_csv([{literal(path)}], {_dialect(source, path)}, auto_detect = false, columns = {{{columns}}})"


def _dialect(source: SourceSpec, path: str) -> str:
    delimiter = csv_header(source.name, path).delimiter
    return f"""delim = {literal(delimiter)}, quote = '"', escape = '"', header = true, hive_partitioning = false"""


def _folders(path: str) -> list[tuple[str, str]]:
    return [(k, v) for k, eq, v in (part.partition("=") for part in Path(path).parts[:-1]) if eq]


def _folder_types(files: Files) -> dict[str, str]:
    values: dict[str, list[str]] = {}
    for path in files.paths:
        for name, value in _folders(path):
            values.setdefault(name, []).append(value)
    return {
        name: "BIGINT"
        if all(_INTEGER.fullmatch(v) for v in found)
        else "DATE"
        if all(_DATE.fullmatch(v) for v in found)
        else "VARCHAR"
        for name, found in values.items()
    }


def _folder_literal(value: str, kind: str) -> str:
    return f"CAST({literal(value)} AS {kind})"
