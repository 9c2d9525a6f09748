"""Rows as XGBoost matrices, exact ones in memory or quantised ones made batch by batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xgboost

from asof.errors import InputError
from asof.frameworks.matrix import parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from asof.frameworks.columns import Array
    from asof.frameworks.streams import Groups


def matrix(source: Groups, features: Sequence[str], label: str | None, options: dict[str, Any]) -> Any:
    """Return a DMatrix of all rows, which XGBoost holds as float32."""
    found = list(parts(source, features, label))
    data = np.concatenate([np.empty((0, len(features))), *(part for part, _ in found)])
    labels = None if label is None else np.concatenate([np.empty(0), *(part for _, part in found if part is not None)])
    return xgboost.DMatrix(data, label=labels, feature_names=list(features), **options)


def quantised(source: Groups, features: Sequence[str], label: str | None, options: dict[str, Any]) -> Any:
    """Return a QuantileDMatrix that was made from one group of rows after the other.

    Raises:
        InputError: there are no rows, so no quantiles.
    """
    if not len(source):
        raise InputError("A quantised matrix cannot be made of no rows", fix="Use to_xgboost(), which takes none.")
    return xgboost.QuantileDMatrix(_Groups(source, list(features), label), **options)


class _Groups(xgboost.DataIter):  # type: ignore[misc]
    """Gives XGBoost one group of rows at a time, as often as it starts over."""

    def __init__(self, source: Groups, features: list[str], label: str | None) -> None:
        self._source = source
        self._features = features
        self._label = label
        self._parts: Iterator[tuple[Array, Array | None]] = iter(())
        super().__init__()

    def reset(self) -> None:
        self._parts = parts(self._source, self._features, self._label)

    def next(self, input_data: Callable[..., Any]) -> bool:
        found = next((part for part in self._parts if len(part[0])), None)
        if found is None:
            return False
        input_data(data=found[0], label=found[1], feature_names=self._features)
        return True
