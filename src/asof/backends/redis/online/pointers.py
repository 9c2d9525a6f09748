"""What the server holds of a project: a hash of pointers, and per generation a hash of values."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Names:
    """The keys of projects.

    Attributes:
        tagged: Whether the project is the part of a key that says which slot of a cluster it is in, so that all keys
            of a project are with one master.
    """

    tagged: bool = False

    def pointers(self, project: str) -> bytes:
        """Return the key of the pointers: per view its pointer and, behind \1 and \2, its values and how many."""
        return self._key(project, b"views")

    def writing(self, project: str) -> bytes:
        """Return the key of the values that are being written, each with when its writer last showed itself."""
        return self._key(project, b"writing")

    def replicated(self, project: str) -> bytes:
        """Return the key that is set to see how far replicas are."""
        return self._key(project, b"replicated")

    def lock(self, project: str, source: str) -> bytes:
        """Return the key of a source's lock."""
        return self._key(project, b"lock:%s" % source.encode())

    def values(self, view: ViewKey, name: str) -> bytes:
        """Return the key of the values of one generation, which has a name of its own among all that ever were."""
        return self._key(view.project, b"values:%s@%d:%s" % (view.view.encode(), view.version, name.encode()))

    def _key(self, project: str, rest: bytes) -> bytes:
        return (b"asof:{%s}:%s" if self.tagged else b"asof:%s:%s") % (project.encode(), rest)


def field(view: ViewKey) -> bytes:
    """Return the field of a view version among the pointers."""
    return b"%s@%d" % (view.view.encode(), view.version)


def view_of(project: str, name: bytes) -> ViewKey | None:
    """Return the view version of a field, or None where it is not a pointer's."""
    if name.endswith((b"\1", b"\2")):
        return None
    view, _, version = name.decode().rpartition("@")
    return ViewKey(project, view, int(version))
