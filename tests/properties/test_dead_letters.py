"""Every acknowledged row is in the log or a dead letter, once, whatever is pushed, polled, replayed and cut off."""

from __future__ import annotations

import json
import re
import tempfile
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asof import Count, Entity, EventView, FeatureStore, FileSource, StreamSource, Sum
from asof.backends.lmdb.store import LmdbStore
from asof.backends.local.deadletters import LocalSourceDeadLetters
from asof.backends.local.log import LocalSourceLog
from asof.clock import FixedClock, from_us, to_us
from asof.definitions.streams import ARRIVED_AT
from asof.services.ingest import Batch
from asof.services.letters import Undecoded
from asof.testing import oracle
from tests.properties.project import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HOUR_US = 3_600_000_000
START_US = 1_767_225_600_000_000
SCHEMA = {"n": "int64", "k": "int64", "amount": "int64", "ts": "timestamp"}
ROLES: dict[str, Any] = {"event_time": "ts", "max_skew": "1h"}
WRITES: list[tuple[type, str]] = [
    *((LocalSourceDeadLetters, name) for name in ("keep", "begin_replay", "forget", "end_replay")),
    (LocalSourceLog, "append"),
    *((LmdbStore, name) for name in ("announce", "update")),
]

_rows = st.lists(st.sampled_from(["good", "early", "early", "never", "poison", "poison"]), min_size=1, max_size=3)
_picks = st.one_of(st.none(), st.lists(st.integers(0, 9), min_size=1, max_size=3))
_action = st.one_of(
    st.tuples(st.just("push"), _rows),
    st.tuples(st.just("poll"), _rows),
    st.tuples(st.just("replay"), _picks),
    st.tuples(st.just("replay_later"), _picks),
)
_cut = st.one_of(st.none(), st.tuples(st.integers(0, 7), st.booleans()))
actions = st.lists(st.tuples(_action, _cut), min_size=5, max_size=9)


class CutError(Exception):
    """The process ends here."""


def define(source: FileSource | StreamSource) -> EventView:
    features = [Sum("amount", windows=["lifetime"]), Count(windows=["lifetime"])]
    return EventView("spend", entity=Entity("key", join_key="k"), source=source, features=features)


