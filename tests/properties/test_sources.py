"""The kind of source changes no value: one set of rows, in every format, through a whole project."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asof.clock import from_us
from asof.definitions import Aggregate, Entity, Feature, Window
from asof.services.history import STATUS
from asof.services.missing import STATUS_SUFFIX
from asof.testing import oracle
from asof.testing.comparison import differences
from asof.testing.generators import PREDICATES, Case, EventDraft, StateDraft
from tests.properties.offline import as_answers, spine_table
from tests.properties.project import open_project, read_online

if TYPE_CHECKING:
    from pathlib import Path

DAY_US = 86_400_000_000
ORIGIN_US = 1_700_000_000_000_000
WINDOWS = (Window("6us", hop="3us"), Window("4us", hop="2us"), Window("lifetime"))


def fixed_case() -> Case:
    """Return forty rows with late arrivals, duplicates and retractions, whose types every format can tell."""
    chance = random.Random(7)
    rows: list[dict[str, Any]] = []
    for number in range(40):
        ts = ORIGIN_US + chance.randint(-8, 8)
        rows.append(
            {
                "k": 1 + number % 2,
                "g": "ab"[number % 2],
                "ts": from_us(ts),
                "known": from_us(ts + chance.randint(-1, 6)),
                "id": chance.randint(0, 30),
                "gone": chance.random() < 0.1,
                "f": chance.choice((0.1, 0.25, -1.5)),
                "i": chance.choice((-7, 0, 3, 2**40)),
                "d": None,
                "s": chance.choice(("north", "south", "où")),
                "b": chance.random() < 0.5,
                "w": from_us(ts + DAY_US),
            }
        )
    functions = ("sum", "mean", "min", "max", "variance", "first", "last", "count_distinct", "percentile")
    numbers = [
        Aggregate(function, "f", WINDOWS, name=function, quantile=0.5 if function == "percentile" else None)
        for function in functions
    ]
    words = [
        Aggregate("count", None, WINDOWS, where="i > 0", name="positive"),
        Aggregate("top_k", "s", WINDOWS, n=2, name="usual"),
        Aggregate("last_n", "s", WINDOWS, n=3, name="recent", where="s = 'a'", default=["never"]),
        Aggregate("sum", "i", WINDOWS, name="total", default=0),
        Aggregate("max", "w", WINDOWS, name="latest"),
    ]
    features = tuple(Feature(column) for column in ("f", "i", "s", "b", "w"))
    return Case(
        Entity("thing", join_keys={"k": "int64", "g": "string"}),
        {"event_time": "ts", "available_at": "known", "event_id": "id", "deleted": "gone"},
        (
            EventDraft("numbers", tuple(numbers), None),
            EventDraft("words", tuple(words), "f < 2"),
            StateDraft("now", features, timedelta(microseconds=6), None),
        ),
        rows,
        [((k, g), ORIGIN_US + t) for t in range(-9, 14) for k, g in ((1, "a"), (2, "b"), (2, "a"), (None, "b"))],
        ORIGIN_US + 3,
    )


@pytest.mark.parametrize("kind", ["parquet", "files", "csv", "ndjson", "delta"])
def test_every_kind_of_source_gives_the_oracles_values(kind: str, tmp_path: Path) -> None:
    """Offline at every instant and online from materialization on, through the store's own methods."""
    case = fixed_case()
    store, views = open_project(tmp_path, case, kind)
    later = case.later_questions()
    with store:
        names = [view.name for view in views]
        table = store.get_historical_features(names, spine_table(case, case.questions), statuses=True).to_arrow()
        store.materialize(at=from_us(case.materialized_at))
        served = read_online(store, case, views, later)
    for view in views:
        columns = [name for name in table.column_names if name.startswith(f"{view.name}__")]
        inner = [name.removeprefix(f"{view.name}__").replace(STATUS_SUFFIX, STATUS) for name in columns]
        mine = table.select(columns).rename_columns(inner)
        trained = as_answers(mine, view.feature_names())
        exact = oracle.history(view, case.rows, case.questions, predicates=PREDICATES)
        live = oracle.online(view, case.rows, later, materialized_at=case.materialized_at, predicates=PREDICATES)
        wrong = [line for a, b in zip(live, served[view.name], strict=True) for line in differences(view, a, b)]
        for a, b in zip(exact, trained, strict=True):
            wrong += [line for line in differences(view, a, b) if "event time" not in line]
        assert not wrong, "\n".join(wrong[:10])
