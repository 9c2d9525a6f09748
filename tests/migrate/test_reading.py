"""Repositories are read without running them: what can be told is carried over, all else is reported with its line."""

from __future__ import annotations

import ast
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asof.migrate.python import Call, Names, Symbol, assignment, quoted
from tests.migrate.samples import write

if TYPE_CHECKING:
    from tests.migrate.conftest import Importer

HEAD = """\
from datetime import timedelta
import datetime as dt
import os
from pathlib import Path
import feast
from feast import *
from feast.types import Float64
customer = Entity(name="customer")
source = FileSource(name="rows", path="rows.parquet", timestamp_field="ts")
"""
YAML = {"feature_store.yaml": "project: shop\n"}


def found(importer: Importer, body: str, *, more: dict[str, str] | None = None) -> dict[str, Any]:
    """Return what `--json` says of a repository with one file, without its settings."""
    ran = importer.convert({**YAML, "defs.py": HEAD + body, **(more or {})}, "--json", "--dry-run")
    assert ran.code == 0, ran.err
    answer: dict[str, Any] = json.loads(ran.out)
    return answer


def view(**arguments: str) -> str:
    given_ = {"name": '"v"', "entities": "[customer]", "source": "source", "schema": "[Field(name='x', dtype=Float64)]"}
    return f"v = FeatureView({', '.join(f'{key}={value}' for key, value in {**given_, **arguments}.items())})\n"


@pytest.mark.parametrize(
    ("ttl", "written"),
    [
        ("timedelta(days=1)", "1d"),
        ("dt.timedelta(hours=1) * 36", "36h"),
        ("timedelta(seconds=60 * 60 + 30)", "3630s"),
        ("-timedelta(days=-7)", "7d"),
        ("feast_ttl", "90m"),
        ("TTL['short']", "2d"),
        ("TTLS[-1]", "3d"),
        ("module.LONG", "4w"),
    ],
)
def test_durations_are_computed_from_constants(importer: Importer, ttl: str, written: str) -> None:
    body = (
        "import module\nfrom module import NINETY as feast_ttl\n"
        "TTL = {'short': timedelta(2)}\nTTLS = [timedelta(1), timedelta(3)]\n"
    )
    module = "from datetime import timedelta\nNINETY = timedelta(minutes=90)\nLONG = timedelta(weeks=4)\n"
    answer = found(importer, body + view(ttl=ttl), more={"module.py": module})
    expected = {"4w": "28d"}.get(written, written)
    assert f'ttl="{expected}"' in answer["files"]["features.py"]
    assert answer["findings"] == []


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("os.path.join('data', 'x.parquet')", "../repo/data/x.parquet"),
        ("str(Path('data') / 'x.parquet')", "../repo/data/x.parquet"),
        ("'/srv/x.parquet'", "/srv/x.parquet"),
        ("'s3://lake/x/'", "s3://lake/x/"),
        ("BASE + '/x.parquet'", "../repo/base/x.parquet"),
        ("str(Path(__file__).parent / 'x.parquet')", "../repo/x.parquet"),
        ("'../x.parquet'", "../x.parquet"),
    ],
)
def test_paths_are_found_from_the_new_project(importer: Importer, path: str, written: str) -> None:
    body = f"BASE = 'base'\nrows = FileSource(path={path}, timestamp_field='ts')\n" + view(source="rows")
    assert f'"{written}"' in found(importer, body)["files"]["features.py"]


def test_sources_of_views_that_are_not_carried_over_are_left_out_and_reported(importer: Importer) -> None:
    body = "other = FileSource(name='other', path='o.parquet', timestamp_field='ts')\n"
    answer = found(importer, view() + body + view(name="'w'", source="other", ttl="unknown").replace("v", "w", 1))
    assert "other" not in answer["files"]["features.py"]
    assert [one["what"] for one in answer["findings"]] == ["FileSource 'other'", "view 'w'"]


def test_a_view_under_another_name_alone_is_a_role_with_its_own_keys(importer: Importer) -> None:
    """Only its columns are called otherwise, and this is said."""
    answer = found(importer, view() + "s = FeatureService(name='s', features=[v.with_name('home')[['x']]])\n")
    text = answer["files"]["features.py"]
    assert 'features=[v.with_role("home", keys={"customer": "customer"})["x"]]' in text
    assert [one["what"] for one in answer["findings"]] == ["columns of 'home' in service 's' are called home__v__…"]


