"""User functions: referenced by import path and source hash, loaded from the project, refused when they changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asof.errors import DefinitionError
from asof.plan.functions import function_spec
from asof.services.functions import FunctionLoader
from asof.services.project import load_module, project_modules

if TYPE_CHECKING:
    from pathlib import Path

BODY = "def double(x):\n    return 2 * x\n"


def applied(root: Path, body: str = BODY) -> FunctionLoader:
    """Write features.py with `body` and return a new loader, as another process would have."""
    (root / "features.py").write_text(body, encoding="utf-8")
    return FunctionLoader(root, [])


def test_a_function_is_found_by_its_reference(tmp_path: Path) -> None:
    """What is loaded does what was referred to, and a second load is the same object."""
    loader = applied(tmp_path)
    with project_modules(tmp_path, [tmp_path / "features.py"]):
        spec = function_spec(load_module(tmp_path / "features.py", tmp_path).double, "View 'v'")
    assert spec.path == "features:double"
    function = loader.load(spec, "View 'v'")
    assert function(21) == 42
    assert loader.load(spec, "View 'v'") is function


def test_a_changed_body_is_another_function_and_refused(tmp_path: Path) -> None:
    """The hash follows the source text; a loader does not run another body under the old reference."""
    applied(tmp_path)
    with project_modules(tmp_path, [tmp_path / "features.py"]):
        spec = function_spec(load_module(tmp_path / "features.py", tmp_path).double, "View 'v'")
    changed = applied(tmp_path, "def double(x):\n    return x + x\n")
    with pytest.raises(DefinitionError, match="has changed since it was applied"):
        changed.load(spec, "View 'v'")
    gone = applied(tmp_path, "x = 1\n")
    with pytest.raises(DefinitionError, match="cannot be imported"):
        gone.load(spec, "View 'v'")


def test_what_another_process_could_not_import_is_refused() -> None:
    """Lambdas and functions made inside functions have no path."""

    def inner() -> None:
        """Do nothing."""

    for function in (lambda: None, inner, str.upper):
        with pytest.raises(DefinitionError, match="not a function at the top of a module"):
            function_spec(function, "View 'v'")
