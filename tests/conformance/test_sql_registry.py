"""The SQL registry on SQLite keeps the registry contract, and explains what a damaged or full disk does to it."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from asof.backends.loading import open_registry
from asof.backends.sql import migrations
from asof.errors import ConfigError, CorruptDataError, StoreError, StoreFullError
from asof.testing.conformance.registry import RegistryConformance, change, commit, ran

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from asof.interfaces import Registry

URL = "sqlite:///.asof/registry.db"


class TestSqliteRegistry(RegistryConformance):
    @pytest.fixture
    def registry(self, tmp_path: Path) -> Iterator[Registry]:
        registry = open_registry(URL, tmp_path)
        yield registry
        registry.close()

    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Callable[[], Registry]:
        return lambda: open_registry(URL, tmp_path)


def test_three_slashes_are_below_the_root_and_four_are_absolute(tmp_path: Path) -> None:
    open_registry("sqlite:///a/b.db", tmp_path / "root").close()
    open_registry(f"sqlite:///{tmp_path}/c.db", tmp_path / "root").close()
    assert (tmp_path / "root/a/b.db").is_file()
    assert (tmp_path / "c.db").is_file()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:registry.db", "nosql:///x"])
def test_a_url_without_a_file_or_backend_is_a_config_error(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError):
        open_registry(url, tmp_path)


def test_a_registry_of_a_newer_layout_says_what_to_run(tmp_path: Path) -> None:
    open_registry("sqlite:///r.db", tmp_path).close()
    with sqlite3.connect(tmp_path / "r.db") as connection:
        connection.execute("UPDATE asof_schema SET version = 99")
    connection.close()
    with pytest.raises(CorruptDataError, match=r"layout 99.*pip install --upgrade asof"):
        open_registry("sqlite:///r.db", tmp_path)


def test_a_file_that_is_no_database_is_reported_as_damaged(tmp_path: Path) -> None:
    (tmp_path / "r.db").write_bytes(b"these are not the pages you are looking for" * 100)
    with pytest.raises(CorruptDataError, match=r"r\.db cannot be used.*backup"):
        open_registry("sqlite:///r.db", tmp_path)


def test_overwritten_pages_are_reported_as_damaged(tmp_path: Path) -> None:
    registry = open_registry("sqlite:///r.db", tmp_path)
    for number in range(20):
        commit(registry, number, change("create", f"v{number}", body="x" * 5000))
    registry.close()
    data = bytearray((tmp_path / "r.db").read_bytes())
    data[4096:] = b"\xde\xad" * ((len(data) - 4096) // 2)
    (tmp_path / "r.db").write_bytes(data)
    with pytest.raises(CorruptDataError):
        open_registry("sqlite:///r.db", tmp_path).snapshot()


def test_a_directory_in_the_place_of_the_file_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "r.db").mkdir()
    with pytest.raises(StoreError, match=r"r\.db cannot be used"):
        open_registry("sqlite:///r.db", tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be made"):
        open_registry("sqlite:///file/r.db", tmp_path)


def test_a_full_disk_is_named_and_loses_nothing(tmp_path: Path) -> None:
    """The page limit makes SQLite refuse exactly as it does when the disk has no room."""

    def limit(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA max_page_count=20").close()

    sa.event.listen(sa.Engine, "connect", limit)
    try:
        registry = open_registry("sqlite:///r.db", tmp_path)
        commit(registry, 0, change("create", "small", body="x"))
        with pytest.raises(StoreFullError, match="disk space"):
            commit(registry, 1, change("create", "small2", body="x"), change("create", "large", body="x" * 200_000))
        assert registry.revision() == 1
        assert [name for _, name, _ in registry.snapshot().objects] == ["small"]
        registry.close()
    finally:
        sa.event.remove(sa.Engine, "connect", limit)


@pytest.mark.parametrize("ledger", ["with", "without"])
def test_a_registry_of_layout_1_is_upgraded_with_all_it_holds(tmp_path: Path, ledger: str) -> None:
    """At first there was no run ledger, then one that was found by source only."""
    registry = open_registry("sqlite:///r.db", tmp_path)
    commit(registry, 0, change("create", "a", body="A"))
    registry.record_runs([ran("daily", 1)])
    registry.close()
    with sqlite3.connect(tmp_path / "r.db") as connection:
        connection.execute("DROP TABLE asof_keys")
        connection.execute("DROP TABLE asof_audit")
        connection.execute("DROP TABLE asof_moved")
        connection.execute("DROP INDEX asof_runs_of_source")
        connection.execute("CREATE INDEX ix_asof_runs_source ON asof_runs (source)")
        connection.execute("UPDATE asof_schema SET version = 1")
        if ledger == "without":
            connection.execute("DROP TABLE asof_runs")
    connection.close()
    again = open_registry("sqlite:///r.db", tmp_path)
    again.record_runs([ran("daily", 2)])
    before = [ran("daily", 1)] if ledger == "with" else []
    assert (again.runs("daily", 10), again.revision()) == ([ran("daily", 2), *before], 1)
    again.close()
    with sqlite3.connect(tmp_path / "r.db") as connection:
        found = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE '%runs%'"
        ).fetchall()
        assert (found, connection.execute("SELECT version FROM asof_schema").fetchall()) == (
            [("asof_runs_of_source",)],
            [(4,)],
        )
    connection.close()


def test_an_upgrade_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next opening does all of it."""
    open_registry("sqlite:///r.db", tmp_path).close()
    with sqlite3.connect(tmp_path / "r.db") as connection:
        connection.execute("DROP TABLE asof_runs")
        connection.execute("UPDATE asof_schema SET version = 1")
    connection.close()

    def fail(connection: sa.Connection) -> None:
        upgrade(connection)
        raise StoreError("The power failed")

    upgrade = migrations.STEPS[1]
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "STEPS", {1: fail})
        with pytest.raises(StoreError, match="power"):
            open_registry("sqlite:///r.db", tmp_path)
    with sqlite3.connect(tmp_path / "r.db") as connection:
        assert connection.execute("SELECT version FROM asof_schema").fetchall() == [(1,)]
        assert not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'asof_runs'").fetchall()
    connection.close()
    registry = open_registry("sqlite:///r.db", tmp_path)
    assert registry.runs(None, 10) == []
    registry.close()


def test_a_layout_that_nobody_wrote_is_damage(tmp_path: Path) -> None:
    open_registry("sqlite:///r.db", tmp_path).close()
    with sqlite3.connect(tmp_path / "r.db") as connection:
        connection.execute("UPDATE asof_schema SET version = 0")
    connection.close()
    with pytest.raises(CorruptDataError, match=r"layout 0.*backup"):
        open_registry("sqlite:///r.db", tmp_path)
