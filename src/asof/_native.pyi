from collections.abc import Sequence
from datetime import datetime

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
        by: int | None = None,
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

    def build_states(
        self,
        event_codes: pa.Int32Array,
        event_time: pa.Int64Array,
        available_at: pa.Int64Array | None,
        retracted_at: pa.Int64Array | None,
        lanes: pa.RecordBatch,
        n_keys: int,
        instant: int,
        threads: int,
    ) -> pa.BinaryArray:
        """The state of each of `n_keys` keys, by code, from all events known at `instant`; null: no event is known.

        A state answers every window at `instant` and later; an entity with events never vanishes, however old they are.

        Args:
            event_codes: The key of each event, from 0; -1 is no key. The position of an event is its ingest order.
            event_time: Microseconds.
            available_at: Microseconds; None is the event time.
            retracted_at: Microseconds, null where an event stands; None where all do.
            lanes: The plan's input columns, in order.
            n_keys: How many keys there are.
            instant: Events available later than this, or retracted by it, are left out.
            threads: How many threads to use.

        Raises:
            ValueError: lengths differ, a code past `n_keys`, or over 2 GiB of states.
            TypeError: columns of other types than the plan's.
        """

    def update_states(
        self,
        old: Sequence[bytes | None],
        event_codes: pa.Int32Array,
        event_time: pa.Int64Array,
        lanes: pa.RecordBatch,
        instant: int,
        threads: int,
    ) -> pa.BinaryArray:
        """The states of some keys with later arrivals taken in, by code.

        Every event counts, however late. Equal event times go by who came first: events that a state holds, then these
        in the order of their rows. A new state answers `instant` and later, or where the old one was built later, what
        that one does.

        Args:
            old: The state of each key, None where there is none yet.
            event_codes: The key of each event, a position in `old`; -1 is no key.
            event_time: Microseconds.
            lanes: The plan's input columns, in order.
            instant: The present; states are not to be asked about earlier instants any more.
            threads: How many threads to use.

        Raises:
            ValueError: lengths differ, a code past `old`, over 2 GiB of states, or states that the plan did not write.
            TypeError: columns of other types than the plan's.
        """

    def reader(self, defaults: pa.RecordBatch | None = None, chosen: list[int] | None = None) -> StateReader:
        """The plan made ready to read states; `defaults` as in `apply_defaults`.

        `chosen` are the positions of the features that are asked for, all by default: values of the others are not to
        be looked at, and a sum among them that does not fit is no error.
        """

    def history(
        self,
        event_codes: pa.Int32Array,
        event_time: pa.Int64Array,
        available_at: pa.Int64Array | None,
        retracted_at: pa.Int64Array | None,
        lanes: pa.RecordBatch,
        n_keys: int,
        query_codes: pa.Int32Array,
        query_time: pa.Int64Array,
        threads: int,
    ) -> pa.RecordBatch:
        """Answers every feature at every query, from all events of a partition.

        An event is visible at t if event_time < t, available_at <= t and not retracted_at <= t; it is in a window of
        length w and hop h if also event_time >= floor(t - w, h). All times are microseconds UTC. Equal inputs give
        equal bits, whatever the number of threads; the order of events matters only to first and last, and there
        only among equal event times (the row number is the ingest order).

        Args:
            event_codes: Key of each event, 0 to n_keys - 1; -1 is no key, and the event is ignored.
            event_time: When each event happened; any order, faster when ascending within a key.
            available_at: When each event could be known; None is at its event time.
            retracted_at: When each event was taken back, null for never; None is never.
            lanes: The input columns of the plan, one row per event. Nulls and NaN are ignored by their aggregate.
            n_keys: Number of keys.
            query_codes: Key of each query; -1 is no known key: empty windows, missing.
            query_time: Instant of each query; any order, duplicates allowed.
            threads: Threads to use; the interpreter is released meanwhile.

        Returns:
            One row per query, in query order: `output_schema`, then `__status` (uint8: 0 some event is visible,
            2 none is) and `__event_time` (int64, null if none: the newest visible event's time).

        Raises:
            OverflowError: A sum does not fit int64 or 38 decimal digits; names the feature.
            TypeError: An array has the wrong type; names it.
            ValueError: Lengths differ, a code is out of range, or an array that may not has nulls; names it.
        """

