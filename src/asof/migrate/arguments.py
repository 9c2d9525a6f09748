"""Reads the arguments of Feast's calls, and remembers which were looked at, so that none is dropped in silence."""

from __future__ import annotations

import re
from datetime import timedelta

from asof.migrate.findings import Findings, NotCarriedError
from asof.migrate.values import Items, Made, Table, Unknown, Value

_MAX_NAME = 120
_SET = {"pii": ("", "true", "yes", "1")}
"""Values with which a tag is the label of its name alone; that of personal data masks values here."""
NOT_READ = "Write it as a constant, or add it to features.py by hand."


class Arguments:
    """The arguments of one call.

    Attributes:
        made: The call.
        what: How findings name it, as "view 'driver_stats'".
    """

    def __init__(self, made: Made, what: str, findings: Findings) -> None:
        self.made = made
        self.what = what
        self.findings = findings
        self._left = dict(made.arguments)

    def take(self, name: str) -> Value:
        """Return an argument, None where it is not given; one that cannot be read is reported, and None."""
        value = self._left.pop(name, None)
        if isinstance(value, Unknown):
            self.findings.dropped(value.place, f"{name} of {self.what}", value.why, NOT_READ)
            return None
        return value

    def need(self, name: str) -> Value:
        """Return an argument without which the call means nothing, None where it is not given.

        Raises:
            NotCarriedError: it cannot be read.
        """
        value = self._left.pop(name, None)
        if isinstance(value, Unknown):
            raise NotCarriedError(value.place, f"Its {name} is not known: {value.why}", NOT_READ)
        return value

    def need_text(self, name: str) -> str:
        """Return a text without which the call means nothing, "" where it is not given.

        Raises:
            NotCarriedError: it cannot be read, or is no text.
        """
        value = self.need(name)
        if value is not None and not isinstance(value, str):
            raise NotCarriedError(self.made.place, f"Its {name} is no text", NOT_READ)
        return value or ""

    def text(self, name: str) -> str:
        """Return a text, "" where it is not given or cannot be read, which is reported."""
        value = self.take(name)
        if value is not None and not isinstance(value, str):
            self.findings.dropped(self.made.place, f"{name} of {self.what}", "It is no text", NOT_READ)
            return ""
        return value or ""

    def items(self, name: str) -> list[Value]:
        """Return the elements of a list that can be read; those that cannot are reported.

        Raises:
            NotCarriedError: the list itself cannot be read.
        """
        value = self.need(name)
        if value is None:
            return []
        if not isinstance(value, Items):
            raise NotCarriedError(self.made.place, f"Its {name} is no list", NOT_READ)
        for one in value:
            if isinstance(one, Unknown):
                self.findings.dropped(one.place, f"an element of {name} of {self.what}", one.why, NOT_READ)
        return [one for one in value if not isinstance(one, Unknown)]

    def mapping(self, name: str) -> dict[str, str]:
        """Return a dict of texts, empty where it is not given.

        Raises:
            NotCarriedError: it cannot be read.
        """
        value = self.need(name)
        if value is None:
            return {}
        if not isinstance(value, Table) or not all(isinstance(x, str) for pair in value.pairs.items() for x in pair):
            raise NotCarriedError(self.made.place, f"Its {name} is not known before the file runs", NOT_READ)
        return dict(value.pairs)

    def common(self) -> list[tuple[str, Value]]:
        """Return description, owner and tags as Asof's arguments: a pair of Feast's is the label "key=value"."""
        given: list[tuple[str, Value]] = [
            (name, text) for name in ("description", "owner") if (text := self.text(name))
        ]
        labels = self.labels()
        if org := self.text("org"):
            labels.append(f"org={org}")
        return [*given, ("tags", sorted(set(labels)))] if labels else given

    def labels(self) -> list[str]:
        """Return tags as labels."""
        value = self.take("tags")
        if not isinstance(value, Table):
            return []
        found = []
        for key, one in value.pairs.items():
            if isinstance(one, Unknown):
                self.findings.dropped(one.place, f"tag {key!r} of {self.what}", one.why, NOT_READ)
            elif label := f"{key}={one}" if str(one).lower() not in _SET.get(str(key), ("",)) else str(key):
                found.append(label)
        return found

    def duration(self, name: str) -> timedelta | None:
        """Return a duration, None where it is not given.

        Raises:
            NotCarriedError: it cannot be read.
        """
        value = self.need(name)
        if value is not None and not isinstance(value, timedelta):
            raise NotCarriedError(self.made.place, f"Its {name} is no timedelta", NOT_READ)
        return value

    def leave(self, name: str, why: str, instead: str, *, unless: tuple[Value, ...] = (None, "", False)) -> None:
        """Report an argument that has no place in Asof, where it is given and says more than its default."""
        if name not in self._left:
            return
        value = self._left.pop(name)
        if not any(value is default or (value == default and type(value) is type(default)) for default in unless):
            place = value.place if isinstance(value, Made | Unknown) else self.made.place
            self.findings.dropped(place, f"{name} of {self.what}", why, instead)

    def ignore(self, *names: str) -> None:
        """Pass over arguments that say nothing which a definition could hold."""
        for name in names:
            self._left.pop(name, None)

    def finish(self) -> None:
        """Report everything that nobody asked for."""
        for name in list(self._left):
            self.leave(
                name, f"Asof has nothing like it in {self.what}", "See the definitions reference.", unless=(None,)
            )
        if self.made.positional:
            self.findings.dropped(
                self.made.place, f"arguments without a name of {self.what}", "They are not read", "Name them."
            )


def named(made: Made) -> str:
    """Return how a call is known to readers: its name, else its variable, else its kind."""
    given = made.arguments.get("name")
    return given if isinstance(given, str) and given else made.variable or made.kind


class Labels:
    """Makes Feast's names valid names of Asof, each once per kind."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._taken: set[tuple[str, str]] = set()

    def give(self, kind: str, name: str, made: Made, *, within: str = "", quiet: bool = False) -> str:
        """Return a name, reporting one that had to change.

        Args:
            kind: entity, source, view, feature or service.
            name: As Feast has it.
            made: Where it is.
            within: The view of a feature.
            quiet: Whether the name is no choice of the user's, so that a change is not reported.
        """
        plain = re.sub(r"[^A-Za-z0-9_]+", "_", name)
        if kind in ("view", "role"):
            plain = re.sub(r"__+", "_", plain)
        plain = plain.lstrip("_0123456789" if kind != "feature" else "_")
        plain = (plain if plain[:1].isalpha() else f"{kind}_{plain}".rstrip("_"))[:_MAX_NAME]
        given, number = plain, 2
        while (kind + within, given) in self._taken:
            given, number = f"{plain[: _MAX_NAME - 5]}_{number}", number + 1
        self._taken.add((kind + within, given))
        if given != name and not quiet:
            self._findings.differs(
                made.place,
                f"{kind} {name!r} is called {given!r}",
                "Names are a letter, then letters, digits and underscores, each once"
                + (", without a double underscore" if kind == "view" else ""),
                "Use the new name in code that reads it.",
            )
        return given
