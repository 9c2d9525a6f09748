"""Partial answers, where the caller allows them: a value is the whole answer's, or an error that no default hides."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
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
    OnDemandView,
    StateView,
    Sum,
    on_demand,
)
from asof.clock import FixedClock
from asof.errors import CorruptDataError, NotMaterializedError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIME = pa.timestamp("us", "UTC")
KEYS = {"card_id": [1, 2, 7]}

card = Entity("card", join_key="card_id", dtype="int64")
customer = Entity("customer", join_key="customer_id", dtype="int64")


def source(name: str) -> FileSource:
    """Return the source of that name."""
    return FileSource(name, path=f"{name}.parquet", event_time="ts")


cards = StateView("cards", entity=card, source=source("cards"), features=["customer_id", Feature("limit", default=-1)])
people = StateView("people", entity=customer, source=source("people"), features=[Feature("age", default=-1)])
spend = EventView(
    "spend",
    entity=card,
    source=source("spend"),
    features=[Sum("amount", windows=["lifetime"], default=0.0), Count(windows=["lifetime"])],
)
OWNER = cards["customer_id"]


def doubled(inputs: pa.RecordBatch) -> dict[str, Any]:
    """Fail where there is no age at all, as a function of a user may."""
    assert inputs["people__age"].null_count < len(inputs)
    return {"age": inputs["people__age"].to_numpy(zero_copy_only=False) * 2.0}


share = OnDemandView(
    "share",
    inputs=[spend["amount_sum_lifetime"], cards["limit"]],
    features=[on_demand.ratio("of_limit", "spend__amount_sum_lifetime", "cards__limit")],
)
double = OnDemandView("double", inputs=[people.via(OWNER)["age"]], function=doubled, outputs={"age": "float64"})
above = OnDemandView(
    "above",
    inputs=[share["of_limit"], spend["count_lifetime"]],
    features=[on_demand.ratio("per_event", "share__of_limit", "spend__count_lifetime")],
)
everything = FeatureService(
    "everything",
    features=[
        cards["limit"],
        people.via(OWNER)["age"],
        spend["amount_sum_lifetime"],
        spend["count_lifetime"].with_missing(default=-5, indicator=True),
        share["of_limit"].with_missing(default=9.0, indicator=True),
        double,
        above,
    ],
)
strict = FeatureService("strict", features=[spend["count_lifetime"].with_missing(error=True), cards["limit"]])
NEEDS = {
    "cards__limit": {"cards"},
    "people__age": {"people", "cards"},
    "spend__amount_sum_lifetime": {"spend"},
    "spend__count_lifetime": {"spend"},
    "spend__count_lifetime__missing": {"spend"},
    "share__of_limit": {"spend", "cards"},
    "share__of_limit__missing": {"spend", "cards"},
    "double__age": {"people", "cards"},
    "above__per_event": {"spend", "cards"},
}


class Broken:
    """An online store of which some views cannot be read, with or without snapshots."""

    def __init__(self, store: Any, *, snapshots: bool) -> None:
        self.store = store
        self.damaged: set[str] = set()
        self.away_after = 1000
        self.reads = 0
        if snapshots:
            self.in_snapshot = lambda work: store.in_snapshot(lambda read: work(lambda asked: self._read(read, asked)))

    def read(self, requests: Any) -> Any:
        return self._read(self.store.read, requests)

    def _read(self, read: Any, requests: Any) -> Any:
        self.reads += 1
        if self.reads > self.away_after:
            raise StoreError("The store is away", fix="Try again.")
        for view, _ in requests:
            if view.view in self.damaged:
                raise CorruptDataError(f"The values of {view.view} are gone", fix="Materialize it.")
        return read(requests)

    def __getattr__(self, name: str) -> Any:
        if name == "in_snapshot":
            raise AttributeError(name)
        return getattr(self.store, name)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """Return a store with two cards, their owners and what was spent with one of them."""
    tmp_path.joinpath("asof.toml").write_text('project = "shop"\ndefinitions = []\n', encoding="utf-8")
    rows: dict[str, list[dict[str, Any]]] = {
        "cards": [
            {"card_id": 1, "ts": 0, "customer_id": 10, "limit": 100},
            {"card_id": 2, "ts": 0, "customer_id": 11, "limit": None},
        ],
        "people": [{"customer_id": 10, "ts": 0, "age": 30}, {"customer_id": 11, "ts": 0, "age": None}],
        "spend": [{"card_id": 1, "ts": 1, "amount": 5.0}, {"card_id": 1, "ts": 2, "amount": 20.0}],
    }
    for name, listed in rows.items():
        table = pa.Table.from_pylist(listed)
        place = table.column_names.index("ts")
        pq.write_table(table.set_column(place, "ts", table.column("ts").cast(TIME)), tmp_path / f"{name}.parquet")
    with FeatureStore(tmp_path, clock=FixedClock(40)) as opened:
        opened.apply(opened.plan([everything, strict]), who="test")
        opened.materialize()
        yield opened


@pytest.fixture(params=[False, True], ids=["plain", "snapshots"])
def broken(store: FeatureStore, request: pytest.FixtureRequest) -> Broken:
    """Put a store that can be broken in the place of the store's own."""
    made: Any = Broken(store.online, snapshots=request.param)
    store._online = made
    store._reader = None
    found: Broken = made
    return found


def by_column(answer: Any) -> dict[str, list[tuple[Any, str]]]:
    """Return the values with their statuses."""
    statuses = answer.statuses
    return {name: list(zip(values, statuses[name], strict=True)) for name, values in answer.to_dict().items()}


