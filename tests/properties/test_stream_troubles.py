"""Pushes among troubles: views that come later or fail, rows without keys, several sources, rebuilds that are cut off.

Every read equals the oracle over what had arrived at its instant, or says that it is stale.
"""

from __future__ import annotations

import tempfile
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asof import Count, Entity, EventView, FeatureStore, FileSource, LastN, StateView, StreamSource
from asof.backends.lmdb.writer import LmdbWriter
from asof.clock import FixedClock, from_us, to_us
from asof.definitions.streams import ARRIVED_AT
from asof.errors import DefinitionError, FeatureValueError, RejectedRowsWarning
from asof.services.arrivals import Arrivals
from asof.testing import oracle
from asof.testing.comparison import differences, identical
from asof.testing.generators import EXPRESSIONS, Case, cases
from tests.properties.project import SETTINGS
from tests.properties.test_streams import KEYS, SCHEMA, CutError, answer, cut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asof.definitions import FeatureView, Source
    from asof.testing.oracle import Answer

Rows = list[dict[str, Any]]

_step = st.one_of(
    st.tuples(st.just("push"), st.integers(1, 4)),
    st.tuples(st.just("push"), st.integers(1, 4)),
    st.tuples(st.just("more"), st.integers(1, 2)),
    st.tuples(st.just("again"), st.integers(0, 3)),
    st.tuples(st.just("fail"), st.integers(1, 3)),
    st.tuples(st.just("late"), st.just(0)),
    st.tuples(st.just("beside"), st.integers(1, 3)),
    st.tuples(st.just("cut"), st.integers(0, 2)),
    st.tuples(st.just("crash"), st.integers(0, 3)),
)
steps = st.lists(st.tuples(_step, st.integers(0, 2)), min_size=3, max_size=8)


