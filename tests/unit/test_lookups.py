"""Lookups: features of whoever another feature names at the instant, as the customer who owns a card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    Last,
    OnDemandView,
    StateView,
    StreamSource,
    Sum,
    on_demand,
)
from asof.clock import FixedClock, from_us
from asof.definitions.training import Label
from asof.errors import DefinitionError, InputError, MissingValueError, NotMaterializedError, SchemaError, StoreError
from asof.interfaces import SnapshotStore
from asof.plan.registered import decode_spec, encode_spec
from asof.plan.specs import LookupSpec, ServiceFeature, ServiceSpec, meaning_hash
from asof.plan.wording import describe_change

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from asof.definitions import FeatureView
    from asof.interfaces import OnlineStore

    Rows = Sequence[dict[str, Any]]

TIME = pa.timestamp("us", "UTC")

card = Entity("card", join_key="card_id", dtype="int64")
customer = Entity("customer", join_key="customer_id", dtype="int64")
household = Entity("household", join_key="household_id", dtype="string")
shop = Entity("shop", join_keys={"customer_id": "int64", "region": "string"})


def source(name: str) -> FileSource:
    """Return the source of that name."""
    return FileSource(name, path=f"{name}.parquet", event_time="ts")


cards = StateView("cards", entity=card, source=source("cards"), features=["customer_id", "region"], ttl="50us")
people = StateView(
    "people", entity=customer, source=source("people"), features=[Feature("age", default=-1), "household_id"]
)
homes = StateView("homes", entity=household, source=source("homes"), features=["size"])
spend = EventView("spend", entity=customer, source=source("spend"), features=[Sum("amount", windows=["lifetime"])])
regional = EventView("regional", entity=shop, source=source("spend"), features=[Count(windows=["lifetime"])])

OWNER = cards["customer_id"]
ROWS: dict[str, Rows] = {
    "cards": [
        {"card_id": 1, "ts": 0, "customer_id": 10, "region": "n"},
        {"card_id": 1, "ts": 20, "customer_id": 11, "region": "n"},
        {"card_id": 2, "ts": 0, "customer_id": None, "region": "s"},
        {"card_id": 3, "ts": 0, "customer_id": 99, "region": "s"},
    ],
    "people": [
        {"customer_id": 10, "ts": 0, "age": 30, "household_id": "a"},
        {"customer_id": 11, "ts": 0, "age": 40, "household_id": "b"},
        {"customer_id": 10, "ts": 5, "age": 31, "household_id": "a"},
    ],
    "homes": [
        {"household_id": "a", "ts": 0, "size": 2},
        {"household_id": "b", "ts": 30, "size": 5},
    ],
    "spend": [
        {"customer_id": 10, "ts": 1, "amount": 1.0, "region": "n"},
        {"customer_id": 10, "ts": 8, "amount": 2.0, "region": "s"},
        {"customer_id": 11, "ts": 2, "amount": 10.0, "region": "n"},
    ],
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """Return a store whose clock shows 40 us, over the rows in files."""
    tmp_path.joinpath("asof.toml").write_text('project = "shop"\ndefinitions = []\n', encoding="utf-8")
    for name, rows in ROWS.items():
        table = pa.Table.from_pylist(list(rows))
        place = table.column_names.index("ts")
        pq.write_table(table.set_column(place, "ts", table.column("ts").cast(TIME)), tmp_path / f"{name}.parquet")
    with FeatureStore(tmp_path, clock=FixedClock(40)) as opened:
        yield opened


def spine(*asked: tuple[int | None, int]) -> pa.Table:
    """Return a spine of cards and instants."""
    return pa.table(
        {
            "card_id": pa.array([one for one, _ in asked], pa.int64()),
            "at": pa.array([from_us(t) for _, t in asked], TIME),
        }
    )


def history(store: FeatureStore, features: Any, *asked: tuple[int | None, int], statuses: bool = False) -> pa.Table:
    """Return the features' columns for cards and instants."""
    table = store.get_historical_features(features, spine(*asked), statuses=statuses).to_arrow()
    return table.drop_columns(["card_id", "at"])


