"""What a client answers over HTTP is what the library answers in the process, in values, types, statuses and errors."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asof.client import AsyncClient, Client
from asof.errors import AsofError, InputError, NotFoundError, UnsupportedOperationError
from asof.store import FeatureStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.server.conftest import Server

VIEWS = {
    "wide": [
        "f64",
        "f32",
        "i8",
        "text",
        "flag",
        "money",
        "raw",
        "born",
        "seen",
        "clock",
        "took",
        "tags",
        "sums",
        "vector",
    ],
    "spend": ["count_7d", "money_sum_lifetime", "f64_sum_lifetime_by_born", "seen_last_2_lifetime"],
    "scaled": ["ratio", "age"],
}
LISTED = [f"{view}:{name}" for view, names in VIEWS.items() for name in names]
FEATURES = st.sampled_from(["everything", "everything@1", "filled", ["wide"], ["spend", "wide:f64"]]) | st.lists(
    st.sampled_from(LISTED), min_size=1, max_size=4
)
KEYS = st.lists(st.sampled_from([1, 2, 3, 9, None, 2**62]), min_size=1, max_size=3)
FLOATS = st.sampled_from([1.0, -0.0, math.inf, -math.inf, math.nan, None, 7])
TIMES = st.sampled_from([datetime(2026, 1, 1, tzinfo=UTC), datetime(2025, 1, 1), "2026-01-01T00:00:00+01:00", None])
AT = st.sampled_from([timedelta(days=3650), timedelta(days=3651, microseconds=1)])


@pytest.fixture(scope="session")
def store(types_project: Path) -> Iterator[FeatureStore]:
    with FeatureStore(types_project) as store:
        yield store


@pytest.fixture(scope="session")
def client(types_server: Server) -> Iterator[Client]:
    with Client(types_server.url, timeout_s=60) as client:
        yield client


def ours(store: FeatureStore, features: Any, keys: Any, **rest: Any) -> Any:
    try:
        return store.get_online_features(features, keys, **rest)
    except AsofError as error:
        return type(error), str(error)


def theirs(client: Client, features: Any, keys: Any, **rest: Any) -> Any:
    try:
        return client.get_online_features(features, keys, **rest)
    except AsofError as error:
        return type(error), str(error)


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_answer_is_the_library_s(store: FeatureStore, client: Client, data: st.DataObject) -> None:
    """Same features, keys, request and instant: same values and types, or the same error."""
    features, ids = data.draw(FEATURES), data.draw(KEYS)
    request: dict[str, Any] | None = {"by": [data.draw(FLOATS) for _ in ids], "when": [data.draw(TIMES) for _ in ids]}
    if data.draw(st.booleans()) and not any("scaled" in one or "everything" in one for one in features):
        request = None
    at = datetime(2026, 1, 1, tzinfo=UTC) + data.draw(AT)
    keys = {"customer_id": ids}
    expected = ours(store, features, keys, at=at, request=request)
    for arrow in (False, True):
        found = theirs(client, features, keys, at=at, request=request, metadata=True, arrow=arrow)
        if isinstance(expected, tuple):
            assert found == expected
            continue
        assert found.to_arrow().equals(expected.to_arrow(), check_metadata=True)
        assert found.to_arrow(statuses=True).equals(expected.to_arrow(statuses=True))
        assert found.to_dict() == expected.to_dict()
        assert arrow or repr(found.to_dict()) == repr(expected.to_dict())
        assert found.statuses == expected.statuses
        assert (found.at, found.service, found.versions) == (expected.at, expected.service, expected.versions)
        if not arrow:
            assert found.event_times == expected.event_times


def test_every_value_of_every_type_is_the_library_s(store: FeatureStore, client: Client) -> None:
    """Each row of the table once, all columns: floats of 32 bits, infinities, empty bytes, the first day."""
    keys, at = {"customer_id": [1, 2, 3, 9]}, datetime(2036, 1, 1, tzinfo=UTC)
    expected = store.get_online_features(["wide", "spend"], keys, at=at).to_dict()
    assert repr(client.get_online_features(["wide", "spend"], keys, at=at).to_dict()) == repr(expected)


def test_maps_have_the_keys_that_the_library_gives(store: FeatureStore, client: Client) -> None:
    """Dates, times, integers, bytes and bools are text in JSON and themselves in the answer."""
    at = datetime(2036, 1, 1, tzinfo=UTC)
    expected = store.get_online_features(["spend"], {"customer_id": [1, 2, 3]}, at=at)
    found = client.get_online_features(["spend"], {"customer_id": [1, 2, 3]}, at=at)
    assert found.to_dict() == expected.to_dict()
    assert {
        type(key) for values in found.to_dict().values() for one in values if isinstance(one, dict) for key in one
    } == {
        date,
        datetime,
        int,
        bytes,
        bool,
        type(None),
    } - {type(None)}


def test_keys_may_be_rows_arrays_dates_and_bytes(store: FeatureStore, client: Client) -> None:
    rows: list[dict[str, Any]] = [{"day": date(2026, 1, 1), "part": b"\x00a"}, {"day": None, "part": b""}]
    assert client.get_online_features("days", rows).to_dict() == {"dated__rain": [2.5, None]}
    for keys in (pa.array([1, 2]), pa.array([1, 2]).to_numpy(), (1, 2)):
        found = client.get_online_features("filled", {"customer_id": keys}, at="2036-01-01")
        assert (
            found.to_dict() == store.get_online_features("filled", {"customer_id": [1, 2]}, at="2036-01-01").to_dict()
        )


def test_an_async_client_answers_the_same(client: Client, types_server: Server) -> None:
    """Also many tasks at once over a few connections, and in one event loop after another."""
    keys, at = {"customer_id": [1, 2, 9]}, "2036-01-01"
    expected = client.get_online_features("filled", keys, at=at, metadata=True)
    other = AsyncClient(types_server.url, connections=3, timeout_s=60)

    async def read() -> None:
        answers = await asyncio.gather(
            *(other.get_online_features("filled", keys, at=at, metadata=True) for _ in range(20))
        )
        for answer in answers:
            assert (answer.to_dict(), answer.statuses) == (expected.to_dict(), expected.statuses)
        assert await other.service("filled@1") == client.service("filled")
        assert await other.services() == client.services()
        assert await other.ready() == client.ready()
        with pytest.raises(NotFoundError, match="Did you mean filled"):
            await other.get_online_features("filed", keys)
        await other.close()

    asyncio.run(read())
    asyncio.run(read())


def test_a_service_tells_the_versions_that_it_is_pinned_to(client: Client) -> None:
    assert client.services() == {"days": 1, "everything": 1, "filled": 1}
    service = client.service("filled")
    assert (service.key, service.versions) == ("filled@1", (1,))
    assert [(one.view, one.view_version, one.feature) for one in service.features] == [
        ("wide", 1, "f64"),
        ("wide", 1, "money"),
    ]
    with pytest.raises(NotFoundError, match="Did you mean filled"):
        client.service("filed")


def test_what_was_not_asked_for_is_not_answered(client: Client) -> None:
    for arrow in (False, True):
        answer = client.get_online_features("filled", {"customer_id": [1]}, arrow=arrow)
        with pytest.raises(InputError, match="metadata=True"):
            _ = answer.statuses
        with pytest.raises(InputError, match="metadata=True"):
            answer.to_arrow(statuses=True)
    with pytest.raises(UnsupportedOperationError, match="event times"):
        _ = client.get_online_features("filled", {"customer_id": [1]}, arrow=True, metadata=True).event_times


def test_values_that_json_cannot_hold_are_refused_before_they_are_sent(client: Client) -> None:
    for keys, says in ((7, "Keys are a int"), ({"customer_id": [object()]}, "object cannot be sent")):
        with pytest.raises((InputError, UnsupportedOperationError), match=says):
            client.get_online_features("filled", keys)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", [list, pa.Table.from_pylist])
def test_pushed_rows_are_read_at_once(client: Client, form: Any) -> None:
    """Rows as dicts go as JSON, tables as Arrow; a refused row says why."""
    name = form.__name__
    at = datetime.now(UTC) - timedelta(minutes=1)
    rows = form([{"customer_id": 50 + len(name), "amount": 2.5, "ts": at, "id": name + one} for one in "ab"])
    done = client.push("clicks", rows)
    assert (done.taken, done.refused, done.readable) == (2, 0, True)
    assert done.at is not None
    again = client.push("clicks", form([{"customer_id": 50 + len(name), "amount": 1.0, "ts": None, "id": "c"}]))
    assert (again.taken, again.refused) == (0, 1)
    assert "ts" in again.reasons[0] or "event time" in again.reasons[0]
    found = client.get_online_features(["clicked:amount_sum_lifetime"], {"customer_id": [50 + len(name)]})
    assert found.to_dict() == {"clicked__amount_sum_lifetime": [5.0]}
    with pytest.raises(NotFoundError):
        client.push("click", rows)
    with pytest.raises(InputError):
        client.push("clicks", 7)
