"""`POST /v1/online-features`: what it answers, in which form, and what it refuses."""

from __future__ import annotations

import io
import json
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from tests.server.conftest import FEATURES, KEYS, VALUES

if TYPE_CHECKING:
    import httpx

PATH = "/v1/online-features"
ARROW = "application/vnd.apache.arrow.stream"


def ask(client: httpx.Client, **body: Any) -> httpx.Response:
    return client.post(PATH, json=body)


def refused(response: httpx.Response, status: int, code: str) -> str:
    """Check an error's form, and return its text."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "what", "why", "fix"}
    assert body["error"]["code"] == code
    assert body["error"]["what"]
    assert body["error"]["fix"]
    assert "Traceback" not in response.text
    return " ".join(body["error"].values())


def stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    body: bytes = sink.getvalue().to_pybytes()
    return body


@pytest.mark.parametrize("service", ["fraud", "fraud@1"])
def test_a_service_answers_its_features_in_the_order_of_the_keys(client: httpx.Client, service: str) -> None:
    answer = ask(client, service=service, keys=KEYS).json()
    assert answer["service"] == "fraud@1"
    assert answer["features"] == FEATURES
    assert [result["values"] for result in answer["results"]] == VALUES
    assert all(set(result) == {"values"} for result in answer["results"])


def test_listed_features_are_answered_in_the_order_listed(client: httpx.Client) -> None:
    answer = ask(client, features=["profile:country", "spend@1:count_lifetime"], keys=KEYS).json()
    assert answer["features"] == ["profile__country", "spend__count_lifetime"]
    assert [result["values"] for result in answer["results"]] == [["NL", 2], ["BE", 1], [None, 0]]


def test_metadata_says_why_a_value_is_what_it_is(client: httpx.Client) -> None:
    answer = ask(client, service="fraud", keys=KEYS, metadata=True).json()
    assert [result["statuses"][2] for result in answer["results"]] == ["present", "present", "missing"]
    assert answer["results"][0]["event_times"] == {"spend": "2026-01-03T00:00:00Z", "profile": "2026-01-01T00:00:00Z"}
    assert answer["results"][2]["event_times"] == {"spend": None, "profile": None}
    assert answer["views"]["spend"]["generation"] == 1


def test_a_null_key_is_an_entity_that_was_never_seen(client: httpx.Client) -> None:
    answer = ask(client, service="fraud", keys={"customer_id": [None]}, metadata=True).json()
    assert answer["results"][0]["statuses"] == ["missing"] * 3


def test_date_keys_are_text_in_json(client: httpx.Client) -> None:
    answer = ask(client, service="forecast", keys={"day": ["2026-01-05", "2026-01-02", None]}).json()
    assert [result["values"] for result in answer["results"]] == [[2.5], [None], [None]]


def test_a_role_takes_its_keys_from_a_column_of_its_own(client: httpx.Client) -> None:
    """Both roles of one view are in one answer, their event times and versions under names of their own."""
    keys = {"customer_id": [17, 99], "referrer_id": [42, 17]}
    answer = ask(client, service="pair", keys=keys, metadata=True).json()
    assert answer["features"] == ["profile__country", "referrer__profile__country"]
    assert [result["values"] for result in answer["results"]] == [["NL", "BE"], [None, "NL"]]
    assert list(answer["views"]) == ["profile", "referrer__profile"]
    assert answer["results"][0]["event_times"] == {
        "profile": "2026-01-01T00:00:00Z",
        "referrer__profile": "2026-01-02T00:00:00Z",
    }
    assert "'referrer_id' is missing" in refused(ask(client, service="pair", keys=KEYS), 400, "input_invalid")


def test_an_instant_of_the_future_is_answered_as_of_then(client: httpx.Client) -> None:
    assert ask(client, service="fraud", keys=KEYS, at="2099-01-01").json()["at"] == "2099-01-01T00:00:00Z"


def test_arrow_comes_back_when_it_is_asked_for(client: httpx.Client) -> None:
    response = client.post(PATH, json={"service": "fraud", "keys": KEYS}, headers={"accept": ARROW})
    assert response.headers["content-type"] == ARROW
    table = pa.ipc.open_stream(response.content).read_all()
    assert table.column_names == FEATURES
    assert [list(row.values()) for row in table.to_pylist()] == VALUES


def test_keys_may_come_as_arrow(client: httpx.Client) -> None:
    """Any integer width will do, and what to read is in the query string."""
    body = stream(pa.table({"customer_id": pa.array([17, 42, 99], pa.int32())}))
    for query in ("service=fraud", "feature=spend&feature=profile:country"):
        answer = client.post(f"{PATH}?{query}&metadata=true", content=body, headers={"content-type": ARROW}).json()
        assert [result["values"] for result in answer["results"]] == VALUES
        assert "statuses" in answer["results"][0]


def test_arrow_dates_are_date_keys(client: httpx.Client) -> None:
    days = pa.array([date(2026, 1, 2), date(2026, 1, 5)])
    response = client.post(
        f"{PATH}?service=forecast",
        content=stream(pa.table({"day": days})),
        headers={"content-type": ARROW, "accept": ARROW},
    )
    assert pa.ipc.open_stream(response.content).read_all().column("weather__rain").to_pylist() == [None, 2.5]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b'{"keys": {"customer_id": [17]}', b'{"keys": {"customer_id": [NaN]}}']
)
def test_a_body_that_is_no_json_is_refused(client: httpx.Client, body: bytes) -> None:
    assert "not JSON" in refused(client.post(PATH, content=body), 400, "input_invalid")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ([], "object"),
        ({"service": "fraud"}, "keys"),
        ({"service": "fraud", "keys": {"customer_id": 17}}, "array"),
        ({"service": "fraud", "keys": KEYS, "extra": 1}, "extra"),
        ({"keys": KEYS}, "neither"),
        ({"service": "fraud", "features": ["spend:count_lifetime"], "keys": KEYS}, "both"),
        ({"service": "spend:count_lifetime", "keys": KEYS}, '"features"'),
        ({"features": [], "keys": KEYS}, "No features"),
        ({"service": "fraud", "keys": {}}, "'customer_id' is missing"),
        ({"service": "fraud", "keys": {"customer_di": [1]}}, "customer_id"),
        ({"service": "fraud", "keys": {"customer_id": ["17"]}}, "int64"),
        ({"service": "fraud", "keys": {"customer_id": [True]}}, "int64"),
        ({"service": "fraud", "keys": {"customer_id": [2**70]}}, "int64"),
        ({"service": "fraud", "keys": {"customer_id": [[1]]}}, "int64"),
        ({"service": "fraud", "keys": {"customer_id": [1.5]}}, "int64"),
        ({"service": "forecast", "keys": {"day": ["soon"]}}, "day as date"),
        ({"service": "forecast", "keys": {"day": [5]}}, "day as date"),
        ({"service": "fraud", "keys": KEYS, "at": "noon"}, "ISO 8601"),
        ({"service": "fraud", "keys": {"customer_id": list(range(101))}}, "101 keys"),
        ({"service": "no/such name", "keys": KEYS}, "reference"),
    ],
)
def test_a_request_that_cannot_be_used_is_told_why(client: httpx.Client, body: Any, says: str) -> None:
    assert says in refused(client.post(PATH, content=json.dumps(body)), 400, "input_invalid")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"service": "frad", "keys": KEYS}, "Did you mean fraud?"),
        ({"service": "fraud@7", "keys": KEYS}, "no version 7"),
        ({"features": ["spend:count_lifetim"], "keys": KEYS}, "count_lifetime"),
    ],
)
def test_an_unknown_name_is_met_with_a_near_one(client: httpx.Client, body: Any, says: str) -> None:
    assert says in refused(client.post(PATH, json=body), 404, "not_found")


def test_a_view_that_is_not_materialized_says_what_to_run(client: httpx.Client) -> None:
    response = ask(client, features=["later:country"], keys=KEYS)
    assert "asof materialize later" in refused(response, 409, "not_materialized")


def test_an_instant_before_the_generation_is_refused(client: httpx.Client) -> None:
    refused(ask(client, service="fraud", keys=KEYS, at="2020-01-01"), 409, "not_materialized")


def test_a_body_beyond_the_limit_is_refused(client: httpx.Client) -> None:
    """With a length in the head, and in chunks without one."""
    body = b" " * 20_001
    refused(client.post(PATH, content=body), 413, "body_too_large")
    refused(client.post(PATH, content=(body[i : i + 3000] for i in range(0, len(body), 3000))), 413, "body_too_large")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_another_method_is_refused(client: httpx.Client, method: str) -> None:
    response = client.request(method, PATH)
    refused(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"


@pytest.mark.parametrize("body", [b"", b"no stream", stream(pa.table({"customer_id": [17]}))[:-60]])
def test_an_arrow_body_that_cannot_be_read_is_refused(client: httpx.Client, body: bytes) -> None:
    response = client.post(f"{PATH}?service=fraud", content=body, headers={"content-type": ARROW})
    refused(response, 400, "input_invalid")


@pytest.mark.parametrize(
    ("query", "says"), [("service=fraud&sevice=x", "service"), ("", "neither"), ("service=fraud&metadata=1", "true")]
)
def test_a_query_that_cannot_be_used_is_told_why(client: httpx.Client, query: str, says: str) -> None:
    body = stream(pa.table({"customer_id": [17]}))
    response = client.post(f"{PATH}?{query}", content=body, headers={"content-type": ARROW})
    assert says in refused(response, 400, "input_invalid")


def test_a_snapshot_may_be_asked_for(client: httpx.Client) -> None:
    """In JSON and beside an Arrow body; a name that is none is explained, and so is a snapshot of the future."""
    answer = ask(client, service="fraud", keys=KEYS, consistency="snapshot").json()
    assert [result["values"] for result in answer["results"]] == VALUES
    headers = {"content-type": ARROW, "accept": ARROW}
    body = stream(pa.table(KEYS))
    arrow = client.post(f"{PATH}?service=fraud&consistency=snapshot", content=body, headers=headers)
    assert arrow.status_code == 200
    assert "Did you mean snapshot?" in refused(
        ask(client, service="fraud", keys=KEYS, consistency="snapshots"), 400, "input_invalid"
    )
    future = ask(client, service="fraud", keys=KEYS, consistency="snapshot", at="2999-01-01T00:00:00Z")
    assert "cannot be read yet" in refused(future, 400, "input_invalid")


def test_keys_that_are_looked_up_are_not_asked_for(client: httpx.Client) -> None:
    """A service about a card's owner takes cards; the metadata shows both views."""
    body = ask(client, service="payment", keys={"card_id": ["A", "B", "C", None]}, metadata=True).json()
    assert [result["values"] for result in body["results"]] == [[2], [0], [0], [0]]
    assert [result["statuses"] for result in body["results"]] == [["present"], ["missing"], ["missing"], ["missing"]]
    assert list(body["views"]) == ["spend", "cards"]
    refused(ask(client, service="payment", keys={"customer_id": [17]}), 400, "input_invalid")


def test_a_partial_answer_of_a_store_that_works_is_whole(client: httpx.Client) -> None:
    """In JSON, and with an Arrow body, whose query takes the flag too."""
    whole = ask(client, service="fraud", keys=KEYS).json()
    found = ask(client, service="fraud", keys=KEYS, partial=True).json()
    assert found["results"] == whole["results"]
    assert "errors" not in found
    with io.BytesIO() as body:
        with pa.ipc.new_stream(body, pa.table(KEYS).schema) as stream:
            stream.write_table(pa.table(KEYS))
        sent, headers = body.getvalue(), {"content-type": ARROW}
    found = client.post(f"{PATH}?service=fraud&partial=true", content=sent, headers=headers).json()
    assert found["results"] == whole["results"]
    refused(client.post(f"{PATH}?service=fraud&partial=1", content=sent, headers=headers), 400, "input_invalid")
