"""The door of the server: who asks, and whether this principal may ask this; handlers of values ask again for names."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from asof.errors import AccessDeniedError, AsofError, UnauthenticatedError
from asof.plan.access import Action, Resource
from asof.services.guard import Allowed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from starlette.types import Scope

    from asof.plan.access import Principal
    from asof.services.authenticate import Authenticator
    from asof.services.catalog import Catalog
    from asof.services.guard import Guard

PRINCIPAL = "asof.principal"
_GUARD = "asof.guard"
_HIDDEN = "asof.hidden"
_OPEN = frozenset({"/health", "/ready", "/docs", "/openapi.json"})
_BY_NAME = ("/v1/online-features", "/v1/push", "/v1/registry/", "/get-online-features", "/push")
_WHOLE = frozenset({"/metrics", "/v1/status", "/v1/registry/revisions"})
_BEARER = b"bearer "
_EVERYTHING = Allowed("", frozenset())


class Door:
    """Lets requests in. Their scope then holds the `Principal` under "asof.principal"."""

    def __init__(self, guard: Guard, authenticator: Authenticator, public: Iterable[str] = ()) -> None:
        """Ask everybody who they are, but for the pages that show nothing of the project and those of `public`."""
        self._guard = guard
        self._authenticator = authenticator
        self._open = _OPEN | frozenset(public)
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="asof-door")

    async def refuse(self, scope: Scope) -> AsofError | None:
        """Return why a request is refused, or None; a credential that is remembered costs a look-up."""
        path = scope["path"]
        if path in self._open:
            scope[_HIDDEN] = True
            return None
        credential = _credential(scope)
        try:
            if credential is None:
                raise UnauthenticatedError(
                    "This server asks who you are", fix="Send the header `Authorization: Bearer KEY`."
                )
            principal = self._authenticator.known(credential)
            if principal is None:
                loop = asyncio.get_running_loop()
                principal = await loop.run_in_executor(self._threads, self._authenticator.verify, credential)
            scope[PRINCIPAL], scope[_GUARD] = principal, self._guard
            scope.setdefault("state", {})["client"] = principal.name  # whose budget it is
            if path in _WHOLE:
                self._guard.require(principal, Action.SEE)
            elif not path.startswith(_BY_NAME):  # a route that nobody thought of here is not open to everybody
                self._guard.require(principal, Action.AUDIT)
        except AsofError as error:
            if isinstance(error, UnauthenticatedError):
                client = scope["client"][0] if scope.get("client") else "nowhere"
                self._guard.refused(f"somebody at {client}", "authenticate", path[:100])
            return error
        return None

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False)


def challenge(error: Exception) -> list[tuple[bytes, bytes]]:
    """Return the headers that say how to get in, for what was refused at the door."""
    if isinstance(error, UnauthenticatedError):
        return [(b"www-authenticate", b'Bearer realm="asof"')]
    if isinstance(error, AccessDeniedError):
        return [(b"www-authenticate", b'Bearer realm="asof", error="insufficient_scope"')]
    return []


def reading(scope: Scope, features: str | Sequence[str], catalog: Catalog) -> Allowed:
    """Return what a request may read online, and which columns are masked.

    Raises:
        AccessDeniedError: no rule allows it.
    """
    guard: Guard | None = scope.get(_GUARD)
    if guard is None:
        return _EVERYTHING
    return guard.reading(scope[PRINCIPAL], Action.READ_ONLINE, features, catalog)


def note_read(scope: Scope, allowed: Allowed, keys: int) -> None:
    """Record a read that was answered."""
    guard: Guard | None = scope.get(_GUARD)
    if guard is not None:
        guard.note(scope[PRINCIPAL], Action.READ_ONLINE, allowed.what, keys)


class Pusher:
    """Whoever pushes in a request; also outside of the event loop."""

    def __init__(self, scope: Scope) -> None:
        """Take the principal of a request."""
        self._guard: Guard | None = scope.get(_GUARD)
        self._principal: Principal | None = scope.get(PRINCIPAL)

    def allow(self, source: str, catalog: Catalog) -> None:
        """Return if rows of a source may be pushed; it is in the audit log then.

        Raises:
            AccessDeniedError: no rule allows it.
            StoreError: the log cannot be written.
        """
        if self._guard is not None and self._principal is not None:
            self._guard.require_push(self._principal, source, catalog)
            with self._guard.recording(self._principal, Action.PUSH, [Resource("source", source)]):
                pass


def sees(scope: Any, resource: Resource) -> bool:
    """Return whether a list may name it to whoever asks."""
    guard: Guard | None = scope.get(_GUARD)
    return guard is None or guard.may(scope[PRINCIPAL], Action.SEE, resource)


def require_seen(scope: Any, resource: Resource) -> None:
    """Return if whoever asks may see it.

    Raises:
        AccessDeniedError: no rule allows it, whether it exists or not.
    """
    guard: Guard | None = scope.get(_GUARD)
    if guard is not None:
        guard.require(scope[PRINCIPAL], Action.SEE, (resource,))


def names_hidden(scope: Any) -> bool:
    """Return whether a page that is open to everybody must not name what the project has."""
    return _HIDDEN in scope


def _credential(scope: Scope) -> bytes | None:
    for name, value in scope["headers"]:
        if name == b"authorization":
            found: bytes = value
            return found[len(_BEARER) :].strip() if found[: len(_BEARER)].lower() == _BEARER else b""
    return None
