"""Rows in JAX, XGBoost and LightGBM: what they hold is what Arrow holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jax
import lightgbm
import numpy as np
import pytest
import xgboost

from asof.errors import InputError
from tests.frameworks.rows import FEATURES, check, expected, joined, spine

if TYPE_CHECKING:
    from pathlib import Path

    from asof import FeatureStore


def test_jax_has_the_rows_whole_and_in_batches(rows: Any) -> None:
    """With 64-bit types as they are; without, narrowed as JAX does, and integers that do not fit refused."""
    with jax.enable_x64(True):
        check(rows, rows.to_jax())
        check(rows, joined(list(rows.to_jax_stream(5))))
        assert isinstance(rows.to_jax()[1], jax.Array)
    for name, narrow in (("event_timestamp", "int32"), ("profile__since", "float32")):
        with pytest.raises(InputError, match=rf"'{name}' holds whole numbers beyond {narrow}.*jax_enable_x64"):
            rows.to_jax(features=[name])
    features, _ = rows.to_jax(features=["spend__count_1d", "spend__amount_sum_1d"])
    assert features["spend__count_1d"].dtype == np.int32
    wanted = expected(rows, "spend__amount_sum_1d").astype(np.float32)
    np.testing.assert_array_equal(features["spend__amount_sum_1d"], wanted)


NUMBERS = FEATURES[:4]


def test_xgboost_has_the_matrix_and_the_label(rows: Any) -> None:
    """As 32-bit floats, null missing; streamed it gives the same trees."""
    x, y = rows.to_xy(features=NUMBERS)
    made = rows.to_xgboost(features=NUMBERS)
    assert made.feature_names == NUMBERS
    dense = np.full(x.shape, np.nan, np.float32)
    found = made.get_data().tocoo()
    dense[found.row, found.col] = found.data
    np.testing.assert_array_equal(dense, x.astype(np.float32))
    np.testing.assert_array_equal(made.get_label(), y)
    settings = {"tree_method": "hist", "max_bin": 256, "seed": 1, "nthread": 1, "objective": "binary:logistic"}
    streamed = rows.to_xgboost_stream(features=NUMBERS)
    assert (streamed.num_row(), streamed.feature_names) == (len(rows), NUMBERS)
    quantised = xgboost.QuantileDMatrix(x, label=y, feature_names=NUMBERS)
    one, other = (json.loads(xgboost.train(settings, data, 3).save_raw("json")) for data in (streamed, quantised))
    assert one["learner"]["gradient_booster"] == other["learner"]["gradient_booster"]


def test_lightgbm_bins_from_disk_what_it_bins_from_memory(rows: Any, tmp_path: Path) -> None:
    """The same model comes out; the file has no name any more, and goes with the dataset."""
    x, y = rows.to_xy(features=NUMBERS)
    settings = {"objective": "binary", "verbosity": -1, "min_data_in_leaf": 2, "num_threads": 1, "seed": 1}
    mine = rows.to_lightgbm(features=NUMBERS, folder=tmp_path, params=settings)
    assert list(tmp_path.glob("asof-*")) == []
    other = lightgbm.Dataset(x, label=y, feature_name=NUMBERS, params=settings)
    models = [lightgbm.train(settings, data, 5).model_to_string() for data in (mine, other)]
    assert models[0] == models[1]
    assert mine.num_data() == len(rows)


def test_trees_refuse_labels_that_are_none(store: FeatureStore) -> None:
    """A null, a text, and no rows to take quantiles of."""
    rows = store.get_historical_features("fraud", spine())
    for make in (rows.to_xgboost, rows.to_xgboost_stream, rows.to_lightgbm):
        with pytest.raises(InputError, match="'profile__level' is null in"):
            make(features=NUMBERS[:1], label="profile__level")
    with pytest.raises(InputError, match="A matrix cannot hold profile__since"):
        rows.to_xgboost()
    noted = store.get_historical_features("noted", spine())
    with pytest.raises(InputError, match="'profile__note' is string, and trees learn numbers"):
        noted.to_xgboost(features=["row"], label="profile__note")
    empty = store.get_historical_features("fraud", spine().slice(0, 0))
    assert empty.to_xgboost(features=NUMBERS).num_row() == 0
    for make in (empty.to_xgboost_stream, empty.to_lightgbm):
        with pytest.raises(InputError, match="no rows"):
            make(features=NUMBERS)
    assert list(empty.stream()) == []
    assert empty.to_jax(features=["row"])[0]["row"].shape == (0,)
