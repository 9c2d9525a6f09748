"""Personal data is null and `masked` for whoever may not see it, online and in history, as is what is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pytest

from asof import FeatureStore
from asof.clock import FixedClock, from_us, parse_instant
from asof.errors import AccessDeniedError
from asof.plan.access import Access, Grant, Principal
from asof.services.audit import AuditLog
from asof.services.caller import Caller, Identity
from asof.services.guard import Guard
from asof.services.serving_log import FOLDER, ServingLog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEFINITIONS = """
from asof import Count, Entity, EventView, Feature, FeatureService, FileSource
from asof import OnDemandView, RequestField, StateView, Sum, on_demand

customer = Entity("customer", join_key="customer_id")
people = FileSource("people", path="people.csv", event_time="since")
profile = StateView(
    "profile", entity=customer, source=people,
    features=[Feature("income", default=-1, tags=["pii:money"]), "country"],
)
orders = FileSource("orders", path="orders.csv", event_time="at")
spend = EventView(
    "spend", entity=customer, source=orders, features=[Sum("amount", windows=["lifetime"], default=0.0, tags=["pii"]),
    Count(windows=["lifetime"])],
)
rich = OnDemandView(
    "rich", inputs=[profile["income"]], request=[RequestField("limit", "int64", default=3)],
    features=[on_demand.ratio("share", "profile__income", "limit")],
)
richer = OnDemandView("richer", inputs=[rich["share"]], features=[on_demand.sql("more", "rich__share + 1")])
group = OnDemandView(
    "group", inputs=[profile["income"]], features=[on_demand.bucketize("band", "profile__income", [5])],
    tags=["unmasked"],
)
plus = on_demand.sql("x", "spend__count_lifetime + 1")
often = OnDemandView("often", inputs=[spend["count_lifetime"]], features=[plus])
whole = FeatureService("whole", features=[profile, spend, rich, richer, group, often])
treated = FeatureService(
    "treated",
    features=[
        profile["income"].with_missing(default=7, indicator=True), profile["country"].with_missing(indicator=True)
    ],
)
strict = FeatureService("strict", features=[profile["income"].with_missing(error=True)])
"""
PEOPLE = "customer_id,since,income,country\n1,2026-01-01,9,NL\n2,2026-01-01,,BE\n"
ORDERS = "customer_id,at,amount\n1,2026-01-01,2.5\n"
NOW = parse_instant("2026-01-15T12:00:00")
KEYS = {"customer_id": [1, 2, 3]}
MASKED = {"profile__income", "spend__amount_sum_lifetime", "rich__share", "richer__more"}
READER = Grant(role="reader")


class Someone:
    """Stands for an authenticator."""

    def __init__(self, *grants: Grant) -> None:
        self._principal = Principal("key:1 (test)", grants)

    def known(self, _: object) -> Principal:
        return self._principal


def act(store: FeatureStore, *grants: Grant) -> FeatureStore:
    """Let a store act for somebody with these grants."""
    log = AuditLog(store.registry.access(), store.clock)
    someone: Any = Someone(*grants)
    identity = Identity(someone, {"ASOF_API_KEY": "x"}, trusted=False)
    store.caller = Caller(Guard(Access(store.config.project), log), identity, log)
    return store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    (tmp_path / "asof.toml").write_text('project = "shop"\n', encoding="utf-8")
    (tmp_path / "features.py").write_text(DEFINITIONS, encoding="utf-8")
    (tmp_path / "people.csv").write_text(PEOPLE, encoding="utf-8")
    (tmp_path / "orders.csv").write_text(ORDERS, encoding="utf-8")
    with FeatureStore(tmp_path, clock=FixedClock(NOW)) as store:
        store.apply()
        store.materialize()
        yield store


def spine() -> dict[str, Any]:
    return {**KEYS, "event_timestamp": [from_us(NOW)] * 3, "limit": [3] * 3}


def test_online_values_are_masked_with_what_is_made_of_them(store: FeatureStore) -> None:
    """Others are as they were; defaults do not stand in for what is masked."""
    plain = store.get_online_features("whole", KEYS)
    found = act(store, READER).get_online_features("whole", KEYS)
    for name, values in plain.to_dict().items():
        expected = [None] * 3 if name in MASKED else values
        assert found.to_dict()[name] == expected, name
        assert found.statuses[name] == (["masked"] * 3 if name in MASKED else plain.statuses[name]), name
    assert found.event_times == plain.event_times  # something of each view is shown
    arrow = found.to_arrow(statuses=True)
    assert arrow.column("rich__share__status").to_pylist() == ["masked"] * 3
    assert arrow.schema == plain.to_arrow(statuses=True).schema
    assert msgspec.json.decode(found.to_json())["results"][0]["values"].count(None) == len(MASKED)
    answer = msgspec.json.decode(found.to_json(metadata=True))
    assert answer["features"] == list(plain.to_dict())
    for result, row in zip(answer["results"], range(3), strict=True):
        assert result["statuses"] == [statuses[row] for statuses in found.statuses.values()]
        assert {"profile", "spend"} <= result["event_times"].keys()
        assert not any(name.startswith(" ") for name in result["event_times"])


def test_history_is_masked_alike(store: FeatureStore) -> None:
    """Column for column, with statuses."""
    plain = store.get_historical_features("whole", spine(), statuses=True).to_arrow()
    found = act(store, READER).get_historical_features("whole", spine(), statuses=True).to_arrow()
    assert found.schema == plain.schema
    for name in plain.column_names:
        if name in MASKED:
            assert found[name].to_pylist() == [None] * 3
        elif name.removesuffix("__status") in MASKED:
            assert found[name].to_pylist() == ["masked"] * 3
        else:
            assert found[name] == plain[name]


def test_whoever_may_unmask_sees_what_there_is(store: FeatureStore) -> None:
    """By tag: of two kinds of personal data, the one that is named."""
    plain = store.get_online_features("whole", KEYS).to_dict()
    found = act(store, Grant(role="reader", unmask=("pii:*",))).get_online_features("whole", KEYS)
    assert {name for name, statuses in found.statuses.items() if "masked" in statuses} == {"spend__amount_sum_lifetime"}
    act(store, Grant(role="reader", unmask=("pii", "pii:money")))
    assert store.get_online_features("whole", KEYS).to_dict() == plain


def test_a_right_to_unmask_elsewhere_does_not_count(store: FeatureStore) -> None:
    """Only of a grant that covers what is read."""
    act(store, READER, Grant(role="reader", services=("treated",), unmask=("*",)))
    assert store.get_online_features("treated", KEYS).to_dict()["profile__income"] == [9, 7, 7]
    assert set(store.get_online_features("whole", KEYS).statuses["profile__income"]) == {"masked"}


def test_indicators_and_errors_tell_nothing_of_masked_values(store: FeatureStore) -> None:
    """Whether a value is there is personal data, too; of others indicators are as they were."""
    act(store, READER)
    for found in (
        store.get_online_features("treated", KEYS).to_dict(),
        store.get_historical_features("treated", spine()).to_arrow().to_pydict(),
    ):
        assert found["profile__income"] == found["profile__income__missing"] == [None] * 3
        assert found["profile__country__missing"] == [False, False, True]
    assert store.get_online_features("strict", KEYS).to_dict() == {"profile__income": [None] * 3}
    assert store.get_online_features("strict", KEYS).event_times == {"profile": [None] * 3}
    assert store.get_historical_features("strict", spine()).to_arrow()["profile__income"].null_count == 3


def test_a_tag_that_is_added_later_masks_pinned_versions(store: FeatureStore) -> None:
    """It is no new version: models go on reading theirs, without the values."""
    features = store.config.root / "features.py"
    features.write_text(DEFINITIONS.replace('"customer", join_key', '"customer", tags=["pii"], join_key'), "utf-8")
    store.apply()
    found = act(store, Grant(role="reader", unmask=("pii:money",))).get_online_features("whole@1", KEYS)
    unmasked = {name for name, statuses in found.statuses.items() if "masked" not in statuses}
    assert unmasked == {"group__band"}


def test_lists_of_features_need_the_right_to_every_view_that_is_read(store: FeatureStore) -> None:
    """Also to the inputs of on-demand views; a service's right is for the service."""
    act(store, Grant(role="reader", views=("group",)), Grant(role="reader", services=("whole",)))
    assert store.get_online_features("whole", KEYS).statuses["group__band"][0] == "present"
    for listed in (["group:band"], ["profile:country"], ["nothing:x"]):
        with pytest.raises(AccessDeniedError):
            store.get_online_features(listed, KEYS)
    act(store, Grant(role="reader", views=("group", "prof*")))
    assert store.get_online_features(["group:band"], KEYS).statuses["group__band"][0] == "present"


