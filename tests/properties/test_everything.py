"""Entities without join keys: history, the oracle and online agree, beside views that have keys and alone."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import assume, given

from asof import Entity, FeatureService, FeatureStore
from asof.clock import FixedClock, from_us, to_us
from asof.errors import FeatureValueError
from asof.testing import oracle
from asof.testing.comparison import differences
from asof.testing.generators import PREDICATES, Case, cases
from asof.testing.oracle import Answer
from tests.properties.offline import frame_views, history
from tests.properties.project import SETTINGS, read_online, write_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asof.definitions import FeatureView

EVERYTHING = Entity("everything", join_keys=[])


def about_everything(case: Case) -> Case:
    """Return the case with an entity that has no join keys."""
    return replace(case, entity=EVERYTHING, questions=[((), t) for _, t in case.questions])


def wrong(
    case: Case, views: Sequence[FeatureView], exact: dict[str, list[Answer]], given: dict[str, list[Answer]]
) -> list[str]:
    """Return what differs; event times only where they are given."""
    return [
        line
        for view in views
        for a, b in zip(exact[view.name], given[view.name], strict=True)
        for line in differences(view, a if b.event_time is not None else replace(a, event_time=None), b)
    ]


@given(case=cases(quarantine=True))
def test_history_is_the_oracles(case: Case) -> None:
    """Every row of the source is about the one entity, those without a key of another entity too."""
    asked = about_everything(case)
    with tempfile.TemporaryDirectory() as folder:
        views = frame_views(asked)
        try:
            exact = {v.name: oracle.history(v, asked.rows, asked.questions, predicates=PREDICATES) for v in views}
        except FeatureValueError:
            assume(False)
        for budget_bytes in (2**30, 0):
            found = history(asked, views, root=Path(folder), budget_bytes=budget_bytes)
            assert not wrong(asked, views, exact, found)


@given(case=cases())
def test_online_is_the_oracles_alone_and_beside_keys(case: Case) -> None:
    """Alone {} is answered by one row; beside views with keys every key gets the one value."""
    asked, at = about_everything(case), case.materialized_at
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.joinpath("asof.toml").write_text(SETTINGS, encoding="utf-8")
        source = write_source(root, case, "parquet")
        views = asked.views(source)
        keyed = [replace(draft, name=f"k{draft.name}").build(case.entity, source) for draft in case.drafts]
        questions = asked.later_questions()[:4]
        try:
            exact = {
                view.name: oracle.online(view, case.rows, questions, materialized_at=at, predicates=PREDICATES)
                for view in views
            }
            for view in keyed:
                past = [(key, t) for key, t in case.later_questions()]
                oracle.online(view, case.rows, past, materialized_at=at, predicates=PREDICATES)
        except FeatureValueError:
            assume(False)
        with FeatureStore(root, clock=FixedClock(at)) as store:
            store.apply(store.plan([FeatureService("all", features=[*views, *keyed])]), who="test")
            store.materialize(at=from_us(at))
            assert not wrong(asked, views, exact, read_online(store, asked, views, questions))
            check_beside(store, case, views, exact, [t for _, t in questions])


def check_beside(
    store: FeatureStore, case: Case, views: Sequence[FeatureView], exact: dict[str, list[Answer]], asked: list[int]
) -> None:
    """Read the service with two keys: both rows hold the one entity's values."""
    keys = {name: [1, 1] if dtype == "int64" else ["a", "b"] for name, dtype in case.entity.join_keys}
    for number, t in enumerate(asked):
        try:
            read = store.get_online_features("all", keys, at=from_us(t))
        except FeatureValueError:
            continue
        values, statuses, times = read.to_dict(), read.statuses, read.event_times
        for view in views:
            for row in (0, 1):
                columns = {name: f"{view.name}__{name}" for name in view.feature_names()}
                time = times[view.name][row]
                given = Answer(
                    {name: values[column][row] for name, column in columns.items()},
                    {name: statuses[column][row] for name, column in columns.items()},
                    None if time is None else to_us(time),
                )
                assert not differences(view, exact[view.name][number], given)
