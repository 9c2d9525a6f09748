"""The documentation names everything there is."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

import click
import pytest

import asof
from asof import config
from asof.cli import cli
from asof.definitions import aggregates
from asof.demo import project_files
from asof.plan.resolve import result_dtype

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS / "_ext"))

import generated  # type: ignore[import-not-found]  # noqa: E402 - found through the line above

README = (ROOT / "README.md").read_text(encoding="utf-8")


def headings(text: str) -> set[str]:
    return set(re.findall(r"^#+ +(.+)$", text, flags=re.MULTILINE))


def page(name: str) -> str:
    return (DOCS / "reference" / name).read_text(encoding="utf-8")


def constructors() -> list[str]:
    functions = dict(inspect.getmembers(aggregates, inspect.isfunction))
    return [name for name in asof.__all__ if name in functions]


@pytest.mark.parametrize("key", config.KEYS)
def test_every_setting_has_a_heading(key: str) -> None:
    """A key of asof.toml is found in the configuration reference."""
    assert key in headings(page("configuration.md"))


def test_no_setting_is_documented_that_is_not_there() -> None:
    """The configuration reference names keys only."""
    sections = page("configuration.md").partition("## Keys")[2]
    assert headings(sections) == set(config.KEYS)


ELSEWHERE = {"AsofError", "FeatureStore", "TrainingSet", "Aggregate", "__version__"}


@pytest.mark.parametrize("name", sorted(set(asof.__all__) - ELSEWHERE))
def test_every_definition_has_a_heading(name: str) -> None:
    """Whatever a user can define is found in the definitions reference."""
    assert name in headings(page("definitions.md"))


def test_every_command_has_a_heading() -> None:
    """The command line reference covers each command with its usage."""
    reference = generated.cli_reference()
    context = click.Context(cli)
    for name in cli.list_commands(context):
        assert f"asof {name}" in headings(reference)
        assert f"Usage: asof {name}" in reference


def test_every_error_code_has_a_heading_and_codes_are_unique() -> None:
    """The error reference covers each class that has a code of its own."""
    codes = [kind.code for kind in generated.error_classes()]
    assert headings(generated.error_reference()) == set(codes)
    assert len(set(codes)) == len(codes)


ROWS = [
    ("Sum", "int32", "int64"),
    ("Sum", "bool", "int64"),
    ("Sum", "decimal(10,2)", "decimal(38,2)"),
    ("Sum", "float32", "float64"),
    ("Mean", "int64", "float64"),
    ("Stddev", "float64", "float64"),
    ("Count", "string", "int64"),
    ("CountDistinct", "string", "int64"),
    ("ApproxCountDistinct", "string", "int64"),
    ("Percentile", "int64", "float64"),
]


@pytest.mark.parametrize(("name", "dtype", "result"), ROWS)
def test_the_table_of_aggregates_gives_the_types_that_plans_give(name: str, dtype: str, result: str) -> None:
    """The documented result type is the one that the resolver computes."""
    function = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    assert result_dtype(function, dtype, "view:feature") == result
    table = page("definitions.md").partition("| aggregate |")[2].partition("\n\n")[0]
    rows = table[table.index(f"`{name}`") :].splitlines()
    group = [rows[0], *(row for row in rows[1:4] if row.startswith("| |"))]
    assert any(result.replace("38,2", "38,s") in row for row in group)


def test_every_aggregate_is_in_the_table() -> None:
    """The table of result types leaves no aggregate out."""
    table = page("definitions.md").partition("| aggregate |")[2].partition("\n\n")[0]
    assert set(constructors()) == set(re.findall(r"`(\w+)`", table))


def test_the_readme_shows_the_shipped_project() -> None:
    """What the tutorial prints is what `asof demo` writes, to the letter."""
    for name, language in (("asof.toml", "toml"), ("features.py", "python")):
        assert f"```{language}\n{project_files.shipped(name)}```" in README


def test_links_of_the_readme_lead_somewhere() -> None:
    """Every relative link names a file of the repository."""
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).is_file(), target