def window_start(length_us: int, hop_us: int, instant: int) -> int:
    """Where a window of a length and a hop begins at an instant, in microseconds since the epoch."""

def as_of(
    source_codes: pa.Int32Array,
    event_time: pa.Int64Array,
    available_at: pa.Int64Array | None,
    deleted: pa.BooleanArray | None,
    n_keys: int,
    query_codes: pa.Int32Array,
    query_time: pa.Int64Array,
    ttl_us: int | None,
    threads: int,
) -> pa.RecordBatch:
    """Finds the newest known row of each query's key.

    A row is visible at t if event_time <= t and available_at <= t. The newest goes by (event_time, available_at, row
    number). Codes, times and threads as in `WindowPlan.history`.

    Args:
        source_codes: Key of each row.
        event_time: From when each row holds.
        available_at: When each row could be known; None is at its event time.
        deleted: Tombstones, null is false; None is no tombstones.
        n_keys: Number of keys.
        query_codes: Key of each query.
        query_time: Instant of each query.
        ttl_us: Greatest age (t - event_time) that is still valid, itself included; None is any.
        threads: Threads to use.

    Returns:
        One row per query, in query order: `row` (int64, index of the source row, null unless present), `status` (uint8:
        0 present, 2 missing: nothing visible or a tombstone, 3 expired), `event_time` (int64, of the newest visible
        row whatever the status; null if there is none).

    Raises:
        TypeError: An array has the wrong type; names it.
        ValueError: Lengths differ, a code is out of range, or an array that may not has nulls; names it.
    """

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

# Defaults and statuses. A status is 0 present, 1 null, 2 missing, 3 expired, 4 stale, 5 error.

