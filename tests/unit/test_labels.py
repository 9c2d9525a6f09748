"""Labels: which rows are ahead of an instant, known and mature, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asof import (
    Count,
    Entity,
    EventView,
    FeatureService,
    FeatureStore,
    FileSource,
    GroupSplit,
    Label,
    OnDemandView,
    RandomSplit,
    RequestField,
    StateView,
    TimeSplit,
    on_demand,
)
from asof.clock import FixedClock, to_us
from asof.errors import AsofError, DefinitionError, InputError, NotFoundError, SchemaError
from asof.services import labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
ROWS = [
    # customer, shop, hour, known after, id, taken back, amount, note
    (1, "a", 1, 0, "x", False, 1, "one"),
    (1, "b", 2, 0, "y", False, 2, "two"),
    (1, "a", 3, 9, "z", False, 4, None),
    (1, "a", 2, 0, "w", False, 8, "gone"),
    (1, "a", 4, 0, "w", True, None, None),
    (2, "a", 2, 0, "v", False, 16, "other"),
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """Return a project at hour 10 with a service of two entities."""
    (tmp_path / "asof.toml").write_text('project = "shop"\ndefinitions = []\n', encoding="utf-8")
    table = pa.table(
        {
            "customer_id": [row[0] for row in ROWS],
            "shop": [row[1] for row in ROWS],
            "ts": [START + row[2] * HOUR for row in ROWS],
            "known": [START + (row[2] + row[3]) * HOUR for row in ROWS],
            "id": [row[4] for row in ROWS],
            "gone": [row[5] for row in ROWS],
            "amount": [row[6] for row in ROWS],
            "note": [row[7] for row in ROWS],
        }
    )
    pq.write_table(table, tmp_path / "orders.parquet")
    source = FileSource(
        "orders", path="orders.parquet", event_time="ts", available_at="known", event_id="id", deleted="gone"
    )
    plain = FileSource("plain", path="orders.parquet", event_time="ts")
    by_customer = StateView("one", entity=Entity("customer", join_key="customer_id"), source=plain, features=["note"])
    by_shop = StateView("two", entity=Entity("place", join_key="shop"), source=plain, features=["amount"])
    events = EventView("three", entity=by_customer.entity, source=source, features=[Count(windows=["1h"])])
    services = [
        FeatureService("single", features=[by_customer, events]),
        FeatureService("both", features=[by_customer, by_shop]),
    ]
    with FeatureStore(tmp_path, clock=FixedClock(to_us(START + 10 * HOUR))) as opened:
        opened.apply(opened.plan([by_customer, by_shop, events, *services]), who="test")
        yield opened


def made(store: FeatureStore, label: Label, *hours: int, service: str = "single") -> list[Any]:
    """Return the labels of customer 1 at these hours."""
    count = len(hours)
    spine = {"customer_id": [1] * count, "shop": ["a"] * count, "ts": [START + h * HOUR for h in hours]}
    name = f"set{len(store.training_sets())}"
    found: list[Any] = store.create_training_set(name, service, spine, label=label).to_arrow()["label"].to_pylist()
    return found


def test_a_row_at_the_instant_is_outside_and_one_at_the_end_is_inside(store: FeatureStore) -> None:
    """(t, t + window], without the event that was taken back and the one that is not known yet."""
    count = Label("orders", window="1h", aggregate="count")
    assert made(store, count, 0, 1, 2, 3) == [1, 1, 0, 0]
    assert made(store, Label("orders", window="2h"), 0, 1, 2) == [True, True, False]
    total = Label("orders", "amount", window="5h", aggregate="sum")
    assert made(store, total, 0, 1, 2) == [3, 2, None]


def test_what_becomes_known_at_the_clock_counts(store: FeatureStore) -> None:
    """One microsecond earlier it does not."""
    store.clock.set(to_us(START + 12 * HOUR))  # type: ignore[attr-defined]
    total = Label("orders", "amount", window="2h", aggregate="sum")
    assert made(store, total, 2) == [4]
    store.clock.set(to_us(START + 12 * HOUR) - 1)  # type: ignore[attr-defined]
    assert made(store, total, 2) == [None]


def test_a_row_is_mature_when_its_outcome_can_be_known_by_now(store: FeatureStore) -> None:
    """At t + window + maturity, exactly."""
    label = Label("orders", window="2h", maturity="3h")
    assert made(store, label, 4, 5, 6, 1) == [False, False, True]
    assert store.training_set("set0").manifest.immature_rows == 1
    assert made(store, label, 6) == []


def test_first_and_last_take_any_type(store: FeatureStore) -> None:
    """By event time, nulls passed over."""
    assert made(store, Label("orders", "note", window="5h", aggregate="first"), 0) == ["one"]
    assert made(store, Label("orders", "note", window="5h"), 0) == ["two"]


def test_keys_are_named_where_a_service_has_several_entities(store: FeatureStore) -> None:
    """And any of its join keys may be."""
    with pytest.raises(InputError, match="on which keys"):
        made(store, Label("orders", window="5h"), 0, service="both")
    by_shop = Label("orders", "amount", window="5h", aggregate="sum", keys=["shop"])
    assert made(store, by_shop, 0, service="both") == [17]
    both = Label("orders", "amount", window="5h", aggregate="sum", keys=["shop", "customer_id"])
    assert made(store, both, 0, service="both") == [1]
    with pytest.raises(InputError, match="no join key of the service"):
        made(store, Label("orders", window="5h", keys="town"), 0)


def test_many_pairs_are_reduced_in_blocks(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same answer."""
    total = Label("orders", "amount", window="3h", aggregate="sum")
    expected = made(store, total, 0, 1, 2, 0, 0, 1)
    monkeypatch.setattr(labels, "_PAIRS", 2)
    assert made(store, total, 0, 1, 2, 0, 0, 1) == expected == [3, 2, None, 3, 3, 2]


