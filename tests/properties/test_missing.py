"""Services that treat missing values: history, the oracle and online agree, whatever is treated how."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from asof import EventView, FeatureService, OnDemandView, StateView, on_demand
from asof.clock import from_us
from asof.errors import FeatureValueError, MissingValueError
from asof.testing import oracle
from asof.testing.comparison import agrees
from asof.testing.generators import PREDICATES, Case, cases
from tests.properties.project import open_project

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asof import FeatureStore
    from asof.definitions import FeatureSelection, FeatureView
    from asof.definitions.missing import Missing
    from asof.testing.oracle import Answer

    Asked = tuple[tuple[Any, ...], tuple[Any, ...], int]
    Cell = tuple[Any, str, bool]

ROLE = "other"
LIMITS = (None, None, *(timedelta(microseconds=age) for age in (1, 2, 4)))
VALUES: dict[str, Any] = {
    "float64": 7.25,
    "int64": -77,
    "string": "zz",
    "bool": False,
    "timestamp": from_us(77),
    "decimal(10,2)": Decimal("1.25"),
    "decimal(38,2)": Decimal("-1.25"),
}
TYPES = {"int64": pa.int64(), "string": pa.string()}


@dataclass(frozen=True)
class Column:
    """A column of a service: a feature under a role or without, or a copy of one that an on-demand view computes."""

    name: str
    view: FeatureView
    feature: str
    role: bool
    copied: bool
    missing: Missing | None


@given(case=cases(), data=st.data())
def test_a_service_treats_missing_values_as_the_oracle_does(case: Case, data: st.DataObject) -> None:
    """On-demand views see what the views themselves give; a role is treated on its own."""
    with tempfile.TemporaryDirectory() as folder:
        store, views = open_project(Path(folder), case, "parquet")
        with store:
            types = {v.name: {f.name: f.dtype for f in store.catalog().view(v.name).features} for v in views}
            columns, service = draw_service(data, case, views, types)
            store.apply(store.plan([service]), who="test")
            store.materialize(at=from_us(case.materialized_at))
            later = case.later_questions()
            asked = [(a, b, t) for (a, t), (b, _) in zip(later, [*later[1:], *later[:1]], strict=True)]
            facts = oracle.usable(case.source(), case.rows)
            known = [case.rows[fact.order] for fact in facts if fact.available_at <= case.materialized_at]
            check_history(store, case, columns, asked)
            for one in asked:
                check_online(store, case, columns, one, cells(columns, known, one))


def draw_service(
    data: st.DataObject, case: Case, views: Sequence[FeatureView], types: Mapping[str, Mapping[str, str]]
) -> tuple[list[Column], FeatureService]:
    """Draw a service over every feature, twice, and over copies of those that one request can copy."""
    listed: list[FeatureSelection] = []
    columns: list[Column] = []
    keys = {name: f"{ROLE}_{name}" for name, _ in case.entity.join_keys}
    inputs = [(view, name) for view in views for name in view.feature_names() if types[view.name][name] in VALUES]
    errors = data.draw(st.integers(0, 3)) == 3
    for view in views:
        for selection in (view[[*view.feature_names()]], view.with_role(ROLE, keys=keys)):
            for name in selection.names:
                one = selection[name]
                if (values := draw_missing(data, types[view.name][name], view, errors)) is not None:
                    one = one.with_missing(**values)
                role = one.role is not None
                column = f"{ROLE}__{view.name}__{name}" if role else f"{view.name}__{name}"
                columns.append(Column(column, view, name, role, False, one.missing))
                listed.append(one)
    copied = data.draw(st.integers(0, 1))
    if inputs and copied:
        calls = [on_demand.sql(f"{view.name}_{name}", f"{view.name}__{name}") for view, name in inputs]
        copies = OnDemandView("copies", inputs=[view[name] for view, name in inputs], features=calls)
        for call, (view, name) in zip(calls, inputs, strict=True):
            one = copies[call.name]
            if (values := draw_missing(data, types[view.name][name], copies, errors)) is not None:
                one = one.with_missing(**values)
            columns.append(Column(f"copies__{call.name}", view, name, False, True, one.missing))
            listed.append(one)
    return columns, FeatureService("treated", features=listed)


def draw_missing(
    data: st.DataObject, dtype: str, view: FeatureView | OnDemandView, errors: bool
) -> dict[str, Any] | None:
    """Draw the arguments of with_missing, with `errors` rarely an error; None where nothing is said."""
    limit = data.draw(st.sampled_from(LIMITS)) if isinstance(view, StateView) else None
    if errors and data.draw(st.integers(0, 9)) == 9:
        return {"error": True, "limit": limit}
    drawn: dict[str, Any] = {} if limit is None else {"limit": limit}
    if data.draw(st.booleans()):
        element = VALUES.get(dtype.removeprefix("list<").removesuffix(">"))
        drawn["default"] = data.draw(st.sampled_from((None, [element] if dtype.startswith("list<") else element)))
    if data.draw(st.booleans()):
        drawn["indicator"] = True
    return drawn or None


def cells(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]], asked: Asked) -> list[Cell]:
    """Return the oracle's value and status of every column, and whether it must not be so."""
    own, other, t = asked
    try:
        return [cell(column, rows, (other if column.role else own, t)) for column in columns]
    except FeatureValueError:
        assume(False)
        raise


