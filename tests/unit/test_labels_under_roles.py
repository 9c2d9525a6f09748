"""Labels of services whose views are read under roles: on which of the spine's columns they are joined."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asof import Count, Entity, EventView, FeatureService, FeatureStore, FileSource, Label, StateView
from asof.clock import FixedClock, to_us
from asof.errors import DefinitionError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
ROWS = [("JFK", 1, 1.0), ("JFK", 2, 2.0), ("LAX", 2, 4.0), ("LAX", 4, 8.0), ("SFO", 3, 16.0), ("JFK", 5, 32.0)]
SPINE: dict[str, list[Any]] = {
    "origin": ["JFK", "LAX", "JFK", None, "OAK"],
    "dest": ["LAX", "JFK", "SFO", "LAX", "JFK"],
    "ts": [START, START + HOUR, START + 2 * HOUR, START, START + 4 * HOUR],
}
LABEL: dict[str, Any] = {"column": "wind", "window": "3h", "aggregate": "sum"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """Return a project with services that read airports at the origin, at the destination, or at both."""
    (tmp_path / "asof.toml").write_text('project = "sky"\ndefinitions = []\n', encoding="utf-8")
    table = pa.table(
        {
            "airport": [row[0] for row in ROWS],
            "ts": [START + row[1] * HOUR for row in ROWS],
            "wind": [row[2] for row in ROWS],
            "carrier": [1] * len(ROWS),
        }
    )
    pq.write_table(table, tmp_path / "weather.parquet")
    source = FileSource("observed", path="weather.parquet", event_time="ts")
    airport = Entity("airport", dtype="string")
    weather = StateView("weather", entity=airport, source=source, features=["wind"])
    traffic = EventView("traffic", entity=airport, source=source, features=[Count(windows=["1h"])])
    line = StateView("line", entity=Entity("carrier"), source=source, features=["wind"])
    origin, dest = ({"airport": column} for column in ("origin", "dest"))
    services = [
        FeatureService("to", features=[weather.with_role("destination", keys=dest)]),
        FeatureService(
            "both", features=[weather.with_role("origin", keys=origin), weather.with_role("destination", keys=dest)]
        ),
        FeatureService("plain", features=[traffic, weather.with_role("destination", keys=dest)]),
        FeatureService("two", features=[line, weather.with_role("destination", keys=dest)]),
    ]
    with FeatureStore(tmp_path, clock=FixedClock(to_us(START + 20 * HOUR))) as opened:
        opened.apply(opened.plan([weather, traffic, line, *services]), who="test")
        yield opened


def by_hand(column: list[Any]) -> list[float | None]:
    """Return the label by a nested loop: the winds at an airport in (t, t + 3 hours]."""
    found = []
    for airport, at in zip(column, SPINE["ts"], strict=True):
        winds = [wind for place, hour, wind in ROWS if place == airport and at < START + hour * HOUR <= at + 3 * HOUR]
        found.append(sum(winds) if winds else None)
    return found


def made(store: FeatureStore, service: str, spine: dict[str, list[Any]] = SPINE, **label: Any) -> list[Any]:
    """Return the labels of the spine, which a rebuild makes again."""
    found = store.create_training_set("set", service, spine, label=Label("observed", **LABEL, **label))
    assert store.rebuild_training_set("set").manifest == found.manifest
    labels: list[Any] = found.to_arrow()["label"].to_pylist()
    store.delete_training_set("set")
    return labels


def test_a_label_is_joined_where_the_only_role_finds_its_key(store: FeatureStore) -> None:
    """The spine needs no column of the join key's own name."""
    assert made(store, "to") == by_hand(SPINE["dest"]) == made(store, "to", keys=["airport"])


def test_a_label_says_on_which_of_several_roles_it_is_joined(store: FeatureStore) -> None:
    """By the column; without it, it is asked."""
    assert made(store, "both", keys={"airport": "dest"}) == by_hand(SPINE["dest"])
    assert made(store, "both", keys={"airport": "origin"}) == by_hand(SPINE["origin"])
    for keys in ((), ["airport"]):
        with pytest.raises(InputError, match=r"where its key 'airport' is found.*from dest and origin.*\"dest\"}"):
            made(store, "both", keys=keys)
    assert store.training_sets() == []


def test_a_view_without_a_role_decides_before_those_with_one(store: FeatureStore) -> None:
    """The key is then found under its own name, unless the label says otherwise."""
    spine = {**SPINE, "airport": ["SFO", "SFO", "JFK", "JFK", "LAX"]}
    assert made(store, "plain", spine) == by_hand(spine["airport"])
    assert made(store, "plain", spine, keys={"airport": "origin"}) == by_hand(SPINE["origin"])


def test_two_entities_are_not_told_apart_by_a_role(store: FeatureStore) -> None:
    """The label names its keys, and a role still says where they are."""
    spine = {**SPINE, "carrier": [1] * 5}
    with pytest.raises(InputError, match="on which keys it is joined"):
        made(store, "two", spine)
    assert made(store, "two", spine, keys=["airport"]) == by_hand(SPINE["dest"])


def test_keys_that_are_not_there_are_refused(store: FeatureStore) -> None:
    """A column of the spine, a join key of the service, and a mapping to nothing."""
    with pytest.raises(InputError, match=r"There is no column 'destiny'.*Did you mean dest"):
        made(store, "to", keys={"airport": "destiny"})
    with pytest.raises(InputError, match="'port', which is no join key"):
        made(store, "to", keys={"port": "dest"})
    with pytest.raises(DefinitionError, match="finds a key in no column"):
        Label("observed", window="1h", keys={"airport": ""})
