"""The log in a directory keeps the offline log contract, and says which of its files is damaged or gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from asof.backends.local import log as local_log
from asof.backends.local.disk import DiskFiles
from asof.backends.local.log import LocalLog
from asof.errors import ConflictError, CorruptDataError
from asof.testing.conformance.log import OfflineLogConformance, contents, entry, grow

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from asof.interfaces.log import OfflineLog, SourceLog


class TestLocalLog(OfflineLogConformance):
    @pytest.fixture
    def open_log(self, tmp_path: Path) -> Callable[[], OfflineLog]:
        return lambda: LocalLog(tmp_path)


class TestLocalLogWithoutGrace(TestLocalLog):
    """Files that were joined are deleted at once."""

    @pytest.fixture(autouse=True)
    def _no_grace(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(local_log, "_GRACE_S", -1.0)


def files(directory: Path) -> list[Path]:
    return sorted((directory / "orders").glob("*.parquet"))


@pytest.fixture
def log(tmp_path: Path) -> SourceLog:
    found = LocalLog(tmp_path).of("orders")
    grow(found, 4)
    return found


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def scribble(content: bytes) -> bytes:
    return content[:20] + bytes(255 - byte for byte in content[20:60]) + content[60:]


@pytest.mark.parametrize("damage", [cut, scribble, lambda _: b"", lambda _: b"no such thing" * 100])
def test_a_damaged_file_is_named(log: SourceLog, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    file = files(tmp_path)[2]
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(CorruptDataError, match=file.name):
        contents(log, 0, 4)
    assert contents(log, 0, 2) == [(1, 0), (1, 1), (2, 2), (2, 3)]


def test_a_bit_that_changed_is_noticed(log: SourceLog, tmp_path: Path) -> None:
    number = 0x0102030405060708  # neither the least nor the greatest, which statistics hold, too
    log.append(log.head(), entry([1, number, 2**62]), {"0": 9}, 10)
    file = files(tmp_path)[4]
    content = file.read_bytes()
    assert number.to_bytes(8, "little") in content
    file.write_bytes(content.replace(number.to_bytes(8, "little"), (number ^ 1).to_bytes(8, "little")))
    with pytest.raises(CorruptDataError, match=file.name):
        contents(log, 4, 5)


def test_a_damaged_end_is_named(log: SourceLog, tmp_path: Path) -> None:
    """By whoever asks anew where the log ends."""
    file = files(tmp_path)[3]
    file.write_bytes(cut(file.read_bytes()))
    with pytest.raises(CorruptDataError, match=file.name):
        LocalLog(tmp_path).of("orders").head()


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_file_that_is_gone_is_an_error(log: SourceLog, tmp_path: Path, gone: int) -> None:
    """Never fewer rows."""
    files(tmp_path)[gone].unlink()
    for use in (lambda: contents(log, 0, 4), LocalLog(tmp_path).of("orders").head, log.compact):
        with pytest.raises(CorruptDataError, match=rf"lacks its entr(y|ies) {gone + 1}"):
            use()


def test_an_end_that_is_gone_is_an_error_for_who_knows_of_it(log: SourceLog, tmp_path: Path) -> None:
    files(tmp_path)[3].unlink()
    with pytest.raises(CorruptDataError, match="ends at entry 3"):
        list(log.read(0, 4))
    with pytest.raises(CorruptDataError, match="ends at entry 3"):
        list(log.read(3, 4))


def test_an_append_that_was_cut_off_leaves_nothing(log: SourceLog, tmp_path: Path) -> None:
    """Not even after a while: what a dead process was writing is deleted by those who come later."""
    (tmp_path / "orders" / ".000000000005-000000000005.parquet.host-1.abc.tmp").write_bytes(b"half")
    assert contents(LocalLog(tmp_path).of("orders"), 3, 4) == [(4, 6), (4, 7)]
    assert log.append(log.head(), entry([8]), {"0": 9}, 10).sequence == 5


def test_an_end_is_found_whatever_was_joined_and_deleted_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that stays, because later ones have other columns, is followed by larger ones only."""
    log, idle, late = (LocalLog(tmp_path).of("orders") for _ in range(3))
    grow(log, 2)
    before = idle.head()
    assert late.head() == before
    head = log.head()
    for number in range(64):
        rows = entry([number], new=pa.array(["x"]))
        head = log.append(head, rows, {"0": number}, 100 + number)
    log.compact()
    monkeypatch.setattr(local_log, "_GRACE_S", -1.0)
    assert log.compact() == 64
    assert idle.head() == head
    with pytest.raises(ConflictError):
        late.append(before, entry([1]), {"0": 1}, 1000)
    assert late.head() == log.head() == LocalLog(tmp_path).of("orders").head() == head


def test_a_list_that_lacks_a_file_which_just_came_is_made_again(
    log: SourceLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = DiskFiles(tmp_path / "orders").items()
    listed = [held[:1] + held[2:], held]
    monkeypatch.setattr(DiskFiles, "items", lambda _: listed.pop(0))
    assert LocalLog(tmp_path).of("orders").head() == log.head()
    assert listed == []
