"""Random definition graphs: computed columns, roles and on-demand views over them; history, oracle and online agree."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from hypothesis import assume, given
from hypothesis import strategies as st

from asof import FeatureService, FeatureStore, OnDemandView, on_demand
from asof.clock import FixedClock, from_us
from asof.definitions.roles import prefixed
from asof.dtypes import FLOATS, INTEGERS
from asof.errors import FeatureValueError
from asof.plan.specs import ViewSpec
from asof.testing import oracle
from asof.testing.comparison import differences, identical
from asof.testing.generators import EXPRESSIONS, Case, cases
from asof.testing.oracle import Answer
from tests.properties.project import SETTINGS, write_source

if TYPE_CHECKING:
    from asof.definitions import FeatureSelection

Picked = tuple["FeatureSelection", int]  # what is read, and which of the two keys it is about


@given(case=cases(select=True), data=st.data())
def test_a_random_graph_is_the_oracles_in_training_in_serving_and_rebuilt(case: Case, data: st.DataObject) -> None:
    """Views under roles or not, ratios of any two numbers of them, and a training set of it all, made twice."""
    keys = [key for key, _ in case.questions] or [(1, "a")[: len(names_of(case))]]
    pairs = data.draw(st.lists(st.tuples(*[st.sampled_from(keys)] * 2), min_size=1, max_size=3))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.joinpath("asof.toml").write_text(SETTINGS, encoding="utf-8")
        picked = draw_views(data, case, root)
        exact = [expected(case, picked, pair) for pair in pairs]
        with FeatureStore(root, clock=FixedClock(case.materialized_at)) as store:
            ratios = draw_ratios(data, store, picked)
            features: list[Any] = [*(selection for selection, _ in picked), *ratios]
            store.apply(store.plan([FeatureService("graph", features=features)]), who="test")
            store.materialize(at=from_us(case.materialized_at))
            asked = key_columns(case, picked, pairs)
            spine = {n: pa.array(v, pa.int64() if n.endswith("k") else pa.string()) for n, v in asked.items()}
            instants = pa.array([case.materialized_at] * len(pairs)).cast(pa.timestamp("us", "UTC"))
            table = pa.table({**spine, "event_timestamp": instants})
            trained = store.get_historical_features("graph", table, statuses=True).to_arrow().to_pylist()
            served = store.get_online_features("graph", asked, at=from_us(case.materialized_at))
            made = store.create_training_set("graph", "graph", table)
            before = (made.path / "data.parquet").read_bytes()
            assert (store.rebuild_training_set("graph").path / "data.parquet").read_bytes() == before
            kept = made.to_arrow().to_pylist()
        values, statuses = served.to_dict(), served.statuses
        for number, wanted in enumerate(exact):
            check(picked, ratios, wanted, trained[number])
            for column, found in values.items():
                assert identical(found[number], trained[number][column]), column
                assert identical(found[number], kept[number][column]), column
                assert statuses[column][number] == trained[number][f"{column}__status"], column


def draw_views(data: st.DataObject, case: Case, root: Path) -> list[Picked]:
    """Return every view of the case under one or both of two roles, or plainly, when it is about the first key."""
    picked: list[Picked] = []
    for view in case.views(write_source(root, case, "parquet")):
        plain = view[list(view.feature_names())]
        roles = [view.with_role(f"r{n}", keys={name: f"r{n}_{name}" for name in names_of(case)}) for n in range(2)]
        choices: list[list[Picked]] = [
            [(plain, 0)],
            [(roles[1], 1)],
            [(plain, 0), (roles[1], 1)],
            [*zip(roles, (0, 1), strict=False)],
        ]
        picked += data.draw(st.sampled_from(choices))
    return picked


def names_of(case: Case) -> list[str]:
    """Return the join keys."""
    return [name for name, _ in case.entity.join_keys]


def key_columns(case: Case, picked: list[Picked], pairs: list[Any]) -> dict[str, list[Any]]:
    """Return the key columns that the selections read."""
    columns = {}
    for selection, position in picked:
        for number, name in enumerate(names_of(case)):
            column = name if selection.role is None else selection.role.column(name)
            columns[column] = [pair[position][number] for pair in pairs]
    return columns


def draw_ratios(data: st.DataObject, store: FeatureStore, picked: list[Picked]) -> list[OnDemandView]:
    """Return an on-demand view of a few ratios between numbers, and one over its first."""
    plan = store.plan([FeatureService("graph", features=[selection for selection, _ in picked])])
    specs = [change.spec for change in plan.changes if isinstance(change.spec, ViewSpec)]
    types = {spec.name: {feature.name: feature.dtype for feature in spec.features} for spec in specs}
    inputs = [
        (selection[name], prefixed(selection.role, f"{selection.view.name}__{name}"))
        for selection, _ in picked
        for name in selection.names
        if types[selection.view.name][name] in INTEGERS | FLOATS
    ]
    if len(inputs) < 2:
        return []
    drawn = data.draw(st.lists(st.tuples(*[st.sampled_from(inputs)] * 2), min_size=1, max_size=3))
    used = {column: selection for pair in drawn for selection, column in pair}
    calls = [on_demand.ratio(f"q{n}", a[1], b[1]) for n, (a, b) in enumerate(drawn)]
    first = OnDemandView("first", inputs=list(used.values()), features=calls)
    second = OnDemandView("second", inputs=[first["q0"]], features=[on_demand.ratio("again", "first__q0", "first__q0")])
    return [first, second]


def expected(case: Case, picked: list[Picked], pair: Any) -> dict[str, Answer]:
    """Return the oracle's answer per selection, over what was known at materialization."""
    t = case.materialized_at
    try:
        return {
            prefixed(one.role, one.view.name): oracle.online(
                one.view,  # type: ignore[arg-type]
                case.rows,
                [(pair[position], t)],
                materialized_at=t,
                predicates=EXPRESSIONS,
            )[0]
            for one, position in picked
        }
    except FeatureValueError:
        assume(False)
        raise


def check(picked: list[Picked], ratios: list[OnDemandView], wanted: dict[str, Answer], row: dict[str, Any]) -> None:
    """Compare a training row with the oracle, and its ratios with Python's."""
    for selection, _ in picked:
        name = prefixed(selection.role, selection.view.name)
        found = Answer(
            {f: row[f"{name}__{f}"] for f in selection.names},
            {f: row[f"{name}__{f}__status"] for f in selection.names},
            wanted[name].event_time,
        )
        assert not list(differences(selection.view, wanted[name], found))  # type: ignore[arg-type]
    for view in ratios:
        for call in view.features:
            above, below = (row[column] for column in call.inputs)
            value = None if above is None or not below else float(above) / float(below)
            value = None if value is None or math.isnan(value) else value
            assert identical(row[f"{view.name}__{call.name}"], value), (call, above, below)
