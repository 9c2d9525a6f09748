"""The stream worker: reads topics batch by batch, each batch kept and taken in before the next one is asked for."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from asof.errors import AsofError, ConfigError
from asof.plan.streams import stream_of
from asof.services.caught_up import CaughtUp
from asof.services.dead_letters import REPLAYED
from asof.services.ingest import PUSHED, Batch
from asof.services.latency import NOTHING, Latency
from asof.services.letters import Undecoded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from asof.clock import Clock
    from asof.interfaces.stream import Decoder, Messages, StreamBackend, StreamConsumer
    from asof.plan.specs import SourceSpec
    from asof.services.catalog import Catalog
    from asof.services.caught_up import Peer
    from asof.services.ingest import Ingested, Ingestor
    from asof.services.writer import SourceWriter

    Progress = Callable[["StreamProgress"], None]

T = TypeVar("T")

MOST_MESSAGES = 50_000
MOST_BYTES = 32 * 2**20
_POLL_S = 0.1
_CHECK_S = 1.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 5.0


@dataclass(frozen=True)
class StreamProgress:
    """What the worker has done with one source.

    Attributes:
        taken: Rows that it has put into the log.
        repeated: Messages that were there already.
        refused: Messages that cannot be taken in; they are with the dead letters.
        lag: Messages that wait to be read; None while that is not known.
        lag_s: How long ago the newest message that was taken in had been sent, while others wait; else 0.
        behind: Views that cannot take rows in, and why.
        problem: What keeps the worker from going on, which it tries again and again; None while it goes on.
        lags: Per partition that this worker reads, the messages that wait; None while that is not known.
        batches: How many batches of messages it has taken in.
        polled_at_us: When it last asked for messages.
        event_to_servable: How long rows took from their event time until reads showed them, and
        sent_to_servable: from being sent. Batches in which something was repeated are not timed.
        checked_at_us: All that had come by then into the partitions that it reads is taken in; None: not known.
    """

    source: str
    taken: int = 0
    repeated: int = 0
    refused: int = 0
    lag: int | None = None
    lag_s: float = 0.0
    behind: Mapping[str, AsofError] = field(default_factory=dict)
    problem: AsofError | None = None
    lags: Mapping[str, int] | None = None
    batches: int = 0
    polled_at_us: int | None = None
    event_to_servable: Latency = NOTHING
    sent_to_servable: Latency = NOTHING
    checked_at_us: int | None = None


@dataclass(frozen=True)
class Feed:
    """One source and where its messages come from; the writer is asked for anew, since definitions change."""

    source: SourceSpec
    group: str
    backend: Callable[[], StreamBackend]
    decoder: Callable[[SourceSpec], Decoder]
    writer: Callable[[str], SourceWriter]
    peers: Callable[[str], Sequence[Peer]]
    clock: Clock


def open_feeds(
    catalog: Catalog,
    sources: str | Sequence[str] | None,
    *,
    url: str,
    backend: Callable[[], StreamBackend],
    decoder: Callable[[SourceSpec], Decoder],
    writer: Callable[[str], SourceWriter],
    peers: Callable[[str], Sequence[Peer]],
    project: str,
    clock: Clock,
) -> list[Feed]:
    """Return what to read.

    Raises:
        NotFoundError: no such source.
        DefinitionError: a source is no stream source.
        ConfigError: a source has no topic, none has, or there is no broker.
    """
    if sources is None:
        chosen = [one for one in catalog.sources() if one.stream is not None and one.stream.topic is not None]
    else:
        chosen = [catalog.source(name) for name in ([sources] if isinstance(sources, str) else sources)]
    for one in chosen:
        if stream_of(one).topic is None:
            raise ConfigError(
                f"Source {one.name!r} has no topic",
                why="Its rows are only pushed",
                fix='Say topic="…" in its definition.',
            )
    if not chosen:
        raise ConfigError("No source has a topic", fix='Say topic="…" in a StreamSource, and `asof apply`.')
    if not url:
        raise ConfigError(
            "The project has no stream",
            why=f"Source {chosen[0].name!r} has a topic, but nothing says on which broker it is",
            fix='Write stream = "kafka://host:9092" into asof.toml, or set ASOF_STREAM.',
        )
    return [Feed(one, f"asof.{project}.{one.name}", backend, decoder, writer, peers, clock) for one in chosen]


def run_feeds(
    feeds: Sequence[Feed], *, until_caught_up: bool, stop: threading.Event, progress: Progress | None
) -> list[StreamProgress]:
    """Read all feeds side by side until told to stop, or, with `until_caught_up`, until each has what was there.

    An error that another try would not help with stops all of them and is raised.
    """
    ended = _Either(stop)

    def run(feed: Feed) -> StreamProgress:
        try:
            return _Reader(feed, ended, progress).run(until_caught_up=until_caught_up)
        except BaseException:
            ended.failed.set()
            raise

    with ThreadPoolExecutor(len(feeds), thread_name_prefix="stream") as pool:
        running = [pool.submit(run, feed) for feed in feeds]
        try:
            return [one.result() for one in running]
        except BaseException:
            ended.failed.set()
            raise


class _Either:
    """Told to stop by the caller, or by a feed that failed."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self.failed = threading.Event()

    def is_set(self) -> bool:
        return self._stop.is_set() or self.failed.is_set()

    def wait(self, timeout_s: float) -> None:
        until_s = time.monotonic() + timeout_s
        while not self.is_set() and (left_s := until_s - time.monotonic()) > 0:
            self._stop.wait(min(left_s, 0.05))


