"""Tells what expressions stand for without running them: constants, names, lists, calls of Feast's own classes."""

from __future__ import annotations

import ast
import operator
from datetime import timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from asof.migrate.findings import Place
from asof.migrate.values import Code, Items, Made, Name, Projection, Table, Unknown, Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MAX_TEXT = 100_000
_MAX_ITEMS = 10_000
_MAX_STEPS = 500_000
_MAX_NUMBER = 2**63
_OPERATORS: dict[type[ast.operator], Callable[[Value, Value], Value]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_MUTATING = ("append", "extend")
_PROJECTED = ("FeatureView", "BatchFeatureView", "StreamFeatureView", "OnDemandFeatureView")


class Folder:
    """Folds the expressions of one file.

    Attributes:
        file: Relative to the repository, for places.
        path: The file itself, which `__file__` stands for.
        names: What the file's names stand for so far.
        made: Every call of Feast's, in order, those of other files of the repository included.
    """

    def __init__(self, file: str, path: PurePosixPath, made: list[Made]) -> None:
        self.file = file
        self.names: dict[str, Value] = {"__file__": str(path), "__name__": path.stem}
        self.made = made
        self.all_of_feast = False
        self._steps = 0

    def place(self, node: ast.AST) -> Place:
        """Return where a node is."""
        return Place(self.file, getattr(node, "lineno", 1))

    def unknown(self, node: ast.AST, why: str) -> Unknown:
        """Return that a node cannot be told."""
        return Unknown(self.place(node), why)

    def fold(self, node: ast.expr, local: Mapping[str, Value] | None = None) -> Value:
        """Return what an expression stands for; `Unknown` where only running it would tell."""
        self._steps += 1
        if self._steps > _MAX_STEPS:
            return self.unknown(node, "the file computes too much")
        try:
            value = self._fold(node, local or {})
        except (ArithmeticError, TypeError, ValueError, LookupError) as error:
            return self.unknown(node, f"it fails: {error}")
        if not _bounded(value):
            return self.unknown(node, "it is too large")
        return getattr(value, "spoiled", None) or value

    def _fold(self, node: ast.expr, local: Mapping[str, Value]) -> Value:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return self._name(node, name, local)
            case ast.List(elts=found) | ast.Tuple(elts=found) | ast.Set(elts=found):
                return self._items(found, local)
            case ast.Dict(keys=keys, values=values):
                if any(key is None for key in keys):
                    return self.unknown(node, "a dict is unpacked with **")
                pairs = {self.fold(k, local): self.fold(v, local) for k, v in zip(keys, values, strict=True) if k}
                return Table(pairs)
            case ast.JoinedStr(values=parts):
                return self._text(node, parts, local)
            case ast.BinOp(left=left, op=op, right=right):
                return self._binary(node, self.fold(left, local), op, self.fold(right, local))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                value = self.fold(operand, local)
                return -value if _number(value) or isinstance(value, timedelta) else _first(value, node, self)
            case ast.Attribute(value=base, attr=name):
                return self._attribute(node, self.fold(base, local), name)
            case ast.Subscript(value=base, slice=index):
                return self._subscript(node, self.fold(base, local), self.fold(index, local))
            case ast.Call():
                return self._call(node, local)
            case ast.ListComp(elt=element, generators=[ast.comprehension(target=ast.Name(id=name), iter=over, ifs=[])]):
                items = self.fold(over, local)
                if not isinstance(items, Items):
                    return _first(items, node, self)
                return Items([self.fold(element, {**local, name: item}) for item in items])
            case _:
                return self.unknown(node, f"`{_short(node)}` is computed when the file runs")

    def _name(self, node: ast.expr, name: str, local: Mapping[str, Value]) -> Value:
        if name in local:
            return local[name]
        if name in self.names:
            return self.names[name]
        if self.all_of_feast and name[:1].isupper():
            return Name(f"feast.{name}")
        if name in ("str", "list", "dict", "tuple"):
            return Name(f"builtins.{name}")
        return self.unknown(node, f"{name} is not known before the file runs")

    def _items(self, found: list[ast.expr], local: Mapping[str, Value]) -> Value:
        items = Items()
        for one in found[:_MAX_ITEMS]:
            if isinstance(one, ast.Starred):
                inner = self.fold(one.value, local)
                items.extend(inner if isinstance(inner, Items) else [_first(inner, one, self)])
            else:
                items.append(self.fold(one, local))
            if len(items) > _MAX_ITEMS:
                break
        return items

    def _text(self, node: ast.expr, parts: list[ast.expr], local: Mapping[str, Value]) -> Value:
        text = ""
        for part in parts:
            if isinstance(part, ast.FormattedValue):
                value = self.fold(part.value, local)
                if part.format_spec is not None or part.conversion != -1 or not _plain(value):
                    return _first(value, node, self)
                text += str(value)
            else:
                text += str(self.fold(part, local))
            if len(text) > _MAX_TEXT:
                break
        return text

    def _binary(self, node: ast.expr, left: Value, op: ast.operator, right: Value) -> Value:
        for side in (left, right):
            if isinstance(side, Unknown):
                return side
        if isinstance(op, ast.Div) and isinstance(left, PurePosixPath) and isinstance(right, str | PurePosixPath):
            return left / right
        same = (isinstance(left, str) and isinstance(right, str)) or (
            isinstance(left, Items) and isinstance(right, Items)
        )
        times = all(_number(one) or isinstance(one, timedelta) for one in (left, right))
        if type(op) in _OPERATORS and ((isinstance(op, ast.Add) and same) or times):
            value = _OPERATORS[type(op)](left, right)
            return Items(value) if isinstance(value, list) else value
        return self.unknown(node, f"`{_short(node)}` is computed when the file runs")

    def _attribute(self, node: ast.expr, base: Value, name: str) -> Value:
        match base:
            case Name():
                return Name(f"{base.dotted}.{name}")
            case PurePosixPath() if name == "parent":
                return base.parent
            case Made() if name == "name" and isinstance(base.arguments.get("name"), str):
                return base.arguments["name"]
            case Table() if name in base.pairs and base.pairs.get("__module__"):
                return base.pairs[name]
            case _:
                return _first(base, node, self)

    def _subscript(self, node: ast.expr, base: Value, index: Value) -> Value:
        if isinstance(index, Unknown):
            return index
        if isinstance(base, Items) and isinstance(index, int):
            return base[index]
        if isinstance(base, Table):
            return base.pairs[index]
        if isinstance(base, Made) and base.kind in _PROJECTED:
            base = Projection(base, self.place(node))
        if isinstance(base, Projection) and isinstance(index, Items) and all(isinstance(i, str) for i in index):
            return Projection(base.view, base.place, tuple(index), base.alias, base.keys)
        return _first(base, node, self)

    def _call(self, node: ast.Call, local: Mapping[str, Value]) -> Value:
        if isinstance(node.func, ast.Attribute):
            base = self.fold(node.func.value, local)
            if isinstance(base, Made | Projection):
                return self._project(node, base, node.func.attr, local)
        function = self.fold(node.func, local)
        if not isinstance(function, Name):
            if isinstance(function, Code):
                return self.unknown(node, f"{function.name}() at {function.place} is code, which is not run")
            return _first(function, node, self)
        if any(isinstance(one, ast.Starred) for one in node.args) or any(k.arg is None for k in node.keywords):
            return self.unknown(node, "arguments are unpacked with * or **")
        positional = [_kept(self.fold(one, local)) for one in node.args]
        named = {k.arg: _kept(self.fold(k.value, local)) for k in node.keywords if k.arg is not None}
        if function.of_feast:
            made = Made(function.last, self.place(node), named, tuple(positional))
            self.made.append(made)
            return made
        return self._library(node, function.dotted, positional, named)

    def _library(self, node: ast.Call, dotted: str, positional: list[Value], named: dict[str, Value]) -> Value:
        """Return what calls of a few harmless functions of Python's own library give."""
        for value in (*positional, *named.values()):
            if isinstance(value, Unknown):
                return value
        texts = [str(one) for one in positional if isinstance(one, str | PurePosixPath)]
        every = len(texts) == len(positional) and bool(texts) and not named
        match dotted:
            case "datetime.timedelta" if all(map(_number, (*positional, *named.values()))):
                return timedelta(*positional, **named)
            case "os.path.join" if every:
                return str(PurePosixPath(*texts))
            case "os.path.dirname" if every:
                return str(PurePosixPath(texts[0]).parent)
            case "os.path.abspath" | "os.path.realpath" | "os.fspath" | "builtins.str" if every:
                return texts[0]
            case "pathlib.Path" | "pathlib.PurePath" if every:
                return PurePosixPath(*texts)
            case "builtins.list" | "builtins.tuple" if len(positional) == 1 and isinstance(positional[0], Items):
                return Items(positional[0])
            case "builtins.dict" if not positional:
                return Table(dict(named))
            case _:
                return self.unknown(node, f"{dotted.removeprefix('builtins.')}() is called, which is not run")

    def _project(self, node: ast.Call, base: Made | Projection, method: str, local: Mapping[str, Value]) -> Value:
        given = [self.fold(one, local) for one in node.args] + [self.fold(k.value, local) for k in node.keywords]
        one = base if isinstance(base, Projection) else Projection(base, self.place(node))
        match method, given:
            case "with_name", [str(name)]:
                return Projection(one.view, one.place, one.features, name, one.keys)
            case "with_join_key_map", [Table(pairs=pairs, spoiled=None)]:
                if all(isinstance(x, str) for pair in pairs.items() for x in pair):
                    return Projection(one.view, one.place, one.features, one.alias, tuple(pairs.items()))
        unread = next((value for value in given if isinstance(value, Unknown)), None)
        return unread or self.unknown(node, f".{method}() is called, which is not run")

    def change(self, node: ast.Call) -> bool:
        """Follow `items.append(…)` and `items.extend(…)`; return whether the call was one of them."""
        if not isinstance(node.func, ast.Attribute) or len(node.args) != 1 or node.keywords:
            return False
        items = self.fold(node.func.value)
        if not isinstance(items, Items) or node.func.attr not in _MUTATING:
            return False
        value = self.fold(node.args[0])
        more = value if node.func.attr == "extend" and isinstance(value, Items) else Items([value])
        if len(items) + len(more) <= _MAX_ITEMS:
            items.extend(list(more))
        return len(items) <= _MAX_ITEMS

    def spoil(self, node: ast.AST) -> None:
        """Forget the lists and dicts that a node names: it may change them."""
        for one in ast.walk(node):
            if isinstance(one, ast.Name) and isinstance(found := self.names.get(one.id), Items | Table):
                found.spoiled = self.unknown(node, f"`{_short(node)}` may change {one.id} when the file runs")

    def mentions_feast(self, node: ast.AST) -> bool:
        """Return whether a node names something of Feast's, or what is made of it."""
        for one in ast.walk(node):
            if isinstance(one, ast.Name):
                found = self.names.get(one.id)
                if isinstance(found, Made | Projection) or (isinstance(found, Name) and found.of_feast):
                    return True
                if isinstance(found, Code) and found.uses_feast:
                    return True
                if self.all_of_feast and found is None and one.id[:1].isupper():
                    return True
        return False


def _first(value: Value, node: ast.AST, folder: Folder) -> Unknown:
    if isinstance(value, Unknown):
        return value
    return folder.unknown(node, f"`{_short(node)}` is computed when the file runs")


def _short(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 60 else text[:57] + "..."


def _number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain(value: Value) -> bool:
    return isinstance(value, str | int | float | PurePosixPath)


def _kept(value: Value) -> Value:
    """Return a value as it is now: a call is not changed by what becomes of a list afterwards."""
    if isinstance(value, Items):
        return Items(value)
    return Table(dict(value.pairs)) if isinstance(value, Table) else value


def _bounded(value: Value) -> bool:
    if isinstance(value, str | PurePosixPath):
        return len(str(value)) <= _MAX_TEXT
    if isinstance(value, list):
        return len(value) <= _MAX_ITEMS
    return not isinstance(value, int) or abs(value) < _MAX_NUMBER
