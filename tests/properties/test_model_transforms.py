"""Fitted transforms equal their plain Python meaning, for any rows, one at a time as for all at once."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asof.definitions.model_transforms import Impute, MinMax, ModelTransform, OneHot, Ordinal, Standardize
from asof.errors import DefinitionError, SchemaError
from asof.kernel.model_transforms import FittedColumn, apply, apply_table, fit

FLOATS = st.lists(st.one_of(st.none(), st.sampled_from((0.0, 0.5, -3.0, 7.25))), max_size=8)
TEXTS = st.lists(st.one_of(st.none(), st.sampled_from(("a", "b", "", "é"))), max_size=8)


def close(given: list[Any], wanted: list[Any]) -> bool:
    """Return whether nulls agree and numbers are equal up to rounding."""
    pairs = list(zip(given, wanted, strict=True))
    return all((a is None) == (b is None) and (a is None or math.isclose(a, b, abs_tol=1e-12)) for a, b in pairs)


@given(train=FLOATS, asked=FLOATS)
def test_scaling_is_the_formula_over_the_training_rows(train: list[Any], asked: list[Any]) -> None:
    """Only training rows decide; a constant column does not divide by zero."""
    known = [value for value in train if value is not None]
    mean = statistics.fmean(known) if known else 0.0
    spread = (statistics.pstdev(known) if known else 0.0) or 1.0
    low = min(known, default=0.0)
    width = (max(known, default=0.0) - low) or 1.0
    for transform, offset, divisor in ((Standardize(), mean, spread), (MinMax(), low, width)):
        fitted = fit("x", pa.array(train, pa.float64()), [transform])
        got = apply(fitted, pa.array(asked, pa.float64()))["x"].to_pylist()
        assert close(got, [None if v is None else (v - offset) / divisor for v in asked])


@given(train=FLOATS, asked=FLOATS, strategy=st.sampled_from(("mean", "median", "constant")))
def test_imputing_replaces_null_and_nothing_else(train: list[Any], asked: list[Any], strategy: Any) -> None:
    """Without a training value there is nothing to fill in, and null stays null."""
    known = [value for value in train if value is not None]
    value = -1.5 if strategy == "constant" else None
    fill: Any = {"mean": statistics.fmean, "median": statistics.median, "constant": lambda _: -1.5}[strategy]
    wanted = fill(known) if known or strategy == "constant" else None
    fitted = fit("x", pa.array(train, pa.float64()), [Impute(strategy, value)])
    got = apply(fitted, pa.array(asked, pa.float64()))["x"].to_pylist()
    assert close(got, [wanted if v is None else v for v in asked])


@given(train=TEXTS, asked=TEXTS)
def test_encoding_knows_the_training_values_only(train: list[Any], asked: list[Any]) -> None:
    """Unknown values have no column and the place -1; null is nobody's value."""
    known = sorted({value for value in train if value is not None})
    counts = Counter(value for value in train if value is not None)
    most = sorted(sorted(known, key=lambda value: (-counts[value], value))[:2])
    one_hot = apply(fit("c", pa.array(train, pa.string()), [OneHot(most=2)]), pa.array(asked, pa.string()))
    assert {n: v.to_pylist() for n, v in one_hot.items()} == {f"c={k}": [int(v == k) for v in asked] for k in most}
    ordinal = apply(fit("c", pa.array(train, pa.string()), [Ordinal()]), pa.array(asked, pa.string()))["c"]
    assert ordinal.to_pylist() == [None if v is None else known.index(v) if v in known else -1 for v in asked]


@given(train=TEXTS, asked=TEXTS)
def test_a_row_gets_alone_what_it_gets_among_others(train: list[Any], asked: list[Any]) -> None:
    """And a fit that went through JSON is the same fit."""
    steps: list[ModelTransform] = [Impute("most_frequent"), OneHot()]
    fitted = fit("c", pa.array(train, pa.string()), steps)
    stored = msgspec.json.decode(msgspec.json.encode(fitted), type=FittedColumn)
    assert stored == fitted
    table = pa.table({"k": list(range(len(asked))), "c": pa.array(asked, pa.string())})
    together = apply_table([stored], table).to_pylist()
    alone = [row for i in range(len(asked)) for row in apply_table([stored], table.slice(i, 1)).to_pylist()]
    assert together == alone


def test_a_mean_of_integers_is_not_cut() -> None:
    """Integers become floats where what fills them is one."""
    fitted = fit("n", pa.array([1, 2, None]), [Impute("mean")])
    assert apply(fitted, pa.array([None, 7], pa.int64()))["n"].to_pylist() == [1.5, 7.0]


@pytest.mark.parametrize(
    ("values", "steps", "words"),
    [
        (pa.array(["a"]), [Standardize()], "which is string"),
        (pa.array([1.5]), [OneHot()], "which is double"),
        (pa.array(["a"]), [OneHot(), Ordinal()], "after OneHot"),
        (pa.array([1]), [Impute("constant", "x")], "cannot be filled with 'x'"),
    ],
)
def test_what_does_not_fit_the_column_is_refused(values: pa.Array, steps: list[ModelTransform], words: str) -> None:
    """With the column's name and type."""
    with pytest.raises(SchemaError, match=words):
        fit("c", values, steps)


def test_definitions_that_say_nothing_are_refused() -> None:
    """A constant without a value, a strategy that does not exist, no columns."""
    for wrong in (lambda: Impute("constant"), lambda: Impute("mode"), lambda: OneHot(most=0)):  # type: ignore[arg-type]
        with pytest.raises(DefinitionError):
            wrong()


def test_equal_numbers_that_no_float_can_average_exactly_become_zero() -> None:
    """The mean of three times 0.1 is not 0.1: the deviation is a rounding, and dividing by it would give -1."""
    values = pa.array([0.1, 0.1, 0.1])
    assert apply(fit("x", values, [Standardize()]), values)["x"].to_pylist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("step", [Standardize(), MinMax(), Impute("mean"), Impute("median")])
@pytest.mark.parametrize("finite", [[1.0, 3.0], []])
def test_infinite_numbers_are_left_out_of_the_fit_and_stored_parameters_can_be_read(
    step: ModelTransform, finite: list[float]
) -> None:
    fitted = fit("x", pa.array([*finite, math.inf, -math.inf]), [step])
    assert fitted == fit("x", pa.array(finite, pa.float64()), [step])
    assert msgspec.json.decode(msgspec.json.encode(fitted), type=FittedColumn) == fitted


@pytest.mark.parametrize("step", [Standardize(), MinMax(), Impute("mean")])
def test_numbers_whose_spread_or_sum_overflows_are_refused(step: ModelTransform) -> None:
    sign = 1.0 if isinstance(step, Impute) else -1.0
    with pytest.raises(SchemaError, match="too far apart"):
        fit("x", pa.array([1.5e308, sign * 1.6e308]), [step])


def test_an_infinite_constant_is_refused() -> None:
    """No manifest could hold it."""
    with pytest.raises(DefinitionError):
        Impute("constant", math.inf)
