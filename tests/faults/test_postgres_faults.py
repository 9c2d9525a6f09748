"""A PostgreSQL that is cut off, slow, away or a replica: errors that say so, and nothing half-written or twice."""

from __future__ import annotations

import itertools
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from asof.backends.postgres import open_store
from asof.errors import ConflictError, StoreError
from asof.interfaces.online import Progress, RemoteStore, Update
from asof.testing.conformance.online import OTHER, VIEW, fill, values
from tests.servers.processes import free_ports
from tests.servers.proxy import proxied

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asof.interfaces import OnlineStore
    from asof.interfaces.online import ViewKey
    from tests.servers.postgres import PostgresServer
    from tests.servers.proxy import Fault, Proxy

ROOT = Path("/")
_numbers = itertools.count(1)
pytestmark = pytest.mark.slow


@pytest.fixture
def schema(postgres_server: PostgresServer) -> Iterator[str]:
    name = f"faults_{next(_numbers)}"
    yield name
    postgres_server.forget(name)


@pytest.fixture
def proxy(postgres_server: PostgresServer) -> Iterator[Proxy]:
    with proxied(postgres_server.port) as proxy:
        yield proxy


@pytest.fixture
def reached(proxy: Proxy, schema: str) -> Iterator[OnlineStore]:
    """A store through the proxy, with two views that take arrivals."""
    store = open_store(f"postgresql://127.0.0.1:{proxy.port}/asof?schema={schema}", ROOT)
    for view in (VIEW, OTHER):
        with store.write(view) as writer:
            writer.put(pa.array([b"a"], pa.binary()), pa.array([b"old"], pa.binary()))
            writer.commit(100, 105, "meaning", Progress(0))
    yield store
    store.close()


def update(view: ViewKey = VIEW, entry: int = 0) -> Update:
    return Update(
        view=view,
        generation=1,
        entry=entry,
        keys=pa.array([b"a"], pa.binary()),
        values=pa.array([b"new%d" % entry], pa.binary()),
        instant_us=100 + entry,
        progress=Progress(entry + 1),
    )


@pytest.mark.parametrize("fault", ["refuse", "lose", "cut"])
def test_a_read_that_is_cut_off_is_asked_again(reached: OnlineStore, proxy: Proxy, fault: Fault) -> None:
    """Its connection may have been dead for long; a new one is not."""
    assert values(reached, VIEW, [b"a"]) == [b"old"]
    proxy.arm(fault, b"asof_pointers")
    assert values(reached, VIEW, [b"a"]) == [b"old"]


@pytest.mark.parametrize("fault", ["hold", "drip"])
def test_a_read_ends_when_its_time_is_up(reached: OnlineStore, proxy: Proxy, schema: str, fault: Fault) -> None:
    """Whether the server is silent or answers too slowly."""
    fill(reached, VIEW, {b"a": b"x" * 10_000}, instant_us=200)
    hasty = open_store(f"postgresql://127.0.0.1:{proxy.port}/asof?schema={schema}&timeout=50ms", ROOT)
    assert values(hasty, VIEW, [b"a"]) == [b"x" * 10_000]
    proxy.arm(fault, b"asof_")
    begun = time.monotonic()
    with pytest.raises(StoreError, match="did not answer") as caught:
        hasty.read([(VIEW, [b"a"])])
    assert caught.value.retryable
    assert time.monotonic() - begun < 10
    hasty.close()


@pytest.mark.parametrize("fault", ["refuse", "lose"])
def test_an_update_whose_outcome_is_unknown_is_written_whole_or_not_at_all(
    reached: OnlineStore, proxy: Proxy, fault: Fault
) -> None:
    """It is tried again on a new connection, and refused there if it had been written; both views have it, once."""
    proxy.arm(fault, b"COMMIT")
    with suppress(ConflictError):
        reached.update([update(VIEW), update(OTHER)])
    found = reached.read([(VIEW, [b"a"]), (OTHER, [b"a"])])
    assert [list(one.values) for one in found] == [[b"new0"]] * 2
    assert [one.generation.progress for one in found if one.generation is not None] == [Progress(1)] * 2
    with pytest.raises(ConflictError):
        reached.update([update(VIEW)])
    reached.update([update(VIEW, entry=1)])


def test_a_generation_that_is_cut_off_leaves_the_old_one(reached: OnlineStore, proxy: Proxy) -> None:
    """Its transaction ends with its connection."""
    with reached.write(VIEW) as writer:
        proxy.switch(proxy.target)
        with pytest.raises(StoreError, match="could not be written"):
            writer.put(pa.array([b"a"], pa.binary()), pa.array([b"new"], pa.binary()))
    assert values(reached, VIEW, [b"a"]) == [b"old"]


def test_a_server_that_is_gone_is_left_alone_and_found_again(reached: OnlineStore, proxy: Proxy) -> None:
    """After three reads that failed the next ones fail at once."""
    assert isinstance(reached, RemoteStore)
    before = proxy.target
    [nobody] = free_ports(1)
    proxy.switch(nobody)
    for _ in range(3):
        with pytest.raises(StoreError, match="could not be read"):
            reached.read([(VIEW, [b"a"])])
    with pytest.raises(StoreError, match="left alone for a moment"):
        reached.read([(VIEW, [b"a"])])
    proxy.switch(before)
    until_s = time.monotonic() + 30
    while reached.circuit.state().state != "closed":
        assert time.monotonic() < until_s
        with suppress(StoreError):
            assert values(reached, VIEW, [b"a"]) == [b"old"]


def test_a_replica_is_read_but_writes_wait_for_the_failover(
    reached: OnlineStore, postgres_server: PostgresServer, proxy: Proxy
) -> None:
    """They fail with an error worth a retry, and succeed once it is the primary."""
    with postgres_server.connect() as connection:
        connection.execute("ALTER DATABASE asof SET default_transaction_read_only = on")
        try:
            proxy.switch(proxy.target)  # sessions that begin from now on may not write, as on a standby
            with pytest.raises(StoreError, match="read-only") as caught:
                reached.update([update()])
            assert caught.value.retryable
            assert values(reached, VIEW, [b"a"]) == [b"old"]
        finally:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute("ALTER DATABASE asof RESET default_transaction_read_only")
    proxy.switch(proxy.target)
    reached.update([update()])
    assert values(reached, VIEW, [b"a"]) == [b"new0"]
