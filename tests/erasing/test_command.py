"""`asof erase` asks first, says what it found and what is left, and ends with 1 if that is anything."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from asof.errors import InputError
from asof.services.erase import Erasure
from tests.cli.conftest import Project

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Project:
    return Project(tmp_path, capsys)


def test_it_asks_erases_and_searches_again(project: Project) -> None:
    """And names what is not its own."""
    project.run("apply", "--yes")
    project.run("materialize")
    dry = project.run("erase", "--entity", "customer=7", "--dry-run")
    assert dry.code == 0, dry.err
    assert "Found 2 in" in dry.out
    assert "Nothing was erased." in dry.out
    refused = project.run("erase", "--entity", "customer=7")
    assert refused.code == InputError.exit_code
    assert "Repeat with --yes" in refused.err
    done = project.run("erase", "--entity", "customer=7", "--yes")
    assert done.code == 0, done.err
    assert "nothing is left in" in done.out
    assert "Not erased, yours: file orders.csv of source orders" in done.out
    again = json.loads(project.run("erase", "--entity", "customer=customer_id=7", "--yes", "--json").out)
    assert (again["remaining"], again["erasure"]["entities"]) == (0, 1)


def test_it_ends_with_one_if_something_is_left(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what was to be erased."""
    project.run("apply", "--yes")
    project.run("materialize")
    monkeypatch.setattr(Erasure, "_erase", lambda *_: None)
    left = project.run("erase", "--entity", "customer=7", "--yes")
    assert left.code == 1
    assert "2 left in" in left.out


def test_keys_that_do_not_fit_are_refused(project: Project) -> None:
    """And so are kinds that are mixed."""
    project.run("apply", "--yes")
    assert project.run("erase", "--entity", "customer=x", "--yes").code == InputError.exit_code
    mixed = project.run("erase", "--entity", "customer=7", "--entity", "card=7", "--yes")
    assert "Several kinds of entities" in mixed.err
    assert project.run("erase", "--entity", "custome=7", "--yes").code != 0
