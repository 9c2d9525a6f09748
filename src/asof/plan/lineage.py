"""Lineage: from source columns and entities through views and features to services, walked in either direction.

A feature of an on-demand view stands on the features that it is computed from, whose views it does not repeat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from asof.definitions.on_demand import INSTANT
from asof.plan.lookups import with_lookups
from asof.plan.specs import Column, OnDemandSpec, SourceSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from asof.plan.specs import DerivedSpec, PinnedFeature, ServiceSpec, ViewSpec

    PredicateColumns = Callable[[SourceSpec, str], Iterable[str]]


@dataclass(frozen=True)
class Node:
    """Something in a lineage.

    Attributes:
        kind: source, column, entity, view, feature or service.
        name: As references write it: transactions, transactions.amount, spend@3, spend@3:amount_sum_30d, fraud@2.
    """

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Link:
    """One thing that another is made of.

    Attributes:
        used: What is used.
        user: What it is used by.
        roles: What for, as "input", "where" or "event time"; empty where the kinds say it all.
    """

    used: Node
    user: Node
    roles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lineage:
    """What some nodes are made of, and what is made of them.

    Attributes:
        nodes: Those asked about.
        upstream: All that they are made of, directly or not.
        downstream: All that is made of them, directly or not.
    """

    nodes: tuple[Node, ...]
    upstream: tuple[Link, ...]
    downstream: tuple[Link, ...]


@dataclass(frozen=True)
class Step:
    """One line of a lineage's tree.

    Attributes:
        depth: 0 for the neighbours of the node that the tree starts from.
        roles: Those of the link that led here.
        again: The node was there before, and what lies behind it is not repeated.
    """

    depth: int
    node: Node
    roles: tuple[str, ...]
    again: bool


def links(
    views: Iterable[ViewSpec | OnDemandSpec],
    services: Iterable[ServiceSpec],
    predicate_columns: PredicateColumns,
    sources: Iterable[SourceSpec] = (),
) -> tuple[Link, ...]:
    """Return every link, each pair of nodes once, with all its roles.

    Args:
        views: View versions, on-demand ones too.
        services: Service versions; what they pin need not be among the views.
        predicate_columns: Tells which columns of a source a SQL predicate reads.
        sources: Sources that no view need read; a batch source is made of others.
    """
    roles: dict[tuple[Node, Node], dict[str, None]] = {}
    pairs: list[tuple[Node, Node, str]] = []
    for view in views:
        if isinstance(view, OnDemandSpec):
            pairs += _of_on_demand(view, predicate_columns)
        else:
            pairs += _of_view(view, predicate_columns)
    for source in sources:
        pairs += _of_source(source)
    for service in services:
        for pinned in service.features:
            pairs.append((_pinned_node(pinned), Node("service", service.key), ""))
            found = with_lookups(pinned.lookups)
            pairs += [(_pinned_node(one), Node("service", service.key), "join key") for one in found]
    for used, user, role in pairs:
        roles.setdefault((used, user), {}).update({role: None} if role else {})
    return tuple(Link(used, user, tuple(found)) for (used, user), found in roles.items())


def column_node(source: str, column: str) -> Node:
    """Return the node of a source's column."""
    return Node("column", f"{source}.{column}")


def trace(every: Iterable[Link], nodes: Iterable[Node]) -> Lineage:
    """Return the part of the links that lies above and below some nodes."""
    known, starts = tuple(every), tuple(nodes)
    above = _reached([(link.user, link.used) for link in known], starts)
    below = _reached([(link.used, link.user) for link in known], starts)
    return Lineage(
        starts,
        tuple(link for link in known if link.user in above),
        tuple(link for link in known if link.used in below),
    )


def steps(found: Iterable[Link], start: Node, *, upstream: bool) -> list[Step]:
    """Return the tree of what lies behind a node, depth first; every node is followed once."""
    neighbours: dict[Node, list[tuple[Node, tuple[str, ...]]]] = {}
    for link in found:
        near, far = (link.user, link.used) if upstream else (link.used, link.user)
        neighbours.setdefault(near, []).append((far, link.roles))
    seen = {start}

    def walk(node: Node, depth: int) -> Iterator[Step]:
        for far, roles in neighbours.get(node, ()):
            again = far in seen and far in neighbours
            yield Step(depth, far, roles, again)
            if far not in seen:
                seen.add(far)
                yield from walk(far, depth + 1)

    return list(walk(start, 0))


