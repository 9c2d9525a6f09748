"""What goes wrong in feature stores on joins, windows and online reads, each as one small project that does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from asof import Count, Entity, EventView, FeatureStore, FileSource, Max, Mean, Min, StateView, Stddev, Sum, Window
from asof.clock import FixedClock, from_us, to_us
from asof.errors import InputError, NotMaterializedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from asof.definitions import FeatureView

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
USER = Entity("user", join_key="user_id", dtype="int64")
SHOP = Entity("shop", join_key="shop_id", dtype="string")


def at(minutes: float) -> datetime:
    """Return an instant, in minutes after noon."""
    return NOON + timedelta(minutes=minutes)


class Project:
    """A store over one file of rows (minute, user, value, minute known), with whatever views a test needs."""

    def __init__(self, root: Path) -> None:
        (root / "asof.toml").write_text('project = "traps"\ndefinitions = []\n', encoding="utf-8")
        self.root = root
        self.clock = FixedClock(to_us(at(0)))
        self.store = FeatureStore(root, clock=self.clock)
        self.rows = FileSource("rows", path="rows.parquet", event_time="ts", available_at="known")

    def write(self, rows: Sequence[tuple[float, int, float | None, float]]) -> None:
        """Write the rows' file; `shop_id` is the user's number as text."""
        table = pa.table(
            {
                "ts": pa.array([at(row[0]) for row in rows], pa.timestamp("us", "UTC")),
                "known": pa.array([at(row[3]) for row in rows], pa.timestamp("us", "UTC")),
                "user_id": pa.array([row[1] for row in rows], pa.int64()),
                "shop_id": pa.array([str(row[1]) for row in rows]),
                "x": pa.array([row[2] for row in rows], pa.float64()),
            }
        )
        pa.parquet.write_table(table, self.root / "rows.parquet")

    def apply(self, *views: FeatureView) -> None:
        """Make the views the project's definitions."""
        self.store.apply(self.store.plan(views), who="test")

    def train(self, references: list[str], spine: Any, **options: Any) -> pa.Table:
        """Return the training table."""
        return self.store.get_historical_features(references, spine, **options).to_arrow()

    def ask(self, reference: str, minute: float, user: int | None = 1) -> Any:
        """Return one feature of one user, offline, at one instant."""
        spine = pa.table({"user_id": pa.array([user], pa.int64()), "asked": [at(minute)]})
        return self.train([reference], spine).column(reference.replace(":", "__"))[0].as_py()

    def serve(self, reference: str, minute: float, user: int = 1) -> tuple[Any, str]:
        """Return one feature of one user, online, with its status."""
        read = self.store.get_online_features([reference], {"user_id": [user]}, at=at(minute))
        name = reference.replace(":", "__")
        return read.to_dict()[name][0], read.statuses[name][0]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path)
    with made.store:
        yield made


def state(project: Project, **options: Any) -> StateView:
    return StateView("now", entity=USER, source=project.rows, features=["x"], **options)


def window(project: Project, *features: Any, name: str = "spend") -> EventView:
    return EventView(name, entity=USER, source=project.rows, features=features)


def test_rows_without_a_value_stay_in_the_training_set(project: Project) -> None:
    """Future, expired and unknown give nulls with their reason, never fewer rows."""
    project.write([(0, 1, 1.0, 0), (50, 2, 2.0, 50)])
    project.apply(state(project, ttl="10m"))
    spine = pa.table({"user_id": [1, 1, 2, 9, None], "asked": [at(5), at(11), at(5), at(5), at(5)]})
    found = project.train(["now"], spine, statuses=True)
    assert found.column("now__x").to_pylist() == [1.0, None, None, None, None]
    assert found.column("now__x__status").to_pylist() == ["present", "expired", "missing", "missing", "missing"]


