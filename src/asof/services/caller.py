"""Who uses the library or the command line, and what they may do: checked where the registry is shared."""

from __future__ import annotations

import contextlib
import getpass
from typing import TYPE_CHECKING

from asof.errors import AccessDeniedError, InputError, UnauthenticatedError
from asof.plan.access import LOCAL_GRANT, Access, Action, Principal, Resource
from asof.services.audit import AuditLog
from asof.services.authenticate import Authenticator
from asof.services.guard import Guard
from asof.services.resources import changed_resources, lost_personal_tags, object_resource

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from asof.clock import Clock
    from asof.interfaces.access import AccessStore, TokenVerifier
    from asof.plan.diff import Plan
    from asof.plan.selection import Selection
    from asof.services.catalog import Catalog

_LOCAL = "sqlite:"
_CREDENTIALS = ("ASOF_API_KEY", "ASOF_TOKEN")
_NOTHING: frozenset[str] = frozenset()


class Caller:
    """Whoever holds a project open in this process; without a guard everything is allowed and nothing recorded."""

    def __init__(self, guard: Guard | None = None, identity: Identity | None = None, log: AuditLog | None = None):
        """Check what `identity` does by `guard`; `log` is closed with this."""
        self._guard = guard
        self._identity = identity
        self._log = log

    @property
    def active(self) -> bool:
        """Whether anything is recorded."""
        return self._guard is not None

    @property
    def name(self) -> str | None:
        """Who it is, or None where nobody asks.

        Raises:
            UnauthenticatedError: no credential is set, or it is not valid.
        """
        return None if self._identity is None else self._identity.principal().name

    def require(self, action: Action, *resources: Resource) -> None:
        """Return if this is allowed on each resource; without any, on the whole project.

        Raises:
            UnauthenticatedError, AccessDeniedError: it is not.
        """
        if self._guard is not None and self._identity is not None:
            self._guard.require(self._identity.principal(), action, resources)

    def sees(self, resource: Resource) -> bool:
        """Return whether a list may name it."""
        if self._guard is None or self._identity is None:
            return True
        return self._guard.may(self._identity.principal(), Action.SEE, resource)

    def reads(self, action: Action, features: str | Sequence[str], catalog: Catalog, keys: int = 0) -> frozenset[str]:
        """Record a read, and return which of its columns are masked.

        Raises:
            UnauthenticatedError, AccessDeniedError: it is not allowed.
        """
        if self._guard is None or self._identity is None:
            return _NOTHING
        principal = self._identity.principal()
        allowed = self._guard.reading(principal, action, features, catalog)
        self._guard.note(principal, action, allowed.what, keys)
        return allowed.masked

    def may_read(self, action: Action, features: str | Sequence[str], catalog: Catalog) -> None:
        """Return if a read is allowed; it is recorded once it is made.

        Raises:
            UnauthenticatedError, AccessDeniedError: it is not.
        """
        if self._guard is not None and self._identity is not None:
            self._guard.reading(self._identity.principal(), action, features, catalog)

    def reads_unregistered(self, selection: Selection, catalog: Catalog) -> frozenset[str]:
        """Record a read of definitions that nobody applied, which can show anything that the sources hold."""
        if self._guard is None or self._identity is None:
            return _NOTHING
        principal = self._identity.principal()
        self._guard.require(principal, Action.INSPECT)
        self._guard.note(principal, Action.INSPECT, "unregistered definitions")
        return self._guard.masked(principal, Action.INSPECT, selection, catalog)

    def reads_whole(self, action: Action, features: str | Sequence[str], catalog: Catalog) -> None:
        """Record a read that shows values as they are; it is refused where some would have to be masked.

        Raises:
            UnauthenticatedError, AccessDeniedError: it is not allowed.
        """
        masked = self.reads(action, features, catalog)
        if masked:
            raise AccessDeniedError(
                f"{self.name} may not see {', '.join(sorted(masked))}",
                why="They are personal data, and what is kept or explained here shows values as they are",
                fix="Ask an administrator for the right to unmask them, or use get_historical_features, which masks.",
            )

    def reads_kept(self, what: str, service: str, catalog: Catalog) -> None:
        """Record a read of what holds a service's values as they are: "training set march", "serving log of fraud@2".

        Raises:
            UnauthenticatedError, AccessDeniedError: it is not allowed.
        """
        if self._guard is None or self._identity is None:
            return
        principal = self._identity.principal()
        if not self._guard.shows_whole(principal, Action.READ_HISTORY, service, catalog):
            self._guard.refused(principal.name, Action.READ_HISTORY, what)
            raise AccessDeniedError(
                f"{principal.name} may not read the {what}",
                why="No rule allows to read all of its service's values",
                fix="Ask an administrator of the project for a key or a role that covers it.",
            )
        self._guard.note(principal, Action.READ_HISTORY, what)

    def sees_whole(self, service: str, catalog: Catalog) -> bool:
        """Return whether a list may show what holds values of a service as they are."""
        if self._guard is None or self._identity is None:
            return True
        return self._guard.shows_whole(self._identity.principal(), Action.READ_HISTORY, service, catalog)

    def changes(
        self, action: Action, resources: Iterable[Resource] = (), detail: str = ""
    ) -> AbstractContextManager[None]:
        """Return what a change runs in: it is checked and recorded before it begins."""
        if self._guard is None or self._identity is None:
            return contextlib.nullcontext()
        return self._guard.changing(self._identity.principal(), action, tuple(resources), detail)

    def records(self, action: Action, resources: Sequence[Resource], detail: str = "") -> AbstractContextManager[None]:
        """Return what a change runs in that was allowed already: it is recorded."""
        if self._guard is None or self._identity is None:
            return contextlib.nullcontext()
        return self._guard.recording(self._identity.principal(), action, resources, detail)

    def may_push(self, source: str, catalog: Catalog) -> None:
        """Return if rows of a source may be pushed.

        Raises:
            UnauthenticatedError, AccessDeniedError: they may not.
        """
        if self._guard is not None and self._identity is not None:
            self._guard.require_push(self._identity.principal(), source, catalog)

    def pushes(self, source: str, catalog: Catalog, detail: str = "") -> AbstractContextManager[None]:
        """Return what a push of rows runs in."""
        if self._guard is None or self._identity is None:
            return contextlib.nullcontext()
        principal = self._identity.principal()
        self._guard.require_push(principal, source, catalog)
        return self._guard.recording(principal, Action.PUSH, [object_resource(catalog, "source", source)], detail)

    def applies(self, plan: Plan, catalog: Catalog) -> AbstractContextManager[None]:
        """Return what an apply runs in; taking a tag of personal data away is an administrator's."""
        changed = changed_resources(catalog, plan)
        if self._guard is None or not changed:
            return contextlib.nullcontext()
        if lost_personal_tags(catalog, plan, self._guard.personal):
            self.require(Action.KEYS)
        return self.changes(Action.APPLY, changed)

    def close(self) -> None:
        """Write what the log still holds in memory."""
        if self._log is not None:
            self._log.close()


