"""Snapshot reads over two sources whose rows are announced, kept and shown step by step equal training rows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asof import Count, Entity, EventView, FeatureService, StreamSource, Sum
from asof.clock import FixedClock, from_us, to_us
from asof.errors import SnapshotUnavailableError
from asof.interfaces.online import ViewKey
from asof.services import consistency
from asof.store import FeatureStore
from asof.testing.comparison import identical

SECOND = 1_000_000
START = 1_750_000_000 * SECOND
NAMES = ("spend", "visits")
customer = Entity("customer", join_key="customer_id")


def view(name: str) -> EventView:
    schema = {"customer_id": "int64", "amount": "int64", "ts": "timestamp"}
    rows = StreamSource(f"{name}_rows", event_time="ts", schema=schema)
    features = [Sum("amount", windows=["2s"]), Count(windows=["lifetime"])]
    return EventView(name, entity=customer, source=rows, features=features)


SPEND, VISITS = view("spend"), view("visits")
BOTH = FeatureService("both", features=[SPEND, VISITS], consistency="snapshot")

_which = st.integers(0, 1)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("announce"), _which),
        st.tuples(st.just("push"), _which),
        st.tuples(st.just("rebuild"), _which),
        st.tuples(st.just("wait"), st.sampled_from([1, 2, SECOND, 6 * SECOND])),
        st.tuples(st.just("read"), st.just(0)),
        st.tuples(st.just("read"), st.integers(1, 3)),
    ),
    min_size=4,
    max_size=14,
)


@given(plan=steps)
def test_a_snapshot_equals_the_training_row_at_its_instant(plan: list[tuple[str, int]]) -> None:
    """Or there was none: a view shows an instant after rows of another were announced, or the clock is behind it."""
    clock = FixedClock(START)
    with pytest.MonkeyPatch.context() as patch, FeatureStore.temporary(clock=clock) as store:
        patch.setattr(consistency, "TRY_S", 0.0)
        store.apply(store.plan([SPEND, VISITS, BOTH]))
        for name in NAMES:
            store.ingestor(f"{name}_rows")
        keys = [ViewKey(store.config.project, name, 1) for name in NAMES]
        served: list[tuple[Any, ...]] = []
        for number, (action, which) in enumerate(plan):
            if action == "announce":
                store.online.announce([keys[which]], clock.now_us())
            elif action == "push":
                row = {"customer_id": 1, "amount": number, "ts": from_us(clock.now_us() - number)}
                store.push(f"{NAMES[which]}_rows", [row])
            elif action == "rebuild":
                store.materialize(NAMES[which])
            elif action == "wait":
                clock.set(clock.now_us() + which)
            else:
                at = None if which == 0 else from_us(clock.now_us() - which + 1)
                generations = store.online.generations(store.config.project)
                newest = max(generations[key].instant_us for key in keys)
                latest = min([clock.now_us(), *(since - 1 for key in keys if (since := _pending(generations[key])))])
                if at is not None and to_us(at) < newest:
                    continue
                try:
                    found = store.get_online_features("both", {"customer_id": [1]}, at=at)
                except SnapshotUnavailableError:
                    assert latest < (newest if at is None else to_us(at))
                    continue
                assert newest <= to_us(found.at) <= latest
                served.append((found.at, found.to_dict()))
        clock.set(clock.now_us() + 60 * SECOND)
        for name in NAMES:
            store.push(f"{name}_rows", [{"customer_id": 1, "amount": 1000, "ts": from_us(START)}])
        if not served:
            return
        spine = {"customer_id": [1] * len(served), "event_timestamp": [at for at, _ in served]}
        trained = store.get_historical_features("both", spine).to_arrow().to_pydict()
        for index, (at, values) in enumerate(served):
            for column, (given_,) in values.items():
                assert identical(trained[column][index], given_), (at, column)


def _pending(generation: Any) -> int | None:
    pending: int | None = generation.progress.pending_us
    return pending
