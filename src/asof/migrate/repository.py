"""Reads the Python files of a Feast repository, as Feast would import them, without running them."""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from asof.errors import ConfigError, DefinitionError, SourceError
from asof.migrate.findings import Findings, Place
from asof.migrate.folding import Folder
from asof.migrate.values import Code, Items, Made, Name, Table, Unknown

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_BYTES = 4 * 2**20
_IGNORED = (".git", ".venv", "**/.ipynb_checkpoints", "**/.pytest_cache", "**/__pycache__")
_DECORATORS = {
    "on_demand_feature_view": "OnDemandFeatureView",
    "batch_feature_view": "BatchFeatureView",
    "stream_feature_view": "StreamFeatureView",
}
_NOT_RUN = "The repository is read without running it, and this is code"
_WRITE = "Write what it defines as plain calls, or add it to features.py by hand."


@dataclass
class Repository:
    """What the files of a repository define.

    Attributes:
        root: Its directory.
        findings: What could not be read.
        seen: What Feast would find: definitions that are bound to a name of a file, in order.
        made: Every call of Feast's.
    """

    root: Path
    findings: Findings
    seen: list[Made] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)
    _files: dict[Path, Folder] = field(default_factory=dict)

    def read(self) -> None:
        """Read all files that Feast would import.

        Raises:
            DefinitionError: one is not valid Python.
            SourceError: one cannot be read.
        """
        for file in self._python_files():
            self._module(file)
        found: dict[int, Made] = {}
        for folder in self._files.values():
            for value in folder.names.values():
                if isinstance(value, Made):
                    found.setdefault(id(value), value)
        order = {id(one): position for position, one in enumerate(self.made)}
        self.seen = sorted(found.values(), key=lambda one: order[id(one)])

    def _python_files(self) -> Iterator[Path]:
        ignored = self._ignored()
        for file in sorted(self.root.glob("**/*.py")):
            if file.name == "__init__.py" or not file.is_file() or not ignored.isdisjoint((file, *file.parents)):
                continue
            if not file.resolve().is_relative_to(self.root):
                self.findings.dropped(
                    Place(self._shown(file), 1),
                    "the file",
                    "It is a link that leads out of the repository",
                    "Copy the file to the place of the link.",
                )
                continue
            yield file

    def _ignored(self) -> set[Path]:
        """Return the files and directories that Feast passes over.

        Raises:
            ConfigError: .feastignore has a pattern that is none.
        """
        patterns = list(_IGNORED)
        rules = self.root / ".feastignore"
        if rules.is_file() and rules.resolve().is_relative_to(self.root):
            lines = rules.read_text(encoding="utf-8", errors="replace").splitlines()
            patterns += [line for one in lines if (line := one.partition("#")[0].strip())]
        usable = [one for one in patterns if not one.startswith("/") and ".." not in PurePosixPath(one).parts]
        try:
            return {path for pattern in usable for path in self.root.glob(pattern)}
        except ValueError as error:
            raise ConfigError(f"{rules} has a wrong pattern", why=str(error), fix="Correct the line.") from error

    def _shown(self, file: Path) -> str:
        return file.relative_to(self.root).as_posix()

    def _module(self, file: Path) -> Folder:
        """Return a file's names, reading it where that was not done before."""
        if file in self._files:
            return self._files[file]
        shown = self._shown(file)
        folder = self._files[file] = Folder(shown, PurePosixPath(file.as_posix()), self.made)
        try:
            if file.stat().st_size > _MAX_BYTES:
                raise SourceError(f"{file} is larger than 4 MiB", fix="List it in .feastignore if it defines nothing.")
            with warnings.catch_warnings(action="ignore"):  # about its style
                tree = ast.parse(file.read_bytes(), shown)
        except SyntaxError as error:
            raise DefinitionError(
                f"{shown}:{error.lineno or 1}: {error.msg}", fix="Correct the line, or list the file in .feastignore."
            ) from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise DefinitionError(f"{shown} is not valid Python", why=str(error), fix="Correct the file.") from error
        except OSError as error:
            if isinstance(error, SourceError):
                raise
            raise SourceError(f"{file} cannot be read", why=str(error), fix="Make it readable.") from error
        try:
            for statement in tree.body:
                self._statement(folder, statement)
        except RecursionError as error:
            raise DefinitionError(
                f"{shown} is nested too deeply to be read", fix="Write it in smaller steps."
            ) from error
        return folder

    def _statement(self, folder: Folder, node: ast.stmt) -> None:
        match node:
            case ast.Import() | ast.ImportFrom():
                self._import(folder, node)
            case ast.Assign(targets=targets, value=value):
                self._assign(folder, node, targets, value)
            case ast.AnnAssign(target=target, value=value) if value is not None:
                self._assign(folder, node, [target], value)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                self._define(folder, node)
            case ast.Expr(value=ast.Call() as call):
                if not folder.change(call):
                    self._opaque(folder, node)
            case ast.Expr(value=ast.Constant()) | ast.Pass() | ast.AnnAssign():
                pass
            case ast.If(test=test, orelse=[]) if _never(test):
                pass
            case _:
                self._opaque(folder, node)

    def _assign(self, folder: Folder, node: ast.stmt, targets: list[ast.expr], expression: ast.expr) -> None:
        value = folder.fold(expression)
        if isinstance(value, Unknown):
            folder.spoil(expression)
            if folder.mentions_feast(expression):
                self._report(folder, node, value)
        for target in targets:
            if isinstance(target, ast.Name):
                folder.names[target.id] = value
                if isinstance(value, Made) and value.variable is None:
                    value.variable = target.id
            elif (
                isinstance(target, ast.Tuple)
                and isinstance(value, Items)
                and len(value) == len(target.elts)
                and all(isinstance(one, ast.Name) for one in target.elts)
            ):
                for one, item in zip(target.elts, value, strict=True):
                    folder.names[getattr(one, "id", "")] = item
                    if isinstance(item, Made) and item.variable is None:
                        item.variable = getattr(one, "id", None)
            else:
                self._opaque(folder, node)

    def _define(self, folder: Folder, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        folder.names[node.name] = Code(node.name, folder.place(node), folder.mentions_feast(node))
        for decorator in node.decorator_list:
            call = folder.fold(decorator)
            if isinstance(call, Made) and call.kind in _DECORATORS:
                call.kind = _DECORATORS[call.kind]
                call.function = call.variable = node.name
                call.arguments.setdefault("name", node.name)
                folder.names[node.name] = call
            elif folder.mentions_feast(decorator):
                self.findings.dropped(folder.place(node), f"function {node.name}", _NOT_RUN, _WRITE)

    def _opaque(self, folder: Folder, node: ast.stmt) -> None:
        """Report a statement that may define something, and forget what it may change."""
        if folder.mentions_feast(node):
            self._report(folder, node, None)
        folder.spoil(node)
        for one in ast.walk(node):
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store | ast.Del):
                folder.names[one.id] = folder.unknown(node, f"{one.id} is bound by code that is not run")
            elif isinstance(one, ast.Import | ast.ImportFrom):
                for alias in one.names:
                    bound = alias.asname or alias.name.partition(".")[0]
                    folder.names[bound] = folder.unknown(node, f"{bound} is imported by code that is not run")

    def _report(self, folder: Folder, node: ast.stmt, value: Unknown | None) -> None:
        text = " ".join(ast.unparse(node).split())
        what = text if len(text) <= 60 else text[:57] + "..."
        why = f"{_NOT_RUN}: {value.why}" if value is not None else _NOT_RUN
        self.findings.dropped(folder.place(node), f"`{what}`", why, _WRITE)

    def _import(self, folder: Folder, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.partition(".")[0]
                local = self._local(folder, alias.name, 0)
                if local is not None and (alias.asname or "." not in alias.name):
                    folder.names[bound] = Table({**self._module(local).names, "__module__": True})
                else:
                    folder.names[bound] = Name(alias.name if alias.asname else bound)
            return
        module = node.module or ""
        local = self._local(folder, module, node.level)
        for alias in node.names:
            bound = alias.asname or alias.name
            inner = self._local(folder, f"{module}.{alias.name}".strip("."), node.level)
            if alias.name == "*":
                if local is not None:
                    public = {k: v for k, v in self._module(local).names.items() if not k.startswith("_")}
                    folder.names.update(public)
                elif module.partition(".")[0] == "feast":
                    folder.all_of_feast = True
            elif local is not None and alias.name in (names := self._module(local).names):
                folder.names[bound] = names[alias.name]
            elif inner is not None:
                folder.names[bound] = Table({**self._module(inner).names, "__module__": True})
            elif local is not None or node.level:
                folder.names[bound] = folder.unknown(node, f"{alias.name} is not found in {module or 'the package'}")
            else:
                folder.names[bound] = Name(f"{module}.{alias.name}")

    def _local(self, folder: Folder, module: str, level: int) -> Path | None:
        """Return the file of the repository that an import means, if it is one."""
        parts = module.split(".") if module else []
        start = (self.root / folder.file).parent
        for _ in range(level - 1):
            start = start.parent
        of_root = parts[1:] if parts[:1] == [self.root.name] else []
        starts = [(start, parts)] if level else [(self.root, parts), (self.root, of_root)]
        for directory, rest in starts:
            base = directory.joinpath(*rest)
            for file in (base.with_suffix(".py") if rest else base / "__init__.py", base / "__init__.py"):
                inside = directory.is_relative_to(self.root) and file.resolve().is_relative_to(self.root)
                if (rest or level) and inside and file.is_file():
                    return file
        return None


def _never(test: ast.expr) -> bool:
    """Return whether a block runs in no import: `if __name__ == "__main__"` and `if TYPE_CHECKING`."""
    return ast.unparse(test) in ("__name__ == '__main__'", "TYPE_CHECKING", "typing.TYPE_CHECKING", "False")