def _of_on_demand(view: OnDemandSpec, predicate_columns: PredicateColumns) -> Iterator[tuple[Node, Node, str]]:
    """Yield the features that each feature is computed from; a function may read all that the view reads."""
    names = (*(one.column for one in view.inputs), *(field.name for field in view.request), INSTANT)
    columns = tuple(Column(name=name, dtype="string") for name in names)
    seen = SourceSpec(name=view.name, kind="frame", event_time=INSTANT, columns=columns)
    for feature in view.features:
        call = feature.call
        if call is None:
            read = {one.column for one in view.inputs}
        elif call.function == "sql":
            read = set(predicate_columns(seen, str(call.parameters["expression"])))
        else:
            read = set(call.inputs)
        for one in view.inputs:
            if one.column in read:
                yield _pinned_node(one), Node("feature", f"{view.key}:{feature.name}"), ""
                for lookup in with_lookups(one.lookups):
                    yield _pinned_node(lookup), Node("feature", f"{view.key}:{feature.name}"), "join key"


def _pinned_node(pinned: PinnedFeature) -> Node:
    return Node("feature", f"{pinned.view}@{pinned.view_version}:{pinned.feature}")


def _of_view(view: ViewSpec, predicate_columns: PredicateColumns) -> Iterator[tuple[Node, Node, str]]:
    columns = tuple(Column(name=name, dtype=dtype) for name, dtype in view.column_types().items())
    source, whole = msgspec.structs.replace(view.source, columns=columns), Node("view", view.key)
    yield from _of_source(view.source)
    made = _made_of(view.derived, source, predicate_columns)
    used: list[tuple[str | None, Node, str]] = [(key.name, whole, "join key") for key in view.entity.join_keys]
    used += [
        (source.event_time, whole, "event time"),
        (source.available_at, whole, "available at"),
        (source.event_id, whole, "event id"),
        (source.deleted, whole, "deleted"),
    ]
    used += [(name, whole, "where") for name in _read(source, view.where, predicate_columns)]
    for feature in view.features:
        node = Node("feature", f"{view.key}:{feature.name}")
        aggregate = feature.aggregate
        used.append((feature.column or feature.name if aggregate is None else aggregate.column, node, "input"))
        used.append((None if aggregate is None else aggregate.by, node, "secondary key"))
        where = None if aggregate is None else aggregate.where
        used += [(name, node, "where") for name in _read(source, where, predicate_columns)]
    raw = [(one, node, role) for name, node, role in used if name is not None for one in made.get(name, (name,))]
    for name in dict.fromkeys(name for name, _, _ in raw):
        yield Node("source", source.name), column_node(source.name, name), ""
    yield Node("entity", view.entity.name), whole, ""
    for column, node, role in raw:
        yield column_node(source.name, column), node, role
    for feature in view.features:
        yield whole, Node("feature", f"{view.key}:{feature.name}"), ""


def _of_source(source: SourceSpec) -> Iterator[tuple[Node, Node, str]]:
    """Yield what a batch source reads, down to what its inputs read, and the history of a stream source."""
    for one in source.batch.inputs if source.batch is not None else ():
        yield Node("source", one.name), Node("source", source.name), "input"
        yield from _of_source(one)
    if source.stream is not None and source.stream.history is not None:
        yield Node("source", source.stream.history.name), Node("source", source.name), "history"


def _made_of(
    derived: DerivedSpec | None, source: SourceSpec, predicate_columns: PredicateColumns
) -> dict[str, tuple[str, ...]]:
    """Return the source's columns behind every column that a view adds; a function may read any of them."""
    if derived is None:
        return {}
    own = tuple(column.name for column in source.columns if column.name not in derived.types())
    outputs = derived.transform.outputs if derived.transform is not None else ()
    made = {output.name: own for output in outputs}
    for one in derived.select:
        read = predicate_columns(source, one.sql)
        made[one.name] = tuple(dict.fromkeys(name for used in read for name in made.get(used, (used,))))
    return made


def _read(source: SourceSpec, predicate: str | None, predicate_columns: PredicateColumns) -> Iterable[str]:
    return () if predicate is None else predicate_columns(source, predicate)


def _reached(pairs: Iterable[tuple[Node, Node]], starts: Iterable[Node]) -> set[Node]:
    """Return the starts and all that can be reached from them along the pairs."""
    following: dict[Node, list[Node]] = {}
    for near, far in pairs:
        following.setdefault(near, []).append(far)
    reached: set[Node] = set()
    waiting = list(starts)
    while waiting:
        node = waiting.pop()
        if node not in reached:
            reached.add(node)
            waiting += following.get(node, ())
    return reached
