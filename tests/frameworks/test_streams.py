"""Rows in batches: the values, order and types of Arrow, streaming, sharded and shuffled by seed."""

from __future__ import annotations

import pickle
import subprocess
import sys
from datetime import date, timedelta
from decimal import Decimal
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asof import FeatureStore, RandomSplit
from asof.errors import ConfigError, InputError, NotFoundError, StoreError
from asof.frameworks import library
from asof.frameworks.columns import encode
from asof.frameworks.mapped import MappedColumns
from asof.frameworks.streams import Visit, batches
from asof.services import results
from asof.services.training_set import TrainingRows
from tests.frameworks.rows import FEATURES, GROUP, ROWS, check, expected, joined, spine, stored

if TYPE_CHECKING:
    from pathlib import Path


def test_batches_of_arrays_have_the_values_order_and_types_of_arrow(rows: Any) -> None:
    """And as many rows as were asked for, but for the last, whatever the groups on disk are."""
    for size in (1, 5, 7, 1000):
        found = list(rows.stream(size))
        sizes = [len(label) for _, label in found]
        assert sum(sizes) == len(rows)
        assert set(sizes[:-1]) <= {size} >= {max(sizes[-1], size)}
        check(rows, joined(found))


def test_batches_are_their_takers_to_change(rows: Any) -> None:
    """They share no memory with the rows."""
    for features, label in rows.stream(GROUP):
        features["spend__count_1d"][:] = 99
        label[:] = False
    check(rows, joined(list(rows.stream(GROUP))))


def test_columns_and_label_are_chosen_by_name(rows: Any) -> None:
    """In the order asked for; a name that is not there, and a text, are refused before anything is read."""
    features, label = next(rows.stream(4, features=["profile__since", "row"], label="customer_id"))
    assert list(features) == ["profile__since", "row"]
    assert label.tolist() == rows.to_arrow()["customer_id"].to_pylist()[:4]
    with pytest.raises(NotFoundError, match="Did you mean spend__count_1d"):
        rows.stream(features=["spend__count_1"])
    with pytest.raises(InputError, match="A batch cannot have 0 rows"):
        next(rows.stream(0))
    with pytest.raises(InputError, match="no worker 1 of 1"):
        rows.stream(worker=1)
    with pytest.raises(InputError, match="0 groups cannot be mixed"):
        rows.stream(mix=0)


def test_without_a_label_there_are_features_alone(store: FeatureStore) -> None:
    """And texts are refused, with what to do."""
    rows = store.get_historical_features("fraud", spine().drop_columns("label"))
    assert list(next(rows.stream(3))) == FEATURES
    told = store.get_historical_features("fraud", spine(), statuses=True)
    assert list(next(told.stream(3))[0]) == FEATURES
    noted = store.get_historical_features("noted", spine())
    with pytest.raises(InputError, match=r"cannot hold profile__note \(string\).*features="):
        noted.stream()


def test_every_row_comes_to_one_worker_once(rows: Any) -> None:
    """Also with more workers than groups of rows, where each gets some."""
    everything = rows.to_arrow()["row"].to_pylist()
    for workers, seed, mix in product([1, 2, 3, 5, 20], [None, 4], [1, 3, 100]):
        found = [
            [
                batch["row"]
                for batch, _ in rows.stream(4, features=["row"], seed=seed, mix=mix, worker=n, workers=workers)
            ]
            for n in range(workers)
        ]
        assert all(found)
        assert sorted(np.concatenate([one for parts in found for one in parts]).tolist()) == everything


