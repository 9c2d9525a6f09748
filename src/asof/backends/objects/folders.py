"""Folders of objects as a shelf: a small object, which comes last and goes first, says which objects are its files."""

from __future__ import annotations

import shutil
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from asof.backends.objects.faults import explained
from asof.backends.objects.files import ObjectFiles, item_of
from asof.errors import ConflictError, CorruptDataError
from asof.interfaces.files import FileItem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from obstore import UpdateVersion

    from asof.backends.objects.location import Location

_SUFFIX = ".json"
_DATA = ".files"


class _Folder(msgspec.Struct, frozen=True):
    """Which objects are the files of a folder: their keys' last parts and sizes."""

    id: str
    files: dict[str, tuple[str, int]]


class ObjectFolders:
    """Folders below a prefix. Objects that no folder names are work in progress, or what a killed writer left."""

    def __init__(self, location: Location, prefix: str) -> None:
        """Hold folders below `prefix` in `location`."""
        self._location = location
        self._index = ObjectFiles(location, prefix)
        self._data = self._index.below(_DATA)

    def names(self) -> list[str]:
        """Return the names of the folders that are there whole, sorted."""
        return [one.name.removesuffix(_SUFFIX) for one in self._index.items() if one.name.endswith(_SUFFIX)]

    def path(self, name: str) -> Path:
        """Return where on this machine a copy of a folder is, or would be."""
        found = self._read(name)
        if found is None:
            return Path(self._index.place(name))
        folder, item = found
        paths = {file: self._fetch(folder, file) for file in folder.files}

        def write(path: Path) -> None:
            path.mkdir()
            for file, source in paths.items():
                shutil.copyfile(source, path / file)

        return self._location.copy(f"{self._index.prefix}/{name}", item.tag, write)

    def file(self, name: str, file: str) -> Path:
        """Return where on this machine a copy of a file of a folder is, or would be."""
        found = self._read(name)
        if found is None or file not in found[0].files:
            return Path(self._index.place(name)) / file
        return self._fetch(found[0], file)

    def items(self, name: str) -> list[FileItem]:
        """Return the files of a folder, by name."""
        found = self._read(name)
        if found is None:
            return []
        folder, index = found
        return [FileItem(file, size, index.modified_ns, key) for file, (key, size) in sorted(folder.files.items())]

    def chunks(self, name: str, item: FileItem) -> Iterator[bytes]:
        """Read a file of a folder piece by piece."""
        return self._data.chunks(FileItem(item.tag, item.size_bytes, 0, item.tag))

    def replace(self, name: str, files: Sequence[Path]) -> None:
        """Put files in the places of those of their names, all in one step."""
        import obstore
        from obstore.exceptions import PreconditionError

        found = self._read(name)
        if found is None:
            raise _changed(name)
        folder, item = found
        added = self._upload(files)
        content = msgspec.json.encode(_Folder(uuid.uuid4().hex, {**folder.files, **added}))
        key = self._index.key(f"{name}{_SUFFIX}")
        try:
            with explained(self._index.place(name)):
                try:
                    meta = obstore.head(self._location.store, key)
                    if item_of(meta).tag != item.tag:
                        raise _changed(name)
                    same: UpdateVersion = {"e_tag": meta["e_tag"]}
                    if meta["version"] is not None:  # which is what GCS compares
                        same["version"] = meta["version"]
                    obstore.put(self._location.store, key, content, mode=same, use_multipart=False)
                except PreconditionError as error:
                    raise _changed(name) from error
        except (ConflictError, FileNotFoundError) as error:
            self._data.delete(stored for stored, _ in added.values())
            raise _changed(name) from error
        self._data.delete(folder.files[file][0] for file in added if file in folder.files)

    @contextmanager
    def adding(self, name: str) -> Iterator[Path]:
        """Give an empty folder on this disk that is uploaded, and then there, when the block ends without an error."""
        if self._index.find(f"{name}{_SUFFIX}") is not None:
            raise _taken(name)
        with self.working(name) as temporary:
            yield temporary
            files = self._upload(sorted(temporary.iterdir()))
            content = msgspec.json.encode(_Folder(uuid.uuid4().hex, files))
            try:
                self._index.create(f"{name}{_SUFFIX}", lambda path: path.write_bytes(content))
            except FileExistsError as error:
                self._data.delete(stored for stored, _ in files.values())
                raise _taken(name) from error

    @contextmanager
    def working(self, name: str) -> Iterator[Path]:
        """Give an empty folder on this disk, which is deleted when the block ends."""
        with self._location.scratch() as folder:
            yield folder

    def remove(self, name: str) -> None:
        """Delete a folder: first what names its files, then those."""
        found = self._read(name)
        self._index.delete([f"{name}{_SUFFIX}"])
        if found is not None:
            self._data.delete(stored for stored, _ in found[0].files.values())

    def _upload(self, files: Sequence[Path]) -> dict[str, tuple[str, int]]:
        stored = {}
        for file in files:
            key = f"{uuid.uuid4().hex}-{file.name}"
            self._data.replace(key, lambda path, file=file: shutil.copyfile(file, path))  # type: ignore[misc]
            stored[file.name] = (key, file.stat().st_size)
        return stored

    def _fetch(self, folder: _Folder, file: str) -> Path:
        stored, size = folder.files[file]
        return self._data.fetch(FileItem(stored, size, 0, stored))  # a key is written once

    def _read(self, name: str) -> tuple[_Folder, FileItem] | None:
        item = self._index.find(f"{name}{_SUFFIX}")
        if item is None:
            return None
        try:
            found = self._index.fetch(item).read_bytes()
            return msgspec.json.decode(found, type=_Folder), item
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            raise CorruptDataError(
                f"{self._index.place(f'{name}{_SUFFIX}')} does not say which files {name!r} has",
                why=str(error),
                fix="Restore it from a backup, or delete it.",
            ) from error


def _taken(name: str) -> ConflictError:
    return ConflictError(f"There already is one named {name!r}", fix="Choose another name, or delete that one first.")


def _changed(name: str) -> ConflictError:
    return ConflictError(f"{name!r} was changed or deleted meanwhile", fix="Try again.")
