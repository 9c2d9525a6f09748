"""The SQL registry on a real PostgreSQL keeps the registry contract, upgrades older layouts, and explains refusals."""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asof.backends.loading import open_registry as load_registry
from asof.backends.sql import open_registry
from asof.errors import ConfigError, ConflictError, CorruptDataError, StoreError
from asof.testing.conformance.registry import RegistryConformance, change, commit, ran
from tests.servers.proxy import proxied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asof.interfaces import Registry
    from tests.servers.postgres import PostgresServer

ROOT = Path("/")
_numbers = itertools.count(1)
pytestmark = pytest.mark.slow


@pytest.fixture
def schema(postgres_server: PostgresServer) -> Iterator[str]:
    """Return the name of a schema that is not there."""
    name = f"registry_{next(_numbers)}"
    yield name
    postgres_server.forget(name)


@pytest.fixture
def url(postgres_server: PostgresServer, schema: str) -> str:
    """Return the URL of a registry that is not there."""
    return f"{postgres_server.url}?schema={schema}"


class TestPostgresRegistry(RegistryConformance):
    @pytest.fixture
    def registry(self, url: str) -> Iterator[Registry]:
        registry = open_registry(url, ROOT)
        yield registry
        registry.close()

    @pytest.fixture
    def reopen(self, url: str) -> Callable[[], Registry]:
        return lambda: open_registry(url, ROOT)


def test_whoever_opens_a_new_registry_at_once_finds_one(url: str) -> None:
    """One makes the tables, the others wait for them."""
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: open_registry(url, ROOT), range(8)))
    assert [registry.revision() for registry in found] == [0] * 8
    for registry in found:
        registry.close()


def test_a_registry_of_layout_1_is_upgraded_with_all_it_holds(
    postgres_server: PostgresServer, url: str, schema: str
) -> None:
    """In one transaction, while others open it, too."""
    registry = open_registry(url, ROOT)
    commit(registry, 0, change("create", "a", body="A"))
    registry.record_runs([ran("daily", 1)])
    registry.close()
    with postgres_server.connect(options=f"-csearch_path={schema}") as connection:
        connection.execute("DROP INDEX asof_runs_of_source")
        connection.execute("CREATE INDEX ix_asof_runs_source ON asof_runs (source)")
        connection.execute("UPDATE asof_schema SET version = 1")
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: open_registry(url, ROOT), range(4)))
        assert [one.runs("daily", 10) for one in found] == [[ran("daily", 1)]] * 4
        for one in found:
            one.close()
        names = connection.execute("SELECT indexname FROM pg_indexes WHERE indexname LIKE '%source'").fetchall()
        assert (names, connection.execute("SELECT version FROM asof_schema").fetchall()) == (
            [("asof_runs_of_source",)],
            [(2,)],
        )


def test_a_registry_of_a_newer_layout_says_what_to_run(postgres_server: PostgresServer, url: str, schema: str) -> None:
    open_registry(url, ROOT).close()
    with postgres_server.connect() as connection:
        connection.execute(f"UPDATE {schema}.asof_schema SET version = 99".encode())
    with pytest.raises(CorruptDataError, match=r"layout 99.*pip install --upgrade asof"):
        open_registry(url, ROOT)


def test_a_server_that_restarts_between_two_calls_is_not_noticed(postgres_server: PostgresServer, url: str) -> None:
    """Its connections are gone; new ones take their place."""
    registry = open_registry(url, ROOT)
    commit(registry, 0, change("create", "a", body="A"))
    with postgres_server.connect() as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    assert registry.revision() == 1
    registry.close()


def test_a_forked_child_has_connections_of_its_own(url: str) -> None:
    registry = open_registry(url, ROOT)
    commit(registry, 0, change("create", "a", body="A"))
    child = os.fork()
    if child == 0:
        os._exit(10 + commit(registry, 1, change("create", "b", body="B")).number)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 12
    assert registry.revision() == 2
    with pytest.raises(ConflictError):
        commit(registry, 1, change("create", "c", body="C"))
    registry.close()


