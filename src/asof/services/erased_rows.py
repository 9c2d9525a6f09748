"""Which rows are about the entities that are erased: tables, training sets and messages are all asked here."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from asof import _native, dtypes
from asof.clock import from_us, to_us
from asof.errors import InputError
from asof.plan.specs import ServiceSpec, ViewSpec
from asof.services.online_keys import normalise
from asof.services.single import one_entity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from asof.plan.specs import EntitySpec
    from asof.services.catalog import Catalog


@dataclass(frozen=True)
class Wanted:
    """The entities to be erased.

    Attributes:
        entity: What they are.
        keys: A table of their join keys, in the entity's types, each once.
        columns: Where rows hold them: tuples of columns, in the order of the join keys; the first are the join keys'
            own names, the others those of roles.
    """

    entity: EntitySpec
    keys: pa.Table
    columns: tuple[tuple[str, ...], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The join keys."""
        return tuple(key.name for key in self.entity.join_keys)

    def encoded(self, names: Sequence[str]) -> list[bytes]:
        """Return the keys as online stores hold them, for an entity with the join keys in this order."""
        by_name = {key.name: key.dtype for key in self.entity.join_keys}
        types = [by_name[name] for name in names]
        columns = [normalise(by_name[name], self.keys.column(name).to_pylist()) for name in names]
        return [key for key in _native.encode_keys_py(types, columns) if key is not None]

    def mask(self, table: pa.Table, *, own_names: bool = False) -> pa.ChunkedArray:
        """Return which rows of a table are about them.

        Args:
            table: Any table; one without their columns has no such rows.
            own_names: Look at columns with the join keys' own names only, as sources have them.
        """
        found = pa.chunked_array([pa.repeat(pa.scalar(False), table.num_rows)])
        for columns in self.columns[:1] if own_names else self.columns:
            if not all(table.column_names.count(name) == 1 for name in columns):
                continue
            sides = [table.column(name) for name in columns]
            for row in self.keys.to_pylist():
                same = [
                    _equal(side, row[key.name], key.dtype)
                    for side, key in zip(sides, self.entity.join_keys, strict=True)
                ]
                every = same[0]
                for one in same[1:]:
                    every = pc.and_(every, one)
                found = pc.or_(found, every)
        return found

    def count(self, table: pa.Table, *, own_names: bool = False) -> int:
        """Return how many rows of a table are about them."""
        return int(pc.sum(self.mask(table, own_names=own_names)).as_py() or 0)

    def names_in(self, message: bytes | None) -> bool:
        """Return whether a message that could not be taken in is about them.

        In JSON the join keys are fields, at any depth; in bytes that are no JSON, their values are words.
        """
        if not message:
            return False
        rows = self.keys.to_pylist()
        try:
            parsed = json.loads(message)
        except (ValueError, UnicodeDecodeError, RecursionError):
            return any(all(_is_word(_text(row[name]), message) for name in self.names) for row in rows)
        fields = list(_objects(parsed))
        return any(
            all(any(name in one and _same(one[name], row[name]) for one in fields) for name in self.names)
            for row in rows
        )


def wanted(catalog: Catalog, keys: Any, entity: str | None) -> Wanted:
    """Return what is to be erased, checked.

    Args:
        catalog: The registry.
        keys: One mapping of join keys to values, or several.
        entity: The entity's name. Default: the one with these join keys.

    Raises:
        InputError: keys are missing, unknown or not of their type; or there is no such entity.
        NotFoundError: there is no entity of that name.
    """
    listed: list[Mapping[str, Any]] = [keys] if hasattr(keys, "items") else list(keys)
    if not listed or not all(hasattr(one, "items") for one in listed):
        raise InputError("There is nothing to erase", fix='Give the join keys: {"customer_id": 42}.')
    found = catalog.entity(entity) if entity is not None else _entity_of(catalog, listed[0])
    if not found.join_keys:
        raise InputError(f"Entity {found.name!r} has no join keys", why="It is about everything, and about nobody")
    names = [key.name for key in found.join_keys]
    tables = [one_entity(found, one, 0).table.select(names) for one in listed]
    types = [dtypes.column_type(key.dtype) for key in found.join_keys]
    try:
        table = pa.concat_tables([one.cast(pa.schema(list(zip(names, types, strict=True)))) for one in tables])
    except pa.ArrowException as error:
        shown = ", ".join(f"{key.name} as {key.dtype}" for key in found.join_keys)
        raise InputError("A join key's value cannot be read", why=str(error), fix=f"Give {shown}.") from error
    return Wanted(found, table.group_by(names).aggregate([]).select(names), _columns(catalog, names))


def _entity_of(catalog: Catalog, keys: Mapping[str, Any]) -> EntitySpec:
    known = [one for one in catalog.entities() if {key.name for key in one.join_keys} == {*keys}]
    if len(known) != 1:
        raise InputError(
            f"{'Several entities have' if known else 'No entity has'} the join keys {', '.join(map(str, keys))}",
            fix='Name the entity: entity="customer". `asof list entity` shows what there is.',
        )
    return known[0]


def _columns(catalog: Catalog, names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return where rows may hold the join keys: their own names, and those of every role of every service version."""
    found = {tuple(names): None}
    for entry in catalog.entries("service"):
        if not isinstance(entry.spec, ServiceSpec):
            continue
        for group in catalog.select(f"{entry.name}@{entry.version}").groups():
            own = [key.name for key in group.view.entity.join_keys]
            if set(names) <= set(own):
                asked = {key: column for key, (column, _) in group.asked_keys().items()}
                looked_up = {key: item.column for key, item in group.lookups}
                found[tuple({**asked, **looked_up}[name] for name in names)] = None
    return tuple(found)


def view_specs(catalog: Catalog) -> list[ViewSpec]:
    """Return every version of every view, removed ones included."""
    return [entry.spec for entry in catalog.entries("view") if isinstance(entry.spec, ViewSpec)]


def _equal(values: pa.ChunkedArray, value: Any, dtype: str) -> pa.ChunkedArray:
    """Return which values are this one, in whatever type they are held."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    wanted_type = dtypes.column_type(dtype)
    try:
        same = pc.equal(values.cast(wanted_type), pa.scalar(value, wanted_type))
    except pa.ArrowException:
        try:
            same = pc.equal(values.cast(pa.string()), pa.scalar(_text(value)))
        except pa.ArrowException:  # a list, a struct: no key
            return pa.chunked_array([pa.repeat(pa.scalar(False), len(values))])
    return same.fill_null(False)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _same(given: Any, value: Any) -> bool:
    if hasattr(value, "isoformat") and isinstance(given, str):
        return given.replace("Z", "+00:00").replace(" ", "T") in (value.isoformat(), _text(value).replace(" ", "T"))
    if hasattr(value, "timestamp") and isinstance(given, int):
        return from_us(given) == value or given == to_us(value)
    return bool(given == value) or _text(given) == _text(value)


def _objects(parsed: Any) -> Iterable[dict[str, Any]]:
    if isinstance(parsed, dict):
        yield parsed
    children = parsed.values() if isinstance(parsed, dict) else parsed if isinstance(parsed, list) else ()
    for child in children:
        yield from _objects(child)


def _is_word(text: str, message: bytes) -> bool:
    return re.search(rb"(?<![0-9A-Za-z])" + re.escape(text.encode()) + rb"(?![0-9A-Za-z])", message) is not None
