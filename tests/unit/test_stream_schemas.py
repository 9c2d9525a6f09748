"""The columns of a stream change while rows arrive: added, widened, or refused with the entry that does not fit."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asof import Count, EventView, FeatureService, Last, StateView, Sum
from asof.errors import SchemaError
from tests.unit.stream_project import CUSTOMER, NOW, SCHEMA, apply, open_store, payments, read, row, train

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asof import FeatureStore

LATER = NOW + timedelta(days=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    with open_store(tmp_path) as store:
        yield store


def spend(source: Any, *more: Any) -> EventView:
    return EventView("spend", entity=CUSTOMER, source=source, features=[Sum("amount", windows=["30d"]), *more])


def test_a_field_that_is_added_is_null_in_what_arrived_before(store: FeatureStore) -> None:
    apply(store, spend(payments()))
    store.push("payments", [row(1, 5)])
    wider = payments({**SCHEMA, "note": "string"})
    apply(
        store,
        spend(wider, Count("note", windows=["30d"])),
        StateView("note", entity=CUSTOMER, source=wider, features=["note"]),
    )
    store.materialize()
    assert read(store, "note:note") is None
    store.push("payments", [row(2, 6, note="a"), row(3, 7)])
    assert read(store, "spend:amount_sum_30d") == 18
    assert read(store, "spend:note_count_30d") == 1
    assert train(store, "spend:note_count_30d", LATER) == 1
    assert train(store, "spend:amount_sum_30d", LATER) == 18


@pytest.mark.parametrize(
    ("before", "after", "values"),
    [
        ("int32", "int64", (5, 2**40)),
        ("float32", "float64", (0.5, 0.1)),
        ("int32", "float64", (5, 0.5)),
        ("int64", "float64", (5, 0.5)),
    ],
)
def test_a_widened_type_holds_old_and_new_values(
    store: FeatureStore, before: str, after: str, values: tuple[Any, Any]
) -> None:
    apply(store, spend(payments({**SCHEMA, "amount": before})))
    store.push("payments", [row(1, values[0])])
    apply(store, spend(payments({**SCHEMA, "amount": after}), Last("amount", windows=["30d"])))
    store.materialize()
    store.push("payments", [row(2, values[1])])
    assert read(store, "spend:amount_sum_30d") == sum(values)
    assert train(store, "spend:amount_sum_30d", LATER) == sum(values)
    assert train(store, "spend:amount_last_30d", LATER) == values[1]


def test_the_pinned_version_and_the_new_one_are_fed_by_the_same_pushes(store: FeatureStore) -> None:
    old = spend(payments())
    apply(store, FeatureService("fraud", features=[old]))
    store.push("payments", [row(1, 5)])
    wider = payments({**SCHEMA, "amount": "int64", "note": "string"})
    apply(store, FeatureService("fraud", features=[spend(wider, Count("note", windows=["30d"]))]))
    store.materialize()
    assert not store.push("payments", [row(2, 2**40, note="a")]).behind
    for version in (1, 2):
        assert read(store, f"spend@{version}:amount_sum_30d") == 5 + 2**40
        assert train(store, f"spend@{version}:amount_sum_30d", LATER) == 5 + 2**40
    assert read(store, "spend@2:note_count_30d") == 1


def test_a_value_that_a_float_cannot_hold_fails_the_read_and_is_no_other_number(store: FeatureStore) -> None:
    apply(store, spend(payments({**SCHEMA, "amount": "int64"})))
    store.push("payments", [row(1, 2**53 + 1)])
    apply(store, spend(payments({**SCHEMA, "amount": "float64"})))
    with pytest.raises(SchemaError, match=r"'amount' .* is int64 and cannot be read as float64 without loss"):
        train(store, "spend:amount_sum_30d", LATER)


@pytest.mark.parametrize(("before", "after", "value"), [("string", "int64", "5"), ("int64", "string", 5)])
def test_an_incompatible_type_is_refused_with_the_entry_that_has_another(
    store: FeatureStore, before: str, after: str, value: object
) -> None:
    def view(dtype: str) -> StateView:
        return StateView("paid", entity=CUSTOMER, source=payments({**SCHEMA, "amount": dtype}), features=["amount"])

    apply(store, view(before))
    store.push("payments", [row(1, value)])
    with pytest.raises(SchemaError) as error:
        store.plan([view(after)])
    text = str(error.value)
    assert "'amount'" in text
    assert f"is {after}, and {before} in 000000000001-000000000001.parquet" in text
    assert "a new name in schema=" in text


def test_a_type_that_is_narrower_than_the_log_is_refused(store: FeatureStore) -> None:
    apply(store, spend(payments({**SCHEMA, "amount": "int64"})))
    store.push("payments", [row(1, 2**40)])
    with pytest.raises(SchemaError, match="'amount' of stream source 'payments' is int32, and int64 in its log"):
        store.plan([spend(payments())])


def test_what_was_never_written_to_may_become_anything(store: FeatureStore) -> None:
    apply(store, spend(payments({**SCHEMA, "amount": "int64"})))
    apply(store, spend(payments({**SCHEMA, "amount": "int32"})))
    store.push("payments", [row(1, 3)])
    assert read(store, "spend:amount_sum_30d") == 3


def test_a_version_that_new_rows_do_not_fit_is_behind_and_says_why(store: FeatureStore) -> None:
    apply(store, FeatureService("fraud", features=[spend(payments({**SCHEMA, "amount": "int64"}))]))
    store.push("payments", [row(1, 5)])
    apply(store, FeatureService("fraud", features=[spend(payments({**SCHEMA, "amount": "float64"}))]))
    store.materialize()
    found = store.push("payments", [row(2, 0.5)])
    assert read(store, "spend@2:amount_sum_30d") == 5.5
    assert list(found.behind) == ["spend@1"]
    assert "cannot be read as int64 without loss" in str(found.behind["spend@1"])
    with pytest.raises(SchemaError, match="cannot be read as int64 without loss"):
        train(store, "spend@1:amount_sum_30d", LATER)
