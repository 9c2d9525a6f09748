"""An imported project gives the training values that Feast itself gives for the same spine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asof.store import FeatureStore
from tests.migrate.samples import RIDES, write
from tests.servers.feast import feast

if TYPE_CHECKING:
    from pathlib import Path

    from tests.migrate.conftest import Importer

START = datetime(2026, 1, 1, tzinfo=UTC)

READER = """
import json, math
import pandas as pd
from feast import FeatureStore
import entities, definitions

store = FeatureStore(repo_path=".")
values = [*vars(entities).values(), *vars(definitions).values()]
kinds = ("Entity", "FeatureView", "FeatureService", "FileSource")
found = {id(one): one for one in values if type(one).__name__ in kinds}
store.apply(list(found.values()))
spine = pd.read_parquet("data/spine.parquet")
spine["event_timestamp"] = pd.to_datetime(spine["event_timestamp"], utc=True)
asked = [(definitions.pay, {"filter_by_created_timestamp": True}), (definitions.pay, {}), (definitions.routes, {})]
answers = [{} for _ in asked]
for answer, (service, options) in zip(answers, asked):
    for _, part in spine.groupby(["driver_id", "city_id"]):
        rows = store.get_historical_features(part, service, full_feature_names=True, **options).to_df()
        rows = rows.drop(columns=["event_timestamp"]).astype(object)
        rows = rows.where(rows.notna(), None)
        answer.update({str(int(row["row"])): row for row in rows.to_dict("records")})
print(json.dumps(answers, default=lambda one: one.item()))
"""


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def write_rows(root: Path) -> None:
    """Write rows with ties, late rows, nulls and gaps, and a spine around them.

    Tied rows were created at different times, which is all that Feast tells them apart by.
    """
    stats = [
        (1, 0, 1, 0.5, 0.1, 1),
        (1, 0, 2, 0.6, 0.2, 2),
        (1, 10, 11, None, 0.3, 3),
        (1, 20, 60, 0.8, 0.4, None),
        (2, 5, 5, 0.9, 0.5, 5),
        (3, 70, 71, 1.0, 0.6, 6),
    ]
    columns = list(zip(*stats, strict=True))
    frames = {
        "driver_stats": {
            "driver_id": columns[0],
            "event_timestamp": [at(one) for one in columns[1]],
            "created": [at(one) for one in columns[2]],
            "conv": columns[3],
            "acc_rate": columns[4],
            "trips": pa.array(columns[5], pa.int64()),
        },
        "weather": {
            "city_id": ["ams", "ams", "rtm"],
            "ts": [at(0), at(12), at(24)],
            "sky": ["grey", "blue", "rain"],
        },
        "both": {
            "driver_id": [1, 1, 2],
            "city_id": ["ams", "rtm", "ams"],
            "ts": [at(0), at(3), at(6)],
            "rides": [10, 20, 30],
        },
    }
    spine = [
        (driver, city, origin, destination, at(hours))
        for driver, city, origin, destination in (
            (1, "ams", "ams", "rtm"),
            (1, "rtm", "rtm", "ams"),
            (2, "ams", "ams", "ams"),
            (3, "nyc", "rtm", "nyc"),
        )
        for hours in (0, 1.5, 3, 10, 20, 48, 53, 53.5, 61, 68, 72)
    ]
    keys = list(zip(*spine, strict=True))
    names = ("driver_id", "city_id", "origin_id", "destination_id", "event_timestamp")
    frames["spine"] = {"row": list(range(len(spine))), **dict(zip(names, keys, strict=True))}
    (root / "data").mkdir()
    for name, columns_ in frames.items():
        pq.write_table(pa.table(columns_), root / "data" / f"{name}.parquet")


@pytest.mark.slow
def test_training_values_are_feast_s(importer: Importer) -> None:
    """With rows hidden until they were created, as Feast does on demand, and where no row says when it was created.

    Feast leaves out spine rows for which a view has only values that are expired or lie in the future; these are null
    here. It is asked for one driver and city at a time, because it gives two rows of one driver at one instant once.
    """
    write(importer.repository, RIDES)
    write_rows(importer.repository)
    assert importer.convert(RIDES).code == 0
    assert importer.run("--project", str(importer.out), "plan").code == 0
    assert importer.run("--project", str(importer.out), "apply").code == 0
    pay, pay_early, routes = feast(READER, importer.repository)
    spine = pq.read_table(importer.repository / "data" / "spine.parquet")
    with FeatureStore(importer.out) as store:
        ours = {name: store.get_historical_features(name, spine).to_arrow().to_pylist() for name in ("pay", "routes")}
    stats = [f"driver_hourly_stats__{name}" for name in ("conv_rate", "trips")]
    views = [dict(zip(stats, stats, strict=True)), {"driver_in_city__rides": "driver_in_city__rides"}]
    assert same(ours["pay"], pay, views) > 20
    roles = [{"origin__weather__sky": "origin__sky"}, {"destination__weather__sky": "destination__sky"}]
    assert same(ours["routes"], routes, roles) > 20
    assert pay_early != pay, "no row is asked for before it was created, so the difference is not tested"


def same(ours: list[dict[str, Any]], theirs: dict[str, dict[str, Any]], views: list[dict[str, str]]) -> int:
    """Compare all rows and return how many values are there.

    Args:
        ours: The rows, in the order of the spine.
        theirs: Feast's rows by the spine's row number.
        views: Of every view, our columns and Feast's.
    """
    present = 0
    for row in ours:
        feast_s = theirs.get(str(row["row"]))
        if feast_s is None:
            assert any(all(row[mine] is None for mine in columns) for columns in views), row
            continue
        for columns in views:
            for mine, yours in columns.items():
                assert row[mine] == feast_s[yours], (row, feast_s)
                present += row[mine] is not None
    return present
