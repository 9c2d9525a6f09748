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

    from asof.interfaces import DeadLetterStore, OfflineLog, OfflinePlace
    from tests.servers.objects import ObjectServer


def append(url: str, writer: int) -> None:
    """Append rows one by one, and join entries beside."""
    with tempfile.TemporaryDirectory() as root:
        log = LocalLog(open_place(url, Path(root)).files("log")).of("orders")
        for number in range(30):
            add(log, number * 3 + writer)
            if writer < 2 and number % 5 == 0:
                log.compact()


class TestObjectLog(OfflineLogConformance):
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
        assert sorted(number for _, number in rows) == list(range(90))
        assert [number for number, _ in rows] == list(range(1, 91))


class TestObjectLogWithoutGrace(TestObjectLog):
    """Files that were joined are deleted at once."""

    @pytest.fixture(autouse=True)
    def _no_grace(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(local_log, "_GRACE_S", -60.0)


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
