"""What a stream source cannot take in is kept, listed, and taken in again, each row once, whatever crashes when."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from asof import Count, Entity, EventView, StreamSource, Sum
from asof.clock import FixedClock, to_us
from asof.errors import ConfigError, ConflictError, CorruptDataError, NotFoundError
from asof.interfaces import Decoded
from asof.interfaces.deadletters import Replaying
from asof.services.dead_letters import replay
from asof.services.ingest import Batch
from asof.services.letters import Undecoded
from asof.store import FeatureStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from asof.services.dead_letters import Replayed
    from asof.services.ingest import Ingestor

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SCHEMA = {"customer_id": "int64", "amount": "float64", "ts": "timestamp"}
AGGREGATES = [Sum("amount", windows=["lifetime"]), Count(windows=["lifetime"])]


def define(store: FeatureStore, schema: dict[str, str] = SCHEMA, **more: Any) -> None:
    source = StreamSource("orders", schema=schema, event_time="ts", **more)
    customer = Entity("customer", join_key="customer_id")
    store.apply(store.plan([EventView("spend", entity=customer, source=source, features=AGGREGATES)]), who="test")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    (tmp_path / "asof.toml").write_text('project = "shop"\ndefinitions = []\n', encoding="utf-8")
    with FeatureStore(tmp_path, clock=FixedClock(to_us(NOW))) as store:
        define(store)
        yield store


def row(customer: Any = 1, amount: Any = 2.0, ts: Any = "2026-03-01T10:00:00Z", **more: Any) -> dict[str, Any]:
    return {"customer_id": customer, "amount": amount, "ts": ts, **more}


def counted(store: FeatureStore, customer: int = 1) -> Any:
    read = store.get_online_features(["spend"], {"customer_id": [customer]}, at="2026-03-02")
    return read.to_dict()["spend__count_lifetime"][0]


def test_a_push_keeps_the_good_rows_and_sets_the_others_apart(store: FeatureStore) -> None:
    """The kept JSON is what was pushed, with fields that the source does not have."""
    done = store.push("orders", [row(), row(amount="much", note="ä"), row(ts=None), row()])
    assert (done.taken, sorted(done.refused), done.set_apart) == (2, [1, 2], 2)
    assert counted(store) == 2
    found = store.dead_letters("orders")
    assert (found.total, [one.id for one in found.letters]) == (2, ["1-1", "1-0"])
    assert found.reasons == dict.fromkeys(done.refused.values(), 1)
    letter = store.dead_letter("orders", "1-0")
    assert letter.value is not None
    assert json.loads(letter.value) == row(amount="much", note="ä")
    assert (letter.partition, letter.position, letter.received_at_us) == ("push", None, to_us(NOW))
    assert letter.reason == done.refused[1]


def test_batches_of_bad_rows_only_do_not_take_each_others_place(store: FeatureStore) -> None:
    assert store.push("orders", [row(ts=None)]).taken == 0
    assert store.push("orders", [row(2, ts=None)]).taken == 0
    store.push("orders", [row()])
    assert [one.id for one in store.dead_letters("orders").letters] == ["2-0", "1-0"]
    assert counted(store) == 1


def test_the_list_is_bounded_and_the_counts_are_of_all(store: FeatureStore) -> None:
    store.push("orders", [row(ts=None)] * 5 + [row(amount="x")])
    found = store.dead_letters("orders", limit=2)
    assert (found.total, len(found.letters), list(found.reasons.values())) == (6, 2, [5, 1])
    assert [one.id for one in found.letters] == ["1-5", "1-4"]


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param({"customer_id": [1], "amount": ["much"], "ts": ["2026-03-01"]}, id="columns"),
        pytest.param(pa.table({"customer_id": [1], "amount": ["much"], "ts": ["2026-03-01"]}), id="arrow"),
    ],
)
def test_rows_in_columns_are_kept_as_json_too(store: FeatureStore, rows: Any) -> None:
    """As far as they fit the source's columns, in the order of the rows."""
    store.push("orders", rows)
    value = store.dead_letter("orders", "1-0").value
    assert value is not None
    assert json.loads(value)["customer_id"] == 1