def test_duplicate_spine_rows_and_labels_stay_in_order(project: Project) -> None:
    """Two labels for one user and instant are two rows, in the spine's order, with columns untouched."""
    project.write([(0, 1, 1.0, 0), (0, 2, 2.0, 0)])
    shop = StateView("shop", entity=SHOP, source=project.rows, features=["x"])
    project.apply(state(project), shop)
    spine = pa.table(
        {
            "label": ["b", "a", "c", "d"],
            "user_id": [2, 1, 2, 1],
            "shop_id": ["1", "2", "1", "2"],
            "asked": [at(5), at(5), at(5), at(1)],
        }
    )
    found = project.train(["now", "shop"], spine)
    assert found.select(spine.column_names).equals(spine)
    assert found.column("now__x").to_pylist() == [2.0, 1.0, 2.0, 1.0]
    assert found.column("shop__x").to_pylist() == [1.0, 2.0, 1.0, 2.0]


def test_an_empty_spine_gives_an_empty_table_with_the_right_columns(project: Project) -> None:
    """The schema is that of a spine with rows."""
    project.write([(0, 1, 1.0, 0)])
    project.apply(state(project), window(project, Count(windows=["1h"])))
    spine = pa.table({"user_id": pa.array([1], pa.int64()), "asked": [at(5)], "now": ["kept"]})
    full, empty = project.train(["now", "spend"], spine), project.train(["now", "spend"], spine.slice(0, 0))
    assert empty.num_rows == 0
    assert empty.schema.equals(full.schema)


def test_a_backfill_of_today_does_not_leak_into_last_year(project: Project) -> None:
    """A row with an old event time that became known late is invisible before it was known."""
    project.write([(0, 1, 1.0, 0), (1, 1, 99.0, 600)])
    project.apply(state(project), window(project, Sum("x", windows=["1d"])))
    assert project.ask("now:x", 30) == 1.0
    assert project.ask("spend:x_sum_1d", 30) == 1.0
    assert project.ask("now:x", 600) == 99.0
    assert project.ask("spend:x_sum_1d", 601) == 100.0


def test_instants_that_are_text_or_null_are_refused(project: Project) -> None:
    """A clear error that names the column, whatever else the spine holds."""
    project.write([(0, 1, 1.0, 0)])
    project.apply(state(project))
    with pytest.raises(InputError, match="asked"):
        project.train(["now"], {"user_id": [1], "asked": ["2024-03-01 12:00"]}, event_time="asked")
    with pytest.raises(InputError, match="asked"):
        project.train(["now"], pa.table({"user_id": [1, 1], "asked": [at(1), None]}))


def test_instants_in_any_zone_and_unit_are_one_time_line(project: Project) -> None:
    """Naive means UTC; another zone is the same instant."""
    project.write([(0, 1, 1.0, 0)])
    project.apply(state(project))
    for kind in (pa.timestamp("s"), pa.timestamp("ms", "UTC"), pa.timestamp("us", "America/New_York")):
        asked = pa.array([to_us(at(0)), to_us(at(-1))], pa.timestamp("us")).cast(pa.timestamp(kind.unit))
        spine = pa.table({"user_id": [1, 1], "asked": asked.cast(pa.int64()).cast(kind)})
        assert project.train(["now"], spine).column("now__x").to_pylist() == [1.0, None]


def test_a_spine_column_named_like_a_feature_is_refused(project: Project) -> None:
    """Neither overwrites the other."""
    project.write([(0, 1, 1.0, 0)])
    project.apply(state(project))
    with pytest.raises(InputError, match="now__x"):
        project.train(["now"], pa.table({"user_id": [1], "asked": [at(1)], "now__x": [5]}))


def test_windows_are_computed_from_their_events(project: Project) -> None:
    """max and min are no sums of tile maxima, stddev is no mean, and an empty window is null and not the last value."""
    project.write([(0, 1, 3.0, 0), (1, 1, 5.0, 1), (2, 1, 1.0, 2)])
    every = [kind("x", windows=["10m"]) for kind in (Max, Min, Mean, Stddev)]
    project.apply(window(project, *every, Count(windows=["10m"])))
    found = [project.ask(f"spend:x_{name}_10m", 5) for name in ("max", "min", "mean", "stddev")]
    assert found == [5.0, 1.0, 3.0, 2.0]
    assert [project.ask(f"spend:x_{name}_10m", 60) for name in ("max", "min", "mean", "stddev")] == [None] * 4
    assert project.ask("spend:count_10m", 60) == 0