class Identity:
    """Tells who a process acts for, each time anew: a revoked key ends long-lived processes, too."""

    def __init__(self, authenticator: Authenticator, environment: Mapping[str, str], *, trusted: bool) -> None:
        """Take the credential from the environment; `trusted` needs none, because the registry is its own file."""
        self._authenticator = authenticator
        given = [environment[name] for name in _CREDENTIALS if environment.get(name)]
        if len(given) > 1:
            raise InputError("ASOF_API_KEY and ASOF_TOKEN are both set", fix="Unset one of them.")
        self._credential = given[0] if given else None
        self._local = Principal(local_name(), (LOCAL_GRANT,)) if trusted else None

    def principal(self) -> Principal:
        """Return who it is.

        Raises:
            UnauthenticatedError: no credential is set, or it is not valid (any more).
        """
        if self._local is not None:
            return self._local
        if self._credential is None:
            raise UnauthenticatedError(
                "This project asks who you are",
                why="Access is on for its registry, and neither ASOF_API_KEY nor ASOF_TOKEN is set",
                fix="Set ASOF_API_KEY to a key that an administrator made: `asof key create`.",
            )
        return self._authenticator.known(self._credential) or self._authenticator.verify(self._credential)


def is_shared(registry_url: str) -> bool:
    """Return whether others than the owner of the project's files use a registry."""
    return not registry_url.startswith(_LOCAL)


def open_caller(
    store: AccessStore,
    access: Access,
    clock: Clock,
    environment: Mapping[str, str],
    *,
    registry_url: str,
    tokens: TokenVerifier | None,
) -> Caller:
    """Return who uses a project whose access is on."""
    log = AuditLog(store, clock)
    trusted = not is_shared(registry_url) or not store.all_keys()  # nobody else can make the first key
    identity = Identity(Authenticator(store, clock, tokens), environment, trusted=trusted)
    return Caller(Guard(access, log), identity, log)


def local_name() -> str:
    """Return how the log names the operating system's user."""
    try:
        return f"local:{getpass.getuser()}"
    except (KeyError, OSError):  # of a container's user without a name
        return "local:unknown"