def serve(store: FeatureStore, *features: Any) -> FeatureStore:
    """Apply a service of these features and materialize all that it reads."""
    store.apply(store.plan([FeatureService("fraud", features=list(features))]), who="test")
    store.materialize()
    return store


def test_the_owner_is_the_one_that_was_known_at_the_instant(store: FeatureStore) -> None:
    """The card changed hands at 20: before it shows the old owner's features, from then on the new one's."""
    found = history(store, [people.via(OWNER)["age"], spend.via(OWNER)], (1, 4), (1, 5), (1, 20), (1, 19))
    assert found.to_pydict() == {
        "people__age": [30, 31, 40, 31],
        "spend__amount_sum_lifetime": [1.0, 1.0, 10.0, 3.0],
    }


def test_without_an_owner_there_is_nobody(store: FeatureStore) -> None:
    """No card, no row of it yet, an owner that is null, expired or never seen: missing, and a default stands in."""
    asked = ((None, 5), (7, 5), (1, -1), (2, 5), (1, 71), (3, 5), (1, 70))
    found = history(store, [OWNER, people.via(OWNER)["age"]], *asked, statuses=True).to_pydict()
    assert found["people__age"] == [-1, -1, -1, -1, -1, -1, 40]
    assert found["people__age__status"] == ["missing"] * 6 + ["present"]
    assert found["cards__customer_id__status"] == [
        "missing",
        "missing",
        "missing",
        "null",
        "expired",
        "present",
        "present",
    ]


def test_an_empty_spine_gives_an_empty_answer(store: FeatureStore) -> None:
    """With the right columns, as without lookups."""
    empty = history(store, [people.via(OWNER)["household_id"], spend.via(OWNER)], statuses=True)
    assert (empty.num_rows, empty.column_names[0]) == (0, "people__household_id")
    assert empty.schema.field("spend__amount_sum_lifetime").type == pa.float64()


def test_lookups_chain(store: FeatureStore) -> None:
    """From card to customer to household; in between nothing needs to be asked for."""
    size = homes.via(people.via(OWNER)["household_id"])["size"]
    assert history(store, [size], (1, 10), (1, 25), (1, 30), (2, 10)).to_pydict() == {"homes__size": [2, None, 5, None]}
    online = serve(store, size).get_online_features("fraud", {"card_id": [1, 2, None]})
    assert online.to_dict() == {"homes__size": [5, None, None]}
    assert online.statuses == {"homes__size": ["present", "missing", "missing"]}
    assert list(online.versions) == ["homes", "people", "cards"]


def test_a_composite_key_mixes_lookups_and_columns(store: FeatureStore) -> None:
    """A join key that is not mapped is found under its own name; a text names a column."""
    asked = pa.table(
        {**dict(zip(["card_id", "at"], spine((1, 10), (1, 10)).columns, strict=True)), "region": ["n", "s"]}
    )
    own = regional.via({"customer_id": OWNER})
    assert store.get_historical_features(own_list := [own], asked).to_arrow().column(3).to_pylist() == [1, 1]
    assert own_list == [own]
    both = regional.via({"customer_id": OWNER, "region": cards["region"]}, role="home")
    assert history(store, [both], (1, 10), (2, 10)).to_pydict() == {"home__regional__count_lifetime": [1, 0]}
    other = regional.via({"customer_id": OWNER, "region": "where"})
    read = serve(store, other, both).get_online_features("fraud", {"card_id": [1, 1], "where": ["n", "s"]})
    assert read.to_dict() == {"regional__count_lifetime": [1, 0], "home__regional__count_lifetime": [1, 1]}
    with pytest.raises(InputError, match="'where' is missing"):
        store.get_online_features("fraud", {"card_id": [1]})
    with pytest.raises(InputError, match="not a key"):
        store.get_online_features("fraud", {"card_id": [1], "where": [3]})


