"""Feast's HTTP API is answered: its own client from PyPI reads and pushes, and gets the library's values."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from asof.store import FeatureStore
from tests.server.conftest import KEYS, start
from tests.server.test_online_features import refused
from tests.servers.feast import feast

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.server.conftest import Server

READER = """
import json, sys
from datetime import timedelta
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, Int64, String

open("feature_store.yaml", "w").write(
    "project: shop\\nregistry: registry.db\\nprovider: local\\nentity_key_serialization_version: 3\\n"
    f"online_store: {{type: remote, path: '{sys.argv[1]}'}}\\n"
)
customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
source = FileSource(name="none", path="none.parquet", timestamp_field="ts")
spend = FeatureView(
    name="spend", entities=[customer], ttl=timedelta(0), source=source,
    schema=[Field(name="amount_sum_lifetime", dtype=Float64), Field(name="count_lifetime", dtype=Int64)],
)
profile = FeatureView(
    name="profile", entities=[customer], ttl=timedelta(0), source=source, schema=[Field(name="country", dtype=String)]
)
store = FeatureStore(repo_path=".")
store.registry.apply_project(__import__("feast").Project(name="shop"), "shop")
store.registry.apply_entity(customer, "shop")
for view in (spend, profile):
    store.registry.apply_feature_view(view, "shop")
fraud = FeatureService(name="fraud", features=[spend, profile])
rows = [{"customer_id": one} for one in (17, 42, 99)]
listed = ["spend:amount_sum_lifetime", "profile:country"]
answers = [
    store.get_online_features(fraud, rows).to_dict(),
    store.get_online_features(listed, rows, full_feature_names=True).to_dict(),
]
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
keys = [EntityKey(join_keys=["customer_id"], entity_values=[Value(int64_val=one)]) for one in (17, 42, 99)]
online = store._get_provider().online_store
read = online.online_read(store.config, spend, keys, ["amount_sum_lifetime", "count_lifetime"])
answers.append([[values["amount_sum_lifetime"].double_val, values["count_lifetime"].int64_val] for _, values in read])
try:
    store.get_online_features(["spend:nothing"], rows)
except Exception as error:
    answers.append(str(error))
try:
    online.online_write_batch(store.config, spend, [], None)
except Exception as error:
    answers.append(str(error))
