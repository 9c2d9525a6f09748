"""The online store on Redis or Valkey: a read is one round trip, whatever the number of views and keys."""

from __future__ import annotations

import dataclasses
import secrets
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from asof.backends.redis.failures import reading, writing
from asof.backends.redis.online import pointers, scripts
from asof.backends.redis.online.conversation import RedisConversation
from asof.backends.redis.online.places import Places
from asof.backends.redis.online.scanning import scan
from asof.backends.redis.online.writer import RedisWriter
from asof.circuit import Circuit
from asof.errors import AsofError, ConflictError, CorruptDataError, StoreError
from asof.interfaces.online import ViewRead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa
    from redis import Redis

    from asof.backends.redis.settings import Settings
    from asof.interfaces.online import Generation, Pairs, Update, ViewKey

_LEASE_MS = 15_000
_WAIT_S = 60.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.001, 0.05
_TRIES = 100
_LOST_ANSWERS = 2


class RedisStore:
    """An `OnlineStore` whose projects are each on one server; safe with threads, forks and many processes."""

    def __init__(self, settings: Settings) -> None:
        """Use the server or the cluster that the settings name."""
        self._places = Places(settings)
        self._where = settings.where
        self._converses = not settings.cluster and not settings.url.startswith("rediss:")
        self.circuit = Circuit(f"The online store on {settings.where}", min(settings.budget_s, 1.0))
        self._decoded: dict[ViewKey, tuple[bytes, bytes, Generation]] = {}

    def write(self, view: ViewKey) -> RedisWriter:
        """Begin a generation; leftovers of writers that died are removed.

        Raises:
            UnsupportedOperationError: the server is part of a cluster, and the URL does not say so, or the reverse.
        """
        return RedisWriter(self._places.of(view.project), view)

    def read(self, requests: Sequence[tuple[ViewKey, Sequence[bytes | None]]]) -> list[ViewRead]:
        """Return the values of all requests as of one instant of the store, keys in order; a None key has no value."""
        if len({view.project for view, _ in requests}) != 1:
            return [one for request in requests for one in self.read([request])]
        _, _, *question = self._question(requests)
        with self.circuit, reading(self._where):
            lines = self._places.of(requests[0][0].project).lines
            answers = lines.run(scripts.READ, scripts.READ_SHA, *question, whole=_is_whole)
        return self._views(requests, answers)

    def converse(self) -> RedisConversation | None:
        """Return a connection for reads without waiting.

        None where it is encrypted, which takes turns of its own, or in a cluster, where nodes send one to others.
        """
        if not self._converses:
            return None
        return RedisConversation(self._places.of("").client, self._where, self._question, self._views)

    def _question(self, requests: Sequence[tuple[ViewKey, Sequence[bytes | None]]]) -> tuple[Any, ...]:
        """Return the command that reads requests of one project."""
        arguments: list[Any] = [len(requests)]
        for view, keys in requests:
            arguments += (pointers.field(view), len(keys) + 1, pointers.MARK)
            arguments += keys if None not in keys else [pointers.MARK if key is None else key for key in keys]
        project = requests[0][0].project
        return "EVALSHA", scripts.READ_SHA, 1, self._places.of(project).names.pointers(project), *arguments

    def _views(
        self, requests: Sequence[tuple[ViewKey, Sequence[bytes | None]]], answers: Sequence[Any]
    ) -> list[ViewRead]:
        return [self._view_read(view, keys, *found) for (view, keys), found in zip(requests, answers, strict=True)]

    def _view_read(
        self,
        view: ViewKey,
        keys: Sequence[bytes | None],
        raw: bytes | None,
        count: bytes | None,
        *chunks: list[bytes | None],
    ) -> ViewRead:
        if raw is None or count is None:
            return ViewRead(None, [None] * len(keys))
        values = chunks[0] if len(chunks) == 1 else [value for chunk in chunks for value in chunk]
        if values[0] is None:
            raise _gone(view, self._where)
        del values[0]
        if None in keys:
            values = [value if key is not None else None for key, value in zip(keys, values, strict=True)]
        known = self._decoded.get(view)
        if known is None or known[0] != raw or known[1] != count:
            known = self._decoded[view] = raw, count, pointers.decode(raw).generation(int(count))
        return ViewRead(known[2], values)

    @contextmanager
    def exclusive(self, project: str, source: str) -> Iterator[None]:
        """Hold the lock of a source, renewed while the block runs; it lapses some seconds after its holder dies."""
        place, owner = self._places.of(project), secrets.token_bytes(16)
        key = place.names.lock(project, source)
        self._acquire(place.client, key, owner, source)
        done = threading.Event()
        renewing = threading.Thread(target=self._keep, args=(place.client, key, owner, done), daemon=True)
        renewing.start()
        try:
            yield
        finally:
            done.set()
            renewing.join()
            with writing(self._where):
                place.client.register_script(scripts.RELEASE)(keys=[key], args=[owner])

    def _acquire(self, client: Redis, key: bytes, owner: bytes, source: str) -> None:
        until_s, pause_s = time.monotonic() + _WAIT_S, _FIRST_PAUSE_S
        while True:
            with writing(self._where):
                if client.set(key, owner, nx=True, px=_LEASE_MS):
                    return
            if time.monotonic() > until_s:
                raise StoreError(
                    f"Somebody else has been writing {source!r} for {_WAIT_S:.0f} s",
                    why="Arrivals of one source are taken in by one process at a time",
                    fix="Try again; if it persists, look for a process that hangs.",
                )
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _keep(self, client: Redis, key: bytes, owner: bytes, done: threading.Event) -> None:
        renew = client.register_script(scripts.RENEW)
        while not done.wait(_LEASE_MS / 3000):
            try:
                with writing(self._where):
                    renew(keys=[key], args=[owner, _LEASE_MS])
            except AsofError:
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
        project = views[0].project
        place = self._places.of(project)
        key = place.names.pointers(project)
        sent: dict[ViewKey, bytes] = {}
        lost_answers = 0
        for _ in range(_TRIES):
            with reading(self._where):
                raws, copies = place.look(project, [pointers.field(view) for view in views], again=bool(sent))
            seen = dict(zip(views, raws, strict=True))
            if sent and all(seen[view] == raw for view, raw in sent.items()):
                place.check(copies)
                return  # it was written, and only the answer was lost
            sent = {}
            arguments: list[Any] = []
            for view, raw in seen.items():
                if raw is None:
                    if missing is not None:
                        raise missing(view)
                    continue
                changed = change(view, pointers.decode(raw))
                if changed is None:
                    continue
                sent[view] = pointers.encode(changed)
                pairs, gone = _pairs(updates.get(view))
                arguments += [pointers.field(view), raw, sent[view], len(pairs) // 2, len(gone)]
                arguments += [*pairs, *gone]
            if not sent:
                return
            try:
                with writing(self._where):
                    done, copies = place.change(scripts.UPDATE, scripts.UPDATE_SHA, 1, key, len(sent), *arguments)
            except StoreError as error:
                lost_answers += 1
                if not error.retryable or lost_answers > _LOST_ANSWERS:
                    raise
                continue
            if done == 1:
                place.check(copies)
                return
            if done < 0:
                raise _gone(list(sent)[-done - 1], self._where)
            sent = {}
        raise StoreError(
            f"The views in {self._where} kept changing while they were written", fix="Try again with fewer writers."
        )

    def generations(self, project: str) -> dict[ViewKey, Generation]:
        """Return the current generation of every view version of a project."""
        with reading(self._where):
            place = self._places.of(project)
            flat = place.lines.ask("HGETALL", place.names.pointers(project))
        found: dict[bytes, bytes] = dict(zip(flat[::2], flat[1::2], strict=True))
        views = {name: view for name in found if (view := pointers.view_of(project, name)) is not None}
        return {
            view: pointers.decode(found[name]).generation(int(found.get(name + b"\2", 0)))
            for name, view in views.items()
        }

    def scan(self, view: ViewKey) -> Iterator[Pairs]:
        """Yield all keys of the current generation with their values, unordered."""
        return scan(self._places.of(view.project), view)

    def drop(self, view: ViewKey) -> None:
        """Delete a view version's storage; unknown ones are ignored."""
        place = self._places.of(view.project)
        key, name = place.names.pointers(view.project), pointers.field(view)
        drop = place.client.register_script(scripts.DROP)
        with writing(self._where):
            while not drop(keys=[key], args=[name, place.client.hget(key, name + b"\1") or b""]):
                continue  # another generation was switched in since

    def close(self) -> None:
        """Close the connections; more than once is fine."""
        self._places.close()


def _is_whole(answers: list[list[Any]]) -> bool:
    """Return whether a node has the values that its pointers name, or may not have got them yet."""
    return all(raw is None or chunks[0][0] is not None for raw, _, *chunks in answers)


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


def _gone(view: ViewKey, where: str) -> CorruptDataError:
    return CorruptDataError(
        f"The values of view {view.view}@{view.version} are gone from {where}",
        why="The server evicted or lost them",
        fix="Set maxmemory-policy to noeviction, and materialize the view again.",
    )