class Model:
    """A project, what was acknowledged, and what may be there as well."""

    def __init__(self, root: Path) -> None:
        root.joinpath("asof.toml").write_text(SETTINGS, encoding="utf-8")
        self.root = root
        self.clock = FixedClock(START_US)
        self.store = FeatureStore(root, clock=self.clock)
        self.store.apply(self.store.plan([define(StreamSource("rows", schema=SCHEMA, **ROLES))]), who="test")
        self.store.ingestor("rows")
        self.made = 0
        self.acknowledged: set[int] = set()
        self.lost: list[set[int]] = []
        self.messages: list[tuple[str, bytes]] = []

    def make(self, kind: str) -> bytes:
        now_us = self.clock.now_us()
        times = {"early": now_us + 2 * HOUR_US, "never": None}
        ts = times.get(kind, now_us - HOUR_US)
        row = {"n": self.made, "k": self.made % 2, "amount": 1, "ts": None if ts is None else from_us(ts).isoformat()}
        self.made += 1
        text = json.dumps(row)
        return (text[:-1] if kind == "poison" else text).encode()

    def push(self, kinds: list[str]) -> None:
        first = self.made
        lines = [self.make(kind) for kind in kinds]
        self.lost.append(set(range(first, self.made)))
        self.store.ingestor("rows").push_lines(lines)
        self.acknowledged |= self.lost.pop()

    def poll(self, kinds: list[str]) -> None:
        """Take new messages in, with some that were taken before; they come again until it is acknowledged."""
        self.messages += [(kind, self.make(kind)) for kind in kinds]
        position = self.store.log.of("rows").head().positions.get("0", 0)
        start = max(0, position - 2)
        read = list(enumerate(self.messages))[start:]
        good = [(at, value) for at, (kind, value) in read if kind != "poison"]
        rows = pa.Table.from_pylist([json.loads(value) for _, value in good]) if good else pa.table({"n": []})
        self.store.ingestor("rows").ingestor.take_in(
            Batch(
                rows,
                partition=pa.array(["0"] * len(good), pa.string()),
                position=pa.array([at for at, _ in good], pa.int64()),
                positions={"0": len(self.messages)},
                undecoded=[Undecoded("0", at, "poison", value) for at, (kind, value) in read if kind == "poison"],
                originals=lambda rows: [good[row][1] for row in rows],
            )
        )
        self.acknowledged |= {serial(value) for _, value in self.messages}

    def replay(self, picks: list[int] | None) -> None:
        listed = [one.id for one in self.store.dead_letters("rows").letters]
        if picks is None:
            self.store.replay_dead_letters("rows")
        elif listed:
            self.store.replay_dead_letters("rows", {listed[pick % len(listed)] for pick in picks})

    def replay_later(self, picks: list[int] | None) -> None:
        """Replay when early rows are not early any more."""
        self.clock.set(self.clock.now_us() + 2 * HOUR_US)
        self.replay(picks)

    def act(self, action: str, argument: Any, cut: tuple[int, bool] | None) -> None:
        with pytest.MonkeyPatch.context() as patch:
            if cut is not None:
                stop_at(patch, *cut)
            try:
                getattr(self, action)(argument)
            except CutError:
                self.store.close()
                self.store = FeatureStore(self.root, clock=self.clock)

    def check(self) -> None:
        log = self.store.log.of("rows")
        tables = [rows for _, rows in log.read(0, log.head().sequence)]
        logged = list(chain.from_iterable(table.to_pylist() for table in tables))
        found = self.store.dead_letters("rows")
        assert found.total == len(found.letters) == sum(found.reasons.values())
        values = [self.store.dead_letter("rows", one.id).value for one in found.letters]
        serials = [row["n"] for row in logged] + [serial(value or b"") for value in values]
        assert len(set(serials)) == len(serials)
        there = set(serials)
        polled = {serial(value) for _, value in self.messages}
        assert self.acknowledged <= there
        for push in self.lost:
            assert not push & there or push <= there  # whoever pushed does not know, but it was all or nothing
        assert there <= self.acknowledged | polled | set(chain.from_iterable(self.lost))
        self.check_values(logged)

    def check_values(self, logged: Sequence[dict[str, Any]]) -> None:
        ingestor = self.store.ingestor("rows").ingestor
        assert not ingestor.catch_up()
        read = self.store.get_online_features(["spend"], {"k": [0, 1]})
        twin = define(FileSource("rows", path="-", event_time="ts", available_at=ARRIVED_AT))
        exact = oracle.history(twin, logged, [((key,), to_us(read.at)) for key in (0, 1)])
        for feature in ("amount_sum_lifetime", "count_lifetime"):
            assert read.to_dict()[f"spend__{feature}"] == [one.values[feature] for one in exact]


def serial(value: bytes) -> int:
    found = re.search(rb'"n": (\d+)', value)
    assert found is not None
    return int(found[1])


def stop_at(patch: pytest.MonkeyPatch, number: int, after: bool) -> None:
    """End the process at a write, counted from 0, before or after it is done."""
    calls = [0]

    def stopped(work: Callable[..., Any]) -> Callable[..., Any]:
        def done(*arguments: Any, **more: Any) -> Any:
            calls[0] += 1
            if calls[0] != number + 1:
                return work(*arguments, **more)
            if after:
                work(*arguments, **more)
            raise CutError

        return done

    for place, name in WRITES:
        patch.setattr(place, name, stopped(getattr(place, name)))


@given(plan=actions)
def test_no_row_is_lost_or_doubled(plan: Sequence[Any]) -> None:
    """Cut off before or after any write; afterwards online equals the oracle over what is in the log."""
    with tempfile.TemporaryDirectory() as folder:
        model = Model(Path(folder))
        try:
            for (action, argument), cut in plan:
                model.act(action, argument, cut)
                model.check()
            model.act("replay_later", None, None)
            model.check()
        finally:
            model.store.close()