def test_the_scored_event_is_outside_its_window_offline_and_online(project: Project) -> None:
    """An event at t counts one microsecond later, in training and in serving alike."""
    project.write([(0, 1, 1.0, 0), (3, 1, 1.0, 0)])
    project.apply(window(project, Count(windows=[Window("10m", hop="1m")])))
    project.store.materialize(at=at(1))
    later = (to_us(at(3)) + 1 - to_us(at(0))) / 60_000_000
    for minute, count in ((3, 1), (later, 2)):
        assert project.ask("spend:count_10m", minute) == count
        assert project.serve("spend:count_10m", minute) == (count, "present")


def test_infinities_leave_the_window_with_their_event(project: Project) -> None:
    """Neither NaN nor inf poisons what comes after."""
    project.write([(0, 1, float("inf"), 0), (1, 1, float("nan"), 1), (20, 1, 0.1, 20), (21, 1, 0.2, 21)])
    project.apply(window(project, Sum("x", windows=["10m"])))
    assert project.ask("spend:x_sum_10m", 5) == float("inf")
    assert project.ask("spend:x_sum_10m", 22) == 0.1 + 0.2


def test_a_window_ages_with_the_clock_of_the_read(project: Project) -> None:
    """Nothing is written between two reads, and the count falls to 0 all the same."""
    project.write([(0, 1, 1.0, 0), (5, 1, 1.0, 5)])
    project.apply(window(project, Count(windows=[Window("10m", hop="1m")])))
    project.store.materialize(at=at(6))
    served = [project.serve("spend:count_10m", minute)[0] for minute in (6, 11, 16)]
    assert served == [2, 1, 0]
    assert served == [project.ask("spend:count_10m", minute) for minute in (6, 11, 16)]


def test_ttl_holds_online_too(project: Project) -> None:
    """Age exactly ttl is present, more is expired and null."""
    project.write([(0, 1, 1.0, 0)])
    project.apply(state(project, ttl="10m"))
    project.store.materialize(at=at(1))
    assert project.serve("now:x", 10) == (1.0, "present")
    assert project.serve("now:x", 10.5) == (None, "expired")


def test_late_rows_reach_the_next_materialization(project: Project) -> None:
    """A row with an event time before the last run, known after it, is served by the next; a newer value stays."""
    project.write([(0, 1, 1.0, 0), (10, 2, 7.0, 10), (2, 1, 3.0, 30), (5, 2, 9.0, 30)])
    project.apply(state(project), window(project, Sum("x", windows=["1d"])))
    project.store.materialize(at=at(20))
    assert (project.serve("now:x", 40)[0], project.serve("spend:x_sum_1d", 40)[0]) == (1.0, 1.0)
    project.store.materialize(at=at(40))
    assert (project.serve("now:x", 40)[0], project.serve("spend:x_sum_1d", 40)[0]) == (3.0, 4.0)
    assert project.serve("now:x", 40, user=2) == (7.0, "present")


def test_a_view_that_was_never_materialized_is_an_error_and_not_an_empty_answer(project: Project) -> None:
    """The same goes for an instant before the one that was materialized."""
    project.write([(0, 1, 1.0, 0)])
    project.apply(state(project))
    with pytest.raises(NotMaterializedError):
        project.serve("now:x", 1)
    project.store.materialize(at=at(5))
    with pytest.raises(NotMaterializedError):
        project.serve("now:x", 4)


def test_a_row_of_the_far_future_moves_nothing(project: Project) -> None:
    """An event of 2099 neither hides the others nor stops later runs."""
    project.write([(0, 1, 1.0, 0), (40_000_000, 1, 99.0, 0)])
    project.apply(state(project), window(project, Count(windows=["1d"])))
    project.store.materialize(at=at(1))
    assert project.serve("now:x", 2) == (1.0, "present")
    assert project.serve("spend:count_1d", 2)[0] == 1
    assert from_us(project.clock.now_us()) == at(0)
