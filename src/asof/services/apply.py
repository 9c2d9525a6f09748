"""Planning against the registry, and applying a plan as one revision."""

from __future__ import annotations

import getpass
from collections import Counter
from typing import TYPE_CHECKING

from asof.definitions import FrameSource
from asof.errors import DefinitionError, SchemaError
from asof.interfaces.registry import Change, Revision
from asof.plan.diff import make_plan
from asof.plan.registered import NOUNS, encode_spec
from asof.plan.specs import meaning_hash
from asof.services.changed_columns import with_changed_columns
from asof.services.resolve import resolve_definitions

if TYPE_CHECKING:
    from asof.clock import Clock
    from asof.definitions.collection import Definitions
    from asof.interfaces import Registry, Scanner
    from asof.plan.diff import Plan, PlannedChange
    from asof.services.catalog import Catalog

_VERBS = {
    "create": "created",
    "new_version": "got a new version",
    "metadata": "described anew",
    "remove": "removed",
    "restore": "restored",
}


def plan_changes(definitions: Definitions, catalog: Catalog, scanner: Scanner) -> Plan:
    """Return what an apply of these definitions would do to the registry that `catalog` shows.

    Raises:
        DefinitionError: a source is a frame in memory, or a predicate or default cannot be used.
        SourceError, SchemaError: a source cannot be read, or does not fit. Where columns are not as they were at the
            last apply, the error says which.
    """
    for source in definitions.sources:
        if isinstance(source, FrameSource):
            raise DefinitionError(
                f"Source {source.name!r} is a frame in memory, which a registry cannot hold",
                why="Another process could not read it",
                fix="Write it to a file and use FileSource; or pass the views themselves to "
                "get_historical_features, which takes frames.",
            )
    try:
        resolved = resolve_definitions(definitions, scanner)
    except (SchemaError, DefinitionError) as error:
        raise with_changed_columns(error, definitions, catalog, scanner) from error
    sizes = {source.name: scanner.size_bytes(source) for source in resolved.sources}
    return make_plan(catalog.registered(), resolved, sizes)


def apply_plan(registry: Registry, plan: Plan, *, clock: Clock, who: str | None = None, message: str = "") -> Revision:
    """Write a plan as one revision; a plan without changes writes nothing and returns the newest revision.

    Args:
        registry: Where to.
        plan: Made against the registry's newest revision.
        clock: Dates the revision.
        who: Who applies. Default: the operating system's user.
        message: Why. Default: what changed, in words.

    Raises:
        ConflictError: someone applied since the plan was made; nothing is written.
    """
    changes = [change for planned in plan.effective() for change in _writes(planned)]
    if not changes:
        newest = registry.revisions(1)
        return newest[0] if newest else Revision(0, 0, "", "nothing was applied yet")
    return registry.commit(
        plan.expected_revision,
        changes,
        who=who or operating_system_user(),
        at_us=clock.now_us(),
        summary=message or summarize(plan),
    )


def summarize(plan: Plan) -> str:
    """Return what a plan does in a line: "2 views created, 1 service got a new version"."""
    counts = Counter((change.kind, change.action) for change in plan.effective())
    return ", ".join(f"{count} {NOUNS[kind][count != 1]} {_VERBS[action]}" for (kind, action), count in counts.items())


def operating_system_user() -> str:
    """Return the name of the user who runs this process, or "unknown" where it has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _writes(planned: PlannedChange) -> list[Change]:
    if planned.action == "unchanged":
        return []
    if planned.spec is None:
        return [Change("remove", planned.kind, planned.name, version) for version in planned.hides]
    body, meaning = encode_spec(planned.spec), meaning_hash(planned.spec)
    return [Change(planned.action, planned.kind, planned.name, planned.version, body, meaning)]
