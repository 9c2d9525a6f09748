"""Every command speaks to people and, with --json, to programs; mistakes have a message and an exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from asof.cli import cli, main

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Project

STREAM = """orders = StreamSource(
    "orders", event_time="ts", event_id="id", topic="shop.orders", history=past, handover="2026-01-02T00:00:00Z"
)
"""


def test_apply_writes_a_revision_and_says_what_comes_next(project: Project) -> None:
    done = project.run("apply", "-m", "first", "--who", "ada")
    assert done.code == 0
    assert "Applied as revision 1.\nNext: asof materialize\n" in done.out
    listed = json.loads(project.run("revisions", "--json").out)
    assert [(r["number"], r["who"], r["summary"]) for r in listed] == [(1, "ada", "first")]


def test_applying_twice_changes_nothing(project: Project) -> None:
    project.run("apply")
    again = project.run("apply")
    assert (again.code, again.out) == (0, "Nothing to apply: the registry, at revision 1, has all of it.\n")
    done = json.loads(project.run("apply", "--json").out)
    assert (done["applied"], done["revision"]) == (False, 1)


def test_plan_writes_nothing_and_is_data_with_json(project: Project) -> None:
    plan = json.loads(project.run("plan", "--json").out)
    assert plan["expected_revision"] == 0
    assert [(c["kind"], c["name"], c["action"], c["version"]) for c in plan["changes"]][-1] == (
        "service",
        "score",
        "create",
        1,
    )
    assert [b["view"] for b in plan["backfills"]] == ["profile", "spend"]
    assert json.loads(project.run("revisions", "--json").out) == []


def test_list_shows_the_newest_versions_by_kind(project: Project) -> None:
    assert "registry is empty" in project.run("list").out
    project.run("apply")
    lines = [line.split() for line in project.run("list").out.splitlines()]
    assert [line[:2] for line in lines[1:]] == [
        ["entity", "customer"],
        ["source", "orders"],
        ["source", "people"],
        ["view", "profile"],
        ["view", "spend"],
        ["service", "fraud"],
        ["service", "score"],
    ]
    views = json.loads(project.run("list", "views", "--json").out)
    assert [(v["name"], v["version"], v["about"]) for v in views] == [
        ("profile", 1, "1 feature of customer from people"),
        ("spend", 1, "2 features of customer from orders"),
    ]


def test_a_mistake_is_explained_on_stderr_with_its_exit_code(project: Project) -> None:
    project.edit('Sum("amount"', 'Sum("amont"')
    done = project.run("plan")
    assert (done.code, done.out) == (4, "")
    assert done.err.splitlines() == [
        "Error: Source 'orders' has no column 'amont', which spend:amont_sum_1h needs.",
        "Why: Did you mean amount?",
        "Fix: Its columns are id, customer_id, ts, amount.",
    ]
    body = json.loads(project.run("plan", "--json").err)["error"]
    assert (body["code"], body["why"]) == ("schema_mismatch", "Did you mean amount?")


def test_a_mistake_in_a_file_names_the_line_and_shows_no_traceback(project: Project) -> None:
    project.write("features.py", "import asof\nasof.Entity('9')\n")
    done = project.run("apply")
    assert done.code == 3
    assert "features.py:2: Entity name '9' is not valid" in done.err
    assert "Traceback" not in done.err


def test_a_wrong_predicate_names_its_view(project: Project) -> None:
    project.edit("source=orders, f", 'source=orders, where="amonut > 0", f')
    done = project.run("plan")
    assert done.code == 3
    assert "View 'spend' has a where that cannot be used" in done.err
    assert "amount" in done.err


def test_an_aggregate_with_a_wrong_predicate_is_named(project: Project) -> None:
    project.edit('Count(windows=["1h"])', 'Count(windows=["1h"], where="amount")')
    assert "Feature spend:count_1h has a where that cannot be used" in project.run("plan").err


def test_a_missing_source_is_named(project: Project) -> None:
    (project.root / "orders.csv").unlink()
    done = project.run("plan")
    assert done.code == 9
    assert "orders.csv" in done.err


def test_wrong_usage_exits_with_2(project: Project) -> None:
    assert project.run("list", "nonsense").code == 2
    assert project.run("plan", "--nonsense").code == 2


def test_no_project_is_not_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--project", str(tmp_path), "plan"])
    assert exit_.value.code == 6
    assert "asof init" in capsys.readouterr().err


def test_ctrl_c_exits_with_130(project: Project) -> None:
    project.write("features.py", "raise KeyboardInterrupt\n")
    done = project.run("plan")
    assert (done.code, done.err.strip()) == (130, "Interrupted.")


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([name, "--help"])
    assert exit_.value.code == 0
    shown = capsys.readouterr().out
    assert f"asof {name}" in shown.split("Usage:")[1].split("\n", 1)[1]


def test_help_loads_no_engine() -> None:
    script = (
        "import sys; from asof.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'pyarrow', 'duckdb', 'sqlalchemy', 'deltalake', 'pandas', 'polars', 'numpy', 'lmdb'}\n"
        "sys.exit(repr(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_init_writes_a_project_that_applies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "my shop"
    for arguments in (["init", str(root)], ["--project", str(root), "apply"]):
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        assert exit_.value.code == 0, capsys.readouterr().err
    assert "Applied as revision 1." in capsys.readouterr().out
    assert (root / "asof.toml").read_text(encoding="utf-8") == 'project = "my-shop"\n'


def test_a_new_projects_tests_pass_with_plain_pytest(tmp_path: Path) -> None:
    """From the project's own root, with nothing applied and its data gone."""
    with pytest.raises(SystemExit):
        main(["init", str(tmp_path / "shop")])
    for file in (tmp_path / "shop" / "data").iterdir():
        file.unlink()
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path / "shop", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_init_leaves_existing_files_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "features.py").write_text("mine = 1\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        main(["init", str(tmp_path), "--name", "x", "--json"])
    written = {file["path"]: file["written"] for file in json.loads(capsys.readouterr().out)["files"]}
    assert (written["features.py"], written["asof.toml"]) == (False, True)
    assert (tmp_path / "features.py").read_text(encoding="utf-8") == "mine = 1\n"


def test_describe_says_where_the_rows_of_a_stream_come_from(project: Project) -> None:
    """Topic, history and hand-over are there in words, and the log's own column is not."""
    project.edit("FileSource, StateView", "FileSource, StateView, StreamSource")
    project.edit('orders = FileSource("orders"', 'past = FileSource("past"')
    project.edit("totals =", STREAM + "totals =")
    project.run("apply")
    shown = project.run("describe", "orders").out
    assert "stream       topic shop.orders (json) after past\n" in shown
    assert "history      past, csv orders.csv, event times before 2026-01-02T00:00:00Z" in shown
    assert "available at arrival\n" in shown
    assert "__available_at" not in shown


def test_describe_shows_the_parts_of_each_kind(project: Project) -> None:
    project.run("apply")
    view = project.run("describe", "spend").out
    assert view.startswith("view spend@1\n")
    assert "amount_sum_1h  float64  sum(amount) over 1h, hop 1m" in view
    assert "used by      fraud@1" in view
    assert "online       not materialized" in view
    assert "profile__country      profile@1  country" in project.run("describe", "fraud@1").out
    assert "path         orders.csv (csv)" in project.run("describe", "orders").out
    assert "join keys    customer_id int64" in project.run("describe", "customer").out
    assert json.loads(project.run("describe", "spend", "--json").out)[0]["spec"]["kind"] == "event"
    missing = project.run("describe", "spendd")
    assert missing.code == 6
    assert "Did you mean spend?" in missing.err


def test_status_shows_what_is_not_online_yet(project: Project) -> None:
    project.run("apply")
    done = project.run("status")
    assert done.out.startswith("Project shop, revision 1: 1 entity, 2 sources, 2 views, 2 services\n")
    assert "not materialized" in done.out
    assert [v["generation"] for v in json.loads(project.run("status", "--json").out)["views"]] == [None, None]


def test_prune_deletes_only_after_a_confirmation(project: Project) -> None:
    project.run("apply")
    assert project.run("prune").out == "There is nothing to prune.\n"
    project.edit('score = FeatureService("score", features=[profile])\n', "")
    project.run("apply")
    refused = project.run("prune")
    assert refused.code == 5
    assert "service  score@1  removed from the definitions" in refused.out
    assert "--yes" in refused.err
    assert project.run("describe", "score@1").code == 0
    assert "Pruned as revision 3." in project.run("prune", "--yes").out
    assert project.run("describe", "score@1").code == 6
