"""Views read about whoever another feature names: history, online and a nested loop over all rows agree."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import assume, given
from hypothesis import strategies as st

from asof import Entity, EventView, Feature, FeatureService, FeatureStore, FileSource, Last, StateView
from asof.clock import FixedClock, from_us, to_us
from asof.errors import FeatureValueError
from asof.testing import oracle
from asof.testing.comparison import differences
from asof.testing.generators import PREDICATES, Case, cases
from asof.testing.oracle import Answer
from tests.properties.project import SETTINGS, write_source

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asof.definitions import FeatureSelection, FeatureView

    Row = dict[str, Any]
    Asked = tuple[int | None, str | None, int]  # a card, a value of g that the question brings, an instant

TIME = pa.timestamp("us", "UTC")
SCHEMA = pa.schema(
    {"card": pa.int64(), "person": pa.int32(), "ts": TIME, "known": TIME, "gone": pa.bool_(), "to": pa.int32()}
    | {"k": pa.int64(), "g": pa.string()}
)


@dataclass(frozen=True)
class Link:
    """A view that names entities, its rows, and the link that finds its own key; None where the question has it.

    Attributes:
        features: Which feature holds the key of a person, and which hold k and g.
    """

    view: FeatureView
    rows: list[Row]
    features: Mapping[str, str]
    before: Link | None = None

    def __getitem__(self, column: str) -> FeatureSelection:
        """Return the feature that holds a key, looked up in turn if need be."""
        name = self.features[column]
        return self.view[name] if self.before is None else self.view.via(self.before["to"])[name]

    def value(self, column: str, card: int | None, t: int, materialized_at: int | None) -> Any:
        """Return the key that the oracle finds."""
        key = card if self.before is None else self.before.value("to", card, t, materialized_at)
        return ask(self.view, self.rows, (key,), t, materialized_at).values[self.features[column]]


def ask(view: FeatureView, rows: list[Row], key: tuple[Any, ...], t: int, materialized_at: int | None) -> Answer:
    """Return the oracle's answer, over all rows or those that were known at materialization."""
    if materialized_at is None:
        return oracle.history(view, rows, [(key, t)], predicates=PREDICATES)[0]
    return oracle.online(view, rows, [(key, t)], materialized_at=materialized_at, predicates=PREDICATES)[0]


@st.composite
def links(draw: st.DrawFn, name: str, entity: Entity, origin: int) -> tuple[FeatureView, list[Row], dict[str, str]]:
    """Draw a view that names others, of the newest rows or of the newest events of a window, and its rows."""

    def row(ts: int, late: int) -> Row:
        return {
            "card": draw(st.sampled_from((1, 1, 2))),
            "person": draw(st.sampled_from((5, 5, 6))),
            "ts": from_us(origin + ts),
            "known": from_us(origin + ts + late),
            "gone": draw(st.sampled_from((False, False, False, False, True))),
            "to": draw(st.sampled_from((5, 5, 6, None))),
            "k": draw(st.sampled_from((1, 1, 2, None))),
            "g": draw(st.sampled_from(("a", "a", "b", None))),
        }

    times = st.lists(st.tuples(st.integers(-4, 3), st.sampled_from((0, 0, 0, 1, 2, 4))), min_size=1, max_size=8)
    rows = [row(ts, late) for ts, late in draw(times)]
    source = FileSource(name, path=f"{name}.parquet", event_time="ts", available_at="known")
    if draw(st.integers(0, 3)) == 0:
        window = draw(st.sampled_from(("lifetime", "3us")))
        aggregates = [Last(column, windows=[window]) for column in ("to", "k", "g")]
        events = EventView(name, entity=entity, source=source, features=aggregates)
        return events, rows, dict(zip(("to", "k", "g"), events.feature_names(), strict=True))
    facts = FileSource(name, path=f"{name}.parquet", event_time="ts", available_at="known", deleted="gone")
    default = draw(st.sampled_from((None, None, 2)))
    ttl = draw(st.sampled_from((None, timedelta(microseconds=2), timedelta(microseconds=4))))
    state = StateView(name, entity=entity, source=facts, features=["to", Feature("k", default=default), "g"], ttl=ttl)
    return state, rows, {"to": "to", "k": "k", "g": "g"}


