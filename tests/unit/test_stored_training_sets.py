"""Stored training sets: what is kept, how it is read, what a rebuild gives, and what it says when it cannot."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from asof import (
    Count,
    DeltaSource,
    Entity,
    EventView,
    FeatureService,
    FeatureStore,
    FileSource,
    GroupSplit,
    Label,
    OnDemandView,
    RandomSplit,
    StateView,
    Sum,
    TimeSplit,
    on_demand,
)
from asof.backends.local.folders import LocalFolders
from asof.clock import FixedClock, to_us
from asof.errors import ConflictError, CorruptDataError, DefinitionError, InputError, NotFoundError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=100)
CUSTOMER = Entity("customer", join_key="customer_id")


def orders(rows: int, first: int = 0) -> pa.Table:
    """Return orders of three customers, an hour apart."""
    numbers = range(first, first + rows)
    return pa.table(
        {
            "customer_id": [n % 3 for n in numbers],
            "ts": pa.array([START + timedelta(hours=n) for n in numbers], pa.timestamp("us", "UTC")),
            "amount": [n / 4 for n in numbers],
            "note": [None if n % 5 == 0 else f"note {n % 4}" for n in numbers],
        }
    )


def definitions() -> list[Any]:
    """Return a view over files, a view over a Delta table, and a service of both."""
    files = FileSource("orders", path="orders/*.parquet", event_time="ts")
    table = DeltaSource("people", path="people", event_time="ts")
    spend = EventView(
        "spend", entity=CUSTOMER, source=files, features=[Sum("amount", windows=["1d"]), Count(windows=["1h"])]
    )
    profile = StateView("profile", entity=CUSTOMER, source=table, features=["note"])
    return [spend, profile, FeatureService("fraud", features=[spend, profile])]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """Return a project with everything applied."""
    (tmp_path / "asof.toml").write_text('project = "shop"\ndefinitions = []\n', encoding="utf-8")
    (tmp_path / "orders").mkdir()
    pq.write_table(orders(40), tmp_path / "orders/a.parquet")
    pq.write_table(orders(40, first=40), tmp_path / "orders/b.parquet")
    write_deltalake(str(tmp_path / "people"), orders(20))
    with FeatureStore(tmp_path, clock=FixedClock(to_us(NOW))) as opened:
        opened.apply(opened.plan(definitions()), who="test")
        yield opened


def spine(rows: int = 60) -> pa.Table:
    """Return examples of four customers, one of them unknown, latest first."""
    return pa.table(
        {
            "customer_id": [n % 4 for n in range(rows)],
            "event_timestamp": [START + timedelta(minutes=50 * (rows - n)) for n in range(rows)],
            "note": pa.array([f"row {n}" for n in range(rows)]).dictionary_encode(),
        }
    )


def test_a_training_set_holds_the_joined_rows_in_spine_order_with_their_split(store: FeatureStore) -> None:
    """What get_historical_features gives, then the split; a split is read alone."""
    made = store.create_training_set("first", "fraud", spine(), split=RandomSplit({"train": 0.5, "test": 0.5}, seed=3))
    expected = store.get_historical_features("fraud", spine()).to_arrow()
    assert made.to_arrow().drop_columns("split").equals(expected)
    parts = {name: made.read(split=name) for name in ("train", "test")}
    assert {name: len(part) for name, part in parts.items()} == made.manifest.splits
    assert sum(made.manifest.splits.values()) == len(made) == 60
    for name, part in parts.items():
        rows = part.to_arrow()
        assert rows.num_rows == len(part) > 10
        assert set(rows["split"].to_pylist()) == {name}
        whole = made.to_arrow()
        assert rows.equals(whole.filter(pa.compute.equal(whole["split"], name)))
    with pytest.raises(NotFoundError, match="Did you mean train"):
        made.read("trian")


def test_the_manifest_names_everything_that_it_was_made_from(store: FeatureStore) -> None:
    """Versions with hashes, files with hashes, table versions, hashes of spine and data, and statistics."""
    made = store.create_training_set("first", "fraud", spine())
    found = json.loads((made.path / "manifest.json").read_text(encoding="utf-8"))
    assert found["format"] == 1
    assert (found["name"], found["service"], found["created_at"]) == ("first", "fraud@1", "2026-04-11T00:00:00Z")
    assert [one["view"] for one in found["views"]] == ["spend@1", "profile@1"]
    assert found["rows"] == found["spine_rows"] == 60
    files, table = found["inputs"]
    assert [file["path"] for file in files["files"]] == ["orders/a.parquet", "orders/b.parquet"]
    assert files["files"][0]["size_bytes"] == (store.config.root / "orders/a.parquet").stat().st_size
    assert (table["kind"], table["table_version"]) == ("delta", 0)
    assert [one["name"] for one in found["statistics"]] == made.to_arrow().column_names
    assert "split" not in found


def test_sets_are_listed_found_and_deleted_by_name(store: FeatureStore) -> None:
    """A taken name is refused, an unknown one is said, a deleted one may be used again."""
    assert store.training_sets() == []
    store.create_training_set("b", "fraud", spine(3))
    store.create_training_set("a", "fraud@1", spine(3))
    assert [one.name for one in store.training_sets()] == ["a", "b"]
    with pytest.raises(ConflictError, match="already is one named 'a'"):
        store.create_training_set("a", "fraud", spine(3))
    store.delete_training_set("a")
    assert [one.name for one in store.training_sets()] == ["b"]
    for ask in (store.training_set, store.delete_training_set, store.rebuild_training_set):
        with pytest.raises(NotFoundError, match="no training set 'a'"):
            ask("a")
    assert len(store.create_training_set("a", "fraud", spine(3))) == 3


def test_what_cannot_be_made_leaves_nothing(store: FeatureStore) -> None:
    """A wrong name, no service, a column of the split's name, a group that is not there."""
    with pytest.raises(DefinitionError, match="not valid"):
        store.create_training_set("../a", "fraud", spine())
    with pytest.raises(NotFoundError):
        store.create_training_set("a", "frod", spine())
    with pytest.raises(InputError, match="already is a column 'split'"):
        store.create_training_set("a", "fraud", spine().append_column("split", [["x"] * 60]), split=RandomSplit())
    with pytest.raises(InputError, match="Did you mean customer_id"):
        store.create_training_set("a", "fraud", spine(), split=GroupSplit("customer"))
    assert list((store.config.root / ".asof/offline/training_sets").iterdir()) == []


