"""Imports the functions that specs refer to, from the project's own files or from what is installed."""

from __future__ import annotations

import importlib
import sys
import threading
from typing import TYPE_CHECKING

from asof.errors import AsofError, DefinitionError
from asof.plan.functions import function_spec
from asof.services.project import definition_files, load_module, module_name, project_modules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from asof.plan.specs import FunctionSpec

    Function = Callable[..., object]


class FunctionLoader:
    """Finds functions by reference and refuses those whose source is no longer what was applied. Safe to share."""

    def __init__(
        self, root: Path, patterns: Sequence[str], given: Mapping[FunctionSpec, Function] | None = None
    ) -> None:
        """Import from the definition files of the project at `root`; `given` are functions that need no import."""
        self._root = root
        self._patterns = patterns
        self._found: dict[FunctionSpec, Function] = dict(given or {})
        self._lock = threading.Lock()

    def load(self, spec: FunctionSpec, used_by: str) -> Function:
        """Return the function; it is imported once.

        Raises:
            DefinitionError: it cannot be imported, or its source differs from what was applied.
        """
        with self._lock:
            if spec not in self._found:
                self._found[spec] = self._import(spec, used_by)
            return self._found[spec]

    def _import(self, spec: FunctionSpec, used_by: str) -> Function:
        module, _, name = spec.path.partition(":")
        own = {module_name(file, self._root): file for file in self._files()}
        try:
            with project_modules(self._root, list(own.values())):
                loaded = load_module(own[module], self._root) if module in own else _imported(module)
                function = getattr(loaded, name)
                found = function_spec(function, used_by)
        except AsofError:
            raise
        except Exception as error:
            raise DefinitionError(
                f"{used_by} uses {spec.path}, which cannot be imported",
                why=f"{type(error).__name__}: {error}",
                fix="Put the function back where it was, or change the definition and run `asof apply`.",
            ) from error
        if found.source_hash != spec.source_hash:
            raise DefinitionError(
                f"{used_by} uses {spec.path}, whose source has changed since it was applied",
                why="Another body may give other values under the same version",
                fix="Run `asof apply` for a new version, or restore the body. To change a function that a pinned "
                "version still uses, give the new one another name.",
            )
        return function  # type: ignore[no-any-return]

    def _files(self) -> list[Path]:
        try:
            return definition_files(self._root, self._patterns)
        except AsofError:  # a server may have the registry without the definition files
            return []


def _imported(module: str) -> object:
    return sys.modules.get(module) or importlib.import_module(module)
