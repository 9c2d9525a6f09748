"""On-demand features are the same in training and in serving, bit for bit, one row or many."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given
from hypothesis import strategies as st

from asof import OnDemandView, RequestField, on_demand
from asof.clock import from_us
from asof.dtypes import FLOATS, INTEGERS
from asof.errors import FeatureValueError
from asof.testing import oracle
from asof.testing.comparison import identical
from asof.testing.generators import Case, cases
from tests.properties.offline import frame_views, spine_table
from tests.properties.project import open_project

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asof import FeatureStore
    from asof.definitions import FeatureView

REQUESTS = st.fixed_dictionaries(
    {
        "x": st.sampled_from([None, 0.0, -0.0, 2.5, float("nan"), float("inf")]),
        "n": st.sampled_from([None, 0, 3, 2**40]),
        "text": st.sampled_from([None, "", "é"]),
        "when": st.sampled_from([None, from_us(0), from_us(-1)]),
    }
)
FIELDS = [
    RequestField("x", "float64", default=2.0),
    RequestField("n", "int64"),
    RequestField("text", "string"),
    RequestField("when", "timestamp"),
]
TYPES = {"x": pa.float64(), "n": pa.int64(), "text": pa.string(), "when": pa.timestamp("us", "UTC")}


def doubled(inputs: pa.RecordBatch) -> Mapping[str, Any]:
    """Return a user's arithmetic over what the request and the built-in functions give."""
    return {"twice": pc.multiply(inputs["x"], 2), "known": pc.is_valid(inputs["computed__hour"])}


def computed_views(views: Sequence[FeatureView], types: Mapping[str, Mapping[str, str]]) -> list[OnDemandView]:
    """Return a view with a function of every feature that has one, and a view of a Python function over it."""
    calls = [on_demand.calendar("hour", "hour"), on_demand.elapsed("age", "when"), on_demand.ratio("xn", "x", "n")]
    for view in views:
        for name, dtype in types[view.name].items():
            column, label = f"{view.name}__{name}", f"{view.name}_{name}"
            if dtype in INTEGERS | FLOATS:
                calls += [
                    on_demand.ratio(f"r_{label}", column, "x"),
                    on_demand.bucketize(f"b_{label}", column, [0, 1.5]),
                ]
            elif dtype == "timestamp":
                calls += [on_demand.elapsed(f"e_{label}", column), on_demand.calendar(f"c_{label}", "year", column)]
            elif dtype == "string":
                calls.append(on_demand.hash_text(f"h_{label}", column, 5))
                calls.append(on_demand.sql(f"s_{label}", f"upper({column} || text) -- {name}"))
    calls += [on_demand.sql("half", "x / 2 + sqrt(abs(n))"), on_demand.sql("late", 'event_timestamp > "when"')]
    computed = OnDemandView("computed", inputs=views, request=FIELDS, features=calls)
    function = OnDemandView(
        "python",
        inputs=[computed["hour"]],
        request=[FIELDS[0]],
        function=doubled,
        outputs={"twice": "float64", "known": "bool"},
    )
    return [computed, function]


@given(case=cases(), data=st.data())
def test_serving_computes_what_training_computes(case: Case, data: st.DataObject) -> None:
    """At every instant from materialization on, over the rows that were known then."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        asked = case.later_questions()
        requests = [data.draw(REQUESTS) for _ in asked]
        store, views = open_project(root, case, "parquet")
        with store:
            types = {v.name: {f.name: f.dtype for f in store.catalog().view(v.name).features} for v in views}
            store.apply(store.plan([*views, *computed_views(views, types)]), who="test")
            try:
                store.materialize(at=from_us(case.materialized_at))
                served = [serve(store, case, question, row) for question, row in zip(asked, requests, strict=True)]
            except FeatureValueError:
                return  # a sum that does not fit is refused in both paths: see test_online
            spine = spine_table(case, asked)
            for name, type_ in TYPES.items():
                spine = spine.append_column(name, pa.array([row[name] for row in requests], type_))
            facts = oracle.usable(case.source(), case.rows)
            known = [case.rows[fact.order] for fact in facts if fact.available_at <= case.materialized_at]
            past = computed_views(frame_views(replace(case, rows=known)), types)
            trained = store.get_historical_features(past, spine, event_time="asked_at")
            rows = trained.to_arrow().drop_columns(spine.column_names).to_pylist()
            one_by_one = [batch.to_pylist()[0] for batch in trained.to_batches(rows=1)]
        for online, offline, alone in zip(served, rows, one_by_one, strict=True):
            assert list(online) == list(offline)
            assert all(identical(online[name], offline[name]) for name in online), (online, offline)
            assert all(identical(alone[name], offline[name]) for name in offline), (alone, offline)


def serve(store: FeatureStore, case: Case, question: tuple[Any, int], row: Mapping[str, Any]) -> dict[str, Any]:
    """Read one question online."""
    names = [name for name, _ in case.entity.join_keys]
    keys = {name: [value] for name, value in zip(names, question[0], strict=True)}
    request = {name: [value] for name, value in row.items()}
    read = store.get_online_features(["computed", "python"], keys, at=from_us(question[1]), request=request)
    return {name: values[0] for name, values in read.to_dict().items()}
