"""PostgreSQL keeps the online store contract on a real server, survives its faults, and explains them."""

from __future__ import annotations

import itertools
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pyarrow as pa
import pytest

from asof.backends.postgres import open_store
from asof.backends.postgres.failures import translated
from asof.errors import AsofError, ConfigError, CorruptDataError, InputError, StoreError, StoreFullError
from asof.interfaces.online import Progress, Update
from asof.testing.conformance.online import OTHER, VIEW, OnlineStoreConformance, begin, fill, values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asof.backends.postgres.store import PostgresStore
    from asof.interfaces import OnlineStore
    from asof.interfaces.online import Read, ViewKey
    from tests.servers.postgres import PostgresServer

ROOT = Path("/")
_numbers = itertools.count(1)
pytestmark = pytest.mark.slow


@pytest.fixture
def schema(postgres_server: PostgresServer) -> Iterator[str]:
    """Return the name of a schema that is not there."""
    name = f"online_{next(_numbers)}"
    yield name
    postgres_server.forget(name)


@pytest.fixture
def url(postgres_server: PostgresServer, schema: str) -> str:
    """Return the URL of a store that is not there."""
    return f"{postgres_server.url}?schema={schema}"


class TestPostgresStore(OnlineStoreConformance):
    @pytest.fixture
    def open_store(self, url: str) -> Callable[[], OnlineStore]:
        return lambda: open_store(url, ROOT)


@pytest.fixture
def store(url: str) -> Iterator[PostgresStore]:
    """Return an empty store."""
    store = open_store(url, ROOT)
    yield store
    store.close()


def column(*items: bytes | None) -> pa.BinaryArray:
    return pa.array(items, pa.binary())


def tables(server: PostgresServer, schema: str) -> int:
    """Return how many tables of values there are."""
    with server.connect() as connection:
        query = "SELECT 1 FROM pg_tables WHERE schemaname = %s AND tablename LIKE 'asof\\_values\\_%%'"
        return len(connection.execute(query, [schema]).fetchall())


def end_sessions(server: PostgresServer) -> None:
    with server.connect() as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'asof'")