def test_a_replay_takes_in_what_a_new_definition_allows_and_keeps_the_rest(store: FeatureStore) -> None:
    store.push("orders", [row(customer="north-7"), row(), row(ts="soon")])
    assert store.replay_dead_letters("orders").taken == 0
    define(store, {**SCHEMA, "customer_id": "int64", "region": "string"}, max_skew="1h")
    store.push("orders", [row(ts="2026-03-01T14:00:00Z")])
    assert isinstance(store.clock, FixedClock)
    store.clock.set(to_us(NOW) + 3 * 3_600_000_000)
    done = store.replay_dead_letters("orders")
    assert done.taken == 1
    assert set(done.refused) == {"1-0", "1-1"}
    assert [one.id for one in store.dead_letters("orders").letters] == ["1-1", "1-0"]
    assert counted(store) == 2
    assert store.log.of("orders").head().positions == {"push": 1, "replay": 1}


def test_only_the_letters_named_are_replayed(store: FeatureStore) -> None:
    define(store, max_skew="1h")
    store.push("orders", [row(ts="2026-03-01T14:00:00Z"), row(ts="2026-03-01T15:00:00Z")])
    assert isinstance(store.clock, FixedClock)
    store.clock.set(to_us(NOW) + 4 * 3_600_000_000)
    assert store.replay_dead_letters("orders", ["1-1"]).taken == 1
    assert [one.id for one in store.dead_letters("orders").letters] == ["1-0"]
    for unknown in ("1-1", "9-9", "x"):
        with pytest.raises(NotFoundError, match="no dead letter"):
            store.replay_dead_letters("orders", ["1-0", unknown])
        with pytest.raises(NotFoundError):
            store.dead_letter("orders", unknown)
    assert counted(store) == 1


def test_values_of_every_type_come_back_from_a_replay_as_they_were_pushed(store: FeatureStore) -> None:
    types = {"d": "date", "b": "binary", "m": "decimal(10,2)", "t": "time", "p": "duration", "f": "float64"}
    define(store, {**SCHEMA, **types, "l": "list<int64>"}, max_skew="1h")
    clock = store.clock
    assert isinstance(clock, FixedClock)
    pushed = {
        "d": NOW.date(),
        "b": b"\x00\xff",
        "m": Decimal("9.50"),
        "t": NOW.time(),
        "p": NOW - datetime(2026, 2, 27, tzinfo=UTC),
        "f": float("inf"),
        "l": [1, None],
    }
    store.push("orders", [row(ts=datetime(2026, 3, 1, 14, 0, 0, 123_456, UTC), **pushed)])
    clock.set(to_us(NOW) + 4 * 3_600_000_000)
    assert store.replay_dead_letters("orders").taken == 1
    [(_, rows)] = store.log.of("orders").read(1, 2)
    [found] = rows.select([*pushed, "ts"]).to_pylist()
    assert found == {**pushed, "ts": datetime(2026, 3, 1, 14, 0, 0, 123_456, UTC)}


class CutError(Exception):
    """The process ends here."""


@dataclass
class Cut:
    """Cuts a method off, before or after it is done."""

    target: Any
    name: str
    after: bool

    def during(self, work: Callable[[], Any]) -> None:
        real = getattr(type(self.target), self.name)

        def done(*arguments: Any, **more: Any) -> Any:
            if self.after:
                real(*arguments, **more)
            raise CutError

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(self.target), self.name, done)
            with pytest.raises(CutError):
                work()


