"""The demonstration's live part: two hours of landings, replayed, served, and joined to training rows."""

from __future__ import annotations

import statistics
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from asof.clock import to_us
from asof.demo import project_files, replay
from asof.demo.screen import DEFECT
from asof.errors import AsofError
from asof.store import FeatureStore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from asof.demo.screen import Screen

    Row = Mapping[str, Any]

BEGIN = datetime(2013, 2, 8, 21, tzinfo=UTC)
"""The hand-over that `features.py` declares."""
END = BEGIN + timedelta(hours=2)
SPEED = 1000
AIRPORTS = ("EWR", "JFK", "LGA")
_TITLES = {
    "landed_15m": "landed 15m",
    "arr_delay_mean_15m": "late 15m",
    "landed_1h": "landed 1h",
    "arr_delay_mean_1h": "late 1h",
    "arr_delay_max_1h": "worst 1h",
    "cancelled_1h": "cancelled 1h",
}
_FRAME_US = 50_000 * SPEED
_LINE_EVERY_US = 1_800_000_000


class Live:
    """One replay."""

    def __init__(self, directory: Path, screen: Screen) -> None:
        """Work on the project in `directory`, whose definitions are registered."""
        self._directory = directory
        self._screen = screen
        self._served = _Served()

    def run(self) -> None:
        """Replay, show, and compare what was served with training rows of the same instants.

        Raises:
            AsofError: a row was lost or counted twice, or a served value differs from its training row.
        """
        rows = _landings(self._directory)
        clock = replay.ReplayClock(to_us(BEGIN), SPEED)
        with FeatureStore(self._directory, clock=clock) as store:
            with self._screen.busy("Materializing what came before"):
                (before,) = store.materialize(project_files.LIVE_VIEW)
            self._screen.say(
                f"Until {BEGIN:%d %B, %H:%M} UTC the file is the history: {before.rows:,} flights, materialized in "
                f"{before.seconds:.2f} s. In the {(END - BEGIN) // timedelta(minutes=1)} minutes that follow "
                f"{len(rows)} more land, or turn out to be cancelled. "
                f"The store's clock runs {SPEED:,} times as fast as yours."
            )
            with self._feed(store) as feed:
                self._replay(clock, feed, rows)
            self._compare(store, len(rows))

    def _feed(self, store: FeatureStore) -> AbstractContextManager[replay.Feed]:
        reader, served = store.reader(), self._served

        def seen(taken: int) -> None:
            answer = reader.read([project_files.LIVE_VIEW], {"origin": list(AIRPORTS)}, None, None)
            served.add(taken, answer.at, answer.to_dict())

        seen(0)
        if store.config.stream.startswith("kafka://"):
            self._screen.say(
                f"They go through Kafka: topic [bold]{replay.TOPIC}[/], read by the worker of [bold]asof stream[/]."
            )
            return replay.streamed(store, self._directory, seen)
        self._screen.say("They are pushed; with [bold]ASOF_STREAM=kafka://host:9092[/] they would go through Kafka.")
        return replay.pushed(store, seen)

    def _replay(self, clock: replay.ReplayClock, feed: replay.Feed, rows: Sequence[Row]) -> None:
        with self._screen.busy("Waiting for the first rows"):
            sent = self._send(feed, rows, 0, clock)
            feed.finish(sent)
            self._served.start()
        titles = list(_TITLES.values())
        line_us = to_us(BEGIN)
        with self._screen.moving(["from", *titles], numbers=titles) as show:
            clock.start()
            while sent < len(rows):
                clock.wait_until(min(to_us(rows[sent]["known_at"]), clock.now_us() + _FRAME_US))
                sent = self._send(feed, rows, sent, clock)
                show(*self._picture(len(rows)))
                if clock.now_us() >= line_us + _LINE_EVERY_US:
                    line_us += _LINE_EVERY_US
                    self._screen.say_plainly(self._line())
            feed.finish(sent)
            show(*self._picture(len(rows)))

    def _send(self, feed: replay.Feed, rows: Sequence[Row], start: int, clock: replay.ReplayClock) -> int:
        """Send what has happened by now, and return how many rows have been sent."""
        now_us, end = clock.now_us(), start
        while end < len(rows) and to_us(rows[end]["known_at"]) <= now_us:
            end += 1
        if end > start:
            self._served.sent(end - start)
            feed.send(rows[start:end])
        return end

    def _picture(self, rows: int) -> tuple[str, list[list[str]]]:
        at, values, taken = self._served.newest()
        heading = f"[bold]{at:%d %B, %H:%M:%S}[/] UTC, {taken} of {rows} have arrived; late: minutes, on average"
        cells = [[_cell(values[_column(name)][i]) for name in _TITLES] for i in range(len(AIRPORTS))]
        return heading, [[airport, *row] for airport, row in zip(AIRPORTS, cells, strict=True)]

    def _line(self) -> str:
        at, values, taken = self._served.newest()
        hour = zip(AIRPORTS, values[_column("landed_1h")], values[_column("arr_delay_mean_1h")], strict=True)
        each = "; ".join(f"{airport} {landed}, {_cell(mean)} min late" for airport, landed, mean in hour)
        return f"{at:%H:%M}, {taken} have arrived. Landed in the last hour: {each}."

    def _compare(self, store: FeatureStore, rows: int) -> None:
        """Check that every row counted once, and every value that was served against training at its instant."""
        served, kept = self._served, store.log.of(replay.SOURCE).head().rows
        if served.taken != rows or kept != rows:
            raise AsofError(f"Of {rows} landings {served.taken} were taken in and {kept} are in the log", fix=DEFECT)
        reads = served.reads
        spine: dict[str, list[Any]] = {
            "origin": [airport for _ in reads for airport in AIRPORTS],
            "event_timestamp": [at for at, _ in reads for _ in AIRPORTS],
        }
        started_s = time.perf_counter()
        with self._screen.busy("Joining training rows for the instants of every read"):
            joined = store.get_historical_features([project_files.LIVE_VIEW], spine).to_arrow().to_pydict()
        seconds = time.perf_counter() - started_s
        columns = [_column(name) for name in _TITLES]
        for column in columns:
            then = [value for _, values in reads for value in values[column]]
            for row, (value, trained) in enumerate(zip(then, joined[column], strict=True)):
                if _bits(value) != _bits(trained):
                    asked = f"{spine['origin'][row]} at {spine['event_timestamp'][row]}"
                    raise AsofError(
                        f"{column} of {asked} was served as {value!r}, and its training row has {trained!r}", fix=DEFECT
                    )
        values = len(reads) * len(AIRPORTS) * len(columns)
        self._screen.say(
            f"{rows} were sent, {kept} are in the log. From sent to readable took {served.median_ms():.0f} ms "
            f"of your time in the median, {served.longest_ms():.0f} ms at most."
        )
        self._screen.say(
            f"The view was read {len(reads)} times meanwhile. Now training rows for the instants of those reads, "
            f"joined in {seconds:.1f} s from file and log: "
            f"[bold green]all {len(reads)} x {len(AIRPORTS)} x {len(columns)} = "
            f"{values:,} values equal what was served[/], to the last bit."
        )


