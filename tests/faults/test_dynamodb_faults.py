"""DynamoDB: what is left by changes that were broken off, by writers thought dead, and what its limits refuse."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from asof.backends.dynamodb import generations as generations_module
from asof.backends.dynamodb import open_store
from asof.backends.dynamodb.layout import LARGEST, pointers_key
from asof.errors import ConfigError, ConflictError, StoreError, UnsupportedOperationError
from asof.testing.conformance.online import OTHER, VIEW, begin, change, fill, values
from tests.servers.proxy import proxied

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asof.backends.dynamodb.store import DynamoStore
    from tests.servers.dynamodb import DynamoServer
    from tests.servers.proxy import Fault

_numbers = itertools.count(1)
pytestmark = pytest.mark.slow


class CutError(Exception):
    """The process ends here, as far as the table can tell."""


@pytest.fixture
def url(dynamodb_server: DynamoServer) -> str:
    return dynamodb_server.url(f"faults-{next(_numbers)}")


@pytest.fixture
def store(url: str) -> Iterator[DynamoStore]:
    store = open_store(url, Path("/"))
    yield store
    store.close()


@contextmanager
def cut_after(store: DynamoStore, writes: int) -> Iterator[None]:
    """Let so many conditional writes through; the next one ends the process."""
    left = itertools.count(writes, -1)
    real = store._connection.update

    def update(*arguments: Any) -> Any:
        if next(left) <= 0:
            raise CutError
        return real(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store._connection, "update", update)
        patch.setattr(store._connection, "side_by_side", lambda work, parts: [work(part) for part in parts])
        yield


@pytest.mark.parametrize("writes", range(6))
def test_a_change_that_is_broken_off_shows_nowhere_and_can_be_tried_again(
    store: DynamoStore, url: str, writes: int
) -> None:
    """Before and after each of its writes; then the same change, or another one of other keys."""
    for view in (VIEW, OTHER):
        begin(store, view, {b"a": b"0", b"b": b"0"})
    other = open_store(url, Path("/"))
    for entry, again in ((0, True), (1, False)):
        old = [values(other, view, [b"a", b"b", b"c"]) for view in (VIEW, OTHER)]
        new: dict[bytes, bytes | None] = {b"a": b"%d" % (entry + 1), b"c": b"new"}
        updates = [change(view, new, entry=entry) for view in (VIEW, OTHER)]
        with cut_after(store, writes), pytest.raises(CutError):
            store.update(updates)
        assert [values(other, view, [b"a", b"b", b"c"]) for view in (VIEW, OTHER)] == old
        if not again:
            updates = [change(view, {b"b": None}, entry=entry) for view in (VIEW, OTHER)]
        other.update(updates)
        expected = [b"1", b"0", b"new"] if again else [b"1", None, b"new"]
        assert [values(store, view, [b"a", b"b", b"c"]) for view in (VIEW, OTHER)] == [expected, expected]
        assert {one.keys for one in store.generations("shop").values()} == {3 if again else 2}
    other.close()


@pytest.mark.parametrize("key", [b"a", b"b", b"new"])
def test_what_a_writer_thought_dead_still_writes_never_counts(store: DynamoStore, url: str, key: bytes) -> None:
    """It took its number, another one took over and finished, then it goes on: with that one's key, or another."""
    begin(store, VIEW, {b"a": b"0", b"b": b"0"})
    other = open_store(url, Path("/"))
    real = store._updater._write

    def late(*arguments: Any) -> int:
        other.update([change(VIEW, {b"a": b"right"}, entry=0)])
        return real(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store._updater, "_write", late)
        with pytest.raises(ConflictError, match="changed while"):
            store.update([change(VIEW, {key: b"wrong"}, entry=0)])
    assert values(store, VIEW, [b"a", b"b", b"new"]) == [b"right", b"0", None]
    other.update([change(VIEW, {key: b"next"}, entry=1)])
    expected: dict[bytes, bytes | None] = {b"a": b"right", b"b": b"0", b"new": None, key: b"next"}
    assert values(store, VIEW, list(expected)) == list(expected.values())
    assert store.generations("shop")[VIEW].keys == 2 + (key == b"new")
    other.close()


def test_of_two_that_write_the_same_change_one_is_refused(store: DynamoStore, url: str) -> None:
    """Both wrote the same values under the same number; one of them counted them."""
    begin(store, VIEW, {b"a": b"0"})
    other = open_store(url, Path("/"))
    real = store._updater._write

    def late(*arguments: Any) -> int:
        other.update([change(VIEW, {b"a": b"1"}, entry=0)])
        return real(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store._updater, "_write", late)
        with pytest.raises(ConflictError, match="changed while"):
            store.update([change(VIEW, {b"a": b"1"}, entry=0)])
    assert values(store, VIEW, [b"a"]) == [b"1"]
    other.close()


