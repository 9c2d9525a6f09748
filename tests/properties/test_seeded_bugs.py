"""Tests of the property tests: every seeded bug changes an answer within a few hundred generated cases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from asof.errors import FeatureValueError
from asof.testing import oracle
from asof.testing.comparison import differences
from asof.testing.generators import PREDICATES, Case, cases
from tests.properties.seeded_bugs import BUGS, GROUPS, Bug

if TYPE_CHECKING:
    from asof.definitions import FeatureView
    from asof.testing.oracle import Answer

    Outcome = list[Answer] | None

EXAMPLES = 600
GROUPED_EXAMPLES = 120


@pytest.fixture(scope="module")
def corpus() -> list[tuple[Case, list[Outcome]]]:
    """Cases drawn by the generator that the properties use, with the oracle's outcomes."""
    return draw_cases(EXAMPLES, by=False)


@pytest.fixture(scope="module")
def grouped_corpus() -> list[tuple[Case, list[Outcome]]]:
    """Cases with aggregates by secondary keys."""
    return draw_cases(GROUPED_EXAMPLES, by=True)


def draw_cases(count: int, *, by: bool) -> list[tuple[Case, list[Outcome]]]:
    """Return so many cases, the same ones every time."""
    drawn: list[Case] = []

    @seed(20261122)
    @settings(
        max_examples=count,
        database=None,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(by=by))
    def draw(case: Case) -> None:
        drawn.append(case)

    draw()
    return [(case, outcomes(case)) for case in drawn]


def outcomes(case: Case) -> list[Outcome]:
    """Return the oracle's answers of every view of a case, offline and online; None where there is no answer."""
    found: list[Outcome] = []
    for view in case.views():
        found += [_history(case, view), _online(case, view)]
    return found


def _history(case: Case, view: FeatureView) -> Outcome:
    try:
        return oracle.history(view, case.rows, case.questions, predicates=PREDICATES)
    except (FeatureValueError, ValueError):
        return None


def _online(case: Case, view: FeatureView) -> Outcome:
    asked = case.later_questions()
    try:
        return oracle.online(view, case.rows, asked, materialized_at=case.materialized_at, predicates=PREDICATES)
    except (FeatureValueError, ValueError):
        return None


def disagree(case: Case, right: list[Outcome], given: list[Outcome]) -> bool:
    """Return whether the comparison that the properties use tells two lists of outcomes apart."""
    views = [view for view in case.views() for _ in range(2)]
    for view, exact, found in zip(views, right, given, strict=True):
        if exact is None or found is None:
            if exact is not found:
                return True
        elif any(differences(view, a, b) for a, b in zip(exact, found, strict=True)):
            return True
    return False


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_every_seeded_bug_is_detected(
    bug: Bug, corpus: list[tuple[Case, list[Outcome]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A property that compares with the oracle fails for this bug on some generated case."""
    monkeypatch.setattr(bug.module, bug.function, bug.wrong(getattr(bug.module, bug.function)))
    assert any(disagree(case, right, outcomes(case)) for case, right in corpus), f"{bug.name} survives"


@pytest.mark.parametrize("bug", GROUPS, ids=lambda bug: bug.name)
def test_every_seeded_bug_of_groups_is_detected(
    bug: Bug, grouped_corpus: list[tuple[Case, list[Outcome]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Likewise of aggregates by a secondary key."""
    monkeypatch.setattr(bug.module, bug.function, bug.wrong(getattr(bug.module, bug.function)))
    assert any(disagree(case, right, outcomes(case)) for case, right in grouped_corpus), f"{bug.name} survives"


def test_the_oracle_agrees_with_itself(corpus: list[tuple[Case, list[Outcome]]]) -> None:
    """Without a bug nothing differs, so a detection is never noise."""
    assert not any(disagree(case, right, outcomes(case)) for case, right in corpus)
