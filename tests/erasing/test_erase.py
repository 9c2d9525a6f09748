"""Erasing removes an entity from all that the project wrote, byte for byte, and leaves all others as they were."""

from __future__ import annotations

import os
import shutil
import signal
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from asof import Count, Entity, EventView, FeatureService, FileSource, Last, StateView, StreamSource, Sum
from asof.clock import FixedClock, to_us
from asof.errors import InputError, NotFoundError, SourceError
from asof.services import erased_streams
from asof.services.erased_values import rewrite
from asof.services.serving_log import ServingLog
from tests.unit.stream_project import NOW, START, apply, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asof import FeatureStore
    from asof.interfaces.online import ViewKey

MARKER = "zq-marker-8d1f0c"
"""The key that is erased; no other bytes of the project look like it."""
OTHERS = ["ada", "bob", "eve"]
CUSTOMER = Entity("customer", join_key="customer_id")
SHOP = Entity("shop", join_key="shop_id")
SCHEMA = {
    "customer_id": "string",
    "shop_id": "string",
    "ts": "timestamp",
    "amount": "int64",
    "id": "int64",
    "gone": "bool",
}
LATER = NOW + timedelta(days=1)


def definitions(version: int = 1) -> list[Any]:
    """Return two streams, one with ids, a file, and a service over views of two entities."""
    orders = StreamSource("orders", schema=SCHEMA, event_time="ts", event_id="id", deleted="gone")
    visits = StreamSource("visits", schema=SCHEMA, event_time="ts")
    people = FileSource("people", path="people.csv", event_time="since")
    spend = EventView(
        "spend", entity=CUSTOMER, source=orders, features=[Sum("amount", windows=["30d"]), Count(windows=["30d"])]
    )
    sales = EventView("sales", entity=SHOP, source=orders, features=[Sum("amount", windows=["30d"])])
    seen = StateView("seen", entity=CUSTOMER, source=visits, features=["amount"])
    guests = StateView("guests", entity=SHOP, source=visits, features=["amount"])
    last = [Last("amount")] if version > 1 else []
    clicks = EventView("clicks", entity=CUSTOMER, source=visits, features=[Count(windows=["lifetime"]), *last])
    profile = StateView("profile", entity=CUSTOMER, source=people, features=["country"])
    payee = seen.with_role("payee", keys={"customer_id": "payee_id"})
    service = FeatureService("fraud", features=[spend, sales, seen, guests, clicks, profile, payee])
    return [service]


def order(number: int, customer: str | None, shop: str = "s1", **more: Any) -> dict[str, Any]:
    """Return an order, or a visit."""
    at = START + timedelta(hours=number)
    return {"customer_id": customer, "shop_id": shop, "ts": at, "amount": 2**number, "id": number, "gone": False} | more


def spine() -> dict[str, list[Any]]:
    """Return examples; one names the erased one in a role only."""
    customers = [MARKER, *OTHERS, "ada"]
    return {
        "customer_id": customers,
        "payee_id": ["ada", "bob", "eve", "ada", MARKER],
        "shop_id": ["s1", "s2", "s1", "s2", "s2"],
        "event_timestamp": [LATER] * len(customers),
    }


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root: Path = tmp_path_factory.mktemp("filled")
    (root / "people.csv").write_text(f"customer_id,since,country\nada,2025-01-01,NL\n{MARKER},2025-01-01,DE\n")
    with open_store(root, FixedClock(to_us(NOW))) as store:
        fill(store)
    return root


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> Iterator[FeatureStore]:
    shutil.copytree(filled, tmp_path, dirs_exist_ok=True)
    with open_store(tmp_path, FixedClock(to_us(NOW))) as store:
        yield store


def fill(store: FeatureStore) -> None:
    """Put the entity into every place that there is."""
    apply(store, *definitions(1))
    apply(store, *definitions(2))
    everyone = [MARKER, *OTHERS]
    for number in range(8):
        shop = "s1" if number % 3 else "s2"
        store.push("orders", [order(number, everyone[number % 4], shop), order(20 + number, "bob", shop)])
        store.push("visits", [order(number, everyone[number % 4], shop)])
    store.push("orders", [order(4, None, gone=True), order(3, None, gone=True), order(0, "eve")])
    store.push("orders", [{**order(9, MARKER), "ts": "never"}, {**order(9, "ada"), "ts": "never"}])
    store.materialize()
    store.create_training_set("first", "fraud", spine())
    quarantined = pa.table({"customer_id": [MARKER, "ada"], "__reason": ["x", "y"]})
    store.offline.files("quarantine").replace("people.customer_id.parquet", lambda path: write(quarantined, path))
    store.offline.files("batch").below("daily@00").replace(
        "20260101T000000Z.parquet", lambda path: write(quarantined.slice(0, 1), path)
    )
    served = pa.table(
        {
            "_request_id": ["a", "b"],
            "_row": pa.array([0, 0], pa.int32()),
            "_served_at": pa.array([1, 2], pa.timestamp("us", "UTC")),
            "customer_id": ["ada", "bob"],
            "payee_id": [MARKER, "ada"],
        }
    )
    log = ServingLog(store.offline.shelf("serving_log"))
    log.add("fraud@1", served)
    log.add("fraud@1", served.slice(0, 1))


