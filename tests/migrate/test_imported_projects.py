"""Imported projects are projects: they are applied, take pushes, and answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from asof.clock import FixedClock
from asof.store import FeatureStore

if TYPE_CHECKING:
    from tests.migrate.conftest import Importer

PUSHED = {
    "feature_store.yaml": "project: shop\nprovider: local\n",
    "features/people.py": """\
from feast import Entity, PushSource, FileSource, FeatureView, FeatureService, Field, ValueType
from feast.types import Int64, String

customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.STRING)
history = FileSource(
    name="people",
    path="data/people.pq",
    timestamp_field="happened",
    field_mapping={"who": "customer_id", "when": "happened", "odd name": "country"},
)
people = PushSource(name="people-pushed", batch_source=history)
profile = FeatureView(
    name="profile",
    entities=[customer],
    source=people,
    schema=[
        Field(name="customer_id", dtype=String),
        Field(name="country", dtype=String),
        Field(name="2nd", dtype=Int64),
    ],
)
market = FeatureView(name="market", source=history, schema=[Field(name="country", dtype=String)])
churn = FeatureService(name="churn", features=["profile", "market:country"])
""",
}


def test_a_push_source_takes_rows_after_its_history(importer: Importer) -> None:
    """Renamed columns, a join key under another name, and a view about everything are read as Feast reads them."""
    assert importer.convert(PUSHED).code == 0
    (importer.repository / "data").mkdir()
    instant = datetime(2025, 12, 31, 23, tzinfo=UTC)
    rows = {"who": ["a", "b"], "when": [instant] * 2, "odd name": ["NL", "BE"], "2nd": [1, 2]}
    pq.write_table(pa.table(rows), importer.repository / "data" / "people.pq")
    assert importer.run("--project", str(importer.out), "plan").code == 0
    clock = FixedClock(int(datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp() * 1_000_000))
    with FeatureStore(importer.out, clock=clock) as store:
        store.apply()
        store.materialize()
        store.push("people_pushed", [{"who": "a", "when": "2026-01-01T11:00:00Z", "odd name": "DE", "2nd": 3}])
        found = store.get_online_features("churn", {"customer_id": ["a", "b", "c"]}).to_dict()
    assert found == {
        "profile__country": ["DE", "BE", None],
        "profile__feature_2nd": [3, 2, None],
        "market__country": ["BE"] * 3,
    }


def test_a_topic_with_history_is_planned(importer: Importer) -> None:
    """Columns of the topic are its history's, which leaves its name to the topic; the broker is the project's."""
    people = PUSHED["features/people.py"].replace("PushSource, ", "KafkaSource, ").replace('    name="people",\n', "")
    people = people.replace(
        'PushSource(name="people-pushed", ',
        'KafkaSource(name="people", topic="people", timestamp_field="happened", '
        'message_format=JsonFormat(schema_json=""), kafka_bootstrap_servers="localhost:9092", ',
    )
    files = {**PUSHED, "features/people.py": "from feast.data_format import JsonFormat\n" + people}
    (importer.repository / "data").mkdir(parents=True)
    rows = {"who": ["a"], "when": [datetime(2025, 12, 31, tzinfo=UTC)], "odd name": ["NL"], "2nd": [1]}
    pq.write_table(pa.table(rows), importer.repository / "data" / "people.pq")
    assert importer.convert(files).code == 0
    settings = (importer.out / "asof.toml").read_text(encoding="utf-8")
    assert settings == 'project = "shop"\nstream = "kafka://localhost:9092"\n'
    ran = importer.run("--project", str(importer.out), "plan")
    assert (ran.code, ran.err) == (0, "")
    assert 'people = StreamSource(\n    "people",' in importer.features()


def test_an_import_can_be_repeated_only_when_told_to(importer: Importer) -> None:
    """Files that are there are left alone; replacing a link leaves what it leads to."""
    assert importer.convert(PUSHED).code == 0
    first = importer.features()
    kept = importer.repository.parent / "elsewhere.py"
    kept.write_text("kept", encoding="utf-8")
    (importer.out / "features.py").unlink()
    (importer.out / "features.py").symlink_to(kept)
    ran = importer.convert(PUSHED)
    assert ran.code == 5
    assert "are there already" in ran.err
    assert "--overwrite" in ran.err
    assert importer.convert(PUSHED, "--overwrite").code == 0
    assert importer.features() == first
    assert kept.read_text(encoding="utf-8") == "kept"
    assert not (importer.out / "features.py").is_symlink()


def test_what_cannot_be_written_is_said(importer: Importer) -> None:
    """A file where the directory should be."""
    importer.out.write_text("kept", encoding="utf-8")
    ran = importer.convert(PUSHED)
    assert ran.code in (2, 10)
    assert str(importer.out) in ran.err
    assert importer.out.read_text(encoding="utf-8") == "kept"


def test_a_dry_run_writes_nothing(importer: Importer) -> None:
    ran = importer.convert(PUSHED, "--dry-run")
    assert ran.code == 0
    assert "would write" in ran.out
    assert not importer.out.exists()
