"""The serving log: equal to what was served and to training, bounded, and never torn."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pyarrow as pa
import pytest

from asof.backends.local.folders import LocalFolders
from asof.clock import FixedClock, parse_instant
from asof.errors import InputError, NotFoundError, StoreError
from asof.server.serving_queue import Rates, ServingQueue
from asof.services.serving_log import ServingLog
from asof.store import FeatureStore
from tests.observability.conftest import PATH, running
from tests.server.conftest import KEYS, make_project, start

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from asof.server.metrics import Metrics

NOW = parse_instant("2026-11-25T12:00:00Z")
REQUEST = {"distance": [1.5, 0.0, -3.25]}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A project of the test's own."""
    return make_project(tmp_path)


def logging_to(root: Path, rates: Rates, **options: Any) -> Callable[[Metrics], ServingQueue]:
    log = ServingLog(LocalFolders(root / ".asof" / "offline" / "serving_log"))
    return lambda metrics: ServingQueue(log, rates, metrics, FixedClock(NOW), flush_s=3600, **options)


def ask(root: Path, bodies: list[dict[str, Any]], rates: Rates, **options: Any) -> tuple[list[Any], str]:
    """Return the answers to some requests, and the metrics after them."""

    async def all_of_them() -> tuple[list[Any], str]:
        clock = FixedClock(NOW)
        async with running(root, clock=clock, serving_log=logging_to(root, rates, **options)) as server:
            answers = []
            for number, body in enumerate(bodies):
                clock.set(NOW + number)
                response = await server.client.post(PATH, json=body, headers={"x-request-id": f"r{number:04}"})
                answers.append(response.json())
            return answers, (await server.client.get("/metrics")).text

    return asyncio.run(all_of_them())


def test_the_log_has_the_answers_and_training_has_the_same(own: Path) -> None:
    """Keys, values, statuses and instants, with request inputs, lookups, roles, defaults and indicators."""
    bodies: list[dict[str, Any]] = [
        {"service": "fraud", "keys": KEYS, "metadata": True, "model": "m"},
        {"service": "fraud", "keys": {"customer_id": [42]}, "metadata": True, "at": "2026-11-26T00:00:00Z"},
        {"service": "offer", "keys": KEYS, "request": REQUEST, "metadata": True},
        {"service": "filled", "keys": KEYS, "metadata": True},
        {"service": "forecast", "keys": {"day": ["2026-01-01", None]}, "metadata": True},
        {"service": "pair", "keys": {"customer_id": [17], "referrer_id": [42]}, "metadata": True},
        {"service": "payment", "keys": {"card_id": ["A", "B", "C"]}, "metadata": True},
        {"features": ["spend:count_lifetime"], "keys": KEYS},
        {"service": "nothing", "keys": KEYS},
    ]
    answers, _ = ask(own, bodies, Rates(1.0))
    with FeatureStore(own, clock=FixedClock(NOW + 10)) as store:
        found = {one.service for one in store.serving_logs()}
        assert found == {"fraud", "offer", "filled", "forecast", "pair", "payment"}
        for number, (body, answer) in enumerate(zip(bodies[:7], answers, strict=False)):
            rows = store.serving_log(body["service"])
            mine = rows.filter(pa.compute.equal(rows["_request_id"], f"r{number:04}"))
            features = answer["features"]
            assert [list(row) for row in zip(*(mine[name].to_pylist() for name in features), strict=True)] == [
                result["values"] for result in answer["results"]
            ]
            stored = [n for n in features if not n.endswith("__missing")]
            assert {n: mine[f"{n}__status"].to_pylist() for n in stored} == {
                n: [result["statuses"][features.index(n)] for result in answer["results"]] for n in stored
            }
            assert {parse_instant(str(at)) for at in mine["_at"].to_pylist()} == {parse_instant(answer["at"])}
            assert set(mine["_model"].to_pylist()) == {body.get("model")}
            for key, column in body["keys"].items():
                assert [None if one is None else str(one) for one in mine[key].to_pylist()] == [
                    None if one is None else str(one) for one in column
                ]
        for service in sorted(found):
            compared = store.compare_serving(service)
            assert compared.rows == len(store.serving_log(service))
            assert compared.different == 0, compared


def test_a_source_that_was_edited_afterwards_is_found(own: Path) -> None:
    """The comparison names the feature, the request and both values."""
    ask(own, [{"service": "fraud", "keys": KEYS}], Rates(1.0))
    text = (own / "people.csv").read_text(encoding="utf-8")
    (own / "people.csv").write_text(text.replace("NL", "DE"), encoding="utf-8")
    with FeatureStore(own) as store:
        found = store.compare_serving("fraud")
    assert found.different == 1
    [changed] = [one for one in found.features if one.different]
    assert (changed.service, changed.feature, changed.equal) == ("fraud@1", "profile__country", 2)
    assert (changed.examples[0]["served"], changed.examples[0]["trained"]) == ("NL", "DE")
    assert changed.examples[0]["request_id"] == "r0000"


