"""What every offline log must do; subclass `OfflineLogConformance` and give it an `open_log` fixture."""

from __future__ import annotations

import multiprocessing
import threading
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from asof.definitions.streams import ARRIVED_AT
from asof.errors import ConflictError
from asof.interfaces.log import ENTRY, PARTITION, POSITION, LogHead

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asof.interfaces.log import OfflineLog, SourceLog


def entry(numbers: Sequence[int], partition: str = "0", at_us: int = 1, **columns: pa.Array) -> pa.Table:
    """Return rows of a source with a column `n`, as they are appended; their numbers are their positions."""
    return pa.table(
        {
            "n": pa.array(numbers, pa.int64()),
            **columns,
            ARRIVED_AT: pa.array([at_us] * len(numbers), pa.timestamp("us", "UTC")),
            PARTITION: pa.array([partition] * len(numbers), pa.string()),
            POSITION: pa.array(numbers, pa.int64()),
        }
    )


def grow(log: SourceLog, entries: int, rows: int = 2) -> LogHead:
    """Append so many entries of so many rows, numbered through."""
    head = log.head()
    for _ in range(entries):
        start = head.rows
        at_us = max(head.last_us, 0) + 1
        head = log.append(head, entry(range(start, start + rows), at_us=at_us), {"0": start + rows}, at_us)
    return head


def add(log: SourceLog, number: int) -> None:
    """Append one row after whatever others append."""
    while True:
        head = log.head()
        try:
            log.append(head, entry([number], at_us=head.sequence + 1), {"0": head.rows + 1}, head.sequence + 1)
        except ConflictError:
            continue
        return


def contents(log: SourceLog, after: int, until: int) -> list[tuple[int, int]]:
    """Return the entry and the number of each row between two entries, as they are read."""
    found = []
    last = after
    for end, rows in log.read(after, until):
        assert last < end <= until, "each is told with the number of its last entry"
        numbers = rows.column(ENTRY).to_pylist()
        assert all(last < number <= end for number in numbers)
        found += list(zip(numbers, rows.column("n").to_pylist(), strict=True))
        last = end
    assert last == until, "all entries are told, those without rows, too"
    return found


