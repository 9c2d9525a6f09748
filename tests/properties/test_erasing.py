"""Erased between pushes: whoever is left is served, and trained on, what the oracle says of the rows that are left."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asof.backends.lmdb import LmdbStore
from asof.testing.generators import Case, cases
from tests.properties.test_streams import KEYS, Model

if TYPE_CHECKING:
    from collections.abc import Sequence

_step = st.one_of(
    st.tuples(st.just("push"), st.integers(1, 4)),
    st.tuples(st.just("push"), st.integers(1, 4)),
    st.tuples(st.just("erase"), st.integers(0, 2)),
    st.tuples(st.just("again"), st.integers(0, 3)),
    st.tuples(st.just("others"), st.integers(0, 3)),
    st.tuples(st.just("materialize"), st.just(0)),
    st.tuples(st.just("reopen"), st.just(0)),
)
_steps = st.lists(_step, min_size=3, max_size=7)


def erase(model: Model, key: tuple[Any, ...]) -> None:
    """Erase out of the project, and out of what the oracle knows."""
    names = [name for name, _ in model.case.entity.join_keys]
    wanted = dict(zip(names, key, strict=False))
    assert model.store.erase(wanted).remaining == 0
    theirs = [row for row in model.logged if all(row[name] == value for name, value in wanted.items())]
    left = [row for row in model.logged if row not in theirs]
    if {"event_id", "deleted"} <= model.case.roles.keys():
        ids = {row["id"] for row in theirs} - {row["id"] for row in left if not row["gone"]}
        nobody = [row for row in left if row["gone"] and all(row[name] is None for name in names)]
        left = [row for row in left if row not in nobody or row["id"] not in ids]
    model.logged = left
    model.served.clear()


@settings(max_examples=25)
@given(case=cases(select=True, by=True), plan=_steps)
def test_others_equal_the_oracle_over_the_rows_that_are_left(case: Case, plan: Sequence[tuple[str, int]]) -> None:
    """Reads after every step, and training at their instants; the erased one's later rows count, too."""
    if not case.entity.join_keys:
        return
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(LmdbStore, "scrub", lambda _: None)  # as slow as ten examples
        model = Model(Path(folder), case)
        try:
            for action, number in plan:
                model.clock.set(model.clock.now_us() + 1)
                if action == "push":
                    model.push(model.next_rows(number))
                elif action == "again" and model.sent:
                    model.push(model.sent[number % len(model.sent)])
                elif action == "others" and model.sent:  # with the same event ids, which then count for the first
                    rows = model.sent[number % len(model.sent)]
                    model.push([{**row, "k": 2 if row["k"] == 1 else 1} for row in rows])
                elif action == "erase":
                    erase(model, KEYS[number])
                elif action == "materialize":
                    model.store.materialize()
                elif action == "reopen":
                    model.reopen()
                model.check()
            model.check_training()
        finally:
            model.store.close()
