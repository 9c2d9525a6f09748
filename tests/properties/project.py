"""A real project around a generated case: its rows in a file or table on disk, its views applied, its store open."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from asof import FeatureStore
from asof.clock import FixedClock, from_us, to_us
from asof.definitions import DeltaSource, FileSource
from asof.testing.generators import rows_table
from asof.testing.oracle import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from asof.definitions import FeatureView, Source
    from asof.testing.generators import Case, Question

SETTINGS = 'project = "case"\ndefinitions = []\n'


def open_project(root: Path, case: Case, kind: str) -> tuple[FeatureStore, list[FeatureView]]:
    """Write the case's rows as `kind` below `root`, apply its views and return the store and the views."""
    root.joinpath("asof.toml").write_text(SETTINGS, encoding="utf-8")
    views = case.views(write_source(root, case, kind))
    store = FeatureStore(root, clock=FixedClock(case.materialized_at))
    store.apply(store.plan(views), who="test")
    return store, views


def write_source(root: Path, case: Case, kind: str) -> Source:
    """Write the case's rows as parquet, parquet files, csv, ndjson or delta; return the source that reads them."""
    table = rows_table(case.rows)
    if kind == "delta":
        from deltalake import write_deltalake

        write_deltalake(str(root / "rows"), table)
        return DeltaSource("rows", path="rows", **case.roles)
    if kind == "files":
        folder = root / "rows"
        folder.mkdir()
        middle = table.num_rows // 2
        for number, part in enumerate((table.slice(0, middle), table.slice(middle))):
            pa.parquet.write_table(part, folder / f"part-{number}.parquet")
        return FileSource("rows", path="rows/*.parquet", **case.roles)
    path = root / f"rows.{kind}"
    if kind == "parquet":
        pa.parquet.write_table(table, path)
    elif kind == "csv":
        pa.csv.write_csv(table, path)
    else:
        lines = [json.dumps({n: _json(v) for n, v in row.items()}) for row in table.to_pylist()]
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return FileSource("rows", path=path.name, **case.roles)


def _json(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def read_online(
    store: FeatureStore, case: Case, views: Sequence[FeatureView], questions: Sequence[Question]
) -> dict[str, list[Answer]]:
    """Return the online store's answers by view, one read per instant, in the questions' order."""
    names = [name for name, _ in case.entity.join_keys]
    found: dict[str, list[Answer]] = {view.name: [] for view in views}
    for key, t in questions:
        keys = {name: [value] for name, value in zip(names, key, strict=True)}
        read = store.get_online_features([view.name for view in views], keys, at=from_us(t))
        values, statuses, times = read.to_dict(), read.statuses, read.event_times
        for view in views:
            columns = {name: f"{view.name}__{name}" for name in view.feature_names()}
            time = times[view.name][0]
            found[view.name].append(
                Answer(
                    {name: values[column][0] for name, column in columns.items()},
                    {name: statuses[column][0] for name, column in columns.items()},
                    None if time is None else to_us(time),
                )
            )
    return found
