"""Lookups in a read: groups of views step by step, and join keys taken from what an earlier step found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from asof.services.spine import key_array

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from asof.plan.selection import ViewGroup
    from asof.services.history import ViewColumns
    from asof.services.spine import Spine


def in_steps(groups: Sequence[ViewGroup]) -> Iterator[list[ViewGroup]]:
    """Yield the groups in their order, those that look up join keys in a later step than those that hold them."""
    left, known = list(groups), set[str]()
    while left:
        step = [group for group in left if all(one.group in known for _, one in group.lookups)]
        yield step
        known |= {group.key for group in step}
        left = [group for group in left if group.key not in known]


class SpineKeys:
    """The join keys of every group for the rows of a spine."""

    def __init__(self, groups: Sequence[ViewGroup], spine: Spine) -> None:
        """Take the keys that the spine holds, of all groups, before any source is read.

        Raises:
            InputError: a key column is missing, or has values that are not of the key's type.
        """
        self._rows = spine.table.num_rows
        self._asked = {
            group.key: {
                name: key_array(spine.table, column, dtype, group.view.entity.name)
                for name, (column, dtype) in group.asked_keys().items()
            }
            for group in groups
        }

    def of(self, group: ViewGroup, found: Mapping[str, ViewColumns]) -> list[pa.Array]:
        """Return a group's join keys, in the entity's order and types, looked up in the answers of earlier steps."""
        lookups = dict(group.lookups)
        arrays = []
        for key in group.view.entity.join_keys:
            one = lookups.get(key.name)
            if one is None:
                arrays.append(self._asked[group.key][key.name])
            else:
                answers = found[one.group]
                table = answers.slice(0, self._rows) if self._rows else answers.schema.empty_table()
                column = table.column(one.feature.name)
                arrays.append(key_array(pa.table({key.name: column}), key.name, key.dtype, group.view.entity.name))
        return arrays