def test_the_id_alone_decides_what_is_logged(own: Path) -> None:
    """So a request is logged everywhere or nowhere, and shares come out as asked for."""
    chosen = [number for number in range(20_000) if Rates(0.01).chosen("fraud", f"id-{number}")]
    assert 120 < len(chosen) < 280
    assert all(Rates(0.1).chosen("fraud", f"id-{number}") for number in chosen)
    rates = Rates.parse(["0", "fraud=1"])
    assert rates is not None
    ask(own, [{"service": "fraud", "keys": KEYS}, {"service": "filled", "keys": KEYS}], rates)
    with FeatureStore(own) as store:
        assert [one.service for one in store.serving_logs()] == ["fraud"]


@pytest.mark.parametrize("text", ["2", "-0.1", "fraud", "fraud=", "nan", "fraud=x"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--serving-log"):
        Rates.parse([text])


def test_what_does_not_fit_is_dropped_and_counted(own: Path) -> None:
    """Answers are given all the same."""
    answers, text = ask(own, [{"service": "fraud", "keys": KEYS}] * 5, Rates(1.0), most_values=20)
    assert all(len(answer["results"]) == 3 for answer in answers)
    assert 'asof_serving_log_rows_total{outcome="dropped"} 9.0' in text  # 9 values each: two answers fit
    with FeatureStore(own) as store:
        assert len(store.serving_log("fraud")) == 6


def test_a_store_that_hangs_or_fails_holds_no_answer_up(own: Path) -> None:
    """While it hangs answers wait in memory; what it refuses is counted as failed."""
    hangs, entered = threading.Event(), threading.Event()

    class Broken(ServingLog):
        def add(self, service: str, table: pa.Table) -> None:
            entered.set()
            assert hangs.wait(60)
            raise StoreError("The disk is gone")

    log = Broken(LocalFolders(own / "nowhere"))
    metrics: list[Metrics] = []

    def queue(found: Metrics) -> ServingQueue:
        metrics.append(found)
        return ServingQueue(log, Rates(1.0), found, FixedClock(NOW), flush_s=0.01)

    async def ask_while_it_hangs() -> list[int]:
        async with running(own, serving_log=queue) as server:
            first = await server.client.post(PATH, json={"service": "fraud", "keys": KEYS})
            await asyncio.to_thread(entered.wait, 60)
            more = [await server.client.post(PATH, json={"service": "fraud", "keys": KEYS}) for _ in range(5)]
            hangs.set()
            return [one.status_code for one in (first, *more)]

    assert asyncio.run(ask_while_it_hangs()) == [200] * 6
    assert 'asof_serving_log_rows_total{outcome="failed"} 18.0' in metrics[0].text().decode()


def test_rows_are_found_by_service_version_and_time_and_pruned(own: Path) -> None:
    """Of two versions the columns are united; a file goes once all of its rows are old."""
    shelf = LocalFolders(own / ".asof" / "offline" / "serving_log")
    log = ServingLog(shelf)

    def rows(version: int, instants: list[int], **columns: list[int]) -> pa.Table:
        count = len(instants)
        times = pa.array(instants).cast(pa.timestamp("us", "UTC"))
        return pa.table({
            "_request_id": [f"r{at}" for at in instants], "_row": pa.array([0] * count, pa.int32()),
            "_version": [version] * count, "_served_at": times, **columns,
        })  # fmt: skip

    log.add("fraud@1", rows(1, [10, 20], a=[1, 2]))
    log.add("fraud@2", rows(2, [15, 30], a=[3, 4], b=[5, 6]))
    log.add("other@1", rows(1, [12], c=[0]))
    (own / ".asof" / "offline" / "serving_log" / "notes").mkdir()  # not ours, so left alone
    assert log.read("fraud")["a"].to_pylist() == [1, 3, 2, 4]
    assert log.read("fraud")["b"].to_pylist() == [None, 5, None, 6]
    assert log.read("fraud@2")["a"].to_pylist() == [3, 4]
    assert log.read("fraud", 15, 30)["a"].to_pylist() == [3, 2]
    assert log.read("fraud", 100).num_rows == 0
    with pytest.raises(NotFoundError, match="Did you mean fraud"):
        log.read("frau")
    assert [one.service for one in log.prune(16)] == ["other"]
    assert [(one.service, one.version) for one in log.prune(21)] == [("fraud", 1)]
    assert log.prune(100, "other") == []
    assert log.read("fraud")["a"].to_pylist() == [3, 4]
    assert (own / ".asof" / "offline" / "serving_log" / "notes").is_dir()


def test_a_server_that_is_killed_leaves_whole_files(own: Path) -> None:
    """What had been written is readable; a server that stops in order writes the rest."""
    server = start(own, "--serving-log", "1")
    httpx.post(server.url + PATH, json={"service": "fraud", "keys": KEYS}, timeout=60)
    assert server.stop() == 0
    server = start(own, "--serving-log", "fraud=1")
    httpx.post(server.url + PATH, json={"service": "fraud", "keys": KEYS}, timeout=60)
    os.kill(server.process.pid, signal.SIGKILL)
    server.stop()
    with FeatureStore(own) as store:
        found = store.serving_log("fraud")
        assert len(found) in (3, 6)
        assert store.compare_serving("fraud").different == 0
