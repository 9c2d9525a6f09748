"""A backup gives back what a project held, after everything of it was destroyed."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from asof.errors import ConfigError, ConflictError, InputError, NotFoundError
from tests.moving import shop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asof import FeatureStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """Return a project with rows in all of its stores."""
    with shop.start(tmp_path / "shop") as store:
        shop.fill(store)
        yield store


def test_what_was_destroyed_comes_back(store: FeatureStore, tmp_path: Path) -> None:
    """Values, history, training sets, dead letters and revisions; and it goes on from there."""
    root, kept = store.config.root, tmp_path / "kept"
    store.backup(kept)
    shop.push(store, 30, 40)
    again = store.backup(kept)
    assert again.offline is not None
    assert again.offline.changed == 2  # the entries of two logs
    before, rows, examples = shop.read(store), shop.history(store), store.training_set("first").to_arrow()
    store.close()
    shutil.rmtree(root / ".asof")
    with shop.opened(root) as empty:
        empty.restore(kept)
        assert shop.read(empty) == before
        assert shop.history(empty) == rows
        assert empty.training_set("first").to_arrow() == examples
        assert empty.rebuild_training_set("first").to_arrow() == examples
        assert empty.dead_letters("orders").total == 1
        assert len(empty.revisions()) == 1
        shop.push(empty, 40, 50)
        empty.materialize()
        assert shop.same(empty)
        empty.backup(kept)


def test_a_backup_does_not_replace_what_is_there(store: FeatureStore, tmp_path: Path) -> None:
    """Unless that is asked for: then what came since is gone."""
    store.backup(tmp_path / "kept")
    before = shop.read(store)
    shop.push(store, 30, 40)
    assert shop.read(store) != before
    with pytest.raises(ConflictError, match="holds something"):
        store.restore(tmp_path / "kept")
    store.restore(tmp_path / "kept", overwrite=True)
    assert shop.read(store) == before
    shop.push(store, 30, 40)
    assert shop.same(store)


def test_other_directories_are_no_backups(store: FeatureStore, tmp_path: Path) -> None:
    """Nothing is written to a directory that holds something else, and nothing is read from one without settings."""
    with pytest.raises(NotFoundError):
        store.restore(tmp_path)
    with pytest.raises(InputError, match="no backup"):
        store.backup(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "asof.toml").write_text('project = "bank"\n', encoding="utf-8")
    for use in (store.backup, store.restore):
        with pytest.raises(ConfigError, match="of project 'bank'"):
            use(other)
