"""Definitions that were never applied can be read as they are, and cannot be confused with names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import polars as pl
import pytest

import asof
from asof import Count, Entity, EventView, FeatureService, FileSource, FrameSource
from asof.errors import DefinitionError, InputError, NotFoundError, SchemaError
from tests.bad_input.conftest import orders

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bad_input.conftest import Notebook

SPINE = pd.DataFrame({"customer_id": [2, 9, 1], "event_timestamp": pd.to_datetime(["2026-01-03"] * 3), "label": "abc"})


def test_a_notebook_reads_a_view_on_a_frame_in_four_lines() -> None:
    customer = Entity("customer", join_key="customer_id")
    source = FrameSource("orders", event_time="ts", frame=orders().to_pandas())
    view = EventView("spend", entity=customer, source=source, features=[Count(windows=["7d"])])
    with asof.FeatureStore.temporary() as store:
        frame = store.get_historical_features([view], SPINE).to_pandas()
    assert frame.columns.tolist() == ["customer_id", "event_timestamp", "label", "spend__count_7d"]
    assert frame["customer_id"].tolist() == [2, 9, 1]
    assert frame["spend__count_7d"].tolist() == [1, 0, 2]


def test_views_selections_and_services_give_their_columns_in_the_listed_order(notebook: Notebook) -> None:
    spend, profile = notebook.spend, notebook.profile
    read = notebook.store.get_historical_features
    assert read(spend, SPINE).schema.names[3:] == ["spend__amount_sum_7d", "spend__count_7d"]
    assert read([profile, spend["count_7d"]], SPINE).schema.names[3:] == ["profile__country", "spend__count_7d"]
    service = FeatureService("fraud", features=[spend["count_7d"], profile])
    table = read(service, SPINE, statuses=True).to_arrow()
    assert table["spend__count_7d"].to_pylist() == [1, 0, 2]
    assert table["profile__country"].to_pylist() == ["DE", None, "BE"]
    assert table["profile__country__status"].to_pylist() == ["present", "missing", "present"]


def test_without_a_spine_the_frames_own_entities_are_asked_about(notebook: Notebook) -> None:
    found = notebook.store.get_historical_features([notebook.spend["count_7d"]], instants=["2026-01-02T12:00"])
    assert found.to_polars().select("customer_id", "spend__count_7d").rows() == [(1, 2), (2, 1)]


def test_a_definition_is_read_as_it_is_here_whatever_is_registered_under_its_name(tmp_path: Path) -> None:
    (tmp_path / "asof.toml").write_text('project = "p"\ndefinitions = []\n', encoding="utf-8")
    orders().to_pandas().to_csv(tmp_path / "orders.csv", index=False)
    customer = Entity("customer", join_key="customer_id")
    source = FileSource("orders", path="orders.csv", event_time="ts")
    registered = EventView("spend", entity=customer, source=source, features=[Count(windows=["7d"])])
    changed = EventView("spend", entity=customer, source=source, features=[Count(windows=["7d"], where="amount > 2")])
    with asof.FeatureStore(tmp_path) as store:
        store.apply(store.plan([registered]))
        assert store.get_historical_features(["spend"], SPINE).to_arrow()["spend__count_7d"].to_pylist() == [1, 0, 2]
        assert store.get_historical_features([changed], SPINE).to_arrow()["spend__count_7d"].to_pylist() == [1, 0, 0]
        assert [listed.version for listed in store.list("view")] == [1]


def test_frames_of_every_kind_are_read_alike(notebook: Notebook) -> None:
    table = orders()
    for frame in (table, table.to_pandas(), pl.from_arrow(table), table.to_pydict(), table.to_batches()[0]):
        source = FrameSource("orders", event_time="ts", frame=frame)
        view = EventView("spend", entity=notebook.spend.entity, source=source, features=[Count(windows=["7d"])])
        assert notebook.store.get_historical_features(view, SPINE).to_arrow()["spend__count_7d"].to_pylist() == [
            1,
            0,
            2,
        ], type(frame)


@pytest.mark.parametrize("frame", [orders().to_reader(), iter([]), 7])
def test_a_source_that_is_no_frame_or_can_be_read_only_once_is_refused(notebook: Notebook, frame: Any) -> None:
    """A reader would be empty at the second look, and every count 0."""
    source = FrameSource("orders", event_time="ts", frame=frame)
    view = EventView("spend", entity=notebook.spend.entity, source=source, features=[Count(windows=["7d"])])
    with pytest.raises(SchemaError, match=r"only once|not a frame") as caught:
        notebook.store.get_historical_features(view, SPINE)
    assert caught.value.fix


def test_names_and_definitions_are_not_mixed(notebook: Notebook) -> None:
    read = notebook.store.get_historical_features
    with pytest.raises(InputError, match="mixed: 'profile:country' stands beside definitions"):
        read([notebook.spend, "profile:country"], SPINE)
    with pytest.raises(InputError, match="Service 's' is in a list"):
        read([FeatureService("s", features=[notebook.profile])], SPINE)  # type: ignore[list-item]
    with pytest.raises(InputError, match="spend:count_7d is asked for twice"):
        read([notebook.spend, notebook.spend["count_7d"]], SPINE)
    for nonsense in (None, 3, [3], [None], [notebook.spend, 3]):
        with pytest.raises(InputError, match=r"not by (NoneType|int)"):
            read(nonsense, SPINE)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="No features are asked for"):
        read([], SPINE)


def test_two_different_definitions_of_one_name_are_refused(notebook: Notebook) -> None:
    other = EventView(
        "spend", entity=notebook.spend.entity, source=notebook.spend.source, features=[Count(windows=["1d"])]
    )
    with pytest.raises(DefinitionError, match="two definitions of view 'spend'"):
        notebook.store.get_historical_features([notebook.spend["count_7d"], other], SPINE)


def test_a_definition_that_does_not_fit_its_frame_is_refused_as_by_a_plan(notebook: Notebook) -> None:
    source = FrameSource("orders", event_time="when", frame=orders())
    view = EventView("spend", entity=notebook.spend.entity, source=source, features=[Count(windows=["7d"])])
    with pytest.raises(SchemaError, match="'when'"):
        notebook.store.get_historical_features(view, SPINE)


def test_a_frame_cannot_be_applied(notebook: Notebook) -> None:
    with pytest.raises(DefinitionError, match="a frame in memory, which a registry cannot hold"):
        notebook.store.plan([notebook.spend])


def test_the_online_store_is_asked_by_name_only(notebook: Notebook) -> None:
    store, keys = notebook.store, {"customer_id": [1]}
    service = FeatureService("fraud", features=[notebook.profile])
    for features in (notebook.spend, [notebook.spend], service, None):
        with pytest.raises(InputError, match="named by text"):
            store.get_online_features(features, keys)  # type: ignore[arg-type]
    for views in (notebook.spend, [notebook.spend], 3):
        with pytest.raises(InputError, match="named by text"):
            store.materialize(views)  # type: ignore[arg-type]


def test_a_view_selects_features_by_name_only(notebook: Notebook) -> None:
    with pytest.raises(NotFoundError, match=r"no feature 'cuont_7d'\. Did you mean count_7d"):
        notebook.spend["cuont_7d"]
    with pytest.raises(NotFoundError, match="no feature 0"):
        notebook.spend[0]  # type: ignore[index]
    with pytest.raises(TypeError, match="not iterable"):
        list(notebook.spend)  # type: ignore[call-overload]
