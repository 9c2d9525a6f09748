"""Transformed rows: what `transform` gives of the whole, streamed, handed over and written."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from asof import Impute, MinMax, OneHot, Ordinal, RandomSplit, Standardize
from tests.frameworks.rows import GROUP, joined, spine

if TYPE_CHECKING:
    from pathlib import Path

    from asof import FeatureStore, TrainingSet

TRANSFORMS: dict[str, Any] = {
    "profile__note": [OneHot()],
    "profile__level": [Impute("constant", -1)],
    "profile__member": [Ordinal()],
    "spend__amount_sum_1d": [Impute("mean"), Standardize()],
    "spend__count_1d": [MinMax()],
}


@pytest.fixture
def made(store: FeatureStore) -> TrainingSet:
    """Return a training set with transforms of all kinds, in groups of a few rows."""
    made = store.create_training_set("first", "all", spine(), split=RandomSplit(seed=2), transforms=TRANSFORMS)
    pq.write_table(pq.read_table(made.path / "data.parquet"), made.path / "data.parquet", row_group_size=GROUP)
    return made


@pytest.mark.parametrize("split", [None, "train", "test"])
def test_rows_are_those_that_transform_gives(made: TrainingSet, split: str | None, tmp_path: Path) -> None:
    """Whole, in batches, in groups, in a file, and in another process."""
    rows = made.read(split).transformed()
    expected = made.transform(made.read(split))
    assert rows.schema == expected.schema
    assert rows.to_arrow().equals(expected)
    assert len(rows) == expected.num_rows
    assert pickle.loads(pickle.dumps(rows)).to_arrow().equals(expected)
    assert rows.write(tmp_path / "rows.parquet") == len(rows)
    assert pq.read_table(tmp_path / "rows.parquet").equals(expected)
    arrays = rows.to_numpy()
    assert list(arrays) == expected.column_names
    assert arrays["row"].tolist() == expected["row"].to_pylist()


def test_batches_have_every_feature_as_numbers(made: TrainingSet) -> None:
    """Of one type in all splits, with NaN where a null is left; a text is a column per category."""
    types = []
    for split in ("train", "test"):
        rows = made.read(split).transformed()
        expected = made.transform(made.read(split))
        features, label = joined(list(rows.stream(5)))
        names = [
            n for n in expected.column_names if n not in ("customer_id", "event_timestamp", "label", "row", "split")
        ]
        assert set(features) == set(names)
        assert any(name.startswith("profile__note=") for name in features)
        assert label.tolist() == expected["label"].to_pylist()
        for name, values in features.items():
            wanted = [np.nan if value is None else value for value in expected[name].to_pylist()]
            np.testing.assert_array_equal(values, wanted)
        types.append({name: values.dtype for name, values in features.items()})
    assert types[0] == types[1]
    assert types[0]["profile__level"] == np.int32
    assert types[0]["profile__member"] == np.float64
    shuffled = made.read().transformed().stream(4, features=["row", "spend__count_1d"], seed=1)
    whole = made.transform(made.read())
    pairs = dict(zip(whole["row"].to_pylist(), whole["spend__count_1d"].to_pylist(), strict=True))
    for features, _ in shuffled:
        assert [pairs[row] for row in features["row"].tolist()] == features["spend__count_1d"].tolist()


def test_without_transforms_rows_stay_as_they_are(store: FeatureStore) -> None:
    """As with `transform`."""
    plain = store.create_training_set("plain", "fraud", spine())
    assert plain.read().transformed().to_arrow().equals(plain.to_arrow())
