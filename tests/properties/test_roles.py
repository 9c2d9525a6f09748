"""One view under two roles: history, the oracle and online agree, whatever the columns of the question are called."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from hypothesis import assume, given
from hypothesis import strategies as st

from asof import FeatureService, FeatureStore
from asof.clock import FixedClock, from_us, to_us
from asof.errors import FeatureValueError
from asof.testing import oracle
from asof.testing.comparison import differences
from asof.testing.generators import PREDICATES, Case, cases
from asof.testing.oracle import Answer
from tests.properties.project import SETTINGS, write_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from asof.definitions import FeatureView

    Pair = tuple[tuple[tuple[Any, ...], tuple[Any, ...]], int]
    Exact = Mapping[tuple[str, str], Answer]

ROLES = ("here", "there")
TYPES = {"int64": pa.int64(), "string": pa.string()}


@given(case=cases(), data=st.data())
def test_two_roles_of_one_view_are_the_oracles(case: Case, data: st.DataObject) -> None:
    """Both roles ask about their own key at the same instant: one scan of history each, one round trip online."""
    keys = [key for key, _ in case.questions] or [(1, "a")[: len(case.entity.join_keys)]]
    instants = [t for _, t in case.later_questions()] or [case.materialized_at]
    key, instant = st.sampled_from(keys), st.sampled_from(instants)
    pairs: list[Pair] = data.draw(st.lists(st.tuples(st.tuples(key, key), instant), min_size=1, max_size=4))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.joinpath("asof.toml").write_text(SETTINGS, encoding="utf-8")
        views = case.views(write_source(root, case, "parquet"))
        past = expected(case, views, pairs, None)
        now = expected(case, views, pairs, case.materialized_at)
        both = [view.with_role(role, keys=mapping(case, role)) for view in views for role in ROLES]
        with FeatureStore(root, clock=FixedClock(case.materialized_at)) as store:
            store.apply(store.plan([FeatureService("both", features=both)]), who="test")
            store.materialize(at=from_us(case.materialized_at))
            wrong = [*compare(views, past, train(store, case, views, pairs))]
            wrong += compare(views, now, serve(store, case, views, pairs))
        assert not wrong, "\n".join(wrong)


def mapping(case: Case, role: str) -> dict[str, str]:
    """Return columns of the role's own for every join key, but for the last of several under the second role."""
    names = [name for name, _ in case.entity.join_keys]
    mapped = {name: f"{role}_{name}" for name in names}
    if role == "there" and len(names) > 1:
        del mapped[names[-1]]
    return mapped


def key_columns(case: Case, pairs: list[Pair]) -> dict[str, list[Any]]:
    """Return the columns that hold both roles' keys."""
    return {
        mapping(case, role).get(name, name): [both[position][number] for both, _ in pairs]
        for position, role in enumerate(ROLES)
        for number, (name, _) in enumerate(case.entity.join_keys)
    }


def expected(case: Case, views: list[FeatureView], pairs: list[Pair], materialized_at: int | None) -> list[Exact]:
    """Return the oracle's answers per pair, by view and role; a value that fits no type is another test's matter."""
    rows = case.rows
    if materialized_at is not None:
        facts = oracle.usable(case.source(), case.rows)
        rows = [case.rows[fact.order] for fact in facts if fact.available_at <= materialized_at]
    try:
        return [
            {
                (view.name, role): oracle.history(view, rows, [(key, t)], predicates=PREDICATES)[0]
                for view in views
                for role, key in zip(ROLES, both, strict=True)
            }
            for both, t in pairs
        ]
    except FeatureValueError:
        assume(False)
        raise


def train(store: FeatureStore, case: Case, views: list[FeatureView], pairs: list[Pair]) -> list[Exact]:
    """Return history's answers in the oracle's form, without event times."""
    types = {name: TYPES[dtype or "int64"] for name, dtype in case.entity.join_keys}
    of_column = {mapping(case, role).get(name, name): types[name] for role in ROLES for name in types}
    spine = {name: pa.array(values, of_column[name]) for name, values in key_columns(case, pairs).items()}
    asked = pa.array([from_us(t) for _, t in pairs], pa.timestamp("us", "UTC"))
    table = store.get_historical_features("both", pa.table({**spine, "asked": asked}), statuses=True).to_arrow()
    return [answers(views, row, {n: row.get(f"{n}__status") for n in row}, {}) for row in table.to_pylist()]


def serve(store: FeatureStore, case: Case, views: list[FeatureView], pairs: list[Pair]) -> list[Exact]:
    """Return the online store's answers, one read per pair."""
    found = []
    for pair in pairs:
        read = store.get_online_features("both", key_columns(case, [pair]), at=from_us(pair[1]))
        values = {name: column[0] for name, column in read.to_dict().items()}
        times = {name: None if column[0] is None else to_us(column[0]) for name, column in read.event_times.items()}
        assert read.versions.keys() == times.keys()
        found.append(answers(views, values, {name: column[0] for name, column in read.statuses.items()}, times))
    return found


def answers(
    views: list[FeatureView], values: Mapping[str, Any], statuses: Mapping[str, Any], times: Mapping[str, int | None]
) -> Exact:
    """Return one row of columns by view and role."""
    made = {}
    for view in views:
        for role in ROLES:
            columns = {name: f"{role}__{view.name}__{name}" for name in view.feature_names()}
            made[view.name, role] = Answer(
                {name: values[column] for name, column in columns.items()},
                {name: statuses[column] for name, column in columns.items()},
                times.get(f"{role}__{view.name}"),
            )
    return made


def compare(views: list[FeatureView], exact: list[Exact], given: list[Exact]) -> Iterable[str]:
    """Yield what differs; an event time only where the answer gives one."""
    for number, (one, other) in enumerate(zip(exact, given, strict=True)):
        for view in views:
            for role in ROLES:
                wanted, found = one[view.name, role], other[view.name, role]
                lines = differences(view, wanted, found)
                for line in lines if found.event_time is not None else [x for x in lines if "event time" not in x]:
                    yield f"question {number} as {role}: {line}"
