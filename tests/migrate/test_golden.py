"""What an import writes and says is what the files of tests/golden say, to the letter."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.migrate.samples import RIDES, STREAMS

if TYPE_CHECKING:
    from tests.migrate.conftest import Importer

GOLDEN = Path(__file__).parents[1] / "golden"
SAMPLES = {"rides": RIDES, "streams": STREAMS}


@pytest.mark.parametrize("name", SAMPLES)
def test_an_import_writes_a_readable_project_and_reports_every_difference(importer: Importer, name: str) -> None:
    ran = importer.convert(SAMPLES[name])
    said = ran.out.replace(f"{importer.out}/", "")
    said = "\n".join(line.rstrip() for line in said.splitlines()) + "\n"
    texts = {"asof.toml": (importer.out / "asof.toml").read_text(encoding="utf-8"), "features.py": importer.features()}
    found = said + "".join(f"\n--- {file}\n{text}" for file, text in texts.items())
    assert (ran.code, ran.err) == (0, "")
    assert found == (GOLDEN / f"import_feast_{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_written_is_as_the_formatter_leaves_it(importer: Importer, name: str) -> None:
    """Neither the linter nor the formatter, with their own settings, changes a line."""
    importer.convert(SAMPLES[name])
    for arguments in (["check"], ["format", "--diff"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--isolated", "--no-cache", str(importer.out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_no_secret_of_the_settings_is_repeated(importer: Importer) -> None:
    ran = importer.convert(STREAMS)
    assert "hunter2" not in ran.out + importer.features() + (importer.out / "asof.toml").read_text(encoding="utf-8")


def test_every_definition_of_the_repository_is_in_the_project_or_reported(importer: Importer) -> None:
    """Each call of a definition has its name in features.py, or its line in the report."""
    ran = importer.convert(STREAMS)
    reported = {int(line) for line in re.findall(r"shop\.py:(\d+)", ran.out)}
    written = importer.features()
    for number, line in enumerate(STREAMS["shop.py"].splitlines(), start=1):
        if match := re.match(r"(\w+) = (Entity|\w*Source|\w*View|FeatureService)\(", line):
            block = range(number, number + 4)
            assert f"\n{match[1]} = " in written or reported & set(block) or match[1] == "asked", line
