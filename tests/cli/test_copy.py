"""`asof copy`, `asof backup` and `asof restore` say what they did, and what is to be done."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from asof.errors import ConflictError, InputError

if TYPE_CHECKING:
    import pytest

    from tests.cli.conftest import Project


def filled(project: Project) -> None:
    for command in ("apply", "materialize"):
        assert project.run(command, *(["--yes"] if command == "apply" else [])).code == 0


def test_a_copy_is_counted_made_and_switched_to(project: Project) -> None:
    """A dry run writes nothing; without --switch nothing but the copy is written."""
    filled(project)
    asked = ("copy", "--online", "lmdb:///two", "--registry", "sqlite:///two.db", "--offline", "two-files")
    counted = project.run(*asked, "--dry-run")
    assert counted.code == 0, counted.err
    assert "to copy" in counted.out
    assert "2 view versions, 2 keys" in counted.out
    assert not (project.root / "two-files").exists()
    copied = project.run(*asked)
    assert "copied and equal" in copied.out
    assert "Nothing was switched. Repeat with --switch" in copied.out
    assert (project.root / "asof.toml").read_text(encoding="utf-8") == 'project = "shop"\n'
    switched = project.run(*asked, "--switch")
    assert "Switched. Restart servers and workers" in switched.out
    text = (project.root / "asof.toml").read_text(encoding="utf-8")
    assert text.splitlines()[1:] == [
        'registry = "sqlite:///two.db"',
        'offline = "two-files"',
        'online = "lmdb:///two"',
    ]
    shutil.rmtree(project.root / ".asof")
    status = project.run("status", "--json")
    assert status.code == 0, status.err
    assert project.run("materialize").code == 0


def test_what_the_environment_sets_is_told(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Since it goes before asof.toml."""
    filled(project)
    monkeypatch.setenv("ASOF_ONLINE", "lmdb:///.asof/online")
    switched = project.run("copy", "--online", "lmdb:///two", "--switch")
    assert "Set ASOF_ONLINE to the new places" in switched.out
    late = project.run("materialize")
    assert late.code != 0
    assert "was moved to lmdb:///" in late.err
    monkeypatch.setenv("ASOF_ONLINE", "lmdb:///two")
    assert project.run("materialize").code == 0


def test_a_copy_is_json_for_programs(project: Project) -> None:
    """All that was compared."""
    filled(project)
    found = json.loads(project.run("copy", "--online", "lmdb:///two", "--json").out)
    assert found["online"] == {"views": 2, "keys": 2, "changed": 0}
    assert (found["registry"], found["switched"]) == (None, False)


def test_wrong_targets_are_errors(project: Project) -> None:
    """None, and one that holds another project's values of the same name."""
    filled(project)
    nothing = project.run("copy")
    assert nothing.code == InputError.exit_code
    assert "There is nothing to copy to" in nothing.err
    project.run("copy", "--online", "lmdb:///two")
    project.run("copy", "--online", "lmdb:///three")
    other = project.run(
        "copy", "--from", str(project.root), "--online", "lmdb:///three", "--registry", "sqlite:///x.db"
    )
    assert other.code == 0, other.err
    project.write("asof.toml", 'project = "shop"\nonline = "lmdb:///two"\n')
    refused = project.run("copy", "--online", "lmdb:///three")
    assert refused.code == ConflictError.exit_code
    assert "--overwrite" in refused.err


def test_a_backup_is_restored(project: Project) -> None:
    """Into the stores of the project, once they are empty."""
    filled(project)
    kept = str(project.root / "kept")
    assert "backed up and equal" in project.run("backup", kept).out
    assert project.run("restore", kept).code == ConflictError.exit_code
    shutil.rmtree(project.root / ".asof")
    restored = project.run("restore", kept)
    assert "restored and equal" in restored.out
    assert project.run("materialize").code == 0
