"""Counts each event once and folds retractions in: finds the few ids that need it, and leaves the rest alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asof.backends.local.columns import pick

if TYPE_CHECKING:
    from asof.backends.local.relation import Relation
    from asof.plan.specs import SourceSpec

ORDER = "__asof_order"
_ID = "__asof_id"
_FIRST = "__asof_first"
_RETRACTED = "__asof_retracted"
_ROW_BYTES = 128


@dataclass(frozen=True)
class Fold:
    """How a query delivers each event once.

    Attributes:
        table: SQL of the rows to read.
        keep: SQL condition of the rows that win.
        retracted_at: SQL of the microsecond at which the row's retraction became known, null if it never was.
        sort: Whether the join may spill, and so lose the order of the rows.
    """

    table: str
    keep: str
    retracted_at: str
    sort: bool


def fold(relation: Relation, source: SourceSpec, usable: str, available_us: str, memory_limit_bytes: int) -> Fold:
    """Return the fold of an event source: of each id, the first row by (available at, ingest order) not deleted.

    Only ids with several rows enter the join, so a source without duplicates pays for one grouping of its ids.
    A deleted row is never delivered; it gives its id the earliest time its retraction could be known.

    Args:
        relation: The open source.
        source: Its spec, with an `event_id`.
        usable: SQL condition of the rows that are not rejected.
        available_us: SQL of the microsecond when a row became known.
        memory_limit_bytes: What the engine may hold.
    """
    event_id = pick(relation.columns, source.event_id or "", source.name).sql
    deleted = "false"
    if source.deleted is not None:
        deleted = f"coalesce({pick(relation.columns, source.deleted, source.name).sql}, false)"
    con = relation.con
    con.execute(
        f"CREATE TEMP TABLE asof_repeated AS SELECT {event_id} AS {_ID} FROM src WHERE {usable} "
        f"GROUP BY 1 HAVING count(*) > 1"
    )
    repeated = con.execute("SELECT count(*) FROM asof_repeated").fetchall()[0][0]
    if not repeated:
        return Fold("src", f"NOT {deleted}", "CAST(NULL AS BIGINT)", sort=False)
    con.execute(
        f"CREATE TEMP TABLE asof_folded AS "
        f"SELECT {_ID}, min(ROW(known, {ORDER})) FILTER (NOT gone) AS winner, "
        f"min(known) FILTER (gone) AS {_RETRACTED} "
        f"FROM (SELECT {event_id} AS event_id, {available_us} AS known, {deleted} AS gone, {usable} AS usable, "
        f"row_number() OVER () AS {ORDER} FROM src) JOIN asof_repeated ON event_id = {_ID} WHERE usable GROUP BY {_ID}"
    )
    table = (
        f"(SELECT *, row_number() OVER () AS {ORDER} FROM src) AS src "
        f"LEFT JOIN (SELECT {_ID}, winner[2] AS {_FIRST}, {_RETRACTED} FROM asof_folded) AS folded "
        f"ON src.{event_id} = folded.{_ID}"
    )
    keep = f"NOT {deleted} AND (folded.{_ID} IS NULL OR {ORDER} = folded.{_FIRST})"
    return Fold(table, keep, f"folded.{_RETRACTED}", sort=repeated * _ROW_BYTES > memory_limit_bytes // 4)
