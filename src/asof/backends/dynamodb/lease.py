"""The lock of a source: an item that its holder renews, and that lapses when nobody has seen it change for a while.

No clocks are compared: whoever waits measures with its own how long the item has stayed the same, and takes it over
by a condition on what it saw. Who lost it unawares does no harm: its updates meet other pointers and are refused.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from asof.backends.dynamodb.layout import lock_key
from asof.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asof.backends.dynamodb.connection import Connection

_LEASE_S = 15.0
_WAIT_S = 60.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.005, 0.25


@contextmanager
def held(connection: Connection, project: str, source: str) -> Iterator[None]:
    """Hold the lock of a source within the block, renewed by a thread.

    Raises:
        StoreError: somebody held it for too long.
    """
    lease = _Lease(connection, project, source)
    lease.acquire()
    done = threading.Event()
    renewing = threading.Thread(target=lease.keep, args=(done,), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        done.set()
        renewing.join()
        lease.release()


class _Lease:
    def __init__(self, connection: Connection, project: str, source: str) -> None:
        self._connection = connection
        self._key = lock_key(project, source)
        self._source = source
        self._owner = {"B": secrets.token_bytes(16)}

    def acquire(self) -> None:
        until_s, pause_s = time.monotonic() + _WAIT_S, _FIRST_PAUSE_S
        seen, since_s = self._take(None), time.monotonic()
        while seen is not None:
            if time.monotonic() > until_s:
                raise StoreError(
                    f"Somebody else has been writing {self._source!r} for {_WAIT_S:.0f} s",
                    why="Arrivals of one source are taken in by one process at a time",
                    fix="Try again; if it persists, look for a process that hangs.",
                )
            time.sleep(random.uniform(0, pause_s))  # noqa: S311 - spreads those who wait
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            lapsed = time.monotonic() - since_s > _LEASE_S
            found = self._take(seen if lapsed else None)
            if found != seen:
                seen, since_s = found, time.monotonic()

    def _take(self, lapsed: bytes | None) -> bytes | None:
        """Take the lock where nobody has it or its mark lapsed; return the mark that is in the way."""
        values: dict[str, Any] = {":m": {"B": secrets.token_bytes(16)}, ":o": self._owner}
        condition = "attribute_not_exists(o) OR o = :o"
        if lapsed is not None:
            values[":l"] = {"B": lapsed}
            condition += " OR m = :l"
        done, item = self._connection.update(self._key, "SET o = :o, m = :m", {}, values, condition)
        other: bytes | None = None if done else item["m"]["B"]
        return other

    def keep(self, done: threading.Event) -> None:
        while not done.wait(_LEASE_S / 4):
            values = {":m": {"B": secrets.token_bytes(16)}, ":o": self._owner}
            try:
                self._connection.update(self._key, "SET m = :m", {}, values, "o = :o")
            except StoreError:
                continue  # it lapses if this goes on, and updates of who lost it are refused

    def release(self) -> None:
        self._connection.delete(self._key, "o = :o", {":o": self._owner})
