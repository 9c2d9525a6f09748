"""Rows that cannot be used: finds out cheaply whether there are any, and puts them apart with their reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from asof.backends.local.columns import Time, literal, pick, quoted, time_sql
from asof.backends.local.faults import lossy, translated
from asof.backends.local.predicates import condition
from asof.clock import FIRST_US, LAST_US

if TYPE_CHECKING:
    from pathlib import Path

    from asof.backends.local.relation import Relation
    from asof.interfaces.files import Files
    from asof.interfaces.scanner import Rejected, ScanRequest

REASON = "__reason"


@dataclass(frozen=True)
class Rules:
    """What makes a row of one scan unusable.

    Attributes:
        event_time: SQL of the event time.
        available_at: SQL of the available-at column, None where the source has none.
        reasons: Reason and SQL condition, the first that holds counts.
        keyless: SQL condition of the rows without a join key, which are nobody's (retractions need none); only those
            that the view's `where` lets through are worth a complaint.
        proven: Whether the files' statistics prove that no row is unusable.
    """

    event_time: Time
    available_at: Time | None
    reasons: tuple[tuple[str, str], ...]
    keyless: str
    proven: bool


def rules(relation: Relation, request: ScanRequest) -> Rules:
    """Return the rules of a scan.

    Raises:
        SchemaError: a column that plays a role is missing, or is not a time.
    """
    source, columns = request.source, relation.columns
    times = {
        "event time": (
            source.event_time,
            time_sql(pick(columns, source.event_time, source.name), source.name, "event_time"),
        )
    }
    if source.available_at is not None:
        column = pick(columns, source.available_at, source.name)
        times["available at"] = (source.available_at, time_sql(column, source.name, "available_at"))
    required = [(role, name) for role, (name, _) in times.items()]
    if source.event_id is not None:
        required.append(("event id", pick(columns, source.event_id, source.name).name))
    reasons = {f"{role} is null": f"{quoted(name)} IS NULL" for role, name in required}
    for role, (_, time) in times.items():
        reasons[f"{role} is out of range"] = time.out_of_range
    us = times["event time"][1].us
    horizon = _horizon(request)
    if horizon is not None:
        reasons["event time is ahead of the clock"] = f"{us} > {horizon}"
    available = times.get("available at")
    keys = [pick(columns, key.name, source.name).name for key in request.keys]
    required += [("join key", name) for name in keys]
    keyless = " OR ".join(f"{quoted(name)} IS NULL" for name in keys) or "false"
    if request.events and source.deleted is not None:  # a retraction names an event, whoever's that is
        keyless = f"({keyless}) AND NOT coalesce({pick(columns, source.deleted, source.name).sql}, false)"
    return Rules(
        times["event time"][1],
        available and available[1],
        tuple(reasons.items()),
        keyless,
        _proven(relation, [name for _, name in required], {name for name, _ in times.values()}, request),
    )


def _horizon(request: ScanRequest) -> int | None:
    skew = request.source.max_skew_us
    return None if skew is None or request.now_us is None else request.now_us + skew


def _proven(relation: Relation, required: list[str], times: set[str], request: ScanRequest) -> bool:
    footers = relation.footers
    if footers is None or not all(name in footers.schema.names and footers.no_nulls(name) for name in required):
        return False
    for name in times:
        found = footers.range_us(name)
        if found is None or found[0] < FIRST_US or found[1] > LAST_US:
            return False
        horizon = _horizon(request)
        if name == request.source.event_time and horizon is not None and found[1] > horizon:
            return False
    return True


def set_apart(relation: Relation, request: ScanRequest, rule: Rules, folder: Files, rejected: Rejected) -> str:
    """Count the unusable rows and write them to their quarantine file, or delete that file if there are none.

    The file holds the source's own columns and `__reason`; it is replaced in one step.

    Args:
        relation: The open source.
        request: The scan.
        rule: Its rules.
        folder: Where quarantine files are.
        rejected: Filled with the counts and the file.

    Returns:
        SQL condition of the usable rows.

    Raises:
        SchemaError: a time has more than microseconds.
        StoreFullError: the disk is full.
    """
    name = _file_name(request)
    if rule.proven:
        folder.delete([name])
        return "true"
    usable = f"NOT ({rule.keyless})"
    keyless = f"({rule.keyless})" + (f" AND {condition(request.where)}" if request.where is not None else "")
    if not _any(relation, request, rule, keyless):
        folder.delete([name])
        return usable
    listed = _listed(rule)
    reason = f"CASE {listed} WHEN {keyless} THEN 'join key is null' END"
    shown = ", ".join(
        f"CAST({column.sql} AS VARCHAR) AS {column.sql}" if column.duck == "INTERVAL" else column.sql
        for column in relation.columns.values()
    )
    rows = relation.con.sql(
        f"SELECT {shown}, {reason} AS {quoted(REASON)} FROM src WHERE {quoted(REASON)} IS NOT NULL"
    ).to_arrow_reader(100_000)

    def write(path: Path) -> None:
        with pq.ParquetWriter(path, rows.schema) as writer:
            for batch in rows:
                writer.write_batch(batch)
                _count(batch.column(REASON), rejected.counts)

    with translated(request.source.name, folder.place(name)):
        folder.tidy()
        folder.replace(name, write)
    rejected.path = folder.place(name)
    return f"{usable} AND (CASE {listed} END) IS NULL"


def reason(rule: Rules) -> str:
    """Return SQL of why a row that has its join keys is set apart, null where it is not."""
    return f"CASE {_listed(rule)} END"


def _listed(rule: Rules) -> str:
    return " ".join(f"WHEN {sql} THEN {literal(why)}" for why, sql in rule.reasons)


def _file_name(request: ScanRequest) -> str:
    """Return the file of a source as read by some keys: views of other entities find other rows without a key."""
    keys = "_".join(key.name for key in request.keys)
    return quote(f"{request.source.name}.{keys}" if keys else request.source.name, safe="") + ".parquet"


def _any(relation: Relation, request: ScanRequest, rule: Rules, keyless: str) -> bool:
    unusable = " OR ".join(f"({sql})" for sql in (*(sql for _, sql in rule.reasons), keyless))
    roles = ((request.source.event_time, rule.event_time), (request.source.available_at, rule.available_at))
    fine = [(name, time.lossy) for name, time in roles if name is not None and time is not None and time.lossy]
    checks = [f"coalesce(bool_or({unusable}), false)", *(f"coalesce(bool_or({sql}), false)" for _, sql in fine)]
    found = relation.con.execute(f"SELECT {', '.join(checks)} FROM src").fetchall()[0]
    for (name, _), failed in zip(fine, found[1:], strict=True):
        if failed:
            why = "it has times between two microseconds"
            raise lossy(request.source.name, name, "timestamp in nanoseconds", "timestamp (microseconds)", why)
    return bool(found[0])


def _count(reasons: pa.Array, counts: dict[str, int]) -> None:
    for found in reasons.value_counts().to_pylist():
        counts[found["values"]] = counts.get(found["values"], 0) + found["counts"]
