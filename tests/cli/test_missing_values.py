"""Services that treat missing values on the command line: described, planned, read and refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from asof.errors import MissingValueError

if TYPE_CHECKING:
    from tests.cli.conftest import Project

TREATED = 'profile["country"].with_missing(limit="2d", default="??", indicator=True)'


@pytest.fixture
def treated(project: Project) -> Project:
    """Return a project whose service score was applied, and then edited to treat what it reads."""
    assert project.run("apply").code == 0
    project.edit('FeatureService("score", features=[profile])', f'FeatureService("score", features=[{TREATED}])')
    return project


def test_a_plan_says_what_is_done_about_missing_values(treated: Project) -> None:
    words = "missing values of profile:country changed: none -> default ??, expired after 2d, indicator"
    assert words in treated.run("plan").out
    assert treated.run("apply").code == 0
    assert "default ??, expired after 2d, indicator" in treated.run("describe", "score").out
    assert "default ??" not in treated.run("describe", "score@1").out
    [shown] = json.loads(treated.run("describe", "score", "--json").out)
    assert shown["spec"]["features"][0]["missing"] == {"default": "??", "limit_us": 172_800_000_000, "indicator": True}


def test_reads_fill_and_mark(treated: Project) -> None:
    """Offline and online, with statuses kept."""
    treated.run("apply")
    treated.run("materialize", "--at", "2025-01-02T00:00:00Z")
    arguments = ("get-online-features", "score", "--key", "customer_id=7", "--at")
    young = json.loads(treated.run(*arguments, "2025-01-03T00:00:00Z", "--json").out)
    assert young["results"][0]["values"] == ["NL", False]
    old = json.loads(treated.run(*arguments, "2025-01-03T00:00:01Z", "--json").out)
    assert old["results"][0]["values"] == ["??", True]
    assert old["results"][0]["statuses"] == ["expired", "present"]
    assert set(old["results"][0]["event_times"]) == {"profile"}
    shown = treated.run(*arguments, "2025-01-03T00:00:01Z").out
    assert "profile__country__missing" in shown
    treated.write("labels.csv", "customer_id,event_timestamp\n7,2025-01-03T00:00:00Z\n7,2025-01-03T00:00:01Z\n")
    out = treated.root / "training.csv"
    treated.run("get-historical-features", "score", "--spine", str(treated.root / "labels.csv"), "--out", str(out))
    rows = [line.replace('"', "").split(",")[2:] for line in out.read_text(encoding="utf-8").splitlines()]
    assert rows == [["profile__country", "profile__country__missing"], ["NL", "false"], ["??", "true"]]


def test_a_read_is_refused_with_an_exit_code_of_its_own(treated: Project) -> None:
    treated.edit(TREATED, 'profile["country"].with_missing(error=True)')
    treated.run("apply")
    treated.run("materialize", "--at", "2025-01-02T00:00:00Z")
    arguments = ("get-online-features", "score", "--key", "customer_id=8", "--at", "2025-01-02T00:00:00Z")
    done = treated.run(*arguments)
    assert done.code == MissingValueError.exit_code
    assert "Feature profile:country has no value for 1 of 1 keys" in done.err
