"""Backfills: runs the intervals of a batch source side by side, skips what is done, and records every run."""

from __future__ import annotations

import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from asof.clock import iso
from asof.errors import AsofError, InputError, NotBackfilledError
from asof.interfaces.registry import Run
from asof.plan.batch import Interval, batch_of, due_until_us, intervals, needed
from asof.plan.specs import meaning_hash
from asof.services.history import warn_rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from asof.clock import Clock
    from asof.interfaces import Registry
    from asof.interfaces.transformer import BatchInputs, Transformer
    from asof.plan.specs import SourceSpec
    from asof.services.functions import FunctionLoader

    Progress = Callable[[str, int, int], None]

ATTEMPTS = 3
_FIRST_PAUSE_S = 0.5


@dataclass(frozen=True)
class Backfilled:
    """What one backfill of one batch source did.

    Attributes:
        intervals: How many it ran.
        skipped: How many were done before.
        rows: Rows published by the intervals that it ran.
        seconds: For all of it.
    """

    source: str
    intervals: int
    skipped: int
    rows: int
    seconds: float


class Backfiller:
    """Runs intervals and records them in the registry's run ledger."""

    def __init__(
        self,
        transformer: Transformer,
        registry: Registry,
        functions: FunctionLoader,
        *,
        clock: Clock,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Run through `transformer`; `clock` says which intervals are due, `pause` waits between attempts."""
        self._transformer = transformer
        self._registry = registry
        self._functions = functions
        self._clock = clock
        self._pause = pause
        self._recording = threading.Lock()  # or SQLite would let the writers wait for each other in long steps

    def run(
        self,
        source: SourceSpec,
        start_us: int,
        end_us: int,
        *,
        workers: int = 1,
        force: bool = False,
        progress: Progress | None = None,
    ) -> Backfilled:
        """Run the intervals that touch `[start_us, end_us)`, end by `end_us` and are due by the clock.

        What was done before is skipped, so the same call goes on where an interruption left off.

        Args:
            source: A batch source.
            start_us: Microseconds since the epoch.
            end_us: Microseconds since the epoch.
            workers: How many intervals run at once.
            force: Run also what is done; its rows are replaced interval by interval.
            progress: Called with the source, the intervals run so far and how many there are to run.

        Raises:
            InputError: there is no due interval in the range.
            NotBackfilledError: an input is a batch source that has not run yet what this one reads.
            AsofError: an interval failed, if retryable for the third time; what other intervals did stays.
        """
        began = time.perf_counter()
        batch = batch_of(source)
        wanted = intervals(batch, start_us, min(end_us, due_until_us(source, self._clock.now_us())))
        if not wanted:
            raise InputError(
                f"No interval of batch source {source.name!r} is due between {iso(start_us)} and {iso(end_us)}",
                why=f"The newest one that is due ends at {iso(due_until_us(source, self._clock.now_us()))}",
                fix="Give a range that holds a whole interval of the past; the end counts, the delay too.",
            )
        done = set() if force else set(self._transformer.published(source))
        todo = [one for one in wanted if one.start_us not in done]
        rows = 0
        if todo:
            self._check_inputs(source, todo)
            function = None
            if batch.function is not None:
                function = self._functions.load(batch.function, f"Batch source {source.name!r}")
            within = Interval(todo[0].start_us, todo[-1].end_us)
            with self._transformer.open(source, function, within) as inputs:
                for name, rejected in inputs.rejected.items():
                    warn_rejected(name, rejected)
                for count, run in enumerate(self._each(source, inputs, todo, workers), 1):
                    rows += run.rows
                    if progress is not None:
                        progress(source.name, count, len(todo))
        return Backfilled(source.name, len(todo), len(wanted) - len(todo), rows, time.perf_counter() - began)

    def _check_inputs(self, source: SourceSpec, todo: Sequence[Interval]) -> None:
        for one in batch_of(source).inputs:
            if one.batch is None:
                continue
            done = set(self._transformer.published(one))
            for interval in todo:
                lacking = [found for found in needed(source, interval, one) if found.start_us not in done]
                if lacking:
                    until = iso(lacking[-1].end_us)
                    raise NotBackfilledError(
                        f"Batch source {source.name!r} reads {one.name!r}, which lacks the interval that ends at "
                        f"{until}",
                        why=f"The run of {iso(interval.start_us)} would have found it there",
                        fix=f"Run `asof backfill {one.name} --start {iso(lacking[0].start_us)} --end {until}` first.",
                    )

    def _each(self, source: SourceSpec, inputs: BatchInputs, todo: Sequence[Interval], workers: int) -> Iterator[Run]:
        """Give runs as they end, failed ones too; the first failure ends all and is raised."""
        waiting = iter(todo)
        pool = ThreadPoolExecutor(max(workers, 1), thread_name_prefix="asof-backfill")
        running: dict[Future[tuple[Run, BaseException | None]], None] = {}

        def submit(count: int) -> None:
            for interval in islice(waiting, count):
                running[pool.submit(self._run, source, inputs, interval)] = None

        failure: BaseException | None = None
        try:
            submit(max(workers, 1))
            while running:
                ended = wait(running, return_when=FIRST_COMPLETED).done
                for future in ended:
                    del running[future]
                    run, error = future.result()
                    failure = failure or error
                    yield run
                if failure is None:
                    submit(len(ended))
        except BaseException:
            inputs.cancel()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
        if failure is not None:
            raise failure

    def _run(self, source: SourceSpec, inputs: BatchInputs, interval: Interval) -> tuple[Run, BaseException | None]:
        """Run one interval; its record is in the ledger before its rows are there to be read."""
        started_us, began = self._clock.now_us(), time.perf_counter()

        def ran(rows: int, error: str = "") -> Run:
            return Run(
                source=source.name,
                meaning=meaning_hash(source),
                start_us=interval.start_us,
                end_us=interval.end_us,
                started_us=started_us,
                seconds=time.perf_counter() - began,
                rows=rows,
                error=error,
                inputs=tuple(inputs.versions.items()),
            )

        def record(rows: int) -> None:
            runs.append(ran(rows))
            self._record(runs[-1])

        runs: list[Run] = []
        try:
            self._attempt(inputs, interval, record)
        except (AsofError, KeyboardInterrupt) as failure:
            failed = ran(0, str(failure) or type(failure).__name__)
            with suppress(AsofError):  # the first failure tells more than one of the ledger after it
                self._record(failed)
            return failed, failure
        return runs[-1], None

    def _record(self, run: Run) -> None:
        with self._recording:
            self._registry.record_runs([run])

    def _attempt(self, inputs: BatchInputs, interval: Interval, record: Callable[[int], None]) -> None:
        for attempt in range(ATTEMPTS - 1):
            try:
                return inputs.publish(interval, record)
            except AsofError as error:
                if not error.retryable:
                    raise
            self._pause(_FIRST_PAUSE_S * 2**attempt)
        return inputs.publish(interval, record)
