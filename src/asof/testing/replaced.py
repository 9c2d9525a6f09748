"""Definitions over rows in memory: the same views, roles and on-demand views, their sources replaced by frames."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from asof.definitions import FeatureView, FrameSource, OnDemandView

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import pyarrow as pa

    from asof.definitions import FeatureSelection, Source
    from asof.definitions.roles import Role


def stored_views(selections: Iterable[FeatureSelection]) -> list[FeatureView]:
    """Return every stored view that selections read, those behind lookups and on-demand views included, each once."""
    found = {id(view): view for one in selections for view in _stored(one.view, one.role)}
    return list(found.values())


def _stored(view: FeatureView | OnDemandView, role: Role | None) -> Iterator[FeatureView]:
    if isinstance(view, FeatureView):
        yield view
    else:
        for used, _, under in view.inputs:
            yield from _stored(used, under)
    for _, one in role.lookups if role is not None else ():
        yield from _stored(one.view, one.role)


class OverRows:
    """Copies of definitions whose sources are tables; every definition has one copy."""

    def __init__(self, tables: Mapping[str, pa.Table]) -> None:
        """Replace sources by the tables of their names."""
        self._tables = tables
        self._sources: dict[str, FrameSource] = {}
        self._views: dict[int, FeatureView | OnDemandView] = {}

    def selection(self, one: FeatureSelection) -> FeatureSelection:
        """Return a selection of the copy."""
        return replace(one, view=self.view(one.view), role=self._role(one.role))

    def view(self, view: FeatureView | OnDemandView) -> FeatureView | OnDemandView:
        """Return the copy of a view."""
        if id(view) not in self._views:
            made = copy.copy(view)
            if isinstance(view, FeatureView):
                object.__setattr__(made, "source", self._source(view.source))
            else:
                inputs = tuple((self.view(used), name, self._role(role)) for used, name, role in view.inputs)
                object.__setattr__(made, "inputs", inputs)
            self._views[id(view)] = made
        return self._views[id(view)]

    def stored(self, name: str) -> FeatureView:
        """Return the copy of the stored view of that name."""
        return next(view for view in self._views.values() if isinstance(view, FeatureView) and view.name == name)

    def _role(self, role: Role | None) -> Role | None:
        if role is None:
            return None
        return replace(role, lookups=tuple((key, self.selection(one)) for key, one in role.lookups))

    def _source(self, source: Source) -> FrameSource:
        if source.name not in self._sources:
            self._sources[source.name] = FrameSource(
                source.name,
                frame=self._tables[source.name],
                event_time=source.event_time,
                available_at=source.available_at,
                delay=source.delay,
                event_id=source.event_id,
                deleted=source.deleted,
                max_skew=source.max_skew,
            )
        return self._sources[source.name]