def apply_defaults(batch: pa.RecordBatch, defaults: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with the nulls of every column that has a default replaced by it.

    Args:
        batch: Any rows.
        defaults: One row, with some of the batch's columns in their types; null is no default.

    Raises:
        ValueError: not one row, or a default for an unknown column.
        TypeError: a default of another type than its column.
    """

def value_statuses(batch: pa.RecordBatch, row_status: pa.UInt8Array) -> pa.RecordBatch:
    """The uint8 status of every value, under the names of the batch's columns.

    Args:
        batch: Values before defaults.
        row_status: One status per row: that of all its values, but a null in a row that is present is 1.
    """

# Online values and answers.

class RowPlan:
    """How to pack, merge and read the newest rows of a state view: one value of bytes per entity."""

    def __init__(self, schema: pa.Schema, ttl_us: int | None = None, defaults: pa.RecordBatch | None = None) -> None:
        """Compiles the plan.

        Args:
            schema: The feature columns: bool, int8 to int64, uint8 to uint32, float32, float64, decimal128, string,
                binary, date32, timestamp(us, UTC), duration(us), time64(us), or lists of these (fixed-size ones too).
            ttl_us: A row older than this at the time of the read is expired; one of exactly this age is not.
            defaults: As in `apply_defaults`.

        Raises:
            TypeError: a column, named, cannot be stored, or a default has another type than its column.
        """

    def build(
        self,
        codes: pa.Int32Array,
        event_time: pa.Int64Array,
        available_at: pa.Int64Array | None,
        deleted: pa.BooleanArray | None,
        columns: pa.RecordBatch,
        n_keys: int,
        instant: int,
        order: pa.Int64Array | None = None,
    ) -> pa.BinaryArray:
        """The value of each of `n_keys` keys, by code, from all source rows known at `instant`; null: nothing known.

        A value holds the newest row at or before the instant, by (event time, available at, order), and every newer
        one, which reads see from its event time on. Rows of code -1 are left out.

        Args:
            codes: The key of each row.
            event_time: Microseconds.
            available_at: Microseconds; None is the event time.
            deleted: Whether the row is a tombstone; null is not.
            columns: The plan's columns, found by name.
            n_keys: How many keys there are.
            instant: Rows available later than this are left out.
            order: The ingest order; None is the position of the row.

        Raises:
            ValueError: columns missing, lengths differ, a code past `n_keys`, or over 2 GiB of values.
            TypeError: a column of another type than the plan's.
        """

    def merge(
        self, old: Sequence[bytes | None] | pa.BinaryArray, new: Sequence[bytes | None] | pa.BinaryArray, instant: int
    ) -> pa.BinaryArray:
        """The values of the same keys with the rows of both, known at `instant`; an older row never wins."""

    def read(self, values: Sequence[bytes | None], instant: int) -> Block:
        """The answers at `instant`, in the order of the values; None is a key without a value: missing.

        Raises:
            ValueError: bytes that are damaged, of other columns, or of a format this version does not read.
        """

    def failed(self, n_keys: int) -> Block:
        """The block of a read that failed: null or default values with status `error`."""

class StateReader:
    """A window plan made ready to read the stored states of event views."""

    def read(self, values: Sequence[bytes | None], instant: int) -> Block:
        """The answers at `instant`, in the order of the values; None is a key without a state: missing.

        The values, statuses and event times are those that `WindowPlan.history` gives at `instant` for the events
        that were known when the states were built, bit for bit.

        Raises:
            ValueError: a state was built after `instant`, or its bytes are damaged, of another plan, or of a format
                this version does not read.
            OverflowError: a sum that does not fit its type; names the feature.
        """

    def tiles(self, value: bytes) -> tuple[list[int], Block]:
        """What the tiles of one state hold, from the oldest to the newest: where each begins, and a row per tile.

        A row has every feature as of the tile's events alone. A tile that no window of a feature reaches any more does
        not hold it, and has it empty.

        Raises:
            ValueError, OverflowError: as `read`.
        """

    def failed(self, n_keys: int) -> Block:
        """The block of a read that failed: null or default values with status `error`."""

class Block:
    """The values of one view for n keys, in the keys' order, with their statuses and event times."""

    @staticmethod
    def from_arrow(
        batch: pa.RecordBatch, row_status: pa.UInt8Array | None = None, event_time: pa.Int64Array | None = None
    ) -> Block:
        """A block of columns computed elsewhere; without row statuses all rows are present."""

    def to_arrow(self, *, defaults: bool = True) -> pa.RecordBatch:
        """All columns, one row per key; with `defaults=False`, null where a default stands in."""

    def statuses(self) -> pa.RecordBatch:
        """The uint8 status of every value, under the names of the columns."""

    def event_time(self) -> pa.TimestampArray:
        """The event time of each row: of the newest row, or of the newest event counted; null where there is none."""

    def stale(self) -> Block:
        """The same values with status `stale`, but for those with status `error`."""

    def __len__(self) -> int:
        """How many keys it answers."""

class AnswerPlan:
    """The shape of all answers to one kind of read, compiled once."""

    def __init__(self, blocks: list[str], picks: list[tuple[int, int, str]]) -> None:
        """Names the blocks an answer is made of and picks its features.

        Args:
            blocks: One name per block, in the order in which `answer` takes them.
            picks: Per feature, in order: the position of its block, of its column in the block, and its name.
        """

    def answer(self, blocks: list[Block]) -> Answer:
        """The answer from blocks over the same keys. ValueError if they do not fit the plan."""

class Answer:
    """Picked features of n keys, in the keys' order. Values are after defaults."""

    def to_dict(self) -> dict[str, list[object]]:
        """Per feature one Python value per key; timestamps are datetimes in UTC.

        Raises:
            OverflowError: a time outside the years 1 to 9999.
        """

    def statuses(self) -> dict[str, list[str]]:
        """Per feature one status name per key: present, null, missing, expired, stale or error."""

    def event_times(self) -> list[list[datetime | None]]:
        """Per block one datetime in UTC per key, None where there is none."""

    def to_arrow(self, statuses: bool = False) -> pa.RecordBatch:
        """One row per key; with `statuses`, a string column `<feature>__status` after each feature."""

    def to_json(self, head: bytes, metadata: bool = False) -> bytes:
        """The answer as a JSON object, features by name once and then one list of values per key.

        Infinities are the strings "Infinity" and "-Infinity", NaN is null, timestamps are ISO 8601 with Z, dates ISO
        8601, decimals strings, binary base64, durations integer microseconds.

        Args:
            head: The beginning of the object, open and ending in "{" or ",".
            metadata: Adds to each result its statuses and, per block, its event time.
        """

    def __len__(self) -> int:
        """How many keys it answers."""
