"""Roles of views: what can be defined, what columns are called, what counts as meaning, what people are told."""

from __future__ import annotations

import pytest

from asof import Count, Entity, EventView, FeatureService, FeatureStore, FrameSource, StateView
from asof.clock import FixedClock, from_us
from asof.errors import DefinitionError, InputError, NotFoundError
from asof.plan.specs import ServiceFeature, ServiceSpec, meaning_hash
from asof.plan.wording import describe_change

ROWS = {
    "airport": ["JFK", "LAX", "JFK"],
    "ts": [from_us(1), from_us(2), from_us(3)],
    "wind": [1.0, 2.0, 3.0],
    "gust": [1, 2, 3],
}
airport = Entity("airport", dtype="string")
observed = FrameSource("observed", event_time="ts", frame=ROWS)
weather = StateView("weather", entity=airport, source=observed, features=["wind", "gust"])
traffic = EventView("traffic", entity=airport, source=observed, features=[Count(windows=["1h"])])


@pytest.mark.parametrize(
    ("role", "keys", "words"),
    [
        ("a__b", {"airport": "dest"}, "double underscore"),
        ("1st", {"airport": "dest"}, "not valid"),
        ("destination", {}, "maps no join key"),
        ("destination", {"dest": "airport"}, "no join key of view 'weather'"),
        ("destination", {"airport": ""}, "Give the name of a column"),
    ],
)
def test_a_wrong_role_is_refused(role: str, keys: dict[str, str], words: str) -> None:
    """What cannot be a role is refused where it is written."""
    with pytest.raises(DefinitionError, match=words):
        weather.with_role(role, keys=keys)


def test_an_entity_without_join_keys_has_no_roles() -> None:
    """There is one of it, so nothing could be found elsewhere."""
    world = StateView("world", entity=Entity("world", join_keys=[]), source=observed, features=["wind"])
    with pytest.raises(DefinitionError, match="can have no role"):
        world.with_role("other", keys={"airport": "dest"})


def test_a_selection_keeps_its_role() -> None:
    """Selecting from a view under a role is selecting from the view."""
    chosen = weather.with_role("destination", keys={"airport": "dest"})["wind"]
    assert chosen.names == ("wind",)
    assert chosen.role is not None
    assert chosen.role.column("airport") == "dest"
    with pytest.raises(NotFoundError, match="no feature 'rain'"):
        weather.with_role("destination", keys={"airport": "dest"})["rain"]


def test_a_role_has_one_mapping_in_a_service() -> None:
    """Two mappings under one name could not be told apart in an answer."""
    origin = weather.with_role("other", keys={"airport": "origin"})
    dest = weather.with_role("other", keys={"airport": "dest"})
    with pytest.raises(DefinitionError, match="in two ways"):
        FeatureService("s", features=[origin["wind"], dest["gust"]])
    with pytest.raises(DefinitionError, match="twice under role 'other'"):
        FeatureService("s", features=[origin, origin["wind"]])
    FeatureService("s", features=[origin, traffic.with_role("other", keys={"airport": "dest"})])


def test_history_joins_one_view_once_per_role() -> None:
    """Each role reads its own column of the spine; without a role the join key's own name is read."""
    spine = {"airport": ["JFK"], "dest": ["LAX"], "at": [from_us(10)]}
    with FeatureStore.temporary(clock=FixedClock(10)) as store:
        features = [weather["wind"], weather.with_role("destination", keys={"airport": "dest"})["wind"]]
        table = store.get_historical_features(features, spine, event_time="at").to_arrow()
        assert table.column_names == ["airport", "dest", "at", "weather__wind", "destination__weather__wind"]
        assert table.to_pylist()[0]["weather__wind"] == 3.0
        assert table.to_pylist()[0]["destination__weather__wind"] == 2.0
        with pytest.raises(InputError, match="There is no column 'dest'"):
            store.get_historical_features(features, {"airport": ["JFK"], "at": [from_us(10)]}, event_time="at")
        with pytest.raises(InputError, match="Which entities meet in role 'destination'"):
            store.get_historical_features(features, instants=["2026-01-01"])


def test_a_service_without_roles_means_what_it_meant() -> None:
    """The hash of a service from before there were roles is unchanged, so no service gets a new version for them."""
    plain = ServiceSpec(name="s", features=(ServiceFeature(view="weather", view_version=1, feature="wind"),))
    assert meaning_hash(plain) == "271510bf161b57bac7489a50577741234bf446e538f980c39c56752a89689c7c"
    role = ServiceFeature(
        view="weather", view_version=1, feature="wind", role="destination", keys=(("airport", "dest"),)
    )
    assert meaning_hash(ServiceSpec(name="s", features=(role,))) != meaning_hash(plain)


def test_a_changed_mapping_is_said_in_words() -> None:
    """A plan names the role, and the columns before and after."""

    def service(column: str, role: str | None = "destination") -> ServiceSpec:
        keys = (("airport", column),) if role else ()
        one = ServiceFeature(view="weather", view_version=1, feature="wind", role=role, keys=keys)
        return ServiceSpec(name="s", features=(one,))

    assert describe_change(service("dest"), service("to")) == (
        "keys of weather as destination changed: airport = dest -> airport = to",
    )
    assert describe_change(service("", None), service("dest")) == (
        "feature weather:wind removed",
        "feature weather:wind as destination added",
    )
