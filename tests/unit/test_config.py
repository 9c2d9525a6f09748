"""`asof.toml` is read strictly: every mistake is named with its file, key and remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asof.config import find_root, load_config, memory_bytes, parse_size
from asof.errors import ConfigError, NotFoundError

if TYPE_CHECKING:
    from pathlib import Path


def write(root: Path, text: str) -> Path:
    (root / "asof.toml").write_text(text, encoding="utf-8")
    return root


def test_a_file_with_only_a_project_gets_the_defaults(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, 'project = "shop"'), {})
    assert (config.project, config.definitions, config.executor) == ("shop", (), "local")
    assert (config.registry, config.online) == ("sqlite:///.asof/registry.db", "lmdb:///.asof/online")
    assert config.memory_budget_bytes == memory_bytes() // 4
    assert config.root == tmp_path


def test_environment_variables_replace_keys_of_the_file(tmp_path: Path) -> None:
    write(tmp_path, 'project = "shop"\ndefinitions = "one.py"\nmemory_budget = "1GB"')
    env = {"ASOF_DEFINITIONS": "a.py,b/", "ASOF_MEMORY_BUDGET": "64MiB", "ASOF_ONLINE": "lmdb:////fast", "OTHER": "x"}
    config = load_config(tmp_path, env)
    assert config.definitions == ("a.py", "b/")
    assert config.memory_budget_bytes == 64 * 2**20
    assert config.online == "lmdb:////fast"


def test_an_unknown_key_is_refused_with_the_nearest_known_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'onlin'.*Did you mean online") as caught:
        load_config(write(tmp_path, 'project = "shop"\nonlin = "x"'), {})
    assert str(tmp_path / "asof.toml") in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no project"),
        ("project = 3", r"project in .*asof.toml has the wrong type. Expected str, got int"),
        ('project = "shop"\ndefinitions = [1]', "definitions in .* has the wrong type"),
        ('project = "9 lives"', "project in .* is '9 lives'"),
        ('project = "shop"\nexecutor = "spark"', "executor in .* is 'spark'"),
        ('project = "shop"\nmemory_budget = "lots"', "memory_budget in .* is 'lots', not a size"),
        ('project = "shop"\nmemory_budget = "200%"', "at most 100%"),
        ('project = "shop"\nmemory_budget = "1KB"', "16 MiB"),
        ('project = "shop', "is not valid TOML"),
    ],
)
def test_a_wrong_value_names_the_file_and_the_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(write(tmp_path, text), {})
    assert caught.value.fix
    assert "asof.toml" in str(caught.value)


def test_a_wrong_environment_variable_is_named_instead_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="environment variable ASOF_EXECUTOR"):
        load_config(write(tmp_path, 'project = "shop"'), {"ASOF_EXECUTOR": "spark"})


def test_a_password_is_refused_in_the_file_and_taken_from_the_environment(tmp_path: Path) -> None:
    url = "redis://me:secret@host/0"
    with pytest.raises(ConfigError, match=r"online in .* holds a password") as caught:
        load_config(write(tmp_path, f'project = "shop"\nonline = "{url}"'), {})
    assert "secret" not in str(caught.value)
    write(tmp_path, 'project = "shop"')
    assert load_config(tmp_path, {"ASOF_ONLINE": url}).online == url


def test_a_missing_or_unreadable_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not there"):
        load_config(tmp_path, {})
    (tmp_path / "asof.toml").write_bytes(b'project = "\xff"')
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path, {})


@pytest.mark.parametrize(
    ("text", "size"), [("2GB", 2 * 10**9), ("1.5 MiB", 3 * 2**19), (123, 123), ("100%", memory_bytes())]
)
def test_sizes_are_read_as_people_write_them(text: str | int, size: int) -> None:
    assert parse_size(text, "x") == size


def test_the_root_is_the_nearest_directory_with_the_file(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    write(tmp_path, "")
    assert find_root(deep) == tmp_path
    write(tmp_path / "a", "")
    assert find_root(deep) == tmp_path / "a"


def test_a_directory_without_a_project_above_it_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="asof init"):
        find_root(tmp_path)