def test_a_rebuild_gives_the_same_bytes_whatever_was_added_since(store: FeatureStore) -> None:
    """New files, a new table version, new definitions, another clock and a lost data file change nothing."""
    split, label = TimeSplit(["2026-01-02"]), Label("orders", "amount", window="3h", aggregate="sum", name="target")
    made = store.create_training_set("first", "fraud", spine(), split=split, label=label)
    data = made.path / "data.parquet"
    before = data.read_bytes()
    pq.write_table(orders(10, first=5), store.config.root / "orders/c.parquet")
    write_deltalake(str(store.config.root / "people"), orders(5), mode="overwrite")
    store.apply(store.plan(definitions()[:0]), who="test")
    store.clock.set(to_us(NOW + timedelta(days=9)))  # type: ignore[attr-defined]
    data.unlink()
    with pytest.raises(CorruptDataError, match="asof training-set rebuild first"):
        made.to_arrow()
    again = store.rebuild_training_set("first")
    assert data.read_bytes() == before
    assert again.manifest == made.manifest


def test_a_rebuild_names_every_input_that_changed_or_is_gone(store: FeatureStore) -> None:
    """Files by what happened to them, a Delta version that was vacuumed; the data stays as it was."""
    root = store.config.root
    made = store.create_training_set("first", "fraud", spine())
    before = made.to_arrow()
    (root / "orders/a.parquet").unlink()
    pq.write_table(orders(39, first=41), root / "orders/b.parquet")
    write_deltalake(str(root / "people"), orders(5), mode="overwrite")
    DeltaTable(root / "people").vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(SourceError) as caught:
        store.rebuild_training_set("first")
    assert "source orders: file orders/a.parquet is gone" in caught.value.why
    assert "source orders: file orders/b.parquet changed" in caught.value.why
    assert "source people: Delta table people, version 0 was vacuumed" in caught.value.why
    assert store.training_set("first").to_arrow().equals(before)


