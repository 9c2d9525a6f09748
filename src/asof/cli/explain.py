"""`asof explain`: why a value is what it is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import rich_click as click

from asof.cli.format import size
from asof.cli.online import key_value
from asof.cli.session import Session, json_option, pass_session
from asof.clock import iso, to_us
from asof.errors import InputError
from asof.plan.access import Action

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from asof.plan.specs import EntitySpec
    from asof.services.causes import Cause
    from asof.services.explanation import ExplainedRow, Explanation, OnlineValue


_CAUSES: dict[Cause, str] = {
    "inside": "inside",
    "quarantined": "set apart in quarantine",
    "retraction": "a retraction itself",
    "duplicate": "a duplicate event id",
    "filtered_by_view": "filtered by the view's where",
    "in_the_future": "at or after the window's end",
    "not_yet_available": "not yet available",
    "retracted": "retracted",
    "before_the_window": "before the window",
    "filtered_by_aggregate": "filtered by the aggregate's where",
    "null_input": "null input",
    "older": "older than the newest row",
    "tombstone": "the newest row, a tombstone",
    "expired": "the newest row, expired by its ttl",
}


@click.command("explain")
@click.argument("feature")
@click.option(
    "--key",
    "keys",
    metavar="[NAME=]VALUE",
    multiple=True,
    required=True,
    help="The join key, or NAME=VALUE for each of several, or all of them in order with commas.",
)
@click.option("--at", metavar="INSTANT", default=None, help="The instant, ISO 8601. Default: now.")
@click.option("--rows", metavar="N", default=10, show_default=True, help="Rows to list per cause; all are counted.")
@json_option
@pass_session
def command(session: Session, feature: str, keys: tuple[str, ...], at: str | None, rows: int) -> None:
    """Explain one value of one entity at one instant.

    Shows the window's bounds, the rows inside it, why other rows of the entity are outside, and the value as history
    and as the online store give it.

    \b
        asof explain spend:amount_sum_30d --key 42 --at 2013-03-01T12:00
        asof explain delays:mean_1d --key origin=JFK --key dest=LAX
        asof explain delays:mean_1d --key JFK,LAX --rows 3
    """
    from asof.services.explain import find_feature  # loads Arrow, which --help does not need

    session.store.caller.may_read(Action.INSPECT, [feature], session.store.catalog())
    view, _ = find_feature(session.store.catalog(), feature)
    found = session.store.explain(feature, _keys(view.entity, keys), at, rows=rows)
    session.emit(_with_text_keys(found))
    if not session.as_json:
        _show(session, found)


_SHOWN_TILES = 10


def _with_text_keys(found: Explanation) -> Explanation:
    """Return the explanation with the bools among its maps' keys as text, which JSON needs."""
    return replace(
        found,
        offline=replace(found.offline, value=_text_keys(found.offline.value)),
        online=replace(
            found.online,
            value=_text_keys(found.online.value),
            tiles=tuple(replace(tile, value=_text_keys(tile.value)) for tile in found.online.tiles),
        ),
    )


