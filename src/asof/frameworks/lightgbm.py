"""Rows as a LightGBM dataset that is binned from disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np

from asof.frameworks.columns import EncodedColumn
from asof.frameworks.mapped import MappedColumns
from asof.frameworks.matrix import parts

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from asof.frameworks.columns import Array
    from asof.frameworks.streams import Groups

_MATRIX = "matrix"


class MappedMatrix(lightgbm.Sequence):  # type: ignore[misc]
    """A float64 matrix on disk, of which LightGBM reads a sample and then one batch of rows after the other."""

    batch_size = 65_536

    def __init__(self, mapped: MappedColumns) -> None:
        """Read the column `matrix`."""
        self._mapped = mapped

    def __len__(self) -> int:
        return len(self._mapped)

    def __getitem__(self, index: int | slice | list[int]) -> Array:
        return np.array(self._mapped.column(_MATRIX)[index])


def dataset(
    source: Groups,
    features: Sequence[str],
    label: str | None,
    folder: str | os.PathLike[str] | None,
    options: dict[str, Any],
) -> Any:
    """Return a Dataset whose features are on disk until it is constructed, and its labels in memory."""
    labels: list[Array] = [np.empty(0)]

    def batches() -> Iterator[dict[str, Array]]:
        for matrix, known in parts(source, features, label):
            if known is not None:
                labels.append(known)
            yield {_MATRIX: matrix}

    column = EncodedColumn(_MATRIX, np.dtype(np.float64), (len(features),))
    mapped = MappedColumns([column], len(source), batches(), folder)
    known = None if label is None else np.concatenate(labels)
    return lightgbm.Dataset(MappedMatrix(mapped), label=known, feature_name=list(features), **options)