def test_a_file_with_other_bytes_of_the_same_size_and_time_is_a_change(store: FeatureStore) -> None:
    """Contents are hashed, not trusted to sizes."""
    store.create_training_set("first", "fraud", spine())
    path = store.config.root / "orders/a.parquet"
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(SourceError, match=r"file orders/a\.parquet changed"):
        store.rebuild_training_set("first")


def test_a_replaced_delta_table_is_a_change(store: FeatureStore) -> None:
    """A version of the same number in another table is not the same version."""
    store.create_training_set("first", "fraud", spine())
    people = store.config.root / "people"
    people.rename(store.config.root / "moved")
    with pytest.raises(SourceError, match="version 0 is gone"):
        store.rebuild_training_set("first")
    write_deltalake(str(people), orders(20))
    with pytest.raises(SourceError, match="replaced by another table"):
        store.rebuild_training_set("first")


def test_a_rebuild_names_pruned_versions(store: FeatureStore) -> None:
    """View and service versions that the registry does not have any more."""
    store.create_training_set("first", "fraud", spine())
    spend, profile, _ = definitions()
    store.apply(store.plan([spend, profile, FeatureService("fraud", features=[profile])]), who="test")
    store.apply(store.plan([profile, FeatureService("fraud", features=[profile])]), who="test")
    store.prune(store.plan_prune(["fraud@1"]), who="test")
    with pytest.raises(NotFoundError) as caught:
        store.rebuild_training_set("first")
    assert caught.value.why == "view version spend@1 was pruned; service version fraud@1 was pruned"


def test_a_damaged_spine_or_manifest_is_said(store: FeatureStore) -> None:
    """Neither is used."""
    made = store.create_training_set("first", "fraud", spine())
    with pa.OSFile(str(made.path / "spine.arrow"), "wb") as sink, pa.ipc.new_file(sink, spine().schema) as writer:
        writer.write_table(spine(59))
    with pytest.raises(CorruptDataError, match="spine is damaged"):
        store.rebuild_training_set("first")
    (made.path / "manifest.json").write_text('{"format": 99}', encoding="utf-8")
    with pytest.raises(CorruptDataError, match="format is 99"):
        store.training_set("first")
    store.delete_training_set("first")


def test_a_writer_that_died_leaves_nothing_to_see_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    """What living writers are at is left alone."""
    shelf = LocalFolders(tmp_path / "sets")
    with shelf.adding("a") as folder:
        (folder / "x").write_text("1", encoding="utf-8")
        assert shelf.names() == []
        dead = folder.with_name(folder.name.replace(f"-{os.getpid()}.", "-999999999."))
        dead.mkdir()
        (dead / "x").write_text("half", encoding="utf-8")
        with shelf.adding("b"):
            assert folder.exists()
            assert not dead.exists()
    assert shelf.names() == ["a", "b"]


def test_of_two_writers_of_one_name_the_first_to_finish_wins(tmp_path: Path) -> None:
    """The other is told, and leaves nothing."""
    shelf = LocalFolders(tmp_path)
    late = shelf.adding("a")
    (late.__enter__() / "x").write_text("late", encoding="utf-8")
    with shelf.adding("a") as folder:
        (folder / "x").write_text("early", encoding="utf-8")
    with pytest.raises(ConflictError):
        late.__exit__(None, None, None)
    assert (tmp_path / "a/x").read_text(encoding="utf-8") == "early"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("kind", ["pandas", "polars", "file", "empty", "chunks"])