@given(case=cases(), data=st.data())
def test_looked_up_features_are_those_of_the_nested_loop(case: Case, data: st.DataObject) -> None:
    """One step or two, of one join key or of a composite one, whose second key may come with the question."""
    origin = case.materialized_at
    first = Link(*data.draw(links("cards", Entity("card", dtype="int64"), origin)))
    last = Link(*data.draw(links("people", Entity("person", dtype="int64"), origin)), before=first)
    link = data.draw(st.sampled_from((first, last, last)))
    composite = len(case.entity.join_keys) > 1
    brought = composite and data.draw(st.booleans())
    one = st.tuples(st.sampled_from((1, 1, 2, 3, None)), st.sampled_from(("a", "b", None)), st.integers(-3, 6))
    asked: list[Asked] = [(c, g, origin + t) for c, g, t in data.draw(st.lists(one, min_size=1, max_size=5))]
    later: list[Asked] = [(c, g, max(t, origin)) for c, g, t in asked]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.joinpath("asof.toml").write_text(SETTINGS, encoding="utf-8")
        views = case.views(write_source(root, case, "parquet"))
        for used in (first, last):
            pq.write_table(pa.Table.from_pylist(used.rows, schema=SCHEMA), root / f"{used.view.name}.parquet")
        past = expected(case, views, link, asked, None, brought=brought)
        now = expected(case, views, link, later, origin, brought=brought)
        found: Any = {"k": link["k"]} if brought else {"k": link["k"], "g": link["g"]} if composite else link["k"]
        with FeatureStore(root, clock=FixedClock(origin)) as store:
            store.apply(store.plan([FeatureService("all", features=[v.via(found) for v in views])]), who="test")
            store.materialize(at=from_us(origin))
            wrong = compare(views, past, train(store, views, asked, brought=brought))
            wrong += compare(views, now, [serve(store, views, one, brought=brought) for one in later])
        assert not wrong, "\n".join(wrong)


def expected(
    case: Case, views: list[FeatureView], link: Link, asked: list[Asked], materialized_at: int | None, *, brought: bool
) -> list[dict[str, Answer]]:
    """Return the nested loop's answers; a value that fits no type is another test's matter."""
    answers = []
    for card, g, t in asked:
        key: list[Any] = [link.value("k", card, t, materialized_at)]
        if len(case.entity.join_keys) > 1:
            key.append(g if brought else link.value("g", card, t, materialized_at))
        try:
            answers.append({v.name: ask(v, case.rows, tuple(key), t, materialized_at) for v in views})
        except FeatureValueError:
            assume(False)
    return answers


def train(
    store: FeatureStore, views: list[FeatureView], asked: list[Asked], *, brought: bool
) -> list[dict[str, Answer]]:
    """Return history's answers in the oracle's form, without event times."""
    columns = {"card": pa.array([card for card, _, _ in asked], pa.int64())}
    columns |= {"g": pa.array([g for _, g, _ in asked], pa.string())} if brought else {}
    spine = pa.table({**columns, "asked": pa.array([from_us(t) for _, _, t in asked], TIME)})
    rows = store.get_historical_features("all", spine, statuses=True).to_arrow().to_pylist()
    return [answers(views, row, {n: row.get(f"{n}__status") for n in row}, {}) for row in rows]


def serve(store: FeatureStore, views: list[FeatureView], one: Asked, *, brought: bool) -> dict[str, Answer]:
    """Return the online store's answer to one question."""
    card, g, t = one
    read = store.get_online_features("all", {"card": [card]} | ({"g": [g]} if brought else {}), at=from_us(t))
    values = {name: column[0] for name, column in read.to_dict().items()}
    times = {name: None if column[0] is None else to_us(column[0]) for name, column in read.event_times.items()}
    return answers(views, values, {name: column[0] for name, column in read.statuses.items()}, times)


def answers(
    views: list[FeatureView], values: Mapping[str, Any], statuses: Mapping[str, Any], times: Mapping[str, int | None]
) -> dict[str, Answer]:
    """Return one row of columns by view."""
    return {
        view.name: Answer(
            {name: values[f"{view.name}__{name}"] for name in view.feature_names()},
            {name: statuses[f"{view.name}__{name}"] for name in view.feature_names()},
            times.get(view.name),
        )
        for view in views
    }


def compare(views: list[FeatureView], exact: list[dict[str, Answer]], given_: list[dict[str, Answer]]) -> list[str]:
    """Return what differs; an event time only where the answer gives one."""
    wrong = []
    for number, (one, other) in enumerate(zip(exact, given_, strict=True)):
        for view in views:
            found = other[view.name]
            lines = differences(view, one[view.name], found)
            kept = [line for line in lines if found.event_time is not None or "event time" not in line]
            wrong += [f"question {number}: {line}" for line in kept]
    return wrong
