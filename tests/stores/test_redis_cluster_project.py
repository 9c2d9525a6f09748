"""A project whose online store is a Redis Cluster gives what it gives on one machine, before and after a failover."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers.redis_cluster import redis_cluster_processes
from tests.stores.test_postgres_project import order, read, start, work

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


def test_a_project_gives_what_it_gives_on_one_machine(tmp_path: Path) -> None:
    """Applied, materialized, pushed to and read; its master is killed, and it goes on with the replica."""
    (tmp_path / "cluster").mkdir()
    with redis_cluster_processes(tmp_path / "cluster", timeout_ms=2000) as cluster:
        sure = f'project = "shop"\nonline = "{cluster.url}&replicas=1"\n'
        plain = sure.replace("&replicas=1", "")  # a master that was a replica has none itself
        with start(tmp_path / "one", 'project = "shop"\n') as alone:
            with start(tmp_path / "two", sure) as shared:
                assert work(shared) == work(alone)
                cluster.owner.process.kill()
                assert read(shared) == read(alone)
            with start(tmp_path / "two", plain) as shared:
                for store in (alone, shared):
                    store.push("orders", [order(4, 2, 7.0, "2026-01-15T11:45:00")])
                assert read(shared) == read(alone)
                for store in (alone, shared):
                    store.materialize()
                assert read(shared) == read(alone)