@dataclass(frozen=True)
class Shown:
    """A view, and what the oracle is asked instead."""

    view: FeatureView
    twin: FeatureView

    @property
    def keys(self) -> list[str]:
        return [name for name, _ in self.view.entity.join_keys]

    def of(self, key: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the part of a pair of k and g that is the view's key."""
        return tuple(key["kg".index(name)] for name in self.keys)


class Troubled:
    """A project of two stream sources, and which rows arrived in each, and when."""

    def __init__(self, root: Path, case: Case) -> None:
        self.root = root
        roles = {name: value for name, value in case.roles.items() if name not in ("available_at", "delay")}
        self.roles = roles
        source, other = (StreamSource(name, schema=SCHEMA, **roles) for name in ("rows", "more"))
        twin, twin_other = (
            FileSource(name, path=f"{name}.parquet", available_at=ARRIVED_AT, **roles) for name in ("rows", "more")
        )
        self.shown = [Shown(*pair) for pair in zip(case.views(source), case.views(twin), strict=True)]
        self.shown.append(Shown(_counting("other", case.entity, other), _counting("other", case.entity, twin_other)))
        self.late = [
            Shown(make(name, entity, source), make(name, entity, twin))
            for name, entity, make in (
                ("groups", Entity("group", join_keys={"g": "string"}), _counting),
                ("world", Entity("world", join_keys=[]), _counting),
                ("newest", Entity("group", join_keys={"g": "string"}), _newest),
            )
        ]
        for one in self.late[2:]:  # one definition of an entity
            object.__setattr__(one.view, "entity", self.late[0].view.entity)
            object.__setattr__(one.twin, "entity", self.late[0].twin.entity)
        self.clock = FixedClock(case.materialized_at - 2)
        root.joinpath("asof.toml").write_text(SETTINGS, encoding="utf-8")
        self.store = FeatureStore(root, clock=self.clock)
        self.apply()
        self.rows = [{name: row[name] for name in SCHEMA} for row in case.rows]
        self.sent: list[Rows] = []
        self.logged: dict[str, Rows] = {"rows": [], "more": []}
        self.served: list[tuple[Shown, tuple[Any, ...], int, Answer]] = []

    def tick(self, pause: int) -> None:
        """Let time pass, at least until all that arrived has: what arrives in one source counts at reads of both."""
        arrived = [self.store.log.of(source).head().last_us for source in ("rows", "more")]
        self.clock.set(max(self.clock.now_us(), *arrived) + pause)

    def apply(self) -> None:
        self.store.apply(self.store.plan([one.view for one in self.shown]), who="test")
        for source in ("rows", "more"):
            self.store.ingestor(source)

    def next_rows(self, count: int) -> Rows:
        taken, self.rows = self.rows[:count], self.rows[count:]
        return taken

    def admitted(self, rows: Rows) -> list[int]:
        """Return which rows can be taken in."""
        needed = ["ts", *(["id"] if "event_id" in self.roles else [])]
        return [i for i, row in enumerate(rows) if all(row[name] is not None for name in needed)]

    def push(self, rows: Rows, source: str = "rows") -> None:
        self.sent.append(rows)
        found = self.store.push(source, rows)
        good = self.admitted(rows)
        assert set(found.refused) == set(range(len(rows))) - set(good)
        assert set(found.behind) <= {f"{self.shown[0].view.name}@1"}
        self.logged[source] += [{**rows[i], ARRIVED_AT: found.at_us} for i in good]

    def step(self, action: str, number: int) -> None:
        if action == "push":
            self.push(self.next_rows(number))
        elif action == "more":
            self.push(self.next_rows(number), "more")
        elif action == "again" and self.sent:
            self.push(self.sent[number % len(self.sent)])
        elif action == "late" and self.late:
            self.shown, self.late = self.shown + self.late, []
            self.apply()
        elif action == "fail":
            self.fail(self.next_rows(number))
        elif action == "beside":
            self.beside(self.next_rows(number))
        elif action == "cut":
            self.cut(number)
        elif action == "crash":
            self.crash(self.next_rows(2), number)

    def fail(self, rows: Rows) -> None:
        """Push while the first view cannot take rows in."""
        name = self.shown[0].view.name

        def fail(arrivals: Any, *_: Any) -> Any:
            raise DefinitionError("Its function failed")

        take_in, recount = Arrivals.take_in, Arrivals.recount
        with pytest.MonkeyPatch.context() as patch:
            for method, work in (("take_in", take_in), ("recount", recount)):

                def tried(arrivals: Any, *given: Any, work: Any = work) -> Any:
                    return (fail if arrivals._view.name == name else work)(arrivals, *given)

                patch.setattr(Arrivals, method, tried)
            self.push(rows)

    def beside(self, rows: Rows) -> None:
        """Materialize, and push when the first value is being written."""
        put = LmdbWriter.put
        left = [rows]

        def pushing(writer: Any, *given: Any) -> None:
            put(writer, *given)
            if left:
                self.push(left.pop())

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LmdbWriter, "put", pushing)
            self.store.materialize()

    def cut(self, place: int) -> None:
        """Materialize, and stop after values were written, or before or after the first view is switched in."""
        method = "put" if place == 0 else "commit"
        with pytest.MonkeyPatch.context() as patch:
            work = getattr(LmdbWriter, method)
            patch.setattr(LmdbWriter, method, cut(work, after=place != 1))
            with suppress(CutError):  # there may be nothing to write
                self.store.materialize()
        self.reopen()

    def crash(self, rows: Rows, place: int) -> None:
        """Push, and stop at a place: before or after the log was written, before or after the store was."""
        self.sent.append(rows)
        before = self.store.log.of("rows").head()
        writer = self.store.ingestor("rows").ingestor
        with pytest.MonkeyPatch.context() as patch:
            if place < 2:
                patch.setattr(writer.log, "append", cut(writer.log.append, after=place == 1))
            else:
                patch.setattr(self.store.online, "update", cut(self.store.online.update, after=place == 3))
            with suppress(CutError):  # all rows may be refused
                self.store.push("rows", rows)
        head = self.store.log.of("rows").head()
        if head.sequence > before.sequence:
            self.logged["rows"] += [{**rows[i], ARRIVED_AT: head.last_us} for i in self.admitted(rows)]
        self.reopen()

    def reopen(self) -> None:
        self.store.close()
        self.store = FeatureStore(self.root, clock=self.clock)

    def check(self) -> None:
        """Read all views together, and the one that fails alone, and compare with the oracle over what had arrived."""
        for key in KEYS:
            for views in (self.shown, self.shown[:1]):
                self.compare(views, key)

    def compare(self, views: Sequence[Shown], key: tuple[Any, ...]) -> None:
        names = {name for one in views for name in one.keys}
        keys = {name: [key["kg".index(name)]] for name in sorted(names)}
        try:
            read = self.store.get_online_features([one.view.name for one in views], keys)
            values, statuses, times = read.to_dict(), read.statuses, read.event_times
        except FeatureValueError:
            assert any(self.overflows(one, key) for one in views)
            return
        at_us = to_us(read.at)
        for one in views:
            given = answer(one.view, values, statuses, times)
            if self.lacks(one.view.name, at_us):
                assert not {"present", "null"} & set(given.statuses.values()), "it says that it is stale"
                continue
            assert differences(one.twin, self.exact(one, key, at_us), given) == [], (one.view, key, at_us)
            self.served.append((one, key, at_us, given))

    def overflows(self, one: Shown, key: tuple[Any, ...]) -> bool:
        """Return whether a sum overflows at some instant between the arrivals and now."""
        arrivals = [row[ARRIVED_AT] for row in self.logged[one.twin.source.name]]
        for at_us in {*arrivals, *(us - 1 for us in arrivals), self.clock.now_us()}:
            try:
                self.exact(one, key, at_us)
            except FeatureValueError:
                return True
        return False

    def lacks(self, view: str, at_us: int) -> bool:
        """Return whether arrivals are on their way to a view, and a read at an instant should show them."""
        [found] = [g for k, g in self.store.online.generations("case").items() if k.view == view]
        assert found.progress is not None
        return found.progress.pending_us is not None and at_us >= found.progress.pending_us

    def exact(self, one: Shown, key: tuple[Any, ...], at_us: int) -> Answer:
        rows = self.logged[one.twin.source.name]
        return oracle.history(one.twin, rows, [(one.of(key), at_us)], predicates=EXPRESSIONS)[0]

    def settle(self) -> None:
        """Take in what is left, whereafter nothing is stale."""
        for source in ("rows", "more"):
            assert not self.store.ingestor(source).ingestor.catch_up()
        self.check()
        pending = [g.progress.pending_us for g in self.store.online.generations("case").values() if g.progress]
        assert set(pending) == {None}

    def check_training(self) -> None:
        """Training rows built now, at the instants of all reads, equal what was served then, bit for bit."""
        for one in self.shown:
            served = [(key, at_us, then) for view, key, at_us, then in self.served if view is one]
            if not served:
                continue
            spine: dict[str, list[Any]] = {name: [key["kg".index(name)] for key, _, _ in served] for name in one.keys}
            spine["event_timestamp"] = [from_us(at_us) for _, at_us, _ in served]
            try:
                found = self.store.get_historical_features([one.view.name], spine, statuses=True).to_arrow().to_pydict()
            except FeatureValueError:
                continue
            for row, (key, at_us, then) in enumerate(served):
                for feature, value in then.values.items():
                    column = f"{one.view.name}__{feature}"
                    assert identical(found[column][row], value), (key, at_us, column, found[column][row], value)
                    assert found[f"{column}__status"][row] == then.statuses[feature]


def _counting(name: str, entity: Entity, source: Source) -> EventView:
    features = [Count(windows=["2us", "lifetime"]), LastN("s", n=2, windows=["lifetime"])]
    return EventView(name, entity=entity, source=source, features=features)


def _newest(name: str, entity: Entity, source: Source) -> StateView:
    return StateView(name, entity=entity, source=source, features=["s", "i"])


@given(case=cases(select=True, quarantine=True), plan=steps)
def test_reads_equal_the_oracle_or_are_stale_whatever_goes_wrong(case: Case, plan: Sequence[Any]) -> None:
    """In the end nothing is missing, and training rows equal what was served."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", RejectedRowsWarning)
        model = Troubled(Path(folder), case)
        try:
            for (action, number), pause in plan:
                model.tick(pause)
                model.step(action, number)
                model.check()
            model.settle()
            model.check_training()
        finally:
            model.store.close()
