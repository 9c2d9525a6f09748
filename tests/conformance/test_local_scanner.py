"""The local scanner keeps the scanner contract over each format that it reads."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import deltalake
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from asof.backends.local.scanner import LocalScanner
from asof.plan.specs import SourceSpec
from asof.testing.conformance.scanner import Place, ScannerConformance
from tests.servers.tables import POSITION, name_catalog, name_connection, put_into_iceberg, put_into_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from asof.interfaces import Scanner
    from tests.servers.postgres import PostgresServer


def local(root: Path, frames: Mapping[str, Any] | None = None) -> LocalScanner:
    return LocalScanner(root, frames or {}, root / "quarantine", 256 * 2**20, 2)


class TestFrames(ScannerConformance):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        def put(table: pa.Table) -> tuple[Scanner, SourceSpec]:
            return local(tmp_path, {"events": table}), SourceSpec(name="events", kind="frame", event_time="ts")

        return put


class TestParquet(ScannerConformance):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        def put(table: pa.Table) -> tuple[Scanner, SourceSpec]:
            half = table.num_rows // 2
            pq.write_table(table.slice(0, half), tmp_path / "a.parquet")
            pq.write_table(table.slice(half), tmp_path / "b.parquet")
            return local(tmp_path), SourceSpec(
                name="events", kind="file", path="*.parquet", format="parquet", event_time="ts"
            )

        return put


class TestCsv(ScannerConformance):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        def put(table: pa.Table) -> tuple[Scanner, SourceSpec]:
            pa.csv.write_csv(table, tmp_path / "a.csv")
            return local(tmp_path), SourceSpec(
                name="events", kind="file", path="a.csv", format="csv", event_time="ts", columns=()
            )

        return put


class TestNdjson(ScannerConformance):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        def put(table: pa.Table) -> tuple[Scanner, SourceSpec]:
            lines = "".join(json.dumps(row, default=lambda t: t.isoformat()) + "\n" for row in table.to_pylist())
            (tmp_path / "a.jsonl").write_text(lines or "\n")
            return local(tmp_path), SourceSpec(
                name="events", kind="file", path="a.jsonl", format="ndjson", event_time="ts"
            )

        return put


class TestDelta(ScannerConformance):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        def put(table: pa.Table) -> tuple[Scanner, SourceSpec]:
            deltalake.write_deltalake(tmp_path / "table", table)
            return local(tmp_path), SourceSpec(name="events", kind="delta", path="table", event_time="ts")

        return put


class TestPostgres(ScannerConformance):
    @pytest.fixture
    def place(
        self, tmp_path: Path, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Place]:
        schema = f"scanner_{uuid.uuid4().hex}"
        connection = name_connection(postgres_server, monkeypatch)

        def put(table: pa.Table) -> tuple[Scanner, SourceSpec]:
            name = put_into_postgres(postgres_server, schema, table)
            where: dict[str, Any] = {"table": name, "order_by": (POSITION,)}
            if table.num_rows == 1:  # whose place says nothing: a query without it is read alike
                where = {"query": f"SELECT {', '.join(table.column_names)} FROM {name}"}
            return local(tmp_path), SourceSpec(
                name="events", kind="postgres", connection=connection, event_time="ts", **where
            )

        yield put
        postgres_server.forget(schema)


class TestIceberg(ScannerConformance):
    @pytest.fixture
    def place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
        catalog = name_catalog(tmp_path, monkeypatch)

        def put(table: pa.Table) -> tuple[Scanner, SourceSpec]:
            name = put_into_iceberg(table, parts=2)
            return local(tmp_path), SourceSpec(
                name="events", kind="iceberg", connection=catalog, table=name, event_time="ts"
            )

        return put