def test_roles_tell_two_lookups_apart(store: FeatureStore) -> None:
    """The sender's card and the receiver's, each with its owner."""
    ends = [
        people.via(cards.with_role(end, keys={"card_id": f"{end}_card"})["customer_id"], role=end)["age"]
        for end in ("sender", "receiver")
    ]
    asked = {"sender_card": [1], "receiver_card": [3], "at": [from_us(25)]}
    table = store.get_historical_features(ends, asked).to_arrow()
    assert table.to_pylist()[0] | {"at": None} == {
        "sender_card": 1,
        "receiver_card": 3,
        "at": None,
        "sender__people__age": 40,
        "receiver__people__age": -1,
    }
    read = serve(store, *ends).get_online_features("fraud", {"sender_card": [1], "receiver_card": [3]})
    assert read.to_dict() == {"sender__people__age": [40], "receiver__people__age": [-1]}
    assert list(read.event_times) == ["sender__people", "receiver__people", "sender__cards", "receiver__cards"]


def test_online_asks_for_the_cards_only(store: FeatureStore) -> None:
    """The answer is history's at the same instant; keys that are looked up are not taken."""
    serve(store, people.via(OWNER), spend.via(OWNER))
    read = store.get_online_features("fraud", {"card_id": [1, 2, 3]}, at=from_us(45))
    offline = history(store, "fraud", (1, 45), (2, 45), (3, 45), statuses=True).to_pydict()
    assert read.to_dict() == {name: offline[name] for name in read.to_dict()}
    assert read.statuses == {name: offline[f"{name}__status"] for name in read.statuses}
    with pytest.raises(InputError, match="not a join key"):
        store.get_online_features("fraud", {"card_id": [1], "customer_id": [10]})


def test_a_lookup_view_that_is_not_materialized_is_named(store: FeatureStore) -> None:
    """Without the cards there is no owner to read about, which is another thing than a card nobody owns."""
    store.apply(store.plan([FeatureService("fraud", features=[people.via(OWNER)["age"]])]), who="test")
    store.materialize("people")
    with pytest.raises(NotMaterializedError, match="View cards@1"):
        store.get_online_features("fraud", {"card_id": [1]})


def test_an_event_view_can_name_the_entity(store: FeatureStore) -> None:
    """The customer seen last with a card, in a window that does not contain the instant itself."""
    seen = EventView("seen", entity=card, source=source("cards"), features=[Last("customer_id", windows=["lifetime"])])
    found = history(store, [people.via(seen["customer_id_last_lifetime"])["age"]], (1, 20), (1, 21), (1, 0))
    assert found.to_pydict() == {"people__age": [31, 40, -1]}


def test_an_on_demand_view_reads_through_a_lookup(store: FeatureStore) -> None:
    """Its function sees the columns under the names that they have in a service."""
    ratio = OnDemandView(
        "ratio",
        inputs=[people.via(OWNER)["age"], homes.via(people.via(OWNER)["household_id"])],
        features=[on_demand.ratio("per_head", "people__age", "homes__size")],
    )
    assert history(store, [ratio], (1, 10), (1, 30)).to_pydict() == {"ratio__per_head": [15.5, 8.0]}
    assert serve(store, ratio).get_online_features("fraud", {"card_id": [1]}).to_dict() == {"ratio__per_head": [8.0]}
    assert store.get_online_features(["ratio:per_head"], {"card_id": [1]}).to_dict() == {"ratio__per_head": [8.0]}
    nodes = {(str(link.used), link.roles) for link in store.lineage("ratio:per_head").upstream}
    assert ("feature cards@1:customer_id", ("join key",)) in nodes


def test_a_training_set_with_lookups_is_rebuilt(store: FeatureStore) -> None:
    """Looked-up views are in the manifest; a label is joined on the keys that the spine has."""
    serve(store, people.via(OWNER)["age"])
    label = Label("cards", "region", window="30us", aggregate="last", name="moved")
    made = store.create_training_set("t", "fraud", spine((1, 5), (2, 5)), label=label)
    assert [one.view for one in made.manifest.views] == ["people@1", "cards@1"]
    assert made.to_arrow().to_pydict()["people__age"] == [31, -1]
    before = made.manifest.data_hash
    assert store.rebuild_training_set("t").manifest.data_hash == before


