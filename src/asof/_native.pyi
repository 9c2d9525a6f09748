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

# Entity keys. Key columns are int64, string, binary, bool, date32 or timestamp[us, tz=UTC], all of one length.

def encode_keys(columns: list[pa.Array]) -> pa.BinaryArray:
    """Canonical bytes of each row's key: injective, stable for ever, typed; null where any part is null.

    A key is at most 400 bytes: a longer one is replaced by a tag and its SHA-256.

    Raises:
        TypeError: a column's type cannot be a key.
        ValueError: no column, or columns of different lengths.
    """

def encode_keys_py(types: list[str], columns: list[list[object]]) -> list[bytes | None]:
    """`encode_keys` straight from Python lists, for the few keys of an online read.

    Args:
        types: one of "int64", "string", "binary", "bool", "date", "timestamp" per column; the last two hold ints
            (days, microseconds).
        columns: one list per type, all of one length; None is a null key.

    Raises:
        TypeError: a value is not of its column's type; names the join key's position and the row. A bool is no int.
        OverflowError: an int that does not fit.
    """

def partition(columns: list[pa.Array], n: int) -> pa.Int32Array:
    """The hash partition in 0..n-1 of each row; the same on every machine and in every release; null keys go to 0."""

class KeyIndex:
    """Dense int32 codes of distinct non-null keys, in first-seen order."""

    def __init__(self, columns: list[pa.Array]) -> None: ...
    @property
    def codes(self) -> pa.Int32Array:
        """The codes of the columns the index was built from; -1 where the key is null."""

    def lookup(self, columns: list[pa.Array]) -> pa.Int32Array:
        """The code of each row; -1 where the key is null or unknown. TypeError if the types differ from the index's."""

    def extend(self, columns: list[pa.Array]) -> pa.Int32Array:
        """The code of each row, with new codes for new keys; -1 where the key is null."""

    def encoded(self) -> pa.BinaryArray:
        """The canonical bytes of every key, in code order: what `encode_keys` gives for it."""

    def __len__(self) -> int:
        """How many distinct keys have a code."""
