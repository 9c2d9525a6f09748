"""A project's files go to a bucket and back while rows arrive, and its values and training sets stay what they were."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
import pytest

from asof.backends.local.folders import LocalFolders
from asof.backends.objects import open_place
from asof.clock import from_us
from asof.errors import ConflictError, CorruptDataError, InputError, MovedError, StoreError
from asof.services import copy_project
from asof.services.copy_files import FilesCopy, sizes_of
from asof.services.moved import offline_mark
from tests.moving import shop, test_batches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asof import FeatureStore
    from asof.interfaces import Files
    from asof.services.copy_files import ComparedFiles
    from tests.servers.objects import ObjectServer


@pytest.fixture
def store(tmp_path: Path, object_server: ObjectServer) -> Iterator[FeatureStore]:
    """Return a project on local disk, with rows in all of its stores, beside a server of objects."""
    with shop.start(tmp_path / "shop") as store:
        shop.fill(store)
        yield store


def test_files_go_to_a_bucket_and_back_while_rows_arrive(
    store: FeatureStore, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same rows, reads and training sets, rebuilt in each place; those who write to what was left are refused."""
    root, places = store.config.root, [object_server.url(), object_server.url(), "back"]
    untouched = store.training_set("first").to_arrow()
    looks, numbers = FilesCopy.look, iter(range(30, 1000, 5))
    held: list[int] = []

    def look(self: FilesCopy) -> ComparedFiles:
        found = looks(self)
        if not held:  # the last look is made while the sources are held
            at = next(numbers)
            shop.push(store, at, at + 5)
        return found

    turns = copy_project.ProjectCopy._turns

    def turned(self: copy_project.ProjectCopy) -> Any:
        held.append(1)
        return turns(self)

    monkeypatch.setattr(FilesCopy, "look", look)
    monkeypatch.setattr(copy_project.ProjectCopy, "_turns", turned)
    for place in places:
        held.clear()
        with shop.opened(root) as old:
            old.catalog()
            done = store.copy(offline=place, switch=True)
            assert done.offline is not None
            assert done.offline.files == len(sizes_of(store.offline))
            assert shop.same(store)
            with pytest.raises(MovedError, match="was moved to"):
                shop.push(old, 0, 5)
            with pytest.raises(MovedError, match="was moved to"):
                old.delete_training_set("first")
        with shop.opened(root) as other:
            assert other.config.offline == place
            assert other.training_set("first").to_arrow() == untouched
            assert other.rebuild_training_set("first").to_arrow() == untouched
            assert other.dead_letters("orders").total == 1
            at = next(numbers)
            shop.push(other, at, at + 5)
            assert shop.same(other)
    store.materialize()
    assert shop.same(store)


def test_a_training_set_over_a_batch_source_is_rebuilt_in_a_bucket_and_back_on_disk(
    tmp_path: Path, object_server: ObjectServer
) -> None:
    """Although a bucket keeps no times of writing; and nothing is run again."""
    with test_batches.started(tmp_path) as store:
        store.apply()
        done = store.backfill("daily", "2026-01-01")
        made = store.create_training_set("first", "score", test_batches.SPINE).to_arrow()
        for place in (object_server.url(), "two"):
            store.copy(offline=place, switch=True)
            shutil.rmtree(tmp_path / ".asof/offline", ignore_errors=True)
            assert store.rebuild_training_set("first").to_arrow() == made
            assert store.backfill("daily", "2026-01-01").skipped == done.intervals
            again = store.create_training_set(f"at_{len(store.training_sets())}", "score", test_batches.SPINE)
            assert again.to_arrow() == made
            assert (
                again.manifest.inputs[0].files[0].sha256
                == store.training_set("first").manifest.inputs[0].files[0].sha256
            )


def test_a_backup_of_files_in_a_bucket_brings_them_back(
    store: FeatureStore, object_server: ObjectServer, tmp_path: Path
) -> None:
    """Over what came since, which is gone then; a second backup reads only what changed."""
    store.copy(offline=object_server.url(), switch=True)
    store.backup(tmp_path / "kept")
    before, rows = shop.read(store), shop.history(store)
    shop.push(store, 30, 40)
    store.create_training_set("second", "fraud", {**shop.KEYS, "event_timestamp": [from_us(shop.NOW)] * 4})
    with pytest.raises(ConflictError, match="holds something"):
        store.restore(tmp_path / "kept")
    store.restore(tmp_path / "kept", overwrite=True)
    assert (shop.read(store), shop.history(store)) == (before, rows)
    assert [one.name for one in store.training_sets()] == ["first"]
    again = store.backup(tmp_path / "kept")
    assert again.offline is not None
    assert again.offline.changed == 0
    shop.push(store, 30, 40)
    assert shop.same(store)