def test_two_schemas_hold_two_registries(postgres_server: PostgresServer, url: str) -> None:
    """A registry is one project's."""
    other = f"other_{next(_numbers)}"
    one, two = open_registry(url, ROOT), open_registry(f"{postgres_server.url}?schema={other}", ROOT)
    commit(one, 0, change("create", "a", body="A"))
    assert (one.revision(), two.revision()) == (1, 0)
    one.close()
    two.close()
    postgres_server.forget(other)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"ASOF_POSTGRES_PASSWORD": "wrong"}, ConfigError, "ASOF_POSTGRES_PASSWORD"),
        ({"ASOF_POSTGRES_USER": "nobody"}, ConfigError, "ASOF_POSTGRES_USER"),
        ({}, ConfigError, "Create the database"),
    ],
)
def test_a_refused_login_says_what_to_check(
    postgres_server: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, str],
    error: type[Exception],
    message: str,
) -> None:
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    url = postgres_server.url if changed else postgres_server.url.removesuffix("asof") + "nothing"
    with pytest.raises(error, match=message):
        open_registry(url, ROOT)


def test_a_user_who_may_make_nothing_is_told(postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with postgres_server.connect() as connection:
        connection.execute("CREATE ROLE reader LOGIN PASSWORD 'reader'")
        monkeypatch.setenv("ASOF_POSTGRES_USER", "reader")
        monkeypatch.setenv("ASOF_POSTGRES_PASSWORD", "reader")
        with pytest.raises(ConfigError, match=r"permission denied.*what this user may do"):
            open_registry(f"{postgres_server.url}?schema=forbidden", ROOT)
        connection.execute("DROP ROLE reader")


def test_a_server_that_is_not_there_is_a_store_error() -> None:
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1/asof cannot be used"):
        open_registry("postgresql://127.0.0.1:1/asof", ROOT)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://host", "names no PostgreSQL database"),
        ("postgresql://host:x/asof", "no number"),
        ("postgresql://ada:secret@host/asof", "ASOF_POSTGRES_PASSWORD"),
        ("postgresql://host/asof?password=secret", "ASOF_POSTGRES_PASSWORD"),
        ("postgresql://host/asof?schema=a b", "lower case"),
    ],
)
def test_a_url_that_cannot_be_used_says_why(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_registry(url, ROOT)


def test_a_schema_is_one_projects(url: str) -> None:
    """The first that applies keeps it; another one is told so, whether it opens the registry then or has it open."""
    first, second = load_registry(url, ROOT, "shop"), load_registry(url, ROOT, "bank")
    commit(first, 0, change("create", "a", body="A"))
    with pytest.raises(ConfigError, match=r"holds project 'shop', not 'bank'.*\?schema=bank"):
        commit(second, 1, change("create", "b", body="B"))
    with pytest.raises(ConfigError, match="holds project 'shop', not 'bank'"):
        load_registry(url, ROOT, "bank")
    commit(first, 1, change("create", "b", body="B"))
    again = load_registry(url, ROOT, "shop")
    assert (again.revision(), second.revision()) == (2, 2)
    for registry in (first, second, again):
        registry.close()


def test_a_registry_that_was_shared_before_is_the_first_ones_that_applies(url: str) -> None:
    """Older versions did not note whose it is."""
    older = open_registry(url, ROOT)
    commit(older, 0, change("create", "a", body="A"))
    one, two = load_registry(url, ROOT, "shop"), load_registry(url, ROOT, "bank")
    commit(two, 1, change("create", "b", body="B"))
    with pytest.raises(ConfigError, match="holds project 'bank'"):
        commit(one, 2, change("create", "c", body="C"))
    for registry in (older, one, two):
        registry.close()


def test_a_server_that_says_nothing_is_given_up(
    postgres_server: PostgresServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection stays open; the next call makes another one."""
    with proxied(postgres_server.port) as proxy:
        registry = open_registry(url.replace(str(postgres_server.port), str(proxy.port)), ROOT)
        monkeypatch.setattr("asof.backends.sql.patience.PATIENCE_S", 0.5)
        proxy.arm("hold", b"asof_revisions")
        with pytest.raises(StoreError, match="did not answer") as caught:
            registry.revision()
        assert caught.value.retryable
        monkeypatch.undo()
        assert registry.revision() == 0
        registry.close()