def test_lists_that_grow_are_followed_and_lists_that_code_changes_are_not(importer: Importer) -> None:
    body = "fields = [Field(name='a', dtype=Float64)]\nfields.append(Field(name='b', dtype=Float64))\n"
    body += "fields.extend([Field(name='c', dtype=Float64)])\n"
    assert 'features=["a", "b", "c"]' in found(importer, body + view(schema="fields"))["files"]["features.py"]
    answer = found(importer, body + "change(fields)\n" + view(schema="fields"))
    assert "StateView" not in answer["files"]["features.py"]
    assert [(one["what"], one["line"]) for one in answer["findings"] if "view" in one["what"]] == [("view 'v'", 13)]


@pytest.mark.parametrize(
    "code",
    [
        "for _ in range(2): v = FeatureView(name='v')",
        "if os.environ.get('X'): v = FeatureView(name='v')",
        "try:\n    v = FeatureView(name='v')\nexcept Exception: pass",
        "v = make(FeatureView)",
        "v = FeatureView(**options)",
        "globals()['v'] = FeatureView(name='v')",
        "exec('x') or FeatureView",
        "v = (lambda: FeatureView(name='v'))()",
        "FeatureView(name='v', entities=[customer])",
        "views = [FeatureView(name='v')]",
        "class Mine(FeatureView): pass\nv = Mine(name='v')",
        "@feast.batch_feature_view(**options)\ndef v(rows): return rows",
        "x = FeatureView(name=os.environ['X'])",
    ],
)
def test_code_is_reported_with_its_line_and_never_run(importer: Importer, code: str) -> None:
    answer = found(importer, f"import sys\nsys.exit(99)\n{code}\n")
    assert "StateView" not in answer["files"]["features.py"]
    lines = {one["line"] for one in answer["findings"] if one["file"] == "defs.py" and one["kind"] == "dropped"}
    start = HEAD.count("\n") + 3
    assert lines & set(range(start, start + 1 + code.count("\n")))


@pytest.mark.parametrize(
    "code",
    [
        "x = 'a' * 10**9",
        "x = 10 ** 10 ** 10",
        "x = [0] * 10**9",
        "x = 1\n" + "x = x + x\n" * 80,
        "x = [0]\n" + "x = [*x, *x]\n" * 60,
        "x = 'a'\n" + "x = os.path.join(x, x)\n" * 60,
        "x = 'a'\n" + "x = f'{x}{x}{x}'\n" * 60,
        "x = 1 / 0",
        "x = [][3]",
    ],
)
def test_what_computes_too_much_or_fails_is_left_alone(importer: Importer, code: str) -> None:
    answer = found(importer, f"{code}\n" + view(description="str(x)"))
    assert "StateView" in answer["files"]["features.py"]


def test_style_is_nobody_s_business(importer: Importer) -> None:
    """Python warns about such a text, and Feast reads it."""
    assert found(importer, view(description=r"'\d'"))["findings"] == []


def test_a_view_keeps_the_list_that_it_was_made_of(importer: Importer) -> None:
    body = "fields = [Field(name='a', dtype=Float64)]\n" + view(schema="fields")
    body += "fields.append(Field(name='b', dtype=Float64))\nfields.clear()\n"
    assert 'features=["a"]' in found(importer, body)["files"]["features.py"]


def test_tags_are_labels_and_personal_data_stays_marked(importer: Importer) -> None:
    text = found(importer, view(tags="{'pii': 'true', 'team': 'risk', 'hot': ''}"))["files"]["features.py"]
    assert 'tags=["hot", "pii", "team=risk"]' in text


def test_files_that_feast_ignores_are_not_read(importer: Importer) -> None:
    more = {".feastignore": "old # old ones\n*.tmp.py\n", "old/bad.py": "def (", ".venv/x.py": "def ("}
    assert found(importer, view(), more=more)["findings"] == []


