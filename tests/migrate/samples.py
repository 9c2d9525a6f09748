"""Feast repositories, as files by name; kept as texts because only Feast could import them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = """\
project: rides
registry: data/registry.db
provider: local
online_store:
    type: sqlite
    path: data/online_store.db
entity_key_serialization_version: 3
"""

RIDES = {
    "feature_store.yaml": SETTINGS,
    "entities.py": '''\
"""Whom features are about."""

from feast import Entity, ValueType

driver = Entity(
    name="driver", join_keys=["driver_id"], value_type=ValueType.INT64, description="Drives.", tags={"team": "rides"}
)
city = Entity(name="city", join_keys=["city_id"])
''',
    "definitions.py": """\
from datetime import timedelta
from pathlib import Path

from entities import city, driver
from feast import FeatureService, FeatureView, Field, FileSource
from feast.types import Float64, Int64, String

DATA = Path(__file__).parent / "data"
ONE_DAY = timedelta(days=1)
BASE = "hourly"

driver_stats_source = FileSource(
    name="driver_stats",
    path="data/driver_stats.parquet",
    timestamp_field="event_timestamp",
    created_timestamp_column="created",
    field_mapping={"conv": "conv_rate"},
)
weather_source = FileSource(path="data/weather.parquet", timestamp_field="ts")

driver_stats = FeatureView(
    name=f"driver_{BASE}_stats",
    entities=[driver],
    ttl=ONE_DAY * 2,
    schema=[
        Field(name="driver_id", dtype=Int64),
        *[Field(name=name, dtype=Float64) for name in ("conv_rate", "acc_rate")],
        Field(name="trips", dtype=Int64, description="Trips of the day.", tags={"unit": "trips"}),
    ],
    source=driver_stats_source,
    owner="ada@example.com",
    description="What \\"drivers\\" did; it's hourly.",
    tags={"tier": "gold"},
)
weather = FeatureView(
    name="weather", entities=[city], schema=[Field(name="sky", dtype=String)], source=weather_source, ttl=timedelta(0)
)
both = FeatureView(
    name="driver_in_city",
    entities=[driver, city],
    schema=[Field(name="rides", dtype=Int64)],
    source=FileSource(path="data/both.parquet", timestamp_field="ts"),
    ttl=timedelta(hours=36),
)
pay = FeatureService(name="pay", features=[driver_stats[["conv_rate", "trips"]], both])
routes = FeatureService(
    name="routes",
    features=[
        weather.with_name("origin").with_join_key_map({"city_id": "origin_id"}),
        weather.with_name("destination").with_join_key_map({"city_id": "destination_id"}),
    ],
    tags={"tier": "gold"},
)
""",
}

STREAMS = {
    "feature_store.yaml": """\
# how the shop is set up
project: "2nd shop" # a name that Asof does not allow
provider: local
registry:
    registry_type: sql
    path: postgresql://u:hunter2@host/feast
online_store:
    type: redis
    connection_string: "redis.internal:6379,password=hunter2"
offline_store:
    type: file
batch_engine: {type: local}
feature_logging: true
""",
    "shop.py": """\
import os
from datetime import timedelta

import pandas as pd
from feast import (
    BatchFeatureView, Entity, FeatureService, FeatureView, Field, FileSource, KafkaSource, OnDemandFeatureView, Project,
    PushSource, RequestSource, StreamFeatureView, ValueType,
)
from feast.aggregation import Aggregation
from feast.data_format import AvroFormat, JsonFormat
from feast.data_source import KinesisSource
from feast.infra.offline_stores.bigquery_source import BigQuerySource
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource
from feast.infra.offline_stores.file_source import DeltaFormat
from feast.on_demand_feature_view import on_demand_feature_view
from feast.stream_feature_view import stream_feature_view
from feast.types import Array, Float32, Float64, Int64, Map, String

