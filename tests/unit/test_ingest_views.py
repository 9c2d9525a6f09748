"""Views over one stream source, each with its own troubles and roles: none changes what another one shows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asof import Count, Entity, EventView, FeatureService, FeatureStore, FileSource, StreamSource, Sum
from asof.backends.lmdb.writer import LmdbWriter
from asof.clock import FixedClock, parse_instant
from asof.errors import CorruptDataError, DefinitionError, RejectedRowsWarning, SourceError, StoreError
from asof.services.arrivals import Arrivals
from asof.services.ingest import ids_key
from asof.services.materialize import Materializer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from asof.definitions.collection import Definition

    Project = Callable[..., FeatureStore]

NOW = parse_instant("2026-01-31")
SCHEMA = {"customer_id": "int64", "ts": "timestamp", "amount": "float64", "id": "int64", "note": "string"}
CUSTOMER = Entity("customer", join_key="customer_id")
COUNT = Count(windows=["1d"])


def orders(schema: dict[str, str] | None = None, event_id: str | None = "id") -> StreamSource:
    return StreamSource("orders", schema=schema or SCHEMA, event_time="ts", event_id=event_id)


def row(id: int, **values: Any) -> dict[str, Any]:  # the column's name
    return {"customer_id": 1, "ts": "2026-01-30T23:00:00Z", "amount": 1.0, "id": id, "note": "x", **values}


ORDERS = orders()


def view(name: str = "spend", source: StreamSource = ORDERS, **more: Any) -> EventView:
    return EventView(name, entity=CUSTOMER, source=source, features=[COUNT], **more)


def apply(store: FeatureStore, *definitions: Definition) -> None:
    store.apply(store.plan(definitions), who="test")


def count(store: FeatureStore, name: str = "spend", version: int = 1, **keys: int) -> int:
    found = store.get_online_features(
        [f"{name}@{version}"], {key: [value] for key, value in (keys or {"customer_id": 1}).items()}
    )
    [value] = found.to_dict()[f"{name}__count_1d"]
    return int(value)


def trained(store: FeatureStore, name: str, **keys: int) -> int:
    spine = {**{key: [value] for key, value in keys.items()}, "event_timestamp": [datetime(2026, 1, 31, 1, tzinfo=UTC)]}
    [value] = store.get_historical_features([name], spine).to_arrow().to_pydict()[f"{name}__count_1d"]
    return int(value)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Return a function that opens the project, applied with some definitions where they are given."""
    (tmp_path / "asof.toml").write_text('project = "shop"\n', encoding="utf-8")
    opened: list[FeatureStore] = []

    def begin(*definitions: Definition) -> FeatureStore:
        opened.append(FeatureStore(tmp_path, clock=FixedClock(NOW)))
        if definitions:
            apply(opened[-1], *definitions)
        return opened[-1]

    yield begin
    for store in opened:
        store.close()


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return the names of views that cannot take rows in, nor be materialized; empty to begin with."""
    names: set[str] = set()

    def failing(work: Callable[..., Any], name: Callable[..., str]) -> Callable[..., Any]:
        def run(self: Any, *arguments: Any) -> Any:
            if name(self, *arguments) in names:
                raise DefinitionError("Its transform failed")
            return work(self, *arguments)

        return run

    monkeypatch.setattr(Arrivals, "take_in", failing(Arrivals.take_in, lambda self, *_: str(self._view.name)))
    monkeypatch.setattr(Materializer, "run", failing(Materializer.run, lambda _, view, *__: str(view.name)))
    return names


def test_a_view_that_was_behind_counts_each_id_once_when_it_comes_along(project: Project, broken: set[str]) -> None:
    store = project(view(), view("late"))
    store.push("orders", [row(1)])
    broken.add("late")
    found = store.push("orders", [row(1), row(2)])
    assert {name: str(error) for name, error in found.behind.items()} == {"late@1": "Its transform failed."}
    broken.clear()
    assert not store.push("orders", [row(3)]).behind
    assert (count(store), count(store, "late")) == (3, 3)


def test_values_of_a_view_that_is_behind_are_stale_and_those_of_others_are_not(
    project: Project, broken: set[str]
) -> None:
    store = project(view(), view("late"))
    store.push("orders", [row(1)])
    broken.add("late")
    store.push("orders", [row(2)])
    store.clock.set(NOW + 6_000_000)  # type: ignore[attr-defined] # a fixed one
    read = store.get_online_features(["spend", "late"], {"customer_id": [1]})
    assert read.statuses == {"spend__count_1d": ["present"], "late__count_1d": ["stale"]}


def test_a_view_that_cannot_be_begun_is_told_and_stops_nobody(project: Project, broken: set[str]) -> None:
    broken.add("bad")
    store = project(view(), view("bad"))
    assert list(store.push("orders", [row(1)]).behind) == ["bad@1"]
    assert list(store.push("orders", [row(2)]).behind) == ["bad@1"]
    assert count(store) == 2
    broken.clear()
    store.materialize("bad")
    assert not store.push("orders", [row(3)]).behind
    assert (count(store), count(store, "bad")) == (3, 3)


def test_a_pinned_version_goes_on_when_the_source_loses_its_column(project: Project) -> None:
    """Its column is null in later rows, as it is in training rows."""
    old = EventView("spend", entity=CUSTOMER, source=orders(), features=[COUNT, Sum("amount", windows=["1d"])])
    store = project(old, FeatureService("fraud", features=[old]))
    store.push("orders", [row(1)])
    schema = {**{name: dtype for name, dtype in SCHEMA.items() if name != "amount"}, "cents": "int64"}
    new = EventView("spend", entity=CUSTOMER, source=orders(schema), features=[COUNT, Sum("cents", windows=["1d"])])
    apply(store, new, FeatureService("fraud", features=[new]))
    assert not store.push("orders", [row(2, cents=500)]).behind
    read = store.get_online_features("fraud@1", {"customer_id": [1]}).to_dict()
    assert read == {"spend__count_1d": [2], "spend__amount_sum_1d": [1.0]}
    read = store.get_online_features("fraud@2", {"customer_id": [1]}).to_dict()
    assert read == {"spend__count_1d": [2], "spend__cents_sum_1d": [500]}


def test_a_version_that_computes_what_is_a_column_by_now_goes_on(project: Project) -> None:
    old = view(select={"cents": "amount * 100"}, where="cents > 50")
    store = project(old, FeatureService("fraud", features=[old]))
    store.push("orders", [row(1)])
    new = view(source=orders({**SCHEMA, "cents": "int64"}), where="cents > 50")
    apply(store, new, FeatureService("fraud", features=[new]))
    assert not store.push("orders", [row(2, cents=1), row(3, cents=100)]).behind
    assert (count(store), count(store, version=2)) == (3, 1)


def test_versions_with_and_without_event_ids_each_count_their_way(project: Project) -> None:
    old = view(source=orders(event_id=None))
    store = project(old, FeatureService("fraud", features=[old]))
    store.push("orders", [row(1), row(1)])
    new = view()
    apply(store, new, FeatureService("fraud", features=[new]))
    store.push("orders", [row(1), row(2)])
    assert (count(store), count(store, version=2)) == (4, 2)
    again = view(source=orders(event_id=None))
    apply(store, again, FeatureService("fraud", features=[again]))
    store.push("orders", [row(2), row(3)])
    assert count(store, version=2) == 3


@pytest.mark.filterwarnings(f"ignore::{RejectedRowsWarning.__module__}.RejectedRowsWarning")
def test_an_event_without_the_key_of_a_later_view_does_not_use_its_id_up(project: Project) -> None:
    source = orders({**SCHEMA, "shop": "int64"})
    shops = EventView("shops", entity=Entity("shop"), source=source, features=[COUNT])
    first = view(source=source)
    store = project(first)
    store.push("orders", [row(1, shop=None)])
    apply(store, first, shops)
    store.push("orders", [row(1, shop=5), row(2, shop=5)])
    assert (count(store), count(store, "shops", shop=5), trained(store, "shops", shop=5)) == (2, 2, 2)


@pytest.mark.filterwarnings(f"ignore::{RejectedRowsWarning.__module__}.RejectedRowsWarning")
def test_an_event_whose_key_cannot_be_computed_does_not_use_its_id_up(project: Project) -> None:
    shops = EventView(
        "shops",
        entity=Entity("shop"),
        source=orders(),
        select={"shop": "TRY_CAST(note AS BIGINT)"},
        features=[COUNT],
    )
    store = project(shops)
    for rows in (
        [row(1, note="x")],
        [row(1, note="5")],
        [row(2, note="x"), row(2, note="5")],
        [row(1, note="5"), row(3, note="5")],
        [row(3, note="5")],
    ):
        store.push("orders", rows)
        assert count(store, "shops", shop=5) == trained(store, "shops", shop=5)
    assert count(store, "shops", shop=5) == 3


def test_pruning_keeps_what_is_known_of_ids(project: Project) -> None:
    store = project(view())
    store.push("orders", [row(1)])
    assert not store.plan_prune()
    ids = ids_key("shop", store.catalog().source("orders"))
    apply(store)
    assert ids in store.plan_prune().storage


def test_ids_count_once_also_where_what_was_known_of_them_is_gone(project: Project) -> None:
    store = project(view())
    store.push("orders", [row(1)])
    store.online.drop(ids_key("shop", store.catalog().source("orders")))
    store.push("orders", [row(1), row(2)])
    assert count(store) == 2


def test_a_push_that_was_not_kept_leaves_no_view_waiting(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    store = project(view())
    store.push("orders", [row(1)])

    def fail(*_: object) -> None:
        raise StoreError("The disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(store.ingestor("orders").ingestor.log, "append", fail)
        with pytest.raises(StoreError):
            store.push("orders", [row(2)])
    store.clock.set(NOW + 6_000_000)  # type: ignore[attr-defined] # a fixed one
    assert store.get_online_features(["spend"], {"customer_id": [1]}).statuses == {"spend__count_1d": ["present"]}


def test_a_log_that_lost_its_newest_file_takes_nothing_more(project: Project, tmp_path: Path) -> None:
    """Its numbers would come again, and views would pass the new rows over."""
    store = project(view())
    for number in range(3):
        store.push("orders", [row(number)])
    max((tmp_path / ".asof/offline/log/orders").glob("*.parquet")).unlink()
    for use in (lambda: store.push("orders", [row(9)]), store.materialize):
        with pytest.raises(CorruptDataError, match=r"'orders' ends at entry 2, but entries up to 3 were taken in"):
            use()
    assert count(store) == 3


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_training_and_materializing_name_a_file_of_the_log_that_is_damaged(
    project: Project, tmp_path: Path, gone: int
) -> None:
    store = project(view())
    for number in range(3):
        store.push("orders", [row(number)])
    file = sorted((tmp_path / ".asof/offline/log/orders").glob("*.parquet"))[gone]
    content = file.read_bytes()
    file.write_bytes(content[:20] + bytes(255 - byte for byte in content[20:60]) + content[60:])
    for use in (store.materialize, lambda: trained(store, "spend", customer_id=1)):
        with pytest.raises((SourceError, CorruptDataError), match=file.name):
            use()


def test_a_push_reaches_views_that_somebody_else_applied_a_moment_ago(project: Project) -> None:
    """Before this process has looked at the registry again."""
    store = project(view())
    store.push("orders", [row(1)])
    other = project(view(), view("second"))
    other.materialize("second")
    assert not store.push("orders", [row(2)]).behind
    assert count(other, "second") == 2


def test_what_reads_topics_begins_views_that_a_push_left_out(project: Project, tmp_path: Path) -> None:
    """A push leaves those over a source with history for `materialize`."""
    pq.write_table(pa.Table.from_pylist([row(1, ts=datetime(2026, 1, 30, 23, tzinfo=UTC))]), tmp_path / "old.parquet")
    history = FileSource("old", path="old.parquet", event_time="ts")
    source = StreamSource("orders", event_time="ts", history=history, handover="2026-01-30T23:30:00Z")
    store = project(view(source=source))
    store.push("orders", [row(2, ts="2026-01-30T23:45:00Z")])
    assert store.ingestor("orders", with_history=True).begun
    assert count(store) == 2


def test_an_older_version_can_be_rebuilt_while_rows_without_its_ids_arrive(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = view()
    store = project(old, FeatureService("fraud", features=[old]))
    store.push("orders", [row(1), row(1)])
    new = view(source=orders({name: dtype for name, dtype in SCHEMA.items() if name != "id"}, event_id=None))
    apply(store, new, FeatureService("fraud", features=[new]))
    store.push("orders", [row(2)])
    put, left = LmdbWriter.put, [row(3)]

    def pushing(writer: LmdbWriter, *given: Any) -> None:
        put(writer, *given)
        if left:
            store.push("orders", [left.pop()])

    monkeypatch.setattr(LmdbWriter, "put", pushing)
    with pytest.warns(RejectedRowsWarning, match="event id is null"):
        store.materialize("spend@1")
    assert (count(store), count(store, version=2)) == (1, 4)
