"""An explanation's rows give the value: recomputed from them, it is the oracle's, history's, and the online store's."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import assume, given
from hypothesis import strategies as st

from asof.clock import from_us
from asof.definitions import EventView, StateView
from asof.errors import FeatureValueError, RejectedRowsWarning
from asof.testing import oracle
from asof.testing.comparison import agrees, identical
from asof.testing.exact import aggregate
from asof.testing.generators import PREDICATES, Case, cases
from tests.properties.project import open_project

if TYPE_CHECKING:
    from typing import Any

    from asof import FeatureStore
    from asof.definitions import Aggregate, FeatureView
    from asof.services.explanation import Explanation

ALL = 1_000


def explain(
    store: FeatureStore, case: Case, view: FeatureView, feature: str, key: tuple[Any, ...], t: int
) -> Explanation:
    """Explain one value with all its rows listed."""
    keys = {name: value for (name, _), value in zip(case.entity.join_keys, key, strict=True)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RejectedRowsWarning)
        return store.explain(f"{view.name}:{feature}", keys, from_us(t), rows=ALL)


def recomputed(view: FeatureView, feature: str, found: Explanation) -> tuple[Any, str | None]:
    """Return the value that follows from the rows inside, default applied, and the aggregate's name."""
    if isinstance(view, StateView):
        spec = next(f for f in view.features if f.name == feature)
        value = found.rows[0].value if found.rows else None
        return spec.default if value is None else value, None
    assert isinstance(view, EventView)
    one = next(a for a in view.aggregates for w in a.windows if a.feature_name(w) == feature)
    rows = [*reversed(found.rows)]
    if one.by is not None:
        return grouped(one, [(row.group, row.value) for row in rows]), one.function
    value = aggregate(one, [row.value for row in rows])
    return one.default if value is None else value, one.function


def grouped(one: Aggregate, pairs: list[tuple[Any, Any]]) -> dict[Any, Any] | None:
    """Return the map that follows from pairs of group and value."""
    groups = sorted({group for group, _ in pairs})
    found = {group: aggregate(one, [value for its, value in pairs if its == group]) for group in groups}
    return found if found or one.function == "count" else None


def expected_inputs(case: Case, view: EventView, feature: str, key: tuple[Any, ...], t: int) -> list[Any]:
    """Return what the oracle aggregates: the non-null inputs inside the window, in order."""
    facts = oracle.with_keys(view, oracle.usable(view.source, case.rows))
    seen = [f for f in oracle.events(view.source, facts, t) if oracle.concerns(view, f, key, PREDICATES)]
    spec, window = next((a, w) for a in view.aggregates for w in a.windows if a.feature_name(w) == feature)
    inside = [fact for fact in seen if oracle.window_start(window, t) <= fact.event_time]
    inside = [fact for fact in inside if spec.by is None or fact.values[spec.by] is not None]
    return oracle.inputs(spec, inside, PREDICATES)


def worth_asking(view: FeatureView) -> list[str]:
    """Return the view's features, those of windows with a start twice over: a lifetime has no boundary to miss."""
    names = view.feature_names()
    return [*(name for name in names if "lifetime" not in name), *names]


def questions(case: Case) -> list[tuple[tuple[Any, ...], int]]:
    """Return the questions about keys that something can have."""
    return [(key, t) for key, t in case.questions if None not in key]


@given(case=cases(quarantine=True, by=True), data=st.data())
def test_the_rows_inside_give_the_offline_value(case: Case, data: st.DataObject) -> None:
    """Every row of the key has one cause, and exact arithmetic over those inside gives what history and oracle say."""
    asked = questions(case)
    assume(asked)
    with tempfile.TemporaryDirectory() as folder:
        store, views = open_project(Path(folder), case, "parquet")
        with store:
            for key, t in asked:
                view = data.draw(st.sampled_from(views))
                feature = data.draw(st.sampled_from(worth_asking(view)))
                check(case, view, feature, key, t, explain(store, case, view, feature, key, t))


def check(case: Case, view: FeatureView, feature: str, key: tuple[Any, ...], t: int, found: Explanation) -> None:
    names = [name for name, _ in case.entity.join_keys]
    its_rows = [row for row in case.rows if tuple(row[name] for name in names) == key]
    assert found.inside == len(found.rows)
    assert found.inside + sum(group.count for group in found.outside) == len(its_rows), found
    if isinstance(view, EventView):
        inputs = expected_inputs(case, view, feature, key, t)
        assert identical([row.value for row in reversed(found.rows)], inputs), found
    try:
        value, function = recomputed(view, feature, found)
    except FeatureValueError:
        assert found.offline.status == "error"
        return
    assert agrees(function, value, found.offline.value), found
    try:
        exact = oracle.history(view, case.rows, [(key, t)], predicates=PREDICATES)[0]
    except FeatureValueError:
        return  # of another feature of the view
    assert agrees(function, exact.values[feature], value), found
    assert exact.statuses[feature] == found.offline.status


@given(case=cases(by=True), data=st.data())
def test_both_paths_agree_at_the_instant_of_the_generation(case: Case, data: st.DataObject) -> None:
    """There nothing became known since; later, they agree where no row's visibility changed after the generation."""
    asked = questions(case)
    assume(asked)
    with tempfile.TemporaryDirectory() as folder:
        store, views = open_project(Path(folder), case, "parquet")
        with store:
            store.materialize(at=from_us(case.materialized_at))
            for _ in range(3):
                key, t = data.draw(st.sampled_from(asked))
                view = data.draw(st.sampled_from(views))
                feature = data.draw(st.sampled_from(worth_asking(view)))
                at = data.draw(st.sampled_from((case.materialized_at, t)))
                found = explain(store, case, view, feature, key, at)
                if at < case.materialized_at:
                    assert (found.agree, found.online.code) == (None, "not_materialized")
                elif at == case.materialized_at:
                    assert found.agree, found
                else:
                    known = [row for group in ((found.rows), *(g.rows for g in found.outside)) for row in group]
                    changed = any(row.known_online is False for row in known)
                    assert found.agree or changed or _retracted_since(found), found
                if found.agree:
                    assert identical(found.online.value, found.offline.value)


def _retracted_since(found: Explanation) -> bool:
    generation = found.online.instant
    assert generation is not None
    rows = [row for group in found.outside for row in group.rows]
    return any(row.retracted_at is not None and row.retracted_at > generation for row in rows)