def test_a_read_is_one_statement_whatever_the_number_of_views(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it is known where the values are."""
    for view in (VIEW, OTHER):
        fill(store, view, {b"a": b"1", b"b": b"2"})
    requests: list[tuple[ViewKey, list[bytes | None]]] = [(VIEW, [b"a", b"b"]), (OTHER, [b"b"]), (VIEW, [None, b"x"])]
    store.read(requests)
    execute: Any = psycopg.Cursor.execute
    seen = 0

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal seen
        seen += 1
        return execute(*arguments, **options)

    monkeypatch.setattr(psycopg.Cursor, "execute", counted)
    found = store.read(requests)
    assert seen == 1
    assert [list(one.values) for one in found] == [[b"1", b"2"], [b"2"], [None, None]]


def test_slices_of_columns_are_written_as_they_are(store: PostgresStore) -> None:
    """Rows outside the slice stay outside, in a put, a replacement and an update."""
    keys, new = column(b"x", b"a", b"b", b"c", b"y"), column(b"0", b"1", None, b"3", b"0")
    with store.write(VIEW) as writer:
        writer.put(keys.slice(1, 3), new.slice(1, 3))
        writer.replace(keys.slice(1, 2), new.slice(2, 2))
        generation = writer.commit(100, 100, "meaning", Progress(0))
    assert generation.keys == 2
    assert values(store, VIEW, [b"x", b"a", b"b", b"c", b"y"]) == [None, None, b"3", b"3", None]
    store.update([Update(VIEW, 1, 0, keys.slice(1, 2), new.slice(3, 2), 100, Progress(1))])
    assert values(store, VIEW, [b"x", b"a", b"b", b"c", b"y"]) == [None, b"3", b"0", b"3", None]
    assert store.generations("shop")[VIEW].keys == 3


def test_a_generation_that_is_being_read_is_freed_later(
    store: PostgresStore, postgres_server: PostgresServer, schema: str
) -> None:
    """The switch does not wait for the reader, and the next writer frees it."""
    fill(store, VIEW, {b"a": b"1"})

    def work(read: Read) -> None:
        read([(VIEW, [b"a"])])
        if tables(postgres_server, schema) == 1:
            fill(store, VIEW, {b"a": b"2"}, instant_us=200)

    store.in_snapshot(work)
    assert tables(postgres_server, schema) == 2
    fill(store, OTHER, {b"a": b"1"})
    assert tables(postgres_server, schema) == 2
    store.drop(VIEW)
    store.drop(OTHER)
    assert tables(postgres_server, schema) == 0


def test_a_writer_that_is_killed_leaves_nothing(
    store: PostgresStore, url: str, postgres_server: PostgresServer, schema: str
) -> None:
    fill(store, VIEW, {b"a": b"1"})
    child = os.fork()
    if child == 0:
        with open_store(url, ROOT).write(VIEW) as writer:
            writer.put(column(b"a"), column(b"2"))
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert values(store, VIEW, [b"a"]) == [b"1"]
    fill(store, VIEW, {b"a": b"3"}, instant_us=200)
    assert (values(store, VIEW, [b"a"]), tables(postgres_server, schema)) == ([b"3"], 1)


def test_sessions_that_the_server_ended_are_replaced(store: PostgresStore, postgres_server: PostgresServer) -> None:
    """Between two calls nobody notices; a writer that is amid its transaction is told, and nothing of it shows."""
    fill(store, VIEW, {b"a": b"1"})
    end_sessions(postgres_server)
    assert values(store, VIEW, [b"a"]) == [b"1"]
    end_sessions(postgres_server)
    store.announce([VIEW], 1)
    end_sessions(postgres_server)
    with store.exclusive("shop", "orders"):
        pass
    with store.write(VIEW) as writer:
        writer.put(column(b"a"), column(b"2"))
        end_sessions(postgres_server)
        with pytest.raises(StoreError) as caught:
            writer.commit(200, 200, "meaning")
    assert caught.value.retryable
    assert values(store, VIEW, [b"a"]) == [b"1"]


def test_what_was_committed_survives_a_crash_of_the_server(store: PostgresStore) -> None:
    """While it recovers it is a store that can be tried again, never an empty one."""
    with store.write(VIEW) as writer:
        writer.put(column(b"a"), column(b"1"))
        writer.commit(100, 100, "meaning", Progress(0))
    store.update([Update(VIEW, 1, 0, column(b"a", b"b"), column(b"2", b"2"), 110, Progress(1))])
    with store._connections.own() as connection:
        os.kill(connection.info.backend_pid, signal.SIGKILL)  # the server takes it for a crash and starts anew
    found: list[bytes | None] = []
    while not found:
        try:
            found = values(store, VIEW, [b"a", b"b"])
        except StoreError:
            continue
    assert found == [b"2", b"2"]
    assert store.generations("shop")[VIEW].progress == Progress(1)


def test_a_holder_whose_session_ends_keeps_nobody_out(store: PostgresStore, postgres_server: PostgresServer) -> None:
    with store.exclusive("shop", "orders"):
        end_sessions(postgres_server)
        with store.exclusive("shop", "orders"):
            pass


def test_a_statement_that_takes_too_long_is_given_up(
    store: PostgresStore, url: str, postgres_server: PostgresServer, schema: str
) -> None:
    fill(store, VIEW, {b"a": b"1"})
    hasty = open_store(f"{url}&timeout=200ms&connections=1", ROOT)
    with postgres_server.connect() as connection, connection.transaction():
        connection.execute(f"LOCK TABLE {schema}.asof_pointers".encode())
        with pytest.raises(StoreError, match=r"timeout.*try again, or raise it"):
            hasty.read([(VIEW, [b"a"])])
    assert values(hasty, VIEW, [b"a"]) == [b"1"]
    hasty.close()


def test_a_server_that_hangs_is_given_up(store: PostgresStore, url: str) -> None:
    """It says nothing, and its connection stays open; the next call has another one."""
    fill(store, VIEW, {b"a": b"1"})
    hasty = open_store(f"{url}&timeout=50ms", ROOT)
    assert values(hasty, VIEW, [b"a"]) == [b"1"]
    with hasty._connections.own() as connection:
        process = connection.info.backend_pid
    os.kill(process, signal.SIGSTOP)
    try:
        with pytest.raises(StoreError, match=r"did not answer.*hangs") as caught:
            hasty.read([(VIEW, [b"a"])])
        assert caught.value.retryable
        assert values(hasty, VIEW, [b"a"]) == [b"1"]
    finally:
        os.kill(process, signal.SIGCONT)
        hasty.close()


def test_a_user_who_may_only_read_reads(
    store: PostgresStore, url: str, postgres_server: PostgresServer, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Generations to come, too; writing is refused."""
    fill(store, VIEW, {b"a": b"1"})
    with postgres_server.connect() as connection:
        connection.execute("CREATE ROLE server LOGIN PASSWORD 'server'")
        for grant in (
            "GRANT USAGE ON SCHEMA {0} TO server",
            "GRANT SELECT ON ALL TABLES IN SCHEMA {0} TO server",
            "ALTER DEFAULT PRIVILEGES IN SCHEMA {0} GRANT SELECT ON TABLES TO server",
        ):
            connection.execute(grant.format(schema).encode())
        monkeypatch.setenv("ASOF_POSTGRES_USER", "server")
        monkeypatch.setenv("ASOF_POSTGRES_PASSWORD", "server")
        reader = open_store(url, ROOT)
        assert values(reader, VIEW, [b"a"]) == [b"1"]
        fill(store, VIEW, {b"a": b"2"}, instant_us=200)
        assert values(reader, VIEW, [b"a"]) == [b"2"]
        with pytest.raises(ConfigError, match="permission denied"):
            reader.announce([VIEW], 1)
        reader.close()
        connection.execute(b"DROP OWNED BY server; DROP ROLE server")


def test_a_store_of_a_newer_layout_says_what_to_run(
    store: PostgresStore, url: str, postgres_server: PostgresServer, schema: str
) -> None:
    fill(store, VIEW, {b"a": b"1"})
    with postgres_server.connect() as connection:
        connection.execute(f"UPDATE {schema}.asof_online SET layout = 99".encode())
    with pytest.raises(CorruptDataError, match=r"layout 99.*pip install --upgrade asof"):
        open_store(url, ROOT).read([(VIEW, [b"a"])])


def test_a_store_of_layout_1_is_upgraded_with_all_it_holds(
    store: PostgresStore, url: str, postgres_server: PostgresServer, schema: str
) -> None:
    """It knew no instant at which rows of the history become known."""
    begin(store, VIEW, {b"a": b"1"})
    with postgres_server.connect() as connection:
        connection.execute(f"ALTER TABLE {schema}.asof_pointers DROP COLUMN due_us".encode())
        connection.execute(f"UPDATE {schema}.asof_online SET layout = 1".encode())
    for again in (open_store(url, ROOT), open_store(url, ROOT)):
        [found] = again.read([(VIEW, [b"a"])])
        assert (list(found.values), found.generation and found.generation.progress) == ([b"1"], Progress(0))
        again.close()


def test_a_key_that_no_index_holds_is_refused(store: PostgresStore) -> None:
    long = b"".join(b"%d" % (n * n * 7919) for n in range(1000))
    with pytest.raises(InputError, match="shorter keys"):
        fill(store, VIEW, {long: b"1"})
    assert store.generations("shop") == {}


def test_a_store_that_lost_its_tables_is_not_an_empty_one(
    store: PostgresStore, postgres_server: PostgresServer, schema: str
) -> None:
    fill(store, VIEW, {b"a": b"1"})
    assert values(store, VIEW, [b"a"]) == [b"1"]
    postgres_server.forget(schema)
    with pytest.raises(StoreError, match=r"deleted the store's tables"):
        store.read([(VIEW, [b"a"])])


@pytest.mark.parametrize(
    ("state", "kind"),
    [("53100", StoreFullError), ("25006", StoreError), ("XX001", CorruptDataError), ("40P01", StoreError)],
)
def test_what_the_server_refuses_has_a_meaning(state: str, kind: type[AsofError]) -> None:
    with pytest.raises(kind) as caught, translated("db", "be written"):
        raise psycopg.errors.lookup(state)("no\nway")
    assert type(caught.value) is kind
    assert "could not be written. no way." in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ASOF_POSTGRES_PASSWORD": "wrong"}, "ASOF_POSTGRES_PASSWORD"),
        ({"ASOF_POSTGRES_USER": "nobody"}, "ASOF_POSTGRES_USER"),
        ({}, "Create the database"),
    ],
)
def test_a_refused_login_says_what_to_check(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], message: str
) -> None:
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    url = postgres_server.url if changed else postgres_server.url.removesuffix("asof") + "nothing"
    with pytest.raises(ConfigError, match=message) as caught:
        open_store(url, ROOT).generations("shop")
    assert "wrong" not in str(caught.value)


def test_a_server_that_is_not_there_is_a_store_error() -> None:
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1/asof, schema asof could not be read"):
        open_store("postgresql://127.0.0.1:1/asof", ROOT).read([(VIEW, [b"a"])])


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://host", "names no PostgreSQL database"),
        ("postgresql://host:x/asof", "no number"),
        ("postgresql://ada:secret@host/asof", "ASOF_POSTGRES_PASSWORD"),
        ("postgresql://host/asof?password=secret", "ASOF_POSTGRES_PASSWORD"),
        ("postgresql://host/asof?schema=a b", "lower case"),
        ("postgresql://host/asof?connections=0", "from 1 to 1000"),
        ("postgresql://host/asof?timeout=soon", "no duration"),
        ("postgresql://host/asof?no_such=1", "options of libpq"),
    ],
)
def test_a_url_that_cannot_be_used_says_why(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_store(url, ROOT)