def test_every_value_is_the_whole_answers_or_an_error(store: FeatureStore, broken: Broken) -> None:
    """Whichever views are damaged, and exactly what depends on them is null: computed columns and indicators too."""
    whole = by_column(store.get_online_features("everything", KEYS))
    assert whole.keys() == NEEDS.keys()
    assert not any(status == "error" for column in whole.values() for _, status in column)
    for count in range(1, 4):
        for damaged in itertools.combinations(["cards", "people", "spend"], count):
            broken.damaged = set(damaged)
            with pytest.raises(CorruptDataError):
                store.get_online_features("everything", KEYS)
            answer = store.get_online_features("everything", KEYS, partial=True)
            expected = {
                name: [(None, "error")] * 3 if NEEDS[name] & broken.damaged else column
                for name, column in whole.items()
            }
            assert by_column(answer) == expected, damaged
            assert set(answer.failures) >= broken.damaged
    broken.damaged = set()
    answer = store.get_online_features("everything", KEYS, partial=True)
    assert by_column(answer) == whole
    assert answer.failures == {}


def test_a_store_that_is_away_is_asked_once(store: FeatureStore, broken: Broken) -> None:
    """Everything is an error then; it is not asked view by view, as each question may take all its time."""
    broken.away_after = 0
    answer = store.get_online_features("everything", KEYS, partial=True)
    assert broken.reads == 1
    assert {pair for column in by_column(answer).values() for pair in column} == {(None, "error")}
    assert {name: error.code for name, error in answer.failures.items()} == dict.fromkeys(
        ["cards", "people", "spend"], "store_failed"
    )
    with pytest.raises(StoreError, match="away"):
        store.get_online_features("everything", KEYS)


def test_a_store_that_goes_away_between_lookups_fails_what_is_looked_up(store: FeatureStore, broken: Broken) -> None:
    """What was read before is one instant of the store."""
    whole = by_column(store.get_online_features("everything", KEYS))
    broken.reads, broken.away_after = 0, 1
    answer = store.get_online_features("everything", KEYS, partial=True)
    assert set(answer.failures) == {"people"}
    expected = {name: [(None, "error")] * 3 if "people" in NEEDS[name] else pairs for name, pairs in whole.items()}
    assert by_column(answer) == expected


def test_what_a_service_requires_is_still_required(store: FeatureStore, broken: Broken) -> None:
    """A feature that must have a value does not become an error; another one may."""
    broken.damaged = {"spend"}
    with pytest.raises(CorruptDataError, match="spend are gone"):
        store.get_online_features("strict", KEYS, partial=True)
    broken.damaged = {"cards"}
    assert store.get_online_features("strict", {"card_id": [1]}, partial=True).to_dict() == {
        "spend__count_lifetime": [2],
        "cards__limit": [None],
    }


def test_a_view_that_was_never_materialized_is_no_failed_read(store: FeatureStore, broken: Broken) -> None:
    """It stays an error of the whole request."""
    store.online.drop(next(key for key in store.online.generations("shop") if key.view == "spend"))
    with pytest.raises(NotMaterializedError):
        store.get_online_features("everything", KEYS, partial=True)


@pytest.mark.parametrize("metadata", [False, True])
def test_an_answer_says_why_views_failed(store: FeatureStore, broken: Broken, metadata: bool) -> None:
    """Without metadata too, else nulls would pass for nulls; whole answers look as ever."""
    answer = store.get_online_features(["spend:count_lifetime", "cards:limit"], KEYS, partial=True)
    assert "errors" not in json.loads(answer.to_json(metadata=metadata))
    broken.damaged = {"spend"}
    answer = store.get_online_features(["spend:count_lifetime", "cards:limit"], KEYS, partial=True)
    body = json.loads(answer.to_json(metadata=metadata))
    assert body["errors"] == {
        "spend": {"code": "data_corrupt", "what": "The values of spend are gone", "why": "", "fix": "Materialize it."}
    }
    assert [one["values"] for one in body["results"]] == [[None, 100], [None, -1], [None, -1]]
    if metadata:
        assert body["views"]["spend"] == {"version": 1, "generation": None, "instant": None}
        assert body["results"][0]["statuses"] == ["error", "present"]
        assert body["results"][0]["event_times"] == {"spend": None, "cards": "1970-01-01T00:00:00Z"}
    assert answer.versions["spend"] == {"version": 1, "generation": None, "instant": None}
    assert answer.to_arrow(statuses=True)["spend__count_lifetime__status"].to_pylist() == ["error"] * 3


def test_values_that_went_back_are_not_answered(store: FeatureStore, broken: Broken) -> None:
    """A store that lost its newest writes is an error of the view that shows it, and no older value."""
    features = ["spend:count_lifetime", "cards:limit"]
    store.materialize("spend")
    [key] = [key for key in store.online.generations("shop") if key.view == "spend"]
    store.get_online_features(features, KEYS)
    reader = store.reader()
    newest = reader._seen._newest[key]
    reader._seen._newest[key] = replace(newest, number=newest.number + 1, written_at_us=newest.written_at_us + 1)
    answer = store.get_online_features(features, KEYS, partial=True)
    assert answer.to_dict() == {"spend__count_lifetime": [None] * 3, "cards__limit": [100, -1, -1]}
    assert "lost its newest writes" in str(answer.failures["spend"])
    with pytest.raises(StoreError, match="lost its newest writes"):
        store.get_online_features(features, KEYS)