WRITES = [("letters", "keep"), ("letters", "begin_replay"), ("log", "append"), ("online", "update")]
WRITES += [("letters", "forget"), ("letters", "end_replay")]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("what", "method"), WRITES)
@pytest.mark.parametrize("between", [False, True])
def test_a_replay_that_is_cut_off_and_repeated_counts_a_row_once(
    store: FeatureStore, what: str, method: str, after: bool, between: bool
) -> None:
    """Also where other rows, some of them bad, are pushed between."""
    define(store, max_skew="1h")
    store.push("orders", [row(ts="2026-03-01T14:00:00Z"), row(ts="2026-03-01T15:00:00Z"), row(ts=None)])
    assert isinstance(store.clock, FixedClock)
    store.clock.set(to_us(NOW) + 4 * 3_600_000_000)
    places = {"letters": store._letters().of("orders"), "log": store.log.of("orders"), "online": store.online}
    Cut(places[what], method, after).during(lambda: store.replay_dead_letters("orders"))
    store._writers.clear()
    if between:
        assert store.push("orders", [row(), row(ts=None)]).taken == 1
    store.replay_dead_letters("orders")
    assert counted(store) == 2 + between
    assert store.log.of("orders").head().rows == 2 + between
    assert store.dead_letters("orders").total == 1 + between


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("what", "method"), [("letters", "keep"), ("log", "append"), ("online", "update")])
def test_a_push_that_is_cut_off_and_repeated_leaves_its_letters_once(
    store: FeatureStore, what: str, method: str, after: bool
) -> None:
    """Once it is in the log the caller knows no better, and its rows come again; letters of a lost try are not seen."""
    places = {"letters": store._letters().of("orders"), "log": store.log.of("orders"), "online": store.online}
    store.ingestor("orders")
    Cut(places[what], method, after).during(lambda: store.push("orders", [row(), row(ts=None)]))
    kept = store.log.of("orders").head().sequence
    assert store.dead_letters("orders").total == kept
    store._writers.clear()
    store.push("orders", [row(), row(ts=None)])
    assert store.dead_letters("orders").total == kept + 1


def test_letters_of_a_push_that_failed_are_gone_with_the_next_good_one(store: FeatureStore) -> None:
    Cut(store.log.of("orders"), "append", after=False).during(lambda: store.push("orders", [row(ts=None)]))
    store.push("orders", [row()])
    assert store.dead_letters("orders").total == 0


class Csv:
    """Decodes messages as "customer,amount"."""

    schema = pa.schema([("customer_id", pa.int64()), ("amount", pa.float64()), ("ts", pa.timestamp("us", "UTC"))])

    def decode(self, values: pa.BinaryArray) -> Decoded:
        rows, index, failures = [], [], {}
        for at, value in enumerate(values.to_pylist()):
            try:
                customer, amount = value.decode().split(",")
                rows.append({"customer_id": int(customer), "amount": float(amount), "ts": NOW.replace(hour=9)})
                index.append(at)
            except ValueError as error:
                failures[at] = str(error)
        return Decoded(pa.Table.from_pylist(rows, self.schema), pa.array(index, pa.int64()), failures)


def messages(values: list[bytes], start: int = 0) -> Batch:
    """Return what a worker passes on: the rows that it could decode, and the messages that it could not."""
    decoded = Csv().decode(pa.array(values, pa.binary()))
    index = decoded.index.to_pylist()
    return Batch(
        decoded.rows,
        partition=pa.array(["0"] * len(index)),
        position=pa.array([start + at for at in index], pa.int64()),
        positions={"0": start + len(values)},
        undecoded=[Undecoded("0", start + at, why, values[at], 77) for at, why in decoded.failures.items()],
        originals=lambda rows: [values[index[at]] for at in rows],
        sent_at_us=pa.array([77] * len(index), pa.int64()),
    )


def ingestor(store: FeatureStore) -> Ingestor:
    return store.ingestor("orders").ingestor


def replayed(store: FeatureStore, ids: list[str] | None = None) -> Replayed:
    return replay(ingestor(store), store._letters().of("orders"), ids, Csv())


def test_messages_are_kept_with_their_position_and_bytes(store: FeatureStore) -> None:
    """Those that are no rows, and those whose rows are refused, which come first."""
    define(store, {**SCHEMA, "note": "string"}, event_id="note")
    done = ingestor(store).take_in(messages([b"1,2.5", b"\xff\x00", b"1,3"], start=10))
    assert (done.taken, done.set_apart) == (0, 3)
    found = [store.dead_letter("orders", f"1-{n}") for n in range(3)]
    assert [(one.partition, one.position, one.sent_at_us, one.value) for one in found] == [
        ("0", 10, 77, b"1,2.5"),
        ("0", 12, 77, b"1,3"),
        ("0", 11, 77, b"\xff\x00"),
    ]
    assert [one.reason for one in found[:2]] == ["event id is null"] * 2


