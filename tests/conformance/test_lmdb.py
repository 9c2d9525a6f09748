"""The LMDB store keeps the online store contract, and handles what is particular to a memory-mapped file."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from asof.backends.lmdb import LmdbStore
from asof.backends.lmdb.environment import Environment
from asof.backends.loading import open_online_store
from asof.errors import ConfigError, CorruptDataError, StoreError
from asof.interfaces.online import ViewKey
from asof.testing.conformance.online import OTHER, VIEW, OnlineStoreConformance, fill, values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asof.interfaces import OnlineStore


class TestLmdb(OnlineStoreConformance):
    @pytest.fixture
    def open_store(self, tmp_path: Path) -> Callable[[], OnlineStore]:
        return lambda: open_online_store("lmdb:///.asof/online", tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LmdbStore]:
    store = LmdbStore(tmp_path / "online")
    yield store
    store.close()


@pytest.mark.parametrize("url", ["lmdb://", "lmdb:///", "lmdb://host/path", "lmdb:///x?size=1"])
def test_a_url_that_names_no_directory_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"lmdb:///\.asof/online"):
        open_online_store(url, tmp_path)


def test_four_slashes_are_an_absolute_path(tmp_path: Path) -> None:
    open_online_store(f"lmdb:///{tmp_path}/here", Path("/nowhere")).close()
    assert (tmp_path / "here" / "data.mdb").is_file()


def test_the_map_grows_when_it_is_full(tmp_path: Path) -> None:
    """In the writer, and in a store of another process that mapped the small file."""
    environment = Environment(tmp_path / "online", map_size=2**20)
    environment.close()
    store = LmdbStore(tmp_path / "online")
    store._environment.close()
    store._environment._map_size = 2**20
    store._environment._open(writable=True)
    fill(store, VIEW, {b"a": b"small"})

    context = multiprocessing.get_context("fork")
    ready, grown, answer = context.Event(), context.Event(), context.Queue()

    def read_twice() -> None:
        answer.put(values(store, VIEW, [b"a"]))
        ready.set()
        grown.wait(30)
        answer.put(values(store, VIEW, [b"a", b"0500"]))

    reader = context.Process(target=read_twice)
    reader.start()
    assert ready.wait(30)
    fill(store, VIEW, {b"%04d" % n: b"x" * 10_000 for n in range(1000)}, instant_us=101)
    grown.set()
    assert answer.get(timeout=30) == [b"small"]
    assert answer.get(timeout=30) == [None, b"x" * 10_000]
    reader.join()
    assert store._environment._env.info()["map_size"] > 2**20
    store.close()


def test_a_forked_child_reads_and_writes_and_the_parent_goes_on(store: LmdbStore) -> None:
    fill(store, VIEW, {b"a": b"1"})
    assert values(store, VIEW, [b"a"]) == [b"1"]
    child = os.fork()
    if child == 0:
        try:
            assert values(store, VIEW, [b"a"]) == [b"1"]
            fill(store, VIEW, {b"a": b"2"}, instant_us=200)
            store.close()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert values(store, VIEW, [b"a"]) == [b"2"]
    fill(store, VIEW, {b"a": b"3"}, instant_us=300)
    assert values(store, VIEW, [b"a"]) == [b"3"]


def test_the_file_is_reopened_when_it_has_more_views_than_slots(
    store: LmdbStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store._environment, "_max_databases", 12)
    views = [ViewKey("shop", f"v{n}", 1) for n in range(40)]
    for view in views:
        fill(store, view, {b"a": view.view.encode()})
    found = store.read([(view, [b"a"]) for view in views])
    assert [list(read.values) for read in found] == [[view.view.encode()] for view in views]


def test_a_living_writer_keeps_what_it_wrote_while_others_clean_up(store: LmdbStore) -> None:
    with store.write(VIEW) as slow:
        slow.put(pa.array([b"a"], pa.binary()), pa.array([b"slow"], pa.binary()))
        slow._flush()
        for number in range(3):
            fill(store, OTHER, {b"a": b"%d" % number}, instant_us=number)
        slow.commit(100, 100, "meaning")
    assert values(store, VIEW, [b"a"]) == [b"slow"]


def test_space_is_used_again(store: LmdbStore) -> None:
    """The file of a store that is rewritten stops growing."""
    pairs = {b"%05d" % n: b"x" * 500 for n in range(2000)}
    sizes = []
    for number in range(8):
        fill(store, VIEW, pairs, instant_us=number)
        sizes.append((store._environment.path / "data.mdb").stat().st_size)
    assert sizes[-1] == sizes[3]


def test_a_file_that_is_no_store_is_reported_as_damaged(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"not pages" * 4000)
    with pytest.raises(CorruptDataError, match=r"damaged.*materialize"):
        LmdbStore(tmp_path)


def test_a_truncated_file_is_reported_as_damaged(tmp_path: Path) -> None:
    """Instead of a process that dies of a bus error in the middle of a read."""
    store = LmdbStore(tmp_path)
    fill(store, VIEW, {b"%05d" % n: b"x" * 500 for n in range(2000)})
    store.close()
    os.truncate(tmp_path / "data.mdb", 100_000)
    with pytest.raises(CorruptDataError, match="100000 bytes"):
        LmdbStore(tmp_path)


def test_a_path_that_is_a_file_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "online").write_text("in the way", encoding="utf-8")
    with pytest.raises(StoreError, match="cannot be opened"):
        LmdbStore(tmp_path / "online")
