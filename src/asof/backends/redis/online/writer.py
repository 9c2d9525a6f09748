"""Writes one generation into a hash of its own, and switches it in with its pointer, in one step."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

import hiredis
from redis import exceptions

from asof.backends.redis.failures import reading, writing
from asof.backends.redis.online import pointers, scripts
from asof.backends.redis.online.lines import Line
from asof.backends.redis.online.masters import pause
from asof.backends.redis.online.packing import packed_pairs
from asof.backends.redis.online.topology import NotServed
from asof.errors import AsofError, StoreError
from asof.interfaces.generations import later, repeated, with_values

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    import pyarrow as pa

    from asof.backends.redis.online.places import Place
    from asof.interfaces.online import Generation, Progress, ViewKey

_PAIRS = 1000
_WAIT_S = 30.0
_COMMANDS = 16
_DEAD_AFTER_S = 3600.0
_TRIES = 100
_LOST_ANSWERS = 2


class RedisWriter:
    """A `GenerationWriter`. What a writer that died left behind is deleted by the next one, an hour later.

    So is what the server may yet write of one whose connection broke: commands that it had received, but not run.
    """

    def __init__(self, place: Place, view: ViewKey) -> None:
        """Take a new name for the values, and remove what dead writers left."""
        self._place = place
        self._client = client = place.client
        self._view = view
        self._where = place.where
        self._pointers = place.names.pointers(view.project)
        self._writing = place.names.writing(view.project)
        self._name = place.names.values(view, secrets.token_hex(8))
        self._keys = 0  # that were written
        self._puts = 0  # what a server lost at a failover, it lost from the end: the last mark tells
        self._is_lost = False
        self._ended = False
        self._line: Line | None = None
        self._owed = 0  # answers on their way
        self._torn = False  # whether the server may hold commands that it has not run yet
        self._discard = client.register_script(scripts.DISCARD)
        now_s = time.time()
        with writing(self._where):
            client.exists(self._pointers, self._writing, self._name)  # a cluster refuses that before much is written
            for name, seen in client.hgetall(self._writing).items():
                if now_s - float(seen) > _DEAD_AFTER_S:
                    self._discard(keys=[self._writing, name], args=[seen, ""])
            client.hset(self._writing, self._name, str(now_s))
            client.hset(self._name, pointers.MARK, b"0")

    def put(self, keys: pa.BinaryArray, values: pa.BinaryArray) -> None:
        """Write pairs; a null value is skipped. Keys must be unique within the generation, in any order.

        Raises:
            InputError: a key is null or comes twice.
            StoreError: the store failed; nothing of this generation will be seen.
        """
        keys, values = with_values(keys, values)
        added = self._set(keys, values)
        if added != len(keys):
            raise repeated(self._view, len(keys) - added)

    def _set(self, keys: pa.BinaryArray, values: pa.BinaryArray) -> int:
        """Write pairs and return how many of the keys are new."""
        if not len(keys):
            return 0
        self._puts += 1
        until_s = time.monotonic() + _WAIT_S
        tried = 0
        with writing(self._where):
            while True:
                try:
                    added = self._send(keys, values)
                    break
                except NotServed:
                    pause_s = pause(tried)
                    if self._torn or time.monotonic() + pause_s >= until_s:
                        raise
                    time.sleep(pause_s)  # a slot is on its way to another node; writing a pair twice does no harm
                    tried += 1
            if tried:
                added = self._client.hlen(self._name) - 1 - self._keys
        self._keys += added
        return added

    def _send(self, keys: pa.BinaryArray, values: pa.BinaryArray) -> int:
        """Write pairs and the mark behind them; commands follow each other without waiting."""
        added = 0
        mark = hiredis.pack_command((b"HSET", self._name, pointers.MARK, b"%d" % self._puts))  # type: ignore[arg-type]
        self._client.hset(self._writing, self._name, str(time.time()))
        if self._line is None:
            self._line = Line(self._client, time.monotonic() + _WAIT_S)
        line = self._line
        try:
            for start in range(0, len(keys), _PAIRS * _COMMANDS):
                part = slice(start, start + _PAIRS * _COMMANDS)
                sent = packed_pairs(self._name, keys[part], values[part], _PAIRS)
                before, self._owed = self._owed, self._owed + len(sent) // 2
                line.send(b"".join(sent), time.monotonic() + _WAIT_S)
                added += self._received(line, before)
            self._owed += 1
            line.send(mark, time.monotonic() + _WAIT_S)
            added += self._received(line, self._owed - 1)
            self._note(self._received(line, 1))
        except BaseException as error:
            if not (isinstance(error, exceptions.ResponseError | NotServed) and self._is_quiet(line)):
                self._torn = True
            if isinstance(error, exceptions.ConnectionError | exceptions.TimeoutError):
                line.hang_up()
            self._hang_up()
            raise
        return added

    def _note(self, new: int) -> None:
        """Take notice of whether the mark was new, although it was there from the beginning."""
        self._is_lost = self._is_lost or bool(new)

    def _received(self, line: Line, answers: int) -> int:
        """Return how many keys were new to the commands whose answers come next."""
        added = 0
        for _ in range(answers):
            self._owed -= 1
            added += line.receive(time.monotonic() + _WAIT_S)
        return added

    def _is_quiet(self, line: Line) -> bool:
        """Return whether all commands that were sent are answered, so that none runs after the values are deleted."""
        until_s = time.monotonic() + _WAIT_S
        while self._owed:
            self._owed -= 1
            try:
                line.receive(until_s)
            except (exceptions.ResponseError, NotServed):
                continue  # it refused this one, too
            except exceptions.RedisError:
                return False
        return True

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line, self._owed = None, 0

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return what was put of these keys so far, keys in order."""
        found: list[bytes | None] = []
        with reading(self._where):
            for start in range(0, len(keys), _PAIRS):
                found += self._place.lines.ask("HMGET", self._name, *keys[start : start + _PAIRS])
        return found

    def replace(self, keys: pa.BinaryArray, values: pa.BinaryArray) -> None:
        """Write pairs over those that were put; keys are unique within the call, a null value forgets its key."""
        if values.null_count:
            gone = keys.filter(values.is_null()).to_pylist()
            with writing(self._where):
                for start in range(0, len(gone), _PAIRS):
                    self._keys -= self._client.hdel(self._name, *gone[start : start + _PAIRS])
                self._puts += 1
                self._note(self._client.hset(self._name, pointers.MARK, b"%d" % self._puts))
            keys, values = keys.filter(values.is_valid()), values.filter(values.is_valid())
        self._set(keys, values)

    def commit(self, instant_us: int, written_at_us: int, meaning: str, progress: Progress | None = None) -> Generation:
        """Switch the generation in and free the one it replaces, in one step.

        Raises:
            ConflictError: a generation of a later instant was switched in meanwhile; nothing changes.
        """
        name = pointers.field(self._view)
        if self._is_lost:
            raise _lost(self._view)
        place, fields = self._place, (name, name + b"\1", name + b"\2")
        lost_answers = 0
        for _ in range(_TRIES):
            with reading(self._where):
                (raw, values, count), copies = place.look(self._view.project, fields, again=lost_answers > 0)
            current = None if raw is None else pointers.decode(raw)
            if current is not None and values == self._name:
                self._ended = True  # it was switched in, and only the answer was lost
                place.check(copies)
                return current.generation(int(count or 0))
            if current is not None and current.instant_us > instant_us:
                raise later(self._view, current.instant_us, instant_us)
            pointer = pointers.Pointer(
                number=1 if current is None else current.number + 1,
                instant_us=instant_us,
                written_at_us=written_at_us,
                meaning=meaning,
                progress=progress,
            )
            try:
                with writing(self._where):
                    told = raw or b"", pointers.encode(pointer), self._puts
                    named = self._pointers, self._writing, self._name
                    (done, keys), copies = place.change(scripts.SWITCH, scripts.SWITCH_SHA, 3, *named, name, *told)
            except StoreError as error:
                lost_answers += 1
                if not error.retryable or lost_answers > _LOST_ANSWERS:
                    raise
                continue
            if done == 1:
                self._ended = True
                place.check(copies)
                return pointer.generation(keys)
            if done == 2:
                raise _lost(self._view)
        raise StoreError(
            f"View {self._view.view}@{self._view.version} kept changing in {self._where}", fix="Try again."
        )

    def __enter__(self) -> RedisWriter:
        """Start."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Discard what was not committed."""
        self._hang_up()
        if self._ended:
            return
        self._ended = True
        try:
            with writing(self._where):
                self._discard(keys=[self._writing, self._name], args=["", "keep" if self._torn else ""])
        except AsofError:
            pass  # a later writer finds it abandoned and does it


def _lost(view: ViewKey) -> StoreError:
    return StoreError(
        f"What was written of view {view.view}@{view.version} was removed before it was switched in",
        why="The server was emptied or lost its newest writes, or nothing was written for an hour",
        fix="Materialize the view again.",
    )
