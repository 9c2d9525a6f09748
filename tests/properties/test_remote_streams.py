"""Rows pushed one by one into a store on another machine: reads equal the oracle there, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings

from asof.testing.generators import Case, cases
from tests.properties.test_streams import act_out, steps

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["postgres", "redis"])
def online(request: pytest.FixtureRequest) -> str:
    """Return the URL of a store that runs."""
    return str(request.getfixturevalue(f"{request.param}_server").url)


@settings(max_examples=settings.default.max_examples // 2 if settings.default else 10)
@given(case=cases(select=True, by=True), plan=steps)
def test_reads_equal_the_oracle_whatever_happens_between(online: str, case: Case, plan: Sequence[Any]) -> None:
    """Pushes, the same rows again, rebuilds, crashes between every two writes, reopened stores; then training."""
    act_out(case, plan, online)
