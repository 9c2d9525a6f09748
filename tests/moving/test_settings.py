"""Settings are changed in place, without passwords, and every other line stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asof.config import load_config
from asof.errors import ConfigError
from asof.services.settings import switch_settings, without_login

if TYPE_CHECKING:
    from pathlib import Path


def test_lines_are_replaced_or_added_and_the_others_stay(tmp_path: Path) -> None:
    """Comments, too, and what follows."""
    file = tmp_path / "asof.toml"
    file.write_text('# shop\nproject = "shop"\n  online="lmdb:///x" # here\nexecutor = "local"\n', encoding="utf-8")
    switch_settings(tmp_path, {"online": "redis://host/1", "offline": 'a "b"\\c'}, {})
    assert file.read_text(encoding="utf-8") == (
        '# shop\nproject = "shop"\nonline = "redis://host/1"\nexecutor = "local"\noffline = "a \\"b\\"\\\\c"\n'
    )
    assert load_config(tmp_path, {}).offline == 'a "b"\\c'


def test_passwords_and_what_the_environment_sets_are_not_written(tmp_path: Path) -> None:
    """Their variables are named instead."""
    file = tmp_path / "asof.toml"
    file.write_text('project = "shop"\n', encoding="utf-8")
    new = {"online": "redis://me:secret@host/1", "registry": "sqlite:///r.db", "offline": "there"}
    assert switch_settings(tmp_path, new, {"ASOF_REGISTRY": "sqlite:///old.db"}) == ("ASOF_ONLINE", "ASOF_REGISTRY")
    assert file.read_text(encoding="utf-8") == 'project = "shop"\noffline = "there"\n'


def test_a_file_that_cannot_be_changed_is_left_alone(tmp_path: Path) -> None:
    """As one that sets a key in a way that lines do not show."""
    file = tmp_path / "asof.toml"
    text = 'project = "shop"\nonline = """\nlmdb:///x"""\n'
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be"):
        switch_settings(tmp_path, {"online": "redis://host/1"}, {})
    assert file.read_text(encoding="utf-8") == text


def test_names_of_stores_hold_no_login() -> None:
    """Whatever kind of place it is."""
    assert without_login("rediss://me:secret@host:1/2?x=1") == "rediss://host:1/2?x=1"
    assert without_login("sqlite:////a/b.db") == "sqlite:////a/b.db"
    assert without_login("/a/b") == "/a/b"