def test_lookups_are_part_of_a_services_meaning(store: FeatureStore) -> None:
    """A service pins the views that keys are looked up in, they count as used, and a plan says what changed."""
    serve(store, people.via(OWNER)["age"], spend.via(OWNER))
    service = store.catalog().service("fraud")
    assert service.features[0].lookups == (
        LookupSpec(join_key="customer_id", view="cards", view_version=1, feature="customer_id"),
    )
    assert [one.used_by for one in store.describe("cards@1") if one.kind == "view"] == [("fraud@1",)]
    direct = store.plan([FeatureService("fraud", features=[people["age"], spend.via(OWNER)])])
    assert [change.details for change in direct.effective() if change.kind == "service"] == [
        ("keys of people changed: customer_id = cards:customer_id -> none",)
    ]
    moved = StateView("cards", entity=card, source=source("cards"), features=["customer_id"], where="card_id > 1")
    changed = store.plan(
        [FeatureService("fraud", features=[people.via(moved["customer_id"]), spend.via(moved["customer_id"])])]
    )
    words = next(change.details for change in changed.effective() if change.kind == "service")
    assert "reads changed: cards@1 -> cards@2" in words
    assert (("view", "cards"), ("service", "fraud")) in changed.touched
    lineage = store.lineage("cards:customer_id")
    assert [(str(link.user), link.roles) for link in lineage.downstream] == [("service fraud@1", ("join key",))]
    store.apply(changed, who="test")
    pinned = {(item.kind, item.name, item.version) for item in store.plan_prune(["fraud@1"]).items}
    assert pinned == {("service", "fraud", 1), ("view", "cards", 1)}
    assert store.plan_prune().items == ()


def test_a_service_from_before_there_were_lookups_means_what_it_meant() -> None:
    """Its hash is unchanged, so no service gets a new version for them."""
    plain = ServiceSpec(name="s", features=(ServiceFeature(view="weather", view_version=1, feature="wind"),))
    assert meaning_hash(plain) == "271510bf161b57bac7489a50577741234bf446e538f980c39c56752a89689c7c"
    found = LookupSpec(join_key="k", view="v", view_version=1, feature="f")
    looked = ServiceFeature(view="weather", view_version=1, feature="wind", lookups=(found,))
    assert meaning_hash(ServiceSpec(name="s", features=(looked,))) != meaning_hash(plain)
    assert (
        decode_spec("service", "s", b'{"name":"s","features":[{"view":"weather","view_version":1,"feature":"wind"}]}')
        == plain
    )
    again = ServiceSpec(name="s", features=(looked,))
    assert decode_spec("service", "s", encode_spec(again)) == again
    assert describe_change(plain, ServiceSpec(name="s", features=(looked,))) == (
        "keys of weather changed: none -> k = v:f",
    )


def test_entities_of_a_grid_are_those_that_are_asked_for(store: FeatureStore) -> None:
    """Customers are looked up, so the cards of the source are the rows."""
    table = store.get_historical_features([people.via(OWNER)["age"]], instants=[from_us(10)]).to_arrow()
    assert sorted(zip(*(table.column(name).to_pylist() for name in ("card_id", "people__age")), strict=True)) == [
        (1, 31),
        (2, -1),
        (3, -1),
    ]
    with pytest.raises(InputError, match="several entities"):
        store.get_historical_features([regional.via({"customer_id": OWNER})], instants=[from_us(10)])


@pytest.mark.parametrize(
    ("view", "lookup", "words"),
    [
        (people, cards, "one feature"),
        (people, cards[["customer_id", "region"]], "one feature"),
        (people, {"card_id": OWNER}, "no join key of view 'people'"),
        (people, {"customer_id": ""}, "Give the name of a column"),
        (people, {"customer_id": "owner"}, "looks up no join key"),
        (regional, OWNER, "has 2 join keys"),
    ],
)
def test_a_wrong_lookup_is_refused(view: FeatureView, lookup: Any, words: str) -> None:
    """What names no entity is refused where it is written."""
    with pytest.raises(DefinitionError, match=words):
        view.via(lookup)


