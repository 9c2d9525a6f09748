"""Collects the definitions of a project from its Python files."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
import threading
import traceback
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING

from asof.definitions.collection import Definitions
from asof.errors import AsofError, ConfigError, DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import CodeType, ModuleType

_DEFAULT = ("features.py", "features")
_IMPORTING = threading.Lock()


class _FreshLoader(SourceFileLoader):
    """Compiles the file each time: cached bytecode misses an edit within one second that keeps the size."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def collect_definitions(root: Path, patterns: Sequence[str]) -> Definitions:
    """Import the definition files of the project at `root` afresh and return what they define.

    While they run, `root` is first on `sys.path`, so that they can import each other; what they print goes to stderr.

    Args:
        root: The project's root.
        patterns: Files, directories (searched for .py files) or globs, relative to `root` or absolute.
            Empty: features.py and features/, as far as they exist.

    Raises:
        ConfigError: a pattern matches no Python file.
        DefinitionError: a file fails, named with its line; two definitions share a name; nothing is defined.
    """
    files = definition_files(root, patterns)
    found: list[tuple[str, object]] = []
    with project_modules(root, files):
        for file in files:
            origin = _display(file, root)
            found += [(origin, value) for value in list(vars(load_module(file, root)).values())]
        definitions = Definitions.of(found)
    if not definitions:
        raise DefinitionError(
            f"Nothing is defined in {', '.join(_display(file, root) for file in files)}",
            fix="Define an Entity, a source and a view there; `asof init` writes an example.",
        )
    return definitions


def definition_files(root: Path, patterns: Sequence[str]) -> list[Path]:
    """Return the definition files, sorted within each pattern, each once.

    Raises:
        ConfigError: a pattern matches no Python file.
    """
    chosen = patterns or [name for name in _DEFAULT if (root / name).exists()]
    if not chosen:
        raise ConfigError(
            f"There is no features.py or features/ in {root}",
            fix='Write features.py, or say definitions = ["path/to/file.py"] in asof.toml.',
        )
    files: dict[Path, None] = {}
    for pattern in chosen:
        matched = [file for match in _matches(root, pattern) for file in _python_files(match)]
        if not matched:
            raise ConfigError(
                f"definitions names {pattern!r}, which matches no Python file",
                why=f"Looked in {root}",
                fix="Correct `definitions` in asof.toml.",
            )
        files.update(dict.fromkeys(matched))
    return list(files)


def _matches(root: Path, pattern: str) -> list[Path]:
    path = Path(os.path.normpath(root / pattern))
    if path.exists() or not pattern:
        return [path] if pattern else []
    if path.is_relative_to(root):
        return sorted(root.glob(str(path.relative_to(root))))
    return sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))


def _python_files(match: Path) -> list[Path]:
    if match.is_dir():
        inside = sorted(match.rglob("*.py"))
        return [file for file in inside if not any(part.startswith(".") for part in file.relative_to(match).parts)]
    return [match] if match.suffix == ".py" else []


def load_module(file: Path, root: Path) -> ModuleType:
    name = module_name(file, root)
    if name in sys.modules:  # another definition file imported it
        return sys.modules[name]
    spec = importlib.util.spec_from_loader(name, _FreshLoader(name, str(file)), origin=str(file))
    if spec is None:
        raise ConfigError(f"{file} cannot be imported", fix="Make it a Python file.")
    if file.name == "__init__.py":
        spec.submodule_search_locations = [str(file.parent)]
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)  # type: ignore[union-attr]
    except (Exception, SystemExit) as error:
        raise _explain(error, file, root) from error
    return module


def module_name(file: Path, root: Path) -> str:
    """Return the name under which other files of the project would import this one, so that both get one module."""
    if not file.is_relative_to(root):
        return "_asof_definitions_" + str(file).replace(".", "_")
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


@contextlib.contextmanager
def project_modules(root: Path, files: Sequence[Path]) -> Iterator[None]:
    """Let the project's files be imported by their own names, and leave `sys.modules` and `sys.path` as they were."""
    with _IMPORTING, contextlib.redirect_stdout(sys.stderr):
        names = {module_name(file, root) for file in files}
        set_aside = {name: sys.modules.pop(name) for name in names if name in sys.modules}
        before = set(sys.modules)
        bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        sys.path.insert(0, str(root))
        importlib.invalidate_caches()
        try:
            yield
        finally:
            sys.dont_write_bytecode = bytecode
            sys.path.remove(str(root))
            for name in set(sys.modules) - before:
                if name in names or _belongs(sys.modules[name], root):
                    del sys.modules[name]
            sys.modules.update(set_aside)


def _belongs(module: ModuleType, root: Path) -> bool:
    """Return whether a module is the project's own: below the root, and neither installed there nor Asof itself."""
    place = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    if place is None or not Path(place).is_relative_to(root) or module.__name__.partition(".")[0] == "asof":
        return False
    parts = Path(place).relative_to(root).parts
    return not any(part.startswith(".") or part == "site-packages" for part in parts)


def _explain(error: BaseException, file: Path, root: Path) -> DefinitionError:
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{_display(Path(error.filename), root)}:{error.lineno}"
        return DefinitionError(f"{place}: {error.msg}", fix="Correct the line.")
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(root) or frame.filename == str(file)]
    place = f"{_display(Path(own[-1].filename), root)}:{own[-1].lineno}" if own else _display(file, root)
    if isinstance(error, AsofError):
        return DefinitionError(f"{place}: {error.what}", why=error.why, fix=error.fix)
    line = own[-1].line if own else ""
    return DefinitionError(
        f"{place}: {type(error).__name__}: {error}",
        why=f"It was raised by `{line}`" if line else "",
        fix="Correct the file.",
    )


def _display(file: Path, root: Path) -> str:
    return str(file.relative_to(root) if file.is_relative_to(root) else file)