shop = Project(name="2nd shop")
customer = Entity(name="customer", join_keys=["class"])
amount = Entity(name="the-amount", value_type=ValueType.FLOAT)
code = Entity(name="the-code", value_type=__import__("feast").ValueType.STRING)
orders = FileSource(name="orders", path=os.path.join("data", "orders"), file_format=DeltaFormat(), timestamp_field="ts")
pushed = PushSource(name="orders-pushed", batch_source=orders, tags={"pii": ""})
clicks = KafkaSource(
    name="clicks", timestamp_field="ts", batch_source=orders, topic="clicks", kafka_bootstrap_servers="b1:9092,b2:9092",
    message_format=AvroFormat(schema_json="{}"), watermark_delay_threshold=timedelta(minutes=5),
)
spend = FeatureView(
    name="spend", entities=[customer], source=pushed, online=False, version="v2", enable_validation=True,
    schema=[Field(name="total", dtype=Float32), Field(name="shops", dtype=Map), Field(name="__x", dtype=Array(Int64))],
)
seen = StreamFeatureView(
    name="seen__lately", entities=[customer], source=clicks, ttl=timedelta(days=365 * 300),
    schema=[Field(name="embedding", dtype=Array(Float32), vector_index=True, vector_search_metric="cosine")],
)
summed = StreamFeatureView(
    name="summed", entities=[customer], source=clicks, schema=[Field(name="n", dtype=Int64)],
    aggregations=[Aggregation(column="total", function="sum", time_window=timedelta(days=1))],
)
kinesis = KinesisSource(
    name="kin", timestamp_field="ts", batch_source=orders, region="eu", stream_name="s", record_format=JsonFormat("")
)
from_kinesis = FeatureView(
    name="from_kinesis", entities=[customer], source=kinesis, schema=[Field(name="total", dtype=Float64)]
)
accounts = PostgreSQLSource(
    name="accounts", query="SELECT * FROM accounts", timestamp_field="ts", field_mapping={"customer": "class"}
)
account = BatchFeatureView(
    name="account", mode="python", entities=[customer], source=accounts, schema=[Field(name="limit", dtype=Float64)]
)
big = FeatureView(
    name="big", entities=[customer], source=BigQuerySource(name="bq", table="a.b.c", timestamp_field="ts"),
    schema=[Field(name="x", dtype=Int64)],
)
inferred = FeatureView(name="inferred", entities=[customer], source=orders)
by_code = FeatureView(name="by_code", entities=[code], source=orders, schema=[Field(name="total", dtype=Float64)])
by_amount = FeatureView(name="by_amount", entities=[amount], source=orders, schema=[Field(name="total", dtype=Float64)])
everything = FeatureView(name="everything", source=orders, schema=[Field(name="total", dtype=Float64)], ttl=None)
unused = FileSource(name="unused", path="data/unused.parquet", timestamp_field="ts")
remote = FileSource(name="remote", path="hdfs://cluster/x.parquet", timestamp_field="ts")
far = FeatureView(name="far", entities=[customer], source=remote, schema=[Field(name="x", dtype=Int64)])
hidden = [FeatureView(name="hidden", entities=[customer], source=orders, schema=[Field(name="x", dtype=Int64)])]
asked = RequestSource(name="asked", schema=[Field(name="price", dtype=Float64), Field(name="ids", dtype=Array(Int64))])


@on_demand_feature_view(sources=[spend, asked], schema=[Field(name="share", dtype=Float64)])
def share(inputs: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"share": inputs["total"] / inputs["price"]})


@stream_feature_view(entities=[customer], source=clicks, schema=[Field(name="n", dtype=Int64)])
def counted(rows):
    return rows


def make(name):
    return FeatureView(name=name, entities=[customer], source=orders, schema=[Field(name="x", dtype=Int64)])


made = make("made")
for number in range(2):
    globals()[f"view_{number}"] = make(f"view_{number}")
late = FeatureView(
    name="late", entities=[customer], source=orders, ttl=timedelta(days=int(os.environ["DAYS"])),
    schema=[Field(name="x", dtype=Int64)], description=os.environ["TEXT"], priority=3,
)
described = FeatureView(
    name="described", entities=[customer], source=orders, schema=[Field(name="total", dtype=Float64)],
    description=os.environ["TEXT"], priority=3, org="sales",
)
model = FeatureService(
    name="model",
    features=[spend, seen.with_join_key_map({"class": "other"}), big, "spend@v2", "account:limit", "nobody"],
    precompute_online=True,
)
empty = FeatureService(name="empty", features=[big, share])
""",
}


def write(root: Path, files: dict[str, str]) -> Path:
    """Write a repository's files and return its directory."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root
