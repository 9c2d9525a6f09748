"""Computed columns, roles, on-demand, batch views and model transforms in one service: training equals serving."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asof import (
    BatchSource,
    Count,
    Entity,
    EventView,
    FeatureService,
    FeatureStore,
    FileSource,
    Impute,
    OnDemandView,
    OneHot,
    RandomSplit,
    RequestField,
    Standardize,
    StateView,
    Sum,
    TimeSplit,
    on_demand,
)
from asof.clock import FixedClock, to_us
from asof.errors import InputError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAY = datetime(2026, 3, 1, tzinfo=UTC)
NOW = DAY + timedelta(days=5)
PLACES = {"AAA": (50.0, 4.0), "BBB": (40.0, -74.0), "CCC": (-33.0, 151.0)}


def definitions() -> list[Any]:
    """Return trips between places: who leaves how often, how far it is, how busy yesterday was."""
    place = Entity("place", join_key="place", dtype="string")
    trips = FileSource("trips", path="trips.parquet", event_time="ts", delay="1h")
    where = FileSource("where", path="places.parquet", event_time="since")
    leaving = EventView(
        "leaving",
        entity=place,
        source=trips,
        select={"place": "origin", "paid": "fare * 2"},
        where="paid > 0",
        features=[Sum("paid", windows=["1d"]), Count(windows=["1d"], name="trips")],
    )
    position = StateView("position", entity=place, source=where, features=["lat", "lon", "zone"])
    sql = "SELECT origin AS place, count(*) AS trips FROM trips WHERE ts >= $start AND ts < $end GROUP BY 1"
    daily = BatchSource("daily", inputs=[trips], sql=sql, schedule="1d", delay="1h")
    busy = StateView("busy", entity=place, source=daily, features=["trips"], ttl="2d")
    ends = [position.with_role(role, keys={"place": role})[["lat", "lon"]] for role in ("origin", "dest")]
    names = [f"{role}__position__{name}" for role in ("origin", "dest") for name in ("lat", "lon")]
    trip = OnDemandView(
        "trip",
        inputs=[*ends, leaving.with_role("origin", keys={"place": "origin"})["paid_sum_1d"]],
        request=[RequestField("seats", "int64", default=2)],
        features=[
            on_demand.haversine("km", *names),
            on_demand.ratio("paid_per_seat", "origin__leaving__paid_sum_1d", "seats"),
        ],
    )
    service = FeatureService(
        "trip",
        features=[
            trip,
            leaving.with_role("origin", keys={"place": "origin"}),
            leaving.with_role("dest", keys={"place": "dest"})["trips_1d"],
            position.with_role("dest", keys={"place": "dest"})["zone"],
            busy.with_role("origin", keys={"place": "origin"}),
        ],
    )
    return [service]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """Return a project with five days of trips, backfilled and materialized."""
    (tmp_path / "asof.toml").write_text('project = "trips"\ndefinitions = []\n', encoding="utf-8")
    names = list(PLACES)
    rows = [(names[i % 3], names[(i + 1 + i // 3) % 3], DAY + timedelta(hours=i), float(i % 7)) for i in range(120)]
    columns = dict(zip(("origin", "dest", "ts", "fare"), map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns), tmp_path / "trips.parquet")
    positions = {
        "place": names,
        "since": [DAY] * 3,
        "lat": [lat for lat, _ in PLACES.values()],
        "lon": [lon for _, lon in PLACES.values()],
        "zone": ["west", None, "east"],
    }
    pq.write_table(pa.table(positions), tmp_path / "places.parquet")
    with FeatureStore(tmp_path, clock=FixedClock(to_us(NOW))) as opened:
        opened.apply(opened.plan(definitions()), who="test")
        opened.backfill("daily", DAY, DAY + timedelta(days=3))
        opened.materialize()
        yield opened


def spine(instants: list[datetime]) -> pa.Table:
    """Return every pair of places at every instant, some unknown."""
    pairs = [(a, b) for a in (*PLACES, "nowhere") for b in (*PLACES, None)]
    rows = [(a, b, 3 if a == "AAA" else None, t) for t in instants for a, b in pairs]
    names = ("origin", "dest", "seats", "event_timestamp")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    return pa.table(
        columns,
        schema=pa.schema(
            [
                ("origin", pa.string()),
                ("dest", pa.string()),
                ("seats", pa.int64()),
                (names[3], pa.timestamp("us", "UTC")),
            ]
        ),
    )


def test_training_rows_are_what_is_served(store: FeatureStore) -> None:
    """Every feature of every pair, to the bit, at the instant of materialization."""
    asked = spine([NOW])
    trained = store.get_historical_features("trip", asked).to_arrow()
    keys = {name: asked[name].to_pylist() for name in ("origin", "dest")}
    online = store.get_online_features("trip", keys, request={"seats": asked["seats"].to_pylist()})
    served = online.to_dict()
    assert list(served) == trained.column_names[4:]
    assert {name: trained[name].to_pylist() for name in served} == served
    assert served["trip__km"][0] == 0.0
    assert served["trip__km"][1] == pytest.approx(5_900, rel=0.02)
    assert served["trip__km"][3] is None
    assert any(value for value in served["origin__busy__trips"])
    assert set(online.versions) == {
        "origin__leaving",
        "dest__leaving",
        "dest__position",
        "origin__position",
        "origin__busy",
    }


def test_a_batch_value_is_known_when_its_run_would_have_published_it(store: FeatureStore) -> None:
    """An hour after midnight, not before: what the nightly job had written by then."""
    midnight = DAY + timedelta(days=2)
    asked = spine([midnight + timedelta(minutes=59), midnight + timedelta(minutes=60)])
    table = store.get_historical_features("trip", asked).to_arrow()
    found = table["origin__busy__trips"].to_pylist()
    assert found[0] == found[16] == 8
    at_aaa = [t for t in range(24, 48) if t % 3 == 0]
    assert len(at_aaa) == 8
    first = store.get_historical_features("trip", spine([DAY + timedelta(hours=24, minutes=59)])).to_arrow()
    assert set(first["origin__busy__trips"].to_pylist()) == {None}


def test_a_training_set_of_all_of_it_is_rebuilt_to_the_byte(store: FeatureStore, tmp_path: Path) -> None:
    """From files and published intervals; a changed interval is named."""
    asked = spine([DAY + timedelta(hours=h) for h in range(30, 110, 7)])
    made = store.create_training_set("all", "trip", asked, split=RandomSplit({"train": 0.7, "test": 0.3}, seed=1))
    before = (made.path / "data.parquet").read_bytes()
    assert {one.name for one in made.manifest.inputs} == {"trips", "where", "daily"}
    assert store.backfill("daily", DAY, NOW).intervals == 1
    assert (store.rebuild_training_set("all").path / "data.parquet").read_bytes() == before
    (published,) = (tmp_path / store.config.offline).glob("batch/daily@*/20260302*.parquet")
    published.unlink()
    with pytest.raises(SourceError, match=r"source daily: file .*20260302.* is gone"):
        store.rebuild_training_set("all")


def test_fitted_transforms_come_from_the_train_split_and_serve_as_they_train(store: FeatureStore) -> None:
    """Values of the test split change nothing; one online answer gets what its training row gets."""
    cut = DAY + timedelta(hours=80)
    early = spine([DAY + timedelta(hours=h) for h in (30, 50, 70)])
    late = spine([NOW])
    split = TimeSplit([cut], names=["train", "test"])
    steps: dict[str, Any] = {
        "origin__leaving__paid_sum_1d": [Impute("median"), Standardize()],
        "dest__position__zone": [Impute("constant", "none"), OneHot()],
    }
    both = store.create_training_set("both", "trip", pa.concat_tables([early, late]), split=split, transforms=steps)
    alone = store.create_training_set("alone", "trip", early, transforms=steps)
    assert both.manifest.transforms == alone.manifest.transforms
    ready = both.transform(both.read("test"))
    asked = {name: late[name].to_pylist() for name in ("origin", "dest")}
    answer = store.get_online_features("trip@1", asked, request={"seats": late["seats"].to_pylist()})
    served = both.transform(answer)
    zones = [f"dest__position__zone={zone}" for zone in ("east", "none", "west")]
    assert [name for name in served.column_names if "zone" in name] == zones
    assert served.to_pydict() == ready.select(served.column_names).to_pydict()
    assert None not in served["origin__leaving__paid_sum_1d"].to_pylist()
    with pytest.raises(InputError, match="no feature of the service"):
        store.create_training_set("wrong", "trip", early, transforms={"zone": [OneHot()]})


def test_entities_that_meet_only_in_roles_are_not_guessed(store: FeatureStore) -> None:
    """Also where the roles are those of an on-demand view's inputs."""
    with pytest.raises(InputError, match="Which entities meet in role 'origin'"):
        store.get_historical_features(["trip:km"], instants=[NOW])
