"""Rows are pushed in the forms that libraries give them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from asof import Count, Entity, EventView, FeatureStore, Last, StreamSource
from asof.clock import FixedClock, to_us

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
SCHEMA = {"id": "int64", "customer": "string", "page": "string", "raw": "binary", "at": "timestamp"}
COLUMNS: dict[str, list[Any]] = {
    "id": [1, 2, 3],
    "customer": ["ada", "ada", "bob"],
    "page": ["a", None, "c"],
    "raw": [b"x", None, b"z"],
    "at": [AT, AT, AT],
}
FORMS: dict[str, Callable[[], Any]] = {
    "columns": lambda: COLUMNS,
    "records": lambda: [dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True)],
    "arrow": lambda: pa.table(COLUMNS),
    "arrow with text once each": lambda: pa.table({**COLUMNS, "page": pa.array(COLUMNS["page"]).dictionary_encode()}),
    "pandas": lambda: pd.DataFrame(COLUMNS),
    "pandas with a category": lambda: pd.DataFrame({**COLUMNS, "page": pd.Categorical(COLUMNS["page"])}),
    "polars": lambda: pl.DataFrame(COLUMNS),
    "polars with a category": lambda: pl.DataFrame(COLUMNS, schema_overrides={"page": pl.Categorical}),
}


@pytest.fixture
def store() -> Iterator[FeatureStore]:
    clock = FixedClock(to_us(AT) + 1_000_000)
    clicks = StreamSource("clicks", schema=SCHEMA, event_time="at", event_id="id")
    view = EventView(
        "browsing",
        entity=Entity("customer", join_key="customer"),
        source=clicks,
        features=[Count(windows=["1d"]), Last("page", windows=["1d"])],
    )
    with FeatureStore.temporary(clock=clock) as store:
        store.apply(store.plan([view]))
        yield store


@pytest.mark.parametrize("form", FORMS)
def test_a_push_takes_what_libraries_give(store: FeatureStore, form: str) -> None:
    """The same rows in any form are taken in whole, with the same values."""
    done = store.push("clicks", FORMS[form]())
    assert (done.taken, dict(done.refused)) == (3, {})
    read = store.get_online_features(["browsing"], {"customer": ["ada", "bob"]})
    assert read.to_dict() == {"browsing__count_1d": [2, 1], "browsing__page_last_1d": ["a", "c"]}
    spine = {"customer": ["ada", "bob"], "event_timestamp": [read.at] * 2}
    past = store.get_historical_features(["browsing"], spine).to_arrow().to_pydict()
    assert {name: past[name] for name in read.to_dict()} == read.to_dict()
