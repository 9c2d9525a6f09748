"""Logs and dead letters on object storage keep the contracts that they keep on disk, and so does a folder of files."""

from __future__ import annotations

import multiprocessing
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asof.backends.local import log as local_log
from asof.backends.local.deadletters import LocalDeadLetters
from asof.backends.local.disk import DiskPlace
from asof.backends.local.log import LocalLog
from asof.backends.objects import open_place
from asof.testing.conformance.deadletters import DeadLetterConformance
from asof.testing.conformance.files import OfflinePlaceConformance
from asof.testing.conformance.log import OfflineLogConformance, add, contents

if TYPE_CHECKING:
    from collections.abc import Callable

    from asof.interfaces import DeadLetterStore, OfflineLog, OfflinePlace, SourceLog
    from tests.servers.objects import ObjectServer


ENTRIES = 20


def append(url: str, writer: int) -> None:
    """Append rows one by one, and join entries beside."""
    with tempfile.TemporaryDirectory() as root:
        log = LocalLog(open_place(url, Path(root)).files("log")).of("orders")
        for number in range(ENTRIES):
            add(log, number * 3 + writer)
            if writer < 2 and number % 5 == 0:
                log.compact()


class TestObjectLog(OfflineLogConformance):
    grown = (14, 14, 3, 40)

    @pytest.fixture(autouse=True)
    def _few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Join as often as the log of a directory does, after fewer requests."""
        monkeypatch.setattr(local_log, "JOIN_FILES", 8)

    @pytest.fixture
    def open_log(self, object_server: ObjectServer, tmp_path: Path) -> Callable[[], OfflineLog]:
        url = object_server.url()
        return lambda: LocalLog(open_place(url, tmp_path).files("log"))

    def test_processes_append_each_row_once(self, open_log: Callable[[], OfflineLog]) -> None:
        """In processes that are started afresh: the client of object storage does not survive a fork."""
        place = open_log().of("orders")._files.place().rpartition("/log/")[0]  # type: ignore[attr-defined]
        context = multiprocessing.get_context("spawn")
        processes = [context.Process(target=append, args=(place, writer)) for writer in range(3)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
        assert [process.exitcode for process in processes] == [0, 0, 0]
        log = open_log().of("orders")
        rows = contents(log, 0, log.head().sequence)
        assert sorted(number for _, number in rows) == list(range(3 * ENTRIES))
        assert [number for number, _ in rows] == list(range(1, 3 * ENTRIES + 1))

    def test_files_that_were_joined_may_go_at_once(
        self, open_log: Callable[[], OfflineLog], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Readers go on, and so do threads that append."""
        monkeypatch.setattr(local_log, "_GRACE_S", -60.0)
        self.test_threads_append_each_row_once(open_log)
        self.test_joining_changes_nothing_that_is_read(open_log().of("joined"), lambda: Renamed(open_log()))


class Renamed:
    """A log in which orders are another source."""

    def __init__(self, log: OfflineLog) -> None:
        self._log = log

    def of(self, source: str) -> SourceLog:
        return self._log.of("joined")


class TestObjectDeadLetters(DeadLetterConformance):
    @pytest.fixture
    def url(self, object_server: ObjectServer) -> str:
        return object_server.url()

    @pytest.fixture
    def letters(self, url: str, tmp_path: Path) -> DeadLetterStore:
        return LocalDeadLetters(open_place(url, tmp_path).files("deadletter"))

    @pytest.fixture
    def reopen(self, url: str, tmp_path: Path) -> Callable[[], DeadLetterStore]:
        return lambda: LocalDeadLetters(open_place(url, tmp_path).files("deadletter"))


class TestObjectPlace(OfflinePlaceConformance):
    @pytest.fixture
    def open_offline(self, object_server: ObjectServer, tmp_path: Path) -> Callable[[], OfflinePlace]:
        url = object_server.url()
        return lambda: open_place(url, tmp_path)


class TestDiskPlace(OfflinePlaceConformance):
    @pytest.fixture
    def open_offline(self, tmp_path: Path) -> Callable[[], OfflinePlace]:
        return lambda: DiskPlace(tmp_path)
