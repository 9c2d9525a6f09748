"""Training sets, materializing and online reads from the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Project

SPINE = (
    "customer_id,event_timestamp,label\n7,2025-01-03T00:00:00Z,1\n8,2025-01-03T00:00:00Z,0\n7,2025-02-01T00:00:00Z,1\n"
)


@pytest.fixture
def applied(project: Project) -> Project:
    project.write("labels.csv", SPINE)
    assert project.run("apply").code == 0
    return project


def test_a_training_set_has_the_rows_of_its_spine_in_order(applied: Project) -> None:
    out = applied.root / "training.csv"
    done = applied.run(
        "get-historical-features", "score", "--spine", str(applied.root / "labels.csv"), "--out", str(out)
    )
    assert (done.code, done.out) == (0, f"Wrote 3 rows and 4 columns to {out}.\n")
    rows = [line.replace('"', "").split(",") for line in out.read_text(encoding="utf-8").splitlines()]
    assert rows[0] == ["customer_id", "event_timestamp", "label", "profile__country"]
    assert [(row[0], row[3]) for row in rows[1:]] == [("7", "NL"), ("8", ""), ("7", "")]


def test_features_may_be_listed_with_statuses_and_instants_may_replace_the_spine(applied: Project) -> None:
    out = applied.root / "grid.csv"
    arguments = ["get-historical-features", "profile:country", "--instants", "2025-01-02", "--out", str(out)]
    done = json.loads(applied.run(*arguments, "--statuses", "--json").out)
    assert done["rows"] == 1
    assert done["columns"][-2:] == ["profile__country", "profile__country__status"]
    assert out.read_text(encoding="utf-8").splitlines()[1].endswith('"NL","present"')


def test_a_training_set_needs_a_spine_or_instants_and_not_both(applied: Project) -> None:
    assert applied.run("get-historical-features", "score", "--out", "x.csv").code == 5
    both = applied.run("get-historical-features", "score", "--spine", "x", "--instants", "2025-01-01", "--out", "x.csv")
    assert both.code == 5
    assert "either a spine or instants" in both.err


def test_what_is_materialized_is_read_with_its_status(applied: Project) -> None:
    done = json.loads(applied.run("materialize", "profile", "--at", "2025-01-03", "--json").out)
    assert [(m["view"], m["version"], m["generation"], m["keys"]) for m in done] == [("profile", 1, 1, 1)]
    read = ["get-online-features", "profile:country", "--key", "customer_id=7", "--key", "customer_id=8"]
    shown = applied.run(*read, "--at", "2025-01-04")
    assert [line.split() for line in shown.out.splitlines()] == [
        ["customer_id=7"],
        ["feature", "value", "status"],
        ["profile__country", "NL", "present"],
        ["customer_id=8"],
        ["feature", "value", "status"],
        ["profile__country", "missing"],
    ]
    assert json.loads(applied.run(*read, "--at", "2025-01-04", "--json").out)["at"] == "2025-01-04T00:00:00Z"
    assert "expired" in applied.run(*read, "--at", "2025-03-01").out
    assert "2025-01-03T00:00:00Z" in applied.run("status").out


def test_a_role_is_described_and_read(applied: Project) -> None:
    """Its keys are typed by the view that they are keys of; a changed mapping is planned in words."""
    both = '[profile, profile.with_role("referrer", keys={"customer_id": "by"})]'
    applied.edit('"score", features=[profile]', f'"score", features={both}')
    assert "feature profile:country as referrer added" in applied.run("plan").out
    applied.run("apply")
    described = [line.split() for line in applied.run("describe", "score").out.splitlines()]
    assert ["referrer__profile__country", "profile@1", "country", "customer_id", "=", "by"] in described
    assert applied.run("materialize", "--at", "2025-01-03").code == 0
    read = ["get-online-features", "score", "--key", "customer_id=8", "--key", "by=7", "--at", "2025-01-04"]
    assert ["referrer__profile__country", "NL", "present"] in [
        line.split() for line in applied.run(*read).out.splitlines()
    ]
    applied.edit('"by"', '"via"')
    assert "keys of profile as referrer changed: customer_id = by -> customer_id = via" in applied.run("plan").out


def test_a_lookup_is_planned_described_and_read(applied: Project) -> None:
    """The command line takes the card and shows where the owner comes from."""
    applied.write("cards.csv", "card_id,customer_id,since\n1,7,2025-01-01T00:00:00Z\n2,,2025-01-01T00:00:00Z\n")
    applied.edit(
        "score = ",
        """cards = StateView(
    "cards",
    entity=Entity("card", join_key="card_id"),
    source=FileSource("cards", path="cards.csv", event_time="since"),
    features=["customer_id"],
)
score = """,
    )
    applied.edit('"score", features=[profile]', '"score", features=[profile.via(cards["customer_id"])]')
    plan = applied.run("plan").out
    assert "keys of profile changed: none -> customer_id = cards:customer_id" in plan
    applied.run("apply")
    described = [line.split() for line in applied.run("describe", "score").out.splitlines()]
    assert ["profile__country", "profile@1", "country", "customer_id", "=", "cards:customer_id"] in described
    assert "fraud@1, score@1, score@2" in applied.run("describe", "profile").out
    assert "score@2" in applied.run("describe", "cards").out
    assert "cards@1:customer_id (join key)" in applied.run("lineage", "score").out
    assert applied.run("materialize", "--at", "2025-01-03").code == 0
    read = ["get-online-features", "score", "--key", "card_id=1", "--key", "card_id=2", "--at", "2025-01-04"]
    shown = [line.split() for line in applied.run(*read).out.splitlines()]
    assert [line for line in shown if line[:1] == ["profile__country"]] == [
        ["profile__country", "NL", "present"],
        ["profile__country", "missing"],
    ]


def test_features_about_everything_take_no_key(applied: Project) -> None:
    """One entity without a key: nothing to give, one answer."""
    applied.edit(
        "score = ",
        """market = Entity("market", join_keys=[])
