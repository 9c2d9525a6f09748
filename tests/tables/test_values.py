"""Where a table is changes no value: PostgreSQL's and Iceberg's rows give the oracle's answers, and Parquet's bits."""

from __future__ import annotations

import uuid
import warnings
from contextlib import closing
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings

from asof import FeatureStore, FileSource, IcebergSource, PostgresSource
from asof.clock import FixedClock, from_us
from asof.errors import FeatureValueError, RejectedRowsWarning
from asof.testing import oracle
from asof.testing.comparison import differences
from asof.testing.generators import PREDICATES, Case, cases, rows_table
from tests.properties.offline import history, spine_table
from tests.properties.project import SETTINGS, read_online
from tests.properties.test_history import check, expected
from tests.properties.test_sources import fixed_case
from tests.servers.tables import (
    POSITION,
    name_catalog,
    name_connection,
    open_catalog,
    put_into_iceberg,
    put_into_postgres,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asof.definitions import Source
    from tests.servers.postgres import PostgresServer

KINDS = ["postgres", "iceberg"]


class Places:
    """Puts the rows of cases where other systems have them, each time into a table of their own."""

    def __init__(self, root: Path, server: PostgresServer) -> None:
        self.root = root
        self.server = server

    def source(self, kind: str, case: Case) -> Source:
        table = rows_table(case.rows)
        name = f"t_{uuid.uuid4().hex}"
        if kind == "parquet":
            pq.write_table(table, self.root / f"{name}.parquet")
            return FileSource("rows", path=str(self.root / f"{name}.parquet"), **case.roles)
        if kind == "postgres":
            put = put_into_postgres(self.server, name, table)
            return PostgresSource("rows", connection="warehouse", table=put, order_by=POSITION, **case.roles)
        put = put_into_iceberg(_with_types(table), name=f"shop.{name}", parts=1)
        return IcebergSource("rows", catalog="lake", table=put, **case.roles)

    def forget(self, source: Source) -> None:
        if isinstance(source, PostgresSource):
            self.server.forget(str(source.table).split(".")[0])
        elif isinstance(source, IcebergSource):
            with closing(open_catalog()) as catalog:
                catalog.drop_table(source.table)


def _with_types(table: pa.Table) -> pa.Table:
    """Return a table without columns of nulls only, which Iceberg has no type for."""
    fields = [pa.field(f.name, pa.string() if pa.types.is_null(f.type) else f.type) for f in table.schema]
    return table.cast(pa.schema(fields))


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer) -> Iterator[Places]:
    root = tmp_path_factory.mktemp("tables")
    with pytest.MonkeyPatch.context() as patch:
        name_connection(postgres_server, patch)
        name_catalog(root, patch)
        yield Places(root, postgres_server)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=cases(quarantine=True, select=True, by=True))
def test_history_is_the_oracles(kind: str, case: Case, places: Places) -> None:
    """Every value and status, pruned by time, with late, repeated, retracted and unusable rows."""
    source = places.source(kind, case)
    views = case.views(source)
    exact = expected(case, views)
    try:
        if exact is None:
            with pytest.raises(FeatureValueError):
                history(case, views, root=places.root)
        else:
            check(views, exact, history(case, views, root=places.root))
    finally:
        places.forget(source)


def work(places: Places, root: Path, kind: str, case: Case) -> tuple[pa.Table, dict[str, list[oracle.Answer]]]:
    """Return what a project over such a source trains on, and serves from materialization on."""
    root.mkdir()
    root.joinpath("asof.toml").write_text(SETTINGS, encoding="utf-8")
    views = case.views(places.source(kind, case))
    with FeatureStore(root, clock=FixedClock(case.materialized_at)) as store, warnings.catch_warnings():
        warnings.simplefilter("ignore", RejectedRowsWarning)
        store.apply(store.plan(views), who="test")
        names = [view.name for view in views]
        table = store.get_historical_features(names, spine_table(case, case.questions), statuses=True).to_arrow()
        store.materialize(at=from_us(case.materialized_at))
        return table, read_online(store, case, views, case.later_questions())


@pytest.mark.parametrize("kind", KINDS)
def test_a_project_serves_the_oracles_values_and_parquets_bits(kind: str, places: Places, tmp_path: Path) -> None:
    """Through the store's own methods, offline and online, and nothing is left of what was fetched."""
    case = fixed_case()
    trained, served = work(places, tmp_path / kind, kind, case)
    assert (trained, served) == work(places, tmp_path / "parquet", "parquet", case)
    for view in case.views(places.source("parquet", case)):
        live = oracle.online(
            view, case.rows, case.later_questions(), materialized_at=case.materialized_at, predicates=PREDICATES
        )
        wrong = [line for a, b in zip(live, served[view.name], strict=True) for line in differences(view, a, b)]
        assert not wrong, "\n".join(wrong[:10])
    scratch = tmp_path / kind / ".asof/tmp"
    assert not scratch.exists() or not list(scratch.iterdir())