class _Served:
    """What was read while the replay ran; written by one thread, looked at by another."""

    def __init__(self) -> None:
        self.reads: list[tuple[datetime, dict[str, list[Any]]]] = []
        self.taken = 0
        self._sent_s: list[float] = []
        self._took_s: list[float] = []
        self._lock = threading.Lock()

    def start(self) -> None:
        """Time what comes from now on; the first rows waited until all was ready."""
        self._took_s.clear()

    def sent(self, count: int) -> None:
        """Note that so many rows are being sent now."""
        with self._lock:
            self._sent_s += [time.perf_counter()] * count

    def add(self, taken: int, at: datetime, values: dict[str, list[Any]]) -> None:
        """Note a read, and how many rows were new to it."""
        now_s = time.perf_counter()
        with self._lock:
            self._took_s += [now_s - sent_s for sent_s in self._sent_s[self.taken : self.taken + taken]]
            self.taken += taken
            self.reads.append((at, values))

    def newest(self) -> tuple[datetime, dict[str, list[Any]], int]:
        """Return the newest read, and how many rows had been taken in by then."""
        with self._lock:
            return *self.reads[-1], self.taken

    def median_ms(self) -> float:
        """Return how long it took until half of the rows could be read, from when each was sent."""
        return statistics.median(self._took_s) * 1000

    def longest_ms(self) -> float:
        """Return how long the slowest row took."""
        return max(self._took_s) * 1000


def _landings(directory: Path) -> list[dict[str, Any]]:
    import polars as pl

    flights = pl.read_parquet(directory / "data" / "flights.parquet")
    span = flights.filter(pl.col("known_at") >= BEGIN, pl.col("known_at") < END)
    return span.sort("known_at", "flight_id").to_dicts()


def _column(name: str) -> str:
    return f"{project_files.LIVE_VIEW}__{name}"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def _bits(value: Any) -> Any:
    return value.hex() if isinstance(value, float) else value
