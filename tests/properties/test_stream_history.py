"""A stream beside its history: whatever each holds of the other's rows, reads and training rows equal the oracle."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from hypothesis import assume, given
from hypothesis import strategies as st

from asof import StreamSource
from asof.clock import from_us, to_us
from asof.definitions import DeltaSource, FileSource
from asof.definitions.streams import ARRIVED_AT
from asof.errors import FeatureValueError, SchemaError
from asof.services.ingest import Batch
from asof.testing import oracle
from asof.testing.comparison import differences
from asof.testing.generators import EXPRESSIONS, Case, cases, row_schema
from asof.testing.oracle import Answer
from tests.properties.test_streams import KEYS, SCHEMA, Model, answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asof.definitions import FeatureView

ARCHIVE = row_schema().append(pa.field("part", pa.string())).append(pa.field("pos", pa.int64()))
KINDS = st.sampled_from(("parquet", "csv", "delta"))
UNTYPED = "cannot be read as"
"""What a plan says of a CSV file whose values can be read exactly as another type only: decimals, or no values."""
_step = st.one_of(
    st.tuples(st.just("push"), st.integers(1, 4)),
    st.tuples(st.just("push"), st.integers(1, 4)),
    st.tuples(st.just("archive"), st.integers(1, 4)),
    st.tuples(st.just("materialize"), st.just(0)),
    st.tuples(st.just("materialize"), st.just(0)),
    st.tuples(st.just("reopen"), st.just(0)),
)
steps = st.lists(st.tuples(_step, st.integers(0, 2)), min_size=2, max_size=7)


class Both(Model):
    """A project with history and a stream."""

    def __init__(self, root: Path, case: Case, kind: str, history: list[dict[str, Any]], **meeting: Any) -> None:
        assume(kind != "csv" or history)  # whose columns are not known without a row
        self.kind = kind
        self.meeting = meeting
        self.past = history
        root.joinpath("past").mkdir()
        self.case = case
        self.root = root
        self.write_past()
        try:
            super().__init__(root, case)
        except SchemaError as error:
            assume(kind != "csv" or UNTYPED not in str(error))
            raise

    def open_writer(self) -> None:
        """Nothing arrives yet."""

    def write_past(self) -> None:
        table = pa.Table.from_pylist(self.past, schema=ARCHIVE)
        if self.kind == "delta":
            from deltalake import write_deltalake

            write_deltalake(str(self.root / "past"), table, mode="overwrite")
        elif self.kind == "csv":
            pa.csv.write_csv(table, self.root / "past" / "rows.csv")
        else:
            pa.parquet.write_table(table, self.root / "past" / "rows.parquet")

    def source(self) -> StreamSource:
        roles = self.case.roles
        own = {name: value for name, value in roles.items() if name not in ("available_at", "delay")}
        past: Any = DeltaSource if self.kind == "delta" else FileSource
        path = "past" if self.kind == "delta" else f"past/rows.{self.kind}"
        return StreamSource("rows", schema=SCHEMA, history=past("past", path=path, **roles), **self.meeting, **own)

    def check(self) -> None:
        """Read every key now: equal to the oracle, or stale because a row of history became known since."""
        self.store.materialize([view.name for view in self.views if not self.is_there(view)])
        for key in KEYS:
            asked = key[: len(self.case.entity.join_keys)]
            names = [name for name, _ in self.case.entity.join_keys]
            keys = {name: [value] for name, value in zip(names, asked, strict=True)}
            for view, twin in zip(self.views, self.twins, strict=True):
                try:
                    read = self.store.get_online_features([view.name], keys)
                    values = read.to_dict()
                except FeatureValueError:
                    continue
                at_us = to_us(read.at)
                given = answer(view, values, read.statuses, read.event_times)
                if self.is_due(view, at_us):
                    assert self.became_known(at_us)
                    assert not {"present", "null"} & set(given.statuses.values())
                    continue
                wrong = differences(twin, self.of_view(twin, asked, at_us), given)
                assert not wrong, (asked, at_us, wrong)

    def check_training(self) -> None:
        """Training rows at the instants of all reads equal the oracle over all that history and the log hold now."""
        names = [name for name, _ in self.case.entity.join_keys]
        asked = [(key[: len(names)], self.clock.now_us() - age) for key in KEYS for age in (-3, 0, 1, 2, 5)]
        spine: dict[str, list[Any]] = {n: [key[i] for key, _ in asked] for i, n in enumerate(names)}
        spine["event_timestamp"] = [from_us(at) for _, at in asked]
        for view, twin in zip(self.views, self.twins, strict=True):
            try:
                found = self.store.get_historical_features([view.name], spine, statuses=True).to_arrow().to_pydict()
            except FeatureValueError:
                continue
            for row, (key, at_us) in enumerate(asked):
                columns = {name: f"{view.name}__{name}" for name in view.feature_names()}
                exact = self.of_view(twin, key, at_us)
                given = Answer(
                    {name: found[column][row] for name, column in columns.items()},
                    {name: found[f"{column}__status"][row] for name, column in columns.items()},
                    exact.event_time,
                )
                wrong = differences(twin, exact, given)
                assert not wrong, (key, at_us, wrong)

    def is_there(self, view: FeatureView) -> bool:
        return any(key.view == view.name for key in self.store.online.generations("case"))

    def is_due(self, view: FeatureView, at_us: int) -> bool:
        found = next(one for key, one in self.store.online.generations("case").items() if key.view == view.name)
        assert found.progress is not None
        return found.progress.due_us is not None and found.progress.due_us <= at_us

    def became_known(self, at_us: int) -> bool:
        return any(self.known(row) <= at_us for row in self.past if row["ts"] is not None)

    def known(self, row: dict[str, Any]) -> int:
        roles = self.case.roles
        if "available_at" in roles:
            return to_us(row["known"])
        delay = roles.get("delay")
        return to_us(row["ts"]) + (0 if delay is None else delay.microseconds)

    def seen(self) -> list[dict[str, Any]]:
        raise NotImplementedError

    def of_view(self, twin: FeatureView, key: tuple[Any, ...], at_us: int) -> Answer:
        return oracle.history(twin, self.seen(), [(key, at_us)], predicates=EXPRESSIONS)[0]


class HandedOver(Both):
    """History owns the event times before an instant, the stream the others; both hold rows of both."""

    def seen(self) -> list[dict[str, Any]]:
        before = to_us(self.meeting["handover"])
        past = [{**row, ARRIVED_AT: self.known(row)} for row in self.past if to_us(row["ts"]) < before]
        return past + [row for row in self.logged if to_us(row["ts"]) >= before]

    def push(self, rows: list[dict[str, Any]]) -> None:
        before = to_us(self.meeting["handover"])
        found = self.store.push("rows", rows)
        assert not found.behind
        late = [row for row in rows if to_us(row["ts"]) < before]
        assert len(found.refused) == len(late)
        assert all("history has it" in why for why in found.refused.values())
        self.logged += [{**row, ARRIVED_AT: found.at_us} for row in rows if to_us(row["ts"]) >= before]


class Archived(Both):
    """History is an archive of the topic, which goes on growing; a partition is that of a row's id."""

    def __init__(self, root: Path, case: Case, kind: str, archived: int) -> None:
        counts: dict[str, int] = {}
        self.topic = []
        for row in case.rows:
            part = str(row["id"] % 2)
            self.topic.append({**row, "part": part, "pos": counts.get(part, 0)})
            counts[part] = counts.get(part, 0) + 1
        self.read = 0
        super().__init__(root, case, kind, self.topic[:archived], positions=("part", "pos"))

    def began(self) -> dict[str, int] | None:
        head = self.store.log.of("rows").head()
        return {part: at for part, (at, _) in head.began.items()} if head.sequence else None

    def seen(self) -> list[dict[str, Any]]:
        began = self.began()
        past = [row for row in self.past if began is None or row["pos"] < began.get(row["part"], 0)]
        return [{**row, ARRIVED_AT: self.known(row)} for row in past] + self.logged

    def push_next(self, count: int) -> None:
        """Take rows of the topic in from where the log ends, with some that it has already."""
        batch = self.topic[max(self.read - 1, 0) : self.read + count]
        self.read += count
        rows = pa.Table.from_pylist(batch, schema=ARCHIVE)
        positions = {row["part"]: row["pos"] + 1 for row in batch}
        before = dict(self.store.log.of("rows").head().positions)
        found = self.store.ingestor("rows").ingestor.take_in(
            Batch(rows, rows["part"].combine_chunks(), rows["pos"].combine_chunks(), _later(positions, before))
        )
        assert not found.behind
        assert not found.refused
        fresh = [row for row in batch if row["pos"] >= before.get(row["part"], 0)]
        assert found.taken == len(fresh)
        self.logged += [{**{n: row[n] for n in SCHEMA}, ARRIVED_AT: found.at_us} for row in fresh]

    def archive(self, count: int) -> None:
        self.past = self.topic[: len(self.past) + count]
        self.write_past()
        if self.began() is None:
            self.store.materialize()

    def begin(self) -> None:
        self.store.ingestor("rows")