def test_a_lookup_is_of_the_join_keys_type_and_stored(store: FeatureStore) -> None:
    """Types are compared when they are known; what is computed at the end of a read cannot begin one."""
    wrong = people.via(cards["region"])
    with pytest.raises(SchemaError, match="finds join key 'customer_id' of view 'people' in cards:region, which is"):
        history(store, [wrong], (1, 1))
    with pytest.raises(SchemaError, match="Service 's' finds join key"):
        store.plan([FeatureService("s", features=[homes.via(wrong["household_id"])])])
    computed = OnDemandView("c", inputs=[OWNER], features=[on_demand.bucketize("b", "cards__customer_id", [0])])
    with pytest.raises(DefinitionError, match="computed at the end of a read"):
        people.via(computed["b"])


def test_a_service_treats_what_is_missing_behind_a_lookup(store: FeatureStore) -> None:
    """As of any other feature; the key itself is what its view gives."""
    filled = people.via(OWNER)["household_id"].with_missing(default="none", indicator=True)
    recent = people.via(OWNER)["age"].with_missing(limit="30us", default=None)
    asked = ((1, 5), (2, 5), (1, 40))
    past = history(store, [filled, recent], *asked).to_pydict()
    assert past["people__household_id"] == ["a", "none", "b"]
    assert past["people__household_id__missing"] == [False, True, False]
    assert past["people__age"] == [31, None, None]
    read = serve(store, filled, recent).get_online_features("fraud", {"card_id": [1, 2]})
    assert read.to_dict()["people__household_id"] == ["b", "none"]
    assert read.to_dict()["people__household_id__missing"] == [False, True]
    assert read.to_dict()["people__age"] == [None, None]
    strict = people.via(OWNER)["age"].with_missing(error=True)
    with pytest.raises(MissingValueError, match="card_id=2"):
        history(store, [strict], *asked)
    with pytest.raises(DefinitionError, match="what the feature's own view gives"):
        people.via(OWNER.with_missing(default=10))


def test_one_view_is_called_by_one_name(store: FeatureStore) -> None:
    """The owner's features and the asked customer's would fill the same columns; a role tells them apart."""
    with pytest.raises(DefinitionError, match="read without a role, maps its join keys in two ways"):
        FeatureService("s", features=[people["age"], people.via(OWNER)["household_id"]])
    with pytest.raises(DefinitionError, match="twice"):
        FeatureService("s", features=[people["age"], people.via(OWNER)])
    older = OnDemandView("o", inputs=[people["age"]], features=[on_demand.bucketize("old", "people__age", [65])])
    with pytest.raises(DefinitionError, match="in two ways"):
        FeatureService("s", features=[older, people.via(OWNER)])
    with pytest.raises(DefinitionError, match="in two ways"):
        store.get_historical_features([older, people.via(OWNER)], spine((1, 5)))
    both = [people["age"], people.via(OWNER, role="owner")["age"]]
    asked = {"customer_id": [11], "card_id": [1], "at": [from_us(5)]}
    row = store.get_historical_features(both, asked).to_arrow().to_pylist()[0]
    assert (row["people__age"], row["owner__people__age"]) == (40, 31)


class Plain:
    """An online store that offers no snapshots, and does something after each read."""

    def __init__(self, store: OnlineStore, after: Callable[[int], None]) -> None:
        self._store, self._after, self.requests = store, after, list[int]()

    def read(self, requests: Any) -> Any:
        found = self._store.read(requests)
        self.requests.append(len(requests))
        self._after(len(self.requests))
        return found

    def __getattr__(self, name: str) -> Any:
        if name == "in_snapshot":
            raise AttributeError(name)
        return getattr(self._store, name)


