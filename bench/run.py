"""Runs the benchmarks, each in its own process, and prints one table: ours, the peer, the ratio, the target."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from measure import Result, Target, say

HERE = Path(__file__).resolve().parent
BENCHMARKS = (
    *("startup", "state_join", "windows", "memory", "materialize", "online_library", "online_http"),
    *("on_demand", "backfill", "streaming", "redis_store", "postgres_store"),
)
PACKAGES = ("asof", "pyarrow", "duckdb", "polars", "lmdb", "uvicorn")
HEADINGS = ("What", "Unit", "Ours", "Peer", "Theirs", "Times better", "Target", "Met")


def run_one(name: str, *, quick: bool) -> list[Result]:
    """Return the results of one benchmark; one that fails is shown as such and the others go on."""
    say(name)
    command = [sys.executable, str(HERE / f"{name}.py"), *(["--quick"] if quick else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return [Result(f"{name} failed", "s", None, target=Target(0, "at least"), note="see above")]
    return [_result(found) for found in json.loads(done.stdout.splitlines()[-1])]


def _result(found: dict[str, Any]) -> Result:
    target = found.pop("target")
    return Result(**found, target=Target(**target) if target else None)


def number(value: float | None) -> str:
    """Return three significant digits, whole above a thousand."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def cells(result: Result) -> list[str]:
    """Return the cells of one line."""
    target = result.target
    sign = {"at most": "≤ {} {unit}", "at least": "≥ {} {unit}", "ratio": "≥ {} x"}
    goal = sign[target.kind].format(number(target.bound), unit=result.unit) if target else ""
    met = {True: "yes", False: "NO", None: ""}[result.met]
    ours, theirs, ratio = number(result.ours), number(result.theirs), number(result.ratio)
    return [result.what, result.unit, ours, result.peer, theirs, ratio, goal, met]


def markdown(results: list[Result]) -> str:
    """Return the table, aligned to be read as it is and as Markdown, with the notes below."""
    rows = [list(HEADINGS), *[cells(result) for result in results]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    notes = [f"- {result.what}: {result.note}." for result in results if result.note]
    return "\n".join([*lines, *([""] if notes else []), *notes])


def main() -> int:
    """Run the named benchmarks, or all; the exit code is 1 when a target is not met at full size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes; targets are meant for full sizes")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f"no benchmark named {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    results = [result for name in options.names or BENCHMARKS for result in run_one(name, quick=options.quick)]
    now = datetime.datetime.now(datetime.UTC)
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    machine = f"{len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}"
    heading = f"{now:%Y-%m-%d}, {'quick' if options.quick else 'full'} sizes, {machine}, {versions}."
    print(f"\n{heading}\n\n{markdown(results)}")
    save(heading, results)
    return int(not options.quick and any(result.met is False for result in results))


def save(heading: str, results: list[Result]) -> None:
    """Write latest.json and latest.md under bench/results."""
    directory = HERE / "results"
    directory.mkdir(exist_ok=True)
    rows = [
        dict(zip(HEADINGS, cells(result), strict=True)) | {"ours": result.ours, "theirs": result.theirs}
        for result in results
    ]
    (directory / "latest.json").write_text(json.dumps({"heading": heading, "results": rows}, indent=1) + "\n")
    (directory / "latest.md").write_text(f"{heading}\n\n{markdown(results)}\n")


if __name__ == "__main__":
    sys.exit(main())
