"""How figures are taken and told: alternating runs, medians, results with their peers and targets, one JSON per run."""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".bench"


@dataclass(frozen=True)
class Target:
    """A bound on our figure, or with `ratio` on how many times better than the peer it is."""

    bound: float
    kind: str  # "at most", "at least" or "ratio"


@dataclass(frozen=True)
class Result:
    """One line of the report.

    Attributes:
        unit: "s", "µs" and "MB" are better when lower, what ends in "/s" when higher.
        peer: What stands beside ours, and its figure; None where there is none or it is not available.
        note: What else the reader should know.
    """

    what: str
    unit: str
    ours: float | None
    peer: str = ""
    theirs: float | None = None
    target: Target | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times better ours is than the peer."""
        if not self.ours or not self.theirs:
            return None
        return self.ours / self.theirs if self.unit.endswith("/s") else self.theirs / self.ours

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is no target or no figure to hold against it."""
        if self.target is None:
            return None
        value = self.ratio if self.target.kind == "ratio" else self.ours
        if value is None:
            return None
        return value <= self.target.bound if self.target.kind == "at most" else value >= self.target.bound


@dataclass
class Report:
    """What one benchmark found: results, or why it could not run."""

    results: list[Result] = field(default_factory=list)

    def add(self, what: str, unit: str, ours: float | None, **rest: Any) -> None:
        """Add a line and show it on standard error, because a full run is long."""
        result = Result(what, unit, ours, **rest)
        self.results.append(result)
        say(f"  {what}: {ours} {unit}, {result.peer} {result.theirs}, ratio {result.ratio}, met {result.met}")


def say(text: str) -> None:
    """Tell the person who waits."""
    print(text, file=sys.stderr, flush=True)


def seconds(work: Callable[[], object]) -> float:
    """Return the wall time of one call; garbage is collected before, and what it returned is freed after."""
    gc.collect()
    started = time.perf_counter()
    kept = work()
    took = time.perf_counter() - started
    del kept
    return took


def alternate(sides: Mapping[str, Callable[[], float] | None], repeats: int) -> dict[str, float | None]:
    """Return per side the median of `repeats` figures; the sides take turns, so that a busy moment hits all of them.

    A side that is None is not available, and its figure is None.
    """
    figures: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, measure in sides.items():
            if measure is not None:
                figures[name].append(measure())
    return {name: statistics.median(found) if found else None for name, found in figures.items()}


def per_call_us(call: Callable[[Any], object], arguments: Sequence[Any]) -> float:
    """Return the mean microseconds of a call that waits for nothing, by this thread's processor time."""
    started = time.thread_time()
    for argument in arguments:
        call(argument)
    return (time.thread_time() - started) / len(arguments) * 1e6


def main(benchmark: Callable[[bool, Report], None]) -> None:
    """Run one benchmark as a program: results as JSON on standard output, progress on standard error."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes")
    options = parser.parse_args()
    report = Report()
    benchmark(options.quick, report)
    print(json.dumps([dataclasses.asdict(result) for result in report.results]))


def pin(core: int) -> Callable[[], None]:
    """Return what a child calls before it starts, to stay on one core where the machine has it."""
    cores = sorted(os.sched_getaffinity(0))
    return lambda: os.sched_setaffinity(0, {cores[core % len(cores)]})


def stop(process: subprocess.Popen[Any]) -> None:
    """End a process that we started, by force if it does not go within ten seconds."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
