"""The registry, the project's state, health, metrics and docs over HTTP."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from asof.server.openapi import document
from tests.server.conftest import KEYS

if TYPE_CHECKING:
    import httpx


def test_every_kind_is_listed_by_name(client: httpx.Client) -> None:
    names = {
        kind: [one["name"] for one in client.get(f"/v1/registry/{kind}").json()]
        for kind in ("entities", "sources", "views", "on-demand-views", "services")
    }
    assert names == {
        "entities": ["card", "customer", "day"],
        "sources": ["cards", "days", "late", "orders", "people"],
        "views": ["cards", "later", "profile", "spend", "weather"],
        "on-demand-views": ["half", "pricing"],
        "services": ["filled", "forecast", "fraud", "offer", "pair", "payment", "strict"],
    }


def test_an_object_is_described_with_its_version(client: httpx.Client) -> None:
    for query in ("", "?version=1"):
        found = client.get(f"/v1/registry/views/spend{query}").json()
        assert (found["kind"], found["name"], found["version"]) == ("view", "spend", 1)
        assert found["used_by"] == ["half@1", "pricing@1", "filled@1", "fraud@1", "payment@1"]


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/v1/registry/views/spnd", 404, "Did you mean spend?"),
        ("/v1/registry/views/fraud", 404, "no view 'fraud'"),
        ("/v1/registry/views/spend?version=9", 404, "spend@9"),
        ("/v1/registry/views/spend?version=new", 400, "whole number"),
        ("/v1/registry/vews", 404, "views"),
        ("/v1/registry/revisions?limit=-1", 400, "whole number"),
        ("/nowhere", 404, "/docs"),
        ("/v1/registry/views/../../../etc/passwd", 404, "/docs"),
    ],
)
def test_what_is_not_there_is_explained(client: httpx.Client, path: str, status: int, says: str) -> None:
    response = client.get(path)
    assert response.status_code == status
    assert says in response.text
    assert set(response.json()["error"]) == {"code", "what", "why", "fix", "request_id"}


def test_routes_that_read_refuse_to_be_written(client: httpx.Client) -> None:
    response = client.post("/v1/status")
    assert (response.status_code, response.json()["error"]["code"]) == (405, "method_not_allowed")
    assert "GET" in response.headers["allow"]


def test_revisions_are_listed(client: httpx.Client) -> None:
    [revision] = client.get("/v1/registry/revisions?limit=5").json()
    assert revision["number"] == 1


def test_status_and_readiness_name_what_is_not_materialized(client: httpx.Client) -> None:
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"status": "ready", "revision": 1, "not_materialized": ["later@1"]}
    views = {view["view"]: view["generation"] for view in client.get("/v1/status").json()["views"]}
    assert views["later"] is None
    assert views["spend"]["keys"] == 2


def test_metrics_count_requests_keys_errors_and_the_revision(client: httpx.Client) -> None:
    def read(name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", client.get("/metrics").text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    names = {
        'asof_http_requests_total{route="/v1/online-features",status="200"}': 1,
        'asof_http_requests_total{route="/v1/online-features",status="404"}': 1,
        'asof_errors_total{code="not_found"}': 1,
        'asof_http_request_duration_seconds_count{route="/v1/online-features"}': 2,
        'asof_online_request_keys_sum{service="fraud"}': 3,
    }
    before = {name: read(name) for name in names}
    client.post("/v1/online-features", json={"service": "fraud", "keys": KEYS})
    client.post("/v1/online-features", json={"service": "nothing", "keys": KEYS})
    assert {name: read(name) - before[name] for name in names} == names
    assert read('asof_registry_revision{worker="0"}') == 1


def test_the_openapi_document_names_exactly_the_routes(client: httpx.Client) -> None:
    """Each documented path answers, and what is served is documented."""
    served = client.get("/openapi.json").json()
    assert served == document()
    filled = {"{kind}": "views", "{name}": "spend"}
    expected = {"/v1/push": 403}  # which a server that only reads refuses
    for path, methods in served["paths"].items():
        concrete = re.sub(r"\{\w+\}", lambda match: filled[match[0]], path)
        for method in methods:
            response = client.request(method.upper(), concrete, content=b"{}" if method == "post" else None)
            assert response.status_code == expected.get(path, 400 if method == "post" else 200), (path, response.text)
    listed = set(re.findall(r'^\s+"(/[^"]*)": \w+,$', routes_source(), re.MULTILINE))
    assert listed == set(served["paths"]) - {"/v1/online-features", "/v1/push"}


def routes_source() -> str:
    from pathlib import Path

    import asof.server.routes

    return Path(asof.server.routes.__file__).read_text(encoding="utf-8")


def test_the_docs_page_loads_nothing_from_elsewhere(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "http://" not in page.text
    assert "https://" not in page.text


def test_metrics_and_status_show_how_fresh_views_are(client: httpx.Client) -> None:
    """What is not materialized has no sample; a view without an objective is not stale."""
    text = client.get("/metrics").text
    assert re.search(
        r'^asof_view_stale\{version="1",view="spend"\} 0.0$|^asof_view_stale\{view="spend",version="1"\} 0.0$',
        text,
        re.M,
    )
    assert 'view="later"' not in text
    status = client.get("/v1/status").json()
    (spend,) = [view for view in status["views"] if view["view"] == "spend"]
    assert spend["freshness"]["stale"] is False
    assert spend["freshness"]["entries_behind"] is None
    assert status["sources"] == []
