"""The audit log: no change is missed, reads cost no write, and what is altered in the database is found."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from asof.backends.loading import open_registry
from asof.clock import FixedClock
from asof.errors import CorruptDataError, StoreError
from asof.services.audit import AuditLog, verify_chain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from asof.interfaces.access import AccessStore, AuditRecord


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AccessStore]:
    registry = open_registry("sqlite:///r.db", tmp_path)
    yield registry.access()
    registry.close()


class Slow:
    """Passes records on once it is let go, and counts the writes."""

    def __init__(self, store: AccessStore) -> None:
        self._store, self.go, self.writes, self.fails = store, threading.Event(), 0, False

    def append(self, records: Sequence[AuditRecord]) -> None:
        self.go.wait(60)
        if self.fails:
            raise StoreError("full")
        self.writes += bool(records)
        self._store.append(records)


def test_changes_of_many_threads_are_all_there_in_few_writes(store: AccessStore) -> None:
    """Those that come while one is being written are written together."""
    slow = Slow(store)
    log = AuditLog(slow, FixedClock(5))  # type: ignore[arg-type]
    with ThreadPoolExecutor(40) as pool:
        running = [pool.submit(log.change, "ada", "push", f"source:{number}") for number in range(40)]
        slow.go.set()
        for one in running:
            one.result()
    assert sorted(one.record.what for one in store.audit()) == sorted(f"source:{number}" for number in range(40))
    assert verify_chain(store).records == 40


def test_a_change_that_cannot_be_recorded_fails(store: AccessStore) -> None:
    """Whoever wanted to make it is told, and so is everybody whose record was in the same write."""
    slow = Slow(store)
    slow.fails = True
    slow.go.set()
    log = AuditLog(slow, FixedClock(5))  # type: ignore[arg-type]
    with pytest.raises(StoreError):
        log.change("ada", "push", "source:orders")
    slow.fails = False
    log.change("ada", "push", "source:people")
    assert [one.record.what for one in store.audit()] == ["source:people"]


def test_reads_are_summed_up(store: AccessStore) -> None:
    """Ten thousand reads are one record with their number and that of their keys."""
    clock = FixedClock(5)
    log = AuditLog(store, clock)
    for _ in range(10_000):
        log.read("ada", "read_online", "service:fraud", 3)
    log.read("bob", "read_online", "service:fraud", outcome="denied")
    assert store.audit() == []
    log.close()
    bob, ada = sorted((one.record for one in store.audit()), key=lambda one: one.who, reverse=True)
    assert (ada.count, ada.keys, ada.at_us, ada.outcome) == (10_000, 30_000, 5, "allowed")
    assert (bob.count, bob.outcome) == (1, "denied")


def test_denials_of_any_number_of_names_are_bounded(store: AccessStore) -> None:
    """Beyond two thousand they are only counted."""
    log = AuditLog(store, FixedClock(5))
    for number in range(5000):
        log.read("eve", "read_online", f"service:{number}", outcome="denied")
    log.close()
    records = [one.record for one in store.audit(limit=10_000)]
    assert len(records) == 2001
    assert sum(one.count for one in records) == 5000


def test_reads_that_could_not_be_written_are_written_later(store: AccessStore) -> None:
    slow = Slow(store)
    slow.go.set()
    log = AuditLog(slow, FixedClock(5))  # type: ignore[arg-type]
    log.read("ada", "read_online", "service:fraud", 3)
    slow.fails = True
    with pytest.raises(StoreError):
        log.flush()
    log.read("ada", "read_online", "service:fraud", 1)
    slow.fails = False
    log.close()
    assert [(one.record.count, one.record.keys) for one in store.audit()] == [(2, 4)]


ALTERED = [
    "UPDATE asof_audit SET who = 'bob' WHERE number = 2",
    "DELETE FROM asof_audit WHERE number = 2",
    "DELETE FROM asof_audit WHERE number = 1",
    "UPDATE asof_audit SET number = number + 10 WHERE number > 1",
    "UPDATE asof_audit SET hash = '' WHERE number = 3",
]


@pytest.mark.parametrize("statement", ALTERED)
def test_what_is_altered_in_the_database_is_found(tmp_path: Path, store: AccessStore, statement: str) -> None:
    """Changed, removed, renumbered."""
    import sqlite3

    log = AuditLog(store, FixedClock(5))
    for number in range(3):
        log.change("ada", "push", f"source:{number}")
    assert verify_chain(store).records == 3
    with sqlite3.connect(tmp_path / "r.db") as connection:
        connection.execute(statement)
    connection.close()
    with pytest.raises(CorruptDataError, match="is not what was written"):
        verify_chain(store)


def test_the_newest_records_are_missed_by_whoever_kept_the_head(tmp_path: Path, store: AccessStore) -> None:
    import sqlite3

    log = AuditLog(store, FixedClock(5))
    log.change("ada", "push", "source:1")
    first = verify_chain(store).head
    log.change("ada", "push", "source:2")
    head = verify_chain(store, first).head
    with sqlite3.connect(tmp_path / "r.db") as connection:
        connection.execute("DELETE FROM asof_audit WHERE number = 2")
    connection.close()
    assert verify_chain(store).head == first
    with pytest.raises(CorruptDataError, match="no record with the hash"):
        verify_chain(store, head)


def test_an_empty_log_verifies(store: AccessStore) -> None:
    found: Any = verify_chain(store)
    assert (found.records, found.head) == (0, "")
