"""A replay of landings: the clock that it runs by, and the two ways in which they reach the store."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from asof.clock import iso, to_us
from asof.errors import AsofError
from asof.services.ingest import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from asof.backends.kafka.producer import KafkaProducer
    from asof.services.stream import StreamProgress
    from asof.store import FeatureStore

    Seen = Callable[[int], None]

SOURCE = "landings"
TOPIC = "flights.landings"
_STOP_WITHIN_S = 30.0
_TAKEN_WITHIN_S = 60.0
_POLL_S = 0.005


class ReplayClock:
    """Shows one instant until it is started, and then runs faster than the world's."""

    def __init__(self, now_us: int, speed: int) -> None:
        """Show `now_us`; once started, `speed` times as much time passes here as outside."""
        self._begin_us = now_us
        self._speed = speed
        self._started_ns: int | None = None

    def start(self) -> None:
        """Run from now on."""
        self._started_ns = time.perf_counter_ns()

    def now_us(self) -> int:
        """Return the instant of the replay."""
        if self._started_ns is None:
            return self._begin_us
        return self._begin_us + (time.perf_counter_ns() - self._started_ns) * self._speed // 1000

    def wait_until(self, us: int) -> None:
        """Return when the replay is there."""
        ahead_us = us - self.now_us()
        if ahead_us > 0:
            time.sleep(ahead_us / self._speed / 1e6)


class Feed(Protocol):
    """A way in."""

    def send(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Send landings off; `Seen` is called with the number that the store took in, when it did."""
        ...

    def finish(self, sent: int) -> None:
        """Return when the store holds all that was sent."""
        ...


class _Pushed:
    """Calls `store.push`; what it has returned from can be read."""

    def __init__(self, store: FeatureStore, seen: Seen) -> None:
        self._store = store
        self._seen = seen

    def send(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._seen(self._store.push(SOURCE, list(rows)).taken)

    def finish(self, sent: int) -> None:
        pass


class _Streamed:
    """Writes JSON messages to the topic, which a stream worker reads."""

    def __init__(self, producer: KafkaProducer, worker: _Worker) -> None:
        self._producer = producer
        self._worker = worker

    def send(self, rows: Sequence[Mapping[str, Any]]) -> None:
        for row in rows:
            message = {name: iso(to_us(v)) if hasattr(v, "tzinfo") else v for name, v in row.items()}
            self._producer.send(row["origin"].encode(), json.dumps(message).encode())
        self._worker.check()

    def finish(self, sent: int) -> None:
        self._producer.flush()
        deadline_s = time.monotonic() + _TAKEN_WITHIN_S
        while self._worker.taken < sent:
            self._worker.check()
            if time.monotonic() > deadline_s:
                raise self._worker.problem or AsofError(
                    f"Of {sent} messages {self._worker.taken} were taken in", fix="Run the demonstration again."
                )
            time.sleep(_POLL_S)


class _Worker:
    """`store.stream` in a thread of its own."""

    def __init__(self, store: FeatureStore, seen: Seen) -> None:
        self.taken = 0
        self.problem: AsofError | None = None
        self._store = store
        self._seen = seen
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="demo-stream", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._store.stream(SOURCE, stop=self._stop, progress=self._told)
        except BaseException as error:  # noqa: BLE001 # raised by `check`, in the thread that can tell the user
            self._error = error

    def _told(self, done: StreamProgress) -> None:
        self.problem = done.problem
        if done.taken > self.taken:
            self._seen(done.taken - self.taken)
            self.taken = done.taken

    def check(self) -> None:
        """Raise what the worker failed with."""
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End the worker after the batch at hand."""
        self._stop.set()
        self._thread.join(_STOP_WITHIN_S)


@contextmanager
def pushed(store: FeatureStore, seen: Seen) -> Iterator[Feed]:
    """Yield a feed that pushes; `seen` is called when rows can be read, with their number."""
    store.ingestor(SOURCE)  # reads which ids history has, before the clock starts
    yield _Pushed(store, seen)


@contextmanager
def streamed(store: FeatureStore, root: Path, seen: Seen) -> Iterator[Feed]:
    """Yield a feed through Kafka; `seen` is called, in the worker's thread, when rows can be read, with their number.

    Raises:
        StreamError: no broker can be reached, or it refuses.
    """
    from asof.backends.kafka import open_stream

    producer = open_stream(store.config.stream, root).produce(TOPIC)
    _skip(store, producer.ends())
    worker = _Worker(store, seen)
    try:
        yield _Streamed(producer, worker)
    finally:
        worker.stop()


def _skip(store: FeatureStore, ends: dict[str, int]) -> None:
    """Begin where the topic ends now, so that messages of an earlier demonstration do not count."""
    nothing = Batch(pa.table({}), pa.array([], pa.string()), pa.array([], pa.int64()), ends)
    store.ingestor(SOURCE).ingestor.take_in(nothing)
