"""Metrics: summed over workers, exact where few answers are given, and bounded in number."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from asof.server.cells import Cells
from asof.server.feature_counts import FeatureCounts
from asof.server.metrics import Metrics
from asof.store import FeatureStore
from tests.observability.conftest import PATH, running, value
from tests.server.conftest import KEYS

if TYPE_CHECKING:
    from pathlib import Path


def test_one_scrape_shows_the_sums_of_all_workers(scraped: dict[str, Any]) -> None:
    """Whichever worker answered which request."""
    assert value(scraped, "asof_workers") == 2
    assert {one.labels["worker"] for one in scraped["asof_registry_revision"].samples} == {"0", "1"}
    assert value(scraped, "asof_http_requests_total", route=PATH, status="200") == 3
    assert value(scraped, "asof_errors_total", code="not_found") == 1
    assert value(scraped, "asof_pushed_rows_total", source="clicks", outcome="taken") == 1
    assert value(scraped, "asof_online_request_keys_sum", service="fraud") == 3
    for phase in ("decode", "store", "kernel", "encode", "total"):
        assert value(scraped, "asof_online_phase_seconds_count", service="fraud", phase=phase) == 1
    assert value(scraped, "asof_store_read_seconds_count") == 3
    assert len({one.labels["worker"] for one in scraped["process_resident_memory_bytes"].samples}) == 2


def test_statuses_and_defaults_are_counted_by_feature(scraped: dict[str, Any]) -> None:
    """17 and 42 have values, 99 has none: its sum is a default, its country is missing."""
    of = {"service": "fraud", "feature": "profile__country"}
    assert value(scraped, "asof_feature_values_total", status="present", **of) == 2
    assert value(scraped, "asof_feature_values_total", status="missing", **of) == 1
    assert value(scraped, "asof_feature_defaulted_total", **of) == 0
    assert value(scraped, "asof_feature_defaulted_total", service="fraud", feature="spend__amount_sum_lifetime") == 1
    assert value(scraped, "asof_feature_defaulted_total", service="filled", feature="profile__country") == 1


@pytest.mark.parametrize("keys", [1, 3, 17, 200])
def test_many_keys_are_counted_as_few_are(shop: Path, keys: int) -> None:
    """The columns of a large answer give the same counts as the values of small ones."""
    ids = [[17, 42, 99][n % 3] for n in range(keys)]
    with FeatureStore(shop) as store:
        answer = store.get_online_features("filled", {"customer_id": ids})
    metrics = Metrics()
    FeatureCounts(metrics).look("filled", answer, keys, 0.0)
    text = metrics.text().decode()
    for feature, statuses in answer.statuses.items():
        for status in set(statuses):
            labels = f'feature="{feature}",service="filled",status="{status}"'
            assert f"asof_feature_values_total{{{labels}}} {float(statuses.count(status))}\n" in text
        values = answer.to_dict()[feature]
        defaulted = sum(s == "missing" and v is not None for s, v in zip(statuses, values, strict=True))
        found = f'asof_feature_defaulted_total{{feature="{feature}",service="filled"}} {float(defaulted)}\n'
        assert (found in text) == (defaulted > 0)


def test_names_in_requests_make_no_metrics(shop: Path) -> None:
    """Unknown services, features, paths and models leave no label behind."""

    async def ask() -> str:
        async with running(shop) as server:
            post, get = server.client.post, server.client.get
            await post(PATH, json={"service": "xxevil1", "keys": KEYS})
            await post(PATH, json={"features": ["profile:xxevil2"], "keys": KEYS})
            await post(PATH, json={"service": "fraud", "keys": KEYS, "model": "xxevil3"})
            await post("/v1/push", json={"source": "xxevil4", "rows": []})
            await get("/xxevil5")
            await get("/v1/registry/views/xxevil6", headers={"x-request-id": "xxevil7"})
            return (await get("/metrics")).text

    text = asyncio.run(ask())
    assert "xxevil" not in text
    assert 'route="other"' in text


def test_a_worker_goes_on_from_the_numbers_of_one_that_died(tmp_path: Path) -> None:
    """Nothing that was counted is lost, and there are as many files as workers at a time."""
    first, other = Cells(str(tmp_path)), Cells(str(tmp_path))
    assert (first.slot, other.slot) == (0, 1)
    first.view[first.reserve("asof_errors", ("a",))] += 2.0
    other.view[other.reserve("asof_errors", ("a",))] += 3.0
    first.close()  # as the system does when a process ends
    again = Cells(str(tmp_path))
    assert again.slot == 0
    again.view[again.reserve("asof_errors", ("b",))] += 1.0
    again.view[again.reserve("asof_errors", ("a",))] += 4.0
    numbers = [found.numbers[("asof_errors", ("a",))] for found in again.all()]
    assert numbers == [[6.0], [3.0]]
    assert again.all()[0].numbers[("asof_errors", ("b",))] == [1.0]
    other.close()
    again.close()


def test_arrow_answers_are_counted_too(shop: Path) -> None:
    async def ask() -> str:
        batch = pa.record_batch({"customer_id": [17]})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as stream:
            stream.write_batch(batch)
        headers = {"content-type": "application/vnd.apache.arrow.stream"}
        async with running(shop) as server:
            await server.client.post(PATH + "?service=fraud", content=sink.getvalue().to_pybytes(), headers=headers)
            return (await server.client.get("/metrics")).text

    assert 'asof_online_request_keys_sum{service="fraud"} 1.0' in asyncio.run(ask())