def plain(store: FeatureStore, after: Callable[[int], None]) -> Plain:
    """Put a store without snapshots in the place of the store's own."""
    made = Plain(store.online, after)
    store._online = made
    store._reader = None
    return made


def test_an_answer_mixes_no_two_generations(store: FeatureStore) -> None:
    """Without snapshots, a view that is materialized between the steps begins the read anew; for ever is an error."""
    serve(store, people.via(OWNER)["age"])
    limit = 1

    def after(rounds: int) -> None:
        if rounds % 2 and rounds <= limit:
            store.materialize("cards")

    online = plain(store, after)
    answer = store.get_online_features("fraud", {"card_id": [1]})
    assert answer.to_dict() == {"people__age": [40]}
    assert (len(online.requests), answer.versions["cards"]["generation"]) == (4, 2)
    limit = 1000
    with pytest.raises(StoreError, match="changed again and again"):
        store.get_online_features("fraud", {"card_id": [1]})


def test_a_snapshot_sees_all_steps_at_one_instant(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is materialized meanwhile is not looked at, and nothing is read twice."""
    serve(store, people.via(OWNER)["age"])
    assert isinstance(store.online, SnapshotStore)
    own, rounds = store.online.in_snapshot, 0

    def interrupted(work: Any) -> Any:
        def between(read: Any) -> Any:
            def counted(requests: Any) -> Any:
                nonlocal rounds
                found, rounds = read(requests), rounds + 1
                if rounds == 1:
                    store.materialize("cards")
                return found

            return work(counted)

        return own(between)

    monkeypatch.setattr(store.online, "in_snapshot", interrupted)
    answer = store.get_online_features("fraud", {"card_id": [1]})
    assert answer.to_dict() == {"people__age": [40]}
    assert (rounds, answer.versions["cards"]["generation"]) == (2, 1)


def test_a_round_trip_per_step(store: FeatureStore) -> None:
    """Views without lookups stay with one, whatever their number."""
    direct = FeatureService("direct", features=[cards, people, homes])
    chain = FeatureService("chain", features=[people.via(OWNER), homes.via(people.via(OWNER)["household_id"])])
    store.apply(store.plan([direct, chain]), who="test")
    store.materialize()
    online = plain(store, lambda rounds: None)
    store.get_online_features("direct", {"card_id": [1], "customer_id": [10], "household_id": ["a"]})
    assert online.requests == [3]
    store.get_online_features("chain", {"card_id": [1]})
    assert online.requests == [3, 3, 3, 3]


def test_an_owner_that_arrives_is_the_owner_from_then_on() -> None:
    """A push is in the next read, and a training row shows who was known when."""
    owned = StreamSource(
        "owned", schema={"card_id": "int64", "customer_id": "int64", "ts": "timestamp"}, event_time="ts"
    )
    paid = StreamSource(
        "paid", schema={"customer_id": "int64", "amount": "float64", "ts": "timestamp"}, event_time="ts"
    )
    owners = StateView("owners", entity=card, source=owned, features=["customer_id"])
    totals = EventView("totals", entity=customer, source=paid, features=[Sum("amount", windows=["lifetime"])])
    with FeatureStore.temporary(clock=FixedClock(100)) as store:
        store.apply(store.plan([FeatureService("s", features=[totals.via(owners["customer_id"])])]), who="test")
        store.push("paid", [{"customer_id": key, "amount": key / 2, "ts": from_us(2)} for key in (10, 11)])
        found = []
        for number, owner in enumerate((10, 11)):
            store.push("owned", [{"card_id": 1, "customer_id": owner, "ts": from_us(number)}])
            found.append(store.get_online_features("s", {"card_id": [1]}))
        assert [answer.to_dict()["totals__amount_sum_lifetime"] for answer in found] == [[5.0], [5.5]]
        asked = pa.table({"card_id": [1, 1], "at": pa.array([answer.at for answer in found], TIME)})
        past = store.get_historical_features("s", asked).to_arrow()
        assert past.column("totals__amount_sum_lifetime").to_pylist() == [5.0, 5.5]
