"""What `asof plan` prints is what the files of tests/golden say, to the letter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Project

GOLDEN = Path(__file__).parents[1] / "golden"

CHANGES = {
    "nothing": [],
    "window": [('Sum("amount", windows=["1h"])', 'Sum("amount", windows=["1h", "30d"])')],
    "where_and_ttl": [("source=orders, f", 'source=orders, where="amount > 0", f'), ('ttl="7d"', 'ttl="30d"')],
    "metadata": [('owner="ada"', 'owner="bob", tags=["gold"]')],
    "source": [('event_id="id"', 'event_id="id", delay="10m"')],
    "removal": [('score = FeatureService("score", features=[profile])\n', "")],
    "service": [("features=[spend, profile])", 'features=[profile, spend["count_1h"]])')],
}


def expected(name: str) -> str:
    return (GOLDEN / f"plan_{name}.txt").read_text(encoding="utf-8")


def test_the_first_plan_lists_everything_as_new(project: Project) -> None:
    assert project.run("plan").out == expected("first")


@pytest.mark.parametrize("name", CHANGES)
def test_a_plan_says_in_words_what_an_edit_changes(project: Project, name: str) -> None:
    assert project.run("apply").code == 0
    for old, new in CHANGES[name]:
        project.edit(old, new)
    assert project.run("plan").out == expected(name)


def test_a_restored_object_keeps_its_version(project: Project) -> None:
    score = 'score = FeatureService("score", features=[profile])\n'
    project.run("apply")
    project.edit(score, "")
    project.run("apply")
    project.edit("fraud =", score + "fraud =")
    assert project.run("plan").out == expected("restored")
