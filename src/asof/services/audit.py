"""The audit log's writer: changes before they are made, reads and denials summed up and written behind them."""

from __future__ import annotations

import contextlib
import logging
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asof.errors import AsofError, CorruptDataError
from asof.interfaces.access import AuditRecord, chain_hash

if TYPE_CHECKING:
    from asof.clock import Clock
    from asof.interfaces.access import AccessStore

FLUSH_S = 15.0
"""How long reads are summed up; what a process that is killed had summed up is lost."""
_MOST = 2000
_OTHERS = "others"
_log = logging.getLogger("asof.audit")


@dataclass
class _Entry:
    record: AuditRecord
    done: bool = False
    error: AsofError | None = None


@dataclass
class _Sum:
    first_us: int
    last_us: int
    count: int = 0
    keys: int = 0


@dataclass(frozen=True)
class Verified:
    """A log whose chain holds.

    Attributes:
        records: How many there are.
        head: The hash of the newest, or "". Written down elsewhere, it shows later that nothing before it was removed.
    """

    records: int
    head: str


@dataclass
class AuditLog:
    """Writes what is done in one process. Safe to share between threads; close it, or the newest reads are lost."""

    store: AccessStore
    clock: Clock
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _writing: threading.Lock = field(default_factory=threading.Lock)
    _pending: list[_Entry] = field(default_factory=list)
    _sums: dict[tuple[str, str, str, str], _Sum] = field(default_factory=dict)
    _closing: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def change(self, who: str, action: str, what: str, *, outcome: str = "allowed", detail: str = "") -> None:
        """Write a record; when this returns it is durable. Those of several threads are written together.

        Raises:
            StoreError: it is not written, so the change must not be made.
        """
        now_us = self.clock.now_us()
        entry = _Entry(AuditRecord(now_us, who, action, what, outcome, until_us=now_us, detail=detail))
        with self._lock:
            self._pending.append(entry)
        with self._writing:
            if not entry.done:
                with self._lock:
                    batch, self._pending = self._pending, []
                try:
                    self.store.append([one.record for one in batch])
                except AsofError as error:
                    for one in batch:
                        one.error = error
                for one in batch:
                    one.done = True
        if entry.error is not None:
            raise entry.error

    def read(self, who: str, action: str, what: str, keys: int = 0, *, outcome: str = "allowed") -> None:
        """Count a read, or an attempt that was denied; it is written within seconds, by another thread."""
        now_us = self.clock.now_us()
        with self._lock:
            key = (who, action, what, outcome)
            found = self._sums.get(key)
            if found is None:
                if len(self._sums) >= _MOST:  # attempts can name anything: beyond that many, they are only counted
                    key = (_OTHERS, action, _OTHERS, outcome)
                found = self._sums.setdefault(key, _Sum(now_us, now_us))
                if self._thread is None and not self._closing.is_set():
                    self._thread = threading.Thread(target=self._run, name="asof-audit", daemon=True)
                    self._thread.start()
            found.count += 1
            found.keys += keys
            found.last_us = now_us

    def flush(self) -> None:
        """Write the reads that are summed up.

        Raises:
            StoreError: they are not written, and kept for the next time.
        """
        with self._lock:
            sums, self._sums = self._sums, {}
        records = [
            AuditRecord(one.first_us, *key, count=one.count, keys=one.keys, until_us=one.last_us)
            for key, one in sums.items()
        ]
        try:
            with self._writing:
                self.store.append(records)
        except AsofError:
            with self._lock:
                for key, one in sums.items():
                    if key not in self._sums and len(self._sums) >= _MOST:
                        key = (_OTHERS, key[1], _OTHERS, key[3])
                    newer = self._sums.setdefault(key, _Sum(one.first_us, one.last_us))
                    newer.first_us = min(newer.first_us, one.first_us)
                    newer.count += one.count
                    newer.keys += one.keys
            raise

    def close(self) -> None:
        """Write what is left."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        with contextlib.suppress(AsofError):
            self._flush_logged()

    def _run(self) -> None:
        while not self._closing.wait(FLUSH_S):
            with contextlib.suppress(AsofError):
                self._flush_logged()

    def _flush_logged(self) -> None:
        try:
            self.flush()
        except AsofError as error:
            _log.error("the audit log cannot be written: %s", error)
            raise


def verify_chain(store: AccessStore, head: str | None = None) -> Verified:
    """Check that every record follows the one before it, unchanged.

    Args:
        store: Holds the log.
        head: A hash from an earlier verification, which must be of a record that is still there.

    Raises:
        CorruptDataError: a record was changed or removed; the message names the first.
    """
    before, number, met = "", 0, not head
    for one in store.chain():
        number += 1
        if one.number != number or one.hash != chain_hash(before, number, one.record):
            raise CorruptDataError(
                f"Record {number} of the audit log is not what was written",
                why="It was changed or removed, or one before it was",
                fix="Compare it with a backup of the registry, and find out who can write to its database.",
            )
        before, met = one.hash, met or one.hash == head
    if not met:
        raise CorruptDataError(
            "The audit log has no record with the hash given",
            why=f"It ends at record {number}; the newest records were removed, or it is another project's log",
            fix="Compare it with a backup of the registry, and find out who can write to its database.",
        )
    return Verified(number, before)
