"""Who may do what: actions, roles, grants that cover resources, and the one check that denies whatever none allows."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

import msgspec

from asof.errors import AccessDeniedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from asof.plan.registered import Kind

PERSONAL = ("pii", "pii:*")
"""The tags of personal data, where a policy names no others."""


class Action(StrEnum):
    """What a caller can do, as rules, the audit log and messages name it."""

    SEE = "see"
    READ_ONLINE = "read_online"
    READ_HISTORY = "read_history"
    INSPECT = "inspect"
    PUSH = "push"
    MATERIALIZE = "materialize"
    BACKFILL = "backfill"
    APPLY = "apply"
    PRUNE = "prune"
    ERASE = "erase"
    KEYS = "keys"
    AUDIT = "audit"


Role = Literal["reader", "writer", "editor", "admin"]

_READS = frozenset({Action.SEE, Action.READ_ONLINE, Action.READ_HISTORY})
_WRITES = frozenset({Action.SEE, Action.PUSH, Action.MATERIALIZE, Action.BACKFILL})

ROLES: Mapping[Role, frozenset[Action]] = {
    "reader": _READS,
    "writer": _WRITES,
    "editor": _READS | _WRITES | {Action.INSPECT, Action.APPLY},
    "admin": frozenset(Action),
}
"""What each role may do to the resources that its grant covers."""


@dataclass(frozen=True)
class Resource:
    """What is acted on; the whole project has the name "" and is covered by grants without selectors only."""

    kind: Kind | Literal["project"]
    name: str = ""
    tags: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """How messages and the audit log write it: service:fraud."""
        return f"{self.kind}:{self.name}" if self.name else self.kind


PROJECT = Resource("project")


class Grant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A role over some resources of some projects.

    Names and tags are patterns in which `*` stands for anything.

    Attributes:
        role: What may be done.
        projects: Names of projects.
        services: Names of services.
        views: Names of views and on-demand views.
        tags: Of services, views, entities and sources. Without services, views and tags the grant covers all of
            the project; with any, what one of them matches.
        unmask: The tags of personal data that are shown, of what the grant covers.
    """

    role: Role
    projects: tuple[str, ...] = ("*",)
    services: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    unmask: tuple[str, ...] = ()

    def covers(self, project: str, resource: Resource) -> bool:
        """Return whether the grant is about this resource of a project."""
        if not matches(self.projects, project):
            return False
        if not (self.services or self.views or self.tags):
            return True
        if resource.kind == "service" and matches(self.services, resource.name):
            return True
        if resource.kind in ("view", "on_demand") and matches(self.views, resource.name):
            return True
        return any(matches(self.tags, tag) for tag in resource.tags)

    def allows(self, project: str, action: Action, resource: Resource) -> bool:
        """Return whether its role may do this to this resource of a project."""
        return action in ROLES[self.role] and self.covers(project, resource)


@dataclass(frozen=True)
class Principal:
    """Whoever asks, authenticated.

    Attributes:
        name: Names it in the audit log and in budgets: "key:3fa9… (ci)", "user:ada@example.com".
        grants: All of its grants; what none allows is denied.
        expires_us: When it has to authenticate anew; None: never.
        fingerprint: Equal for principals that may do the same; made from the grants.
    """

    name: str
    grants: tuple[Grant, ...]
    expires_us: int | None = None
    fingerprint: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fingerprint", msgspec.json.encode(self.grants).decode())

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Access:
    """The rules of one project.

    Attributes:
        project: Its name.
        personal: Patterns of the tags of personal data.
    """

    project: str
    personal: tuple[str, ...] = PERSONAL

    def may(self, principal: Principal, action: Action, resource: Resource) -> bool:
        """Return whether some grant allows it."""
        return any(grant.allows(self.project, action, resource) for grant in principal.grants)

    def check(self, principal: Principal, action: Action, resources: Iterable[Resource]) -> None:
        """Return if some grant allows the action on each resource; where none is named, on the whole project.

        Raises:
            AccessDeniedError: it is not allowed. The message is the same whether the resource exists or not.
        """
        for resource in tuple(resources) or (PROJECT,):
            if not self.may(principal, action, resource):
                raise denied(principal, action, resource)

    def shows(self, principal: Principal, action: Action, tag: str, resources: Iterable[Resource]) -> bool:
        """Return whether values under a tag are shown where they are read through one of these resources."""
        if not matches(self.personal, tag):
            return True
        reached = tuple(resources)
        return any(
            matches(grant.unmask, tag) and any(grant.allows(self.project, action, one) for one in reached)
            for grant in principal.grants
        )

    def shows_all(self, principal: Principal, action: Action) -> bool:
        """Return whether nothing in the project is masked."""
        return any("*" in grant.unmask and grant.allows(self.project, action, PROJECT) for grant in principal.grants)


def matches(patterns: Iterable[str], name: str) -> bool:
    """Return whether a name fits one of the patterns, in which `*` stands for anything."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def denied(principal: Principal, action: Action, resource: Resource) -> AccessDeniedError:
    """Return the error for what no grant allows."""
    what = f"{resource.kind} {resource.name!r}" if resource.name else "the whole project"
    return AccessDeniedError(
        f"{principal.name} may not {action.replace('_', ' ')} {what}",
        why="No rule allows it",
        fix="Ask an administrator of the project for a key or a role that covers it.",
    )


LOCAL_GRANT = Grant(role="admin", unmask=("*",))
"""Of whoever owns the files of a project on this machine: they can read and change them anyway."""
