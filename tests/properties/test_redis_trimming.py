"""Whatever is trimmed from a Redis stream: what a reader has not read comes, or its loss is an error."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from asof.backends.redis import open_stream
from asof.errors import StreamDataLossError

if TYPE_CHECKING:
    from tests.servers.redis import RedisServer

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 3)),
        st.tuples(st.just("add"), st.none()),
        st.tuples(st.just("trim"), st.integers(0, 3)),
        st.tuples(st.just("delete"), st.integers(0, 3)),
        st.tuples(st.just("read"), st.integers(1, 3)),
        st.tuples(st.just("restart"), st.none()),
    ),
    max_size=12,
)


class Model:
    """A stream as a list of numbers, and one reader of it."""

    def __init__(self) -> None:
        self.left: list[int] = []
        self.added = 0
        self.unread: list[int] = []
        self.lost = False
        self.sure = True  # nothing was deleted, and the reader was there all the time

    def add(self, keep: int | None) -> None:
        self.left.append(self.added)
        self.unread.append(self.added)
        self.added += 1
        if keep is not None:
            self.trim(keep)

    def trim(self, keep: int) -> None:
        gone = set(self.left[: max(0, len(self.left) - keep)])
        self.left = [entry for entry in self.left if entry not in gone]
        self.lost = self.lost or bool(gone & set(self.unread))

    def delete(self, which: int) -> int | None:
        if which >= len(self.left):
            return None
        entry = self.left.pop(which)
        self.unread = [other for other in self.unread if other != entry]
        self.sure = False
        return entry


@given(STEPS)
def test_unread_entries_come_or_their_loss_is_an_error(redis_server: RedisServer, steps: list[tuple[str, Any]]) -> None:
    """And it is one only then, as long as the reader was there and nobody deleted single entries."""
    topic = uuid.uuid4().hex
    backend = open_stream(redis_server.url, Path("/"))
    model = Model()
    positions: dict[str, int] = {}
    ids: list[bytes] = []
    with redis.Redis(redis_server.host, redis_server.port) as client:
        client.xgroup_create(topic, "asof", "$", mkstream=True)
        member = backend.consume(topic, "g", lambda _: positions)
        member.poll(max_messages=1, max_bytes=99, timeout_s=0)
        member.seek("0", 0)  # from the very first entry on, rather than from the oldest one
        positions["0"] = 0
        try:
            for step, argument in [*steps, ("read", 99)]:
                if step == "add":
                    options = {} if argument is None else {"maxlen": argument, "approximate": False}
                    place = f"{model.added // 2 + 1}-{model.added % 2}"  # some follow at once, some do not
                    ids.append(client.xadd(topic, {"value": b"%d" % model.added}, id=place, **options))
                    model.add(argument)
                elif step == "trim":
                    client.xtrim(topic, maxlen=argument, approximate=False)
                    model.trim(argument)
                elif step == "delete":
                    if (entry := model.delete(argument)) is not None:
                        client.xdel(topic, ids[entry])
                elif step == "restart":
                    member.close()
                    member = backend.consume(topic, "g", lambda _: positions)
                    model.sure = False
                elif model.lost:
                    with pytest.raises(StreamDataLossError):
                        member.poll(max_messages=argument, max_bytes=99, timeout_s=0)
                    return
                else:
                    try:
                        found = member.poll(max_messages=argument, max_bytes=99, timeout_s=0)
                    except StreamDataLossError:
                        assert not model.sure
                        return
                    expected, model.unread = model.unread[:argument], model.unread[argument:]
                    assert [int(value) for value in found.value.to_pylist()] == expected
                    if expected:
                        positions["0"] = found.position[-1].as_py() + 1
        finally:
            member.close()
            client.delete(topic)
