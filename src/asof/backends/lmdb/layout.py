"""What the file holds: one sub-database per generation, and one named "meta" that says which of them count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from asof.interfaces.online import Generation, Progress, ViewKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmdb import Transaction
    from lmdb import _Database as Database

FORMAT = b"2"
READABLE = (b"1", FORMAT)  # pointers of the first format have no progress
META = b"meta"
FORMAT_KEY = b"format"
_LAST_NUMBER = b"last"
_POINTER = b"v\0"
_PENDING = b"w\0"
_EMPTIED = b"x\0"


class Pointer(msgspec.Struct, frozen=True, kw_only=True):
    """The current generation of a view version, and the sub-database that holds its values."""

    database: str
    project: str
    view: str
    version: int
    number: int
    instant_us: int
    keys: int
    written_at_us: int
    meaning: str
    progress: Progress | None = None

    @property
    def generation(self) -> Generation:
        """What the contract shows of it."""
        return Generation(self.number, self.instant_us, self.keys, self.written_at_us, self.meaning, self.progress)

    @property
    def view_key(self) -> ViewKey:
        """The view version it belongs to."""
        return ViewKey(self.project, self.view, self.version)


_encode = msgspec.json.Encoder().encode
decode_pointer = msgspec.json.Decoder(Pointer).decode


def pointer_key(view: ViewKey) -> bytes:
    """Return where the pointer of a view version is in meta."""
    return _project_prefix(view.project) + f"{view.view}\0{view.version}".encode()


def put_pointer(txn: Transaction[bytes], meta: Database, pointer: Pointer) -> None:
    """Write a pointer, in place of the one that was there."""
    txn.put(pointer_key(pointer.view_key), _encode(pointer), db=meta)


def pointers(txn: Transaction[bytes], meta: Database, project: str | None = None) -> list[Pointer]:
    """Return all pointers, or those of one project."""
    prefix = _POINTER if project is None else _project_prefix(project)
    return [decode_pointer(value) for _, value in _scan(txn, meta, prefix)]


def _project_prefix(project: str) -> bytes:
    return _POINTER + project.encode() + b"\0"


def new_database(txn: Transaction[bytes], meta: Database) -> bytes:
    """Return a name that no sub-database of this file ever had, and note that somebody is writing it."""
    number = int(txn.get(_LAST_NUMBER, b"0", db=meta)) + 1
    txn.put(_LAST_NUMBER, b"%d" % number, db=meta)
    name = b"g%d" % number
    txn.put(_PENDING + name, b"", db=meta)
    return name


def pending(txn: Transaction[bytes], meta: Database) -> list[bytes]:
    """Return the sub-databases that are being written, or were when their writer died."""
    return [key.removeprefix(_PENDING) for key, _ in _scan(txn, meta, _PENDING)]


def clear_pending(txn: Transaction[bytes], meta: Database, name: bytes) -> bool:
    """Note that a sub-database is written; False where it was taken from its writer, who seemed dead."""
    return bool(txn.delete(_PENDING + name, db=meta))


def mark_emptied(txn: Transaction[bytes], meta: Database, name: bytes) -> None:
    """Note that a sub-database holds nothing and that no pointer leads to it."""
    txn.delete(_PENDING + name, db=meta)
    txn.put(_EMPTIED + name, b"", db=meta)


def emptied(txn: Transaction[bytes], meta: Database) -> list[bytes]:
    """Return the sub-databases that hold nothing and only have to go."""
    return [key.removeprefix(_EMPTIED) for key, _ in _scan(txn, meta, _EMPTIED)]


def clear_emptied(txn: Transaction[bytes], meta: Database, name: bytes) -> None:
    """Note that a sub-database is gone."""
    txn.delete(_EMPTIED + name, db=meta)


def _scan(txn: Transaction[bytes], meta: Database, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    with txn.cursor(db=meta) as cursor:
        if not cursor.set_range(prefix):
            return
        for key, value in cursor.iternext():
            if not key.startswith(prefix):
                return
            yield key, value
