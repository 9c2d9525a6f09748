"""Where batch sources publish: a directory per meaning with a Parquet file per interval."""

from __future__ import annotations

import hashlib
import warnings
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from asof.backends.local import delta, elsewhere
from asof.backends.local.files import Files, find_files
from asof.backends.local.log import LocalLog
from asof.clock import from_us, iso, to_us
from asof.errors import MissingIntervalsWarning, NotBackfilledError
from asof.plan.batch import batch_of, intervals
from asof.plan.specs import meaning_hash

if TYPE_CHECKING:
    from collections.abc import Collection

    from asof.plan.specs import SourceSpec

_SUFFIX = ".parquet"
_SHOWN = 3


def folder(root: Path, source: SourceSpec) -> Path:
    """Return the directory of a batch source below `root`; another meaning has another one."""
    return root / f"{source.name}@{meaning_hash(source)[:16]}"


def interval_file(root: Path, source: SourceSpec, start_us: int) -> Path:
    """Return the file of the interval that starts then."""
    at = from_us(start_us)
    name = at.strftime("%Y%m%dT%H%M%S") + (f".{at.microsecond:06}" if at.microsecond else "")
    return folder(root, source) / f"{name}Z{_SUFFIX}"


def starts(root: Path, source: SourceSpec) -> list[int]:
    """Return the starts of the published intervals, sorted, in microseconds."""
    found = folder(root, source).glob(f"[0-9]*Z{_SUFFIX}")
    return sorted(to_us(datetime.fromisoformat(path.name.removesuffix(_SUFFIX))) for path in found)


def published_files(root: Path, source: SourceSpec, only: Collection[str] | None = None) -> Files:
    """Return the files of a batch source by interval, and warn of intervals that are missing between them.

    With `only`, files that are not in it are as good as absent.

    Raises:
        NotBackfilledError: no interval was run.
    """
    done = [us for us in starts(root, source) if only is None or str(interval_file(root, source, us)) in only]
    if not done:
        raise NotBackfilledError(
            f"Batch source {source.name!r} has no rows yet",
            why="No interval was run with its present definition",
            fix=f"Run `asof backfill {source.name} --start … --end …`.",
        )
    known = set(done)
    gone = [one for one in intervals(batch_of(source), done[0], done[-1]) if one.start_us not in known]
    if gone:
        shown = ", ".join(iso(one.start_us) for one in gone[:_SHOWN]) + (", …" if len(gone) > _SHOWN else "")
        end = iso(gone[-1].end_us)
        warnings.warn(
            f"Batch source {source.name!r} lacks {len(gone)} intervals between those that were run: {shown}. "
            f"Run `asof backfill {source.name} --start {iso(gone[0].start_us)} --end {end}`.",
            MissingIntervalsWarning,
            stacklevel=2,
        )
    return Files(tuple(str(interval_file(root, source, us)) for us in done), hive=False)


def version(root: Path, published: Path, source: SourceSpec) -> str:
    """Return what a source holds now, in words.

    That is a Delta table's version, an Iceberg table's snapshot, a hash of PostgreSQL's rows, the end of a stream's
    log (and what its history holds), else how many files there are and their fingerprint.
    """
    if source.stream is not None:
        log = LocalLog(published.with_name("log")).of(source.name)
        past = source.stream.history
        return f"entry {log.head().sequence}" + ("" if past is None else f" after {version(root, published, past)}")
    if source.kind == "delta":
        return f"version {delta.table_version(root, source)}"
    if source.kind in elsewhere.KINDS:
        return elsewhere.version(root, source)
    files = published_files(published, source) if source.kind == "batch" else find_files(root, source)
    digest = hashlib.sha256()
    for path in files.paths:
        stat = Path(path).stat()
        digest.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return f"{len(files.paths)} {'file' if len(files.paths) == 1 else 'files'} {digest.hexdigest()[:12]}"