def test_names_and_texts_of_a_repository_cannot_become_code(importer: Importer) -> None:
    """Whatever a text holds, features.py is the same calls with the same text."""
    evil = '"); import os; os.abort() # \\\' \\n\\r \u2028 \\x00 {x} """'
    body = f"evil = {evil!r}\n" + view(
        name="evil", description="evil", owner="evil", tags="{evil: evil}", schema="[Field(name=evil, dtype=Float64)]"
    )
    text = found(importer, body)["files"]["features.py"]
    tree = ast.parse(text)
    assert [type(node) for node in tree.body] == [ast.Expr, ast.ImportFrom, ast.Assign, ast.Assign, ast.Assign]
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    assert texts.count(evil) == 3  # description, owner, column
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in ("os", "x")]


@settings(deadline=None)
@given(st.text())
def test_a_literal_is_the_text(text: str) -> None:
    assert ast.literal_eval(quoted(text)) == text
    assert quoted(text).isprintable()


@settings(deadline=None)
@given(st.lists(st.text(max_size=12), max_size=6))
def test_variables_are_valid_and_given_once(wanted: list[str]) -> None:
    names = Names({"Entity"})
    given_ = [names.give(one, "class", "Entity", "ok") for one in wanted]
    assert len({*given_}) == len(given_)
    for name in given_:
        ast.parse(assignment(name, Call("Entity", (Symbol("x"),))))
        assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)


@pytest.mark.parametrize(
    ("files", "code", "says"),
    [
        ({}, 6, "There is no feature_store.yaml"),
        ({"feature_store.yaml": "registry: x\n"}, 14, "names no project"),
        ({"feature_store.yaml": "project: x\n", "a.py": "x = 1\ndef (\n"}, 3, "a.py:2: invalid syntax"),
        ({"feature_store.yaml": "project: x\n", "a.py": "x = '\0'\n"}, 3, "a.py"),
        ({"feature_store.yaml": "project: x\n", ".feastignore": "a**b\n***\n"}, 14, "feastignore"),
        ({"feature_store.yaml": "project: x\n", "a.py": "x = " + "(" * 500 + ")" * 500}, 3, "a.py"),
        ({"feature_store.yaml": "project: x\n", "a.py": "x = " + "-" * 5000 + "1"}, 3, "a.py"),
    ],
)
def test_a_repository_that_feast_could_not_read_is_refused(
    importer: Importer, files: dict[str, str], code: int, says: str
) -> None:
    """With the file, the line and what to do, and nothing is written."""
    importer.repository.mkdir()
    ran = importer.convert(files)
    assert (ran.code, ran.out) == (code, "")
    assert says in ran.err
    assert "Fix: " in ran.err
    assert not importer.out.exists()


def test_a_directory_that_is_not_there_is_named(importer: Importer) -> None:
    ran = importer.run("import-feast", str(importer.repository))
    assert ran.code == 6
    assert str(importer.repository) in ran.err


def test_a_handover_that_is_no_instant_is_refused(importer: Importer) -> None:
    write(importer.repository, YAML)
    assert importer.run("import-feast", str(importer.repository), "--handover", "soon").code == 5


def test_links_that_lead_out_of_the_repository_are_not_followed(importer: Importer) -> None:
    """Neither Python files nor the settings."""
    outside = importer.repository.parent / "outside.py"
    outside.write_text("secret = 1\n", encoding="utf-8")
    write(importer.repository, {"defs.py": HEAD + view()})
    (importer.repository / "link.py").symlink_to(outside)
    answer = found(importer, view())
    assert [(one["file"], one["what"]) for one in answer["findings"]] == [("link.py", "the file")]
    (importer.repository / "feature_store.yaml").unlink()
    (importer.repository / "feature_store.yaml").symlink_to(outside)
    ran = importer.run("import-feast", str(importer.repository), "--dry-run")
    assert ran.code == 14
    assert "leads out" in ran.err


def test_an_import_of_a_file_outside_is_not_followed(importer: Importer) -> None:
    (importer.repository.parent / "outside.py").write_text("TTL = 1\n", encoding="utf-8")
    answer = found(importer, "from ..outside import TTL\n" + view(ttl="TTL"))
    assert "StateView" not in answer["files"]["features.py"]