def _text_keys(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {str(key).lower() if isinstance(key, bool) else key: one for key, one in value.items()}


def _keys(entity: EntitySpec, texts: tuple[str, ...]) -> dict[str, object]:
    """Return the one entity that the texts name; the service refuses what is missing or unknown."""
    dtypes = {key.name: key.dtype for key in entity.join_keys}
    only_text = len(dtypes) == 1 and entity.join_keys[0].dtype in ("string", "binary")  # such a key may hold "="
    pairs: list[tuple[str, str]] = []
    for text in texts:
        name, separator, value = text.partition("=")
        if separator and (name in dtypes or not only_text):
            pairs.append((name, value))
        else:
            values = text.split(",") if len(dtypes) > 1 else [text]
            if len(values) != len(dtypes):
                raise InputError(f"--key {text} does not name one entity", fix=f"Give {_usage(dtypes)}.")
            pairs += zip(dtypes, values, strict=True)
    if len({name for name, _ in pairs}) != len(pairs):
        raise InputError("A join key is given twice", fix=f"Give {_usage(dtypes)}, for one entity.")
    return {name: key_value(f"{name}={value}", value, dtypes.get(name, "string")) for name, value in pairs}


def _usage(names: Iterable[str]) -> str:
    return " ".join(f"--key {name}=…" for name in names)


def _show(session: Session, found: Explanation) -> None:
    session.say(found.feature, "bold")
    for label, text in _facts(found):
        session.say(f"  {label:<12} {text}")
    counted = "row" if found.inside == 1 else "rows"
    place = "Inside the window" if found.kind == "event" else "The newest row"
    _rows(session, f"{place}: {found.inside} {counted}", found.inside, found.rows, found)
    _tiles(session, found)
    for group in found.outside:
        detail = f" ({group.detail})" if group.detail else ""
        _rows(
            session,
            f"Outside, {_cause(found, group.cause)}{detail}: {group.count}",
            group.count,
            group.rows,
            found,
        )


def _cause(found: Explanation, cause: Cause) -> str:
    future_state = cause == "in_the_future" and found.kind == "state"
    return "after the instant" if future_state else _CAUSES[cause]


def _facts(found: Explanation) -> Iterator[tuple[str, str]]:
    yield "is", found.definition
    yield "entity", ", ".join(f"{name}={value}" for name, value in found.keys.items())
    yield "at", _time(found.at)
    if found.window is not None:
        start = "the beginning" if found.window.start is None else _time(found.window.start)
        yield "window", f"from {start} up to {_time(found.window.end)}, not included"
    yield "offline", found.offline.error or f"{_value(found.offline.value)} ({found.offline.status})"
    yield "online", _online(found.online)
    if found.agree is not None:
        yield "agree", "yes" if found.agree else "no: the store shows what was known at its generation's instant"


def _online(found: OnlineValue) -> str:
    parts = [found.error or f"{_value(found.value)} ({found.status})"]
    if found.generation is not None and found.instant is not None:
        stored = "nothing stored" if found.size_bytes is None else f"{size(found.size_bytes)} stored"
        parts.append(f"generation {found.generation} as of {_time(found.instant)}, {stored}")
    return "; ".join(parts)


def _tiles(session: Session, found: Explanation) -> None:
    if not found.online.tiles:
        return
    shown = found.online.tiles[:_SHOWN_TILES]
    more = f", the newest {len(shown)}" if len(shown) < len(found.online.tiles) else ""
    session.say()
    session.say(f"Partial states online: {len(found.online.tiles)}{more}", "bold")
    session.table(["from", "value of its events"], [(_time(tile.start), _value(tile.value)) for tile in shown])


def _rows(session: Session, title: str, count: int, rows: tuple[ExplainedRow, ...], found: Explanation) -> None:
    session.say()
    session.say(title + (f", the newest {len(rows)}" if 0 < len(rows) < count else ""), "bold")
    columns: list[tuple[str, list[str | None]]] = [
        ("event time", [_time(row.event_time) for row in rows]),
        ("available at", [_time(row.available_at) for row in rows]),
        ("event id", [row.event_id for row in rows]),
        ("retracted at", [_time(row.retracted_at) for row in rows]),
        ("known online", ["" if row.known_online is None else "yes" if row.known_online else "no" for row in rows]),
    ]
    if found.column is not None:
        columns.insert(3, (found.column, ["" if row.event_time is None else _value(row.value) for row in rows]))
    if found.by is not None and found.by != found.column:
        columns.insert(3, (found.by, ["" if row.event_time is None else _value(row.group) for row in rows]))
    shown = [(name, cells) for name, cells in columns if any(cells)]
    if rows:
        session.table([name for name, _ in shown], list(zip(*(cells for _, cells in shown), strict=True)))


def _value(value: Any) -> str:
    return "null" if value is None else str(value)


def _time(instant: datetime | None) -> str:
    return "" if instant is None else iso(to_us(instant))
