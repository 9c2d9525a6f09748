"""The one place where rights are checked and what is done is recorded, for HTTP, the command line and the library."""

from __future__ import annotations

import contextlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asof.errors import AccessDeniedError, AsofError, NotFoundError
from asof.plan.access import PROJECT, Action, Resource
from asof.plan.masks import masked_columns
from asof.plan.references import parse_feature, parse_object
from asof.services.resources import object_resource, personal_tags, views_over

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from asof.plan.access import Access, Principal
    from asof.plan.selection import Selection
    from asof.plan.specs import OnDemandSpec, ViewSpec
    from asof.services.audit import AuditLog
    from asof.services.catalog import Catalog

    _Asked = tuple[str, Action, str | tuple[str, ...]]

_MOST = 4096


@dataclass(frozen=True)
class Allowed:
    """A read that is allowed.

    Attributes:
        what: How the audit log names it.
        masked: The output columns whose values are not shown.
    """

    what: str
    masked: frozenset[str]


class Guard:
    """Checks and records what principals do to one project. Safe to share between threads."""

    def __init__(self, access: Access, audit: AuditLog) -> None:
        """Allow what the principals' grants say."""
        self._access = access
        self._audit = audit
        # One tuple, so that no thread ever sees one revision's answers beside another's.
        self._memory: tuple[Catalog | None, dict[_Asked, Allowed]] = (None, {})

    @property
    def personal(self) -> tuple[str, ...]:
        """Patterns of the tags of personal data."""
        return self._access.personal

    def may(self, principal: Principal, action: Action, resource: Resource) -> bool:
        """Return whether a principal may do it; records nothing."""
        return self._access.may(principal, action, resource)

    def require(self, principal: Principal, action: Action, resources: Iterable[Resource] = ()) -> None:
        """Return if a principal may do it to each resource; without any, to the whole project. Records a denial.

        Raises:
            AccessDeniedError: no rule allows it.
        """
        for resource in tuple(resources) or (PROJECT,):
            try:
                self._access.check(principal, action, (resource,))
            except AccessDeniedError:
                self._audit.read(principal.name, action, resource.label, outcome="denied")
                raise

    def reading(self, principal: Principal, action: Action, features: str | Sequence[str], catalog: Catalog) -> Allowed:
        """Return what a principal may read of a service or list of features; the answer is remembered.

        A service needs the right to it alone. A list needs the right to every view that is read: those listed, the
        inputs of on-demand views, and those that keys are looked up in.

        Raises:
            AccessDeniedError: no rule allows it; said of a name that does not exist, too, if no rule covers it.
            NotFoundError, InputError: it would be allowed, and cannot be read.
        """
        remembered, known = self._memory
        if catalog is not remembered:
            known = {}
            self._memory = (catalog, known)
        key = (principal.fingerprint, action, features if isinstance(features, str) else tuple(features))
        found = known.get(key)
        if found is None:
            found = self._decide(principal, action, features, catalog)
            if len(known) >= _MOST:
                known.clear()
            known[key] = found
        return found

    def shows_whole(self, principal: Principal, action: Action, service: str, catalog: Catalog) -> bool:
        """Return whether a principal may read a service with nothing masked; records nothing."""
        resource = object_resource(catalog, "service", parse_object(service).name)
        if not self.may(principal, action, resource):
            return False
        try:
            return not self.masked(principal, action, catalog.select(service), catalog, resource)
        except NotFoundError:  # it was pruned, with the tags
            return self._access.shows_all(principal, action)

    def note(self, principal: Principal, action: Action, what: str, keys: int = 0) -> None:
        """Record a read that was allowed; costs a dictionary look-up."""
        self._audit.read(principal.name, action, what, keys)

    def refused(self, who: str, action: str, what: str) -> None:
        """Record an attempt by somebody who could not be authenticated."""
        self._audit.read(who, action, what, outcome="denied")

    def require_push(self, principal: Principal, source: str, catalog: Catalog) -> None:
        """Return if a principal may write rows of a source: it, or every view over it, has to be covered.

        Raises:
            AccessDeniedError: no rule allows it; said of a name that does not exist, too, if no rule covers it.
        """
        own = object_resource(catalog, "source", source)
        over = views_over(catalog, source)
        if not self.may(principal, Action.PUSH, own) and over:
            self.require(principal, Action.PUSH, over)
        else:
            self.require(principal, Action.PUSH, (own,))

    @contextmanager
    def changing(
        self, principal: Principal, action: Action, resources: Sequence[Resource] = (), detail: str = ""
    ) -> Iterator[None]:
        """Run a change that a principal may make; it is in the log before it begins, and again if it fails.

        Raises:
            AccessDeniedError: no rule allows it.
            StoreError: the log cannot be written; nothing is changed.
        """
        self.require(principal, action, resources)
        with self.recording(principal, action, resources, detail):
            yield

    @contextmanager
    def recording(
        self, principal: Principal, action: Action, resources: Sequence[Resource] = (), detail: str = ""
    ) -> Iterator[None]:
        """Run a change that was allowed; it is in the log before it begins, and again if it fails."""
        what = ", ".join(resource.label for resource in resources) or PROJECT.label
        self._audit.change(principal.name, action, what, detail=detail)
        try:
            yield
        except BaseException as error:
            why = error.code if isinstance(error, AsofError) else type(error).__name__
            with contextlib.suppress(AsofError):
                self._audit.change(principal.name, action, what, outcome="failed", detail=why)
            raise

    def masked(
        self, principal: Principal, action: Action, selection: Selection, catalog: Catalog, *through: Resource
    ) -> frozenset[str]:
        """Return the columns of a selection that are masked for a principal who reads it through a resource."""

        def hides(view: ViewSpec | OnDemandSpec, feature: str) -> bool:
            reached = (*through, object_resource(catalog, "view", view.name))
            return any(
                not self._access.shows(principal, action, tag, reached) for tag in personal_tags(catalog, view, feature)
            )

        return masked_columns(selection, hides, catalog.pinned)

    def _decide(self, principal: Principal, action: Action, features: str | Sequence[str], catalog: Catalog) -> Allowed:
        if isinstance(features, str) and ":" not in features:
            service = object_resource(catalog, "service", parse_object(features).name)
            self.require(principal, action, (service,))
            selection = catalog.select(features)
            return Allowed(f"service:{features}", self.masked(principal, action, selection, catalog, service))
        listed = [features] if isinstance(features, str) else list(features)
        named = dict.fromkeys(_view_of(one) for one in listed if isinstance(one, str))
        self.require(principal, action, [object_resource(catalog, "view", name) for name in named])
        selection = catalog.select(features)
        read = [view.name for view in selection.views()]
        if selection.on_demand is not None:
            read += [view.name for view in selection.on_demand.views]
        self.require(principal, action, [object_resource(catalog, "view", name) for name in dict.fromkeys(read)])
        what = ", ".join(f"view:{name}" for name in sorted(named))
        return Allowed(what, self.masked(principal, action, selection, catalog))


def _view_of(text: str) -> str:
    return parse_feature(text).view if ":" in text else parse_object(text).name
