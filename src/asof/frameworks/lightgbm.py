"""Rows as a LightGBM dataset that is binned from disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np

from asof.errors import InputError
from asof.frameworks.columns import EncodedColumn
from asof.frameworks.mapped import MappedColumns
from asof.frameworks.matrix import parts

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from asof.frameworks.columns import Array
    from asof.frameworks.streams import Groups

_MATRIX = "matrix"


def dataset(
    source: Groups,
    features: Sequence[str],
    label: str | None,
    folder: str | os.PathLike[str] | None,
    options: dict[str, Any],
) -> Any:
    """Return a Dataset on a memory-mapped matrix, whose file has no name any more; labels are in memory.

    Raises:
        InputError: there are no rows.
    """
    if not len(source):
        raise InputError("A LightGBM dataset cannot be made of no rows", fix="Give a spine or a split that has some.")
    labels: list[Array] = []

    def batches() -> Iterator[dict[str, Array]]:
        for matrix, known in parts(source, features, label):
            if known is not None:
                labels.append(known)
            yield {_MATRIX: matrix}

    # Not a lightgbm.Sequence: of few rows with NaN that dropped a 0/1 column which the same matrix in memory keeps.
    column = EncodedColumn(_MATRIX, np.dtype(np.float64), (len(features),))
    matrix = MappedColumns([column], len(source), batches(), folder).column(_MATRIX)
    known = None if label is None else np.concatenate(labels)
    return lightgbm.Dataset(matrix, label=known, feature_name=list(features), **options)