class OfflineLogConformance:
    """Behaviour that services rely on.

    Attributes:
        grown: How many entries are appended before each joining; the first six more than a log joins into one file.
    """

    grown: ClassVar[tuple[int, ...]] = (70, 70, 3, 200)

    @pytest.fixture
    def open_log(self) -> Callable[[], OfflineLog]:
        """Return a function that opens the same, initially empty storage; more than one may be open."""
        raise NotImplementedError("give an `open_log` fixture")

    @pytest.fixture
    def log(self, open_log: Callable[[], OfflineLog]) -> SourceLog:
        """Return the empty log of a source."""
        return open_log().of("orders")

    def test_a_log_that_nothing_was_appended_to_is_empty(self, log: SourceLog) -> None:
        """And there is nothing to join."""
        assert log.head() == LogHead()
        assert list(log.read(0, 0)) == []
        assert log.compact() == 0

    def test_an_append_returns_the_end_that_everybody_sees(
        self, log: SourceLog, open_log: Callable[[], OfflineLog]
    ) -> None:
        """The number rises by one, and positions that did not move stay."""
        other = open_log().of("orders")
        first = log.append(LogHead(), entry([0, 1], at_us=5), {"0": 2, "1": 7}, 5)
        assert (first.sequence, dict(first.positions), first.last_us, first.rows) == (1, {"0": 2, "1": 7}, 5, 2)
        assert log.head() == other.head() == first
        second = other.append(first, entry([2], at_us=6), {"0": 3}, 6)
        assert (second.sequence, dict(second.positions), second.last_us, second.rows) == (2, {"0": 3, "1": 7}, 6, 3)
        assert log.head() == other.head() == open_log().of("orders").head() == second

    def test_an_entry_may_have_no_rows(self, log: SourceLog) -> None:
        """It moves positions, past messages that were set apart."""
        head = grow(log, 1)
        head = log.append(head, entry([]), {"0": 9}, 10)
        assert (head.sequence, dict(head.positions), head.rows) == (2, {"0": 9}, 2)
        assert contents(log, 0, 2) == [(1, 0), (1, 1)]
        assert contents(log, 1, 2) == []

    def test_of_two_appends_after_one_end_the_second_is_refused(
        self, log: SourceLog, open_log: Callable[[], OfflineLog]
    ) -> None:
        """Nothing of it is added, and it can be appended after the new end."""
        other = open_log().of("orders")
        head = grow(log, 3)
        assert other.head() == head
        after = log.append(head, entry([6]), {"0": 7}, 10)
        for late in (other, log):
            with pytest.raises(ConflictError):
                late.append(head, entry([60, 61]), {"0": 62}, 11)
        assert log.head() == other.head() == after
        assert contents(other, 3, 4) == [(4, 6)]
        assert other.append(other.head(), entry([7]), {"0": 8}, 11).sequence == 5

    def test_ranges_of_entries_are_read_in_order(self, log: SourceLog) -> None:
        """After one number and up to another, whatever the cut."""
        grow(log, 10, rows=3)
        rows = [(number // 3 + 1, number) for number in range(30)]
        for after in range(11):
            for until in range(after, 11):
                assert contents(log, after, until) == [row for row in rows if after < row[0] <= until]

    def test_values_come_back_as_they_were(self, log: SourceLog) -> None:
        """In their types, nulls included, with the moment of arrival and where they came from."""
        types = {
            "text": pa.array(["a", None, ""], pa.string()),
            "exact": pa.array([Decimal("1.5"), None, Decimal(-3)], pa.decimal128(20, 2)),
            "time": pa.array([0, None, -1], pa.timestamp("us", "UTC")),
            "bytes": pa.array([b"\0", None, b""], pa.binary()),
            "flag": pa.array([True, None, False]),
            "float": pa.array([0.1, None, float("inf")]),
            "list": pa.array([["a"], None, []], pa.list_(pa.string())),
        }
        rows = entry([4, 5, 6], partition="topic-3", at_us=77, **types)
        log.append(LogHead(), rows, {"topic-3": 7}, 77)
        [(_, found)] = list(log.read(0, 1))
        assert found.drop_columns([ENTRY]).to_pylist() == rows.to_pylist()
        assert {name: found.schema.field(name).type for name in types} == {n: a.type for n, a in types.items()}

    def test_columns_that_an_older_entry_lacks_are_null(self, log: SourceLog) -> None:
        """Whether it was joined with later ones or not."""
        head = grow(log, 70, rows=1)
        log.append(head, entry([70], new=pa.array(["x"], pa.string())), {"0": 71}, 1000)
        for _ in range(2):
            tables = [rows for _, rows in log.read(68, 71)]
            rows = pa.concat_tables(tables, promote_options="permissive")
            assert rows.column("new").to_pylist() == [None, None, "x"]
            log.compact()

    def test_joining_changes_nothing_that_is_read(self, log: SourceLog, open_log: Callable[[], OfflineLog]) -> None:
        """Those who had the log open go on, as do appends, again and again."""
        old = open_log().of("orders")
        for entries in self.grown:
            head = grow(log, entries)
            assert old.head() == head
            log.compact()
            assert open_log().of("orders").head() == log.head() == old.head() == head
            rows = [(number // 2 + 1, number) for number in range(head.rows)]
            for after in (0, 1, self.grown[0] - 7, self.grown[0] - 6, self.grown[0] - 5, head.sequence - 1):
                assert contents(old, after, head.sequence) == rows[2 * after :]
        assert old.append(old.head(), entry([1000]), {"0": 1001}, 10_000) == log.head()

    def test_erased_rows_are_gone_and_entries_stay(self, log: SourceLog, open_log: Callable[[], OfflineLog]) -> None:
        """Of single and of joined files; who had the log open goes on with the number and the position that follow."""
        before = grow(log, 70)
        log.compact()
        old = open_log().of("orders")
        assert old.head() == before
        gone = [0, 1, 7, 139]  # all of the first entry, and the last row of the newest
        for _ in range(2):
            log.erase(lambda rows: pc.is_in(rows.column("n"), pa.array(gone)))
            after = open_log().of("orders").head()
            assert after == replace(before, rows=136) == log.head() == old.head()
            rows = [(number // 2 + 1, number) for number in range(140) if number not in gone]
            assert contents(old, 0, 70) == rows
        assert old.append(old.head(), entry([140], at_us=100), {"0": 141}, 100).rows == 137
        log.erase(lambda rows: pa.chunked_array([pa.repeat(pa.scalar(True), rows.num_rows)]))
        assert log.head() == replace(before, sequence=71, positions={"0": 141}, last_us=100, rows=0)
        assert contents(log, 0, 71) == []

    def test_logs_of_sources_are_apart(self, log: SourceLog, open_log: Callable[[], OfflineLog]) -> None:
        """Whatever they are called."""
        grow(log, 2)
        other = open_log().of("orders2")
        assert other.head() == LogHead()
        grow(other, 1)
        assert (log.head().sequence, other.head().sequence) == (2, 1)

    def test_threads_append_each_row_once(self, open_log: Callable[[], OfflineLog]) -> None:
        """Those who were too late try again, while somebody joins entries."""
        writers = 4

        def write(writer: int) -> None:
            log = open_log().of("orders")
            for number in range(25):
                add(log, number * writers + writer)

        threads = [threading.Thread(target=write, args=(writer,)) for writer in range(writers)]
        for thread in threads:
            thread.start()
        log = open_log().of("orders")
        while any(thread.is_alive() for thread in threads):
            log.compact()
            head = log.head()
            assert len(contents(log, 0, head.sequence)) == head.rows
        for thread in threads:
            thread.join()
        rows = contents(log, 0, log.head().sequence)
        assert sorted(number for _, number in rows) == list(range(100))
        assert [number for number, _ in rows] == list(range(1, 101))

    def test_processes_append_each_row_once(self, open_log: Callable[[], OfflineLog]) -> None:
        """As threads do; two join entries at the same time."""
        context = multiprocessing.get_context("fork")

        def write(writer: int) -> None:
            log = open_log().of("orders")
            for number in range(50):
                add(log, number * 3 + writer)
                if writer < 2 and number % 5 == 0:
                    log.compact()

        processes = [context.Process(target=write, args=(writer,)) for writer in range(3)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
        assert [process.exitcode for process in processes] == [0, 0, 0]
        log = open_log().of("orders")
        rows = contents(log, 0, log.head().sequence)
        assert sorted(number for _, number in rows) == list(range(150))
        assert [number for number, _ in rows] == list(range(1, 151))
