"""Defaults on their way from stored JSON to the row that the kernel fills nulls from."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from asof.kernel.programs import defaults_row
from asof.plan.resolve import default_to_json
from asof.plan.specs import FeatureSpec


@pytest.mark.parametrize(
    ("dtype", "default"),
    [
        ("decimal(10,2)", Decimal("7.00")),
        ("timestamp", datetime(2013, 1, 1, 0, 0, 0, 5, tzinfo=UTC)),
        ("date", date(2013, 1, 1)),
        ("list<decimal(10,2)>", [Decimal("7.00"), None]),
        ("list<timestamp>", [datetime(2013, 1, 1, tzinfo=UTC)]),
        ("list<date>", [date(2013, 1, 1)]),
        ("list<string>", ["2013-01-01"]),
        ("list<int64>", []),
        ("duration", None),
        ("list<timestamp>", None),
    ],
)
def test_a_default_keeps_its_value_in_the_features_type(dtype: str, default: Any) -> None:
    """What is stored as text for want of a JSON type comes back as what it was, in lists too."""
    stored = None if default is None else default_to_json(default, dtype, "v:f")
    assert defaults_row([FeatureSpec(name="f", dtype=dtype, default=stored)]).column("f").to_pylist() == [default]
