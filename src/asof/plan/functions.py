"""User functions as data: a module and a name to import, and a hash of the source; code itself is never stored."""

from __future__ import annotations

import hashlib
import inspect
import linecache
import textwrap
from types import FunctionType
from typing import TYPE_CHECKING

from asof.errors import DefinitionError
from asof.plan.specs import FunctionSpec

if TYPE_CHECKING:
    from collections.abc import Callable


def function_spec(function: Callable[..., object], used_by: str) -> FunctionSpec:
    """Return the reference of a function: `module:name`, and the SHA-256 of its source text.

    The hash covers the function's own text, comments included and indentation left out; what it calls is not part.

    Args:
        function: A named function at the top of a module.
        used_by: What uses it, for messages: "View 'spend'".

    Raises:
        DefinitionError: it is no such function (a lambda, a method, one made inside another function), or its source
            cannot be read.
    """
    if not isinstance(function, FunctionType) or "<" in function.__qualname__ or "." in function.__qualname__:
        shown = getattr(function, "__qualname__", repr(function))
        raise DefinitionError(
            f"{used_by} uses {shown}, which is not a function at the top of a module",
            why="It is stored as a module and a name, so that any process can import it",
            fix="Define it with `def` at the top of a module, and take what it needs as arguments.",
        )
    try:
        linecache.checkcache(function.__code__.co_filename)
        text = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError, SyntaxError) as error:
        raise DefinitionError(
            f"{used_by} uses {function.__qualname__}, whose source cannot be read",
            why=str(error),
            fix="Define it in a Python file.",
        ) from error
    lines = "\n".join(line.rstrip() for line in text.strip().splitlines())
    return FunctionSpec(
        path=f"{function.__module__}:{function.__qualname__}",
        source_hash=hashlib.sha256(lines.encode()).hexdigest(),
    )
