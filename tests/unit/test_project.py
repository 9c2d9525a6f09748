"""A project's definitions are collected from its files as a user would import them, and mistakes are named by line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from asof.errors import ConfigError, DefinitionError
from asof.services.project import collect_definitions, definition_files

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "from asof import Entity, EventView, Count, FeatureService, FileSource\n"
ENTITY = 'customer = Entity("customer")\n'
VIEW = """
source = FileSource("s", "s.csv", event_time="ts")
spend = EventView("spend", entity=customer, source=source, features=[Count(windows=["1h"])])
"""


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")


def test_objects_are_found_in_globals_and_through_the_objects_that_use_them(tmp_path: Path) -> None:
    write(tmp_path, "features.py", HEAD + ENTITY + VIEW + 'fraud = FeatureService("fraud", features=[spend])\n')
    found = collect_definitions(tmp_path, [])
    assert [o.name for o in found.entities] == ["customer"]
    assert [o.name for o in found.sources] == ["s"]
    assert [o.name for o in found.views] == ["spend"]
    assert [o.name for o in found.services] == ["fraud"]


def test_objects_in_lists_and_mappings_are_found(tmp_path: Path) -> None:
    write(tmp_path, "features.py", HEAD + 'all = [Entity("a"), {"x": Entity("b")}]')
    assert [o.name for o in collect_definitions(tmp_path, []).entities] == ["a", "b"]


def test_files_that_import_each_other_share_their_objects(tmp_path: Path) -> None:
    write(tmp_path, "features/people.py", HEAD + ENTITY)
    write(tmp_path, "features/alerts.py", HEAD + "from features.people import customer\n" + VIEW)
    write(tmp_path, "features/zeal.py", "from .alerts import spend\nfrom common import x\n")
    write(tmp_path, "common.py", "x = 1")
    before = (set(sys.modules), list(sys.path))
    found = collect_definitions(tmp_path, [])
    assert [o.name for o in found.entities] == ["customer"]
    assert [o.name for o in found.views] == ["spend"]
    assert (set(sys.modules), list(sys.path)) == before


def test_an_edit_is_seen_at_once_even_with_the_same_size(tmp_path: Path) -> None:
    for name in ("alfa", "beta"):
        write(tmp_path, "features.py", HEAD + f'e = Entity("{name}")')
        assert [o.name for o in collect_definitions(tmp_path, []).entities] == [name]


def test_a_module_of_the_same_name_elsewhere_is_left_alone(tmp_path: Path) -> None:
    import json

    write(tmp_path, "json.py", HEAD + ENTITY)
    assert [o.name for o in collect_definitions(tmp_path, ["json.py"]).entities] == ["customer"]
    assert sys.modules["json"] is json


def test_what_files_print_does_not_reach_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "features.py", HEAD + ENTITY + 'print("hello")')
    collect_definitions(tmp_path, [])
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "hello\n")


def test_two_definitions_of_one_name_are_refused_with_both_places(tmp_path: Path) -> None:
    write(tmp_path, "a.py", HEAD + ENTITY)
    write(tmp_path, "b.py", HEAD + ENTITY)
    with pytest.raises(DefinitionError, match=r"two definitions of entity 'customer'. In a.py and in b.py"):
        collect_definitions(tmp_path, ["a.py", "b.py"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ny = 1 / 0\n", r"features.py:2: ZeroDivisionError: division by zero. It was raised by `y = 1 / 0`"),
        ("x = (\n", r"features.py:1: '\(' was never closed"),
        (HEAD + "e = Entity('9')", r"features.py:2: Entity name '9' is not valid. Use a letter"),
        ("import nothing_of_that_name", r"features.py:1: ModuleNotFoundError"),
        ("import sys\nsys.exit(3)", r"features.py:2: SystemExit: 3"),
        ("def f():\n    raise KeyError('k')\n\nf()", r"features.py:2: KeyError: 'k'"),
        ("x = 1", r"Nothing is defined in features.py"),
    ],
)
def test_a_file_that_fails_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, "features.py", text)
    before = set(sys.modules)
    with pytest.raises(DefinitionError, match=message) as caught:
        collect_definitions(tmp_path, [])
    assert caught.value.fix
    assert set(sys.modules) == before


def test_patterns_are_files_directories_and_globs_relative_or_absolute(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("one.py", "d/two.py", "d/.hidden/no.py", "d/e/three.py", "d/notes.txt"):
        write(root, name, "")
    write(tmp_path, "other/four.py", "")

    def names(*patterns: str) -> list[str]:
        return [file.name for file in definition_files(root, patterns)]

    assert names("d") == ["three.py", "two.py"]
    assert names("one.py", "d/*.py") == ["one.py", "two.py"]
    assert names("**/*.py", "one.py")[-1:] == ["one.py"]
    assert names(str(tmp_path / "other/four.py")) == names(str(tmp_path / "other/*.py")) == ["four.py"]


@pytest.mark.parametrize("pattern", ["absent.py", "*.txt", ""])
def test_a_pattern_without_a_match_is_a_config_error(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"matches no Python file|is not there"):
        definition_files(tmp_path, [pattern])
    with pytest.raises(ConfigError, match=r"no features.py"):
        definition_files(tmp_path, [])


def test_definitions_may_live_outside_the_root(tmp_path: Path) -> None:
    write(tmp_path, "shared/defs.py", HEAD + ENTITY)
    (tmp_path / "root").mkdir()
    found = collect_definitions(tmp_path / "root", ["../shared/defs.py"])
    assert [o.name for o in found.entities] == ["customer"]
