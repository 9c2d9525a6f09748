"""A project whose registry and online store are on PostgreSQL gives what it gives on one machine, to a whole team."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from asof import FeatureStore
from asof.clock import FixedClock, from_us, parse_instant
from asof.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.slow

DEFINITIONS = """
from asof import Count, Entity, EventView, FeatureService, FileSource, StateView, StreamSource, Sum

customer = Entity("customer", join_key="customer_id")
people = FileSource("people", path="people.csv", event_time="since")
profile = StateView("profile", entity=customer, source=people, features=["country"])
types = {"id": "int64", "customer_id": "int64", "amount": "float64", "ts": "timestamp"}
orders = StreamSource("orders", schema=types, event_time="ts", event_id="id")
features = [Sum("amount", windows=["1h", "7d"]), Count(windows=["7d"])]
spend = EventView("spend", entity=customer, source=orders, features=features)
fraud = FeatureService("fraud", features=[spend, profile])
"""
PEOPLE = "customer_id,since,country\n1,2026-01-01,NL\n2,2026-01-02,DE\n1,2026-01-10,FR\n"
NOW = parse_instant("2026-01-15T12:00:00")
KEYS = {"customer_id": [2, 1, 3]}
_numbers = itertools.count(1)


@pytest.fixture
def settings(postgres_server: PostgresServer) -> Iterator[str]:
    """Return an asof.toml with registry and online store in a schema that is not there."""
    schema = f"project_{next(_numbers)}"
    url = f"{postgres_server.url}?schema={schema}"
    yield f'project = "shop"\nregistry = "{url}"\nonline = "{url}"\n'
    postgres_server.forget(schema)


def start(root: Path, settings: str) -> FeatureStore:
    """Write a project's files and open it."""
    root.mkdir(exist_ok=True)
    (root / "asof.toml").write_text(settings, encoding="utf-8")
    (root / "features.py").write_text(DEFINITIONS, encoding="utf-8")
    (root / "people.csv").write_text(PEOPLE, encoding="utf-8")
    return FeatureStore(root, clock=FixedClock(NOW))


def order(number: int, customer: int, amount: float, ts: str) -> dict[str, Any]:
    return {"id": number, "customer_id": customer, "amount": amount, "ts": ts}


def read(store: FeatureStore) -> tuple[Any, ...]:
    found = store.get_online_features("fraud", KEYS)
    return found.to_dict(), found.statuses, found.event_times


def work(store: FeatureStore) -> list[Any]:
    """Do what a project does, and return what was read in between."""
    store.apply()
    store.push("orders", [order(1, 1, 5.0, "2026-01-15T11:30:00"), order(2, 2, 2.5, "2026-01-14T00:00:00")])
    store.materialize()
    reads = [read(store)]
    store.push("orders", [order(3, 1, 1.25, "2026-01-10T00:00:00"), order(1, 1, 99.0, "2026-01-15T11:59:00")])
    reads.append(read(store))
    store.materialize()
    reads.append(read(store))
    spine = {**KEYS, "event_timestamp": [from_us(NOW)] * 3}
    reads.append(store.get_historical_features("fraud", spine).to_arrow().to_pydict())
    return reads


def test_a_project_gives_what_it_gives_on_one_machine(tmp_path: Path, settings: str) -> None:
    """Applied, materialized, pushed to and read; another machine with its asof.toml reads the same."""
    with start(tmp_path / "one", 'project = "shop"\n') as alone, start(tmp_path / "two", settings) as shared:
        expected = work(alone)
        assert work(shared) == expected
        assert expected[1][0]["spend__amount_sum_7d"] == [2.5, 6.25, None]
        elsewhere = tmp_path / "three"
        elsewhere.mkdir()
        shutil.copy(tmp_path / "two/asof.toml", elsewhere)
        with FeatureStore(elsewhere, clock=FixedClock(NOW)) as other:
            assert read(other) == expected[1]
            assert other.registry.revision() == 1


def test_of_three_first_applies_at_once_one_wins(tmp_path: Path, settings: str) -> None:
    """The others find nothing to do, or are told."""
    start(tmp_path / "shop", settings).close()
    command = [sys.executable, "-m", "asof.cli", "--project", str(tmp_path / "shop"), "apply"]
    quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(command, text=True, **quiet) for _ in range(3)]
    results = [(process.communicate(timeout=120)[1], process.returncode) for process in processes]
    for stderr, code in results:
        assert code in (0, ConflictError.exit_code), stderr
        assert "Traceback" not in stderr
    with FeatureStore(tmp_path / "shop") as store:
        assert store.registry.revision() == 1


def test_two_projects_share_an_online_store(tmp_path: Path, settings: str, postgres_server: PostgresServer) -> None:
    """Each has a registry of its own; views of one name are apart."""
    second = settings.replace('"shop"', '"store"').replace("schema=", "schema=second_", 1)
    with start(tmp_path / "one", settings) as one, start(tmp_path / "two", second) as two:
        for store in (one, two):
            store.apply()
            store.materialize()
        one.push("orders", [order(1, 1, 5.0, "2026-01-15T11:30:00")])
        amounts = [read(store)[0]["spend__amount_sum_7d"] for store in (one, two)]
    assert amounts == [[None, 5.0, None], [None, None, None]]
    schema = second.partition("schema=")[2].partition('"')[0]
    postgres_server.forget(schema)
