"""Rows as a tf.data.Dataset, and TFRecord files read back by TensorFlow."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from asof.backends.local.tables import LocalTableWriter
from asof.errors import StoreError, UnsupportedOperationError
from tests.frameworks.rows import FEATURES, check, joined, spine

if TYPE_CHECKING:
    from pathlib import Path

    from asof import FeatureStore

tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")


def numpy(dataset: Any) -> list[Any]:
    """Return a dataset's batches as NumPy arrays."""
    return list(dataset.as_numpy_iterator())


def test_a_dataset_streams_the_batches_of_arrow(rows: Any) -> None:
    """With types, shapes and how many there are known beforehand."""
    dataset = rows.to_tensorflow(5)
    check(rows, joined(numpy(dataset)))
    assert int(dataset.cardinality()) == -(-len(rows) // 5)
    assert dataset.element_spec[0]["spend__count_1d"] == tf.TensorSpec((None,), tf.int64)
    assert next(len(label) for _, label in numpy(dataset.unbatch().batch(50))) == min(50, len(rows))


def test_each_time_it_is_read_is_an_epoch(rows: Any) -> None:
    """In the order of the seed and its successors; workers share the rows."""
    dataset = rows.to_tensorflow(4, features=["row"], seed=5, mix=2)
    orders = [joined(numpy(dataset))[0]["row"].tolist() for _ in range(2)]
    for seed, order in enumerate(orders, 5):
        assert order == joined(list(rows.stream(4, features=["row"], seed=seed, mix=2)))[0]["row"].tolist()
    parts = [joined(numpy(rows.to_tensorflow(4, features=["row"], worker=n, workers=2))) for n in range(2)]
    everything = np.concatenate([features["row"] for features, _ in parts])
    assert sorted(everything.tolist()) == rows.to_arrow()["row"].to_pylist()


def test_without_a_label_there_are_features_alone(store: FeatureStore) -> None:
    """As for a prediction."""
    rows = store.get_historical_features("fraud", spine().drop_columns("label"))
    (batch,) = numpy(rows.to_tensorflow(1000))
    assert list(batch) == FEATURES


def read(path: Path) -> list[dict[str, Any]]:
    """Return the features of every Example in a file."""
    found = []
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        example = tf.train.Example.FromString(record)
        row = {}
        for name, feature in example.features.feature.items():
            kind = feature.WhichOneof("kind")
            row[name] = (kind.partition("_")[0], list(getattr(feature, kind).value))
        found.append(row)
    return found


def test_a_tfrecord_file_holds_every_row_in_order(rows: Any, tmp_path: Path) -> None:
    """Numbers and times as integers or 32-bit floats, nulls left out."""
    assert rows.write(tmp_path / "rows.tfrecord") == len(rows)
    found = read(tmp_path / "rows.tfrecord")
    table = rows.to_arrow()
    assert len(found) == len(rows)
    for row, values in zip(found, table.to_pylist(), strict=True):
        assert set(row) == {name for name, value in values.items() if value is not None}
        assert row["row"] == ("int64", [values["row"]])
        assert row["label"] == ("int64", [int(values["label"])])
        amount = values["spend__amount_sum_1d"]
        if amount is not None:
            assert row["spend__amount_sum_1d"] == ("float", [np.float32(amount)])


def write(path: Path, table: pa.Table) -> None:
    LocalTableWriter().write(path, "tfrecord", table.schema, table.to_batches(max_chunksize=2))


def test_other_types_are_written_by_rule(tmp_path: Path) -> None:
    """Texts as bytes, days and microseconds as integers, vectors and lists as several values."""
    table = pa.table(
        {
            "text": ["ä", None, ""],
            "word": pa.array(["x", None, "y"]).dictionary_encode(),
            "raw": [b"\0", None, b""],
            "price": pa.array([Decimal("1.25"), None, Decimal("2.50")], pa.decimal128(9, 2)),
            "day": [date(1970, 1, 3), None, date(1969, 12, 31)],
            "at": pa.array([datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), None, None], pa.timestamp("ms", "UTC")),
            "wait": pa.array([timedelta(seconds=1), None, None], pa.duration("s")),
            "vector": pa.array([[1.5, 2.5], None, [3.5, 4.5]], pa.list_(pa.float32(), 2)),
            "tags": [["a", "b"], None, []],
            "days": [[date(1970, 1, 2)], None, []],
        }
    )
    write(tmp_path / "odd.tfrecord", table)
    first, second, third = read(tmp_path / "odd.tfrecord")
    assert second == {}
    assert first == {
        "text": ("bytes", ["ä".encode()]),
        "word": ("bytes", [b"x"]),
        "raw": ("bytes", [b"\0"]),
        "price": ("float", [1.25]),
        "day": ("int64", [2]),
        "at": ("int64", [1_000_000]),
        "wait": ("int64", [1_000_000]),
        "vector": ("float", [1.5, 2.5]),
        "tags": ("bytes", [b"a", b"b"]),
        "days": ("int64", [1]),
    }
    assert third["vector"] == ("float", [3.5, 4.5])
    assert third["tags"] == ("bytes", [])
    assert third["day"] == ("int64", [-1])


def test_what_an_example_cannot_hold_is_refused(tmp_path: Path) -> None:
    """And what was there before stays."""
    write(tmp_path / "kept.tfrecord", pa.table({"n": [1]}))
    with pytest.raises(UnsupportedOperationError, match=r"column 'deep', which is struct"):
        write(tmp_path / "kept.tfrecord", pa.table({"deep": [{"a": 1}]}))
    with pytest.raises(UnsupportedOperationError, match=r"column 'deep', which is list<"):
        write(tmp_path / "kept.tfrecord", pa.table({"deep": [[[1]]]}))
    with pytest.raises(UnsupportedOperationError, match="null inside a list of column 'tags'"):
        write(tmp_path / "kept.tfrecord", pa.table({"tags": [["a", None]]}))
    with pytest.raises(UnsupportedOperationError, match="integers of column 'n' from"):
        write(tmp_path / "kept.tfrecord", pa.table({"n": pa.array([2**63], pa.uint64())}))
    assert read(tmp_path / "kept.tfrecord") == [{"n": ("int64", [1])}]
    with pytest.raises(StoreError, match="cannot be written"):
        write(tmp_path / "kept.tfrecord" / "below.tfrecord", pa.table({"n": [1]}))
    assert [path.name for path in tmp_path.iterdir()] == ["kept.tfrecord"]
