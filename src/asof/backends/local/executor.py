"""Runs work on this machine: rows stay in memory while they fit the budget, else they are split by key onto disk."""

from __future__ import annotations

import os
import shutil
import threading
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from asof.backends.local.tables import disk_error
from asof.backends.local.temporary import alive

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

    from asof.interfaces.executor import Assign

PARTS = 64
_SHARE = 4
_ROUTE_BYTES = 64 * 2**20


class LocalExecutor:
    """Threads and a scratch directory; what it spills is deleted when it is released, or by the next one if it died."""

    def __init__(self, directory: Path, budget_bytes: int, *, threads: int | None = None) -> None:
        """Work within `budget_bytes`, spilling below `directory`; `threads` defaults to the processors it may use."""
        self._directory = directory
        self._scratch: Path | None = None
        self._limit_bytes = budget_bytes // _SHARE
        self._kept_bytes = 0
        self._threads = threads or len(os.sched_getaffinity(0))
        self._lock = threading.Lock()

    @property
    def threads(self) -> int:
        """How many threads one kernel call may use."""
        return self._threads

    def at_once(self, size_bytes: int) -> bool:
        """Return whether sources of this many bytes, which may grow fourfold in memory, take half of the budget."""
        return size_bytes * 4 <= self._limit_bytes * _SHARE // 2

    def partition(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema, assign: Assign) -> LocalPartitions:
        """Take all batches; give one part while they fit into a quarter of the budget, else 64 on disk."""
        parts = LocalPartitions(self, schema)
        try:
            parts.fill(batches, assign, self._limit_bytes)
        except BaseException:
            parts.close()
            raise
        return parts

    def keep(self, table: pa.Table) -> pa.Table:
        """Return the table, or the same rows memory-mapped from disk once kept ones outgrow a quarter of the budget."""
        with self._lock:
            if self._kept_bytes + table.nbytes <= self._limit_bytes:
                self._kept_bytes += table.nbytes
                return table
        path = self.scratch() / f"{uuid.uuid4().hex}.arrow"
        try:
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)
        except OSError as error:
            raise disk_error(path, error) from error
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()

    def scratch(self) -> Path:
        """Return this executor's own directory, made on first use."""
        with self._lock:
            if self._scratch is None:
                remove_leftovers(self._directory)
                self._scratch = self._directory / f"{os.getpid()}-{uuid.uuid4().hex}"
                self._scratch.mkdir(parents=True)
            return self._scratch

    def release(self) -> None:
        """Delete what was spilled; tables that `keep` returned stay readable while they are referenced."""
        self._kept_bytes = 0
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    def __del__(self) -> None:
        self.release()


class LocalPartitions:
    """Rows split by key: one part in memory, or 64 files, deleted when left."""

    def __init__(self, executor: LocalExecutor, schema: pa.Schema) -> None:
        self._executor = executor
        self._schema = schema
        self._held: list[pa.RecordBatch] = []
        self._paths: list[Path] = []
        self._writers: list[tuple[Any, Any]] = []

    @property
    def count(self) -> int:
        """How many parts there are."""
        return len(self._paths) or 1

    def fill(self, batches: Iterable[pa.RecordBatch], assign: Assign, limit_bytes: int) -> None:
        """Take all batches, in memory up to `limit_bytes`."""
        held_bytes = 0
        for batch in batches:
            self._held.append(batch)
            held_bytes += batch.nbytes
            if held_bytes > (min(_ROUTE_BYTES, limit_bytes) if self._paths else limit_bytes):
                self._route(assign)
                held_bytes = 0
        if self._paths:
            self._route(assign)
            self._close_writers()

    def read(self, part: int) -> pa.Table:
        """Return the rows of a part in the order in which they came."""
        if not self._paths:
            held, self._held = self._held, []
            return pa.Table.from_batches(held, schema=self._schema)
        with pa.memory_map(str(self._paths[part])) as source:
            return pa.ipc.open_stream(source).read_all().combine_chunks()

    def _route(self, assign: Assign) -> None:
        if not self._writers:
            self._open_writers()
        held, self._held = self._held, []
        table = pa.Table.from_batches(held, schema=self._schema).combine_chunks()
        for batch in table.to_batches():
            parts = np.asarray(assign(batch, PARTS))
            order = np.argsort(parts, kind="stable")
            ends = np.cumsum(np.bincount(parts, minlength=PARTS))
            sorted_rows = batch.take(pa.array(order))
            try:
                for part, end in enumerate(ends):
                    start = ends[part - 1] if part else 0
                    if end > start:
                        self._writers[part][1].write_batch(sorted_rows.slice(start, end - start))
            except OSError as error:
                raise disk_error(self._paths[0].parent, error) from error

    def _open_writers(self) -> None:
        directory = self._executor.scratch() / uuid.uuid4().hex
        directory.mkdir()
        for part in range(PARTS):
            path = directory / f"{part}.arrows"
            sink = pa.OSFile(str(path), "wb")
            self._writers.append((sink, pa.ipc.new_stream(sink, self._schema)))
            self._paths.append(path)

    def _close_writers(self) -> None:
        writers, self._writers = self._writers, []
        try:
            for sink, writer in writers:
                writer.close()
                sink.close()
        except OSError as error:
            raise disk_error(self._paths[0].parent, error) from error

    def close(self) -> None:
        """Free everything."""
        self._held = []
        writers, self._writers = self._writers, []
        for sink, _ in writers:
            sink.close()
        paths, self._paths = self._paths, []
        if paths:
            shutil.rmtree(paths[0].parent, ignore_errors=True)

    def __enter__(self) -> LocalPartitions:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def remove_leftovers(directory: Path) -> None:
    """Delete the scratch directories of processes that no longer run."""
    if not directory.is_dir():
        return
    for found in directory.iterdir():
        pid = found.name.partition("-")[0]
        if pid.isdigit() and not alive(int(pid)):
            shutil.rmtree(found, ignore_errors=True)


def remove_own(directory: Path) -> None:
    """Delete the scratch directories of this process, which uses none any more: it was interrupted and ends."""
    for found in directory.glob(f"{os.getpid()}-*"):
        shutil.rmtree(found, ignore_errors=True)