def test_a_seed_decides_the_order_and_each_has_another(rows: Any) -> None:
    """Rows keep their values together; more groups mixed is more rows of other groups in a batch."""

    def order(seed: int, mix: int = 1) -> list[int]:
        parts = rows.stream(8, features=["row", "customer_id"], seed=seed, mix=mix)
        features, _ = joined(list(parts))
        assert (features["row"] % 4 == features["customer_id"]).all()
        found: list[int] = features["row"].tolist()
        return found

    assert order(1) == order(1) != order(2)
    assert len({n // GROUP for n in order(1)[:GROUP]}) <= 3
    assert len({n // GROUP for n in order(1, mix=100)[: 2 * GROUP]}) > 3
    by_arrow = [n for batch in rows.shuffled(1, 8) for n in batch.column("row").to_pylist()]
    assert by_arrow == order(1)


def test_rows_stream_a_group_at_a_time(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read of the file is what the batches so far needed, and only the columns asked for."""
    rows = stored(store).read()
    touched: list[tuple[int, ...]] = []
    read = pq.ParquetFile.read_row_group

    def counted(self: Any, group: int, columns: list[str]) -> Any:
        touched.append((group, len(columns)))
        return read(self, group, columns)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    stream = rows.stream(GROUP, features=["row"])
    assert touched == []
    for number in range(1, 4):
        next(stream)
        assert touched == [(group, 2) for group in range(number)]
    touched.clear()
    mixed = rows.stream(GROUP, seed=1, mix=3)
    next(mixed)
    assert len(touched) == 3
    touched.clear()
    sharded = list(rows.stream(GROUP, worker=1, workers=3))
    assert [group for group, _ in touched] == [1, 4, 7]
    assert sum(len(label) for _, label in sharded) == 3 * GROUP
    quantised = rows.to_xgboost_stream(features=["row"])
    assert quantised.num_row() == ROWS


def test_a_join_streams_a_group_at_a_time(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """After one pass that looks for nulls where they would change a type."""
    monkeypatch.setattr(results, "BATCH_ROWS", GROUP)
    rows = store.get_historical_features("fraud", spine())
    expected_rows = rows.to_arrow()["row"].to_pylist()
    touched: list[int] = []
    cut = results.HistoricalFeatures._slice

    def counted(self: Any, start: int, count: int, names: list[str]) -> Any:
        touched.append(start)
        return cut(self, start, count, names)

    monkeypatch.setattr(results.HistoricalFeatures, "_slice", counted)
    found = []
    stream = rows.stream(GROUP, features=["row"], seed=1)
    assert touched == list(range(0, ROWS, GROUP))
    touched.clear()
    for features, _ in stream:
        found += features["row"].tolist()
        assert len(found) <= GROUP * len(touched) < len(found) + GROUP + GROUP
    assert sorted(found) == expected_rows


def test_no_library_is_loaded_before_it_is_asked_for() -> None:
    """Whatever is installed."""
    script = (
        "import sys, asof, asof.services.training_set, asof.services.results\n"
        "heavy = {'torch', 'tensorflow', 'jax', 'xgboost', 'lightgbm'} & set(sys.modules)\n"
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_column_with_a_null_in_any_split_is_encoded_alike_in_all(store: FeatureStore) -> None:
    """So a model sees one type, whatever it is shown."""
    made = store.create_training_set("second", "fraud", spine(), split=RandomSplit({"train": 0.9, "test": 0.1}, seed=1))
    types = [{name: v.dtype for name, v in next(made.read(s).stream())[0].items()} for s in ("train", "test")]
    assert types[0] == types[1]
    assert types[0]["profile__level"] == np.float64


ODD = pa.table(
    {
        "date": pa.array([date(1970, 1, 3), date(1969, 12, 31)]),
        "price": pa.array([Decimal("1.25"), Decimal("-3.50")], pa.decimal128(10, 2)),
        "wait": pa.array([timedelta(seconds=1), None], pa.duration("us")),
        "vector": pa.array([[1.5, 2.5], None], pa.list_(pa.float32(), 2)),
        "small": pa.array([1, None], pa.uint8()),
        "fine": pa.array([1_000, 2_000], pa.timestamp("ns")),
        "too_fine": pa.array([1_001, 2_000], pa.timestamp("ns")),
        "huge": pa.array([2**60, None], pa.int64()),
    }
)


def encoded(table: pa.Table, name: str) -> Any:
    """Return a column as it is encoded."""
    nulls = {name} if table[name].null_count else set()
    (one,) = encode(table.schema, [name], None, nulls).features
    return one.array(table[name])


def test_other_types_are_encoded_by_rule() -> None:
    """Dates as days, decimals as floats, durations and times as microseconds, vectors as rows."""
    assert encoded(ODD, "date").tolist() == [2, -1]
    assert encoded(ODD, "price").tolist() == [1.25, -3.5]
    np.testing.assert_array_equal(encoded(ODD, "wait"), [1e6, np.nan])
    np.testing.assert_array_equal(encoded(ODD, "vector"), np.array([[1.5, 2.5], [np.nan, np.nan]], np.float32))
    assert encoded(ODD, "vector").dtype == np.float32
    np.testing.assert_array_equal(encoded(ODD, "small"), [1, np.nan])
    assert encoded(ODD, "fine").tolist() == [1, 2]
    sliced = ODD.slice(1).append_column("more", [[1]])
    np.testing.assert_array_equal(encoded(sliced, "vector"), [[np.nan, np.nan]])
    np.testing.assert_array_equal(encoded(pa.concat_tables([ODD, ODD]).slice(1, 2), "vector")[1], [1.5, 2.5])


def test_what_would_lose_a_value_is_refused() -> None:
    """A time finer than a microsecond, and an integer that no float holds."""
    with pytest.raises(InputError, match="'too_fine' holds times finer"):
        encoded(ODD, "too_fine")
    with pytest.raises(InputError, match=r"'huge' has nulls.*Give the feature a default"):
        encoded(ODD, "huge")
    assert encoded(ODD.slice(0, 1), "huge").tolist() == [2**60]


def mapped(rows: Any, folder: Path) -> MappedColumns:
    """Return rows as mapped columns, as the PyTorch dataset makes them."""
    encoding = encode(rows.schema, [*FEATURES, "label"], None, rows.null_columns(FEATURES))
    return MappedColumns(encoding.columns, len(rows), batches(rows, encoding, 10, Visit()), folder)


def test_any_row_of_mapped_columns_can_be_read(store: FeatureStore, tmp_path: Path) -> None:
    """From disk; a copy in another process reads the same files, which go with the first."""
    rows = store.get_historical_features("fraud", spine(), memory_budget="1MB")
    columns = mapped(rows, tmp_path)
    assert len(columns) == ROWS
    for name in (*FEATURES, "label"):
        np.testing.assert_array_equal(columns.column(name), expected(rows, name))
    wanted = rows.to_arrow()["spend__count_1d"].to_pylist()
    assert columns.take(5)["spend__count_1d"] == wanted[5]
    assert columns.take([9, 0, 9])["spend__count_1d"].tolist() == [wanted[9], wanted[0], wanted[9]]
    copy = pickle.loads(pickle.dumps(columns))
    assert copy.column("spend__count_1d").tolist() == wanted
    copy.column("spend__count_1d")[0] = 99
    del copy
    assert columns.column("spend__count_1d").tolist() == wanted
    assert len(list(tmp_path.glob("asof-*"))) == 1
    del columns
    assert list(tmp_path.glob("asof-*")) == []


def test_a_folder_that_cannot_be_written_is_said(store: FeatureStore, tmp_path: Path) -> None:
    """And nothing stays where encoding fails midway."""
    rows = store.get_historical_features("fraud", spine())
    with pytest.raises(StoreError, match="folder="):
        mapped(rows, tmp_path / "nowhere")
    with pytest.raises(ZeroDivisionError):
        MappedColumns((), 1, (1 / 0 for _ in range(1)), tmp_path)  # type: ignore[misc]
    assert list(tmp_path.glob("asof-*")) == []


def test_a_library_that_is_not_installed_is_named(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """With how to install it; other import errors are what they are."""
    rows = store.get_historical_features("fraud", spine())

    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name.rpartition(".")[2])

    monkeypatch.setattr(library, "import_module", missing)
    with pytest.raises(ConfigError, match=r"The package torch is not installed.*pip install torch"):
        rows.to_torch()
    with pytest.raises(ConfigError, match="pip install tensorflow"):
        rows.write("x.tfrecord")

    def broken(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(library, "import_module", broken)
    with pytest.raises(ModuleNotFoundError):
        rows.to_torch()


def test_stored_rows_go_to_other_processes_and_a_join_does_not(store: FeatureStore) -> None:
    """A loader's workers open a stored set by its folder."""
    rows = stored(store).read("train")
    copy = pickle.loads(pickle.dumps(rows))
    assert isinstance(copy, TrainingRows)
    assert copy.to_arrow().equals(rows.to_arrow())
    with pytest.raises(InputError, match=r"cannot be sent to another process.*to_torch"):
        pickle.dumps(store.get_historical_features("fraud", spine()))
