"""Rows pushed one by one: whatever the order, doubled, cut off by crashes or rebuilt beside, reads equal the oracle."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asof import FeatureStore, StreamSource
from asof.clock import FixedClock, from_us, to_us
from asof.definitions.streams import ARRIVED_AT
from asof.errors import FeatureValueError
from asof.testing import oracle
from asof.testing.comparison import differences, identical
from asof.testing.generators import EXPRESSIONS, Case, cases
from asof.testing.oracle import Answer
from tests.properties.project import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asof.definitions import FeatureView

SCHEMA = {
    **{"k": "int64", "g": "string", "ts": "timestamp", "id": "int64", "gone": "bool"},
    **{"f": "float64", "i": "int64", "d": "decimal(10,2)", "s": "string", "b": "bool", "w": "timestamp"},
}
KEYS = [(1, "a"), (2, "a"), (1, "b"), (7, "a")]

_step = st.one_of(
    st.tuples(st.just("push"), st.integers(1, 4)),
    st.tuples(st.just("push"), st.integers(1, 4)),
    st.tuples(st.just("again"), st.integers(0, 3)),
    st.tuples(st.just("materialize"), st.just(0)),
    st.tuples(st.just("crash"), st.integers(0, 3)),
    st.tuples(st.just("reopen"), st.just(0)),
)
steps = st.lists(st.tuples(_step, st.integers(0, 2)), min_size=2, max_size=7)


class CutError(Exception):
    """The process ends here, as far as the store can tell."""


class Model:
    """A project and what the oracle knows of it: which rows are in the log, each with its arrival."""

    def __init__(self, root: Path, case: Case) -> None:
        self.root = root
        self.case = case
        roles = {name: value for name, value in case.roles.items() if name not in ("available_at", "delay")}
        self.views = case.views(self.source())
        seen = {**roles, "available_at": ARRIVED_AT}
        self.twins = replace(case, roles=seen).views()
        self.clock = FixedClock(case.materialized_at - 2)
        root.joinpath("asof.toml").write_text(SETTINGS, encoding="utf-8")
        self.store = FeatureStore(root, clock=self.clock)
        self.store.apply(self.store.plan(self.views), who="test")
        self.open_writer()
        self.rows = list(case.rows)
        self.sent: list[list[dict[str, Any]]] = []
        self.logged: list[dict[str, Any]] = []
        self.served: list[tuple[tuple[Any, ...], int, dict[str, Answer]]] = []

    def open_writer(self) -> None:
        self.store.ingestor("rows")

    def source(self) -> StreamSource:
        roles = {name: value for name, value in self.case.roles.items() if name not in ("available_at", "delay")}
        return StreamSource("rows", schema=SCHEMA, **roles)

    def next_rows(self, count: int) -> list[dict[str, Any]]:
        taken, self.rows = self.rows[:count], self.rows[count:]
        return [{name: row[name] for name in SCHEMA} for row in taken]

    def push(self, rows: list[dict[str, Any]]) -> None:
        self.sent.append(rows)
        found = self.store.push("rows", rows)
        assert not found.behind
        assert found.taken == len(rows)
        self.logged += [{**row, ARRIVED_AT: found.at_us} for row in rows]

    def crash(self, rows: list[dict[str, Any]], place: int) -> None:
        """Push, and stop at a place: before or after the log was written, before or after the store was."""
        self.sent.append(rows)
        before = self.store.log.of("rows").head()
        writer = self.store.ingestor("rows").ingestor
        with pytest.MonkeyPatch.context() as patch:
            if place == 0:
                patch.setattr(writer.log, "append", cut(writer.log.append, after=False))
            elif place == 1:
                patch.setattr(writer.log, "append", cut(writer.log.append, after=True))
            else:
                patch.setattr(self.store.online, "update", cut(self.store.online.update, after=place == 3))
            with pytest.raises(CutError):
                self.store.push("rows", rows)
        head = self.store.log.of("rows").head()
        if head.sequence > before.sequence:
            self.logged += [{**row, ARRIVED_AT: head.last_us} for row in rows]
        self.reopen()

    def reopen(self) -> None:
        self.store.close()
        self.store = FeatureStore(self.root, clock=self.clock)

    def check(self) -> None:
        """Read every key now, and compare with the oracle over what is in the log."""
        for key in KEYS:
            asked = key[: len(self.case.entity.join_keys)]
            names = [name for name, _ in self.case.entity.join_keys]
            keys = {name: [value] for name, value in zip(names, asked, strict=True)}
            try:
                read = self.store.get_online_features([view.name for view in self.views], keys)
                values = read.to_dict()
            except FeatureValueError:
                with pytest.raises(FeatureValueError):
                    self.exact(asked, max(self.clock.now_us(), self.store.log.of("rows").head().last_us))
                continue
            at_us = to_us(read.at)
            given = {view.name: answer(view, values, read.statuses, read.event_times) for view in self.views}
            exact = self.exact(asked, at_us)
            wrong = [line for v in self.twins for line in differences(v, exact[v.name], given[v.name])]
            assert not wrong, (asked, at_us, wrong)
            self.served.append((asked, at_us, given))

    def exact(self, key: tuple[Any, ...], at_us: int) -> dict[str, Answer]:
        return {
            view.name: oracle.history(view, self.logged, [(key, at_us)], predicates=EXPRESSIONS)[0]
            for view in self.twins
        }

    def check_training(self) -> None:
        """Training rows built now, at the instants of all reads, equal what was served then, bit for bit."""
        if not self.served:
            return
        names = [name for name, _ in self.case.entity.join_keys]
        spine: dict[str, list[Any]] = {n: [key[i] for key, _, _ in self.served] for i, n in enumerate(names)}
        spine["event_timestamp"] = [from_us(at) for _, at, _ in self.served]
        for view in self.views:
            try:
                table = self.store.get_historical_features([view.name], spine, statuses=True).to_arrow()
                found = table.to_pydict(maps_as_pydicts="strict")
            except FeatureValueError:
                continue
            for row, (key, at_us, then) in enumerate(self.served):
                for feature, value in then[view.name].values.items():
                    column = f"{view.name}__{feature}"
                    assert identical(found[column][row], value), (key, at_us, column, found[column][row], value)
                    assert found[f"{column}__status"][row] == then[view.name].statuses[feature]


def cut(work: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
    """Return work that is cut off before or after it is done."""

    def done(*arguments: Any) -> Any:
        if after:
            work(*arguments)
        raise CutError

    return done


def answer(view: FeatureView, values: dict[str, Any], statuses: dict[str, Any], times: dict[str, Any]) -> Answer:
    """Return what was read of one view and key."""
    columns = {name: f"{view.name}__{name}" for name in view.feature_names()}
    time = times[view.name][0]
    return Answer(
        {name: values[column][0] for name, column in columns.items()},
        {name: statuses[column][0] for name, column in columns.items()},
        None if time is None else to_us(time),
    )


@given(case=cases(select=True, by=True), plan=steps)
def test_reads_equal_the_oracle_whatever_happens_between(case: Case, plan: Sequence[Any]) -> None:
    """Pushes, the same rows again, rebuilds, crashes between every two writes, reopened stores; then training."""
    with tempfile.TemporaryDirectory() as folder:
        model = Model(Path(folder), case)
        try:
            for (action, number), pause in plan:
                model.clock.set(model.clock.now_us() + pause)
                if action == "push":
                    model.push(model.next_rows(number))
                elif action == "again" and model.sent:
                    model.push(model.sent[number % len(model.sent)])
                elif action == "crash" and model.rows:
                    model.crash(model.next_rows(2), number)
                elif action == "materialize":
                    model.store.materialize()
                elif action == "reopen":
                    model.reopen()
                model.check()
            model.check_training()
        finally:
            model.store.close()