def test_a_spine_may_be_a_frame_a_file_or_empty(store: FeatureStore, tmp_path: Path, kind: str) -> None:
    """Categories, text views and lists included; a rebuild is the same to the byte."""
    table = spine(30).append_column("tags", pa.array([["a", None], []] * 15, pa.list_(pa.string())))
    spines: dict[str, Any] = {
        "pandas": lambda: table.to_pandas().assign(note=pandas.Categorical(["x", "y", None] * 10)),
        "polars": lambda: polars.DataFrame(table).with_columns(polars.lit("t").alias("text")),
        "file": lambda: tmp_path / "spine.parquet",
        "empty": lambda: table.slice(0, 0),
        "chunks": lambda: pa.concat_tables([table.slice(0, 7), spine(3).append_column("tags", [[[], ["b"], None]])]),
    }
    pq.write_table(table, tmp_path / "spine.parquet")
    label = Label("orders", window="3h", maturity="2390h")
    made = store.create_training_set("first", "fraud", spines[kind](), split=GroupSplit("note"), label=label)
    rows, mature = {"empty": (0, 0), "chunks": (10, 3)}.get(kind, (30, 8))
    assert (len(made), made.manifest.immature_rows) == (mature, rows - mature)
    assert made.read().to_polars().height == made.to_pandas().shape[0] == len(made)
    before = (made.path / "data.parquet").read_bytes()
    assert store.rebuild_training_set("first").manifest == made.manifest
    assert (made.path / "data.parquet").read_bytes() == before


def test_rows_come_as_arrays_and_as_a_matrix(store: FeatureStore) -> None:
    """NumPy by column, and X and y with NaN for null; text in a matrix is refused."""
    label = Label("orders", window="2h", name="ordered")
    made = store.create_training_set("first", "fraud", spine(), split=GroupSplit("customer_id"), label=label)
    arrays = made.to_numpy()
    assert arrays["spend__count_1h"].dtype == np.int64
    assert arrays["event_timestamp"].dtype == np.dtype("datetime64[us]")
    with pytest.raises(InputError, match=r"profile__note \(string\)"):
        made.read().to_xy()
    columns = ["spend__amount_sum_1d", "spend__count_1h"]
    x, y = made.read("train").to_xy(features=columns)
    rows = made.read("train").to_pandas()
    np.testing.assert_array_equal(x, rows[columns].to_numpy(float))
    assert y.tolist() == rows["ordered"].tolist()
    with pytest.raises(NotFoundError, match="no column 'spend'"):
        made.read().to_xy(features=["spend"])


def test_shuffled_batches_give_each_row_to_one_worker_once(store: FeatureStore, tmp_path: Path) -> None:
    """In an order that the seed decides."""
    made = store.create_training_set("first", "fraud", spine(), split=RandomSplit())
    table = pq.read_table(made.path / "data.parquet")
    pq.write_table(table, made.path / "data.parquet", row_group_size=7)
    train = made.read("train")

    def epoch(seed: int) -> list[list[str]]:
        parts = ([b["note"].to_pylist() for b in train.shuffled(seed, 4, worker=w, workers=2)] for w in range(2))
        return [[note for batch in part for note in batch] for part in parts]

    expected = train.to_arrow()["note"].to_pylist()
    one, other = epoch(1), epoch(2)
    assert sorted(one[0] + one[1]) == sorted(expected) == sorted(other[0] + other[1])
    assert one == epoch(1) != other
    with pytest.raises(InputError, match="no worker 2 of 2"):
        next(train.shuffled(1, worker=2, workers=2))


def test_a_rebuild_finds_its_on_demand_view_although_a_stored_view_has_its_name_now(store: FeatureStore) -> None:
    """Both count their versions from 1; the service still pins the first."""
    spend, profile, _ = definitions()
    double = OnDemandView("double", inputs=[spend], features=[on_demand.sql("twice", "2 * spend__count_1h")])
    store.apply(store.plan([spend, profile, double, FeatureService("both", features=[spend, double])]), who="test")
    made = store.create_training_set("first", "both", spine())
    before = (made.path / "data.parquet").read_bytes()
    stored = StateView("double", entity=CUSTOMER, source=spend.source, features=["note"])
    store.apply(store.plan([spend, profile, stored]), who="test")
    assert "feature double@1:twice -> service both@1" in {
        f"{link.used} -> {link.user}" for link in store.lineage("both@1").upstream
    }
    assert "spend@1:count_1h" in {link.used.name for link in store.lineage("both@1").upstream}
    store.rebuild_training_set("first")
    assert (made.path / "data.parquet").read_bytes() == before
