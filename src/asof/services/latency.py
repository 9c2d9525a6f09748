"""How long rows took until reads show them, counted in buckets."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0, 86400.0)
"""Upper bounds of the buckets in seconds, inclusive; one more bucket has the rest."""


@dataclass(frozen=True)
class Latency:
    """A histogram of seconds.

    Attributes:
        counts: Per bucket how many rows are in it and in no lower one.
        sum_s: Of all rows.
    """

    counts: tuple[int, ...] = (0,) * (len(BOUNDS_S) + 1)
    sum_s: float = 0.0

    @property
    def count(self) -> int:
        """How many rows were timed."""
        return sum(self.counts)

    def plus(self, since_us: pa.Int64Array, until_us: int) -> Latency:
        """Return this with more rows, one per instant that is not null; one that is yet to come took no time."""
        since = since_us.drop_null().to_numpy(zero_copy_only=False)
        took_s = np.maximum(until_us - since, 0) / 1e6
        found = np.bincount(np.searchsorted(BOUNDS_S, took_s, side="left"), minlength=len(self.counts))
        counts = tuple(before + int(more) for before, more in zip(self.counts, found, strict=True))
        return Latency(counts, self.sum_s + float(took_s.sum()))

    def quantile(self, share: float) -> float | None:
        """Return the upper bound of the bucket that has this share of rows at or below it, in seconds.

        None where nothing was timed; infinity in the last bucket.
        """
        if not self.count:
            return None
        bucket = bisect_left(list(accumulate(self.counts)), share * self.count)
        return BOUNDS_S[bucket] if bucket < len(BOUNDS_S) else float("inf")


NOTHING = Latency()
"""No rows yet."""
