from collections.abc import Sequence

import pyarrow as pa

__version__: str

class WindowFeature:
    """One windowed feature of an event view, to be compiled into a `WindowPlan`."""

    def __init__(
        self,
        name: str,
        function: str,
        lane: int | None = None,
        window_us: int | None = None,
        hop_us: int | None = None,
        n: int | None = None,
        quantile: float | None = None,
    ) -> None:
        """Describes a feature; nothing is checked before `WindowPlan` compiles it.

        Args:
            name: Output column.
            function: One of count, sum, mean, min, max, stddev, variance, first, last, first_n, last_n,
                count_distinct, approx_count_distinct, percentile, top_k.
            lane: Index of the input column; None (only with count) counts events.
            window_us: Window length in microseconds; None is lifetime.
            hop_us: Grid of the window's tail in microseconds; given exactly when `window_us` is.
            n: List length of first_n, last_n (both oldest first) and top_k.
            quantile: Between 0 and 1, for percentile.
        """

class WindowPlan:
    """Features of one event view, compiled; history and online states share it.

    Result types: count, count_distinct and approx_count_distinct are int64; the sum of int64 and bool is int64, of
    decimal128(p, s) decimal128(38, s), of float64 float64; mean, stddev, variance and percentile are float64; min,
    max, first and last have the type of their column; first_n, last_n and top_k are lists of it.
    """

    def __init__(self, lanes: pa.Schema, features: Sequence[WindowFeature]) -> None:
        """Compiles the features.

        Raises:
            TypeError: A lane is not int64, float64, decimal128, bool, utf8, binary, timestamp(us, UTC) or date32, or a
                function does not take its type.
            ValueError: A feature is incomplete, contradictory or named twice.
        """

    @property
    def output_schema(self) -> pa.Schema:
        """One nullable field per feature, in order."""