def write(table: pa.Table, path: Path) -> None:
    """Write a Parquet file."""
    import pyarrow.parquet as pq

    pq.write_table(table, path)


def holders(store: FeatureStore) -> list[str]:
    """Return the files of the project that have the marker's bytes, but its owner's and the registry's definitions."""
    found = []
    for path in sorted(store.config.root.rglob("*")):
        if path.is_file() and path.name != "people.csv" and holds(path):
            found.append(str(path.relative_to(store.config.root)))
    return found


def holds(path: Path) -> bool:
    """Return whether a file has the marker's bytes, decoded as Parquet where it is that."""
    import pyarrow.parquet as pq

    raw = path.read_bytes()
    return MARKER.encode() in raw or (path.suffix == ".parquet" and MARKER in str(pq.read_table(path).to_pylist()))


def values(store: FeatureStore) -> dict[ViewKey, dict[bytes, bytes]]:
    """Return all bytes of the online store, by view and key."""
    return {
        view: {
            key: value
            for keys, found in store.online.scan(view)
            for key, value in zip(keys.to_pylist(), found.to_pylist(), strict=True)
        }
        for view in store.online.generations("shop")
    }


def served(store: FeatureStore) -> dict[str, list[Any]]:
    """Return what is served of everybody."""
    asked = {name: column for name, column in spine().items() if name != "event_timestamp"}
    return store.get_online_features("fraud", asked, at=LATER).to_dict()


def trained(store: FeatureStore) -> dict[str, list[Any]]:
    """Return what training says of the same at the same instant."""
    found: dict[str, list[Any]] = store.get_historical_features("fraud", spine()).to_arrow().to_pydict()
    return found


def test_no_byte_is_left_anywhere(store: FeatureStore) -> None:
    """Of log, ids, values and free pages, training set, dead letters, quarantine, intervals and served answers."""
    assert len(holders(store)) > 8
    done = store.erase({"customer_id": MARKER})
    assert done.found > 0
    assert done.remaining == 0
    assert {place.kind for place in done.places if place.before} == {
        "training set", "log", "dead letters", "quarantine", "batch rows", "serving log", "online values",
    }  # fmt: skip
    assert not holders(store)
    assert done.yours == ("file people.csv of source people",)
    assert store.erase({"customer_id": MARKER}).found == 0


def test_a_dry_run_changes_nothing(store: FeatureStore) -> None:
    """It finds as much as is erased then."""
    before = {path: path.read_bytes() for path in store.config.root.rglob("*.parquet")}
    dry = store.erase({"customer_id": MARKER}, dry_run=True)
    assert dry.dry_run
    assert dry.found == dry.remaining
    assert {path: path.read_bytes() for path in store.config.root.rglob("*.parquet")} == before
    assert store.erase({"customer_id": MARKER}).found == dry.found


def test_others_are_served_what_training_says_of_the_rows_that_are_left(store: FeatureStore) -> None:
    """An id of theirs that was somebody else's first counts now; a shop loses the erased orders."""
    before = served(store)
    assert before["sales__amount_sum_30d"][0] != 0
    store.erase({"customer_id": MARKER})
    after, exact = served(store), trained(store)
    for name, column in after.items():
        assert column[1:] == exact[name][1:], name
    assert after["spend__count_30d"][0] == 0
    assert after["profile__country"][0] is None
    assert after["spend__count_30d"][3] == before["spend__count_30d"][3] + 1  # eve's order 0 had the id of another one
    store.materialize()
    assert {n: c[1:] for n, c in served(store).items()} == {n: c[1:] for n, c in after.items()}


def test_values_of_those_who_share_no_row_stay_byte_for_byte(store: FeatureStore) -> None:
    """And so does how far views have come."""
    before, progress = values(store), store.online.generations("shop")
    store.erase({"customer_id": MARKER})
    after = values(store)
    for view, pairs in before.items():
        if view.view in ("seen", "clicks", "profile"):
            gone = pairs.keys() - after[view].keys()
            assert len(gone) == 1
            assert after[view] == {key: value for key, value in pairs.items() if key not in gone}
    for view, generation in store.online.generations("shop").items():
        if "#" not in view.view:
            assert generation.progress == progress[view].progress
            assert generation.meaning == progress[view].meaning


def test_the_log_keeps_its_entries_and_positions(store: FeatureStore) -> None:
    """So nothing from before is taken for new, and what comes next has the next number."""
    before = store.log.of("orders").head()
    store.erase({"customer_id": MARKER})
    after = store.log.of("orders").head()
    assert (after.sequence, after.positions, after.last_us, after.began) == (
        before.sequence, before.positions, before.last_us, before.began,
    )  # fmt: skip
    rows = pa.concat_tables([rows for _, rows in store.log.of("orders").read(0, after.sequence)])
    assert after.rows == rows.num_rows == before.rows - 3  # two orders, and the retraction of one of them
    assert store.push("orders", [order(30, "ada"), order(31, MARKER)]).entry == after.sequence + 1
    assert served(store)["spend__count_30d"][0] == 1
    assert {n: c[1:] for n, c in served(store).items()} == {
        n: c[1:] for n, c in trained(store).items() if n in served(store)
    }