def cell(column: Column, rows: Sequence[Mapping[str, Any]], question: tuple[tuple[Any, ...], int]) -> Cell:
    """Return the oracle's value and status of a column, and whether it must not be so."""
    missing = column.missing
    view = column.view if column.copied else oracle.treated(column.view, column.feature, missing)
    answer: Answer = oracle.history(view, rows, [question], predicates=PREDICATES)[0]
    value, status = answer.values[column.feature], answer.statuses[column.feature]
    if column.copied:
        status = "null" if value is None else "present"
        if missing is not None and missing.default is not ... and value is None:
            value = missing.default
    return value, status, missing is not None and missing.error and status != "present"


def key_columns(case: Case, asked: Sequence[Asked]) -> dict[str, list[Any]]:
    """Return the join keys' columns of both roles."""
    found = {}
    for number, (name, _) in enumerate(case.entity.join_keys):
        found[name] = [own[number] for own, _, _ in asked]
        found[f"{ROLE}_{name}"] = [other[number] for _, other, _ in asked]
    return found


def check_history(store: FeatureStore, case: Case, columns: Sequence[Column], asked: Sequence[Asked]) -> None:
    """Compare a join of all questions with the oracle."""
    types = {name: TYPES[dtype or "int64"] for name, dtype in case.entity.join_keys}
    spine = {name: pa.array(v, types[name.removeprefix(f"{ROLE}_")]) for name, v in key_columns(case, asked).items()}
    spine["asked"] = pa.array([from_us(t) for _, _, t in asked], pa.timestamp("us", "UTC"))
    expected = [cells(columns, case.rows, one) for one in asked]
    if any(refused for row in expected for _, _, refused in row):
        with pytest.raises(MissingValueError):
            store.get_historical_features("treated", pa.table(spine)).to_arrow()
        return
    for row, exact in zip(
        store.get_historical_features("treated", pa.table(spine), statuses=True).to_arrow().to_pylist(),
        expected,
        strict=True,
    ):
        found = {name: value for name, value in row.items() if name not in spine}
        statuses = {name: found.pop(f"{name}__status") for name in [*found] if f"{name}__status" in found}
        compare(columns, exact, found, statuses)


def check_online(
    store: FeatureStore, case: Case, columns: Sequence[Column], asked: Asked, exact: Sequence[Cell]
) -> None:
    """Compare one online read with the oracle."""
    keys, at = key_columns(case, [asked]), from_us(asked[2])
    if any(refused for _, _, refused in exact):
        with pytest.raises(MissingValueError):
            store.get_online_features("treated", keys, at=at)
        return
    read = store.get_online_features("treated", keys, at=at)
    found = {name: values[0] for name, values in read.to_dict().items()}
    compare(columns, exact, found, {name: values[0] for name, values in read.statuses.items()})
    assert read.to_arrow().schema.names == [*found]


def compare(
    columns: Sequence[Column], exact: Sequence[Cell], found: Mapping[str, Any], statuses: Mapping[str, str]
) -> None:
    """Refuse other columns, values, statuses or indicators than the oracle's."""
    names = [
        name
        for one in columns
        for name in (one.name, *([f"{one.name}__missing"] if one.missing and one.missing.indicator else ()))
    ]
    assert [*found] == names
    assert [*statuses] == names
    for column, (value, status, _) in zip(columns, exact, strict=True):
        functions: dict[str, str] = {}
        if isinstance(column.view, EventView):
            functions = {a.feature_name(w): a.function for a in column.view.aggregates for w in a.windows}
        assert agrees(functions.get(column.feature), value, found[column.name]), (column, value, found[column.name])
        assert statuses[column.name] == status, column
        if column.missing is not None and column.missing.indicator:
            assert found[f"{column.name}__missing"] is (status != "present"), column
            assert statuses[f"{column.name}__missing"] == "present"