def test_redelivered_messages_leave_no_second_letter(store: FeatureStore) -> None:
    """Whether all of a batch comes again, or some of it with others."""
    values = [b"1,1", b"bad", b"1,2", b"worse"]
    ingestor(store).take_in(messages(values))
    assert ingestor(store).take_in(messages(values)).set_apart == 0
    assert ingestor(store).take_in(messages([b"worse", b"1,3", b"worst"], start=3)).set_apart == 1
    assert [one.position for one in store.dead_letters("orders").letters] == [5, 3, 1]
    assert counted(store) == 3


def test_known_refusals_are_kept_where_a_part_of_the_batch_came_before(store: FeatureStore) -> None:
    first = messages([b"1,1", b"1,2"])
    ingestor(store).take_in(first)
    again = messages([b"1,1", b"1,2", b"1,3", b"1,4"])
    known = Batch(again.rows, again.partition, again.position, again.positions, {3: "no"}, originals=again.originals)
    done = ingestor(store).take_in(known)
    assert (done.taken, done.repeated, done.refused) == (1, 2, {3: "no"})
    assert store.dead_letter("orders", "2-0").value == b"1,4"


def test_messages_and_pushed_rows_are_replayed_by_what_they_are(store: FeatureStore) -> None:
    store.push("orders", [row(ts=None)])
    ingestor(store).take_in(messages([b"1,x", b"7"]))
    letters = store._letters().of("orders")
    [poison, other] = letters.read(2)
    letters.keep(2, [dataclasses.replace(poison, value=b"1,5"), other])
    done = replayed(store)
    assert (done.taken, sorted(done.refused)) == (1, ["1-0", "2-1"])
    assert counted(store) == 1


def test_messages_in_a_format_that_cannot_be_decoded_here_stay(store: FeatureStore) -> None:
    """Avro needs the schemas of its messages, and this project names no registry."""
    define(store, topic="orders", format="avro")
    ingestor(store).take_in(messages([b"bad"]))
    with pytest.raises(ConfigError, match=r"(?i)avro"):
        store.replay_dead_letters("orders")
    assert store.dead_letters("orders").total == 1


def test_of_two_replays_at_once_one_takes_the_letters(store: FeatureStore) -> None:
    """Whoever comes second is told, and takes nothing."""
    define(store, max_skew="1h")
    store.push("orders", [row(ts="2026-03-01T14:00:00Z")])
    assert isinstance(store.clock, FixedClock)
    store.clock.set(to_us(NOW) + 4 * 3_600_000_000)
    letters = store._letters().of("orders")
    late = ingestor(store)
    take_in = late.take_in

    def after_another(*arguments: Any) -> Any:
        letters.forget(["1-0"])
        return take_in(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(late, "take_in", after_another)
        with pytest.raises(ConflictError):
            store.replay_dead_letters("orders")
    assert store.log.of("orders").head().rows == 0


def test_a_replay_that_the_log_does_not_have_is_forgotten(store: FeatureStore) -> None:
    store.push("orders", [row(ts=None)])
    letters = store._letters().of("orders")
    letters.begin_replay(Replaying(1, ("1-0",)))
    assert store.dead_letters("orders").total == 1
    store.replay_dead_letters("orders")
    assert letters.replaying() is None
    assert store.dead_letters("orders").total == 1


def test_files_that_are_no_dead_letters_are_named(store: FeatureStore) -> None:
    store.push("orders", [row(ts=None)])
    folder = store.config.root / ".asof" / "offline" / "deadletter" / "orders"
    (folder / "replaying.json").write_text("torn", encoding="utf-8")
    with pytest.raises(CorruptDataError, match=r"replaying\.json"):
        store.replay_dead_letters("orders")
    (folder / "replaying.json").unlink()
    (folder / "000000000001.parquet").write_text("torn", encoding="utf-8")
    with pytest.raises(CorruptDataError, match="does not hold dead letters"):
        store.dead_letters("orders")