print(json.dumps(answers))
"""


@pytest.mark.slow
def test_feast_s_own_client_reads_what_the_library_reads(server: Server, project: Path, tmp_path: Path) -> None:
    """By service, by features, and as an online store of a feature view; errors carry what to do."""
    by_service, by_features, by_view, no_feature, no_write = feast(READER, tmp_path, server.url)
    with FeatureStore(project) as store:
        expected = store.get_online_features("fraud", KEYS).to_dict()
    assert by_service == {
        "customer_id": KEYS["customer_id"],
        **{name.partition("__")[2]: values for name, values in expected.items()},
    }
    assert by_features == {
        "customer_id": KEYS["customer_id"],
        **{name: expected[name] for name in ("spend__amount_sum_lifetime", "profile__country")},
    }
    assert by_view[:2] == [[3.5, 2], [4.0, 1]]
    assert "has no feature 'nothing'" in no_feature
    assert "push the rows to a stream source" in no_write


def ask(client: httpx.Client, path: str = "/get-online-features", **body: Any) -> httpx.Response:
    return client.post(path, json=body)


def test_statuses_and_times_are_feast_s(client: httpx.Client) -> None:
    """Columns, not rows; the entities first; a status and an event time for every value."""
    answer = ask(client, feature_service="fraud", entities={"customer_id": [17, 99]}, full_feature_names=True).json()
    assert answer["metadata"]["feature_names"] == [
        "customer_id",
        "spend__amount_sum_lifetime",
        "spend__count_lifetime",
        "profile__country",
    ]
    assert answer["results"][3] == {
        "values": ["NL", None],
        "statuses": ["PRESENT", "NOT_FOUND"],
        "event_timestamps": ["2026-01-01T00:00:00Z", "1970-01-01T00:00:00Z"],
    }
    assert answer["results"][1]["values"] == [3.5, 0.0]
    assert answer["results"][0]["statuses"] == ["PRESENT", "PRESENT"]


def test_short_names_leave_out_the_view_and_its_role_only(client: httpx.Client) -> None:
    """What a service says about missing values keeps its name."""
    answer = ask(client, feature_service="filled", entities={"customer_id": [99]}).json()
    names = ["customer_id", "count_lifetime", "count_lifetime__missing", "country", "country__missing"]
    assert answer["metadata"]["feature_names"] == names
    assert [column["values"] for column in answer["results"][3:]] == [["??"], [True]]


def test_entities_bring_request_inputs_and_keys_of_other_features(client: httpx.Client) -> None:
    entities = {"customer_id": [17], "distance": [4.0], "day": ["2026-01-01"]}
    answer = ask(client, features=["pricing:per_mile"], entities=entities).json()
    assert answer["metadata"]["feature_names"] == ["customer_id", "distance", "day", "per_mile"]
    assert answer["results"][3]["values"] == [0.5]
    text = refused(ask(client, feature_service="fraud", entities={"customer": [17]}), 400, "input_invalid")
    assert "'customer_id' is missing" in text


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"entities": KEYS}, "either"),
        ({"entities": KEYS, "features": ["spend:count_lifetime"], "feature_service": "fraud"}, "either"),
        ({"features": ["spend:count_lifetime"]}, "entities"),
        ({"entities": KEYS, "feature_service": "pair"}, "referrer_id"),
        ({"entities": {**KEYS, "referrer_id": [1, 2, 3]}, "feature_service": "pair"}, "full_feature_names"),
        ({"entities": {"customer_id": list(range(101))}, "feature_service": "fraud"}, "101 keys"),
    ],
)
def test_what_cannot_be_answered_is_refused(client: httpx.Client, body: dict[str, Any], says: str) -> None:
    assert says in refused(ask(client, **body), 400, "input_invalid")


@pytest.mark.parametrize(
    "path",
    ["/materialize", "/materialize-incremental", "/write-to-online-store", "/search", "/retrieve-online-documents"],
)
def test_the_rest_of_feast_s_api_says_what_to_do_instead(client: httpx.Client, path: str) -> None:
    refused(ask(client, path), 501, "unsupported")
    assert client.get(path).status_code == 405


STREAM = """
from asof import Entity, EventView, StreamSource, Sum

schema = {"customer_id": "int64", "amount": "float64", "ts": "timestamp"}
clicks = StreamSource("clicks", schema=schema, event_time="ts")
clicked = EventView(
    "clicked", entity=Entity("customer", join_key="customer_id"), source=clicks,
    features=[Sum("amount", windows=["lifetime"])],
)
"""


@pytest.fixture
def pushing(tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of a server that takes rows."""
    (tmp_path / "asof.toml").write_text('project = "clicks"\n', encoding="utf-8")
    (tmp_path / "features.py").write_text(STREAM, encoding="utf-8")
    with FeatureStore(tmp_path) as store:
        store.apply()
    server = start(tmp_path, "--push")
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client
    assert server.stop() == 0, "".join(server.log)


def test_a_push_of_feast_s_is_taken_and_read(pushing: httpx.Client) -> None:
    """A data frame by columns; a push that brings no usable row is an error, and one to files alone is refused."""
    times = [datetime(2026, 1, 1, tzinfo=UTC).isoformat()] * 2
    frame = {"customer_id": [17, 17], "amount": [1.5, 2.0], "ts": times}
    assert ask(pushing, "/push", push_source_name="clicks", df=frame, to="online").json()["taken"] == 2
    answer = ask(pushing, features=["clicked:amount_sum_lifetime"], entities={"customer_id": [17]}).json()
    assert answer["results"][1]["values"] == [3.5]
    for change, says in (
        ({"df": {**frame, "ts": [None, None]}}, "None of the 2 rows"),
        ({"df": {**frame, "ts": times[:1]}}, "one length"),
        ({"to": "offline"}, "online_and_offline"),
    ):
        body = {"push_source_name": "clicks", "df": frame, **change}
        assert says in refused(ask(pushing, "/push", **body), 400, "input_invalid")
    refused(ask(pushing, "/push", push_source_name="nobody", df=frame), 404, "not_found")


def test_a_server_that_only_reads_takes_no_push_of_feast_s(client: httpx.Client) -> None:
    refused(ask(client, "/push", push_source_name="clicks", df={"a": [1]}), 403, "push_not_allowed")
