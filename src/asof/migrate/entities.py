"""Turns Feast's entities into entities, and those that a view lists together into one with several join keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asof.migrate.arguments import Arguments, named
from asof.migrate.findings import NotCarriedError
from asof.migrate.python import Call
from asof.migrate.values import Items, Made, Name, Value

if TYPE_CHECKING:
    from asof.migrate.arguments import Labels
    from asof.migrate.findings import Findings
    from asof.migrate.python import Names

KEY_TYPES = {
    "INT32": "int64",
    "INT64": "int64",
    "STRING": "string",
    "BYTES": "binary",
    "BOOL": "bool",
    "UNIX_TIMESTAMP": "timestamp",
}


@dataclass(frozen=True)
class Keyed:
    """An entity of the new project."""

    variable: str
    join_keys: dict[str, str | None]


@dataclass
class Entities:
    """Translates each entity once.

    Attributes:
        written: Variables and calls, in the order of the repository.
    """

    findings: Findings
    labels: Labels
    names: Names
    written: list[tuple[str, Call]] = field(default_factory=list)
    _done: dict[int, Keyed | NotCarriedError] = field(default_factory=dict)
    _together: dict[tuple[str, ...], Keyed] = field(default_factory=dict)
    _by_name: dict[str, Made] = field(default_factory=dict)

    def carry(self, made: Made) -> Keyed:
        """Return an entity of the new project.

        Raises:
            NotCarriedError: there is none for it; the entity is reported the first time.
        """
        found = self._done.get(id(made))
        if found is None:
            what = f"entity {named(made)!r}"
            try:
                found = self._carry(made, Arguments(made, what, self.findings))
            except NotCarriedError as error:
                place = error.place or made.place
                self.findings.dropped(place, what, error.why, error.instead)
                found = NotCarriedError(place, error.why, error.instead)
            self._done[id(made)] = found
        if isinstance(found, NotCarriedError):
            raise NotCarriedError(None, "Its entity is not carried over", f"See {found.place}.")
        return found

    def has(self, made: Made) -> bool:
        """Return whether an entity was carried over."""
        return isinstance(self._done.get(id(made)), Keyed)

    def of_view(self, listed: list[Value], made: Made) -> Keyed:
        """Return the entity that a view is about.

        Args:
            listed: What the view lists: entities, or their names.
            made: The view.

        Raises:
            NotCarriedError: one of them is not carried over.
        """
        found = []
        for one in listed:
            entity = self._by_name.get(one) if isinstance(one, str) else one
            if not isinstance(entity, Made) or entity.kind != "Entity":
                raise NotCarriedError(
                    made.place, "It lists an entity that is not known", "Add it to features.py by hand."
                )
            found.append(self.carry(entity))
        if len(found) == 1:
            return found[0]
        variables = tuple(one.variable for one in found)
        if variables not in self._together:
            self._together[variables] = self._join(found, made)
        return self._together[variables]

    def _carry(self, made: Made, arguments: Arguments) -> Keyed:
        given = arguments.need_text("name")
        if not given:
            raise NotCarriedError(made.place, "It has no name", "Name it.")
        keys = arguments.need("join_keys")
        listed = list(keys) if isinstance(keys, Items) else [given]
        if len(listed) != 1 or not isinstance(listed[0], str) or not listed[0]:
            raise NotCarriedError(made.place, "It has not exactly one join key, which is a text", "Name one join key.")
        key = listed[0]
        dtype = self._dtype(made, arguments)
        name = self.labels.give("entity", given, made)
        keywords: list[tuple[str, Value]] = [("join_key", key)] if key != name else []
        keywords += [("dtype", dtype)] if dtype else []
        keywords += arguments.common()
        arguments.finish()
        variable = self.names.give(made.variable, name, f"{name}_entity")
        self.written.append((variable, Call("Entity", (name,), tuple(keywords))))
        self._by_name.setdefault(given, made)
        return Keyed(variable, {key: dtype})

    def _dtype(self, made: Made, arguments: Arguments) -> str | None:
        value = arguments.take("value_type")
        if not isinstance(value, Name) or value.last == "UNKNOWN":
            return None
        if value.last not in KEY_TYPES:
            raise NotCarriedError(
                made.place, f"Join keys cannot be {value.last}: they are compared exactly", "Use an integer or a text."
            )
        return KEY_TYPES[value.last]

    def _join(self, found: list[Keyed], made: Made) -> Keyed:
        """Write an entity with the join keys of several, or the one that has none."""
        name = self.labels.give("entity", "_".join(one.variable for one in found) or "everything", made, quiet=True)
        variable = self.names.give(None, name, f"{name}_entity")
        keys = {key: dtype for one in found for key, dtype in one.join_keys.items()}
        if len(keys) < len(found):
            raise NotCarriedError(made.place, "Its entities share a join key", "List each join key once.")
        typed = dict(keys) if keys and all(keys.values()) else list(keys)
        self.written.append((variable, Call("Entity", (name,), (("join_keys", typed),))))
        return Keyed(variable, keys)
