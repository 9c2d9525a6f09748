"""What `asof explain` and `asof lineage` print is what the files of tests/golden say, to the letter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Project

GOLDEN = Path(__file__).parents[1] / "golden"
ORDERS = """\
id,customer_id,ts,amount
1,7,2026-01-01T11:10:00Z,2.5
2,7,2026-01-01T11:30:00Z,4.0
2,7,2026-01-01T11:30:00Z,4.0
3,7,2026-01-01T12:00:00Z,1.0
4,7,2026-01-01T10:30:00Z,8.0
5,7,2026-01-01T11:45:00Z,
6,8,2026-01-01T11:45:00Z,16.0
"""
PEOPLE = """\
customer_id,since,country
7,2025-12-31T00:00:00Z,NL
7,2025-12-30T00:00:00Z,BE
7,2026-01-02T00:00:00Z,FR
8,2025-01-01T00:00:00Z,DE
"""
AT = ("--at", "2026-01-01T12:00")
COMMANDS = {
    "explain_event": ("explain", "spend:amount_sum_1h", "--key", "7", *AT),
    "explain_rows": ("explain", "spend:count_1h", "--key", "customer_id=7", "--rows", "1", *AT),
    "explain_state": ("explain", "profile:country", "--key", "7", *AT),
    "explain_expired": ("explain", "profile:country", "--key", "8", *AT),
    "explain_early": ("explain", "spend:count_1h", "--key", "7", "--at", "2026-01-01T11:00"),
    "lineage_feature": ("lineage", "spend:amount_sum_1h"),
    "lineage_service": ("lineage", "fraud"),
    "lineage_column": ("lineage", "people.country"),
    "lineage_all": ("lineage",),
}


@pytest.fixture
def served(project: Project) -> Project:
    """Return the project applied, with more rows, and materialized at 11:20."""
    project.write("orders.csv", ORDERS)
    project.write("people.csv", PEOPLE)
    assert project.run("apply").code == 0
    assert project.run("materialize", "--at", "2026-01-01T11:20").code == 0
    return project


def expected(name: str) -> str:
    return (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", COMMANDS)
def test_it_prints_what_the_file_says(served: Project, name: str) -> None:
    done = served.run(*COMMANDS[name])
    assert (done.code, done.err) == (0, "")
    assert done.out == expected(name)


def test_an_explanation_before_materializing_names_the_command(project: Project) -> None:
    project.run("apply")
    done = project.run("explain", "spend:count_1h", "--key", "7", *AT)
    assert done.code == 0
    assert "online       View spend@1 is not in the online store" in done.out
    assert "agree" not in done.out


def test_json_is_the_same_as_data(served: Project) -> None:
    found = json.loads(served.run(*COMMANDS["explain_event"], "--json").out)
    assert (found["feature"], found["inside"], found["agree"]) == ("spend@1:amount_sum_1h", 2, False)
    assert found["window"] == {"start": "2026-01-01T11:00:00Z", "end": "2026-01-01T12:00:00Z"}
    assert {group["cause"]: group["count"] for group in found["outside"]} == {
        "duplicate": 1,
        "in_the_future": 1,
        "before_the_window": 1,
        "null_input": 1,
    }
    lineage = json.loads(served.run("lineage", "spend:count_1h", "--json").out)
    assert lineage["nodes"] == [{"kind": "feature", "name": "spend@1:count_1h"}]
    assert [link["user"] for link in lineage["downstream"]] == [{"kind": "service", "name": "fraud@1"}]
    assert [link["roles"] for link in lineage["upstream"] if link["used"]["name"] == "orders.ts"] == [["event time"]]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (("x",), "customer_id=x is not of type int64"),
        (("customer=7",), "'customer' is not a join key"),
        (("7", "8"), "A join key is given twice"),
        (("customer_id=7", "customer_id=8"), "A join key is given twice"),
    ],
)
def test_a_key_that_names_no_entity_is_explained(served: Project, keys: tuple[str, ...], message: str) -> None:
    done = served.run("explain", "spend:count_1h", *(part for key in keys for part in ("--key", key)))
    assert done.code == 5
    assert message in done.err


def test_composite_keys_are_named_or_listed_in_order(project: Project) -> None:
    project.write("legs.csv", "origin,dest,ts\nJFK,LAX,2026-01-01T11:00:00Z\nLAX,JFK,2026-01-01T11:00:00Z\n")
    project.edit(
        "fraud =",
        'route = Entity("route", join_keys=["origin", "dest"])\n'
        'legs = FileSource("legs", path="legs.csv", event_time="ts")\n'
        'delays = EventView("delays", entity=route, source=legs, features=[Count(windows=["lifetime"])])\n'
        "fraud =",
    )
    assert project.run("apply").code == 0
    ask = ("explain", "delays:count_lifetime", *AT, "--json")
    named = json.loads(project.run(*ask, "--key", "dest=LAX", "--key", "origin=JFK").out)
    listed = json.loads(project.run(*ask, "--key", "JFK,LAX").out)
    assert named["keys"] == listed["keys"] == {"origin": "JFK", "dest": "LAX"}
    assert named["inside"] == listed["inside"] == 1
    wrong = project.run(*ask[:-1], "--key", "JFK")
    assert (wrong.code, "--key origin=… --key dest=…" in wrong.err) == (5, True)


def test_a_part_that_nothing_uses_says_so(project: Project) -> None:
    project.write("people.csv", "customer_id,since,country,age\n7,2025-01-01T00:00:00Z,NL,3\n")
    project.run("apply")
    assert project.run("lineage", "people.age").out == "column people.age\n└── nothing uses it\n"
    assert project.run("lineage", "people.aeg").code == 6


def test_the_lineage_of_an_empty_registry_is_empty(project: Project) -> None:
    assert "registry is empty" in project.run("lineage").out
