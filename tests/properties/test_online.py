"""Online equals the oracle at every instant from materialization on, and history at the same instant, bit for bit."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from asof.clock import from_us
from asof.errors import FeatureValueError
from asof.testing import oracle
from asof.testing.comparison import differences, identical
from asof.testing.generators import EXPRESSIONS, Case, cases
from tests.properties.offline import frame_views, history
from tests.properties.project import open_project, read_online

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asof import FeatureStore
    from asof.definitions import FeatureView
    from asof.testing.oracle import Answer


@given(case=cases(select=True, by=True))
def test_online_is_the_oracles_and_historys(case: Case) -> None:
    """Windows age with the clock of the read, later knowledge is not served, a sum that does not fit is refused."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        store, views = open_project(root, case, "parquet")
        with store:
            exact = expected(case, views)
            if exact is None:
                with pytest.raises(FeatureValueError):
                    serve(store, case, views)
                return
            served = serve(store, case, views)
        wrong = [
            f"question {number}: {line}"
            for view in views
            for number, (a, b) in enumerate(zip(exact[view.name], served[view.name], strict=True))
            for line in differences(view, a, b)
        ]
        assert not wrong, "\n".join(wrong)
        assert_bits(served, past(case, root))


def expected(case: Case, views: Sequence[FeatureView]) -> dict[str, list[Answer]] | None:
    """Return the oracle's answers by view, or None where one of them has a value that does not fit its type."""
    asked, at = case.later_questions(), case.materialized_at
    try:
        return {
            view.name: oracle.online(view, case.rows, asked, materialized_at=at, predicates=EXPRESSIONS)
            for view in views
        }
    except FeatureValueError:
        return None


def serve(store: FeatureStore, case: Case, views: Sequence[FeatureView]) -> dict[str, list[Answer]]:
    """Materialize the views and read every question."""
    store.materialize(at=from_us(case.materialized_at))
    return read_online(store, case, views, case.later_questions())


def past(case: Case, root: Path) -> dict[str, list[Answer]]:
    """Return history's answers to the online questions over the rows that were known at materialization."""
    facts = oracle.usable(case.source(), case.rows)
    known = [case.rows[fact.order] for fact in facts if fact.available_at <= case.materialized_at]
    then = replace(case, rows=known, questions=case.later_questions())
    return history(then, frame_views(then), root=root)


def assert_bits(served: dict[str, list[Answer]], trained: dict[str, list[Answer]]) -> None:
    """Refuse a value that differs in a bit between serving and training, or a status that differs."""
    for name in served:
        for online, offline in zip(served[name], trained[name], strict=True):
            assert online.statuses == offline.statuses
            assert all(identical(v, offline.values[f]) for f, v in online.values.items()), (online, offline)
