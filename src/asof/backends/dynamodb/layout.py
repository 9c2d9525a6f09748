"""What the table holds: one item of pointers per project, one item per value of a generation, one per lock.

Every item has a partition key `k` and a sort key `s`, both binary:

- pointers of a project: k = "p" project, s = "views". Attributes: `v:view@version`, a `Pointer` each; `g:generation`, a
  `Record` each of those that are being written, or deleted.
- a value: k = "v" generation bucket, s = "k" key, or "h" and a hash of a key that is too long to be one. Attributes:
  `v`, the value, NULL where the key was forgotten; where arrivals changed it also `e`, the number of that change, `p`,
  the value before, and `pe`, that one's number; where the sort key is a hash, `n`, the key. One view's changes are
  numbered, and its pointer says up to which they count: so one write of the pointers makes changes of any number of
  items visible in one step.
- a lock of a source: k = "l" project, NUL, source, s = "lock". Attributes: `o`, who holds it, and `m`, a mark that
  changes whenever it is renewed.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from asof.errors import UnsupportedOperationError
from asof.interfaces.online import Generation, Progress, ViewKey

Key = tuple[bytes, bytes]
"""Partition key and sort key of an item."""
Item = dict[str, Any]

BUCKETS = 32
"""Partition keys that a generation is spread over, for one alone serves 1,000 small writes a second."""
LARGEST = 190_000
"""Bytes of the largest value: an item holds two of them, and at most 400 KB with names and keys."""
_LONGEST_KEY = 1000


class Pointer(msgspec.Struct, frozen=True, array_like=True):
    """The current generation of a view version.

    Attributes:
        generation: Where its values are.
        buckets: One bit for every bucket that holds some.
        seen: The number of the last change that counts.
        claimed: The number of the last change that was begun; beyond `seen` while one is under way or was broken off.
        digest: Of what that change writes: whoever writes the same again goes on with it.
        aborted: Numbers up to `claimed` that never count.
        token: Of who wrote this last, so that nobody takes what another wrote for its own.
    """

    number: int
    instant_us: int
    written_at_us: int
    meaning: str
    keys: int
    progress: Progress | None
    generation: bytes
    buckets: int
    seen: int = 0
    claimed: int = 0
    digest: bytes = b""
    aborted: tuple[int, ...] = ()
    token: bytes = b""

    def shown(self) -> Generation:
        """Return what the contract shows of it."""
        return Generation(self.number, self.instant_us, self.keys, self.written_at_us, self.meaning, self.progress)

    def counts(self, number: int) -> bool:
        """Return whether a change counts."""
        return number <= self.seen and number not in self.aborted

    def basis(self) -> tuple[bytes, int, tuple[int, ...]]:
        """Return what decides which values are read."""
        return self.generation, self.seen, self.aborted


class Record(msgspec.Struct, frozen=True, array_like=True):
    """A generation that is not switched in: its values are written or deleted.

    Attributes:
        seen_s: When somebody last worked on it, in seconds since the epoch.
        buckets: One bit for every bucket that may hold values.
        deleting: Whether it can no longer be switched in.
    """

    seen_s: int
    buckets: int
    deleting: bool


encode = msgspec.msgpack.Encoder().encode
_pointer = msgspec.msgpack.Decoder(Pointer).decode
_record = msgspec.msgpack.Decoder(Record).decode


class Pointers:
    """The decoded item of a project's pointers."""

    __slots__ = ("raws", "records", "views")

    def __init__(self, project: str, item: Item | None) -> None:
        """Decode an item; None is a project that nothing was written of."""
        self.raws: dict[ViewKey, bytes] = {}
        self.views: dict[ViewKey, Pointer] = {}
        self.records: dict[str, tuple[bytes, Record]] = {}
        for name, value in (item or {}).items():
            if name.startswith("v:"):
                view, _, version = name[2:].rpartition("@")
                key = ViewKey(project, view, int(version))
                self.raws[key] = value["B"]
                self.views[key] = _pointer(value["B"])
            elif name.startswith("g:"):
                self.records[name] = value["B"], _record(value["B"])


def pointers_key(project: str) -> Key:
    """Return the key of a project's pointers."""
    return b"p" + project.encode(), b"views"


def lock_key(project: str, source: str) -> Key:
    """Return the key of a source's lock."""
    return b"l%s\0%s" % (project.encode(), source.encode()), b"lock"


def pointer_name(view: ViewKey) -> str:
    """Return the attribute of a view's pointer."""
    return f"v:{view.view}@{view.version}"


def record_name(generation: bytes) -> str:
    """Return the attribute of a generation's record."""
    return f"g:{generation.hex()}"


def generation_of(name: str) -> bytes:
    """Return the generation whose record an attribute is."""
    return bytes.fromhex(name[2:])


def hashed(key: bytes) -> int:
    """Return 64 bits of a key; the lowest say which bucket its value is in."""
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")


def bucket_key(generation: bytes, bucket: int) -> bytes:
    """Return the partition key of a bucket."""
    return b"v%s%c" % (generation, bucket)


def value_key(generation: bytes, key: bytes) -> Key:
    """Return the key of the item of a value."""
    sort = b"k" + key if len(key) <= _LONGEST_KEY else b"h" + hashlib.sha256(key).digest()
    return bucket_key(generation, hashed(key) % BUCKETS), sort


def long_key(key: bytes) -> Item:
    """Return the attribute that keeps a key which is too long to be a sort key; others need none."""
    return {} if len(key) <= _LONGEST_KEY else {"n": {"B": key}}


def key_of(item: Item, view: ViewKey) -> bytes:
    """Return the key whose value an item holds.

    Raises:
        UnsupportedOperationError: its hash is all there is.
    """
    sort: bytes = item["s"]["B"]
    if sort.startswith(b"k"):
        return sort[1:]
    if "n" not in item:
        raise UnsupportedOperationError(
            f"A key of view {view.view}@{view.version} cannot be told from its hash",
            why="It is longer than 1,000 bytes, and an older version of asof wrote it",
            fix="Materialize the view again.",
        )
    found: bytes = item["n"]["B"]
    return found


def attributes(key: Key) -> Item:
    """Return a key as the service wants it."""
    return {"k": {"B": key[0]}, "s": {"B": key[1]}}