def test_what_is_kept_or_explained_is_refused_instead(store: FeatureStore) -> None:
    """A training set and an explanation show values as they are."""
    store.create_training_set("kept", "whole", spine())
    act(store, Grant(role="editor"))
    for refused in (
        lambda: store.create_training_set("other", "whole", spine()),
        lambda: store.training_set("kept"),
        lambda: store.rebuild_training_set("kept"),
        lambda: store.explain("profile:income", {"customer_id": 1}),
    ):
        with pytest.raises(AccessDeniedError):
            refused()
    assert store.training_sets() == []
    assert store.explain("profile:country", {"customer_id": 1}) is not None
    act(store, Grant(role="editor", unmask=("pii*",)))
    assert len(store.training_set("kept")) == 3


def test_taking_a_tag_of_personal_data_away_is_an_administrators(store: FeatureStore) -> None:
    """An editor may add one."""
    features = store.config.root / "features.py"
    features.write_text(DEFINITIONS.replace(', tags=["pii"]', ""), "utf-8")
    with pytest.raises(AccessDeniedError):
        act(store, Grant(role="editor")).apply()
    features.write_text(DEFINITIONS.replace('"country"],', 'Feature("country", tags=["pii"])],'), "utf-8")
    assert store.apply().number == 2
    features.write_text(DEFINITIONS, "utf-8")
    assert act(store, Grant(role="admin")).apply().number == 3


