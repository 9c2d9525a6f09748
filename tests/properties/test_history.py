"""History equals the oracle, and depends on nothing but the definition, the rows and the question."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from asof.errors import FeatureValueError
from asof.testing import oracle
from asof.testing.comparison import differences, identical
from asof.testing.generators import EXPRESSIONS, Case, EventDraft, StateDraft, cases
from tests.properties.offline import frame_views, history

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from random import Random

    from asof.definitions import FeatureView
    from asof.testing.generators import Row
    from asof.testing.oracle import Answer

T = TypeVar("T")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("history")


def expected(case: Case, views: Sequence[FeatureView]) -> dict[str, list[Answer]] | None:
    """Return the oracle's answers by view, or None where one of them has a value that does not fit its type."""
    try:
        return {view.name: oracle.history(view, case.rows, case.questions, predicates=EXPRESSIONS) for view in views}
    except FeatureValueError:
        return None


def check(views: Sequence[FeatureView], exact: dict[str, list[Answer]], given: dict[str, list[Answer]]) -> None:
    wrong = [
        f"question {number}: {line}"
        for view in views
        for number, (a, b) in enumerate(zip(exact[view.name], given[view.name], strict=True))
        for line in differences(view, a, replace(b, event_time=a.event_time))
    ]
    assert not wrong, "\n".join(wrong)


@given(case=cases(quarantine=True, select=True, by=True))
def test_history_is_the_oracles(case: Case, root: Path) -> None:
    """Every value and status, over frames; where a sum does not fit its type, both refuse."""
    views = frame_views(case)
    exact = expected(case, views)
    if exact is None:
        with pytest.raises(FeatureValueError):
            history(case, views, root=root)
        return
    check(views, exact, history(case, views, root=root))


@given(case=cases(select=True, by=True), data=st.data())
def test_a_sibling_never_matters(case: Case, data: st.DataObject, root: Path) -> None:
    """Some of the views, in another order, with some of their features in another order, give the same bits."""
    views = frame_views(case)
    assume(expected(case, views) is not None)
    whole = history(case, views, root=root)
    drafts = data.draw(st.permutations(case.drafts).map(lambda all_: all_[: max(1, len(all_) - 1)]))
    fewer = replace(case, drafts=tuple(_fewer(draft, data) for draft in drafts))
    part = history(fewer, frame_views(fewer), root=root)
    for name, answers in part.items():
        for all_of_it, some in zip(whole[name], answers, strict=True):
            assert all(identical(value, all_of_it.values[feature]) for feature, value in some.values.items())
            assert some.statuses.items() <= all_of_it.statuses.items()


def _fewer(draft: StateDraft | EventDraft, data: st.DataObject) -> StateDraft | EventDraft:
    if isinstance(draft, StateDraft):
        return replace(draft, features=tuple(data.draw(_some(draft.features))))
    return replace(
        draft,
        aggregates=tuple(
            replace(a, windows=tuple(data.draw(_some(a.windows)))) for a in data.draw(_some(draft.aggregates))
        ),
    )


def _some(items: Sequence[T]) -> st.SearchStrategy[Sequence[T]]:
    numbers = st.lists(st.sampled_from(range(len(items))), min_size=1, unique=True)
    return numbers.map(lambda chosen: [items[number] for number in chosen])


@given(case=cases(select=True, by=True), random=st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(case: Case, random: Random, root: Path) -> None:
    """Rows in any order give the same bits, as long as those that tie keep their order among themselves."""
    views = frame_views(case)
    assume(expected(case, views) is not None)
    other = frame_views(case, rearranged(case.rows, random))
    assert_same(history(case, views, root=root), history(case, other, root=root))


def rearranged(rows: Sequence[Row], random: Random) -> list[Row]:
    """Return the rows shuffled, but those of one event time, or of one id, in their order among themselves."""
    tied: list[set[int]] = []
    for number, row in enumerate(rows):
        touched = [g for g in tied if any(row["ts"] == rows[m]["ts"] or row["id"] == rows[m]["id"] for m in g)]
        tied = [group for group in tied if group not in touched] + [{number}.union(*touched)]
    places = list(range(len(rows)))
    random.shuffle(places)
    order = [0] * len(rows)
    for group in tied:
        for place, number in zip(sorted(places[m] for m in group), sorted(group), strict=True):
            order[place] = number
    return [rows[number] for number in order]


@given(case=cases(select=True, by=True))
def test_partitions_and_threads_do_not_matter(case: Case, root: Path) -> None:
    """One part in memory on one thread, and 64 spilled parts on several, give the same bits."""
    views = frame_views(case)
    assume(expected(case, views) is not None)
    one = history(case, views, root=root, threads=1)
    assert_same(one, history(case, views, root=root, threads=3, budget_bytes=0))


@given(case=cases(select=True, by=True), random=st.randoms(use_true_random=False))
def test_questions_are_independent(case: Case, random: Random, root: Path) -> None:
    """Asked in another order and once more, every question has the same answer."""
    views = frame_views(case)
    assume(expected(case, views) is not None)
    numbers = [*range(len(case.questions)), *range(len(case.questions))]
    random.shuffle(numbers)
    asked = replace(case, questions=[case.questions[number] for number in numbers])
    first, again = history(case, views, root=root), history(asked, views, root=root)
    assert_same({name: [answers[number] for number in numbers] for name, answers in first.items()}, again)


def assert_same(first: dict[str, list[Answer]], second: dict[str, list[Answer]]) -> None:
    """Refuse answers that differ in a bit of a value or in a status."""
    assert first.keys() == second.keys()
    for name in first:
        for a, b in zip(first[name], second[name], strict=True):
            assert a.statuses == b.statuses
            assert all(identical(value, b.values[feature]) for feature, value in a.values.items()), (a, b)