def test_a_copy_that_breaks_off_goes_on_when_repeated(
    store: FeatureStore, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any of its writes: the project takes rows where it was, and a half is never seen."""
    place, put = object_server.url(), obstore.put
    for victim in (0, 2, 3):
        calls: list[int] = []

        def cut(*arguments: Any, victim: int = victim, calls: list[int] = calls, **named: Any) -> Any:
            calls.append(1)
            if len(calls) > victim:
                raise obstore.exceptions.GenericError("connection closed")
            return put(*arguments, **named)

        with monkeypatch.context() as patch:
            patch.setattr(obstore, "put", cut)
            with pytest.raises(StoreError):
                store.copy(offline=place, switch=True)
        assert shop.same(store)
    assert store.copy(offline=place, switch=True).switched
    shop.push(store, 30, 40)
    assert shop.same(store)


_KILLED = """
import os, signal, sys
from pathlib import Path
import obstore
from tests.moving import shop

root, url, name, victim = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
request, seen = getattr(obstore, name), 0

def killing(*arguments, **named):
    global seen
    seen += 1
    found = request(*arguments, **named)
    if seen == victim:
        os.kill(os.getpid(), signal.SIGKILL)
    return found

setattr(obstore, name, killing)
with shop.opened(root) as store:
    store.copy(offline=url, switch=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("request_", "victim"), [("put", 3), ("delete", 1)])
def test_a_copy_that_is_killed_goes_on_when_repeated(
    store: FeatureStore, object_server: ObjectServer, request_: str, victim: int
) -> None:
    """Amid its files, and after the marks were set but before the settings were: nothing is lost."""
    root, url = store.config.root, object_server.url()
    command = [sys.executable, "-c", _KILLED, str(root), url, request_, str(victim)]
    done = subprocess.run(command, check=False, cwd=Path(__file__).parents[2], timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert "s3:" not in (root / "asof.toml").read_text(encoding="utf-8")
    pushed = 30
    with suppress(MovedError):
        shop.push(store, 30, 40)
        pushed = 40
    assert (pushed == 40) == (request_ == "put")
    assert store.copy(offline=url, switch=True).switched
    shop.push(store, pushed, 50)
    assert shop.same(store)
    assert store.rebuild_training_set("first").to_arrow().num_rows == 4


def test_a_training_set_that_is_deleted_while_it_is_copied_is_not_in_the_copy(
    store: FeatureStore, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether before its files are listed, before they are read, or when the copy has it; nor is a half of it."""
    url, names = object_server.url(), LocalFolders.names
    spine = {**shop.KEYS, "event_timestamp": [from_us(shop.NOW)] * 4}

    def copied(method: str) -> list[str]:
        real = getattr(LocalFolders, method)

        def late(self: LocalFolders, name: str, *arguments: Any) -> Any:
            if name == "second" and name in names(self) and "first" in names(self):
                self.remove(name)
            return real(self, name, *arguments)

        store.create_training_set("second", "fraud", spine)
        with monkeypatch.context() as patch:
            patch.setattr(LocalFolders, method, late)
            store.copy(offline=url)
        return open_place(url, store.config.root).shelf("training_sets").names()

    assert copied("items") == ["first"]
    assert copied("chunks") == ["first"]
    store.create_training_set("second", "fraud", spine)
    store.copy(offline=url)
    store.delete_training_set("second")
    store.copy(offline=url, switch=True)
    assert [one.name for one in store.training_sets()] == ["first"]
    assert sizes_of(store.offline).keys() >= {f"training_sets/first/{file}" for file in ("data.parquet", "spine.arrow")}


def test_what_comes_back_otherwise_is_told(
    store: FeatureStore, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every byte is read again; nothing is switched."""
    put = obstore.put

    def spoiled(client: Any, key: str, data: Any, **named: Any) -> Any:
        return put(client, key, b"spoiled" if "/log/" in f"/{key}" else data, **named)

    with monkeypatch.context() as patch:
        patch.setattr(obstore, "put", spoiled)
        with pytest.raises(CorruptDataError, match="is not what was written"):
            store.copy(offline=object_server.url(), switch=True)
    shop.push(store, 30, 40)
    assert shop.same(store)


def test_a_target_in_a_bucket_is_looked_at_first(store: FeatureStore, object_server: ObjectServer) -> None:
    """One that holds something else is refused, and what a removal left there does not hide what is written."""
    url = object_server.url()
    files: Files = open_place(url, store.config.root).files("log").below("old")
    files.create("a", lambda path: path.write_bytes(b"a"))
    with pytest.raises(ConflictError, match="holds something"):
        store.copy(offline=url)
    files.replace(".removing", lambda path: path.write_bytes(b""))
    store.copy(offline=url)
    target = open_place(url, store.config.root)
    assert sizes_of(target) == sizes_of(store.offline)
    assert "nobody switched to" in (offline_mark(target) or "")
    assert files.find("a") is None
    store.copy(offline=url, switch=True)
    assert offline_mark(target) is None
    with pytest.raises(InputError, match="already"):
        store.copy(offline=f"{url}/")
    with pytest.raises(InputError, match="inside each other"):
        store.copy(offline=f"{url}/deeper")