turnover = EventView("turnover", entity=market, source=orders, features=[Count(windows=["7d"])])
score = """,
    )
    applied.run("apply")
    assert "market (no join keys)" in applied.run("describe", "turnover").out
    assert applied.run("materialize", "turnover", "--at", "2026-01-02").code == 0
    done = applied.run("get-online-features", "turnover:count_7d", "--at", "2026-01-02")
    assert [line.split() for line in done.out.splitlines() if line.strip()] == [
        ["everything"],
        ["feature", "value", "status"],
        ["turnover__count_7d", "1", "present"],
    ]
    assert "'customer_id' is missing" in applied.run("get-online-features", "profile:country").err
    grid = applied.root / "grid.csv"
    asked = ["get-historical-features", "turnover:count_7d", "--instants", "2026-01-02", "--out", str(grid)]
    assert applied.run(*asked).code == 0
    assert len(grid.read_text(encoding="utf-8").splitlines()) == 2


def test_a_read_before_materializing_says_what_to_run(applied: Project) -> None:
    done = applied.run("get-online-features", "score", "--key", "customer_id=7")
    assert done.code == 8
    assert "asof materialize profile" in done.err


@pytest.mark.parametrize(
    ("key", "message"),
    [("customer_id", "has no value"), ("customer_id=x", "is not of type int64"), ("custmer_id=7", "customer_id")],
)
def test_a_wrong_key_is_explained(applied: Project, key: str, message: str) -> None:
    applied.run("materialize", "profile")
    done = applied.run("get-online-features", "score", "--key", key)
    assert done.code == 5
    assert message in done.err


def test_rows_set_apart_are_a_warning_without_a_traceback(applied: Project) -> None:
    applied.write("people.csv", "customer_id,since,country\n7,2025-01-01T00:00:00Z,NL\n8,,BE\n")
    done = applied.run("materialize", "profile")
    assert done.code == 0
    assert done.err.startswith("Warning: Source 'people': 1 rows were set apart")


def test_on_demand_views_take_a_request(project: Project) -> None:
    """Planned, listed, described and read by their inputs, read as the types they are declared with."""
    project.edit("\nfraud = ", PRICING)
    planned = project.run("plan").out
    assert "+ on-demand view pricing@1" in planned
    project.run("apply")
    project.run("materialize", "spend", "--at", "2026-01-01T00:30")
    read = ["get-online-features", "pricing:per_mile", "--key", "customer_id=7", "--at", "2026-01-01T00:30"]
    shown = project.run(*read, "--request", "distance=2").out
    assert ["pricing__per_mile", "1.25", "present"] in [line.split() for line in shown.splitlines()]
    refused = project.run(*read, "--request", "distance=far")
    assert refused.code == 5
    assert "--request distance=far is not of type float64" in refused.err
    assert "on-demand view" in project.run("list", "on-demand-views").out
    described = project.run("describe", "pricing").out
    assert "ratio(spend__amount_sum_1h, distance)" in described
    assert "the request" in described
    assert "1 on-demand view" in project.run("status").out


PRICING = """
from asof import OnDemandView, RequestField, on_demand

pricing = OnDemandView(
    "pricing",
    inputs=[spend["amount_sum_1h"]],
    request=[RequestField("distance", "float64")],
    features=[on_demand.ratio("per_mile", "spend__amount_sum_1h", "distance")],
)
fraud = """


def test_a_read_may_ask_for_a_snapshot_and_says_what_is_stale(applied: Project) -> None:
    """A view that is older than its objective keeps its value; the status shows it, too."""
    applied.edit('ttl="7d", owner="ada"', 'ttl="7d", owner="ada", freshness="1h"')
    assert "freshness changed" in applied.run("plan").out
    assert applied.run("apply").code == 0
    assert "freshness    1h" in applied.run("describe", "profile").out
    assert applied.run("materialize", "profile", "--at", "2025-01-03").code == 0
    read = ["get-online-features", "profile:country", "--key", "customer_id=7", "--at", "2025-01-04"]
    shown = applied.run(*read, "--consistency", "snapshot")
    assert shown.out.splitlines()[-1].split() == ["profile__country", "NL", "stale"]
    assert "stale, over 1h" in applied.run("status").out
    assert applied.run(*read, "--consistency", "late").code == 2
