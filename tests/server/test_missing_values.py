"""Services that treat missing values over HTTP: indicators beside values, errors with their own code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from tests.server.conftest import KEYS
from tests.server.test_online_features import ARROW, PATH, ask, refused

if TYPE_CHECKING:
    import httpx

FEATURES = [
    "spend__count_lifetime",
    "spend__count_lifetime__missing",
    "profile__country",
    "profile__country__missing",
]
VALUES = [[2, False, "NL", False], [1, False, "BE", False], [0, True, "??", True]]


def test_values_are_filled_and_marked(client: httpx.Client) -> None:
    """With metadata too, whose event times are those of views only."""
    plain = ask(client, service="filled", keys=KEYS).json()
    assert plain["features"] == FEATURES
    assert [result["values"] for result in plain["results"]] == VALUES
    body = ask(client, service="filled", keys=KEYS, metadata=True).json()
    assert [*body] == ["service", "at", "views", "features", "results"]
    assert set(body["views"]) == {"spend", "profile"}
    assert [result["values"] for result in body["results"]] == VALUES
    assert body["results"][2]["statuses"] == ["missing", "present", "missing", "present"]
    assert body["results"][0]["event_times"] == {"spend": "2026-01-03T00:00:00Z", "profile": "2026-01-01T00:00:00Z"}
    assert body["results"][2]["event_times"] == {"spend": None, "profile": None}


def test_arrow_has_the_indicators(client: httpx.Client) -> None:
    found = client.post(PATH, json={"service": "filled", "keys": KEYS}, headers={"accept": ARROW})
    with pa.ipc.open_stream(found.content) as answer:
        table = answer.read_all()
    assert table.column_names == FEATURES
    assert table["profile__country__missing"].to_pylist() == [False, False, True]


def test_a_missing_value_can_be_refused(client: httpx.Client) -> None:
    """Where the service says so; other keys are answered."""
    text = refused(ask(client, service="strict", keys=KEYS), 422, "value_missing")
    assert "Feature profile:country has no value for 1 of 3 keys. customer_id=99: missing" in text
    assert ask(client, service="strict", keys={"customer_id": [42]}).json()["results"] == [{"values": ["BE"]}]