def test_the_audit_log_has_every_change_and_sums_of_reads(store: FeatureStore) -> None:
    """Also those that failed or were denied."""
    act(store, Grant(role="writer"))
    store.materialize("profile")
    for _ in range(3):
        with pytest.raises(AccessDeniedError):
            store.get_online_features("whole", KEYS)
    more = 'score = FeatureService("score", features=[spend])'
    (store.config.root / "features.py").write_text(f"{DEFINITIONS}{more}\n", "utf-8")
    with pytest.raises(AccessDeniedError):
        store.apply()
    act(store, Grant(role="admin"))
    store.apply()
    store.get_online_features("whole", KEYS)
    store.prune()
    desk = store.access
    store.caller.close()
    found = [(one.record.action, one.record.what, one.record.outcome, one.record.count) for one in desk.audit()]
    assert ("materialize", "view:profile", "allowed", 1) in found
    assert ("apply", "service:score", "allowed", 1) in found
    assert ("prune", "project", "allowed", 1) in found
    assert ("read_online", "service:whole", "allowed", 1) in found
    assert desk.verify_audit().records == len(found)


def test_the_serving_log_of_an_older_version_is_asked_for_by_itself(store: FeatureStore) -> None:
    """What the newest version no longer shows may still be in the rows of an older one."""
    log = ServingLog(store.offline.shelf(FOLDER))
    times = pa.array([NOW], pa.timestamp("us", "UTC"))
    for version, columns in ((1, {"profile__income": [9]}), (2, {"profile__country": ["NL"]})):
        served = {"_request_id": ["r"], "_row": [0], "_served_at": times, **columns}
        log.add(f"treated@{version}", pa.table(served))
    features = store.config.root / "features.py"
    shorter = features.read_text(encoding="utf-8").replace(
        'profile["income"].with_missing(default=7, indicator=True), ', ""
    )
    features.write_text(shorter, encoding="utf-8")
    store.apply()
    act(store, READER)
    assert store.serving_log("treated@2").num_rows == 1
    for name in ("treated", "treated@1"):
        with pytest.raises(AccessDeniedError, match="serving log of treated@1"):
            store.serving_log(name)
        with pytest.raises(AccessDeniedError):
            store.compare_serving(name)
    act(store, Grant(role="reader", unmask=("pii*",)))
    assert store.serving_log("treated").num_rows == 2


STREAM = """
from asof import Count, Entity, EventView, Max, StreamSource

customer = Entity("customer", join_key="customer_id")
clicks = StreamSource("clicks", schema={"customer_id": "int64", "at": "timestamp", "mail": "string"}, event_time="at")
views = EventView("views", entity=customer, source=clicks, features=[Count(windows=["1d"], tags=["pii"])])
"""


def test_rows_that_were_refused_are_shown_to_whoever_may_see_them_all(tmp_path: Path) -> None:
    """Their bytes are as they came; and who may not push does not, by whatever door."""
    (tmp_path / "asof.toml").write_text('project = "shop"\n', encoding="utf-8")
    (tmp_path / "features.py").write_text(STREAM, encoding="utf-8")
    with FeatureStore(tmp_path, clock=FixedClock(NOW)) as store:
        store.apply()
        store.materialize()
        store.push("clicks", [{"customer_id": 1, "at": "never", "mail": "a@b.example"}])
        [letter] = store.dead_letters("clicks").letters
        act(store, Grant(role="editor"))
        with pytest.raises(AccessDeniedError, match="may not see views__count_1d"):
            store.dead_letter("clicks", letter.id)
        act(store, Grant(role="editor", unmask=("pii",)))
        assert store.dead_letter("clicks", letter.id).id == letter.id
        act(store, READER)
        with pytest.raises(AccessDeniedError):
            store.ingestor("clicks")