@pytest.mark.parametrize(
    ("label", "error", "message"),
    [
        (Label("order", window="1h"), NotFoundError, "Did you mean orders"),
        (Label("orders", "amout", window="1h"), SchemaError, "Did you mean amount"),
        (Label("orders", "note", window="1h", aggregate="sum"), SchemaError, "which is string"),
        (Label("orders", window="1h", where="amout > 1"), AsofError, "amout"),
        (Label("orders", window="1h", name="customer_id"), InputError, "already is a column 'customer_id'"),
    ],
)
def test_a_label_that_does_not_fit_is_refused(
    store: FeatureStore, label: Label, error: type[AsofError], message: str
) -> None:
    """And nothing is kept."""
    with pytest.raises(error, match=message):
        made(store, label, 0)
    assert store.training_sets() == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Label("orders", window="1h", aggregate="median"), "no label aggregate"),  # type: ignore[arg-type]
        (lambda: Label("orders", window="1h", aggregate="sum"), "of no column"),
        (lambda: Label("orders", "note", window="1h", aggregate="exists"), "names a column"),
        (lambda: Label("orders", window="soon"), "not a duration"),
        (lambda: RandomSplit({"train": 0.5, "test": 0.6}), "sum to 1"),
        (lambda: RandomSplit({"train": 1.5, "test": -0.5}), "sum to 1"),
        (lambda: RandomSplit(seed=-1), "seed"),
        (lambda: GroupSplit(""), "names no column"),
        (lambda: TimeSplit([]), "do not ascend"),
        (lambda: TimeSplit([START, START]), "do not ascend"),
        (lambda: TimeSplit([START], ["a", "a"]), "names"),
        (lambda: TimeSplit(["soon"]), "an instant that is none"),
        (lambda: TimeSplit([START], ["a b", "c"]), "not valid"),
    ],
)
def test_definitions_that_mean_nothing_are_refused(wrong: Callable[[], object], message: str) -> None:
    """When they are made."""
    with pytest.raises(DefinitionError, match=message):
        wrong()


def test_a_service_about_everything_has_labels_of_everything_and_beside_an_entity_its_own(store: FeatureStore) -> None:
    """An entity without join keys does not make the others' keys unclear, and alone joins every row."""
    customer, everything = Entity("customer", join_key="customer_id"), Entity("everything", join_keys=[])
    source = FileSource("plain", path="orders.parquet", event_time="ts")
    whole = EventView("whole", entity=everything, source=source, features=[Count(windows=["1h"])])
    own = EventView("own", entity=customer, source=source, features=[Count(windows=["1h"])])
    ask = OnDemandView("ask", request=[RequestField("n", "int64")], features=[on_demand.sql("more", "n + 1")])
    services = [FeatureService(name, features=of) for name, of in (("a", [whole]), ("b", [whole, own]), ("c", [ask]))]
    store.apply(store.plan([whole, own, ask, *services]), who="test")
    spine = {"customer_id": [2], "event_timestamp": [START], "n": [1]}
    label = Label("plain", window="2h", aggregate="count")
    found = [store.create_training_set(name, name, spine, label=label).to_arrow() for name in ("a", "b")]
    assert [table.column("label").to_pylist() for table in found] == [[4], [1]]
    with pytest.raises(InputError, match="nothing to be joined on"):
        store.create_training_set("c", "c", spine, label=label)
