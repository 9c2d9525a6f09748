"""Erases rows out of files that the project wrote: intervals, quarantine, dead letters, served answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from asof.errors import CorruptDataError
from asof.services.serving_log import ROWS

if TYPE_CHECKING:
    from pathlib import Path

    from asof.interfaces import FolderShelf
    from asof.interfaces.deadletters import SourceDeadLetters
    from asof.interfaces.files import FileItem, Files
    from asof.services.erased_rows import Wanted

_SUFFIX = ".parquet"


def in_files(files: Files, wanted: Wanted, *, erase: bool) -> int:
    """Count rows in the Parquet files of a folder, and with `erase` write those files again without them.

    A file that has no other rows is deleted.
    """
    return sum(_in_file(files, item, wanted, erase=erase, keep_empty=False) for item in _parquet(files))


def in_intervals(files: Files, wanted: Wanted, *, erase: bool) -> int:
    """Count likewise in the files of a batch source, of which an empty one says that its interval was run."""
    return sum(_in_file(files, item, wanted, erase=erase, keep_empty=True) for item in _parquet(files))


def _parquet(files: Files) -> list[FileItem]:
    return [item for item in files.items() if item.name.endswith(_SUFFIX)]


def _in_file(files: Files, item: FileItem, wanted: Wanted, *, erase: bool, keep_empty: bool) -> int:
    place = files.place(item.name)
    try:
        path = files.fetch(item)
        with pq.ParquetFile(path) as file:
            names = [name for name in wanted.names if name in file.schema_arrow.names]
            if len(names) < len(wanted.names):
                return 0
            found = wanted.count(file.read(columns=names), own_names=True)
            whole = file.read() if found and erase else None
    except FileNotFoundError:
        return 0  # replaced or deleted meanwhile; the search afterwards sees what is there then
    except (pa.ArrowException, OSError) as error:
        raise damaged(place, error) from error
    if whole is not None:
        rest = whole.filter(pc.invert(wanted.mask(whole, own_names=True)))
        if rest.num_rows or keep_empty:
            files.replace(item.name, lambda target: _write(rest, target))
        else:
            files.delete([item.name])
    return found


def in_letters(letters: SourceDeadLetters, until: int, wanted: Wanted, *, erase: bool) -> int:
    """Count dead letters that are about the entities, and with `erase` forget them."""
    found = [one.id for entry in letters.entries(until) for one in letters.read(entry) if wanted.names_in(one.value)]
    if found and erase:
        letters.forget(found)
    return len(found)


def in_serving_log(shelf: FolderShelf, wanted: Wanted, *, erase: bool) -> int:
    """Count rows of the serving log; a folder without other rows is deleted."""
    total = 0
    for name in shelf.names():
        path = shelf.file(name, ROWS)
        try:
            table = pq.read_table(path, partitioning=None)
        except FileNotFoundError:
            continue  # pruned meanwhile
        except (pa.ArrowException, OSError) as error:
            raise damaged(str(path), error) from error
        gone = wanted.mask(table)
        found = int(pc.sum(gone).as_py() or 0)
        total += found
        if not found or not erase:
            continue
        if found == table.num_rows:
            shelf.remove(name)
            continue
        rest = table.filter(pc.invert(gone))
        with shelf.working(name) as folder:
            _write(rest, folder / ROWS)
            shelf.replace(name, [folder / ROWS])
    return total


def _write(table: pa.Table, target: Path) -> None:
    pq.write_table(table, target, compression="zstd")


def damaged(place: str, error: Exception) -> CorruptDataError:
    """Return the error of a file that nobody can tell the rows of."""
    return CorruptDataError(
        f"{place} cannot be read, so nobody can tell whose rows it holds",
        why=str(error).splitlines()[0] if str(error) else "",
        fix="Bring it back from a backup, or delete it; then erase again.",
    )
