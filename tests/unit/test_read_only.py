"""Stores that are opened to be read only: reads go on, nothing is created, and nobody writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asof.backends.loading import open_online_store, open_registry
from asof.clock import FixedClock
from asof.config import load_config
from asof.errors import AsofError, StoreError, UnsupportedOperationError
from asof.interfaces.online import ConversingStore, SnapshotStore, is_in_process
from asof.server.project import Project
from asof.testing.conformance.online import VIEW, fill, values

if TYPE_CHECKING:
    from pathlib import Path

REGISTRY, ONLINE = "sqlite:///registry.db", "lmdb:///online"


def test_nothing_is_created(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        open_registry(REGISTRY, tmp_path, read_only=True)
    with pytest.raises(StoreError, match="no online store"):
        open_online_store(ONLINE, tmp_path, read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_registry_file_refuses_to_be_written_and_shows_what_others_write(tmp_path: Path) -> None:
    writer = open_registry(REGISTRY, tmp_path)
    reader = open_registry(REGISTRY, tmp_path, read_only=True)
    assert reader.revision() == 0
    writer.commit(0, [], who="me", at_us=1, summary="first")
    assert reader.revision() == 1
    with pytest.raises(StoreError, match="readonly"):
        reader.commit(1, [], who="me", at_us=1, summary="second")
    assert writer.revision() == 1
    reader.close()
    writer.close()


def test_a_project_that_is_served_read_only_passes_reads_on_and_refuses_the_rest(tmp_path: Path) -> None:
    (tmp_path / "asof.toml").write_text(
        f'project = "shop"\nregistry = "{REGISTRY}"\nonline = "{ONLINE}"\n', encoding="utf-8"
    )
    open_registry(REGISTRY, tmp_path).close()
    store = open_online_store(ONLINE, tmp_path)
    fill(store, VIEW, {b"k": b"v"})
    project = Project.open(load_config(tmp_path, {}), FixedClock(0), read_only=True)
    assert values(project.online, VIEW, [b"k"]) == [b"v"]
    assert project.online.generations("shop").keys() == {VIEW}
    assert isinstance(project.online, SnapshotStore)
    assert not isinstance(project.online, ConversingStore)
    assert is_in_process(project.online)
    for write in (
        lambda: project.online.write(VIEW),
        lambda: project.online.drop(VIEW),
        lambda: project.registry.commit(0, [], who="me", at_us=1, summary=""),
    ):
        with pytest.raises(UnsupportedOperationError, match="read only"):
            write()
    project.close()
    assert values(store, VIEW, [b"k"]) == [b"v"]
    store.close()


def test_what_cannot_be_opened_read_only_is_explained(tmp_path: Path) -> None:
    (tmp_path / "asof.toml").write_text('project = "shop"\n', encoding="utf-8")
    with pytest.raises(AsofError) as caught:
        Project.open(load_config(tmp_path, {}), FixedClock(0), read_only=True)
    assert caught.value.fix
