"""A plan says where windows, ttls and schedules do not fit, and whose columns changed where a reader breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asof import BatchSource, BatchView, Entity, EventView, FeatureStore, FileSource, StateView, Sum
from asof.errors import AsofError, DefinitionError, SchemaError

if TYPE_CHECKING:
    from collections.abc import Iterator

customer = Entity("customer", join_key="customer_id")
orders = FileSource("orders", path="orders.csv", event_time="ts")
SQL = "SELECT customer_id, sum(amount) AS total FROM orders GROUP BY 1"


@pytest.fixture
def store() -> Iterator[FeatureStore]:
    with FeatureStore.temporary() as opened:
        write(opened, "1.5")
        yield opened


def write(store: FeatureStore, amount: str) -> None:
    (store.config.root / "orders.csv").write_text(f"customer_id,ts,amount\n7,2026-01-01T10:00:00Z,{amount}\n")


def daily(**changes: Any) -> BatchSource:
    return BatchSource("daily", **({"inputs": [orders], "schedule": "1d", "sql": SQL} | changes))


def over(*windows: str, **changes: Any) -> EventView:
    return EventView("v", entity=customer, source=daily(**changes), features=[Sum("total", windows=windows)])


def state(ttl: str, **changes: Any) -> StateView:
    return StateView("v", entity=customer, source=daily(**changes), features=["total"], ttl=ttl)


def reader(**changes: Any) -> StateView:
    inputs = [daily(**changes.pop("of", {}))]
    sql = "SELECT customer_id, max(total) AS most FROM daily GROUP BY 1"
    source = BatchSource("reads", **({"inputs": inputs, "schedule": "1d", "sql": sql} | changes))
    return StateView("v", entity=customer, source=source, features=["most"])


EMPTY = "until the next rows are there, they are empty part of the time."
HOURLY = "Batch source 'reads' runs every 1h over 'daily', which publishes every 1d"
EXPIRED = "values expire before the next ones are there."
NOTICES: list[tuple[EventView | StateView, list[str]]] = [
    (over("1d", "7d", "lifetime"), []),
    (over("1h"), [f"View 'v' has windows of 1h over source 'daily', which publishes every 1d: {EMPTY}"]),
    (
        over("1d", delay="2h"),
        [f"View 'v' has windows of 1d over source 'daily', which publishes every 1d, 2h late: {EMPTY}"],
    ),
    (
        over("36h"),
        [
            "View 'v' has windows of 36h over source 'daily', which publishes every 1d: they hold now 1, now 2 of its "
            "runs."
        ],
    ),
    (
        over("2d", schedule="0 6 * * MON-FRI"),
        [f"View 'v' has windows of 2d over source 'daily', which publishes at 0 6 * * MON-FRI UTC: {EMPTY}"],
    ),
    (over("3d", schedule="0 6 * * MON-FRI"), []),
    (state("1d"), []),
    (state("12h"), [f"View 'v' has a ttl of 12h over source 'daily', which publishes every 1d: {EXPIRED}"]),
    (
        state("1d", delay="1h"),
        [f"View 'v' has a ttl of 1d over source 'daily', which publishes every 1d, 1h late: {EXPIRED}"],
    ),
    (reader(), []),
    (reader(schedule="7d", delay="1h"), []),
    (reader(delay="1h", of={"schedule": "0 6 * * *", "delay": "2h"}), []),
    (
        reader(schedule="1h"),
        [f"{HOURLY}: most of its runs see nothing new."],
    ),
    (
        reader(schedule="1h", lookback="1h"),
        [
            f"{HOURLY}: most of its runs see nothing new.",
            f"{HOURLY}: its lookback is too short for most runs to see any.",
        ],
    ),
    (
        reader(schedule="36h"),
        [
            "Batch source 'reads' runs every 36h over 'daily', which publishes every 1d: its intervals hold now 1, now "
            "2 of those."
        ],
    ),
    (
        reader(delay="1h", of={"delay": "2h"}),
        [
            "Batch source 'reads' runs every 1d over 'daily', which publishes 2h after an interval's end: its runs, "
            "due 1h after it, do not see the interval that ends with theirs."
        ],
    ),
]


@pytest.mark.parametrize(("view", "notices"), NOTICES)
def test_a_plan_says_what_does_not_fit(store: FeatureStore, view: EventView | StateView, notices: list[str]) -> None:
    assert list(store.plan([view]).notices) == notices


def test_only_what_is_new_or_changed_is_noticed(store: FeatureStore) -> None:
    store.apply(store.plan([state("12h")]))
    other = StateView("other", entity=customer, source=orders, features=["amount"])
    assert store.plan([state("12h"), other]).notices == ()
    assert len(store.plan([state("11h"), other]).notices) == 1


def test_a_view_over_no_batch_source_is_not_noticed(store: FeatureStore) -> None:
    view = EventView("v", entity=customer, source=orders, features=[Sum("amount", windows=["1m"])])
    assert store.plan([view]).notices == ()


BROKEN: list[tuple[Any, type[AsofError], str]] = [
    (
        EventView("v", entity=customer, source=orders, features=[Sum("amount", windows=["1h"])]),
        SchemaError,
        "v:amount_sum_1h",
    ),
    (
        StateView("v", entity=customer, source=orders, features=["amount"], where="amount + 1 > 2"),
        DefinitionError,
        "View 'v'",
    ),
    (
        StateView("v", entity=customer, source=orders, features=["amount"], select={"a": "amount + 1"}),
        DefinitionError,
        "'v'",
    ),
    (state("7d", sql="SELECT customer_id, amount + 1 AS total FROM orders"), DefinitionError, "batch source 'daily'"),
]


@pytest.mark.parametrize(("view", "kind", "who"), BROKEN)
def test_a_type_that_changed_upstream_is_named_with_who_cannot_read_it(
    store: FeatureStore, view: Any, kind: type[AsofError], who: str
) -> None:
    store.apply(store.plan([view]))
    write(store, "much")
    with pytest.raises(kind) as caught:
        store.plan([view])
    assert who in caught.value.what
    assert "Since the last apply column 'amount' of source 'orders' changed from float64 to string" in caught.value.why


def test_a_batch_source_whose_columns_change_names_itself_and_its_broken_reader(store: FeatureStore) -> None:
    store.apply(store.plan([reader()]))
    broken = reader(of={"sql": "SELECT customer_id, amount AS sum FROM orders"})
    with pytest.raises(DefinitionError, match=r"batch source 'reads'.*source 'daily' lost column 'total'"):
        store.plan([broken])
    typed = EventView("v", entity=customer, source=daily(), features=[Sum("total", windows=["7d"])])
    with FeatureStore.temporary() as other:
        write(other, "1.5")
        other.apply(other.plan([typed]))
        changed = over("7d", sql="SELECT customer_id, 'x' AS total FROM orders")
        with pytest.raises(SchemaError) as caught:
            other.plan([changed])
    assert str(caught.value) == (
        "Feature v:total_sum_7d takes the sum of a string column. Column 'total' of source 'daily' is string. "
        "Since the last apply column 'total' of source 'daily' changed from float64 to string. Use a number."
    )


def test_an_error_that_no_column_explains_stays_as_it_is(store: FeatureStore) -> None:
    store.apply(store.plan([state("7d")]))
    with pytest.raises(SchemaError) as caught:
        store.plan([StateView("v", entity=customer, source=orders, features=["amont"])])
    assert "Since the last apply" not in str(caught.value)


def test_a_batch_view_without_misfits_has_none(store: FeatureStore) -> None:
    view = BatchView(
        "daily", entity=customer, inputs=[orders], schedule="0 6 * * *", sql=SQL, features=["total"], ttl="1d"
    )
    assert store.plan([view]).notices == ()
