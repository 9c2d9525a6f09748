"""The rows that these tests hand over, and what Arrow says of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from asof import FeatureStore, RandomSplit

START = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = 57
GROUP = 7
FEATURES = ["spend__amount_sum_1d", "spend__count_1d", "profile__level", "profile__member", "profile__since"]


def spine() -> pa.Table:
    """Return examples with a label, one customer of four unknown."""
    return pa.table(
        {
            "customer_id": [n % 4 for n in range(ROWS)],
            "event_timestamp": [START + timedelta(minutes=40 * n) for n in range(ROWS)],
            "label": [n % 3 == 0 for n in range(ROWS)],
            "row": range(ROWS),
        }
    )


def stored(store: FeatureStore) -> Any:
    """Return a training set whose file has groups of a few rows."""
    split = RandomSplit({"train": 0.7, "test": 0.3}, seed=3)
    made = store.create_training_set("first", "fraud", spine(), split=split)
    pq.write_table(pq.read_table(made.path / "data.parquet"), made.path / "data.parquet", row_group_size=GROUP)
    return made


def expected(rows: Any, name: str) -> np.ndarray[Any, Any]:
    """Return what Arrow holds in a column, encoded by hand."""
    values = rows.to_arrow()[name]
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.int64())
    if values.null_count:
        floats = [np.nan if value is None else float(value) for value in values.to_pylist()]
        return np.array(floats, np.float64)
    return np.array(values.to_pylist(), values.type.to_pandas_dtype())


def check(rows: Any, found: Any) -> None:
    """Check (features, label) against Arrow: names, values, order and types."""
    features, label = found
    assert list(features) == FEATURES
    for name, values in {**features, "label": label}.items():
        wanted = expected(rows, name)
        assert np.asarray(values).dtype == wanted.dtype, name
        np.testing.assert_array_equal(values, wanted, err_msg=name)


def joined(parts: list[Any]) -> Any:
    """Return batches of (features, label) as one."""
    names = parts[0][0]
    features = {name: np.concatenate([np.asarray(part[0][name]) for part in parts]) for name in names}
    return features, np.concatenate([np.asarray(part[1]) for part in parts])