def test_a_change_that_is_broken_off_again_and_again_takes_one_number(store: DynamoStore) -> None:
    """A worker that repeats it for hours does not fill the list of numbers that never count; others would."""
    begin(store, VIEW, {b"a": b"0"})
    for _ in range(3):
        with cut_after(store, 1), pytest.raises(CutError):
            store.update([change(VIEW, {b"a": b"1"}, entry=0)])
    assert store._reader.pointers("shop").views[VIEW].aborted == ()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asof.backends.dynamodb.updating._MOST_ABORTED", 0)
        with pytest.raises(StoreError, match=r"broken off.*Materialize"):
            store.update([change(VIEW, {b"a": b"2"}, entry=0)])
    store.update([change(VIEW, {b"a": b"1"}, entry=0)])
    assert values(store, VIEW, [b"a"]) == [b"1"]


def test_a_generation_that_was_abandoned_is_deleted_and_cannot_be_switched_in(
    store: DynamoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the next writer, once nothing was written for an hour."""
    with store.write(VIEW) as slow:
        slow.put(pa.array([b"a"], pa.binary()), pa.array([b"1"], pa.binary()))
        monkeypatch.setattr(generations_module, "_DEAD_AFTER_S", -1)
        fill(store, OTHER, {b"a": b"2"})
        assert slow.get([b"a"]) == [None]
        with pytest.raises(StoreError, match="removed before"):
            slow.commit(100, 100, "meaning")
    assert set(store.generations("shop")) == {OTHER}
    item = store._connection.get(pointers_key("shop"))
    assert item is not None
    assert sorted(item) == ["k", "s", "v:profile@1"]


def test_a_lock_is_taken_over_from_a_holder_that_shows_no_life(
    store: DynamoStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asof.backends.dynamodb.lease._LEASE_S", 0.2)
    other = open_store(url, Path("/"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asof.backends.dynamodb.lease._Lease.keep", lambda *_: None)
        with store.exclusive("shop", "orders"), other.exclusive("shop", "orders"):
            pass
    other.close()


def test_a_lock_whose_holder_lives_is_waited_for(store: DynamoStore, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asof.backends.dynamodb.lease._WAIT_S", 0.3)
    other = open_store(url, Path("/"))
    with (
        store.exclusive("shop", "orders"),
        pytest.raises(StoreError, match="Somebody else"),
        other.exclusive("shop", "orders"),
    ):
        pass
    other.close()


def test_a_value_that_no_item_holds_twice_is_refused(store: DynamoStore) -> None:
    """Large ones are kept, and changed; the server of the tests counts a change's bytes by more than DynamoDB does."""
    large, larger = b"xy" * 50_000, b"x" * (LARGEST + 1)
    begin(store, VIEW, {b"k" * 1200: large})
    store.update([change(VIEW, {b"k" * 1200: large[::-1]}, entry=0)])
    assert values(store, VIEW, [b"k" * 1200, b"k" * 1100]) == [large[::-1], None]
    with pytest.raises(UnsupportedOperationError, match=r"spend@1 has 190001 bytes"):
        store.update([change(VIEW, {b"a": larger}, entry=1)])
    with pytest.raises(UnsupportedOperationError, match="400 KB"):
        fill(store, OTHER, {b"a": larger})
    assert set(store.generations("shop")) == {VIEW}


def test_requests_that_the_table_left_out_are_repeated(store: DynamoStore) -> None:
    """Of reads and of writes."""
    client = store._connection._now()[0]
    read, write = client.batch_get_item, client.batch_write_item

    def some(RequestItems: Any) -> Any:
        [(table, wanted)] = RequestItems.items()
        first, rest = wanted["Keys"][:10], wanted["Keys"][10:]
        answer = read(RequestItems={table: {**wanted, "Keys": first}})
        return {**answer, "UnprocessedKeys": {table: {**wanted, "Keys": rest}} if rest else {}}

    def few(RequestItems: Any) -> Any:
        [(table, wanted)] = RequestItems.items()
        write(RequestItems={table: wanted[:5]})
        return {"UnprocessedItems": {table: wanted[5:]} if wanted[5:] else {}}

    pairs: dict[bytes, bytes | None] = {b"%03d" % n: b"%d" % n for n in range(60)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "batch_write_item", few)
        patch.setattr(client, "batch_get_item", some)
        fill(store, VIEW, pairs)
        assert values(store, VIEW, list(pairs)) == list(pairs.values())


def test_a_table_that_never_has_capacity_is_a_store_error(store: DynamoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while, and nothing is answered in part."""
    fill(store, VIEW, {b"a": b"1"})
    client = store._connection._now()[0]
    monkeypatch.setattr("asof.backends.dynamodb.connection._REPEAT_S", 0.0)
    monkeypatch.setattr(
        client, "batch_get_item", lambda RequestItems: {"Responses": {}, "UnprocessedKeys": RequestItems}
    )
    with pytest.raises(StoreError, match="no capacity"):
        values(store, VIEW, [b"a"])


def test_a_missing_table_is_never_an_empty_store(dynamodb_server: DynamoServer) -> None:
    """Nor is it made unless the URL says so."""
    store = open_store(f"dynamodb://absent?region=eu-west-1&endpoint={dynamodb_server.endpoint}", Path("/"))
    with pytest.raises(StoreError, match="create=true"):
        store.read([(VIEW, [b"a"])])
    with pytest.raises(StoreError, match="create=true"):
        store.write(VIEW)
    store.close()


def test_a_service_that_cannot_be_reached_is_a_store_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setattr("asof.backends.dynamodb.connection._ATTEMPTS", 1)
    store = open_store("dynamodb://table?region=eu-west-1&endpoint=http://127.0.0.1:9&timeout=1", Path("/"))
    with pytest.raises(StoreError, match="reached"):
        store.read([(VIEW, [b"a"])])
    store.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("dynamodb://", "names? a DynamoDB table|not name"),
        ("dynamodb://table/path", "not name"),
        ("dynamodb://user:secret@table", "holds a login"),
        ("dynamodb://table?zone=x", "no option 'zone'"),
        ("dynamodb://table?create=yes", "create=true"),
        ("dynamodb://table?timeout=soon", "seconds"),
        ("dynamodb://table?timeout=0", "no time"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_store(url, Path("/"))


def test_what_is_written_after_a_writer_gave_up_is_deleted_an_hour_later(
    store: DynamoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that nobody waits for any more may come through, after the values were deleted."""
    late: list[Any] = []
    real = store._connection._write

    def lost(requests: Any) -> None:
        late.append(requests)
        raise StoreError("No answer", fix="Try again.")

    writer = store.write(VIEW)
    monkeypatch.setattr(store._connection, "_write", lost)
    with pytest.raises(StoreError, match="No answer"), writer:
        writer.put(pa.array([b"a"], pa.binary()), pa.array([b"x"], pa.binary()))
    monkeypatch.setattr(store._connection, "_write", real)
    real(late[0])
    key = late[0][0]["PutRequest"]["Item"]
    assert store._connection.get((key["k"]["B"], key["s"]["B"])) is not None
    monkeypatch.setattr(generations_module, "_DEAD_AFTER_S", -1)
    with store.write(VIEW):
        pass
    assert store._connection.get((key["k"]["B"], key["s"]["B"])) is None
    assert not store._reader.pointers("shop").records


@pytest.mark.parametrize("fault", ["refuse", "lose", "cut"])
def test_a_request_that_is_cut_off_is_repeated_and_counts_once(dynamodb_server: DynamoServer, fault: Fault) -> None:
    """Reads, and each of the conditional writes that an update makes: one that meets what it wrote itself is done."""
    with proxied(dynamodb_server.port) as proxy:
        url = dynamodb_server.url(f"faults-{next(_numbers)}").replace(str(dynamodb_server.port), str(proxy.port))
        store = open_store(url, Path("/"))
        for view in (VIEW, OTHER):
            begin(store, view, {b"a": b"0"})
        proxy.arm(fault, b"BatchGetItem")
        assert values(store, VIEW, [b"a", b"b"]) == [b"0", None]
        proxy.arm(fault, b"UpdateItem", times=2)
        store.update([change(view, {b"a": b"1", b"b": b"2"}, entry=0) for view in (VIEW, OTHER)])
        assert [values(store, view, [b"a", b"b"]) for view in (VIEW, OTHER)] == [[b"1", b"2"]] * 2
        assert {one.keys for one in store.generations("shop").values()} == {2}
        with pytest.raises(ConflictError):
            store.update([change(VIEW, {b"a": b"again"}, entry=0)])
        store.close()


def test_an_answer_that_breaks_off_in_its_headers_is_never_an_empty_one(dynamodb_server: DynamoServer) -> None:
    """Not even if that happens again and again: the client takes it for a table without such an item."""
    with proxied(dynamodb_server.port) as proxy:
        url = dynamodb_server.url(f"faults-{next(_numbers)}").replace(str(dynamodb_server.port), str(proxy.port))
        store = open_store(url, Path("/"))
        fill(store, VIEW, {b"a": b"0"})
        for part in (b"GetItem", b"BatchGetItem"):
            other = open_store(url, Path("/"))
            if part == b"BatchGetItem":
                assert values(other, VIEW, [b"a"]) == [b"0"]
            proxy.arm("cut", part, times=4)
            with pytest.raises(StoreError, match="Connection was closed") as caught:
                other.read([(VIEW, [b"a"])])
            assert caught.value.retryable
            assert values(other, VIEW, [b"a"]) == [b"0"]
            other.close()
        store.close()


def test_a_service_that_is_gone_is_left_alone_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """After three reads that failed the next ones fail at once."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setattr("asof.backends.dynamodb.connection._ATTEMPTS", 1)
    store = open_store("dynamodb://table?region=eu-west-1&endpoint=http://127.0.0.1:9&timeout=1", Path("/"))
    for _ in range(3):
        with pytest.raises(StoreError, match="could not be read"):
            store.read([(VIEW, [b"a"])])
    assert store.circuit.state().state == "open"
    with pytest.raises(StoreError, match="left alone for a moment"):
        store.read([(VIEW, [b"a"])])
    store.close()
