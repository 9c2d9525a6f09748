"""Missing values per service: what can be said, what it means, where it is kept and shown, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asof import (
    Count,
    Entity,
    EventView,
    Feature,
    FeatureService,
    FeatureStore,
    FileSource,
    OnDemandView,
    RequestField,
    StateView,
    Sum,
)
from asof import on_demand as built_in
from asof.clock import FixedClock, to_us
from asof.definitions import Impute
from asof.errors import DefinitionError, InputError, MissingValueError
from asof.plan.registered import decode_spec
from asof.plan.specs import MissingSpec, ServiceFeature, ServiceSpec, meaning_hash
from asof.plan.wording import describe_change
from asof.testing import feature_table, feature_values

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
customer = Entity("customer", join_key="customer_id")
orders = FileSource("orders", path="orders.parquet", event_time="ts")
people = FileSource("people", path="people.parquet", event_time="since")
spend = EventView(
    "spend",
    entity=customer,
    source=orders,
    features=[Sum("amount", windows=["1d"], default=-1.0), Count(windows=["1d"])],
)
profile = StateView(
    "profile",
    entity=customer,
    source=people,
    features=["country", Feature("income", default=1), "income__missing", "country__status"],
    ttl="8d",
)
share = OnDemandView(
    "share",
    inputs=[spend["amount_sum_1d"], profile["income"]],
    features=[
        built_in.ratio("of_income", "spend__amount_sum_1d", "profile__income"),
        built_in.sql("gone", "NULL::DOUBLE"),
    ],
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """Return a store with the rows of customers 1, 2 and 3, of which 3 has no orders and no income."""
    (tmp_path / "asof.toml").write_text('project = "shop"\n', encoding="utf-8")
    pq.write_table(
        pa.table({"customer_id": [1, 2], "ts": [NOON - timedelta(hours=1)] * 2, "amount": [5.0, None]}),
        tmp_path / "orders.parquet",
    )
    pq.write_table(
        pa.table(
            {
                "customer_id": [1, 2, 3],
                "since": [NOON - timedelta(days=days) for days in (1, 4, 9)],
                "country": ["NL", None, "BE"],
                "income": pa.array([10, 20, None], pa.int64()),
                "income__missing": [7, 8, 9],
                "country__status": ["a", "b", "c"],
            }
        ),
        tmp_path / "people.parquet",
    )
    with FeatureStore(tmp_path, clock=FixedClock(to_us(NOON))) as opened:
        yield opened


def serve(store: FeatureStore, *features: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Apply a service of these features; return its rows for customers 1 to 4 at noon from history and online."""
    store.apply(store.plan([FeatureService("s", features=features)]), who="test")
    store.materialize()
    keys = {"customer_id": [1, 2, 3, 4]}
    spine = {**keys, "event_timestamp": [NOON] * 4}
    trained = store.get_historical_features("s", spine, statuses=True).to_arrow().drop_columns([*spine])
    return trained.to_pylist(), store.get_online_features("s", keys).to_arrow(statuses=True).to_pylist()


def column(rows: list[dict[str, Any]], name: str) -> list[Any]:
    return [row[name] for row in rows]


