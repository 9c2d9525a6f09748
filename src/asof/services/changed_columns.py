"""Adds to an error of planning which columns of which sources are not as they were when they were applied."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from asof.errors import AsofError, sentence
from asof.plan.resolve import SourceSchema, source_spec

if TYPE_CHECKING:
    from asof.definitions.collection import Definitions
    from asof.interfaces import Scanner
    from asof.services.catalog import Catalog

_E = TypeVar("_E", bound=AsofError)


def with_changed_columns(error: _E, definitions: Definitions, catalog: Catalog, scanner: Scanner) -> _E:
    """Return an error of what reads a source that says also what changed in the sources since the last apply.

    The error names who cannot read; the cause may lie in a source further up.
    """
    known = {source.name: {column.name: column.dtype for column in source.columns} for source in catalog.sources()}
    changes = []
    for source in definitions.sources:
        if source.name not in known:
            continue
        try:
            found = SourceSchema.from_arrow(source.name, scanner.schema(source_spec(source))).columns
        except AsofError:  # it is the one that the error tells of, or reads it
            continue
        for name, dtype in known[source.name].items():
            if name not in found:
                changes.append(f"source {source.name!r} lost column {name!r}")
            elif (now := found[name] or "unsupported") != dtype:
                changes.append(f"column {name!r} of source {source.name!r} changed from {dtype} to {now}")
    if not changes:
        return error
    since = "Since the last apply " + ", ".join(changes)
    why = f"{sentence(error.why)} {since}" if error.why else since
    return type(error)(error.what, why=why, fix=error.fix)
