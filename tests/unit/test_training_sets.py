"""Training sets: their forms and files, spilling, entity grids, and writes that fail."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from asof import Count, Entity, EventView, FeatureStore, FrameSource, StateView, Sum
from asof.backends.local.executor import PARTS, LocalExecutor
from asof.backends.local.tables import LocalTableWriter
from asof.errors import InputError, NotFoundError, StoreError
from asof.services.grid import every, grid_spine

if TYPE_CHECKING:
    from collections.abc import Iterator

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def store() -> Iterator[FeatureStore]:
    """Return a temporary project."""
    with FeatureStore.temporary() as opened:
        yield opened


def views(rows: int = 3) -> tuple[EventView, StateView]:
    """Return an event view and a state view over `rows` rows of two customers, an hour apart."""
    frame = pa.table(
        {
            "customer_id": [n % 2 for n in range(rows)],
            "ts": [START + timedelta(hours=n) for n in range(rows)],
            "amount": [float(n) for n in range(rows)],
            "note": [f"note {n}" for n in range(rows)],
        }
    )
    customer = Entity("customer", join_key="customer_id")
    source = FrameSource("orders", frame, event_time="ts")
    spend = EventView(
        "spend", entity=customer, source=source, features=[Sum("amount", windows=["1d"]), Count(windows=["1d"])]
    )
    return spend, StateView("profile", entity=customer, source=source, features=["note"])


SPINE = {
    "customer_id": [1, 0, 1],
    "event_timestamp": [START + timedelta(hours=h) for h in (5, 1, 0)],
    "label": [1, 0, 1],
}


def test_forms_agree(store: FeatureStore) -> None:
    """Arrow, pandas, Polars, batches and the stream hold the same rows."""
    with store.get_historical_features(list(views()), SPINE) as found:
        table = found.to_arrow()
        assert table.to_pydict() == {
            **pa.table(SPINE).to_pydict(),
            "spend__amount_sum_1d": [1.0, 0.0, None],
            "spend__count_1d": [1, 1, 0],
            "profile__note": ["note 1", "note 0", None],
        }
        assert len(found) == 3
        assert found.to_pandas()["profile__note"].tolist()[:2] == ["note 1", "note 0"]
        assert found.to_polars().to_arrow().to_pydict() == table.to_pydict()
        assert pa.Table.from_batches(found.to_batches(rows=1)).equals(table)
        assert pa.table(found).equals(table)


@pytest.mark.parametrize("ending", ["parquet", "csv", "arrow", "delta"])
def test_files_hold_what_arrow_holds(store: FeatureStore, tmp_path: Path, ending: str) -> None:
    """A second write replaces the first, and nothing temporary is left beside it."""
    target = tmp_path / "out" / f"train.{ending}"
    seen: list[tuple[int, int]] = []
    with store.get_historical_features(list(views()), SPINE) as found:
        for _ in range(2):
            assert found.write(target, progress=lambda done, total: seen.append((done, total))) == 3
        expected = found.to_arrow()
    read: dict[str, Any] = {
        "parquet": pq.read_table,
        "csv": pa.csv.read_csv,
        "arrow": pa.feather.read_table,
        "delta": lambda path: DeltaTable(path).to_pyarrow_table(),
    }
    assert read[ending](target).to_pydict()["profile__note"][:2] == expected.to_pydict()["profile__note"][:2]
    assert seen[-1] == (3, 3)
    assert list(target.parent.iterdir()) == [target]


def test_an_unknown_ending_is_refused(store: FeatureStore, tmp_path: Path) -> None:
    """With the endings that are known."""
    with store.get_historical_features(list(views()), SPINE) as found, pytest.raises(InputError, match=r"\.parquet"):
        found.write(tmp_path / "train.xlsx")


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    """Whole, and alone."""
    target = tmp_path / "train.parquet"
    schema = pa.schema([("x", pa.int64())])
    LocalTableWriter().write(target, "parquet", schema, [pa.record_batch({"x": [1]})])

    def broken() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"x": [2]})
        raise KeyboardInterrupt

    for chosen, path in (("parquet", target), ("delta", tmp_path / "train.delta")):
        with pytest.raises((KeyboardInterrupt, StoreError)):
            LocalTableWriter().write(path, chosen, schema, broken())
    assert pq.read_table(target).to_pydict() == {"x": [1]}
    assert list(tmp_path.iterdir()) == [target]


def test_spilling_changes_nothing(store: FeatureStore) -> None:
    """The smallest budget gives the rows of the largest, in the same order, and leaves no files."""
    spend, profile = views(2000)
    instants = [START + timedelta(minutes=7 * n) for n in range(3000)]
    spine = {"customer_id": [n % 3 for n in range(3000)], "event_timestamp": instants}
    with store.get_historical_features([spend, profile], spine, memory_budget="8GB") as large:
        expected = large.to_arrow()
    with store.get_historical_features([spend, profile], spine, memory_budget=1) as small:
        scratch = list((store.config.root / ".asof/tmp").iterdir())
        assert scratch
        assert small.to_arrow().equals(expected)
    assert not any(path.exists() for path in scratch)


def test_parts_keep_rows_together_and_in_order(tmp_path: Path) -> None:
    """Beyond the limit every key is in one part, its rows in the order in which they came."""
    batches = [pa.record_batch({"k": np.arange(100) % 7, "n": np.arange(100) + 100 * b}) for b in range(5)]
    executor = LocalExecutor(tmp_path, 1000)
    with executor.partition(batches, batches[0].schema, lambda b, n: pa.array(b.column("k").to_numpy() % n)) as parts:
        assert parts.count == PARTS
        for part in range(7):
            assert parts.read(part)["n"].to_pylist() == [n for n in range(500) if (n % 100) % 7 == part]
    executor.release()
    assert list(tmp_path.iterdir()) == []


def test_scratch_of_dead_processes_is_removed(tmp_path: Path) -> None:
    """That of living ones is not."""
    (tmp_path / "999999999-dead").mkdir()
    (tmp_path / f"{os.getpid()}-living").mkdir()
    LocalExecutor(tmp_path, 1000).scratch()
    assert not (tmp_path / "999999999-dead").exists()
    assert (tmp_path / f"{os.getpid()}-living").exists()


def test_a_grid_asks_about_every_entity_at_every_instant(store: FeatureStore) -> None:
    """Entities in their order, the instants of each in theirs; without entities, all that the source knows."""
    instants = every(timedelta(hours=2), start=START, end=START + timedelta(hours=5))
    assert [instant.hour for instant in instants] == [0, 2, 4]
    spend, _ = views()
    with store.get_historical_features([spend["count_1d"]], instants=instants) as found:
        assert found.to_arrow().to_pydict() == {
            "customer_id": [0, 0, 0, 1, 1, 1],
            "event_timestamp": [*instants, *instants],
            "spend__count_1d": [0, 1, 2, 0, 1, 1],
        }
    with store.get_historical_features(
        [spend], entities={"customer_id": [1, 9]}, instants=["2026-01-01T02:00"]
    ) as found:
        assert found.to_arrow()["spend__count_1d"].to_pylist() == [1, 0]


def test_a_grid_needs_instants(store: FeatureStore) -> None:
    """And they must be instants, in a range that goes forward."""
    with pytest.raises(InputError, match="either a spine or instants"):
        store.get_historical_features(list(views()))
    with pytest.raises(InputError, match="no instants"):
        grid_spine({"k": [1]}, [])
    with pytest.raises(InputError, match="not an instant"):
        grid_spine({"k": [1]}, ["tomorrow"])
    with pytest.raises(InputError, match="positive step"):
        every(timedelta(0), start=START, end=START)


def test_a_spine_may_be_a_file(store: FeatureStore, tmp_path: Path) -> None:
    """Parquet, CSV, NDJSON, Arrow or Delta, by its ending; what is not there is said."""
    pa.csv.write_csv(pa.table(SPINE), tmp_path / "spine.csv")
    with store.get_historical_features([views()[0]], tmp_path / "spine.csv") as found:
        assert found.to_arrow()["spend__count_1d"].to_pylist() == [1, 1, 0]
    with pytest.raises(NotFoundError, match="There is no file"):
        store.get_historical_features([views()[0]], str(tmp_path / "nothing.csv"))
    with pytest.raises(InputError, match="no format"):
        store.get_historical_features([views()[0]], Path(__file__))


def test_statuses_say_why(store: FeatureStore) -> None:
    """One column after each feature's."""
    with store.get_historical_features([views()[1]], SPINE, statuses=True) as found:
        assert found.schema.names[-2:] == ["profile__note", "profile__note__status"]
        assert found.to_arrow()["profile__note__status"].to_pylist() == ["present", "present", "missing"]
