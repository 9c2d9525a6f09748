"""NaN is null as a value of its own; inside a list or vector it is an element like any other, in both paths."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from asof import Entity, EventView, FeatureStore, FileSource, FirstN, StateView
from asof.clock import FixedClock, from_us
from asof.testing import oracle
from asof.testing.comparison import identical

if TYPE_CHECKING:
    from pathlib import Path

TIME = pa.timestamp("us", "UTC")
NAN = math.nan


def test_elements_stay_as_they_are(tmp_path: Path) -> None:
    """A list keeps its length and its NaN, a column of floats has null; as JSON both are null."""
    tmp_path.joinpath("asof.toml").write_text('project = "p"\ndefinitions = []\n', encoding="utf-8")
    rows = {
        "k": pa.array([1, 2, 1]),
        "ts": pa.array([from_us(0), from_us(0), from_us(1)], TIME),
        "x": pa.array([NAN, 2.0, 5.0]),
        "listed": pa.array([[1.0], [NAN], [0.5, NAN, None]]),
        "vector": pa.array([[1.0, 2.0], [NAN, 1.0], [NAN, -1.0]], pa.list_(pa.float32(), 2)),
    }
    pq.write_table(pa.table(rows), tmp_path / "rows.parquet")
    thing = Entity("thing", join_key="k")
    source = FileSource("rows", path="rows.parquet", event_time="ts")
    state = StateView("state", entity=thing, source=source, features=["x", "listed", "vector"])
    events = EventView("events", entity=thing, source=source, features=[FirstN("x", 3, windows=["lifetime"])])
    with FeatureStore(tmp_path, clock=FixedClock(5)) as store:
        store.apply(store.plan([state, events]), who="test")
        store.materialize()
        spine = pa.table({"k": [1, 2], "event_timestamp": pa.array([from_us(5)] * 2, TIME)})
        past = store.get_historical_features(["state", "events"], spine, statuses=True).to_arrow().to_pydict()
        read = store.get_online_features(["state", "events"], {"k": [1, 2]})
    for values in (past, read.to_dict()):
        assert identical(values["state__listed"], [[0.5, NAN, None], [NAN]])
        assert identical(values["state__vector"], [[NAN, -1.0], [NAN, 1.0]])
        assert values["state__x"] == [5.0, 2.0]
        assert values["events__x_first3_lifetime"] == [[5.0], [2.0]]
    assert read.statuses["state__listed"] == past["state__listed__status"] == ["present", "present"]
    assert json.loads(read.to_json())["results"][0]["values"][1] == [0.5, None, None]
    exact = oracle.history(state, pa.table(rows).to_pylist(), [((1,), 5)])[0]
    assert identical(exact.values["listed"], [0.5, NAN, None])
