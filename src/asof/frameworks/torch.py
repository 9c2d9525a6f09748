"""Rows as PyTorch datasets: map-style over memory-mapped columns, and streamed batches."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from asof.frameworks.mapped import MappedColumns
from asof.frameworks.streams import Visit, batches

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from asof.frameworks.columns import Encoding
    from asof.frameworks.streams import Groups

_ROWS = 65_536


class MappedRows:
    """A map-style dataset: element i is row i, as tensors by column; a list of numbers gives these rows as a batch."""

    def __init__(self, source: Groups, encoding: Encoding, folder: str | os.PathLike[str] | None) -> None:
        """Write the columns of `source` below `folder` and map them into memory."""
        self._encoding = encoding
        rows = batches(source, encoding, _ROWS, Visit())
        self._columns = MappedColumns(encoding.columns, len(source), rows, folder)

    def __len__(self) -> int:
        return len(self._columns)

    def __getitem__(self, index: Any) -> Any:
        taken = self._columns.take(index)
        return self._encoding.element({name: torch.from_numpy(np.asarray(one)) for name, one in taken.items()})

    def column(self, name: str) -> Any:
        """Return a whole column as a tensor on the mapped memory, without a copy."""
        return torch.from_numpy(self._columns.column(name))


class StreamedRows(IterableDataset):  # type: ignore[misc]
    """An iterable dataset of whole batches, for `DataLoader(…, batch_size=None)`; its workers share the rows."""

    def __init__(self, source: Groups, encoding: Encoding, rows: int, visit: Visit) -> None:
        """Stream batches of `rows` rows; `visit` is for epoch 0 and, as a worker, one process of a distributed run."""
        super().__init__()
        self._source = source
        self._encoding = encoding
        self._rows = rows
        self._visit = visit
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()  # so that workers that live on see it

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next epoch, also for workers that run already; without it all have the first's."""
        self._epoch[0] = epoch

    def __iter__(self) -> Iterator[Any]:
        visit, info = self._visit, get_worker_info()
        if visit.seed is not None:
            visit = replace(visit, seed=visit.seed + int(self._epoch[0]))
        if info is not None:
            worker = visit.worker * info.num_workers + info.id
            visit = replace(visit, worker=worker, workers=visit.workers * info.num_workers)
        for arrays in batches(self._source, self._encoding, self._rows, visit):
            yield self._encoding.element({name: torch.from_numpy(values) for name, values in arrays.items()})
