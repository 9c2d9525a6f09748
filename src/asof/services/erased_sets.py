"""Erases rows out of training sets, and notes in their manifests that rows of them or their sources went."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from asof.clock import iso
from asof.kernel.content_hash import ContentHash, table_hash
from asof.services import manifest as records
from asof.services.erased_files import damaged
from asof.services.splits import SPLIT
from asof.services.statistics import describe_column
from asof.services.training_set import DATA, MANIFEST, SPINE
from asof.services.training_sets import file_hash

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from asof.interfaces import FolderShelf, TableWriter
    from asof.services.erased_rows import Wanted
    from asof.services.training_set import TrainingSet


class SetErasure:
    """The rows of some entities in one training set: in its spine and in its data."""

    def __init__(self, found: TrainingSet, shelf: FolderShelf, writer: TableWriter, wanted: Wanted) -> None:
        """Look at a training set that is on a shelf.

        Raises:
            CorruptDataError: its files cannot be read.
        """
        self._manifest = found.manifest
        self._name = found.name
        self._shelf = shelf
        self._writer = writer
        self._wanted = wanted
        self._data = found.file(DATA)
        try:
            with found.file(SPINE).open("rb") as file:
                self._spine = pa.ipc.open_file(file).read_all()
            with pq.ParquetFile(self._data) as data:
                self._rows = data.metadata.num_rows
                found_rows = sum(wanted.count(pa.Table.from_batches([one])) for one in data.iter_batches())
        except (pa.ArrowException, OSError) as error:
            raise damaged(f"Training set {found.name!r}", error) from error
        self.count = wanted.count(self._spine) + found_rows

    def erase(self, at_us: int, inputs: Collection[str]) -> None:
        """Write the files again without the rows; of a set that has none note which of its sources lose some.

        Its statistics and counts become those of the rows that are left; parameters that were fitted stay.
        """
        touched = tuple(sorted({one.name for one in self._manifest.inputs} & {*inputs}))
        last = self._manifest.erasures[-1] if self._manifest.erasures else None
        partly = self._spine.num_rows != self._manifest.spine_rows or self._rows != self._manifest.rows
        if not self.count and not partly and (not touched or (last is not None and {*touched} <= {*last.inputs})):
            return
        with self._shelf.working(self._name) as folder:
            files = []
            manifest = self._manifest
            if self.count or partly:
                manifest = self._rewritten(folder)
                files = [folder / SPINE, folder / DATA]
            record = records.ErasureRecord(at=iso(at_us), rows=self._manifest.rows - manifest.rows, inputs=touched)
            manifest = msgspec.structs.replace(manifest, erasures=(*self._manifest.erasures, record))
            (folder / MANIFEST).write_bytes(records.encode(manifest))
            self._shelf.replace(self._name, [*files, folder / MANIFEST])

    def _rewritten(self, folder: Path) -> records.Manifest:
        spine = self._spine.filter(pc.invert(self._wanted.mask(self._spine)))
        self._writer.write(folder / SPINE, "arrow", spine.schema, spine.to_batches())
        with pq.ParquetFile(self._data) as data:
            schema = data.schema_arrow.remove_metadata()
            content = ContentHash(schema)

            def kept() -> Iterator[pa.RecordBatch]:
                for batch in data.iter_batches():
                    rows = pa.Table.from_batches([batch]).replace_schema_metadata(None)
                    for one in rows.filter(pc.invert(self._wanted.mask(rows))).to_batches():
                        content.update(one)
                        yield one

            self._writer.write(folder / DATA, "parquet", schema, kept())
        sha256, size_bytes = file_hash(folder / DATA)
        with pq.ParquetFile(folder / DATA) as data:
            names = data.schema_arrow.names
            statistics = tuple(describe_column(name, data.read(columns=[name]).column(0)) for name in names)
            counts: dict[str, int] = {}
            if self._manifest.splits:
                pairs = data.read(columns=[SPLIT]).column(0).value_counts().to_pylist()
                counts = {pair["values"]: pair["counts"] for pair in pairs}
            rows = data.metadata.num_rows
        return msgspec.structs.replace(
            self._manifest,
            spine_rows=spine.num_rows,
            spine_hash=table_hash(spine),
            rows=rows,
            immature_rows=spine.num_rows - rows,
            splits={name: counts.get(name, 0) for name in self._manifest.splits},
            data_hash=content.hexdigest(),
            data_sha256=sha256,
            data_bytes=size_bytes,
            statistics=statistics,
        )
