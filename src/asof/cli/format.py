"""How sizes, instants, ages and plans read on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asof.clock import iso
from asof.durations import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from asof.plan.registered import NOUNS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asof.interfaces.online import Generation
    from asof.plan.diff import Plan, PlannedChange
    from asof.plan.graph import Edge, Node

_MARKS = {"create": "+", "new_version": "~", "metadata": ".", "remove": "-", "restore": "^", "unchanged": " "}
_STYLES = {"create": "green", "new_version": "yellow", "metadata": "cyan", "remove": "red", "restore": "green"}
_VERSIONED = ("view", "on_demand", "service")


def size(size_bytes: int) -> str:
    """Return a size as people write it: 12.3 MB; nothing for 0, which stands for unknown."""
    value = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}" if size_bytes else "size unknown"
        value /= 1000
    return f"{value:.3g} TB"


def count(number: int, noun: str) -> str:
    """Return a number of things: 1 interval, 1,200 intervals."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def instant(us: int) -> str:
    """Return an instant to the second, UTC."""
    return iso(us // SECOND_US * SECOND_US)


def age(us: int) -> str:
    """Return an age in its two largest units: 3d 4h."""
    if us < 0:
        return "in the future"
    parts = []
    for unit_us, letter in ((DAY_US, "d"), (HOUR_US, "h"), (MINUTE_US, "m"), (SECOND_US, "s")):
        count, us = divmod(us, unit_us)
        if count:
            parts.append(f"{count}{letter}")
    return " ".join(parts[:2]) or "0s"


def generation(found: Generation | None) -> str:
    """Return what the online store holds of a view, in a few words."""
    if found is None:
        return "not materialized"
    return f"{found.keys:,} keys as of {instant(found.instant_us)} (generation {found.number})"


def plan_lines(plan: Plan) -> Iterator[tuple[str, str]]:
    """Give the lines of a plan with their styles."""
    effective = plan.effective()
    unchanged = len(plan.changes) - len(effective)
    if not effective:
        yield f"Nothing to apply: the registry, at revision {plan.expected_revision}, has all of it.", ""
        return
    yield f"Changes to revision {plan.expected_revision} of the registry:", "bold"
    width = max(len(_name(change)) for change in effective)
    kinds = max(8, *(len(NOUNS[change.kind][0]) for change in effective))
    for change in effective:
        note = _note(change)
        line = f"  {_MARKS[change.action]} {NOUNS[change.kind][0]:<{kinds}} {_name(change):<{width}}  {note}"
        yield line.rstrip(), _STYLES.get(change.action, "")
        for detail in change.details:
            yield f"        {detail}", ""
    if unchanged:
        yield f"    {unchanged} unchanged", "dim"
    yield from _touched_lines(plan)
    if plan.notices:
        yield "", ""
        yield "To look at:", "bold"
        for notice in plan.notices:
            yield f"  {notice}", "yellow"
    if plan.batches:
        yield "", ""
        yield "To backfill afterwards, in this order:", "bold"
        for batch in plan.batches:
            yield f"  {batch.source}, {batch.cadence}: asof backfill {batch.source} --start … --end …", ""
    if plan.backfills:
        yield "", ""
        yield "To materialize afterwards:", "bold"
        for backfill in plan.backfills:
            yield f"  {backfill.view}@{backfill.version} reads {backfill.source}, {size(backfill.size_bytes)}", ""


def _touched_lines(plan: Plan) -> Iterator[tuple[str, str]]:
    """Give one line per path through what changes, for changes of what was there before."""
    starts: list[Node] = [(c.kind, c.name) for c in plan.changes if c.action == "new_version"]
    used = {edge[1] for edge in plan.touched}
    roots = [node for node in starts if node not in used]
    paths = [path for root in roots for path in _paths(root, plan.touched) if len(path) > 1]
    if paths:
        yield "", ""
        yield "What it touches:", "bold"
        for path in paths:
            yield "  " + " -> ".join(f"{NOUNS[kind][0]} {name}" for kind, name in path), ""


def _paths(node: Node, edges: tuple[Edge, ...]) -> list[list[Node]]:
    users = [user for used, user in edges if used == node]
    return [[node, *path] for user in users for path in _paths(user, edges)] or [[node]]


def _name(change: PlannedChange) -> str:
    return f"{change.name}@{change.version}" if change.kind in _VERSIONED else change.name


def _note(change: PlannedChange) -> str:
    return {
        "create": "new",
        "new_version": "new version" if change.kind in _VERSIONED else "changed",
        "metadata": "metadata only",
        "remove": "removed: hidden until pruned"
        + (", and readable by its pinned name" if change.kind in _VERSIONED else ""),
        "restore": "restored",
        "unchanged": "",
    }[change.action]
