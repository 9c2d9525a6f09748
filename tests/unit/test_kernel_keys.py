"""Entity keys: canonical bytes, dense codes and partitions."""

import datetime as dt

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asof import _native as native

parts = st.one_of(st.none(), st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1))
texts = st.one_of(st.none(), st.text(max_size=3), st.text(min_size=399, max_size=402))


@settings(deadline=None)
@given(st.lists(st.tuples(parts, texts), max_size=20))
def test_equal_bytes_mean_equal_keys_and_null_parts_make_null(rows: list[tuple[int | None, str | None]]) -> None:
    """Bytes are equal exactly when every part is; lists and arrays encode alike."""
    ints, strings = [a for a, _ in rows], [b for _, b in rows]
    keys = native.encode_keys([pa.array(ints, pa.int64()), pa.array(strings, pa.string())]).to_pylist()
    for key, row in zip(keys, rows, strict=True):
        assert (key is None) == (None in row)
        assert key is None or len(key) <= 400
    for key, row in zip(keys, rows, strict=True):
        for other_key, other in zip(keys, rows, strict=True):
            assert key is None or (key == other_key) == (row == other)
    assert native.encode_keys_py(["int64", "string"], [list(ints), list(strings)]) == keys


def test_lists_and_arrays_of_every_type_encode_alike() -> None:
    """The quick path from Python lists gives the bytes of the columnar path."""
    day, instant = dt.date(1969, 12, 30), dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC)
    columns = [
        pa.array([True, False]),
        pa.array([b"", b"\x00"]),
        pa.array([day, None], pa.date32()),
        pa.array([instant, instant], pa.timestamp("us", "UTC")),
    ]
    lists: list[list[object]] = [
        [True, False],
        [b"", b"\x00"],
        [-2, None],
        [columns[3].cast(pa.int64())[0].as_py()] * 2,
    ]
    types = ["bool", "binary", "date", "timestamp"]
    assert native.encode_keys_py(types, lists) == native.encode_keys(columns).to_pylist()


@pytest.mark.parametrize(
    ("kind", "value", "error"),
    [
        ("int64", True, TypeError),
        ("int64", "1", TypeError),
        ("int64", 1.0, TypeError),
        ("int64", 2**63, OverflowError),
        ("string", 1, TypeError),
        ("string", b"x", TypeError),
        ("binary", "x", TypeError),
        ("bool", 1, TypeError),
    ],
)
def test_a_wrong_value_is_named_by_position_and_row(kind: str, value: object, error: type[Exception]) -> None:
    """A key of the wrong type is an error, never another key."""
    good: list[object] = ["a", "b"]
    with pytest.raises(error, match="join key 1, row 1"):
        native.encode_keys_py(["string", kind], [good, [None, value]])


def test_columns_that_cannot_be_keys_are_refused() -> None:
    """Floats have no canonical equality; lengths must agree."""
    with pytest.raises(TypeError, match="join key 0"):
        native.encode_keys([pa.array([1.0])])
    with pytest.raises(ValueError, match="join key 1 has 2 rows"):
        native.encode_keys([pa.array([1]), pa.array([1, 2])])


@settings(deadline=None)
@given(st.lists(st.lists(parts, max_size=8), min_size=1, max_size=4))
def test_codes_follow_first_sight(batches: list[list[int | None]]) -> None:
    """Codes are dense, ordered by first sight, and agree for one column, two columns and text."""
    seen: dict[int, int] = {}
    indexes: list[native.KeyIndex] = []
    for batch in batches:
        want = [-1 if key is None else seen.setdefault(key, len(seen)) for key in batch]
        ints = pa.array(batch, pa.int64())
        text = pa.array([None if key is None else str(key) for key in batch], pa.string())
        shapes = [[ints], [text], [ints, text]]
        if not indexes:
            indexes = [native.KeyIndex(columns) for columns in shapes]
            assert [index.codes.to_pylist() for index in indexes] == [want] * 3
        else:
            assert [i.extend(c).to_pylist() for i, c in zip(indexes, shapes, strict=True)] == [want] * 3
        assert [i.lookup(c).to_pylist() for i, c in zip(indexes, shapes, strict=True)] == [want] * 3
    assert [len(index) for index in indexes] == [len(seen)] * 3
    known = pa.array(list(seen), pa.int64())
    text = known.cast(pa.string())
    for index, columns in zip(indexes, [[known], [text], [known, text]], strict=True):
        assert index.encoded() == native.encode_keys(columns)
    assert indexes[0].lookup([pa.array([4])]).to_pylist() == [seen.get(4, -1)]


def test_slices_are_read_from_their_offset() -> None:
    """A sliced array is its own rows only."""
    column = pa.array([9, None, 7, 8, 7]).slice(1, 4)
    assert native.KeyIndex([column]).codes.to_pylist() == [-1, 0, 1, 0]
    assert native.encode_keys([column]).to_pylist()[0] is None


def test_partitions_agree_between_batches_and_stay_in_range() -> None:
    """A key's partition depends on the key alone."""
    column = pa.array([*range(1000), None])
    whole = native.partition([column], 8).to_pylist()
    assert set(whole) == set(range(8))
    assert whole[-1] == 0
    assert native.partition([column.slice(500)], 8).to_pylist() == whole[500:]
    with pytest.raises(ValueError, match="at least 1"):
        native.partition([column], 0)
