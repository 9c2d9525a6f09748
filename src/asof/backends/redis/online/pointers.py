"""What the server holds of a project: a hash of pointers, and per generation a hash of values."""

from __future__ import annotations

import msgspec

from asof.interfaces.online import Generation, Progress, ViewKey

MARK = b""
"""The field that every hash of values has: where it is gone, so are the values, and nobody deleted them."""


class Pointer(msgspec.Struct, frozen=True, kw_only=True):
    """The current generation of a view version; how many keys it holds stands beside it."""

    number: int
    instant_us: int
    written_at_us: int
    meaning: str
    progress: Progress | None = None

    def generation(self, keys: int) -> Generation:
        """Return what the contract shows of it."""
        return Generation(self.number, self.instant_us, keys, self.written_at_us, self.meaning, self.progress)


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Pointer).decode


def pointers_key(project: str) -> bytes:
    """Return the key of a project's pointers: per view its pointer and, behind \\1 and \\2, its values and how many."""
    return b"asof:%s:views" % project.encode()


def writing_key(project: str) -> bytes:
    """Return the key of the values that are being written, each with when its writer last showed itself."""
    return b"asof:%s:writing" % project.encode()


def lock_key(project: str, source: str) -> bytes:
    """Return the key of a source's lock."""
    return b"asof:%s:lock:%s" % (project.encode(), source.encode())


def values_key(view: ViewKey, name: str) -> bytes:
    """Return the key of the values of one generation, which has a name of its own among all that ever were."""
    return b"asof:%s:values:%s@%d:%s" % (view.project.encode(), view.view.encode(), view.version, name.encode())


def field(view: ViewKey) -> bytes:
    """Return the field of a view version among the pointers."""
    return b"%s@%d" % (view.view.encode(), view.version)


def view_of(project: str, name: bytes) -> ViewKey | None:
    """Return the view version of a field, or None where it is not a pointer's."""
    if name.endswith((b"\1", b"\2")):
        return None
    view, _, version = name.decode().rpartition("@")
    return ViewKey(project, view, int(version))
