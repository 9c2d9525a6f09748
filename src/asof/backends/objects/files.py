"""A folder of objects as `Files`: one conditional PUT adds a file, one PUT replaces it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from asof.backends.objects.faults import explained
from asof.errors import StoreError
from asof.interfaces.files import FileItem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from asof.backends.objects.location import Location

_REMOVING = ".removing"
"""An object that is there while a folder is deleted: the rest of the folder does not count."""
_CHUNK_BYTES = 8 * 2**20


class ObjectFiles:
    """The objects whose keys begin with a prefix, up to the next slash."""

    def __init__(self, location: Location, prefix: str) -> None:
        """Use the objects below `prefix`, which has no slash at its end, in `location`."""
        self.location = location
        self.prefix = prefix

    def below(self, name: str) -> ObjectFiles:
        """Return the folder of a name in this one."""
        return ObjectFiles(self.location, self.key(name))

    def beside(self, name: str) -> ObjectFiles:
        """Return the folder of a name next to this one."""
        parent = self.prefix.rpartition("/")[0]
        return ObjectFiles(self.location, f"{parent}/{name}" if parent else name)

    def key(self, name: str) -> str:
        """Return the key of a file in it, below the location's own prefix."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def place(self, name: str = "") -> str:
        """Return the URL of a file in it, or its own."""
        return f"{self.location.url}/{self.key(name) if name else self.prefix}".rstrip("/")

    def items(self) -> list[FileItem]:
        """Return the files right in it, by name; none while the folder is being removed."""
        found = [item_of(meta) for meta in self._listed()["objects"]]
        if any(item.name == _REMOVING for item in found):
            return []
        return sorted((item for item in found if not item.name.startswith(".")), key=lambda item: item.name)

    def folders(self) -> list[str]:
        """Return the names of the folders right in it, sorted."""
        names = (one.rstrip("/").rpartition("/")[2] for one in self._listed()["common_prefixes"])
        return sorted(name for name in names if not name.startswith("."))

    def find(self, name: str) -> FileItem | None:
        """Return a file, or None where it is not there."""
        import obstore

        try:
            with explained(self.place(name)):
                return item_of(obstore.head(self.location.store, self.key(name)))
        except FileNotFoundError:
            return None

    def fetch(self, item: FileItem) -> Path:
        """Return a copy on this machine's disk, made once and kept as long as it is read now and then."""

        def write(path: Path) -> None:
            import obstore

            with explained(self.place(item.name)):
                found = obstore.get(self.location.store, self.key(item.name))
                now = item_of(found.meta)
                if item.tag not in (now.tag, item.name):  # a tag may also be a name that is used once
                    raise _ReplacedError(now)
                chunks = iter(found.stream(_CHUNK_BYTES))
            with path.open("wb") as sink:
                while True:
                    with explained(self.place(item.name)):
                        chunk = next(chunks, None)
                    if chunk is None:
                        return
                    sink.write(chunk)

        while True:
            try:
                return self.location.copy(self.key(item.name), item.tag, write)
            except _ReplacedError as replaced:  # a copy has what its tag says, also when that comes back
                item = replaced.item

    def chunks(self, item: FileItem) -> Iterator[bytes]:
        """Read a file piece by piece."""
        import obstore

        with explained(self.place(item.name)):
            yield from obstore.get(self.location.store, self.key(item.name)).stream(_CHUNK_BYTES)

    def create(self, name: str, write: Callable[[Path], object]) -> None:
        """Add a file by a PUT on the condition that there is none.

        Where an answer is lost, the bytes tell whether the file that is there now is this one.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        data = self._bytes(write)
        store, key = self.location.store, self.key(name)
        try:
            with explained(self.place(name)):
                try:
                    obstore.put(store, key, data, mode="create", use_multipart=False)
                except (AlreadyExistsError, PreconditionError) as error:
                    if not self._holds(name, data):
                        raise FileExistsError(self.place(name)) from error
        except FileExistsError:
            raise
        except StoreError:
            if not self._holds(name, data):
                raise

    def replace(self, name: str, write: Callable[[Path], object]) -> None:
        """Put a file in the place of the one that may be there."""
        import obstore

        with self.location.scratch() as folder:
            path = folder / name.lstrip(".")
            write(path)
            with explained(self.place(name)):
                obstore.put(self.location.store, self.key(name), path)

    def delete(self, names: Iterable[str]) -> None:
        """Delete files, in this order."""
        import obstore

        for name in names:
            try:
                with explained(self.place(name)):
                    obstore.delete(self.location.store, self.key(name))
            except FileNotFoundError:
                continue

    def remove_folder(self, name: str) -> None:
        """Delete a folder in this one, under a mark that hides the rest of it."""
        folder = self.below(name)
        folder.replace(_REMOVING, lambda path: path.write_bytes(b""))
        folder.tidy()

    def tidy(self) -> None:
        """Bring the removal of this folder to its end, if one was begun."""
        if self.find(_REMOVING) is None:
            return
        names = [item_of(meta).name for meta in self._listed()["objects"]]
        self.delete([*(name for name in names if name != _REMOVING), _REMOVING])

    @contextmanager
    def alone(self, name: str) -> Iterator[bool]:
        """Say yes: who else is in this block cannot be known."""
        yield True

    def _listed(self) -> Any:
        import obstore

        with explained(self.place()):
            return obstore.list_with_delimiter(self.location.store, f"{self.prefix}/" if self.prefix else None)

    def _bytes(self, write: Callable[[Path], object]) -> bytes:
        with self.location.scratch() as folder:
            path = folder / "file"
            write(path)
            return path.read_bytes()

    def _holds(self, name: str, data: bytes) -> bool:
        import obstore

        try:
            with explained(self.place(name)):
                return bytes(obstore.get(self.location.store, self.key(name)).bytes()) == data
        except FileNotFoundError:
            return False


class _ReplacedError(Exception):
    """Another object has taken the place of the one that was listed."""

    def __init__(self, item: FileItem) -> None:
        self.item = item


def item_of(meta: Any) -> FileItem:
    """Return what the client says of an object."""
    modified = meta["last_modified"]
    modified_ns = int(modified.timestamp()) * 10**9 + modified.microsecond * 1000
    # Azure puts quotes around tags, but not in lists.
    tag = (meta["e_tag"] or f"{modified_ns}-{meta['size']}").strip('"')
    return FileItem(meta["path"].rpartition("/")[2], meta["size"], modified_ns, tag)
