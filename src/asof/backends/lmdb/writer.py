"""Writes one generation into a sub-database of its own, and switches it in with the pointer, in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from asof.backends.lmdb import layout
from asof.backends.lmdb.claims import Claim, forget, is_claimed
from asof.backends.lmdb.failures import translated
from asof.errors import AsofError, StoreError
from asof.interfaces.generations import later, repeated, with_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from lmdb import Transaction
    from lmdb import _Database as Database

    from asof.backends.lmdb.environment import Environment
    from asof.interfaces.online import Generation, Progress, ViewKey

T = TypeVar("T")

# What is gathered and sorted before it is written, and what one transaction writes while other writers wait.
_GATHER_BYTES = 256 * 2**20
_TRANSACTION_BYTES = 64 * 2**20


class LmdbWriter:
    """A `GenerationWriter`. Pairs are gathered, sorted and written in transactions of some 64 MB."""

    def __init__(self, environment: Environment, view: ViewKey) -> None:
        """Claim a new sub-database, and remove those that dead writers left."""
        self._environment = environment
        self._view = view
        self._claims = environment.path / "writers"
        self._claim: Claim | None = None
        self._name = b""
        self._gathered: list[tuple[pa.Array, pa.Array]] = []
        self._gathered_bytes = 0
        self._committed = False
        with translated(environment.path, "be written"):
            environment.check_readers()
            try:
                environment.update_structure(self._begin)
            except BaseException:
                self._release()
                raise

    def _begin(self, txn: Transaction[bytes]) -> None:
        meta = self._environment.meta
        for name in layout.pending(txn, meta):
            if not is_claimed(self._claims, name):
                txn.drop(self._environment.open_database(txn, name), delete=False)
                layout.mark_emptied(txn, meta, name)
                forget(self._claims, name)
        for name in layout.emptied(txn, meta):
            self._environment.remove_database(txn, name)
            layout.clear_emptied(txn, meta, name)
        self._release()
        self._name = layout.new_database(txn, meta)
        self._environment.open_database(txn, self._name, create=True)
        self._claim = Claim(self._claims, self._name)

    def put(self, keys: pa.BinaryArray, values: pa.BinaryArray) -> None:
        """Write pairs; a null value is skipped. Keys must be unique within the generation, in any order.

        Raises:
            InputError: a key is null or comes twice.
            StoreError: the store failed; nothing of this generation will be seen.
        """
        keys, values = with_values(keys, values)
        if self._gathered_bytes and self._gathered_bytes + keys.nbytes + values.nbytes > _GATHER_BYTES:
            self._flush()
        self._gathered.append((keys, values))
        self._gathered_bytes += keys.nbytes + values.nbytes

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return what was put of these keys so far, keys in order."""
        self._flush()

        def look_up(txn: Transaction[bytes]) -> list[bytes | None]:
            handle = self._environment.handle(self._name)
            return [txn.get(key, None, handle) for key in keys]

        with translated(self._environment.path, "be read"):
            return self._environment.view(look_up)

    def replace(self, keys: pa.BinaryArray, values: pa.BinaryArray) -> None:
        """Write pairs over those that were put; keys are unique within the call, a null value forgets its key."""
        self._flush()
        self._update(lambda txn: put_pairs(txn, self._environment.handle(self._name), keys, values))

    def commit(self, instant_us: int, written_at_us: int, meaning: str, progress: Progress | None = None) -> Generation:
        """Switch the generation in and empty the one it replaces, durably and in one transaction.

        Raises:
            ConflictError: a generation of a later instant was switched in meanwhile; nothing changes.
        """
        last = None
        for write in self._transactions():
            if last is not None:
                self._update(last)
            last = write

        def switch(txn: Transaction[bytes]) -> layout.Pointer:
            meta = self._environment.meta
            if last is not None:
                last(txn)
            raw = txn.get(layout.pointer_key(self._view), db=meta)
            current = None if raw is None else layout.decode_pointer(raw)
            if current is not None and current.instant_us > instant_us:
                raise later(self._view, current.instant_us, instant_us)
            if not layout.clear_pending(txn, meta, self._name):
                raise _lost(self._view)
            pointer = layout.Pointer(
                database=self._name.decode(),
                project=self._view.project,
                view=self._view.view,
                version=self._view.version,
                number=1 if current is None else current.number + 1,
                instant_us=instant_us,
                keys=txn.stat(self._environment.handle(self._name))["entries"],
                written_at_us=written_at_us,
                meaning=meaning,
                progress=progress,
            )
            layout.put_pointer(txn, meta, pointer)
            if current is not None:
                empty(txn, self._environment, current.database.encode())
            return pointer

        pointer = self._update(switch)
        self._committed = True
        self._release()
        return pointer.generation

    def __enter__(self) -> LmdbWriter:
        """Start."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Discard what was not committed."""
        if self._committed or self._claim is None:
            return
        try:
            self._update(lambda txn: empty(txn, self._environment, self._name))
        except AsofError:
            pass  # a full disk cannot be cleaned up now; the next writer finds the claim released and does it
        finally:
            self._release()

    def _release(self) -> None:
        if self._claim is not None:
            self._claim.release()
            self._claim = None

    def _flush(self) -> None:
        for write in self._transactions():
            self._update(write)

    def _transactions(self) -> Iterator[Callable[[Transaction[bytes]], None]]:
        """Yield what writes the gathered pairs, one transaction each."""
        keys, values = self._sorted()
        rows = max(1, len(keys) * _TRANSACTION_BYTES // max(1, self._gathered_bytes))
        self._gathered, self._gathered_bytes = [], 0
        for start in range(0, len(keys), rows):
            part = keys.slice(start, rows).to_pylist(), values.slice(start, rows).to_pylist()
            yield lambda txn, part=part: self._write(txn, *part)  # type: ignore[misc]

    def _sorted(self) -> tuple[pa.Array, pa.Array]:
        if not self._gathered:
            return pa.array([], pa.binary()), pa.array([], pa.binary())
        keys = pa.concat_arrays([keys for keys, _ in self._gathered])
        values = pa.concat_arrays([values for _, values in self._gathered])
        if pc.all(pc.less(keys.slice(0, max(0, len(keys) - 1)), keys.slice(1))).as_py() is False:
            order = pc.array_sort_indices(keys)
            keys, values = keys.take(order), values.take(order)
        return keys, values

    def _write(self, txn: Transaction[bytes], keys: list[bytes], values: list[bytes]) -> None:
        with txn.cursor(db=self._environment.handle(self._name)) as cursor:
            append = not cursor.last() or bytes(cursor.key()) < keys[0]
            _, added = cursor.putmulti(zip(keys, values, strict=True), overwrite=False, append=append)
        if added != len(keys):
            raise repeated(self._view, len(keys) - added)

    def _update(self, work: Callable[[Transaction[bytes]], T]) -> T:
        with translated(self._environment.path, "be written"):
            return self._environment.update(work)


def put_pairs(txn: Transaction[bytes], handle: Database, keys: pa.BinaryArray, values: pa.BinaryArray) -> None:
    """Write pairs, in the order of their keys, over those that are there; a null value forgets its key."""
    if not len(keys):
        return
    if values.null_count:
        for key in keys.filter(values.is_null()).to_pylist():
            txn.delete(key, db=handle)
        keys, values = keys.filter(values.is_valid()), values.filter(values.is_valid())
    order = pc.array_sort_indices(keys)
    pairs = zip(keys.take(order).to_pylist(), values.take(order).to_pylist(), strict=True)
    with txn.cursor(db=handle) as cursor:
        cursor.putmulti(pairs, overwrite=True)


def empty(txn: Transaction[bytes], environment: Environment, name: bytes) -> None:
    """Free the pages of a sub-database; readers of older snapshots keep theirs. The next writer removes its name."""
    txn.drop(environment.handle(name), delete=False)
    layout.mark_emptied(txn, environment.meta, name)


def _lost(view: ViewKey) -> StoreError:
    return StoreError(
        f"What was written of view {view.view}@{view.version} was removed before it was switched in",
        why="The store was reset, or its lock files were deleted",
        fix="Materialize the view again.",
    )
