"""Snapshot reads: all views as of one instant at which each is exact, whatever is in flight; and readable pushes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from asof import Count, Entity, EventView, FeatureService, FileSource, Last, StreamSource, Sum
from asof.clock import FixedClock, from_us, to_us
from asof.errors import DefinitionError, InputError, SnapshotUnavailableError, ViewsBehindError
from asof.interfaces.online import ViewKey
from asof.services import consistency
from asof.store import FeatureStore
from asof.testing.comparison import identical

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asof.definitions.services import Consistency

SECOND = 1_000_000
START = 1_750_000_000 * SECOND
customer = Entity("customer", join_key="customer_id")


def source(name: str, **rest: Any) -> StreamSource:
    schema = {"customer_id": "int64", "amount": "int64", "ts": "timestamp"}
    return StreamSource(name, event_time="ts", schema=schema, **rest)


def view(name: str, **rest: Any) -> EventView:
    features = [Sum("amount", windows=["10s", "lifetime"]), Count(windows=["2s", "lifetime"]), Last("amount")]
    return EventView(name, entity=customer, source=source(f"{name}_rows", **rest), features=features)


def definitions(how: Consistency = "snapshot") -> list[Any]:
    spend, visits = view("spend"), view("visits")
    return [spend, visits, FeatureService("both", features=[spend, visits], consistency=how)]


def row(at_us: int, amount: int = 1, customer_id: int = 1) -> dict[str, Any]:
    return {"customer_id": customer_id, "amount": amount, "ts": from_us(at_us)}


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(START)


@pytest.fixture
def store(clock: FixedClock) -> Iterator[FeatureStore]:
    with FeatureStore.temporary(clock=clock) as opened:
        opened.apply(opened.plan(definitions()))
        for name in ("spend_rows", "visits_rows"):
            opened.push(name, [row(START - SECOND)])
        clock.set(START + SECOND)
        yield opened


def announce(store: FeatureStore, view: str, at_us: int) -> None:
    """Leave a view as a writer leaves it between its announcement and its update."""
    store.online.announce([ViewKey(store.config.project, view, 1)], at_us)


KEYS = {"customer_id": [1]}


def test_a_snapshot_is_read_at_the_present_when_nothing_is_on_its_way(store: FeatureStore, clock: FixedClock) -> None:
    """The instant is the clock's, and a training row then has the same values."""
    found = store.get_online_features("both", KEYS)
    assert to_us(found.at) == clock.now_us()
    assert found.to_dict()["spend__count_lifetime"] == [1]


