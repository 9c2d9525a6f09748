"""Rows pushed over HTTP: taken once each, the bad ones by themselves, while reads go on."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pyarrow as pa
import pytest

from asof.store import FeatureStore
from tests.server.conftest import Server, start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEFINITIONS = """
from asof import Count, Entity, EventView, FeatureService, FileSource, StateView, StreamSource, Sum

customer = Entity("customer", join_key="customer_id")
types = {"customer_id": "int64", "amount": "float64", "at": "timestamp"}
orders = StreamSource("orders", schema=types, event_time="at")
exact = StreamSource(
    "exact", schema={**types, "id": "string", "day": "date", "raw": "binary", "price": "decimal(10,2)"},
    event_time="at", event_id="id",
)
spend = EventView(
    "spend", entity=customer, source=orders,
    features=[Sum("amount", windows=["lifetime"], default=0.0), Count(windows=["lifetime"])],
)
bought = EventView("bought", entity=customer, source=exact, features=[Sum("price", windows=["lifetime"])])
people = FileSource("people", path="people.csv", event_time="since")
profile = StateView("profile", entity=customer, source=people, features=["country"])
"""
SETTINGS = 'project = "shop"\n'
PATH = "/v1/push"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pushed")
    (root / "asof.toml").write_text(SETTINGS, encoding="utf-8")
    (root / "features.py").write_text(DEFINITIONS, encoding="utf-8")
    (root / "people.csv").write_text("customer_id,country,since\n17,NL,2026-01-01\n", encoding="utf-8")
    with FeatureStore(root) as store:
        store.apply()
        store.materialize()
    return root


@pytest.fixture(scope="module")
def writable(root: Path) -> Iterator[Server]:
    """Two workers, so pushes of one source meet in several processes and threads."""
    server = start(root, "--push", "--workers", "2", "--max-body", "200000")
    yield server
    assert server.stop() == 0, "".join(server.log)


@pytest.fixture
def client(writable: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=writable.url, timeout=60) as client:
        yield client


def order(customer: Any, amount: Any = 1.0, at: Any = "2026-01-01T00:00:00Z", **more: Any) -> dict[str, Any]:
    return {"customer_id": customer, "amount": amount, "at": at, **more}


def push(client: httpx.Client, rows: list[Any], source: str = "orders") -> Any:
    response = client.post(PATH, json={"source": source, "rows": rows})
    assert response.status_code == 200, response.text
    return response.json()


def values(client: httpx.Client, customer: int, feature: str = "spend:count_lifetime") -> Any:
    body = {"features": [feature], "keys": {"customer_id": [customer]}}
    response = client.post("/v1/online-features", json=body)
    assert response.status_code == 200, response.text
    return response.json()["results"][0]["values"][0]


def test_a_pushed_row_is_read_once_the_push_is_answered(client: httpx.Client) -> None:
    for count in range(1, 4):
        done = push(client, [order(1)])
        assert (done["source"], done["taken"], done["refused"], done["behind"]) == ("orders", 1, 0, {})
        assert done["at"].endswith("Z")
        assert values(client, 1) == count


def test_bad_rows_do_not_hold_up_good_ones(client: httpx.Client, root: Path) -> None:
    """They are named by their place, and kept as they were sent."""
    done = push(client, [order(2), order(2, "much"), [1], order(2, at=None), order(2, 2.5)])
    assert (done["taken"], done["refused"]) == (2, 3)
    assert [one["row"] for one in done["reasons"]] == [1, 2, 3]
    assert done["reasons"][1]["reason"] == "the row is no JSON object"
    assert values(client, 2, "spend:amount_sum_lifetime") == 3.5
    with FeatureStore(root) as store:
        kept = [store.dead_letter("orders", f"{done['entry']}-{n}").value for n in range(3)]
    assert kept[1] == b"[1]"
    assert b'"much"' in (kept[0] or b"")


def test_an_answer_lists_some_reasons_and_counts_all(client: httpx.Client) -> None:
    done = push(client, [order(3, at=None)] * 150)
    assert (done["taken"], done["refused"], len(done["reasons"])) == (0, 150, 100)


def test_dates_bytes_and_decimals_have_a_json_form(client: httpx.Client) -> None:
    fine = {"id": "a", "day": "2026-01-02", "raw": "AP8=", "price": "9.50"}
    done = push(client, [order(4, **fine), order(4, **{**fine, "id": "b", "price": 0.25})], "exact")
    assert done["taken"] == 2
    assert values(client, 4, "bought:price_sum_lifetime") == "9.75"
    wrong = [{"day": "soon"}, {"raw": "?"}, {"price": "dear"}, {"price": "9.999"}]
    done = push(client, [order(4, **{**fine, "id": f"w{i}", **one}) for i, one in enumerate(wrong)], "exact")
    assert (done["taken"], done["refused"]) == (0, 4)
    assert [re.findall(r"column '(\w+)'", r["reason"])[0] for r in done["reasons"]] == ["day", "raw", "price", "price"]


def test_an_arrow_stream_is_a_push_too(client: httpx.Client) -> None:
    table = pa.table({"customer_id": [5] * 2000, "amount": [0.5] * 2000, "at": ["2026-01-01"] * 1999 + [None]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    headers = {"content-type": "application/vnd.apache.arrow.stream"}
    body = sink.getvalue().to_pybytes()
    response = client.post(f"{PATH}?source=orders", content=body, headers=headers)
    assert (response.status_code, response.json()["taken"], response.json()["refused"]) == (200, 1999, 1)
    assert values(client, 5) == 1999
    for query, sent in (("", body), ("?source=orders&what=1", body), ("?source=orders", body[:300])):
        response = client.post(PATH + query, content=sent, headers=headers)
        assert (response.status_code, response.json()["error"]["code"]) == (400, "input_invalid"), query


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "not JSON"),
        (b"[]", 400, "not a push"),
        (b'{"source": "orders"}', 400, "rows"),
        (b'{"source": "orders", "rows": [], "more": 1}', 400, "more"),
        (b'{"source": "oders", "rows": []}', 404, "Did you mean orders?"),
        (b'{"source": "people", "rows": []}', 400, "takes no rows"),
        (b'{"source": "orders", "rows": [' + b" " * 200_000 + b"]}", 413, "Push fewer rows"),
    ],
)
def test_what_is_no_push_is_explained(client: httpx.Client, body: bytes, status: int, says: str) -> None:
    response = client.post(PATH, content=body)
    assert response.status_code == status
    assert set(response.json()["error"]) == {"code", "what", "why", "fix", "request_id"}
    assert says in response.text


def test_a_push_of_nothing_changes_nothing(client: httpx.Client) -> None:
    assert push(client, [])["entry"] == push(client, [])["entry"]


def test_only_post_pushes(client: httpx.Client) -> None:
    response = client.get(PATH)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


def test_a_server_that_only_reads_says_so(root: Path) -> None:
    server = start(root)
    try:
        response = httpx.post(server.url + PATH, json={"source": "orders", "rows": [order(1)]}, timeout=60)
        assert (response.status_code, response.json()["error"]["code"]) == (403, "push_not_allowed")
        assert "--push" in response.text
    finally:
        assert server.stop() == 0


def test_rows_are_counted_by_source_and_outcome(client: httpx.Client) -> None:
    def read(outcome: str) -> float:
        name = f'asof_pushed_rows_total{{outcome="{outcome}",source="exact"}}'
        found = re.search(rf"^{re.escape(name)} (\S+)$", client.get("/metrics").text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    before = read("taken"), read("refused")
    push(client, [order(6, id="x"), order(6, id=None)], "exact")
    assert (read("taken") - before[0], read("refused") - before[1]) == (1, 1)


def test_pushes_of_one_source_at_once_count_each_row_once_while_reads_go_on(client: httpx.Client) -> None:
    """Reads never see a count fall, nor rows that were not pushed."""
    pushes, size, customers = 12, 50, [100, 101, 102, 103]
    seen: list[int] = []
    wrong: list[Any] = []
    stop = threading.Event()

    def pushing(customer: int) -> None:
        with httpx.Client(base_url=client.base_url, timeout=60) as own:
            for number in range(pushes):
                done = push(own, [*[order(c) for c in customers] * size, order(customer, at=None)])
                if (done["taken"], done["refused"]) != (4 * size, 1):
                    wrong.append(done)
                if (found := values(own, customer)) < (number + 1) * size:
                    wrong.append(("not readable", found))

    def reading() -> None:
        with httpx.Client(base_url=client.base_url, timeout=60) as own:
            while not stop.is_set():
                seen.append(values(own, customers[0]))

    reader = threading.Thread(target=reading)
    reader.start()
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(pushing, customer) for customer in customers]:
            done.result()
    stop.set()
    reader.join()
    assert wrong == []
    assert [values(client, one) for one in customers] == [4 * pushes * size] * 4
    assert seen == sorted(seen)
    assert {count % size for count in seen} == {0}
