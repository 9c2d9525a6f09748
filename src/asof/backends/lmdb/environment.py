"""Owns the memory map: opened once per process and file, grown, reopened, and never carried over a fork."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

import lmdb

from asof.backends.lmdb import layout
from asof.backends.lmdb.failures import corrupt, other_format, translated
from asof.backends.lmdb.gate import Gate
from asof.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from lmdb import Transaction
    from lmdb import _Database as Database

T = TypeVar("T")

MAP_SIZE = 64 * 2**30
MAX_DATABASES = 256
_SMALLEST_MAP = 2**30
_MAX_READERS = 1024
_RETRIES = 100
_SPARE_SLOTS = 8


class MissingHandleError(Exception):
    """A read met a sub-database that this process has not opened yet."""

    def __init__(self, name: bytes) -> None:
        super().__init__(name)
        self.name = name


class Environment:
    """One LMDB file, shared by all stores of this process.

    It is open for reading until the first write: only then can sub-databases be opened without waiting for writers
    of other processes. An opened sub-database keeps a slot until the file is reopened, also when another process
    has dropped it, so the file is reopened when slots run low.

    Attributes:
        path: Its directory.
        meta: The handle of the meta sub-database.
    """

    meta: Database

    def __init__(self, path: Path, map_size: int = MAP_SIZE, max_databases: int = MAX_DATABASES) -> None:
        """Open or create the file; use `sharing.acquire` for one that may be open already."""
        self.path = path
        self._map_size = map_size
        self._max_databases = max_databases
        self._restarting = threading.Lock()
        self._start()

    def _restart_if_forked(self) -> None:
        if self._forked:
            with self._restarting:
                if self._forked:
                    self._env.close()  # the binding sees that it is another process's, and only forgets it
                    self._start()

    def _start(self) -> None:
        self._gate = Gate()
        self._opening = threading.Lock()
        self._writing = threading.Lock()
        with translated(self.path, "be opened"):
            self._open_or_create()
        self._forked = False

    def _open_or_create(self) -> None:
        try:
            self._open(writable=False)
        except (FileNotFoundError, lmdb.NotFoundError):
            self.path.mkdir(parents=True, exist_ok=True)
            self._open(writable=True)
            self._env.close()
            self._open(writable=False)

    def _open(self, *, writable: bool) -> None:
        env = self._map(writable=writable)
        try:
            self._refuse_damaged(env)
            env.reader_check()
            self.meta = env.open_db(layout.META, create=writable)
            if writable:
                with env.begin(write=True) as txn:
                    written = txn.get(layout.FORMAT_KEY, db=self.meta)
                    if written is None or written in layout.READABLE:
                        # From here on an older version of this library refuses the file, which it would misread.
                        txn.put(layout.FORMAT_KEY, layout.FORMAT, db=self.meta)
            with env.begin() as txn:
                written = txn.get(layout.FORMAT_KEY, db=self.meta)
            if written not in layout.READABLE:
                raise other_format(self.path, written)
        except BaseException:
            env.close()
            raise
        self._env = env
        self._writable = writable
        self._handles: dict[bytes, Database] = {}
        self._slots = 0

    def _map(self, *, writable: bool) -> lmdb.Environment:
        if not writable and not (self.path / "data.mdb").exists():
            raise FileNotFoundError(self.path)
        while True:
            try:
                return lmdb.open(
                    str(self.path),
                    readonly=not writable,
                    create=writable,
                    map_size=self._map_size,
                    max_dbs=self._max_databases,
                    max_readers=_MAX_READERS,
                    max_spare_txns=0,  # a cached one would be torn down by a forked child
                    readahead=False,
                    mode=0o644,
                )
            except lmdb.MemoryError:
                if self._map_size <= _SMALLEST_MAP:
                    raise
                self._map_size //= 2

    def _refuse_damaged(self, env: lmdb.Environment) -> None:
        # Pages beyond the end of the file would kill the process with SIGBUS when they are read.
        info = env.info()
        needed = (info["last_pgno"] + 1) * env.stat()["psize"]
        size = (self.path / "data.mdb").stat().st_size
        if info["last_txnid"] and size < needed:
            raise corrupt(self.path, f"The file has {size} bytes of {needed}")

    @property
    def pages(self) -> tuple[int, int]:
        """How many pages the file has, used or free, and how many bytes each has."""
        self._restart_if_forked()
        self._gate.enter()
        try:
            return self._env.info()["last_pgno"] + 1, self._env.stat()["psize"]
        finally:
            self._gate.leave()

    def view(self, work: Callable[[Transaction[bytes]], T]) -> T:
        """Run `work` on one snapshot of the file.

        It may run more than once: `handle` raises `MissingHandleError` for what has to be opened first.
        """
        self._restart_if_forked()
        for _ in range(_RETRIES):
            self._gate.enter()
            try:
                with self._env.begin() as txn:
                    return work(txn)
            except (MissingHandleError, lmdb.MapResizedError, lmdb.ReadersFullError) as error:
                problem = error
            finally:
                self._gate.leave()
            self._recover(problem)
        raise self._unsettled("read")

    def handle(self, name: bytes) -> Database:
        """Return the handle of a sub-database, within `view` or `update`."""
        try:
            return self._handles[name]
        except KeyError:
            raise MissingHandleError(name) from None

    def _open_handle(self, name: bytes) -> None:
        with self._opening:
            self._make_room()
            self._gate.enter()
            try:
                if name not in self._handles:
                    self._handles[name] = self._env.open_db(name, create=False)
                    self._slots += 1
            except lmdb.NotFoundError:
                return  # dropped since it was looked up; the next snapshot leads elsewhere
            except lmdb.MapResizedError as error:
                resized = error
            else:
                return
            finally:
                self._gate.leave()
        self._recover(resized)

    def update(self, work: Callable[[Transaction[bytes]], T]) -> T:
        """Run `work` in a write transaction that is durable when this returns; an error undoes it all.

        `work` may run more than once: it starts over when the file has to grow or a sub-database to be opened first.
        """
        self._become_writable()
        for _ in range(_RETRIES):
            # Writers of this process queue here, not inside the gate: who is inside keeps the running one from
            # ever having it alone.
            with self._writing:
                self._gate.enter()
                try:
                    with self._env.begin(write=True) as txn:
                        return work(txn)
                except (MissingHandleError, lmdb.MapFullError, lmdb.MapResizedError, lmdb.PanicError) as error:
                    problem = error
                finally:
                    self._gate.leave()
            self._recover(problem)
        raise self._unsettled("written")

    def update_structure(self, work: Callable[[Transaction[bytes]], T]) -> T:
        """Run `work` like `update`, where it may create and remove sub-databases; keep it short."""
        self._become_writable()
        with self._opening:
            self._make_room()
            before, env = dict(self._handles), self._env

            def attempt(txn: Transaction[bytes]) -> T:
                # What an earlier attempt opened went with its transaction, or with the file when that was reopened.
                self._handles = dict(before) if self._env is env else {}
                return work(txn)

            try:
                return self.update(attempt)
            except BaseException:
                self._handles = {name: handle for name, handle in self._handles.items() if name in before}
                raise

    def open_database(self, txn: Transaction[bytes], name: bytes, *, create: bool = False) -> Database:
        """Return the handle of a sub-database within `update_structure`, opening or creating it."""
        if name not in self._handles:
            self._handles[name] = self._env.open_db(name, txn=txn, create=create)
            self._slots += 1
        return self._handles[name]

    def remove_database(self, txn: Transaction[bytes], name: bytes) -> None:
        """Remove an emptied sub-database within `update_structure`, when no thread of this process looks at it."""
        handle = self.open_database(txn, name)
        with self._gate.alone(inside=1):
            txn.drop(handle, delete=True)
            del self._handles[name]

    def _become_writable(self) -> None:
        self._restart_if_forked()
        if not self._writable:
            with self._opening, self._gate.alone():
                if not self._writable:
                    self._reopen(writable=True)

    def _make_room(self) -> None:
        if self._slots + _SPARE_SLOTS > self._max_databases:
            with self._gate.alone():
                self._reopen(writable=self._writable)

    def _reopen(self, *, writable: bool) -> None:
        with self._env.begin() as txn:
            live = len(layout.pointers(txn, self.meta)) + len(layout.pending(txn, self.meta))
        self._max_databases = max(self._max_databases, 2 * live + 4 * _SPARE_SLOTS)
        self._env.close()
        self._open(writable=writable)

    def _recover(self, error: Exception) -> None:
        """Put right what kept a transaction from starting or finishing."""
        if isinstance(error, MissingHandleError):
            self._open_handle(error.name)
            return
        if isinstance(error, lmdb.ReadersFullError):
            self.check_readers()
            return
        with self._gate.alone():
            if isinstance(error, lmdb.PanicError):
                self._reopen(writable=self._writable)
            elif isinstance(error, lmdb.MapFullError):
                self._map_size = 2 * self._env.info()["map_size"]
                self._env.set_mapsize(self._map_size)
            else:
                self._env.set_mapsize(0)
                self._map_size = self._env.info()["map_size"]

    def _unsettled(self, doing: str) -> StoreError:
        return StoreError(
            f"The online store in {self.path} could not be {doing}",
            why="It kept changing, or too many processes read it",
            fix="Try again; if it persists, run fewer readers.",
        )

    def check_readers(self) -> None:
        """Free the reader slots of processes that died; their snapshots would keep old pages from being reused."""
        self._restart_if_forked()
        self._gate.enter()
        try:
            self._env.reader_check()
        finally:
            self._gate.leave()

    def close(self) -> None:
        """Wait for running transactions and unmap the file."""
        with self._gate.alone():
            self._env.close()

    def pause(self) -> AbstractContextManager[None]:
        """Keep transactions from running within the block, which starts when the running ones have ended."""
        return self._gate.alone()

    def note_fork(self) -> None:
        """In a forked child: open the file anew on first use, and leave the parent's map and locks as they are."""
        self._gate = Gate()
        self._restarting = threading.Lock()
        self._forked = True
