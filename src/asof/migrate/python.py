"""Writes Python as a formatter leaves it: calls on one line where they fit, else an argument per line."""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata
from dataclasses import dataclass, field
from typing import Any

_WIDTH = 88
_INDENT = 4
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Symbol:
    """A name that the module defines or imports."""

    name: str


@dataclass(frozen=True)
class Call:
    """A call of `function`, or of a method of a symbol, as "weather.with_role"."""

    function: str
    positional: tuple[Any, ...] = ()
    keywords: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Chosen:
    """`base[index]`."""

    base: Symbol | Call
    index: str | list[str]


@dataclass
class Names:
    """Hands out variable names, each once, none of them a keyword, a builtin or an imported name.

    Attributes:
        taken: What is given already, or imported.
        reserved: Variables of the repository, which definitions that have none leave to others.
    """

    taken: set[str] = field(default_factory=set)
    reserved: set[str] = field(default_factory=set)

    def give(self, own: str | None, *others: str) -> str:
        """Return a variable's own name or the first of the others that is free, else one with a number behind it."""
        usable = [name for name in (own, *others) if name and _is_variable(name)] or ["definition"]
        for name in usable:
            if name not in self.taken and (name == own or name not in self.reserved):
                self.taken.add(name)
                return name
        number = 2
        while f"{usable[0]}_{number}" in self.taken:
            number += 1
        self.taken.add(f"{usable[0]}_{number}")
        return f"{usable[0]}_{number}"


def _is_variable(name: str) -> bool:
    reserved = keyword.iskeyword(name) or keyword.issoftkeyword(name) or hasattr(builtins, name)
    return _IDENTIFIER.fullmatch(name) is not None and not reserved and not name.startswith("__")


def assignment(name: str, value: Any) -> str:
    """Return `name = value` as formatted lines, with a line feed at the end.

    Args:
        name: A variable, from `Names`.
        value: Texts, numbers, bools, None, lists, dicts and the classes of this module.
    """
    return f"{name} = {_render(value, 0, len(name) + 3, 0)}\n"


def imports(module: str, names: set[str]) -> str:
    """Return `from module import names` as formatted lines."""
    line = f"from {module} import {', '.join(sorted(names))}\n"
    if _width(line) - 1 <= _WIDTH:
        return line
    return f"from {module} import (\n" + "".join(f"    {name},\n" for name in sorted(names)) + ")\n"


def quoted(text: str) -> str:
    """Return a text as a literal, in double quotes unless that takes more escapes."""
    written = repr(text)
    if written[0] == '"' or text.count('"') > text.count("'"):
        return written
    return '"' + written[1:-1].replace("\\'", "'").replace('"', '\\"') + '"'


def flat(value: Any) -> str:
    """Return a value on one line."""
    match value:
        case str():
            return quoted(value)
        case list():
            return "[" + ", ".join(map(flat, value)) + "]"
        case dict():
            return "{" + ", ".join(f"{flat(key)}: {flat(item)}" for key, item in value.items()) + "}"
        case Symbol():
            return value.name
        case Chosen():
            return f"{flat(value.base)}[{flat(value.index)}]"
        case Call():
            return f"{value.function}(" + ", ".join(label + flat(item) for label, item in _arguments(value)) + ")"
        case _:
            return repr(value)


def _render(value: Any, indent: int, before: int, after: int) -> str:
    """Return a value whose first line starts after `before` columns and whose last has `after` more to come."""
    line = flat(value)
    if before + _width(line) + after <= _WIDTH:
        return line
    match value:
        case list() if value:
            return _exploded("[", [("", item) for item in value], "]", indent)
        case dict() if value:
            return _exploded("{", [(f"{flat(key)}: ", item) for key, item in value.items()], "}", indent)
        case Chosen():
            index = flat(value.index)
            return f"{_render(value.base, indent, before, after + _width(index) + 2)}[{index}]"
        case Call() if value.positional or value.keywords:
            return _exploded(f"{value.function}(", _arguments(value), ")", indent)
        case _:
            return line


def _exploded(opening: str, items: list[tuple[str, Any]], closing: str, indent: int) -> str:
    inner = indent + _INDENT
    lines = [" " * inner + label + _render(item, inner, inner + _width(label), 1) + ",\n" for label, item in items]
    return f"{opening}\n{''.join(lines)}{' ' * indent}{closing}"


def _arguments(call: Call) -> list[tuple[str, Any]]:
    return [("", item) for item in call.positional] + [(f"{name}=", item) for name, item in call.keywords]


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)
