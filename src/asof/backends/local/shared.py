"""One engine in memory for all small frames of this process: starting one takes longer than reading them."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MOST_BYTES = 4 * 2**20
"""Larger frames get an engine of their own, which may spill to disk."""

_lock = threading.Lock()
_engines: dict[tuple[int, int, int], duckdb.DuckDBPyConnection] = {}


@contextmanager
def session(threads: int, memory_limit_bytes: int, settings: Sequence[str]) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a connection to the engine of this process, whose temporary tables and views nobody else sees.

    Args:
        threads: For all sessions together.
        memory_limit_bytes: Likewise; nothing is spilled.
        settings: What is set when the engine starts, the same for all sessions; the last ones lock it.
    """
    place = (os.getpid(), threads, memory_limit_bytes)  # a forked process has none of the engine's threads
    with _lock:
        engine = _engines.get(place)
        if engine is None:
            config = {"threads": threads, "memory_limit": f"{memory_limit_bytes}B", "temp_directory": ""}
            engine = duckdb.connect(":memory:", config=config)
            for setting in settings:
                engine.execute(setting.replace("SET ", "SET GLOBAL ", 1))
            _engines[place] = engine
        con = engine.cursor()
    try:
        with con:
            yield con
    except (duckdb.FatalException, duckdb.InternalException):
        with _lock:  # such an engine refuses all further work
            _engines.pop(place, None)
        raise
