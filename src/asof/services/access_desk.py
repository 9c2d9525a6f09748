"""What administrators do: make, list and revoke API keys, and look at the audit log."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from asof.clock import as_us
from asof.durations import parse_duration
from asof.errors import InputError, NotFoundError
from asof.plan.access import ROLES, Action, Grant, Resource
from asof.services.audit import AuditLog, verify_chain
from asof.services.caller import local_name
from asof.services.keys import make_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractContextManager
    from typing import Any

    from asof.clock import Clock, Instant
    from asof.durations import Duration
    from asof.interfaces.access import AccessStore, Chained, KeyRecord
    from asof.plan.access import Role
    from asof.services.audit import Verified
    from asof.services.caller import Caller


class AccessDesk:
    """The keys and the audit log of one project; all of it is an administrator's of the whole project."""

    def __init__(self, caller: Caller, store: AccessStore, clock: Clock, *, shared: bool) -> None:
        """Act as `caller`; `shared` says whether others use the registry, who cannot do without keys."""
        self._shared = shared
        self._caller = caller
        self._store = store
        self._clock = clock

    def create_key(
        self,
        name: str,
        *,
        role: Role,
        projects: Iterable[str] = (),
        services: Iterable[str] = (),
        views: Iterable[str] = (),
        tags: Iterable[str] = (),
        unmask: Iterable[str] = (),
        expires: Duration | None = None,
    ) -> tuple[str, KeyRecord]:
        """Make an API key.

        Args:
            name: What it is for.
            role: reader, writer, editor or admin.
            projects: Patterns of projects. Default: all that share this registry.
            services: Patterns of services. Without services, views and tags the key is for the whole project.
            views: Patterns of views and on-demand views.
            tags: Patterns of tags.
            unmask: The tags of personal data that it shows. Default: none.
            expires: How long it is valid, as "90d". Default: until it is revoked.

        Returns:
            The key, which cannot be had again, and what is stored of it.

        Raises:
            InputError: no such role, or an empty name or pattern.
            DefinitionError: `expires` is not a duration.
            UnauthenticatedError, AccessDeniedError: the caller is no administrator of the whole project.
        """
        lists: dict[str, Any] = {"services": services, "views": views, "tags": tags, "unmask": unmask}
        found = {one: tuple(values) for one, values in lists.items() if not isinstance(values, str)}
        projects = () if isinstance(projects, str) else tuple(projects)
        if role not in ROLES or len(found) < len(lists) or not all(map(all, found.values())) or not name.strip():
            raise InputError(
                f"A key {name!r} with role {role!r} cannot be made",
                fix=f"Give a name, a role of {', '.join(ROLES)}, and lists of names.",
            )
        grant = Grant(role=role, projects=projects or ("*",), **found)
        now_us = self._clock.now_us()
        until_us = None if expires is None else now_us + parse_duration(expires, "The life of a key")
        self._caller.require(Action.KEYS)
        if self._shared and not _is_administrator(grant) and not self._store.all_keys():
            raise InputError(
                "The first key of a shared registry is an administrator's",
                why="Once there is a key, whoever has none can do nothing, not even make keys",
                fix="Run `asof key create NAME --role admin` first.",
            )
        key, record = make_key(name, grant, now_us=now_us, expires_us=until_us, who=self._caller.name or local_name())
        with self._recorded(record.id, f"create {name} as {role}"):
            self._store.add_key(record)
        return key, record

    def list_keys(self) -> Sequence[KeyRecord]:
        """Return all keys, revoked and expired ones too, in the order of their making; not the secrets.

        Raises:
            UnauthenticatedError, AccessDeniedError: the caller is no administrator of the whole project.
        """
        self._caller.require(Action.KEYS)
        return self._store.all_keys()

    def revoke_key(self, id: str) -> None:
        """Revoke a key; servers refuse it within two seconds.

        Raises:
            NotFoundError: there is none of that id.
            InputError: it is the last valid key of an administrator of a shared registry.
            UnauthenticatedError, AccessDeniedError: the caller is no administrator of the whole project.
        """
        self._caller.require(Action.KEYS)
        now_us, known = self._clock.now_us(), {key.id: key for key in self._store.all_keys()}
        if id not in known:
            raise NotFoundError(f"There is no key {id!r}", fix="`asof key list` shows the ids of keys.")
        valid = {one.id for one in known.values() if _is_administrator(one.grant) and one.valid_at(now_us)}
        if self._shared and valid == {id}:
            raise InputError(
                f"{id} is the last valid key of an administrator",
                why="Without one, nobody could make or revoke keys",
                fix="Make another one first: `asof key create NAME --role admin`.",
            )
        with self._recorded(id, "revoke"):
            self._store.revoke_key(id, now_us)

    def audit(
        self, *, who: str | None = None, what: str | None = None, since: Instant | None = None, limit: int = 100
    ) -> Sequence[Chained]:
        """Return the newest records of the audit log, newest first.

        Args:
            who: A part of the name of whoever did it.
            what: A part of what it was done to, as "service:fraud".
            since: Records of this instant and later. Default: all.
            limit: How many.

        Raises:
            UnauthenticatedError, AccessDeniedError: the caller is no administrator of the whole project.
        """
        self._caller.require(Action.AUDIT)
        since_us = None if since is None else as_us(since)
        return self._store.audit(who=who, what=what, since_us=since_us, limit=limit)

    def verify_audit(self, head: str | None = None) -> Verified:
        """Check that no record of the audit log was changed or removed.

        Args:
            head: The hash that an earlier verification gave; without one, it is not seen if the newest are removed.

        Raises:
            CorruptDataError: one was.
            UnauthenticatedError, AccessDeniedError: the caller is no administrator of the whole project.
        """
        self._caller.require(Action.AUDIT)
        return verify_chain(self._store, head)

    def _recorded(self, id: str, detail: str) -> AbstractContextManager[None]:
        """Return what a change of a key runs in; the first one is recorded although access is not on yet."""
        key = Resource("project", f"key {id}")
        if self._caller.active:
            return self._caller.records(Action.KEYS, [key], detail)
        AuditLog(self._store, self._clock).change(local_name(), Action.KEYS, key.label, detail=detail)
        return nullcontext()


def _is_administrator(grant: Grant) -> bool:
    return grant.role == "admin" and not (grant.services or grant.views or grant.tags)