def as_in(kind: str, case: Case) -> Case:
    """Return the case as a file of a kind can hold it: in CSV no text is empty, and no zero has a sign."""
    if kind != "csv":
        return case
    rows = [{**row, "s": row["s"] or None, "f": None if row["f"] is None else row["f"] + 0.0} for row in case.rows]
    return replace(case, rows=rows)


def _later(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {part: max(at, other.get(part, 0)) for part, at in one.items()}


@given(
    case=cases(select=True), kind=KINDS, plan=steps, cut=st.integers(-2, 2), side=st.lists(st.booleans(), min_size=16)
)
def test_each_row_counts_on_its_side_of_the_hand_over(
    case: Case, kind: str, plan: Sequence[Any], cut: int, side: list[bool]
) -> None:
    """Rows of the other side, in history and in the stream, are left out; in training, materialized and live."""
    case = as_in(kind, case)
    past = [row for row, there in zip(case.rows, side, strict=False) if there]
    live = [row for row, there in zip(case.rows, side, strict=False) if not there]
    origin = case.materialized_at
    with tempfile.TemporaryDirectory() as folder:
        model = HandedOver(Path(folder), replace(case, rows=live), kind, past, handover=from_us(origin + cut))
        try:
            for (action, number), pause in plan:
                model.clock.set(model.clock.now_us() + pause)
                if action == "push":
                    model.push(model.next_rows(number))
                elif action == "materialize":
                    model.store.materialize()
                elif action == "reopen":
                    model.reopen()
                model.check()
            model.check_training()
        finally:
            model.store.close()


@given(case=cases(select=True), kind=KINDS, plan=steps, archived=st.integers(0, 8))
def test_each_message_of_an_archived_topic_counts_once(
    case: Case, kind: str, plan: Sequence[Any], archived: int
) -> None:
    """The log begins where the archive ends then, however much of the log the archive gets later."""
    with tempfile.TemporaryDirectory() as folder:
        model = Archived(Path(folder), as_in(kind, case), kind, archived)
        try:
            for (action, number), pause in plan:
                model.clock.set(model.clock.now_us() + pause)
                if action == "push":
                    model.begin()
                    model.push_next(number)
                elif action == "archive":
                    model.archive(number)
                elif action == "materialize":
                    model.store.materialize()
                elif action == "reopen":
                    model.reopen()
                model.check()
            model.check_training()
        finally:
            model.store.close()
