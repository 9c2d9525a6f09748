"""The online store on one Redis or Valkey server: a read is one round trip, whatever the number of views and keys."""

from __future__ import annotations

import dataclasses
import secrets
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import msgspec

from asof.backends.redis import pointers, scripts
from asof.backends.redis.errors import translated
from asof.backends.redis.writer import RedisWriter
from asof.errors import ConflictError, CorruptDataError, StoreError
from asof.interfaces.online import ViewRead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa
    from redis import Redis

    from asof.interfaces.online import Generation, Update, ViewKey

_LEASE_MS = 15_000
_WAIT_S = 60.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.001, 0.05
_TRIES = 100


class RedisStore:
    """An `OnlineStore` on a server that is not part of a cluster; safe with threads, forks and many processes."""

    def __init__(self, client: Redis, where: str) -> None:
        """Use a client; `where` names the server in messages."""
        self._client = client
        self._where = where
        self._read = client.register_script(scripts.READ)
        self._update = client.register_script(scripts.UPDATE)
        self._release = client.register_script(scripts.RELEASE)
        self._renew = client.register_script(scripts.RENEW)
        self._decoded: dict[ViewKey, tuple[bytes, pointers.Pointer]] = {}

    def write(self, view: ViewKey) -> RedisWriter:
        """Begin a generation; leftovers of writers that died are removed."""
        return RedisWriter(self._client, view, self._where)

    def read(self, requests: Sequence[tuple[ViewKey, Sequence[bytes | None]]]) -> list[ViewRead]:
        """Return the values of all requests as of one instant of the store, keys in order; a None key has no value."""
        projects = {view.project for view, _ in requests}
        if len(projects) != 1:
            return [one for request in requests for one in self.read([request])]
        arguments: list[Any] = [len(requests)]
        for view, keys in requests:
            arguments += [pointers.field(view), len(keys)]
            arguments += [pointers.MARK if key is None else key for key in keys]
        with translated(self._where, "be read"):
            answers = self._read(keys=[pointers.pointers_key(projects.pop())], args=arguments)
        return [self._view_read(view, keys, *found) for (view, keys), found in zip(requests, answers, strict=True)]

    def _view_read(
        self, view: ViewKey, keys: Sequence[bytes | None], raw: bytes | None, count: bytes, mark: Any, values: list[Any]
    ) -> ViewRead:
        if raw is None:
            return ViewRead(None, [None] * len(keys))
        if mark is None:
            raise CorruptDataError(
                f"The values of view {view.view}@{view.version} are gone from {self._where}",
                why="The server evicted or lost them",
                fix="Set maxmemory-policy to noeviction, and materialize the view again.",
            )
        known = self._decoded.get(view)
        if known is None or known[0] != raw:
            known = self._decoded[view] = raw, pointers.decode(raw)
        found = (
            values if None not in keys else [v if k is not None else None for k, v in zip(keys, values, strict=True)]
        )
        return ViewRead(known[1].generation(int(count)), found)

    @contextmanager
    def exclusive(self, project: str, source: str) -> Iterator[None]:
        """Hold the lock of a source, renewed while the block runs; it lapses some seconds after its holder dies."""
        key, owner = pointers.lock_key(project, source), secrets.token_bytes(16)
        self._acquire(key, owner, source)
        done = threading.Event()
        renewing = threading.Thread(target=self._keep, args=(key, owner, done), daemon=True)
        renewing.start()
        try:
            yield
        finally:
            done.set()
            renewing.join()
            with translated(self._where, "be written"):
                self._release(keys=[key], args=[owner])

    def _acquire(self, key: bytes, owner: bytes, source: str) -> None:
        until_s, pause_s = time.monotonic() + _WAIT_S, _FIRST_PAUSE_S
        while True:
            with translated(self._where, "be written"):
                if self._client.set(key, owner, nx=True, px=_LEASE_MS):
                    return
            if time.monotonic() > until_s:
                raise StoreError(
                    f"Somebody else has been writing {source!r} for {_WAIT_S:.0f} s",
                    why="Arrivals of one source are taken in by one process at a time",
                    fix="Try again; if it persists, look for a process that hangs.",
                )
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _keep(self, key: bytes, owner: bytes, done: threading.Event) -> None:
        while not done.wait(_LEASE_MS / 3000):
            try:
                with translated(self._where, "be written"):
                    self._renew(keys=[key], args=[owner, _LEASE_MS])
            except StoreError:
                continue  # the lock lapses, and updates of who lost it are refused

    def announce(self, views: Sequence[ViewKey], at_us: int) -> None:
        """Note in the progress of these views that arrivals are on their way; an earlier note stays."""

        def noted(_: ViewKey, pointer: pointers.Pointer) -> pointers.Pointer | None:
            if pointer.progress is None or pointer.progress.pending_us is not None:
                return None
            progress = dataclasses.replace(pointer.progress, pending_us=at_us)
            return msgspec.structs.replace(pointer, progress=progress)

        for project in {view.project for view in views}:
            self._change([view for view in views if view.project == project], noted, {})

    def update(self, updates: Sequence[Update]) -> None:
        """Write all updates in one step."""
        by_view = {change.view: change for change in updates}

        def changed(view: ViewKey, pointer: pointers.Pointer) -> pointers.Pointer:
            change = by_view[view]
            progress = pointer.progress
            if progress is None or pointer.number != change.generation or progress.entry != change.entry:
                raise _replaced(view)
            return msgspec.structs.replace(
                pointer, progress=change.progress, instant_us=max(pointer.instant_us, change.instant_us)
            )

        for project in {view.project for view in by_view}:
            self._change([view for view in by_view if view.project == project], changed, by_view, missing=_replaced)

    def _change(
        self,
        views: Sequence[ViewKey],
        change: Callable[[ViewKey, pointers.Pointer], pointers.Pointer | None],
        updates: dict[ViewKey, Update],
        missing: Callable[[ViewKey], Exception] | None = None,
    ) -> None:
        """Change pointers, and values with them, unless one was changed by somebody else meanwhile: then try again."""
        if not views:
            return
        key = pointers.pointers_key(views[0].project)
        for _ in range(_TRIES):
            with translated(self._where, "be read"):
                raws = self._client.hmget(key, [pointers.field(view) for view in views])
            arguments: list[Any] = []
            count = 0
            for view, raw in zip(views, raws, strict=True):
                if raw is None:
                    if missing is not None:
                        raise missing(view)
                    continue
                changed = change(view, pointers.decode(raw))
                if changed is None:
                    continue
                pairs, gone = _pairs(updates.get(view))
                arguments += [pointers.field(view), raw, pointers.encode(changed), len(pairs) // 2, len(gone)]
                arguments += [*pairs, *gone]
                count += 1
            if not count:
                return
            with translated(self._where, "be written"):
                if self._update(keys=[key], args=[count, *arguments]):
                    return
        raise StoreError(
            f"The views in {self._where} kept changing while they were written", fix="Try again with fewer writers."
        )

    def generations(self, project: str) -> dict[ViewKey, Generation]:
        """Return the current generation of every view version of a project."""
        with translated(self._where, "be read"):
            found = cast("dict[bytes, bytes]", self._client.hgetall(pointers.pointers_key(project)))
        views = {name: view for name in found if (view := pointers.view_of(project, name)) is not None}
        return {
            view: pointers.decode(found[name]).generation(int(found.get(name + b"\2", 0)))
            for name, view in views.items()
        }

    def drop(self, view: ViewKey) -> None:
        """Delete a view version's storage; unknown ones are ignored."""
        key, name = pointers.pointers_key(view.project), pointers.field(view)
        with translated(self._where, "be written"):
            values = self._client.hget(key, name + b"\1")
            self._client.hdel(key, name, name + b"\1", name + b"\2")
            if values is not None:
                self._client.unlink(values)

    def close(self) -> None:
        """Close the connections; more than once is fine."""
        self._client.close()


def _pairs(update: Update | None) -> tuple[list[bytes], list[bytes]]:
    if update is None:
        return [], []
    keys: pa.BinaryArray = update.keys
    values: pa.BinaryArray = update.values
    gone: list[bytes] = []
    if values.null_count:
        gone = keys.filter(values.is_null()).to_pylist()
        keys, values = keys.filter(values.is_valid()), values.filter(values.is_valid())
    pairs: list[bytes] = [b""] * (2 * len(keys))
    pairs[::2], pairs[1::2] = keys.to_pylist(), values.to_pylist()
    return pairs, gone


def _replaced(view: ViewKey) -> ConflictError:
    return ConflictError(
        f"View {view.view}@{view.version} changed while arrivals were taken in",
        why="Somebody else took them in, or switched in another generation",
        fix="Try again.",
    )