def test_a_process_that_has_the_log_open_goes_on(store: FeatureStore) -> None:
    """Its next push lands after what it knew, and counts right."""
    with open_store(store.config.root, FixedClock(to_us(NOW))) as other:
        other.push("orders", [order(40, "ada")])
        store.erase({"customer_id": MARKER})
        other.push("orders", [order(41, "ada")])
        rows = sum(rows.num_rows for _, rows in other.log.of("orders").read(0, other.log.of("orders").head().sequence))
        assert other.log.of("orders").head().rows == rows
    assert served(store)["spend__count_30d"][1:] == trained(store)["spend__count_30d"][1:]


def test_joined_files_lose_the_rows_too(store: FeatureStore) -> None:
    """Also those that stay beside the larger one for an hour."""
    for number in range(70):
        store.push("visits", [order(number % 20, MARKER if number % 2 else "ada")])
    assert any("-000000000064" in name for name in holders(store))
    store.erase({"customer_id": MARKER})
    assert not holders(store)


def test_a_training_set_says_what_was_erased(store: FeatureStore) -> None:
    """Its rows that are left can be read and are described, and it is not made again as something else."""
    before = store.training_set("first").to_arrow()
    store.erase({"customer_id": MARKER})
    found = store.training_set("first")
    assert found.to_arrow() == before.slice(1, 3)  # the last row named the erased one in a role
    manifest = found.manifest
    assert (manifest.rows, manifest.spine_rows, len(found)) == (3, 3, 3)
    [record] = manifest.erasures
    assert (record.rows, record.inputs) == (2, ("orders", "visits"))
    assert next(one for one in manifest.statistics if one.name == "customer_id").rows == 3
    with pytest.raises(SourceError, match="2 rows of it, and rows of its source orders, visits were erased"):
        store.rebuild_training_set("first")
    store.create_training_set("second", "fraud", {name: column[1:4] for name, column in spine().items()})
    assert len(store.rebuild_training_set("second")) == 3


@pytest.mark.parametrize("place", ["noted", "one file", "log", "one view", "sets", "note"])
def test_killed_anywhere_it_is_finished_by_another_call(store: FeatureStore, place: str) -> None:
    """Everybody else is right then, too."""
    child = os.fork()
    if not child:
        try:
            other = open_store(store.config.root, FixedClock(to_us(NOW)))
            kill_at(pytest.MonkeyPatch(), other, place)
            other.erase({"customer_id": MARKER})
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert store.erase({"customer_id": MARKER}).remaining == 0
    assert not holders(store)
    after, exact = served(store), trained(store)
    for name, column in after.items():
        assert column[1:] == exact[name][1:], name
    assert len(store.training_set("first")) == 3


def kill_at(patch: pytest.MonkeyPatch, store: FeatureStore, place: str) -> None:
    """Kill this process when it comes to a place."""

    def die(*_: Any, **__: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    def after(count: int, real: Any) -> Any:
        left = [count]

        def work(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            return die() if left[0] < 0 else real(*arguments, **options)

        return work

    if place in ("noted", "one file"):
        from asof.backends.local.log import LocalSourceLog

        patch.setattr(LocalSourceLog, "_replace", after(int(place == "one file"), LocalSourceLog._replace))
    elif place == "log":
        patch.setattr(store.online, "drop", die)
    elif place == "one view":
        patch.setattr(erased_streams, "rewrite", after(1, rewrite))
    elif place == "sets":
        from asof.backends.local.folders import LocalFolders

        def half(self: LocalFolders, name: str, files: Any) -> None:
            files[0].replace(self.file(name, files[0].name))
            die()

        patch.setattr(LocalFolders, "replace", half)
    else:
        patch.setattr(type(store.online), "scrub", die)


def test_it_is_in_the_audit_log_without_the_key(store: FeatureStore) -> None:
    """By an id that the report has, too."""
    done = store.erase({"customer_id": MARKER})
    records = [one.record for one in store.registry.access().audit() if one.record.action == "erase"]
    assert len(records) == 2
    assert all(done.id in one.detail and MARKER not in str(one) for one in records)


def test_what_is_no_entity_is_refused(store: FeatureStore) -> None:
    """Before anything is searched."""
    with pytest.raises(InputError, match="No entity has the join keys card"):
        store.erase({"card": 1})
    with pytest.raises(NotFoundError):
        store.erase({"customer_id": 1}, entity="custmer")
    with pytest.raises(InputError, match="nothing to erase"):
        store.erase([])


def test_several_at_once(store: FeatureStore) -> None:
    """As one erasure."""
    done = store.erase([{"customer_id": MARKER}, {"customer_id": "ada"}])
    assert (done.entities, done.remaining) == (2, 0)
    found = served(store)
    assert found["spend__count_30d"][:2] == [0, 0]
    assert found["spend__count_30d"][2:4] == trained(store)["spend__count_30d"][2:4]
