"""Rows as a tf.data.Dataset that streams batches."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from asof.frameworks.streams import elements

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asof.frameworks.columns import Encoding
    from asof.frameworks.streams import Groups, Visit


def dataset(source: Groups, encoding: Encoding, rows: int, visit: Visit) -> Any:
    """Return a dataset of batches; each time it is iterated over is one epoch, and shuffled anew if it has a seed."""
    epochs = count()

    def epoch() -> Iterator[Any]:
        number = next(epochs)
        one = visit if visit.seed is None else replace(visit, seed=visit.seed + number)
        return elements(source, encoding, rows, one)

    specs = {one.name: tf.TensorSpec((None, *one.shape), tf.as_dtype(one.dtype)) for one in encoding.columns}
    made = tf.data.Dataset.from_generator(epoch, output_signature=encoding.element(specs))
    return made if visit.workers > 1 else made.apply(tf.data.experimental.assert_cardinality(-(-len(source) // rows)))
