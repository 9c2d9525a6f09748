"""Reads the keys of one topic as a member of a group, from positions that are kept elsewhere."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from redis import exceptions

from asof.backends.redis.failures import consuming
from asof.backends.redis.streams.cursor import Cursor
from asof.backends.redis.streams.ids import sent_at_us, to_id, to_position
from asof.errors import InputError, StreamDataLossError, StreamError
from asof.interfaces import Messages

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from redis import Redis

    from asof.backends.redis.streams.cursor import Entry
    from asof.backends.redis.streams.membership import Membership
    from asof.interfaces import Positions

_CHUNK = 2000
_MAX_BYTES = 2**30
_FIRST_GUESS_BYTES = 1024


class RedisConsumer:
    """One member of a group. Every read is by position, so that nothing fetched is kept between polls."""

    def __init__(
        self,
        client: Redis,
        topic: str,
        keys: Mapping[str, str],
        positions: Positions,
        membership: Membership,
        wait_s: float,
    ) -> None:
        """Prepare; the first poll joins. One poll waits at most `wait_s`, so that the lease is renewed in time."""
        self._client = client
        self._topic = topic
        self._keys = keys
        self._positions = positions
        self._membership = membership
        self._wait_s = wait_s
        self._cursors: dict[str, Cursor] = {}
        self._usual_bytes = float(_FIRST_GUESS_BYTES)
        self._closed = False

    def poll(self, *, max_messages: int, max_bytes: int, timeout_s: float) -> Messages:
        """Return what has come: at most `max_messages`, and at most `max_bytes` of values or one message.

        Raises:
            StreamError: the server cannot be reached; a retry may help.
            StreamDataLossError: the entries at a partition's position are gone.
            StreamRefusedError: the server refuses this user, or an entry has no position.
        """
        self._check_open()
        with consuming(self._topic):
            self._rebalance()
            room = min(max_bytes, _MAX_BYTES)
            taken = self._read(max_messages, room)
            if not taken and timeout_s > 0:
                self._wait(min(timeout_s, self._wait_s))
                taken = self._read(max_messages, room)
        return _columns(taken)

    def assigned(self) -> frozenset[str]:
        """Return the partitions that this member reads now."""
        return frozenset(self._cursors)

    def seek(self, partition: str, position: int) -> None:
        """Go on at this position.

        Raises:
            InputError: this member does not read that partition.
        """
        self._check_open()
        if partition not in self._cursors:
            raise InputError(
                f"Partition {partition!r} of {self._topic!r} is not read by this member",
                fix="Seek in a partition that assigned() names.",
            )
        self._cursors[partition] = Cursor(self._keys[partition], position, anchored=True)

    def end_positions(self) -> Mapping[str, int]:
        """Return the position after the newest entry of each assigned partition, in one round trip.

        Where that is gone, it is this member's own position, or 0 before its first entry.
        """
        self._check_open()
        with consuming(self._topic):
            pipeline = self._client.pipeline(transaction=False)
            for cursor in self._cursors.values():
                pipeline.xrevrange(cursor.key, count=1)
            newest = pipeline.execute()
        ends = [to_position(entries[0][0]) + 1 if entries else 0 for entries in newest]
        return {name: max(end, cursor.next) for (name, cursor), end in zip(self._cursors.items(), ends, strict=True)}

    def topic_ends(self) -> Mapping[str, int]:
        """Return the position after the newest entry of each partition, 0 where there is none, in one round trip."""
        self._check_open()
        with consuming(self._topic):
            pipeline = self._client.pipeline(transaction=False)
            for key in self._keys.values():
                pipeline.xrevrange(key, count=1)
            newest = pipeline.execute()
        ends = [to_position(entries[0][0]) + 1 if entries else 0 for entries in newest]
        return dict(zip(self._keys, ends, strict=True))

    def close(self) -> None:
        """Leave the group, so that others take over at once; more than once is fine."""
        if not self._closed:
            self._closed = True
            self._cursors.clear()
            with suppress(exceptions.RedisError):  # the lease ends by itself
                self._membership.leave()
            self._client.close()

    def __enter__(self) -> RedisConsumer:
        """Start."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _rebalance(self) -> None:
        kept, owned = self._membership.renew()
        for partition in self._cursors.keys() - (owned if kept else frozenset()):
            del self._cursors[partition]
        if new := owned - self._cursors.keys():
            known = self._positions(new)
            for partition in sorted(new):
                start = known.get(partition)
                self._cursors[partition] = Cursor(self._keys[partition], start or 0, anchored=start is not None)

    def _read(self, max_messages: int, room: int) -> list[tuple[str, Entry]]:
        """Take entries by rounds over the partitions that have more, so that none of them waits for another."""
        taken: list[tuple[str, Entry]] = []
        active = dict(self._cursors)
        while active and len(taken) < max_messages and room > 0:
            wanted = min(_CHUNK, max_messages - len(taken), int(room / self._usual_bytes) + 1)
            share = -(-wanted // len(active))
            try:
                found = self._round(active, share)
            except StreamDataLossError:
                if taken:
                    break  # the next poll meets it again
                raise
            for partition, entries in found.items():
                fitting = _fitting(entries[: max_messages - len(taken)], room, alone=not taken)
                room -= sum(size for _, size, _ in fitting)
                active[partition].advance(fitting)
                taken.extend((partition, entry) for entry in fitting)
                if len(fitting) < share:
                    del active[partition]
        if taken:
            # Whoever was read first may have filled the poll: it comes last in the next one.
            first = next(iter(self._cursors))
            self._cursors[first] = self._cursors.pop(first)
            self._usual_bytes = max(1.0, sum(size for _, (_, size, _) in taken) / len(taken))
        return taken

    def _round(self, active: Mapping[str, Cursor], share: int) -> dict[str, list[Entry]]:
        pipeline = self._client.pipeline(transaction=True)
        for cursor in active.values():
            cursor.ask(pipeline, share)
        replies = iter(pipeline.execute(raise_on_error=False))
        return {name: cursor.answer(next(replies), next(replies))[:share] for name, cursor in active.items()}

    def _wait(self, timeout_s: float) -> None:
        if not self._cursors:
            time.sleep(timeout_s)
            return
        places: dict[Any, Any] = {cursor.key: to_id(max(cursor.next - 1, 0)) for cursor in self._cursors.values()}
        self._client.xread(places, count=1, block=max(1, int(timeout_s * 1000)))

    def _check_open(self) -> None:
        if self._closed:
            raise StreamError(f"The consumer of {self._topic!r} is closed", fix="Consume the topic again.")


def _fitting(entries: list[Entry], room: int, *, alone: bool) -> list[Entry]:
    """Return the entries that fit, and one that does not if nothing else was taken."""
    used = 0
    for number, (_, size, _) in enumerate(entries):
        used += size
        if used > room and not (alone and number == 0):
            return entries[:number]
    return entries


def _columns(taken: list[tuple[str, Entry]]) -> Messages:
    return Messages(
        partition=pa.array([partition for partition, _ in taken], pa.string()),
        position=pa.array([position for _, (position, _, _) in taken], pa.int64()),
        sent_at_us=pa.array([sent_at_us(position) for _, (position, _, _) in taken], pa.int64()),
        value=pa.array([value for _, (_, _, value) in taken], pa.binary()),
    )