def test_a_snapshot_goes_back_to_before_what_is_on_its_way(store: FeatureStore, clock: FixedClock) -> None:
    """While rows of one source are on their way, all views are shown just before those were announced."""
    announce(store, "visits", START + SECOND // 2)
    assert to_us(store.get_online_features("both", KEYS).at) == START + SECOND // 2 - 1


def test_stuck_arrivals_do_not_make_a_snapshot_wrong(store: FeatureStore, clock: FixedClock) -> None:
    """However long arrivals hang, a snapshot stays before them, and says that it is stale; other reads go on."""
    announce(store, "visits", START + SECOND)
    clock.set(START + 60 * SECOND)
    found = store.get_online_features("both", KEYS)
    assert to_us(found.at) == START + SECOND - 1
    assert found.statuses["visits__count_lifetime"] == ["stale"]
    assert found.statuses["spend__count_lifetime"] == ["present"]
    assert to_us(store.get_online_features("both", KEYS, consistency="latest").at) == clock.now_us()


def test_no_exact_instant_is_an_error_that_is_worth_another_try(
    store: FeatureStore, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One view waits for rows of before an instant that another shows: the default read answers, a snapshot fails."""
    monkeypatch.setattr(consistency, "TRY_S", 0.0)
    announce(store, "visits", START + SECOND)
    clock.set(START + 2 * SECOND)
    store.push("spend_rows", [row(START + SECOND)])
    clock.set(START + 3 * SECOND)
    with pytest.raises(SnapshotUnavailableError) as failed:
        store.get_online_features("both", KEYS)
    assert failed.value.retryable
    assert store.get_online_features("both", KEYS, consistency="latest").to_dict()["spend__count_lifetime"] == [2]
    assert store.get_online_features(["spend"], KEYS, consistency="snapshot").to_dict()["spend__count_lifetime"] == [2]
    store.push("visits_rows", [row(START + SECOND)])
    clock.set(START + 4 * SECOND)
    assert store.get_online_features("both", KEYS).to_dict()["visits__count_lifetime"] == [2]


def test_a_snapshot_waits_for_what_is_on_its_way(
    store: FeatureStore, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is read again until there is an exact instant."""
    monkeypatch.setattr(consistency, "TRY_S", 60.0)
    announce(store, "visits", START + SECOND)
    clock.set(START + 2 * SECOND)
    store.push("spend_rows", [row(START + SECOND)])
    clock.set(START + 3 * SECOND)
    pauses = []

    def arrive(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            store.push("visits_rows", [row(START + SECOND)])
            clock.set(START + 4 * SECOND)

    monkeypatch.setattr("asof.services.consistency.time.sleep", arrive)
    found = store.get_online_features("both", KEYS)
    assert len(pauses) == 2
    assert to_us(found.at) == START + 4 * SECOND
    assert found.to_dict()["visits__count_lifetime"] == [2]


def test_a_snapshot_at_an_instant_is_exact_then_or_fails(
    store: FeatureStore, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An instant before arrivals were announced can be read, one after cannot, nor one that is yet to come."""
    monkeypatch.setattr(consistency, "TRY_S", 0.0)
    announce(store, "visits", START + SECOND)
    clock.set(START + 2 * SECOND)
    assert store.get_online_features("both", KEYS, at=from_us(START + SECOND - 1)).to_dict()
    with pytest.raises(SnapshotUnavailableError):
        store.get_online_features("both", KEYS, at=from_us(START + SECOND))
    with pytest.raises(InputError, match="cannot be read yet"):
        store.get_online_features("both", KEYS, at=from_us(START + 3 * SECOND))


def test_a_snapshot_is_never_ahead_of_the_clock(
    store: FeatureStore, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that arrived by a clock that is ahead are shown once this one is there: others may arrive until then."""
    monkeypatch.setattr(consistency, "TRY_S", 0.0)
    store.push("spend_rows", [row(START)])
    with pytest.raises(SnapshotUnavailableError):
        store.get_online_features("both", KEYS)
    clock.set(clock.now_us() + 1)
    assert store.get_online_features("both", KEYS).to_dict()["spend__count_lifetime"] == [2]


def test_consistency_is_no_part_of_a_services_version(store: FeatureStore) -> None:
    """It chooses instants, not values: another one is a change of metadata that the plan names."""
    plan = store.plan(definitions("latest"))
    (change,) = [one for one in plan.changes if one.name == "both"]
    assert (change.action, change.details) == ("metadata", ("consistency changed: snapshot -> latest",))
    store.apply(plan)
    assert store.catalog().service("both").version == 1
    announce(store, "visits", START + SECOND)
    found = store.get_online_features("both", KEYS)
    assert found.service == "both@1"
    assert found._plan.consistency == "latest"


def test_an_unknown_consistency_is_refused(store: FeatureStore) -> None:
    """In a definition and in a read, with the names that there are."""
    with pytest.raises(DefinitionError, match="Did you mean snapshot"):
        definitions("snapshots")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Did you mean latest"):
        store.get_online_features("both", KEYS, consistency="late")  # type: ignore[arg-type]


def test_training_rows_equal_snapshots_read_while_two_sources_are_written(tmp_path: Path) -> None:
    """Readers beside two writers record what they are served; training rows built later are the same, bit for bit."""
    with FeatureStore.temporary() as store:
        store.apply(store.plan(definitions()))
        writers_done, served = threading.Event(), []
        failures: list[BaseException] = []
        now_us = store.clock.now_us

        def write(name: str) -> None:
            for number in range(25):
                store.push(name, [row(now_us() - number * 20_000, number, number % 2)])

        def read() -> None:
            while not writers_done.is_set():
                try:
                    found = store.get_online_features("both", {"customer_id": [0, 1]})
                except SnapshotUnavailableError:
                    continue
                served.append((found.at, found.to_dict(), found.statuses))

        def kept(work: Any, *arguments: Any) -> None:
            try:
                work(*arguments)
            except BaseException as error:  # noqa: BLE001 - shown by the test, below
                failures.append(error)

        for name in ("spend_rows", "visits_rows"):
            store.ingestor(name)
        writers = [threading.Thread(target=kept, args=(write, name)) for name in ("spend_rows", "visits_rows")]
        readers = [threading.Thread(target=kept, args=(read,)) for _ in range(2)]
        for thread in (*readers, *writers):
            thread.start()
        for thread in writers:
            thread.join()
        writers_done.set()
        for thread in readers:
            thread.join()
        assert not failures
        assert len({at for at, *_ in served}) > 20
        chosen = served[:: max(1, len(served) // 200)]
        spine = {
            "customer_id": [key for _ in chosen for key in (0, 1)],
            "event_timestamp": [at for at, *_ in chosen for _ in (0, 1)],
        }
        trained = store.get_historical_features("both", spine, statuses=True).to_arrow().to_pydict()
        for index, (at, values, statuses) in enumerate(chosen):
            for column, given in values.items():
                built = trained[column][2 * index : 2 * index + 2]
                assert identical(built, given), (at, column, built, given)
                assert trained[f"{column}__status"][2 * index : 2 * index + 2] == statuses[column]


# Readable pushes -----------------------------------------------------------------------------------------------------


def test_a_push_that_must_be_readable_is(store: FeatureStore) -> None:
    """Nothing is different from another push where all views take the rows in."""
    assert store.push("spend_rows", [row(START)], readable=True).readable


def test_a_push_that_must_be_readable_names_the_view_that_is_behind(clock: FixedClock) -> None:
    """The rows are kept, and the error says so: pushing them again would count them twice."""
    texts = StreamSource("texts", event_time="ts", schema={"customer_id": "int64", "text": "string", "ts": "timestamp"})
    numbers = EventView(
        "numbers", entity=customer, source=texts, where="CAST(text AS INTEGER) > 1", features=[Count(windows=["10s"])]
    )
    with FeatureStore.temporary(clock=clock) as store:
        store.apply(store.plan([numbers]))
        rows = [{"customer_id": 1, "text": "no number", "ts": from_us(START)}]
        with pytest.raises(ViewsBehindError, match=r"1 row is in the log of 'texts'.*view 'numbers@1'"):
            store.push("texts", rows, readable=True)
        assert store.log.of("texts").head().rows == 1
        found = store.push("texts", rows)
        assert not found.readable
        assert [*found.behind] == ["numbers@1"]


def test_a_push_that_must_be_readable_names_a_view_that_was_never_materialized(
    clock: FixedClock, tmp_path: Path
) -> None:
    """A view over a source with history waits for the first materialize; until then nothing is readable."""
    path = tmp_path / "history.csv"
    path.write_text("customer_id,amount,ts\n1,5,2024-01-01\n", encoding="utf-8")
    history = FileSource("history", path=str(path), event_time="ts")
    spend = view("spend", history=history, handover=from_us(START - 60 * SECOND))
    with FeatureStore.temporary(clock=clock) as store:
        store.apply(store.plan([spend]))
        with pytest.raises(ViewsBehindError, match="never materialized"):
            store.push("spend_rows", [row(START)], readable=True)
        store.materialize()
        assert store.push("spend_rows", [row(START)], readable=True).taken == 1
        clock.set(START + SECOND)
        assert store.get_online_features(["spend:count_lifetime"], KEYS).to_dict() == {"spend__count_lifetime": [3]}
