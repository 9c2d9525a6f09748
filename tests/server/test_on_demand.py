"""On-demand views over HTTP: request inputs beside the keys, in JSON and in Arrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from tests.server.test_online_features import ARROW, PATH, ask, refused, stream

if TYPE_CHECKING:
    import httpx

FEATURES = ["pricing__per_mile", "pricing__age", "profile__country", "half__amount"]


def later(client: httpx.Client, **body: Any) -> httpx.Response:
    return ask(client, at="2126-01-01T00:00:00Z", **body)


def test_request_inputs_are_computed_with(client: httpx.Client) -> None:
    """Null and what was left out take the default; functions come from the project's own files."""
    request = {"distance": [2.0, 0], "since": ["2125-12-30T12:00:00Z", None]}
    body = later(client, service="offer", keys={"customer_id": [17, 42]}, request=request, metadata=True).json()
    assert body["features"] == FEATURES
    assert [result["values"] for result in body["results"]] == [[1.0, 1.5, "NL", 1.0], [None, 36524.0, "BE", 0.5]]
    assert body["results"][1]["statuses"] == ["null", "present", "present", "present"]
    assert set(body["views"]) == {"spend", "profile"}


def test_an_arrow_body_holds_keys_and_inputs(client: httpx.Client) -> None:
    """Columns are told apart by their names."""
    table = pa.table({"customer_id": [17], "distance": [4.0]})
    found = client.post(
        PATH,
        params={"service": "offer", "at": "2126-01-01T00:00:00Z"},
        content=stream(table),
        headers={"content-type": ARROW, "accept": ARROW},
    )
    with pa.ipc.open_stream(found.content) as answer:
        assert answer.read_all()["pricing__per_mile"].to_pylist() == [0.5]


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (None, "no field 'distance'"),
        ({"distanse": [1.0]}, "Did you mean distance"),
        ({"distance": ["far"]}, "is not float64"),
        ({"distance": [1.0], "since": ["soon"]}, "is not timestamp"),
        ({"distance": [1.0] * 101}, "keys"),
        ({"distance": 1.0}, "Expected `array`"),
    ],
)
def test_a_wrong_request_is_refused(client: httpx.Client, request_: Any, text: str) -> None:
    """With what is missing or wrong."""
    answer = later(client, service="offer", keys={"customer_id": [17]}, request=request_)
    if answer.status_code == 413:
        assert text in answer.text
    else:
        assert text in refused(answer, 400, "input_invalid")
