"""Counts the statuses of served values per feature: of every answer while there are few, of a random sample of many."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import TYPE_CHECKING

from asof.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from asof.server.metrics import Metrics
    from asof.services.online import OnlineFeatures

_PAUSE = 200  # times as long as the last look took: so looking takes half a hundredth of a worker's time at most
_SMALL = 16
_WITHOUT_VALUE = frozenset({"null", "missing", "expired"})


class FeatureCounts:
    """Looks at answers, as often as its share of the worker's time allows."""

    def __init__(self, metrics: Metrics) -> None:
        """Count into `metrics`."""
        self._metrics = metrics
        self._next: dict[str, float] = {}

    def look(self, service: str, answer: OnlineFeatures, keys: int, now_s: float) -> None:
        """Count an answer, unless the last one of the same service was counted just before.

        The time until the next one is random, so that the turns in which clients ask do not decide what is counted.
        """
        if now_s < self._next.get(service, 0.0):
            return
        metrics = self._metrics
        for feature, statuses, defaulted in _few(answer) if keys <= _SMALL else _many(answer):
            for status, count in statuses.items():
                metrics.count("asof_feature_values", service, feature, status, by=count)
            if defaulted:
                metrics.count("asof_feature_defaulted", service, feature, by=defaulted)
        took_s = time.perf_counter() - now_s
        self._next[service] = now_s + took_s * (1 + _PAUSE * random.uniform(0.5, 1.5))  # noqa: S311 - no secret


def _few(answer: OnlineFeatures) -> Iterator[tuple[str, dict[str, int], int]]:
    values = None
    for feature, statuses in answer.statuses.items():
        defaulted = 0
        if not _WITHOUT_VALUE.isdisjoint(statuses):
            values = values or answer.to_dict()
            pairs = zip(statuses, values[feature], strict=True)
            defaulted = sum(status in _WITHOUT_VALUE and value is not None for status, value in pairs)
        yield feature, Counter(statuses), defaulted


def _many(answer: OnlineFeatures) -> Iterator[tuple[str, dict[str, int], int]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        batch = answer.to_arrow(statuses=True)
    except InputError:  # of a feature that is named as another's statuses
        yield from _few(answer)
        return
    without = pa.array(sorted(_WITHOUT_VALUE))
    for at in range(0, batch.num_columns, 2):
        values, statuses = batch.column(at), batch.column(at + 1)
        defaulted = pc.sum(pc.and_(pc.is_in(statuses, without), values.is_valid())).as_py() or 0
        yield batch.schema.field(at).name, _counted(statuses), defaulted


def _counted(statuses: pa.Array) -> dict[str, int]:
    return {pair["values"]: pair["counts"] for pair in statuses.value_counts().to_pylist()}