@pytest.mark.parametrize(
    ("view", "arguments", "words"),
    [
        (spend, {}, "says nothing"),
        (spend, {"limit": "7d"}, "can have no limit"),
        (profile, {"limit": "soon"}, "not a duration"),
        (profile, {"limit": "0d"}, "out of range"),
        (profile, {"error": True, "default": "x"}, "an error where they are missing"),
        (profile, {"error": True, "indicator": True}, "an error where they are missing"),
    ],
)
def test_what_cannot_be_meant_is_refused_where_it_is_written(view: Any, arguments: Any, words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        view.with_missing(**arguments)


def test_a_limit_is_for_newest_rows_and_views_see_what_views_give() -> None:
    """On-demand features have no row to be old, and their inputs are nobody's output yet."""
    with pytest.raises(DefinitionError, match="can have no limit"):
        share["of_income"].with_missing(limit="1d")
    with pytest.raises(DefinitionError, match="reads 'profile' with_missing"):
        OnDemandView("v", inputs=[profile["income"].with_missing(default=0)], features=[built_in.sql("x", "1")])


def test_a_selection_keeps_role_and_treatment() -> None:
    """They may be said in any order; the last treatment counts."""
    role = profile.with_role("other", keys={"customer_id": "friend"})
    one = role.with_missing(indicator=True)["country"]
    assert (one.names, one.role, one.missing) == (("country",), role.role, role.with_missing(indicator=True).missing)
    again = one.with_missing(default="x").missing
    assert again is not None
    assert (again.default, again.indicator) == ("x", False)


def test_an_indicator_never_shares_a_column_with_a_feature(store: FeatureStore) -> None:
    """Whether in a service or in a list."""
    both = [profile["income"].with_missing(indicator=True), profile["income__missing"]]
    with pytest.raises(DefinitionError, match="two columns profile__income__missing"):
        FeatureService("s", features=both)
    with pytest.raises(InputError, match="Two columns are named profile__income__missing"):
        store.get_historical_features(both, {"customer_id": [1], "event_timestamp": [NOON]})
    with pytest.raises(InputError, match="already has a column 'profile__income__missing'"):
        store.get_historical_features(both[:1], {"customer_id": [1], "at": [NOON], "profile__income__missing": [1]})


def test_statuses_never_share_a_column_with_a_feature(store: FeatureStore) -> None:
    """Without statuses both are read; one of them is read with statuses."""
    spine = {"customer_id": [1], "event_timestamp": [NOON]}
    with pytest.raises(InputError, match="statuses of profile__country cannot be shown"):
        store.get_historical_features(profile, spine, statuses=True)
    assert store.get_historical_features(profile, spine).to_arrow()["profile__country__status"].to_pylist() == ["a"]
    store.apply(store.plan([FeatureService("s", features=[profile])]), who="test")
    store.materialize()
    read = store.get_online_features("s", {"customer_id": [1]})
    assert read.statuses["profile__country"] == ["present"]
    with pytest.raises(InputError, match="statuses of profile__country cannot be shown"):
        read.to_arrow(statuses=True)
    refused = profile[["country", "country__status"]].with_missing(error=True)
    assert store.get_historical_features(refused, spine).to_arrow().num_rows == 1
    with pytest.raises(InputError, match="statuses of profile__country cannot be shown"):
        feature_values(profile, [], keys={"customer_id": 1}, at=NOON, statuses=True)


def test_a_service_has_its_own_default_limit_and_indicator(store: FeatureStore) -> None:
    """History and online agree; a status is what it was, and exactly the limit is still valid."""
    rows = serve(
        store,
        spend["amount_sum_1d"].with_missing(default=0.0, indicator=True),
        spend["count_1d"].with_missing(default=9, indicator=True),
        profile["country"].with_missing(limit="4d", default="?"),
        profile["income"].with_missing(limit="3d", default=None),
    )
    for found in rows:
        assert column(found, "spend__amount_sum_1d") == [5.0, 0.0, 0.0, 0.0]
        assert column(found, "spend__amount_sum_1d__status") == ["present", "null", "missing", "missing"]
        assert column(found, "spend__amount_sum_1d__missing") == [False, True, True, True]
        assert column(found, "spend__amount_sum_1d__missing__status") == ["present"] * 4
        assert column(found, "spend__count_1d") == [1, 1, 0, 0]
        assert column(found, "spend__count_1d__missing") == [False, False, True, True]
        assert column(found, "profile__country") == ["NL", "?", "?", "?"]
        assert column(found, "profile__country__status") == ["present", "null", "expired", "missing"]
        assert column(found, "profile__income") == [10, None, None, None]
        assert column(found, "profile__income__status") == ["present", "expired", "expired", "missing"]
    assert rows[0] == rows[1]
    assert [*rows[0][0]] == [*rows[1][0]]


@pytest.mark.parametrize("limit", [None, "30d"])
def test_the_views_own_ttl_holds_besides(store: FeatureStore, limit: str | None) -> None:
    """Without a limit and with a longer one."""
    for found in serve(store, profile["country"].with_missing(default="?", limit=limit)):
        assert column(found, "profile__country") == ["NL", "?", "?", "?"]
        assert column(found, "profile__country__status") == ["present", "null", "expired", "missing"]


def test_on_demand_views_see_their_inputs_untreated(store: FeatureStore) -> None:
    """Their own features are treated after they are computed."""
    rows = serve(
        store,
        spend["amount_sum_1d"].with_missing(default=100.0),
        profile["income"].with_missing(limit="3d", indicator=True),
        share["of_income"].with_missing(indicator=True),
        share["gone"].with_missing(default=2.5, indicator=True),
    )
    for found in rows:
        assert column(found, "share__of_income") == [0.5, -0.05, -1.0, -1.0]
        assert column(found, "share__of_income__missing") == [False] * 4
        assert column(found, "share__gone") == [2.5] * 4
        assert column(found, "share__gone__status") == ["null"] * 4
        assert column(found, "share__gone__missing") == [True] * 4
        assert column(found, "spend__amount_sum_1d") == [5.0, 100.0, 100.0, 100.0]
        assert column(found, "profile__income__missing") == [False, True, True, True]
    assert rows[0] == rows[1]


def test_roles_are_treated_on_their_own(store: FeatureStore) -> None:
    """One feature, two columns."""
    friend = profile.with_role("friend", keys={"customer_id": "friend_id"})
    features = [
        profile["country"].with_missing(default="mine"),
        friend["country"].with_missing(default="theirs", limit="2d"),
    ]
    store.apply(store.plan([FeatureService("s", features=features)]), who="test")
    store.materialize()
    keys = {"customer_id": [2, 2], "friend_id": [2, 1]}
    spine = {**keys, "event_timestamp": [NOON] * 2}
    for found in (
        store.get_historical_features("s", spine).to_arrow().to_pydict(),
        store.get_online_features("s", keys).to_dict(),
    ):
        assert found["profile__country"] == ["mine", "mine"]
        assert found["friend__profile__country"] == ["theirs", "NL"]


def test_a_missing_value_is_an_error_where_the_service_says_so(store: FeatureStore) -> None:
    """It names the feature, a few keys and their status."""
    store.apply(store.plan([FeatureService("s", features=[profile["country"].with_missing(error=True)])]), who="test")
    store.materialize()
    good = {"customer_id": [1], "event_timestamp": [NOON]}
    assert store.get_historical_features("s", good).to_arrow()["profile__country"].to_pylist() == ["NL"]
    assert store.get_online_features("s", {"customer_id": [1]}).to_dict() == {"profile__country": ["NL"]}
    spine = {"customer_id": [1, 4, 3, 2, 5], "event_timestamp": [NOON] * 5}
    with pytest.raises(MissingValueError) as offline:
        store.get_historical_features("s", spine)
    assert offline.value.what == "Feature profile:country has no value for 4 of 5 rows"
    assert "customer_id=4, event_timestamp=2026-01-10 12:00:00" in offline.value.why
    with pytest.raises(MissingValueError) as online:
        store.get_online_features("s", {"customer_id": [1, 4, 3, 2, 5]})
    assert online.value.what == "Feature profile:country has no value for 4 of 5 keys"
    assert online.value.why.startswith(
        "customer_id=4: missing; customer_id=3: expired; customer_id=2: null; and 1 more"
    )
    with pytest.raises(MissingValueError, match="4 of 5 rows"):
        store.create_training_set("t", "s", spine)
    assert not store.training_sets()


def test_a_computed_value_can_be_an_error(store: FeatureStore) -> None:
    """A join finds out when its rows are read."""
    store.apply(store.plan([FeatureService("s", features=[share["gone"].with_missing(error=True)])]), who="test")
    store.materialize()
    joined = store.get_historical_features("s", {"customer_id": [1], "event_timestamp": [NOON]})
    with pytest.raises(MissingValueError, match=r"share:gone has no value for 1 of 1 rows. customer_id=1, .*: null"):
        joined.to_arrow()
    with pytest.raises(MissingValueError, match=r"share:gone has no value for 1 of 1 keys. customer_id=1: null"):
        store.get_online_features("s", {"customer_id": [1]})


def test_a_request_without_keys_is_named_by_its_row(store: FeatureStore) -> None:
    """There is nothing else to name."""
    view = OnDemandView("half", request=[RequestField("n", "float64")], features=[built_in.ratio("x", "n", "n")])
    store.apply(store.plan([FeatureService("s", features=[view["x"].with_missing(error=True)])]), who="test")
    with pytest.raises(MissingValueError, match=r"1 of 2 keys. row 1: null"):
        store.get_online_features("s", {}, request={"n": [1.0, 0.0]})
    assert store.get_online_features("s", {}, request={"n": [1.0]}).to_dict() == {"half__x": [1.0]}


def test_a_changed_treatment_is_a_new_version_of_the_service_alone(store: FeatureStore) -> None:
    """A pinned service reads as before; the plan says what changes."""
    store.apply(store.plan([FeatureService("s", features=[profile["income"]])]), who="test")
    store.materialize()
    changed = FeatureService("s", features=[profile["income"].with_missing(default=5, limit="2d")])
    plan = store.plan([changed])
    [change] = plan.effective()
    assert (change.kind, change.action, change.version) == ("service", "new_version", 2)
    assert change.details == ("missing values of profile:income changed: none -> default 5, expired after 2d",)
    store.apply(plan, who="test")
    keys = {"customer_id": [1, 2, 4]}
    assert store.get_online_features("s@1", keys).to_dict() == {"profile__income": [10, 20, 1]}
    assert store.get_online_features("s@2", keys).to_dict() == {"profile__income": [10, 5, 5]}
    assert not store.plan([changed]).effective()
    feature = msgspec.to_builtins(store.describe("s")[0].spec)["features"][0]
    assert feature["missing"] == {"default": 5, "limit_us": 2 * 86_400_000_000}


def test_stored_services_without_treatments_are_read_and_mean_what_they_meant() -> None:
    """As a version without them wrote them; no default is told from none said."""
    body = b'{"name":"s","version":1,"features":[{"view":"v","view_version":1,"feature":"f"}]}'
    old = decode_spec("service", "s", body)
    assert isinstance(old, ServiceSpec)
    feature = ServiceFeature(view="v", view_version=1, feature="f")
    assert old.features == (feature,)
    assert meaning_hash(old) == "12a9c60ffa7fe671857be4ad87988fdc41f8234cf4e9847a575d034b8d1c4260"
    hashes = {meaning_hash(old)}
    for missing in (
        MissingSpec(default=None),
        MissingSpec(indicator=True),
        MissingSpec(default=0),
        MissingSpec(error=True),
    ):
        new = ServiceSpec(name="s", version=1, features=(msgspec.structs.replace(feature, missing=missing),))
        assert decode_spec("service", "s", msgspec.json.encode(new)) == new
        hashes.add(meaning_hash(new))
    assert len(hashes) == 5
    [words] = describe_change(old, new)
    assert words == "missing values of v:f changed: none -> error"


@pytest.mark.parametrize("default", ["x", 1.5, float("inf")])
def test_a_default_has_the_type_of_its_feature(store: FeatureStore, default: Any) -> None:
    """In a service and in a list of definitions."""
    with pytest.raises(DefinitionError, match="profile:income in a service is not a int64"):
        store.plan([FeatureService("s", features=[profile["income"].with_missing(default=default)])])
    with pytest.raises(DefinitionError, match="is not a float64"):
        store.plan([FeatureService("s", features=[spend["amount_sum_1d"].with_missing(default=float("inf"))])])


def test_a_training_set_has_indicators_and_keeps_the_treatment(store: FeatureStore) -> None:
    """As features that take transforms; a rebuild gives the same rows."""
    features = [
        profile["income"].with_missing(default=None, indicator=True),
        share["gone"].with_missing(indicator=True),
    ]
    store.apply(store.plan([FeatureService("s", features=features)]), who="test")
    store.materialize()
    keys = {"customer_id": [1, 2, 3, 4]}
    made = store.create_training_set(
        "t",
        "s",
        {**keys, "event_timestamp": [NOON] * 4},
        transforms={"profile__income": [Impute("mean")], "profile__income__missing": [Impute("constant", False)]},
    )
    assert made.manifest.features == (
        "profile__income",
        "profile__income__missing",
        "share__gone",
        "share__gone__missing",
    )
    assert made.manifest.missing["profile__income"] == MissingSpec(default=None, indicator=True)
    assert made.manifest.missing["share__gone"] == MissingSpec(indicator=True)
    assert made.to_arrow()["profile__income__missing"].to_pylist() == [False, False, True, True]
    ready = made.transform(store.get_online_features("s", keys))
    assert ready.column("profile__income").to_pylist() == [10.0, 20.0, 15.0, 15.0]
    assert ready.column("profile__income__missing").to_pylist() == [False, False, True, True]
    before = made.manifest.data_sha256
    assert store.rebuild_training_set("t").manifest.data_sha256 == before


def test_unit_tests_of_users_see_what_the_service_gives() -> None:
    """Checked by the oracle on the way; unknown entities are refused where the service says so."""
    rows = [{"customer_id": 1, "since": NOON - timedelta(days=3), "country": "NL", "income": 5}]
    one = profile["income"].with_missing(limit="2d", default=7, indicator=True)
    found = feature_values(one, rows, keys={"customer_id": 1}, at=NOON, statuses=True)
    assert found == {
        "income": 7,
        "income__status": "expired",
        "income__missing": True,
        "income__missing__status": "present",
    }
    service = FeatureService("s", features=[profile["country"].with_missing(error=True), one])
    [row] = feature_table(service, rows, [{"customer_id": 1, "event_timestamp": NOON}])
    assert row == {"profile__country": "NL", "profile__income": 7, "profile__income__missing": True}
    with pytest.raises(MissingValueError, match="customer_id=2"):
        feature_values(service, rows, keys={"customer_id": 2}, at=NOON)