class _Reader:
    """Reads one feed."""

    def __init__(self, feed: Feed, stop: _Either, progress: Progress | None) -> None:
        self._feed = feed
        self._stop = stop
        self._tell = progress or (lambda _: None)
        self._done = StreamProgress(feed.source.name)
        self._decoder: tuple[SourceSpec, Decoder] | None = None
        self._decoded: tuple[pa.Int64Array, pa.Int64Array] | None = None
        self._caught_up = CaughtUp()
        self._sent_us: int | None = None
        self._checked_s = 0.0

    def run(self, *, until_caught_up: bool) -> StreamProgress:
        topic = stream_of(self._feed.source).topic or ""
        self._tried(lambda: self._feed.writer(self._feed.source.name))  # begins what was never materialized first
        with self._feed.backend().consume(topic, self._feed.group, self._positions) as consumer:
            goal: dict[str, int] | None = None
            while not self._stop.is_set():
                self._done = replace(self._done, polled_at_us=self._feed.clock.now_us())
                messages = self._tried(lambda: _poll(consumer))
                if messages is None:
                    break
                if len(messages):
                    self._take_in(messages)
                if until_caught_up:
                    goal = goal or self._tried(lambda: dict(consumer.topic_ends()))
                    if goal is not None and self._tried(partial(self._reached, goal, consumer)):
                        self._tried(lambda: self._check(consumer, force=True))
                        break
                self._tried(lambda: self._check(consumer, force=False))
        return self._done

    def _positions(self, partitions: frozenset[str]) -> Mapping[str, int]:
        known = self._feed.writer(self._feed.source.name).ingestor.log.head().positions
        return {partition: known[partition] for partition in partitions if partition in known}

    def _reached(self, goal: Mapping[str, int], consumer: StreamConsumer) -> bool:
        """Return whether all that was there when reading began is in the log, whoever put it there.

        A partition may still be that of a worker that died: it comes to this one, or to another, a little later.
        """
        known = self._feed.writer(self._feed.source.name).ingestor.log.head().positions
        left = [partition for partition, end in goal.items() if known.get(partition, 0) < end]
        if not left:
            return True
        if not consumer.assigned().issuperset(left):
            return False
        ends = consumer.end_positions()
        return all(known.get(partition, 0) >= ends.get(partition, 0) for partition in left)

    def _take_in(self, messages: Messages) -> None:
        found = self._tried(lambda: self._ingest(messages))
        if found is None:
            return
        sent = pc.max(messages.sent_at_us).as_py()
        self._sent_us = sent if sent is not None else self._sent_us
        done = self._done
        self._done = replace(
            done,
            taken=done.taken + found.taken,
            repeated=done.repeated + found.repeated,
            refused=done.refused + len(messages) - found.taken - found.repeated,
            behind=found.behind,
            problem=None,
            batches=done.batches + 1,
        )
        self._time(messages, found)
        self._tell(self._done)

    def _time(self, messages: Messages, found: Ingested) -> None:
        """Add the rows that were taken in just now to the histograms."""
        if self._decoded is None or not found.taken or found.repeated:
            return
        now_us = self._feed.clock.now_us()
        index, times = self._decoded
        if found.refused:
            kept = pc.invert(
                pc.is_in(pa.array(range(len(index)), pa.int64()), pa.array(list(found.refused), pa.int64()))
            )
            index, times = index.filter(kept), times.filter(kept)
        self._done = replace(
            self._done,
            event_to_servable=self._done.event_to_servable.plus(times, now_us),
            sent_to_servable=self._done.sent_to_servable.plus(messages.sent_at_us.take(index), now_us),
        )

    def _ingest(self, messages: Messages) -> Ingested:
        writer = self._feed.writer(self._feed.source.name)
        source = writer.ingestor.source
        if self._decoder is None or self._decoder[0] is not source:
            self._decoder = source, self._feed.decoder(source)
        decoded = self._decoder[1].decode(messages.value)
        self._decoded = decoded.index, _instants(decoded.rows, source.event_time)
        return writer.ingestor.take_in(
            Batch(
                decoded.rows,
                messages.partition.take(decoded.index),
                messages.position.take(decoded.index),
                _next_positions(messages),
                undecoded=_undecoded(messages, decoded.failures),
                originals=lambda rows: messages.value.take(decoded.index.take(pa.array(rows, pa.int64()))).to_pylist(),
                sent_at_us=messages.sent_at_us.take(decoded.index),
            )
        )

    def _tried(self, work: Callable[[], T]) -> T | None:
        """Return what work returns, however often it has to be tried; None where it was stopped meanwhile."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return work()
            except AsofError as error:
                if not error.retryable:
                    raise
                self._done = replace(self._done, problem=error)
                self._tell(self._done)
            self._stop.wait(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 # spreads tries, guards nothing
            if self._stop.is_set():
                return None
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _check(self, consumer: StreamConsumer, *, force: bool) -> None:
        """About once a second: tell how far behind the topic this is, and note where it is not."""
        now_s = time.monotonic()
        if not force and now_s - self._checked_s < _CHECK_S:
            return
        self._checked_s = now_s
        ingestor = self._feed.writer(self._feed.source.name).ingestor
        known = ingestor.log.head().positions
        now_us = self._feed.clock.now_us()
        ends = consumer.end_positions()
        lags = {partition: max(0, end - known.get(partition, 0)) for partition, end in ends.items()}
        lag = sum(lags.values())
        self._caught_up.look(now_us, ends, known)
        self._note_checked(ingestor, known)
        late_s = (now_us - self._sent_us) / 1e6 if lag and self._sent_us is not None else 0.0
        self._done = replace(self._done, lag=lag, lags=lags, lag_s=max(0.0, late_s), problem=None)
        self._done = replace(self._done, checked_at_us=self._caught_up.checked_at_us)
        self._tell(self._done)

    def _note_checked(self, ingestor: Ingestor, known: Mapping[str, int]) -> None:
        """Note in the views up to when they hold all that was sent, as far as all workers together know that."""
        feed = self._feed
        at_us = self._caught_up.together(feed.peers(feed.source.name), known.keys() - {PUSHED, REPLAYED})
        if at_us is not None:
            ingestor.note_checked(at_us)


def _poll(consumer: StreamConsumer) -> Messages:
    return consumer.poll(max_messages=MOST_MESSAGES, max_bytes=MOST_BYTES, timeout_s=_POLL_S)


def _next_positions(messages: Messages) -> dict[str, int]:
    ends = pa.table({"partition": messages.partition, "position": messages.position})
    newest = ends.group_by("partition").aggregate([("position", "max")])
    return {
        partition: position + 1
        for partition, position in zip(
            newest.column("partition").to_pylist(), newest.column("position_max").to_pylist(), strict=True
        )
    }


def _instants(rows: pa.Table, name: str) -> pa.Int64Array:
    times = rows.column(name).combine_chunks()
    times = times if isinstance(times, pa.Array) else times.chunk(0)
    return times.cast(pa.timestamp("us", "UTC"), safe=False).cast(pa.int64())


def _undecoded(messages: Messages, failures: Mapping[int, str]) -> list[Undecoded]:
    return [
        Undecoded(
            messages.partition[at].as_py(),
            messages.position[at].as_py(),
            reason,
            messages.value[at].as_py(),
            messages.sent_at_us[at].as_py(),
        )
        for at, reason in sorted(failures.items())
    ]
