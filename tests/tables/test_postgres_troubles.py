"""What goes wrong around a PostgreSQL source is told with its reason and its remedy, and leaves nothing half done."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from asof import Entity, EventView, PostgresSource, Sum
from asof.errors import AsofError, ConfigError, DefinitionError, SchemaError, SourceError
from tests.servers.postgres import PASSWORD
from tests.servers.proxy import proxied
from tests.servers.tables import name_connection

if TYPE_CHECKING:
    from asof import FeatureStore
    from tests.servers.postgres import PostgresServer

SPINE = {"k": [1], "event_timestamp": [datetime(2026, 1, 15, tzinfo=UTC)]}


def run(server: PostgresServer, text: str) -> None:
    with server.connect() as connection:
        connection.execute(text)


def make_events(server: PostgresServer, schema: str, rows: int = 3) -> None:
    columns = "1 AS k, timestamptz '2026-01-14' - x * interval '1 second' AS ts, x AS v, repeat('x', 200) AS filler"
    run(server, f"CREATE TABLE {schema}.events AS SELECT {columns} FROM generate_series(1, {rows}) AS x")


def view(column: str = "v", connection: str = "warehouse", **options: Any) -> EventView:
    source = PostgresSource("events", connection=connection, event_time="ts", **options)
    return EventView(
        "sums", entity=Entity("customer", join_key="k"), source=source, features=[Sum(column, windows=["7d"])]
    )


def failure(store: FeatureStore, kind: type[AsofError], one: EventView) -> AsofError:
    with pytest.raises(kind) as error:
        store.get_historical_features([one], SPINE).to_arrow()
    told = error.value
    assert told.what
    assert told.why
    assert told.fix
    assert PASSWORD not in str(told)
    return told


WRONG: list[tuple[dict[str, Any], type[AsofError], str]] = [
    ({"table": "{}.nowhere"}, SourceError, "not there"),
    ({"table": "nowhere.events"}, SourceError, "not there"),
    ({"query": "SELECT nope FROM {}.events"}, SchemaError, "column that is not there"),
    ({"query": "SELECT k FROM {}.events"}, SchemaError, "no column 'ts'"),
    ({"query": "SELECT FROM WHERE"}, DefinitionError, "refuses"),
    ({"query": "SELECT * FROM {0}.events; DROP TABLE {0}.events"}, DefinitionError, "refuses"),
    ({"query": "WITH gone AS (DELETE FROM {}.events RETURNING *) SELECT * FROM gone"}, DefinitionError, "SELECT"),
    ({"query": "SELECT *, v / 0 AS w FROM {}.events"}, SourceError, "cannot give"),
    ({"table": "{}.events", "order_by": "id"}, SchemaError, "no column 'id'"),
    ({"table": "{}.events", "column": "w"}, SchemaError, "no column 'w'"),
    ({"table": "{}.events", "column": "filler"}, SchemaError, "string"),
]


@pytest.mark.parametrize(("options", "kind", "message"), WRONG)
def test_what_cannot_be_read_is_told(
    options: dict[str, Any],
    kind: type[AsofError],
    message: str,
    store: FeatureStore,
    schema: str,
    postgres_server: PostgresServer,
) -> None:
    """No such table or column, a query that is none or that writes, a value that cannot be."""
    make_events(postgres_server, schema)
    filled = {key: value.format(schema) for key, value in options.items()}
    with pytest.raises(kind, match=message) as error:
        store.get_historical_features([view(**filled)], SPINE).to_arrow()
    assert error.value.fix
    with postgres_server.connect() as connection:
        assert connection.execute(f"SELECT count(*) FROM {schema}.events").fetchone() == (3,)


def test_a_user_without_the_right_is_told_which(
    store: FeatureStore, schema: str, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GRANT is the remedy; a wrong password is another one."""
    make_events(postgres_server, schema)
    role = f"reader_{schema}"
    run(postgres_server, f"CREATE ROLE {role} LOGIN PASSWORD 'weak'")
    try:
        url = f"postgresql://{role}:weak@{postgres_server.host}:{postgres_server.port}/asof"
        monkeypatch.setenv("ASOF_SOURCE_WAREHOUSE", url)
        told = failure(store, SourceError, view(table=f"{schema}.events"))
        assert "may not be read" in told.what
        assert "GRANT" in told.fix
        monkeypatch.setenv("ASOF_SOURCE_WAREHOUSE", url.replace(":weak", ":wrong"))
        told = failure(store, SourceError, view(table=f"{schema}.events"))
        assert "as this user" in told.what
        assert "wrong" not in str(told)
    finally:
        run(postgres_server, f"DROP ROLE {role}")


@pytest.mark.parametrize(
    ("url", "kind", "message"),
    [
        (None, ConfigError, "not set"),
        ("mysql://h/db", ConfigError, "no URL"),
        ("postgresql://h:port/db", ConfigError, "no URL"),
        ("postgresql://127.0.0.1/db?nonsense=1", ConfigError, "nonsense"),
        ("postgresql://127.0.0.1/db?statement_timeout=soon", ConfigError, "soon"),
        ("postgresql://127.0.0.1:1/db", SourceError, "refused"),
    ],
)
def test_a_connection_that_is_none_is_told(
    url: str | None, kind: type[AsofError], message: str, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names without a URL, URLs of something else, servers that are not there."""
    monkeypatch.delenv("ASOF_SOURCE_WAREHOUSE", raising=False)
    if url is not None:
        monkeypatch.setenv("ASOF_SOURCE_WAREHOUSE", url)
    with pytest.raises(kind, match=message):
        store.get_historical_features([view(table="events")], SPINE).to_arrow()


def test_a_url_in_the_definition_takes_its_login_from_libpqs_environment(
    store: FeatureStore, schema: str, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a definition holds no secret."""
    make_events(postgres_server, schema)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    url = postgres_server.url.replace("://", "://asof@")
    found = store.get_historical_features([view(connection=url, table=f"{schema}.events")], SPINE).to_arrow()
    assert found.column("sums__v_sum_7d").to_pylist() == [6]


def test_a_statement_that_takes_too_long_is_ended(
    store: FeatureStore, schema: str, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the time that the connection's URL states."""
    name_connection(postgres_server, monkeypatch, statement_timeout="50ms")
    slow = "SELECT 1 AS k, timestamptz '2026-01-14' AS ts, 1 AS v FROM pg_sleep(20)"
    told = failure(store, SourceError, view(query=slow))
    assert "statement_timeout" in told.what


def test_a_server_that_goes_in_the_middle_of_the_rows_fails_the_read(
    store: FeatureStore, schema: str, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the rows are never taken for all; the next read has all of them."""
    rows = 20_000
    make_events(postgres_server, schema, rows)
    one = view(table=f"{schema}.events")
    with proxied(postgres_server.port) as proxy:
        name_connection(postgres_server, monkeypatch, port=proxy.port)
        proxy.arm("cut", b"COPY (SELECT t.")
        failure(store, SourceError, one)
        found = store.get_historical_features([one], SPINE).to_arrow()
    assert found.column("sums__v_sum_7d").to_pylist() == [rows * (rows + 1) // 2]
    assert not list((store.config.root / ".asof/tmp").iterdir())
