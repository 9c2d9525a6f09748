"""Stored training sets from the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Project

SPINE = "customer_id,event_timestamp\n7,2025-01-03T00:00:00Z\n8,2025-01-04T00:00:00Z\n7,2025-12-31T23:00:00Z\n"


@pytest.fixture
def applied(project: Project) -> Project:
    project.write("visits.csv", SPINE)
    assert project.run("apply").code == 0
    return project


def create(project: Project, *arguments: str) -> list[str]:
    return [
        "training-set",
        "create",
        "march",
        "--service",
        "fraud",
        "--spine",
        str(project.root / "visits.csv"),
        *arguments,
    ]


def test_a_training_set_is_made_shown_rebuilt_and_deleted(applied: Project) -> None:
    label = ["--label-source", "orders", "--label-window", "2h", "--label-column", "amount", "--label-aggregate", "sum"]
    done = applied.run(*create(applied, "--split", "time:2025-01-04", *label))
    assert done.code == 0, done.err
    assert done.out.startswith("Made march of fraud@1: 3 rows (train 1, test 2), in ")
    data = applied.root / ".asof/offline/training_sets/march/data.parquet"
    before = data.read_bytes()
    listed = applied.run("training-set", "list").out.splitlines()
    assert listed[1].split()[:4] == ["march", "fraud@1", "3", "0"]
    shown = applied.run("training-set", "describe", "march").out
    assert "orders: orders.csv, 1 files" in shown
    assert "spend@1, profile@1" in shown
    manifest = json.loads(applied.run("training-set", "describe", "march", "--json").out)
    assert manifest["label"]["aggregate"] == "sum"
    label_column = next(one for one in manifest["statistics"] if one["name"] == "label")
    assert (label_column["nulls"], label_column["max"]) == (2, 2.5)
    done = applied.run("training-set", "rebuild", "march")
    assert (done.code, done.out) == (0, "Rebuilt march: 3 rows (train 1, test 2), the same as before.\n")
    assert data.read_bytes() == before
    assert applied.run("training-set", "delete", "march").code == 5
    assert applied.run("training-set", "delete", "march", "--yes").out == "Deleted march.\n"
    assert applied.run("training-set", "list").out.startswith("There is no training set.")
    assert json.loads(applied.run("training-set", "list", "--json").out) == []


def test_a_rebuild_that_cannot_be_done_names_the_file(applied: Project) -> None:
    assert applied.run(*create(applied)).code == 0
    applied.write("people.csv", "customer_id,since,country\n7,2025-01-01T00:00:00Z,BE\n")
    done = applied.run("training-set", "rebuild", "march")
    assert done.code == 9
    assert "source people: file people.csv changed" in done.err
    assert applied.run(*create(applied)).code == 7


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--split", "halves"], 5, "'halves' is not a split"),
        (["--split", "random:train=much"], 5, "is not a split"),
        (["--split", "random:train=0.5,test=0.4"], 3, "sum to 1"),
        (["--split", "time:soon"], 3, "an instant that is none"),
        (["--split", "group:shop"], 5, "no column 'shop'"),
        (["--label-window", "1d"], 5, "no source for the label"),
        (["--label-source", "orders"], 5, "no window"),
        (["--label-source", "order", "--label-window", "1d"], 6, "orders"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_kept(
    applied: Project, arguments: list[str], code: int, message: str
) -> None:
    done = applied.run(*create(applied, *arguments))
    assert done.code == code, done.err
    assert message in done.err
    assert json.loads(applied.run("training-set", "list", "--json").out) == []


def test_splits_are_written_as_text(applied: Project) -> None:
    for text in ("random", "random:a=0.5,b=0.5", "group:customer_id", "group:customer_id:a=0.5,b=0.5"):
        assert applied.run(*create(applied, "--split", text, "--seed", "4")).code == 0
        manifest = json.loads(applied.run("training-set", "describe", "march", "--json").out)
        assert (manifest["split"]["kind"], manifest["split"]["seed"]) == (text.partition(":")[0], 4)
        assert sum(manifest["splits"].values()) == 3
        applied.run("training-set", "delete", "march", "--yes")


def test_a_damaged_training_set_is_listed_with_the_reason(applied: Project) -> None:
    """The others are listed as ever."""
    assert applied.run(*create(applied)).code == 0
    damaged = applied.root / ".asof/offline/training_sets/april"
    damaged.mkdir()
    (damaged / "manifest.json").write_text("{", encoding="utf-8")
    done = applied.run("training-set", "list")
    assert done.code == 0
    assert done.out.splitlines()[1].split()[0] == "march"
    assert "april is damaged. The manifest of training set 'april' cannot be read: Input data was truncated" in done.out
    listed = json.loads(applied.run("training-set", "list", "--json").out)
    assert [one["name"] for one in listed] == ["march", "april"]
    assert "cannot be read" in listed[1]["damaged"]
    applied.run("training-set", "delete", "march", "--yes")
    assert applied.run("training-set", "list").out.startswith("april is damaged.")
    assert applied.run("training-set", "delete", "april", "--yes").out == "Deleted april.\n"
